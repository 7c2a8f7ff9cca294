//! Which interfaces are pods'. Pure: fed with what the kernel says about links, addresses and routes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteType};

use tracer_core::model::flow::Ifindex;
use tracer_core::model::glob::Glob;

/// A pod interface as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodLink {
    /// The host end.
    pub ifindex: Ifindex,
    /// Its name now.
    pub name: String,
    /// The number that this network namespace has for the pod's: what `IFLA_LINK_NETNSID` says.
    pub netnsid: i32,
}

/// What an event may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// Nothing that matters here.
    Nothing,
    /// This interface.
    One(Ifindex),
    /// A default route: list the routes again, then look at every interface.
    Routes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    name: String,
    pair: bool,
    netnsid: Option<i32>,
}

/// All links of this network namespace, with what decides whether they are pods'.
#[derive(Debug)]
pub(super) struct Table {
    wanted: Vec<Glob>,
    node_addresses: HashSet<IpAddr>,
    links: HashMap<Ifindex, Link>,
    /// Every address with its prefix length. A set: the same address can be there with two prefixes.
    addresses: HashMap<Ifindex, BTreeSet<(IpAddr, u8)>>,
    default_routes: HashSet<Ifindex>,
}

impl Table {
    pub fn new(wanted: Vec<Glob>, node_addresses: &[IpAddr]) -> Table {
        Table {
            wanted,
            node_addresses: node_addresses.iter().copied().collect(),
            links: HashMap::new(),
            addresses: HashMap::new(),
            default_routes: HashSet::new(),
        }
    }

    /// The node's own addresses are these from now on.
    pub fn set_node_addresses(&mut self, addresses: &[IpAddr]) {
        self.node_addresses = addresses.iter().copied().collect();
    }

    /// Forgets what the kernel told: its lists follow.
    pub fn clear(&mut self) {
        self.links.clear();
        self.addresses.clear();
        self.default_routes.clear();
    }

