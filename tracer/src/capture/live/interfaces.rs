//! Decides which interfaces are pods' and which are the node's uplinks, and whether to trace `lo`, from the kernel's
//! messages about links, addresses and routes. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteType};

use tracer_core::model::flow::Ifindex;
use tracer_core::model::glob::Glob;

/// The dummy device of kube-proxy in its IPVS mode.
const IPVS_DEVICE: &str = "kube-ipvs0";

/// An interface to trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedLink {
    /// Its index.
    pub ifindex: Ifindex,
    /// Its current name.
    pub name: String,
    /// Whose traffic is traced there.
    pub of: LinkOf,
}

/// Whose traffic is traced at an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkOf {
    /// A pod's: the interface is the host end of its pair.
    Pod {
        /// The id that this network namespace has for the pod's (`IFLA_LINK_NETNSID`).
        netnsid: i32,
    },
    /// That of the node's own sockets: the interface leads to other hosts.
    Node,
    /// DNS between the node's own sockets: the interface is `lo`.
    Loopback,
}

impl LinkOf {
    /// Whether the traffic is that of the node's own sockets.
    pub fn is_node(self) -> bool {
        match self {
            LinkOf::Pod { .. } => false,
            LinkOf::Node | LinkOf::Loopback => true,
        }
    }
}

/// What a kernel message may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LinkChange {
    /// Nothing of relevance.
    Nothing,
    /// This interface.
    One(Ifindex),
    /// A default route: the routes must be listed again, then every interface checked.
    Routes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    name: String,
    pair: bool,
    dummy: bool,
    ethernet: bool,
    loopback: bool,
    netnsid: Option<i32>,
}

/// All links of this network namespace, with the facts that decide whether they are pods'.
#[derive(Debug)]
pub(super) struct LinkTable {
    /// The names to trace; empty: all.
    wanted: Vec<Glob>,
    /// Whether the node's own traffic is wanted.
    node: bool,
    node_addresses: HashSet<IpAddr>,
    links: HashMap<Ifindex, Link>,
    /// Every address with its prefix length; one address can occur with two.
    addresses: HashMap<Ifindex, BTreeSet<(IpAddr, u8)>>,
    default_routes: HashSet<Ifindex>,
}

impl LinkTable {
    pub fn new(wanted: Vec<Glob>, node: bool, node_addresses: &[IpAddr]) -> LinkTable {
        LinkTable {
            wanted,
            node,
            node_addresses: node_addresses.iter().copied().collect(),
            links: HashMap::new(),
            addresses: HashMap::new(),
            default_routes: HashSet::new(),
        }
    }

    /// Replaces the node's own addresses.
    pub fn set_node_addresses(&mut self, addresses: &[IpAddr]) {
        self.node_addresses = addresses.iter().copied().collect();
    }

    /// Forgets everything that came from the kernel, before it is listed again.
    pub fn clear(&mut self) {
        self.links.clear();
        self.addresses.clear();
        self.default_routes.clear();
    }

