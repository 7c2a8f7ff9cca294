//! The goals, and whether a run met them.

mod load;
mod numbers;

use std::fmt;

use super::figure::Figure;
use super::results::{Median, Results};

/// A goal with what was measured.
#[derive(Clone, Debug)]
pub struct Goal {
    /// What it is about.
    pub figure: String,
    /// Before the work on load began (2ac8e79, the same method on the same kind of machine).
    pub before: &'static str,
    /// What was measured, with its unit and spread.
    pub measured: String,
    /// What it should be.
    pub goal: &'static str,
    /// Whether it is.
    pub verdict: Verdict,
    /// The step that measures it, if it is one number.
    group: Option<Figure>,
}

/// Whether a goal is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Met,
    /// It is not.
    NotMet,
    /// Others used too much CPU in every repetition; the flag is what the figures say.
    Contaminated(bool),
    /// There is no figure, and why.
    NotMeasured(String),
}

impl Verdict {
    /// The figure was not asked for, or its tool is not installed.
    pub fn not_in_this_run() -> Verdict {
        Verdict::NotMeasured("not in this run".to_owned())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Met => f.write_str("met"),
            Verdict::NotMet => f.write_str("NOT MET"),
            Verdict::Contaminated(true) => f.write_str("met (contaminated)"),
            Verdict::Contaminated(false) => f.write_str("NOT MET (contaminated)"),
            Verdict::NotMeasured(why) => write!(f, "not measured: {why}"),
        }
    }
}

/// Every goal.
pub fn all(results: &Results) -> Vec<Goal> {
    let mut goals = load::recorded(results);
    goals.extend(load::cpu(results));
    goals.extend(load::answered(results));
    goals.extend(numbers::all(results));
    for goal in &mut goals {
        goal.explain(results);
    }
    goals
}

impl Goal {
    /// Says why a figure that was asked for is not there.
    fn explain(&mut self, results: &Results) {
        let reason = results
            .missing
            .iter()
            .find(|(figure, _)| Some(*figure) == self.group);
        if let (Verdict::NotMeasured(why), Some((_, reason))) = (&mut self.verdict, reason) {
            why.clone_from(reason);
        }
    }
}

/// A goal about a median; `show` writes a value with its unit.
fn judged(
    figure: impl Into<String>,
    before: &'static str,
    goal: &'static str,
    median: Option<Median>,
    show: impl Fn(f64) -> String,
    met: impl Fn(f64) -> bool,
) -> Goal {
    let (measured, verdict) = match median {
        None => ("-".to_owned(), Verdict::not_in_this_run()),
        Some(median) => (
            spread(&median, &show),
            match (median.contaminated, met(median.value)) {
                (true, met) => Verdict::Contaminated(met),
                (false, true) => Verdict::Met,
                (false, false) => Verdict::NotMet,
            },
        ),
    };
    Goal {
        figure: figure.into(),
        before,
        measured,
        goal,
        verdict,
        group: None,
    }
}

fn spread(median: &Median, show: &impl Fn(f64) -> String) -> String {
    if median.count == 1 {
        return show(median.value);
    }
    format!(
        "{} ({} to {}, n={})",
        show(median.value),
        show(median.spread.0),
        show(median.spread.1),
        median.count
    )
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn microseconds(value: f64) -> String {
    format!("{value:.2} us")
}

fn factor(value: f64) -> String {
    format!("{value:.2}")
}
