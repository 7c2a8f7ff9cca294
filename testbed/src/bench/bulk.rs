//! Bulk traffic: one TCP connection from a pod through the node to the server, as fast as it goes.

use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::bed::{Bed, SERVER, address};
use super::cpu::Window;
use super::tool::{Programs, Running, Tool};
use crate::lab::shell::run;

const PATIENCE: Duration = Duration::from_secs(5);

/// Bits per second, and the share of the machine that others used meanwhile.
pub fn bulk(bed: &Bed, programs: &Programs, tool: Tool, lasts: Duration) -> Result<(f64, f64)> {
    let running = Running::start(bed, programs, tool)?;
    let window = Window::begin(bed)?;
    let rate = iperf3(bed, 0, lasts)?;
    let (lasted, used) = window.end(bed)?;
    if let Some(running) = running {
        running.stop(bed)?;
    }
    Ok((rate, used.foreign_share(lasted)))
}

/// Runs iperf3 from a pod and returns the bits per second that arrived.
pub(super) fn iperf3(bed: &Bed, pod: usize, lasts: Duration) -> Result<f64> {
    let (server, client) = (SERVER.to_string(), address(pod).to_string());
    let seconds = lasts.as_secs().max(1).to_string();
    // It serves one test, then ends.
    let mut serving = bed
        .command("server", "server", &["iperf3", "-s", "-1", "-B", &server])?
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("iperf3")?;
    let deadline = Instant::now() + PATIENCE;
    let argv = ["iperf3", "-J", "-c", &server, "-B", &client, "-t", &seconds];
    let rate = loop {
        // Refused until the server listens; that is no failure to iperf3 -J.
        let report =
            run(&mut bed.command("client", "load", &argv)?).and_then(|output| rate(&output));
        match report {
            Ok(rate) => break rate,
            Err(error) if Instant::now() > deadline => {
                let _ = serving.kill();
                let _ = serving.wait();
                return Err(error);
            }
            Err(_) => sleep(Duration::from_millis(50)),
        }
    };
    while serving.try_wait()?.is_none() {
        if Instant::now() > deadline + lasts {
            let _ = serving.kill();
        }
        sleep(Duration::from_millis(5));
    }
    Ok(rate)
}

fn rate(output: &str) -> Result<f64> {
    let report: Value = serde_json::from_str(output).context("iperf3's report")?;
    match report["end"]["sum_received"]["bits_per_second"].as_f64() {
        Some(rate) => Ok(rate),
        None => bail!("iperf3's report has no rate: {}", report["error"]),
    }
}
