//! What this agent cannot see, as a list: so that nobody takes what is not shown for what did not happen.
//!
//! Pure: fed with events ([`BlindSpots::observe`]), asked with the index and the interfaces ([`BlindSpots::list`]). Each line
//! rests on evidence (objects of the cluster, or traffic that was seen) and says what does not show and why. Bounded: of each
//! sort so many are named, the rest counted.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::identity::Index;
use crate::model::cluster::Pod;
use crate::model::connection::TcpState;
use crate::model::event::{Body, Event};
use crate::model::flow::{Direction, Role};
use crate::model::identity::PodIdentity;
use crate::model::units;

/// So many are named in a line.
const NAMED: usize = 5;
/// So many pods and servers are remembered of each sort.
const REMEMBERED: usize = 256;
/// DNS over TLS (RFC 7858).
const DOT_PORT: u16 = 853;
const HTTPS_PORT: u16 = 443;
/// Where NodeLocal DNSCache listens, by its manual and by most who install it.
const NODE_LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 20, 10));

/// Public resolvers that speak DNS over HTTPS (RFC 8484) at these addresses. A connection to port 443 there is for nothing
/// else; other servers that do cannot be told from web servers.
const RESOLVERS: [IpAddr; 16] = [
    // Cloudflare
    IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1)),
    IpAddr::V4(Ipv4Addr::new(1, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111)),
    IpAddr::V6(Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1001)),
    // Google
    IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8844)),
    // Quad9
    IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9)),
    IpAddr::V4(Ipv4Addr::new(149, 112, 112, 112)),
    IpAddr::V6(Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 0xfe)),
    IpAddr::V6(Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 9)),
    // AdGuard
    IpAddr::V4(Ipv4Addr::new(94, 140, 14, 14)),
    IpAddr::V4(Ipv4Addr::new(94, 140, 15, 15)),
    IpAddr::V6(Ipv6Addr::new(0x2a10, 0x50c0, 0, 0, 0, 0, 0xad1, 0xff)),
    IpAddr::V6(Ipv6Addr::new(0x2a10, 0x50c0, 0, 0, 0, 0, 0xad2, 0xff)),
];

/// What was seen of what cannot be seen.
#[derive(Clone, Debug, Default)]
pub struct BlindSpots {
    /// Pods that speak DNS over TLS.
    dot: Named,
    /// Pods that speak DNS over HTTPS with a known resolver.
    doh: Named,
    /// Somebody asked the node's own cache.
    node_local: bool,
}

/// Pods by namespace/name; of so many at most.
#[derive(Clone, Debug, Default)]
struct Named {
    pods: BTreeSet<Arc<str>>,
    /// Some more than are remembered.
    more: bool,
}

impl Named {
    fn add(&mut self, pod: Option<&PodIdentity>, ip: IpAddr) {
        let name = match pod {
            Some(pod) => format!("{}/{}", pod.namespace, pod.name),
            None => ip.to_string(),
        };
        if self.pods.len() < REMEMBERED {
            self.pods.insert(name.into());
        } else if !self.pods.contains(name.as_str()) {
            self.more = true;
        }
    }

    fn words(&self) -> Option<String> {
        let names: Vec<&str> = self.pods.iter().map(|name| &**name).collect();
        some_of(&names, self.more)
    }
}

/// `a, b, c and 4 more`; nothing of none.
fn some_of(names: &[&str], more: bool) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    let mut words = names[..names.len().min(NAMED)].join(", ");
    let rest = names.len().saturating_sub(NAMED);
    if rest > 0 {
        let at_least = if more { "at least " } else { "" };
        words.push_str(&format!(" and {at_least}{rest} more"));
    }
    Some(words)
}

