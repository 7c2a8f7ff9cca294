//! What a run leaves: text for people, JSON for programs, a page for the documentation.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;
use testbed::bench::{Tool, Transport};

use super::curve;
use super::goals::{Goal, Verdict};
use super::results::{Results, Run};

/// The part of docs/benchmarks.md that a run writes.
const BEGIN: &str = "<!-- Written by cargo xtask bench; the text above is by hand. -->\n";
const END: &str = "<!-- The text below is by hand, too. -->\n";

/// Writes results.json and summary.txt.
pub fn write(directory: &Path, results: &Results, goals: &[Goal]) -> Result<()> {
    let write = |name: &str, text: String| {
        let file = directory.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    };
    write("results.json", json(results, goals)?)?;
    write("summary.txt", text(results, goals))
}

/// For the terminal.
pub fn text(results: &Results, goals: &[Goal]) -> String {
    let mut text = format!("{}\n\n", heading(results));
    let width = |of: fn(&Goal) -> &str| {
        let lengths = goals.iter().map(|goal| of(goal).chars().count());
        lengths.max().unwrap_or_default()
    };
    let (figure, before, measured, aim) = (
        width(|goal| &goal.figure),
        width(|goal| goal.before),
        width(|goal| &goal.measured),
        width(|goal| goal.goal),
    );
    for goal in goals {
        let _ = writeln!(
            text,
            "{:figure$}  {:before$}  {:measured$}  {:aim$}  {}",
            goal.figure,
            goal.before,
            goal.measured,
            goal.goal,
            verdict(goal),
        );
    }
    text
}

/// A goal without a bound is a figure to compare with.
fn verdict(goal: &Goal) -> String {
    match (&goal.verdict, goal.goal) {
        (Verdict::Met | Verdict::NotMet, "") => "for comparison".to_owned(),
        (Verdict::Contaminated(_), "") => "for comparison (contaminated)".to_owned(),
        (verdict, _) => verdict.to_string(),
    }
}

fn heading(results: &Results) -> String {
    format!(
        "{}{}; Linux {}, {} CPUs; {} runs, {} discarded because others used the CPU",
        results.origin.text,
        if results.quick {
            ", quick: few repetitions"
        } else {
            ""
        },
        kernel(),
        std::thread::available_parallelism().map_or(0, usize::from),
        results.runs.len(),
        results.discarded
    )
}

fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}

fn json(results: &Results, goals: &[Goal]) -> Result<String> {
    let goals = goals.iter().map(|goal| {
        json!({"figure": goal.figure, "before": goal.before, "measured": goal.measured,
            "goal": goal.goal, "verdict": verdict(goal)})
    });
    let value = json!({
        "program": results.origin.text,
        "quick": results.quick,
        "kernel": kernel(),
        "cpus": std::thread::available_parallelism().map_or(0, usize::from),
        "discarded": results.discarded,
        "goals": goals.collect::<Vec<_>>(),
        "samples": results.samples,
        "runs": results.runs.iter().map(run).collect::<Vec<_>>(),
    });
    serde_json::to_string_pretty(&value).context("the results as JSON")
}

fn run(run: &Run) -> serde_json::Value {
    let measured = &run.measured;
    let segments = run.load.transport == Transport::Tcp && !matches!(run.tool, Tool::Tracer(_));
    json!({
        "figure": format!("{:?}", run.figure).to_lowercase(),
        "round": run.round,
        "tool": run.tool.name(),
        "mix": run.load.mix.name(),
        "rate": run.load.rate.to_string(),
        "transport": format!("{:?}", run.load.transport).to_lowercase(),
        "pods": run.pods,
        "seconds": run.load.seconds,
        "answered_per_second": measured.answered.per_second,
        "client_sent": measured.answered.sent,
        "client_completed": measured.answered.completed,
        "client_lost": measured.answered.lost,
        "client_latency_us": measured.answered.latency.as_secs_f64() * 1e6,
        "wire_messages": measured.wire,
        // Over TCP the other tools write a line for each segment.
        "recorded": (!segments).then_some(measured.recorded.messages),
        "reported_lost": measured.recorded.lost,
        "unaccounted": measured.unaccounted(),
        "timeouts": measured.recorded.timeouts,
        "undecided": measured.recorded.undecided,
        "tool_cpu_us_per_message": measured.us_per_message(),
        "tool_cpu_us_per_recorded_message": measured.us_per_recorded(),
        "host_cpu_us_per_message": measured.host_us_per_message(),
        "tool_peak_kib": measured.peak_kib,
        "foreign_cpu_share": measured.foreign,
        "contaminated": run.contaminated,
    })
}

/// Replaces the generated part of the page.
pub fn write_docs(file: &Path, results: &Results, goals: &[Goal]) -> Result<()> {
    let page =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let parts = page.split_once(BEGIN);
    let parts = parts.and_then(|(above, rest)| Some((above, rest.split_once(END)?.1)));
    let (above, below) =
        parts.with_context(|| format!("no {BEGIN} or {END} in {}", file.display()))?;
    let mut text = format!(
        "{above}{BEGIN}\n{}.\n\n| figure | before | measured | goal | |\n|---|---|---|---|---|\n",
        heading(results)
    );
    for goal in goals {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            goal.figure,
            goal.before,
            goal.measured,
            goal.goal,
            verdict(goal)
        );
    }
    text.push_str(&curve::table(results));
    text.push_str(&format!("\n{END}{below}"));
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