    /// A new or changed link. Every such message tells the whole link.
    pub fn link(&mut self, message: &LinkMessage) -> Changed {
        // Bridges tell of their ports in messages of their own family, which do not describe the link.
        if message.header.interface_family != AddressFamily::Unspec {
            return Changed::Nothing;
        }
        let ifindex = Ifindex(message.header.index);
        let mut link = Link {
            name: String::new(),
            pair: false,
            netnsid: None,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::LinkNetNsId(id) => link.netnsid = Some(*id),
                LinkAttribute::LinkInfo(infos) => {
                    link.pair |= infos.iter().any(|info| {
                        matches!(info, LinkInfo::Kind(InfoKind::Veth | InfoKind::Netkit))
                    });
                }
                _ => {}
            }
        }
        if self.links.get(&ifindex) == Some(&link) {
            return Changed::Nothing;
        }
        self.links.insert(ifindex, link);
        Changed::One(ifindex)
    }

    /// A link that is gone from this namespace.
    pub fn link_gone(&mut self, message: &LinkMessage) -> Changed {
        if message.header.interface_family != AddressFamily::Unspec {
            return Changed::Nothing;
        }
        let ifindex = Ifindex(message.header.index);
        self.links.remove(&ifindex);
        self.addresses.remove(&ifindex);
        self.default_routes.remove(&ifindex);
        Changed::One(ifindex)
    }

    /// An address that came or went.
    pub fn address(&mut self, message: &AddressMessage, gone: bool) -> Changed {
        let ifindex = Ifindex(message.header.index);
        // For IPv4 the local address is ours and "address" can be the peer's; IPv6 has only the latter mostly.
        let local = message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                AddressAttribute::Local(address) => Some(*address),
                _ => None,
            });
        let address = local.or_else(|| {
            message
                .attributes
                .iter()
                .find_map(|attribute| match attribute {
                    AddressAttribute::Address(address) => Some(*address),
                    _ => None,
                })
        });
        let Some(address) = address else {
            return Changed::Nothing;
        };
        let addresses = self.addresses.entry(ifindex).or_default();
        let changed = if gone {
            addresses.remove(&(address, message.header.prefix_len))
        } else {
            addresses.insert((address, message.header.prefix_len))
        };
        if changed {
            Changed::One(ifindex)
        } else {
            Changed::Nothing
        }
    }

    /// Whether a route that came or went is a default route.
    pub fn route_event(message: &RouteMessage) -> Changed {
        if is_default(message) {
            Changed::Routes
        } else {
            Changed::Nothing
        }
    }

    /// Before [`Table::route`] is told every route.
    pub fn clear_routes(&mut self) {
        self.default_routes.clear();
    }

    /// A route that there is.
    pub fn route(&mut self, message: &RouteMessage) {
        if !is_default(message) {
            return;
        }
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Oif(index) => {
                    self.default_routes.insert(Ifindex(*index));
                }
                RouteAttribute::MultiPath(hops) => {
                    self.default_routes
                        .extend(hops.iter().map(|hop| Ifindex(hop.interface_index)));
                }
                _ => {}
            }
        }
    }

    /// The interface, if it is a pod's and wanted.
    pub fn pod_link(&self, ifindex: Ifindex) -> Option<PodLink> {
        let link = self.links.get(&ifindex)?;
        let netnsid = link.netnsid?;
        let wanted =
            self.wanted.is_empty() || self.wanted.iter().any(|glob| glob.matches(&link.name));
        let uplink = self.default_routes.contains(&ifindex) || self.holds_node_address(ifindex);
        (link.pair && wanted && !uplink).then(|| PodLink {
            ifindex,
            name: link.name.clone(),
            netnsid,
        })
    }

    /// All of them.
    pub fn pod_links(&self) -> Vec<PodLink> {
        let mut links: Vec<PodLink> = self
            .links
            .keys()
            .filter_map(|ifindex| self.pod_link(*ifindex))
            .collect();
        links.sort_by_key(|link| link.ifindex);
        links
    }

    /// A pod's host end has no address, a link-local one, or a gateway's /32 or /128. A network's prefix means that the
    /// node itself is reached here.
    fn holds_node_address(&self, ifindex: Ifindex) -> bool {
        self.addresses.get(&ifindex).is_some_and(|addresses| {
            addresses.iter().any(|(address, prefix)| {
                let (full, link_local) = match address {
                    IpAddr::V4(v4) => (32, v4.is_link_local()),
                    IpAddr::V6(v6) => (128, v6.is_unicast_link_local()),
                };
                self.node_addresses.contains(address) || (*prefix < full && !link_local)
            })
        })
    }
}

