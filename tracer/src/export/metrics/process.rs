//! The resources of this process, under the names that every Prometheus client library uses. Input:
//! /proc/self.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Reads /proc/self at each scrape.
#[derive(Debug)]
pub(super) struct Process {
    started: jiff::Timestamp,
}

impl Process {
    pub fn new(started: jiff::Timestamp) -> Process {
        Process { started }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        // Both numbers are far below 2^52, up to which f64 is exact.
        let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
        ConstCounter::new(cpu).encode(encoder.encode_descriptor(
            "process_cpu",
            "Total user and system CPU time",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?)?;
        ConstGauge::new(self.started.as_duration().as_secs_f64()).encode(
            encoder.encode_descriptor(
                "process_start_time",
                "Start time of the process since the Unix epoch",
                Some(&Unit::Seconds),
                MetricType::Gauge,
            )?,
        )?;
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        for (field, name, help) in [
            ("VmRSS", "process_resident_memory", "Resident memory size"),
            ("VmSize", "process_virtual_memory", "Virtual memory size"),
        ] {
            if let Some(bytes) = kilobytes(&status, field) {
                ConstGauge::new(bytes).encode(encoder.encode_descriptor(
                    name,
                    help,
                    Some(&Unit::Bytes),
                    MetricType::Gauge,
                )?)?;
            }
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // One of them belongs to the directory being read.
            let open = (open.count() as u64).saturating_sub(1);
            let help = "Number of open file descriptors";
            let gauge = MetricType::Gauge;
            ConstGauge::new(open).encode(encoder.encode_descriptor(
                "process_open_fds",
                help,
                None,
                gauge,
            )?)?;
        }
        if let Some(limit) = getrlimit(Resource::Nofile).current {
            let help = "Maximum number of open file descriptors";
            let gauge = MetricType::Gauge;
            ConstGauge::new(limit).encode(encoder.encode_descriptor(
                "process_max_fds",
                help,
                None,
                gauge,
            )?)?;
        }
        Ok(())
    }
}

/// A field of /proc/self/status in bytes. The kernel writes KiB and labels them kB.
fn kilobytes(status: &str, field: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}