    /// Adds or changes a link. Every message describes the whole link.
    pub fn link(&mut self, message: &LinkMessage) -> LinkChange {
        // A bridge reports its ports in messages of its own family, which do not describe the link.
        if message.header.interface_family != AddressFamily::Unspec {
            return LinkChange::Nothing;
        }
        let ifindex = Ifindex(message.header.index);
        let mut link = Link {
            name: String::new(),
            pair: false,
            dummy: false,
            ethernet: message.header.link_layer_type == LinkLayerType::Ether,
            loopback: message.header.link_layer_type == LinkLayerType::Loopback,
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
                    link.dummy |= infos.contains(&LinkInfo::Kind(InfoKind::Dummy));
                }
                _ => {}
            }
        }
        if self.links.get(&ifindex) == Some(&link) {
            return LinkChange::Nothing;
        }
        self.links.insert(ifindex, link);
        LinkChange::One(ifindex)
    }

    /// Removes a link that has left this namespace.
    pub fn link_gone(&mut self, message: &LinkMessage) -> LinkChange {
        if message.header.interface_family != AddressFamily::Unspec {
            return LinkChange::Nothing;
        }
        let ifindex = Ifindex(message.header.index);
        self.links.remove(&ifindex);
        self.addresses.remove(&ifindex);
        self.default_routes.remove(&ifindex);
        LinkChange::One(ifindex)
    }

    /// Adds or removes an address.
    pub fn address(&mut self, message: &AddressMessage, gone: bool) -> LinkChange {
        let ifindex = Ifindex(message.header.index);
        // For IPv4 `IFA_LOCAL` is our address and `IFA_ADDRESS` can be the peer's; IPv6 mostly has only the
        // latter.
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
            return LinkChange::Nothing;
        };
        let addresses = self.addresses.entry(ifindex).or_default();
        let changed = if gone {
            addresses.remove(&(address, message.header.prefix_len))
        } else {
            addresses.insert((address, message.header.prefix_len))
        };
        if changed {
            LinkChange::One(ifindex)
        } else {
            LinkChange::Nothing
        }
    }

    /// Whether an added or removed route is a default route.
    pub fn route_event(message: &RouteMessage) -> LinkChange {
        if is_default(message) {
            LinkChange::Routes
        } else {
            LinkChange::Nothing
        }
    }

    /// Forgets the routes, before they are listed again.
    pub fn clear_routes(&mut self) {
        self.default_routes.clear();
    }

    /// Adds a route of the kernel's list.
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

    /// The interface, if it is a pod's, an uplink of the node or its `lo`, and wanted.
    pub fn traced_link(&self, ifindex: Ifindex) -> Option<TracedLink> {
        let link = self.links.get(&ifindex)?;
        let wanted =
            self.wanted.is_empty() || self.wanted.iter().any(|glob| glob.matches(&link.name));
        let uplink = self.default_routes.contains(&ifindex) || self.holds_node_address(ifindex);
        let of = match link.netnsid {
            Some(netnsid) if link.pair && !uplink => LinkOf::Pod { netnsid },
            // The probes expect an Ethernet header.
            _ if self.node && link.ethernet && self.is_uplink(ifindex) => LinkOf::Node,
            _ if self.node && link.loopback && self.has_dns_address() => LinkOf::Loopback,
            _ => return None,
        };
        wanted.then(|| TracedLink {
            ifindex,
            name: link.name.clone(),
            of,
        })
    }

    /// All interfaces to trace, by index.
    pub fn traced_links(&self) -> Vec<TracedLink> {
        let mut links: Vec<TracedLink> = self
            .links
            .keys()
            .filter_map(|ifindex| self.traced_link(*ifindex))
            .collect();
        links.sort_by_key(|link| link.ifindex);
        links
    }

    /// The node's `lo`. Whether it is traced depends on the addresses of others.
    pub fn loopback(&self) -> Option<Ifindex> {
        let mut links = self.links.iter();
        links.find_map(|(ifindex, link)| link.loopback.then_some(*ifindex))
    }

    /// Whether the node holds an address as a NodeLocal DNSCache listens on. Its dummy device has a link-local address
    /// and mostly the DNS Service's ClusterIP, with full prefixes. A pod's host end can have such an address too, a
    /// gateway's. With IPVS a dummy device has all ClusterIPs, at which nothing listens.
    fn has_dns_address(&self) -> bool {
        let mut links = self.links.iter().filter(|(_, link)| !link.pair);
        links.any(|(ifindex, link)| {
            let mut addresses = self.addresses.get(ifindex).into_iter().flatten();
            addresses.any(|(address, prefix)| match address {
                IpAddr::V4(v4) => {
                    *prefix == 32
                        && (v4.is_link_local() || link.dummy && &*link.name != IPVS_DEVICE)
                }
                IpAddr::V6(_) => *prefix == 128 && link.dummy && &*link.name != IPVS_DEVICE,
            })
        })
    }

    /// Whether the node's traffic to other hosts leaves here: by a default route, or from the node's address.
    fn is_uplink(&self, ifindex: Ifindex) -> bool {
        let mut addresses = self.addresses.get(&ifindex).into_iter().flatten();
        self.default_routes.contains(&ifindex)
            || addresses.any(|(address, _)| self.node_addresses.contains(address))
    }

    /// A pod's host end has no address, a link-local one, or a gateway's /32 or /128. A shorter prefix means
    /// that the interface is the node's own.
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
        message.header.link_layer_type = LinkLayerType::Ether;
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

    fn table(wanted: &[&str], node: &[&str]) -> LinkTable {
        let wanted = wanted
            .iter()
            .map(|glob| glob.parse().expect("a glob"))
            .collect();
        let node: Vec<IpAddr> = node
            .iter()
            .map(|ip| ip.parse().expect("an address"))
            .collect();
        LinkTable::new(wanted, true, &node)
    }

    fn names_of(table: &LinkTable, node: bool) -> Vec<String> {
        let links = table.traced_links().into_iter();
        links
            .filter(|link| link.of.is_node() == node)
            .map(|link| link.name)
            .collect()
    }

    /// The pods' interfaces.
    fn names(table: &LinkTable) -> Vec<String> {
        names_of(table, false)
    }

    #[test]
    fn a_pair_whose_peer_is_in_another_namespace_is_a_pods() {
        let mut table = table(&[], &[]);
        table.link(&link(1, "eth0", InfoKind::Vlan, Some(0)));
        table.link(&link(2, "cali1", InfoKind::Veth, Some(1)));
        table.link(&link(3, "nk0", InfoKind::Netkit, Some(2)));
        table.link(&link(4, "local", InfoKind::Veth, None));
        assert_eq!(names(&table), ["cali1", "nk0"]);
    }

    #[test]
    fn a_link_becomes_a_pods_with_the_message_that_has_its_namespace() {
        let mut table = table(&[], &[]);
        table.link(&link(2, "cali1", InfoKind::Veth, None));
        assert_eq!(table.traced_link(Ifindex(2)), None);
        assert_eq!(
            table.link(&link(2, "cali1", InfoKind::Veth, Some(0))),
            LinkChange::One(Ifindex(2))
        );
        assert_eq!(
            table.traced_link(Ifindex(2)).map(|link| link.of),
            Some(LinkOf::Pod { netnsid: 0 })
        );
        assert_eq!(
            table.link(&link(2, "cali1", InfoKind::Veth, Some(0))),
            LinkChange::Nothing
        );
    }

    #[test]
    fn an_uplink_is_recognised_by_its_address_or_its_route() {
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
    fn the_node_is_traced_where_its_default_route_or_its_address_is() {
        let mut table = table(&[], &["192.168.2.33"]);
        for (index, name, kind) in [
            (2, "address", InfoKind::Vlan),
            (3, "route", InfoKind::Veth),
            (4, "cni0", InfoKind::Bridge),
            (5, "cali1", InfoKind::Veth),
        ] {
            table.link(&link(index, name, kind, Some(0)));
        }
        let mut tunnel = link(6, "wg0", InfoKind::Wireguard, None);
        tunnel.header.link_layer_type = LinkLayerType::None;
        table.link(&tunnel);
        table.address(&address(2, "192.168.2.33", 24), false);
        table.address(&address(4, "10.1.39.1", 24), false);
        for index in [3, 6] {
            table.route(&default_route(index));
        }
        assert_eq!(names_of(&table, true), ["address", "route"]);
        table.node = false;
        assert_eq!(names_of(&table, true), Vec::<String>::new());
        assert_eq!(names(&table), ["cali1"]);
    }

    #[test]
    fn lo_is_traced_while_the_node_holds_an_address_for_dns() {
        let traced = |name: &str, kind: InfoKind, held: (&str, u8)| {
            let mut table = table(&[], &[]);
            let mut lo = link(1, "lo", InfoKind::Other(String::new()), None);
            lo.header.link_layer_type = LinkLayerType::Loopback;
            table.link(&lo);
            table.address(&address(1, "127.0.0.1", 8), false);
            table.address(&address(1, "::1", 128), false);
            table.link(&link(2, name, kind, Some(0)));
            table.address(&address(2, held.0, held.1), false);
            assert_eq!(table.loopback(), Some(Ifindex(1)));
            let traced = table.traced_link(Ifindex(1)).map(|link| link.of);
            table.address(&address(2, held.0, held.1), true);
            assert_eq!(table.traced_link(Ifindex(1)), None);
            traced == Some(LinkOf::Loopback)
        };
        assert!(traced(
            "nodelocaldns",
            InfoKind::Dummy,
            ("169.254.20.10", 32)
        ));
        assert!(traced("nodelocaldns", InfoKind::Dummy, ("10.96.0.10", 32)));
        assert!(traced("nodelocaldns", InfoKind::Dummy, ("fd00::a", 128)));
        assert!(traced("dns", InfoKind::Bridge, ("169.254.20.10", 32)));
        assert!(!traced("kube-ipvs0", InfoKind::Dummy, ("10.96.0.10", 32)));
        assert!(!traced("cali1", InfoKind::Veth, ("169.254.1.1", 32)));
        assert!(!traced("cni0", InfoKind::Bridge, ("10.1.39.1", 32)));
        assert!(!traced("eth0", InfoKind::Bridge, ("169.254.9.9", 16)));
        assert!(!traced("d0", InfoKind::Dummy, ("fe80::1", 64)));
    }

    #[test]
    fn an_interface_with_a_node_address_is_not_a_pods() {
        let mut table = table(&[], &["192.168.2.33"]);
        table.link(&link(2, "uplink", InfoKind::Veth, Some(0)));
        table.address(&address(2, "192.168.2.33", 32), false);
        assert_eq!(names(&table), Vec::<String>::new());
    }

    #[test]
    fn the_node_addresses_can_change() {
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
    fn interfaces_are_filtered_by_name() {
        let mut table = table(&["cali*"], &[]);
        table.link(&link(2, "cali1", InfoKind::Veth, Some(1)));
        table.link(&link(3, "veth1", InfoKind::Veth, Some(2)));
        assert_eq!(names(&table), ["cali1"]);
    }

    #[test]
    fn a_bridge_message_does_not_change_the_port() {
        let mut table = table(&[], &[]);
        table.link(&link(2, "veth1", InfoKind::Veth, Some(1)));
        let mut port = LinkMessage::default();
        port.header.index = 2;
        port.header.interface_family = AddressFamily::Bridge;
        assert_eq!(table.link(&port), LinkChange::Nothing);
        assert_eq!(table.link_gone(&port), LinkChange::Nothing);
        assert_eq!(names(&table), ["veth1"]);
    }
}
