//! Counts what the tracers reported and used, and writes the report.
//!
//! Owns the verdict: what counts as a false alarm or a loss. Input: JSON lines, closing summaries, /proc.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Pid;
use serde_json::Value;

use super::Traced;
use super::traffic::Traffic;
use crate::lab::ProxyMode;
use crate::watch::Ended;

/// The kernel shows user space a hundredth of a second on every architecture that Kubernetes runs on
/// (USER_HZ).
const MS_PER_TICK: u64 = 10;

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// CPU time.
    pub cpu: Duration,
    /// Resident memory.
    pub memory_kib: u64,
    files: usize,
}

impl Figures {
    /// Reads them from /proc.
    pub fn of(pid: Pid) -> Result<Figures> {
        let directory = format!("/proc/{}", pid.as_raw_nonzero());
        let read = |file: &str| {
            let path = format!("{directory}/{file}");
            fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        let stat = read("stat")?;
        // After the command, which may contain any character: user and system time are fields 14 and 15 of
        // proc(5).
        let fields: Vec<u64> = stat
            .rsplit_once(')')
            .context("no command in stat")?
            .1
            .split_whitespace()
            .map(|field| field.parse().unwrap_or_default())
            .collect();
        let ticks = fields
            .get(11)
            .zip(fields.get(12))
            .context("stat is short")?;
        let status = read("status")?;
        let memory = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
            .context("no VmRSS in status")?;
        Ok(Figures {
            cpu: Duration::from_millis((ticks.0 + ticks.1) * MS_PER_TICK),
            memory_kib: memory.trim().parse().context("VmRSS is no number")?,
            files: fs::read_dir(format!("{directory}/fd"))?.count(),
        })
    }
}

/// The counts so far.
#[derive(Debug, Default)]
pub struct Tally {
    file: Option<BufWriter<File>>,
    /// Events, by type and how they ended.
    events: BTreeMap<String, u64>,
    /// Reports of each finding by rule and severity, and the first of each.
    findings: BTreeMap<(String, String), (u64, Value)>,
    alarms: u64,
    /// Lines of the closing summaries about loss.
    lost: Vec<String>,
    summaries: Vec<String>,
}

impl Tally {
    /// Keeps the lines in a file, if one is given.
    pub fn new(file: Option<&Path>) -> Result<Tally> {
        let file = file.map(|path| {
            let file = File::create(path);
            file.with_context(|| format!("cannot write {}", path.display()))
        });
        Ok(Tally {
            file: file.transpose()?.map(BufWriter::new),
            ..Tally::default()
        })
    }

    /// Reads the tracers' new lines.
    pub fn drain(&mut self, tracers: &mut [Traced]) -> Result<()> {
        for traced in tracers {
            while let Some(line) = traced.watch.line(Duration::ZERO)? {
                self.take(&line)?;
            }
        }
        Ok(())
    }

    /// Reads a tracer's last lines and its summary.
    pub fn end(&mut self, node: &str, ended: &Ended) -> Result<()> {
        for line in &ended.lines {
            self.take(line)?;
        }
        for line in &ended.log {
            let lost = line.strip_prefix("lost: ");
            if lost.is_some_and(|lost| lost != "nothing") || line.starts_with("warning") {
                self.lost.push(format!("{node}: {line}"));
            } else if line.contains(" packets seen") {
                self.summaries.push(format!("{node}: {line}"));
            }
        }
        if let Some(file) = &mut self.file {
            file.flush().context("cannot write the events")?;
        }
        Ok(())
    }

