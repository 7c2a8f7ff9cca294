//! The probes' read-only globals, computed from the capture's options.

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
    pub bucket_cost_ns: u64,
    pub bucket_burst_ns: u64,
    pub ring_watermark_bytes: u64,
    pub probe_log: u32,
}

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
        let bucket_cost_ns = match options.records_per_second {
            0 => 0,
            rate => (1_000_000_000 / u64::from(rate)).max(1),
        };
        Ok(Globals {
            dns_ports,
            emit: emit_bits(&options.emission, only_ports),
            emit_ports,
            payload_cap_bytes: options.payload_cap_bytes.min(CAPTURE_CLASSES[2] as u32),
            bucket_cost_ns,
            // At least one record must fit, or no record could ever be emitted.
            bucket_burst_ns: bucket_cost_ns * u64::from(options.record_burst.max(1)),
            // Early enough to leave room for the records that arrive until the consumer runs.
            ring_watermark_bytes: (u64::from(options.ring_bytes) / 8).max(1),
            probe_log: u32::from(options.probe_log),
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
    fn a_record_costs_its_share_of_a_second() {
        let options = Options {
            records_per_second: 1_000,
            record_burst: 5,
            ..Options::default()
        };
        let globals = Globals::new(&options).expect("valid");
        assert_eq!(
            (globals.bucket_cost_ns, globals.bucket_burst_ns),
            (1_000_000, 5_000_000)
        );
        let unlimited = Options {
            records_per_second: 0,
            ..Options::default()
        };
        assert_eq!(Globals::new(&unlimited).expect("valid").bucket_cost_ns, 0);
    }
}
