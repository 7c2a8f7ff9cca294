//! Reads the flow table and removes entries that are over.
//!
//! The kernel never removes an entry, and a full table has no room for a new flow, so this module decides
//! about expiry, from the entry alone. From Linux 5.14 on looking up and removing are one step, so the
//! counters of a packet that came just before are not lost; the exception is a probe that uses the entry at
//! that very moment. Before 5.14 a packet between the two steps is missing from its flow, never from its
//! interface. Only flows that have been silent for seconds are removed.
//!
//! It also counts each interface's entries, from which the probes know the interface's share of the table.
//!
//! Per interface, the totals of its flows and the packets counted `outside` of them add up to the interface's
//! totals.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use aya::maps::MapError;
use tracer_common::{FlowKey, FlowState};

use super::attach::SharedInterfaces;
use super::counters::flow_totals;
use super::flow_table::FlowTable;
use super::node_flows::NodeFlows;
use tracer_core::model::flow::{Flow, FlowSnapshot, Ifindex, Protocol, SeenFlags};
use tracer_core::model::time::Timestamp;

const TCP_FIN: u32 = 0x01;
const TCP_RST: u32 = 0x04;

/// A sweep returns the flows that had a packet since the last one. Timestamps of two CPUs can overtake each
/// other, a probe can be between its timestamp and its count, and the coarse clock is late by a tick (10 ms at
/// most); this overlap keeps such packets.
const OVERLAP: Duration = Duration::from_millis(100);

/// The rules for when an entry of the flow table is over.
#[derive(Clone, Debug)]
pub(super) struct Expiry {
    /// A flow without a packet for this long is over.
    pub idle: Duration,
    /// The same for a closed connection and a DNS flow.
    pub linger: Duration,
    pub dns_ports: Vec<u16>,
    /// The flow table's number of entries.
    pub capacity: usize,
}

impl Expiry {
    /// Of an interface that holds more than three quarters of the entries that it may hold, every silent flow
    /// expires after `linger`. It may hold as many as are free.
    fn is_crowded(&self, held: usize, entries: usize) -> bool {
        held / 3 * 4 > self.capacity.saturating_sub(entries)
    }

    fn is_over(&self, key: &FlowKey, state: &FlowState, now: Timestamp, crowded: bool) -> bool {
        let silent = now.since(last(state));
        let (tx, rx) = (state.tx.tcp_flags, state.rx.tcp_flags);
        let closed = (tx | rx) & TCP_RST != 0 || (tx & rx & TCP_FIN) != 0;
        let dns = self.dns_ports.contains(&key.peer_port) || self.dns_ports.contains(&key.pod_port);
        let brief = crowded
            || match Protocol::from_number(key.protocol) {
                Protocol::Tcp => closed,
                // A resolver uses a new port for every query.
                Protocol::Udp => dns,
                Protocol::Icmp | Protocol::Icmpv6 | Protocol::Other(_) => false,
            };
        silent >= if brief { self.linger } else { self.idle }
    }
}

/// The time of the flow's latest packet.
fn last(state: &FlowState) -> Timestamp {
    Timestamp(state.tx.last_ktime_ns.max(state.rx.last_ktime_ns))
}

/// Sweeps the flow table.
pub(super) struct Sweeper {
    map: FlowTable,
    node: Option<NodeFlows>,
    interfaces: SharedInterfaces,
    expiry: Expiry,
    /// Whether the kernel shows what sockets send again.
    counts_retransmits: bool,
    last: Timestamp,
    /// The entries at the end of the last sweep, in all and of each interface.
    entries: usize,
    held: HashMap<u32, usize>,
}

impl Sweeper {
    pub fn new(
        map: FlowTable,
        node: Option<NodeFlows>,
        interfaces: SharedInterfaces,
        expiry: Expiry,
        counts_retransmits: bool,
    ) -> Sweeper {
        Sweeper {
            map,
            node,
            interfaces,
            expiry,
            counts_retransmits,
            last: Timestamp::default(),
            entries: 0,
            held: HashMap::new(),
        }
    }

    /// Returns the flows that had a packet since the last sweep, and removes the entries that are over. A
    /// removed flow's final counters are in this sweep or in an earlier one.
    pub fn sweep(&mut self, now: Timestamp) -> Result<Vec<FlowSnapshot>, MapError> {
        let since = Timestamp(
            self.last
                .0
                .saturating_sub(u64::try_from(OVERLAP.as_nanos()).unwrap_or(0)),
        );
        // Before the interfaces are listed: one that is new since then has opened its flows since then, too.
        let mut over = self.node.as_ref().map(NodeFlows::begin).transpose()?;
        // Before the entries are counted, see `FlowTable::set_entries`.
        let states = self.interfaces.lock().states()?;
        let of_pods: HashSet<u32> = (states.iter())
            .filter(|(_, state)| state.is_node == 0)
            .map(|(ifindex, _)| ifindex.0)
            .collect();
        let added = self.map.added()?;
        let mut snapshots = Vec::new();
        let mut expired = Vec::new();
        let mut held: HashMap<u32, usize> = HashMap::new();
        self.map.for_each(|key, state| {
            *held.entry(key.ifindex).or_default() += 1;
            if let Some(over) = &mut over
                && !of_pods.contains(&key.ifindex)
            {
                over.exists(&key);
            }
            let before = self.held.get(&key.ifindex).copied().unwrap_or(0);
            let crowded = self.expiry.is_crowded(before, self.entries);
            if last(&state) >= since {
                snapshots.push(snapshot(&key, &state, self.counts_retransmits));
            } else if self.expiry.is_over(&key, &state, now, crowded) {
                expired.push((key, state));
            }
        })?;
        if let (Some(node), Some(over)) = (&mut self.node, &over) {
            node.set_over(over)?;
        }
        for (key, known) in expired {
            match self.map.take(&key) {
                Ok(last) => {
                    let [before, now] =
                        [&known, &last].map(|state| snapshot(&key, state, self.counts_retransmits));
                    snapshots.extend((now.totals != before.totals).then_some(now));
                }
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(error),
            }
            if let Some(held) = held.get_mut(&key.ifindex) {
                *held -= 1;
            }
        }
        self.entries = held.values().sum();
        self.map.set_entries(self.entries as u64, added)?;
        {
            let mut interfaces = self.interfaces.lock();
            for (ifindex, state) in states {
                let held = held.get(&ifindex.0).copied().unwrap_or(0) as u64;
                interfaces.set_flows_base(ifindex, held.wrapping_sub(state.flows_added))?;
            }
        }
        self.held = held;
        self.last = now;
        Ok(snapshots)
    }
}