    fn take(&mut self, line: &str) -> Result<()> {
        if let Some(file) = &mut self.file {
            writeln!(file, "{line}").context("cannot write the events")?;
        }
        let event: Value =
            serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        if event["type"] == "finding" && event["state"] == "active" {
            let severity = text("severity");
            if severity != "info" {
                self.alarms += 1;
                eprintln!("soak: FALSE ALARM {line}");
            }
            let reported = self.findings.entry((severity, text("rule")));
            reported.or_insert_with(|| (0, event.clone())).0 += 1;
        }
        let how = match event["type"].as_str() {
            Some("tcp" | "udp") => text("state"),
            Some("icmp") => format!("{} {}", text("kind"), text("state")),
            Some("finding") => format!("{} {}", text("severity"), text("state")),
            Some("lost") => text("stage"),
            _ => text("outcome"),
        };
        *self
            .events
            .entry(format!("{} {how}", text("type")))
            .or_default() += 1;
        Ok(())
    }

    /// The state in one line.
    pub fn line(&self, lasted: Duration, traffic: &Traffic, tracers: &[Traced]) -> Result<String> {
        let mut line = format!(
            "{:>3} min  {} actions done, {} failed; {} events, {} false alarms",
            lasted.as_secs() / 60,
            traffic.done.values().sum::<u64>(),
            traffic.failed,
            self.events.values().sum::<u64>(),
            self.alarms
        );
        for traced in tracers {
            let now = Figures::of(traced.watch.pid())?;
            let _ = write!(
                line,
                "; {} {:.1} s CPU, {:.1} MiB",
                traced.node,
                (now.cpu.saturating_sub(traced.first.cpu)).as_secs_f64(),
                mib(now.memory_kib)
            );
        }
        Ok(line)
    }

    /// The report, and whether all is well.
    pub fn report(
        &self,
        lasted: Duration,
        mode: ProxyMode,
        traffic: &Traffic,
        costs: &[(&str, Figures, Figures)],
    ) -> (String, bool) {
        let mut out = format!(
            "{:.1} min of ordinary traffic, kube-proxy mode {mode}\n\ndone in the pods\n",
            lasted.as_secs_f64() / 60.0
        );
        counts(
            &mut out,
            traffic.done.iter().map(|(name, count)| (*name, *count)),
        );
        let _ = writeln!(out, "    {:>7}  failed", traffic.failed);
        for failure in &traffic.failures {
            let _ = writeln!(out, "             {failure}");
        }
        out.push_str("\nevents\n");
        counts(
            &mut out,
            self.events
                .iter()
                .map(|(name, count)| (name.as_str(), *count)),
        );
        out.push_str("\nfindings\n");
        for ((severity, rule), (count, first)) in &self.findings {
            let _ = writeln!(
                out,
                "    {count:>7}  {severity} {rule}, first: {}",
                first["summary"].as_str().unwrap_or_default()
            );
        }
        let _ = writeln!(out, "    {:>7}  of severity warning or error", self.alarms);
        out.push_str("\nlost\n");
        if self.lost.is_empty() {
            out.push_str("    nothing\n");
        }
        for line in self.lost.iter().chain(&self.summaries) {
            let _ = writeln!(out, "    {line}");
        }
        out.push_str("\ncost\n");
        for (node, first, last) in costs {
            let cpu = last.cpu.saturating_sub(first.cpu);
            let _ = writeln!(
                out,
                "    {node}: {:.2} s CPU ({:.3} % of one), memory {:.1} MiB at the start, {:.1} at the end, open files {} and {}",
                cpu.as_secs_f64(),
                cpu.as_secs_f64() / lasted.as_secs_f64().max(1.0) * 100.0,
                mib(first.memory_kib),
                mib(last.memory_kib),
                first.files,
                last.files
            );
        }
        let well = self.alarms == 0 && self.lost.is_empty() && traffic.failed == 0;
        let _ = writeln!(
            out,
            "\n{}",
            if well {
                "no false alarm, no loss, no failed client"
            } else {
                "FAILED: a false alarm, a loss or a client that failed; see above"
            }
        );
        (out, well)
    }
}

fn counts<'a>(out: &mut String, all: impl Iterator<Item = (&'a str, u64)>) {
    for (name, count) in all {
        let _ = writeln!(out, "    {count:>7}  {name}");
    }
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
