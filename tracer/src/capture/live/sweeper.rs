//! Reads the flow table and removes entries that are over.
//!
//! The kernel never removes an entry, and a full table has no room for a new flow, so this module decides
//! about expiry, from the entry alone. From Linux 5.14 on looking up and removing are one step, so the
//! counters of a packet that came just before are not lost; the exception is a probe that uses the entry at
//! that very moment. Before 5.14 a packet between the two steps is missing from its flow, never from its
//! interface. Only flows that have been silent for seconds are removed.
//!
//! Per interface, the totals of its flows and the packets counted `outside` of them add up to the interface's
//! totals.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use aya::maps::MapError;
use tracer_common::{FlowKey, FlowState};

use super::counters::totals;
use super::flow_table::FlowTable;
use tracer_core::model::flow::{Flow, FlowSnapshot, Ifindex, Protocol, SeenFlags};
use tracer_core::model::time::Timestamp;

const TCP_FIN: u32 = 0x01;
const TCP_RST: u32 = 0x04;

/// A sweep returns the flows that had a packet since the last one. Timestamps of two CPUs can overtake each
/// other, and a probe can be between its timestamp and its count; this overlap keeps such packets.
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
    /// `entries` is the number of entries at the last sweep. In a table that is more than three quarters full
    /// every silent flow expires after `linger`.
    fn is_over(&self, key: &FlowKey, state: &FlowState, now: Timestamp, entries: usize) -> bool {
        let silent = now.since(Timestamp(state.last_ktime_ns));
        let crowded = entries > self.capacity / 4 * 3;
        let flags = state.tx_tcp_flags | state.rx_tcp_flags;
        let closed =
            flags & TCP_RST != 0 || (state.tx_tcp_flags & state.rx_tcp_flags & TCP_FIN) != 0;
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

/// Sweeps the flow table.
pub(super) struct Sweeper {
    map: FlowTable,
    expiry: Expiry,
    last: Timestamp,
    entries: usize,
}

impl Sweeper {
    pub fn new(map: FlowTable, expiry: Expiry) -> Sweeper {
        Sweeper {
            map,
            expiry,
            last: Timestamp::default(),
            entries: 0,
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
        let mut snapshots = Vec::new();
        let mut over = Vec::new();
        let mut entries = 0;
        // Concurrent changes can make the iteration start over; this bounds it.
        for entry in self.map.iter().take(self.expiry.capacity * 2) {
            let (key, state) = match entry {
                Ok(entry) => entry,
                Err(MapError::KeyNotFound) => continue,
                Err(error) => return Err(error),
            };
            entries += 1;
            if state.last_ktime_ns >= since.0 {
                snapshots.push(snapshot(&key, &state));
            } else if self.expiry.is_over(&key, &state, now, self.entries) {
                over.push((key, state));
            }
        }
        for (key, known) in over {
            match self.map.take(&key) {
                Ok(last) => {
                    entries -= 1;
                    snapshots.extend((last.totals != known.totals).then(|| snapshot(&key, &last)));
                }
                Err(MapError::KeyNotFound) => entries -= 1,
                Err(error) => return Err(error),
            }
        }
        self.entries = entries;
        self.last = now;
        Ok(snapshots)
    }
}

fn snapshot(key: &FlowKey, state: &FlowState) -> FlowSnapshot {
    FlowSnapshot {
        flow: Flow {
            ifindex: Ifindex(key.ifindex),
            protocol: Protocol::from_number(key.protocol),
            pod: SocketAddr::new(address(key.pod_addr_be), key.pod_port),
            peer: SocketAddr::new(address(key.peer_addr_be), key.peer_port),
        },
        totals: totals(&state.totals),
        first: Timestamp(state.first_ktime_ns),
        last: Timestamp(state.last_ktime_ns),
        // The flags byte of the TCP header; the probes store it in 32 bits.
        tcp_flags: SeenFlags {
            tx: state.tx_tcp_flags as u8,
            rx: state.rx_tcp_flags as u8,
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

    fn over_after(key: &FlowKey, state: &FlowState, seconds: u64, entries: usize) -> bool {
        expiry().is_over(key, state, Timestamp(seconds * SECOND), entries)
    }

    #[test]
    fn an_open_connection_stays_until_it_is_idle() {
        let key = FlowKey {
            protocol: 6,
            pod_port: 40_000,
            peer_port: 80,
            ..FlowKey::default()
        };
        let state = FlowState {
            tx_tcp_flags: TCP_FIN,
            ..silent_since_zero()
        };
        assert!(
            !over_after(&key, &state, 299, 1),
            "only one side has closed"
        );
        assert!(over_after(&key, &state, 300, 1));
    }

    #[test]
    fn a_closed_connection_is_over_after_the_linger_time() {
        let key = FlowKey {
            protocol: 6,
            ..FlowKey::default()
        };
        let reset = FlowState {
            rx_tcp_flags: TCP_RST,
            ..silent_since_zero()
        };
        let finished = FlowState {
            tx_tcp_flags: TCP_FIN,
            rx_tcp_flags: TCP_FIN,
            ..silent_since_zero()
        };
        for state in [reset, finished] {
            assert!(!over_after(&key, &state, 9, 1));
            assert!(over_after(&key, &state, 10, 1));
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
        assert!(over_after(&dns, &silent_since_zero(), 10, 1));
        assert!(!over_after(&other, &silent_since_zero(), 10, 1));
    }

    #[test]
    fn a_crowded_table_drops_silent_flows() {
        let key = FlowKey {
            protocol: 17,
            ..FlowKey::default()
        };
        assert!(!over_after(&key, &silent_since_zero(), 10, 75));
        assert!(over_after(&key, &silent_since_zero(), 10, 76));
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