fn snapshot(key: &FlowKey, state: &FlowState, counts_retransmits: bool) -> FlowSnapshot {
    FlowSnapshot {
        flow: Flow {
            ifindex: Ifindex(key.ifindex),
            protocol: Protocol::from_number(key.protocol),
            pod: SocketAddr::new(address(key.pod_addr_be), key.pod_port),
            peer: SocketAddr::new(address(key.peer_addr_be), key.peer_port),
        },
        totals: flow_totals(state, counts_retransmits),
        first: Timestamp(state.first_ktime_ns),
        last: last(state),
        // The flags byte of the TCP header; the probes store it in 32 bits.
        tcp_flags: SeenFlags {
            tx: state.tx.tcp_flags as u8,
            rx: state.rx.tcp_flags as u8,
        },
    }
}

fn address(bytes_be: [u8; 16]) -> IpAddr {
    let address = Ipv6Addr::from(bytes_be);
    address
        .to_ipv4_mapped()
        .map_or(IpAddr::V6(address), IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn expiry() -> Expiry {
        Expiry {
            idle: Duration::from_secs(300),
            linger: Duration::from_secs(10),
            dns_ports: vec![53],
            capacity: 100,
        }
    }

    fn silent_since_zero() -> FlowState {
        FlowState::default()
    }

    fn over_after(key: &FlowKey, state: &FlowState, seconds: u64, crowded: bool) -> bool {
        expiry().is_over(key, state, Timestamp(seconds * SECOND), crowded)
    }

    fn with_flags(tx: u32, rx: u32) -> FlowState {
        let mut state = FlowState::default();
        (state.tx.tcp_flags, state.rx.tcp_flags) = (tx, rx);
        state
    }

    #[test]
    fn an_open_connection_stays_until_it_is_idle() {
        let key = FlowKey {
            protocol: 6,
            pod_port: 40_000,
            peer_port: 80,
            ..FlowKey::default()
        };
        let state = with_flags(TCP_FIN, 0);
        assert!(
            !over_after(&key, &state, 299, false),
            "only one side has closed"
        );
        assert!(over_after(&key, &state, 300, false));
    }

    #[test]
    fn a_closed_connection_is_over_after_the_linger_time() {
        let key = FlowKey {
            protocol: 6,
            ..FlowKey::default()
        };
        for state in [with_flags(0, TCP_RST), with_flags(TCP_FIN, TCP_FIN)] {
            assert!(!over_after(&key, &state, 9, false));
            assert!(over_after(&key, &state, 10, false));
        }
    }

    #[test]
    fn a_dns_flow_is_over_sooner_than_other_udp() {
        let dns = FlowKey {
            protocol: 17,
            pod_port: 40_000,
            peer_port: 53,
            ..FlowKey::default()
        };
        let other = FlowKey {
            protocol: 17,
            pod_port: 40_000,
            peer_port: 123,
            ..FlowKey::default()
        };
        assert!(over_after(&dns, &silent_since_zero(), 10, false));
        assert!(!over_after(&other, &silent_since_zero(), 10, false));
    }

    #[test]
    fn an_interface_near_its_share_loses_its_silent_flows_and_others_keep_theirs() {
        let key = FlowKey {
            protocol: 17,
            ..FlowKey::default()
        };
        assert!(!over_after(&key, &silent_since_zero(), 10, false));
        assert!(over_after(&key, &silent_since_zero(), 10, true));
        // Of 100 entries one interface may hold 50. Beside it another holds 3.
        assert!(!expiry().is_crowded(36, 36 + 3));
        assert!(expiry().is_crowded(48, 48 + 3));
        assert!(!expiry().is_crowded(3, 48 + 3));
    }

    #[test]
    fn a_mapped_address_becomes_ipv4() {
        let mut bytes = [0; 16];
        bytes[10..].copy_from_slice(&[0xff, 0xff, 10, 1, 39, 193]);
        assert_eq!(address(bytes).to_string(), "10.1.39.193");
        assert_eq!(
            address([0xfd; 16]).to_string(),
            "fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd"
        );
    }
}
