//! Reads what the probes count: flows, interfaces, their own statistics. Removes flow entries that are over.
//!
//! The kernel never removes a flow entry by itself, and finds no room when the table is full: expiry is decided here,
//! from the entry alone. Looking and removing are one step where the kernel has it (5.14), so a packet that came just
//! before is told, too; what is left is a probe that holds the entry at that very moment. Before 5.14 a packet between the
//! two steps is missing from its flow, never from its interface. Only flows silent for seconds are removed.
//!
//! So per interface the flows' totals and what is counted `outside` of them add up to the interface's.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use aya::maps::{MapData, MapError, PerCpuArray};
use tracer_common::{FlowKey, FlowState, stat};

use super::flow_table::FlowTable;
use tracer_core::model::flow::{
    Flow, FlowSnapshot, FlowTotals, Ifindex, Protocol, SeenFlags, Traffic,
};
use tracer_core::model::loss::{Losses, Stage};
use tracer_core::model::time::Timestamp;

/// Every statistic of the probes, one value a CPU.
pub(super) type StatsMap = PerCpuArray<MapData, [u64; stat::COUNT as usize]>;

const TCP_FIN: u32 = 0x01;
const TCP_RST: u32 = 0x04;

/// A flow is told again when it had a packet since the last sweep. Two CPUs' stamps can overtake each other, and a probe
/// can be between its stamp and its count: so much overlap loses none of them.
const OVERLAP: Duration = Duration::from_millis(100);

/// What the probes counted since they were loaded, summed over CPUs, and what their reader added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelStats {
    /// Packets that a probe saw.
    pub seen: u64,
    /// Records that were due: always `emitted + ring_full + suppressed + copy_failed`.
    pub due: u64,
    /// Records written to the ring buffer.
    pub emitted: u64,
    /// Records lost because the ring buffer was full.
    pub ring_full: u64,
    /// Records held back by an interface's token bucket.
    pub suppressed: u64,
    /// Records dropped because the packet's bytes could not be copied.
    pub copy_failed: u64,
    /// Packets of a flow for which the flow table had no room.
    pub flow_table_full: u64,
    /// Packets of an interface that has no entry.
    pub no_interface: u64,
    /// Packets that are neither IPv4 nor IPv6.
    pub not_ip: u64,
    /// Packets whose headers made no sense or ended too early.
    pub malformed: u64,
    /// Fragments other than the first.
    pub fragments: u64,
    /// Headers that had to be read the slow way.
    pub slow_loads: u64,
    /// DNS packets with more payload than is captured.
    pub truncated: u64,
    /// Ring entries that were no records.
    pub undecodable: u64,
}

impl KernelStats {
    pub(super) fn new(sums: &[u64; stat::COUNT as usize], undecodable: u64) -> KernelStats {
        let at = |index: u32| sums[index as usize];
        KernelStats {
            seen: at(stat::SEEN),
            due: at(stat::DUE),
            emitted: at(stat::EMITTED),
            ring_full: at(stat::RING_FULL),
            suppressed: at(stat::SUPPRESSED),
            copy_failed: at(stat::COPY_FAILED),
            flow_table_full: at(stat::FLOW_TABLE_FULL),
            no_interface: at(stat::NO_INTERFACE),
            not_ip: at(stat::NOT_IP),
            malformed: at(stat::MALFORMED),
            fragments: at(stat::FRAGMENT),
            slow_loads: at(stat::SLOW_LOAD),
            truncated: at(stat::TRUNCATED),
            undecodable,
        }
    }

    /// What of it means that something is missing from the results, since the start.
    pub fn losses(&self) -> Losses {
        let mut losses = Losses::default();
        losses.add(Stage::Ring, "ring buffer full", self.ring_full);
        losses.add(Stage::Kernel, "rate limit of an interface", self.suppressed);
        losses.add(
            Stage::Kernel,
            "packet could not be copied",
            self.copy_failed,
        );
        losses.add(Stage::Kernel, "flow table full", self.flow_table_full);
        losses.add(Stage::Kernel, "packet headers malformed", self.malformed);
        losses.add(Stage::Decode, "ring entry is no record", self.undecodable);
        losses
    }
}

/// Sums the statistics over CPUs.
pub(super) fn read_stats(map: &StatsMap) -> Result<[u64; stat::COUNT as usize], MapError> {
    let mut sums = [0_u64; stat::COUNT as usize];
    for cpu in map.get(&0, 0)?.iter() {
        for (sum, value) in sums.iter_mut().zip(cpu) {
            *sum = sum.wrapping_add(*value);
        }
    }
    Ok(sums)
}

/// When an entry of the flow table is over.
#[derive(Clone, Debug)]
pub(super) struct Expiry {
    pub idle: Duration,
    pub linger: Duration,
    pub dns_ports: Vec<u16>,
    pub capacity: usize,
}

impl Expiry {
    /// `entries` is how full the table was at the last sweep: when it fills up, silence costs a flow its entry sooner.
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
                // A resolver takes a new port for every query.
                Protocol::Udp => dns,
                Protocol::Icmp | Protocol::Icmpv6 | Protocol::Other(_) => false,
            };
        silent >= if brief { self.linger } else { self.idle }
    }
}

/// Goes through the flow table.
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

    /// The flows that had a packet since the last sweep; removes the entries that are over, all of which were told as they
    /// were last.
    pub fn sweep(&mut self, now: Timestamp) -> Result<Vec<FlowSnapshot>, MapError> {
        let since = Timestamp(
            self.last
                .0
                .saturating_sub(u64::try_from(OVERLAP.as_nanos()).unwrap_or(0)),
        );
        let mut snapshots = Vec::new();
        let mut over = Vec::new();
        let mut entries = 0;
        // Entries come and go meanwhile and an iteration can start over: not more often than twice.
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
        // The flags byte of the TCP header, widened for the probes' sake.
        tcp_flags: SeenFlags {
            tx: state.tx_tcp_flags as u8,
            rx: state.rx_tcp_flags as u8,
        },
    }
}

/// The kernel's form of totals to the model's.
pub(super) fn totals(totals: &tracer_common::FlowTotals) -> FlowTotals {
    FlowTotals {
        tx: Traffic {
            packets: totals.tx_packets,
            bytes: totals.tx_bytes,
        },
        rx: Traffic {
            packets: totals.rx_packets,
            bytes: totals.rx_bytes,
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
            "one side only has closed"
        );
        assert!(over_after(&key, &state, 300, 1));
    }

    #[test]
    fn a_closed_connection_goes_after_the_linger() {
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
    fn a_dns_flow_goes_sooner_than_other_udp() {
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
    fn a_crowded_table_keeps_nothing_that_is_silent() {
        let key = FlowKey {
            protocol: 17,
            ..FlowKey::default()
        };
        assert!(!over_after(&key, &silent_since_zero(), 10, 75));
        assert!(over_after(&key, &silent_since_zero(), 10, 76));
    }

    #[test]
    fn a_mapped_address_is_ipv4_again() {
        let mut bytes = [0; 16];
        bytes[10..].copy_from_slice(&[0xff, 0xff, 10, 1, 39, 193]);
        assert_eq!(address(bytes).to_string(), "10.1.39.193");
        assert_eq!(
            address([0xfd; 16]).to_string(),
            "fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd"
        );
    }
}
