//! The probes' read-only globals, computed from the capture's options.

use aya::util::KernelVersion;
use tracer_common::{CAPTURE_CLASSES, MAX_DNS_PORTS, MAX_EMIT_PORTS, emit};

use super::error::CaptureError;
use crate::capture::Options;
use tracer_core::model::emission::{Emission, MAX_PORTS};

/// The values of the probes' read-only globals; `tracer-ebpf/src/settings.rs` describes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Globals {
    pub dns_ports: [u16; MAX_DNS_PORTS],
    pub emit: u32,
    pub emit_ports: [u16; MAX_EMIT_PORTS],
    pub payload_cap_bytes: u32,
    pub dns_port_count: u32,
    pub share_per_window: u32,
    pub ring_bits: u32,
    pub flow_entries: u64,
    pub coarse_clock: u32,
    pub probe_log: u32,
    pub senders: u32,
}

/// The first kernel with `bpf_ktime_get_coarse_ns`.
const COARSE_CLOCK_SINCE: KernelVersion = KernelVersion::new(5, 11, 0);
/// The window of the probes' rate estimate, in nanoseconds (tracer-ebpf/src/thinning.rs).
const WINDOW_NS: u64 = 1 << 27;
/// aya rounds the ring's size up to a power of two, of at least a page.
const MIN_RING_BITS: u32 = 12;

impl Globals {
    pub fn new(options: &Options) -> Result<Globals, CaptureError> {
        let given = &options.dns_ports;
        let (Some(&first), true) = (given.first(), given.len() <= MAX_DNS_PORTS) else {
            return Err(CaptureError::DnsPorts { given: given.len() });
        };
        // Unused slots repeat a port in use: 0 could be a packet's port.
        let mut dns_ports = [first; MAX_DNS_PORTS];
        dns_ports[..given.len()].copy_from_slice(given);
        let ports = options.emission.ports.as_slice();
        let mut emit_ports = [0; MAX_EMIT_PORTS];
        let only_ports = (1..=MAX_PORTS).contains(&ports.len());
        if let (true, Some(&first)) = (only_ports, ports.first()) {
            emit_ports = [first; MAX_EMIT_PORTS];
            emit_ports[..ports.len()].copy_from_slice(ports);
        }
        let share = u64::from(options.records_per_second) * WINDOW_NS;
        let coarse = KernelVersion::current().is_ok_and(|version| version >= COARSE_CLOCK_SINCE);
        let [.., largest] = CAPTURE_CLASSES;
        Ok(Globals {
            dns_ports,
            emit: emit_bits(&options.emission, only_ports),
            emit_ports,
            payload_cap_bytes: options.payload_cap_bytes.min(largest as u32),
            dns_port_count: given.len() as u32,
            // Rounded up: 0 would mean no limit.
            share_per_window: u32::try_from(share.div_ceil(1_000_000_000)).unwrap_or(u32::MAX),
            ring_bits: u64::from(options.ring_bytes)
                .next_power_of_two()
                .trailing_zeros()
                .max(MIN_RING_BITS),
            flow_entries: u64::from(options.flow_entries),
            coarse_clock: u32::from(coarse),
            probe_log: u32::from(options.probe_log),
            senders: u32::from(options.senders),
        })
    }
}

const _: () = assert!(MAX_PORTS == MAX_EMIT_PORTS);

fn emit_bits(emission: &Emission, only_ports: bool) -> u32 {
    [
        (emission.dns, emit::DNS),
        (emission.tcp, emit::TCP),
        (emission.echo, emit::ECHO),
        (emission.icmp_errors, emit::ICMP_ERROR),
        (emission.first, emit::FIRST),
        (only_ports, emit::ONLY_PORTS),
        (emission.by_interface, emit::BY_INTERFACE),
    ]
    .into_iter()
    .filter(|(asked, _)| *asked)
    .fold(0, |bits, (_, bit)| bits | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_dns_port_slots_repeat_a_port_in_use() {
        let options = Options {
            dns_ports: vec![53, 5353],
            ..Options::default()
        };
        let globals = Globals::new(&options).expect("two ports fit");
        assert_eq!(globals.dns_ports, [53, 5353, 53, 53, 53, 53, 53, 53]);
    }

    #[test]
    fn everything_is_emitted_by_default() {
        let globals = Globals::new(&Options::default()).expect("valid");
        assert_eq!(globals.emit, emit::ALL);
        let emission = |emission| {
            Globals::new(&Options {
                emission,
                ..Options::default()
            })
            .expect("valid")
        };
        let pings = emission(Emission {
            echo: true,
            by_interface: true,
            ..Emission::nothing()
        });
        assert_eq!(pings.emit, emit::ECHO | emit::BY_INTERFACE);
        let web = emission(Emission {
            ports: vec![80, 443],
            ..Emission::default()
        });
        assert_eq!(web.emit, emit::ALL | emit::ONLY_PORTS);
        assert_eq!(web.emit_ports, [80, 443, 80, 80, 80, 80, 80, 80]);
        // More ports than the probes can compare: emit for every port.
        let many = emission(Emission {
            ports: (1..=9).collect(),
            ..Emission::default()
        });
        assert_eq!(many.emit, emit::ALL);
    }

    #[test]
    fn no_dns_port_and_too_many_dns_ports_are_refused() {
        for dns_ports in [vec![], vec![53; MAX_DNS_PORTS + 1]] {
            let given = dns_ports.len();
            let error = Globals::new(&Options {
                dns_ports,
                ..Options::default()
            })
            .expect_err("refused");
            assert!(
                error.to_string().contains(&format!("{given} were given")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_share_is_never_rounded_to_no_limit() {
        let share = |records_per_second| {
            let options = Options {
                records_per_second,
                ..Options::default()
            };
            Globals::new(&options).expect("valid").share_per_window
        };
        assert_eq!(share(0), 0);
        assert_eq!(share(1), 1);
        assert_eq!(share(10_000), 1_343);
    }

    #[test]
    fn the_ring_has_the_size_that_aya_gives_it() {
        let bits = |ring_bytes| {
            let options = Options {
                ring_bytes,
                ..Options::default()
            };
            Globals::new(&options).expect("valid").ring_bits
        };
        assert_eq!(bits(8 << 20), 23);
        assert_eq!(bits(5_000), 13);
        assert_eq!(bits(1), 12);
    }
}