fn is_default(message: &RouteMessage) -> bool {
    message.header.destination_prefix_length == 0
        && matches!(message.header.kind, RouteType::Unicast)
        && matches!(
            message.header.address_family,
            AddressFamily::Inet | AddressFamily::Inet6
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, kind: InfoKind, netnsid: Option<i32>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        message
            .attributes
            .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]));
        message
            .attributes
            .extend(netnsid.map(LinkAttribute::LinkNetNsId));
        message
    }

    fn address(index: u32, address: &str, prefix: u8) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.index = index;
        message.header.prefix_len = prefix;
        message.attributes.push(AddressAttribute::Address(
            address.parse().expect("an address"),
        ));
        message
    }

    fn default_route(index: u32) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.kind = RouteType::Unicast;
        message.attributes.push(RouteAttribute::Oif(index));
        message
    }

    fn table(wanted: &[&str], node: &[&str]) -> Table {
        let wanted = wanted
            .iter()
            .map(|glob| glob.parse().expect("a glob"))
            .collect();
        let node: Vec<IpAddr> = node
            .iter()
            .map(|ip| ip.parse().expect("an address"))
            .collect();
        Table::new(wanted, &node)
    }

    fn names(table: &Table) -> Vec<String> {
        table
            .pod_links()
            .into_iter()
            .map(|link| link.name)
            .collect()
    }

    #[test]
    fn only_the_end_of_a_pair_whose_peer_is_elsewhere_is_a_pod_s() {
        let mut table = table(&[], &[]);
        table.link(&link(1, "eth0", InfoKind::Vlan, Some(0)));
        table.link(&link(2, "cali1", InfoKind::Veth, Some(1)));
        table.link(&link(3, "nk0", InfoKind::Netkit, Some(2)));
        table.link(&link(4, "local", InfoKind::Veth, None));
        assert_eq!(names(&table), ["cali1", "nk0"]);
    }

    #[test]
    fn a_link_becomes_a_pod_s_with_the_event_that_brings_its_namespace() {
        let mut table = table(&[], &[]);
        table.link(&link(2, "cali1", InfoKind::Veth, None));
        assert_eq!(table.pod_link(Ifindex(2)), None);
        assert_eq!(
            table.link(&link(2, "cali1", InfoKind::Veth, Some(0))),
            Changed::One(Ifindex(2))
        );
        assert_eq!(table.pod_link(Ifindex(2)).map(|link| link.netnsid), Some(0));
        assert_eq!(
            table.link(&link(2, "cali1", InfoKind::Veth, Some(0))),
            Changed::Nothing
        );
    }

    #[test]
    fn the_uplink_is_not_a_pod_s_by_its_address_or_its_route() {
        let mut table = table(&[], &[]);
        for (index, name) in [(2, "uplink"), (3, "route"), (4, "gateway"), (5, "plain")] {
            table.link(&link(index, name, InfoKind::Veth, Some(0)));
        }
        table.address(&address(2, "192.168.2.33", 24), false);
        table.route(&default_route(3));
        table.address(&address(4, "10.1.39.192", 32), false);
        table.address(&address(5, "fe80::1", 64), false);
        assert_eq!(names(&table), ["gateway", "plain"]);
        table.address(&address(2, "192.168.2.33", 24), true);
        assert_eq!(names(&table), ["uplink", "gateway", "plain"]);
    }

    #[test]
    fn a_node_address_marks_its_interface_whatever_its_prefix() {
        let mut table = table(&[], &["192.168.2.33"]);
        table.link(&link(2, "uplink", InfoKind::Veth, Some(0)));
        table.address(&address(2, "192.168.2.33", 32), false);
        assert_eq!(names(&table), Vec::<String>::new());
    }

    #[test]
    fn the_node_s_addresses_may_become_known_later_and_change() {
        let mut table = table(&[], &[]);
        table.link(&link(2, "uplink", InfoKind::Veth, Some(0)));
        table.link(&link(3, "cali1", InfoKind::Veth, Some(1)));
        table.address(&address(2, "192.168.2.33", 32), false);
        table.address(&address(3, "10.1.39.192", 32), false);
        assert_eq!(names(&table), ["uplink", "cali1"]);
        let node = |ip: &str| [ip.parse().expect("an address")];
        table.set_node_addresses(&node("192.168.2.33"));
        assert_eq!(names(&table), ["cali1"]);
        table.set_node_addresses(&node("192.168.2.34"));
        assert_eq!(names(&table), ["uplink", "cali1"]);
    }

    #[test]
    fn names_are_filtered_by_glob() {
        let mut table = table(&["cali*"], &[]);
        table.link(&link(2, "cali1", InfoKind::Veth, Some(1)));
        table.link(&link(3, "veth1", InfoKind::Veth, Some(2)));
        assert_eq!(names(&table), ["cali1"]);
    }

    #[test]
    fn a_bridge_s_message_about_its_port_does_not_change_the_port() {
        let mut table = table(&[], &[]);
        table.link(&link(2, "veth1", InfoKind::Veth, Some(1)));
        let mut port = LinkMessage::default();
        port.header.index = 2;
        port.header.interface_family = AddressFamily::Bridge;
        assert_eq!(table.link(&port), Changed::Nothing);
        assert_eq!(table.link_gone(&port), Changed::Nothing);
        assert_eq!(names(&table), ["veth1"]);
    }
}
