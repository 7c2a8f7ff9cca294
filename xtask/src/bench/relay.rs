//! `cargo xtask bench --relay`: builds and runs `tracer/benches/relay.rs`, and compares its results with the goals.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::build;

/// Goals of five hundred nodes: the delay of events, and `kubectl get findings`.
const MAX_DELAY_MS: f64 = 1000.0;
const MAX_LIST_MS: f64 = 200.0;

/// Measures one relay with simulated agents, prints the results and writes them to `target/bench/relay.json`.
pub(super) fn run(tracer: &Path) -> Result<()> {
    let output = build::cargo()
        .args([
            "bench",
            "--quiet",
            "--package",
            "tracer",
            "--bench",
            "relay",
        ])
        .env("TRACER", tracer)
        .current_dir(build::root())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo bench")?;
    ensure!(
        output.status.success(),
        "the benchmark failed: {}",
        output.status
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().rev().find(|line| line.starts_with('{'));
    let results: Value = serde_json::from_str(line.context("the benchmark printed no results")?)?;
    let directory = build::target_directory().join("bench");
    std::fs::create_dir_all(&directory)?;
    std::fs::write(directory.join("relay.json"), format!("{results:#}\n"))?;
    print!("{}", table(&results));
    Ok(())
}

fn table(results: &Value) -> String {
    let number = |pointer: &str| {
        results
            .pointer(pointer)
            .and_then(Value::as_f64)
            .unwrap_or(f64::NAN)
    };
    let met = |value: f64, goal: f64| if value < goal { "met" } else { "not met" };
    let (delay, list) = (number("/delay_ms/p99"), number("/get_findings_ms/p99"));
    format!(
        "One relay, {nodes} agents, {watchers} watchers of which one never reads\n\
         events emitted and relayed a second   {events:.0}\n\
         lost by watchers that read            {lost:.0}\n\
         delay, emitted to read                p50 {p50:.1} ms, p99 {delay:.1} ms (goal {MAX_DELAY_MS} ms: {delay_met})\n\
         CPU of a core                         {cpu:.2} under load, {idle:.3} at rest\n\
         memory                                {memory:.0} MiB, at most {most:.0} MiB\n\
         kubectl get findings, 500 of {findings:.0}     p50 {list50:.1} ms, p99 {list:.1} ms (goal {MAX_LIST_MS} ms: {list_met})\n\
         agents asked for the events of one pod {asked:.0}\n\
         after a kill, all agents are back in  {back:.1} s, at most {reviews:.0} TokenReviews in a second, {restart:.1} s of CPU\n",
        nodes = number("/nodes"),
        watchers = number("/watchers"),
        events = number("/events_per_second"),
        lost = number("/lost_by_watchers_that_read"),
        p50 = number("/delay_ms/p50"),
        delay_met = met(delay, MAX_DELAY_MS),
        cpu = number("/cpu_of_a_core/load"),
        idle = number("/cpu_of_a_core/idle"),
        memory = number("/memory_mib/load"),
        most = number("/memory_mib/most"),
        findings = number("/findings"),
        list50 = number("/get_findings_ms/p50"),
        list_met = met(list, MAX_LIST_MS),
        asked = number("/agents_asked_for_one_pod"),
        back = number("/restart/all_back_s"),
        reviews = number("/restart/most_token_reviews_in_a_second"),
        restart = number("/restart/cpu_s"),
    )
}
