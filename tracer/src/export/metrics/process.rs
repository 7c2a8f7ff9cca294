//! What this process itself costs, under the names that every Prometheus client library uses. Input: /proc/self.

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

/// Reads it at each scrape.
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
        // Both are far below 2^52, where f64 is exact.
        let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
        ConstCounter::new(cpu).encode(encoder.encode_descriptor(
            "process_cpu",
            "CPU time, user and system",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?)?;
        ConstGauge::new(self.started.as_duration().as_secs_f64()).encode(
            encoder.encode_descriptor(
                "process_start_time",
                "When the process started, since the epoch",
                Some(&Unit::Seconds),
                MetricType::Gauge,
            )?,
        )?;
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        for (field, name, help) in [
            ("VmRSS", "process_resident_memory", "Memory in use"),
            ("VmSize", "process_virtual_memory", "Address space in use"),
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
            // The one that lists them is one of them.
            let open = (open.count() as u64).saturating_sub(1);
            let help = "Open file descriptors";
            let gauge = MetricType::Gauge;
            ConstGauge::new(open).encode(encoder.encode_descriptor(
                "process_open_fds",
                help,
                None,
                gauge,
            )?)?;
        }
        if let Some(most) = getrlimit(Resource::Nofile).current {
            let help = "File descriptors that may be open";
            let gauge = MetricType::Gauge;
            ConstGauge::new(most).encode(encoder.encode_descriptor(
                "process_max_fds",
                help,
                None,
                gauge,
            )?)?;
        }
        Ok(())
    }
}

/// A field of /proc/self/status in bytes; the kernel writes them in KiB and calls those kB.
fn kilobytes(status: &str, field: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}