impl BlindSpots {
    /// Looks whether an event is evidence of something that does not show.
    pub fn observe(&mut self, event: &Event) {
        let Some(ends) = event.ends.as_ref().filter(|ends| ends.role == Role::Client) else {
            return;
        };
        let pod = ends.pod.who.as_ref().ok().map(|pod| &**pod);
        match &event.body {
            Body::Dns(..) if ends.peer.ip == NODE_LOCAL => self.node_local = true,
            // A connection that nobody took carries no name.
            Body::Tcp(connection)
                if matches!(connection.state, TcpState::Established | TcpState::Closed) =>
            {
                match ends.peer.port {
                    Some(DOT_PORT) => self.dot.add(pod, ends.pod.ip),
                    Some(HTTPS_PORT) if RESOLVERS.contains(&ends.peer.ip) => {
                        self.doh.add(pod, ends.pod.ip);
                    }
                    _ => {}
                }
            }
            // DNS over QUIC (RFC 9250), and HTTP/3 to a resolver.
            Body::Udp(_) => match ends.peer.port {
                Some(DOT_PORT) => self.dot.add(pod, ends.pod.ip),
                Some(HTTPS_PORT) if RESOLVERS.contains(&ends.peer.ip) => {
                    self.doh.add(pod, ends.pod.ip);
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// A sentence for each. `one_way` are interfaces of which a direction is not visible, by name.
    pub fn list(&self, index: &Index, node: &str, one_way: &[(&str, Direction)]) -> Vec<String> {
        let mut sentences = Vec::new();
        for (direction, word) in [(Direction::ToPod, "to"), (Direction::FromPod, "from")] {
            let names: Vec<&str> = one_way
                .iter()
                .filter(|(_, unseen)| *unseen == direction)
                .map(|(name, _)| *name)
                .collect();
            if let Some(names) = some_of(&names, false) {
                sentences.push(format!(
                    "packets {word} the pods behind {names}: the network plugin takes them past the interface \
                     (bpf_redirect_peer?), so no conclusion is drawn from silence there"
                ));
            }
        }
        let here = |pod: &&Pod| pod.node.as_deref() == Some(node) && !pod.terminated;
        let mut on_host: Vec<String> = index
            .pods()
            .filter(here)
            .filter(|pod| pod.host_network)
            .map(|pod| format!("{}/{}", pod.namespace, pod.name))
            .collect();
        on_host.sort();
        let names: Vec<&str> = on_host.iter().map(String::as_str).collect();
        if let Some(names) = some_of(&names, false) {
            sentences.push(format!(
                "what {} with hostNetwork on this node ask and connect to: they share the node's interfaces, which are not \
                 traced ({names})",
                units::count(on_host.len() as u64, "pod")
            ));
        }
        let cache = index
            .pods()
            .filter(here)
            .find(|pod| is_node_local_dns(pod))
            .map(|pod| format!("{}/{} runs here", pod.namespace, pod.name))
            .or_else(|| self.node_local.then(|| format!("pods ask {NODE_LOCAL}")));
        if let Some(why) = cache {
            sentences.push(format!(
                "what NodeLocal DNSCache asks the cluster's DNS server ({why}): pods' own queries and the cache's answers \
                 to them are seen"
            ));
        }
        if let Some(pods) = self.dot.words() {
            sentences.push(format!(
                "names that are looked up by DNS over TLS or QUIC (port 853): the connections are seen, not what is in \
                 them ({pods})"
            ));
        }
        if let Some(pods) = self.doh.words() {
            sentences.push(format!(
                "names that are looked up by DNS over HTTPS at public resolvers: the connections are seen, not what is in \
                 them ({pods})"
            ));
        }
        sentences
    }
}

/// As its manifest names it, or by its DaemonSet.
fn is_node_local_dns(pod: &Pod) -> bool {
    let workload = pod.workload.as_ref().map(|workload| &*workload.name);
    let label = pod.labels.iter().any(|(key, value)| {
        matches!(&**key, "k8s-app" | "app.kubernetes.io/name") && is_its_name(value)
    });
    label || workload.is_some_and(is_its_name) || pod.name.starts_with("node-local-dns-")
}

fn is_its_name(name: &str) -> bool {
    matches!(name, "node-local-dns" | "nodelocaldns")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::identity::IndexSettings;
    use crate::model::cluster::{Change, Inventory};
    use crate::model::connection::TcpConnection;
    use crate::model::event::Ends;
    use crate::model::flow::{Flow, FlowTotals, Ifindex, Protocol};
    use crate::model::identity::{PeerEnd, PodEnd};
    use crate::model::time::Timestamp;

    fn index(pods: Vec<Pod>) -> Index {
        let mut index = Index::new(IndexSettings::default());
        let inventory = Inventory {
            pods,
            ..Inventory::default()
        };
        index.apply(Timestamp(0), Change::Replace(Box::new(inventory)));
        index
    }

    fn pod(name: &str, node: &str, host_network: bool) -> Pod {
        Pod {
            namespace: "kube-system".into(),
            name: name.into(),
            uid: name.into(),
            node: Some(node.into()),
            host_network,
            ..Pod::default()
        }
    }

    fn connection(name: &str, role: Role, state: TcpState, peer: &str, port: u16) -> Event {
        let ip: IpAddr = "10.1.0.7".parse().expect("an address");
        let peer: IpAddr = peer.parse().expect("an address");
        let flow = Flow {
            ifindex: Ifindex(7),
            protocol: Protocol::Tcp,
            pod: (ip, 40_000).into(),
            peer: (peer, port).into(),
        };
        Event {
            time: Timestamp(1),
            ends: Some(Ends {
                ifindex: Ifindex(7),
                role,
                pod: PodEnd {
                    ip,
                    port: Some(40_000),
                    who: Ok(Arc::new(PodIdentity {
                        namespace: "shop".into(),
                        name: name.into(),
                        uid: name.into(),
                        workload: None,
                        node: None,
                    })),
                },
                peer: PeerEnd {
                    ip: peer,
                    port: Some(port),
                    pod: None,
                    service: None,
                    node: None,
                    names: Vec::new(),
                },
                peer_traced_here: false,
            }),
            body: Body::Tcp(Box::new(TcpConnection {
                flow,
                role,
                state,
                handshake: Some(Duration::from_millis(1)),
                syn_retransmits: 0,
                totals: FlowTotals::default(),
                icmp: None,
                last: Timestamp(1),
            })),
        }
    }

    #[test]
    fn a_node_where_everything_shows_has_no_blind_spot() {
        let mut spots = BlindSpots::default();
        for event in [
            connection("web", Role::Client, TcpState::Established, "192.0.2.1", 443),
            // Refused: nothing went through it.
            connection("web", Role::Client, TcpState::Timeout, "1.1.1.1", 443),
            connection("dot", Role::Server, TcpState::Established, "192.0.2.1", 853),
        ] {
            spots.observe(&event);
        }
        let index = index(vec![
            pod("coredns-1", "here", false),
            pod("proxy", "there", true),
        ]);
        assert_eq!(spots.list(&index, "here", &[]), [""; 0]);
    }

    #[test]
    fn one_way_interfaces_are_named_with_the_direction_that_is_missing() {
        let one_way = [
            ("veth1", Direction::ToPod),
            ("veth2", Direction::ToPod),
            ("veth3", Direction::FromPod),
        ];
        let told = BlindSpots::default().list(&index(Vec::new()), "here", &one_way);
        assert_eq!(told.len(), 2);
        assert!(
            told[0].starts_with("packets to the pods behind veth1, veth2: "),
            "{told:?}"
        );
        assert!(
            told[1].starts_with("packets from the pods behind veth3: "),
            "{told:?}"
        );
    }

    #[test]
    fn pods_of_this_node_with_host_network_are_named_up_to_a_few() {
        let mut pods: Vec<Pod> = (0..7)
            .map(|n| pod(&format!("p{n}"), "here", true))
            .collect();
        pods.push(pod("elsewhere", "there", true));
        let mut ended = pod("ended", "here", true);
        ended.terminated = true;
        pods.push(ended);
        let told = BlindSpots::default().list(&index(pods), "here", &[]);
        assert_eq!(told.len(), 1);
        assert!(
            told[0].contains("7 pods with hostNetwork")
                && told[0].ends_with("kube-system/p3, kube-system/p4 and 2 more)"),
            "{told:?}"
        );
    }

    #[test]
    fn a_cache_on_the_node_is_known_by_its_pod_or_by_who_is_asked() {
        let by_pod = index(vec![pod("node-local-dns-x7k2p", "here", false)]);
        let told = BlindSpots::default().list(&by_pod, "here", &[]);
        assert!(
            told[0].contains("NodeLocal DNSCache") && told[0].contains("node-local-dns-x7k2p"),
            "{told:?}"
        );
        let elsewhere = index(vec![pod("node-local-dns-x7k2p", "there", false)]);
        assert_eq!(BlindSpots::default().list(&elsewhere, "here", &[]), [""; 0]);
        let spots = BlindSpots {
            node_local: true,
            ..BlindSpots::default()
        };
        let told = spots.list(&elsewhere, "here", &[]);
        assert!(told[0].contains("pods ask 169.254.20.10"), "{told:?}");
    }

    #[test]
    fn encrypted_lookups_are_told_where_there_were_any() {
        let mut spots = BlindSpots::default();
        for event in [
            connection("a", Role::Client, TcpState::Established, "192.0.2.1", 853),
            connection("a", Role::Client, TcpState::Closed, "192.0.2.1", 853),
            connection(
                "b",
                Role::Client,
                TcpState::Established,
                "2606:4700:4700::1111",
                443,
            ),
        ] {
            spots.observe(&event);
        }
        let told = spots.list(&index(Vec::new()), "here", &[]);
        assert_eq!(told.len(), 2);
        assert!(
            told[0].contains("DNS over TLS") && told[0].ends_with("(shop/a)"),
            "{told:?}"
        );
        assert!(
            told[1].contains("DNS over HTTPS") && told[1].ends_with("(shop/b)"),
            "{told:?}"
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut spots = BlindSpots::default();
        for number in 0..REMEMBERED + 10 {
            let name = format!("p{number}");
            let event = connection(&name, Role::Client, TcpState::Established, "192.0.2.1", 853);
            spots.observe(&event);
        }
        let told = spots.list(&index(Vec::new()), "here", &[]);
        assert!(told[0].contains(" and at least 251 more"), "{told:?}");
    }
}
