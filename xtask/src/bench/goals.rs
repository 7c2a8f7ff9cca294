//! The goals, and whether a run met them.

use std::fmt;

use testbed::bench::{Measured, Mix, Output, Rate, Tool, Tracer};

use super::figure::Figure;
use super::results::{Median, Name, Results, Run};

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

const JSON: Tool = Tool::Tracer(Tracer {
    output: Output::Json,
    inventory: false,
});
const JSON_INVENTORY: Tool = Tool::Tracer(Tracer {
    output: Output::Json,
    inventory: true,
});
const AGENT: Tool = Tool::Tracer(Tracer {
    output: Output::Agent,
    inventory: false,
});

/// Every goal.
pub fn all(results: &Results) -> Vec<Goal> {
    let mut goals = recorded(results);
    goals.extend(cpu(results));
    goals.extend(answered(results));
    goals.extend(numbers(results));
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

fn is(figure: Figure, mix: Mix) -> impl Fn(&Run) -> bool {
    move |run| run.figure == figure && run.load.mix == mix
}

fn at(rate: Rate) -> impl Fn(&Run) -> bool {
    move |run| run.figure == Figure::Loss && run.load.rate == rate
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

fn recorded(results: &Results) -> Vec<Goal> {
    let rates = [
        (Rate::PerSecond(50_000), "50,000 q/s", "69 %"),
        (Rate::Limit, "the limit", "56 %"),
        (Rate::Open, "open loop", "41 %"),
    ];
    let mut goals = Vec::new();
    for (rate, name, before) in rates {
        let open = rate == Rate::Open;
        let (least, text) = if open {
            (0.95, ">= 95 %")
        } else {
            (1.0, "100 %")
        };
        goals.push(judged(
            format!("DNS messages recorded at {name}, json"),
            before,
            text,
            results.median(&at(rate), JSON, Measured::share_recorded),
            percent,
            |share| share >= least,
        ));
    }
    for tool in [JSON, AGENT] {
        goals.push(judged(
            format!(
                "messages neither recorded nor counted as lost, {}",
                tool.name()
            ),
            "",
            "<= 0.1 % of the wire",
            results.worst(&|run| run.figure == Figure::Loss, tool, |measured| {
                let missing = measured.unaccounted().unwrap_or_default();
                missing.unsigned_abs() as f64 / measured.wire.max(1) as f64
            }),
            percent,
            |share| share <= 0.001,
        ));
        goals.push(judged(
            format!(
                "timeouts reported where the client lost none, {}",
                tool.name()
            ),
            "34,995 at the limit",
            "0",
            results.worst(
                &|run| run.figure == Figure::Loss && run.measured.answered.lost == 0,
                tool,
                |measured| measured.recorded.timeouts.unwrap_or_default() as f64,
            ),
            |count| format!("{count:.0}"),
            |count| count < 1.0,
        ));
    }
    goals
}

fn cpu(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    let mixes = [
        (Mix::Nxdomain, "mix", "5.3"),
        (Mix::Search, "search path", "1.7"),
    ];
    for (mix, name, before) in mixes {
        goals.push(judged(
            format!("CPU per message, json, {name}: of tcpdump -l's"),
            before,
            "<= 0.70",
            results.ratio(
                &is(Figure::Cpu, mix),
                JSON,
                Tool::TcpdumpLines,
                Measured::us_per_message,
            ),
            factor,
            |ratio| ratio <= 0.7,
        ));
    }
    for (tool, mix, name, before, goal, most) in [
        (
            JSON,
            Mix::Nxdomain,
            "json, mix",
            "19.4 us",
            "stretch: <= 1.5 us",
            1.5,
        ),
        (
            JSON,
            Mix::Search,
            "json, search path",
            "6.1 us",
            "stretch: <= 1.5 us",
            1.5,
        ),
        (
            AGENT,
            Mix::Nxdomain,
            "agent, mix",
            "18.7 us",
            "stretch: <= 1.0 us",
            1.0,
        ),
        (
            AGENT,
            Mix::Search,
            "agent, search path",
            "7.1 us",
            "stretch: <= 1.0 us",
            1.0,
        ),
        (
            Tool::TcpdumpLines,
            Mix::Nxdomain,
            "tcpdump -l, mix",
            "3.6 us",
            "",
            f64::MAX,
        ),
    ] {
        goals.push(judged(
            format!("CPU per message, {name}"),
            before,
            goal,
            results.median(&is(Figure::Cpu, mix), tool, Measured::us_per_message),
            microseconds,
            |value| value <= most,
        ));
    }
    for (mix, name, before) in [
        (Mix::Nxdomain, "mix", "4.1"),
        (Mix::Search, "search path", "1.3"),
    ] {
        goals.push(judged(
            format!("CPU per message with the inventory, {name}: of that without"),
            before,
            "<= 1.20",
            results.ratio(
                &is(Figure::Inventory, mix),
                JSON_INVENTORY,
                JSON,
                Measured::us_per_message,
            ),
            factor,
            |ratio| ratio <= 1.2,
        ));
    }
    goals
}

fn answered(results: &Results) -> Vec<Goal> {
    let rate = |measured: &Measured| measured.answered.per_second;
    let to = |tool, base| results.ratio(&at(Rate::Limit), tool, base, rate);
    vec![
        judged(
            "answered rate at the limit, json: of tcpdump -w's",
            "0.68",
            ">= 0.97: equal but for noise",
            to(JSON, Tool::TcpdumpWrite),
            factor,
            |ratio| ratio >= 0.97,
        ),
        judged(
            "answered rate at the limit, json: of untraced",
            "0.55",
            "stretch: >= 0.90",
            to(JSON, Tool::None),
            factor,
            |ratio| ratio >= 0.9,
        ),
        judged(
            "answered rate at the limit, agent: of untraced",
            "0.53",
            "stretch: >= 0.95",
            to(AGENT, Tool::None),
            factor,
            |ratio| ratio >= 0.95,
        ),
        judged(
            "answered rate at the limit, tcpdump -w: of untraced",
            "0.81",
            "",
            to(Tool::TcpdumpWrite, Tool::None),
            factor,
            |_| true,
        ),
        judged(
            "answered rate at the limit, tcpdump -l: of untraced",
            "0.58",
            "",
            to(Tool::TcpdumpLines, Tool::None),
            factor,
            |_| true,
        ),
    ]
}

/// The figures that are one number: its name, before, goal, how it is written, the most that it may be.
fn numbers(results: &Results) -> Vec<Goal> {
    let of = |group: Figure,
              name: Name,
              text: &str,
              before: &'static str,
              goal: &'static str,
              show: fn(f64) -> String,
              met: &dyn Fn(f64) -> bool| Goal {
        group: Some(group),
        ..judged(text, before, goal, results.sample(name), show, met)
    };
    let most = |bound: f64| move |value: f64| value <= bound;
    let below = |bound: f64| move |value: f64| value < bound;
    let ns = |value: f64| format!("{value:.0} ns");
    let mib = |value: f64| format!("{value:.0} MiB");
    let seconds = |value: f64| format!("{value:.2} s");
    let ms = |value: f64| format!("{:.1} ms", value * 1000.0);
    let at_least = |bound: f64| move |value: f64| value >= bound;
    let packet = "over an empty program,";
    let delay = "packet to line, p99";
    let (small, tiny) = (most(100.0), below(0.015));
    vec![
        of(
            Figure::Packet,
            Name::KnownFlow,
            &format!("{packet} UDP of a known flow"),
            "230 ns",
            "<= 100 ns",
            ns,
            &small,
        ),
        of(
            Figure::Packet,
            Name::BulkPacket,
            &format!("{packet} TCP bulk"),
            "320-390 ns",
            "<= 100 ns",
            ns,
            &small,
        ),
        of(
            Figure::Packet,
            Name::NewFlow,
            &format!("{packet} first packet of a flow"),
            "730-840 ns",
            "<= 350 ns",
            ns,
            &most(350.0),
        ),
        of(
            Figure::Bulk,
            Name::Iperf,
            "iperf3 over TCP, json: of untraced",
            "0.952",
            ">= 0.98",
            |value| format!("{value:.3}"),
            &at_least(0.98),
        ),
        of(
            Figure::Rest,
            Name::Resident,
            "resident with 250 pods and the inventory, agent",
            "177 MiB",
            "<= 64 MiB",
            mib,
            &most(64.0),
        ),
        of(
            Figure::Rest,
            Name::RestCpu,
            "CPU at rest with 250 pods, agent",
            "0.92 %",
            "< 0.3 %",
            percent,
            &below(0.003),
        ),
        of(
            Figure::Rest,
            Name::Start,
            "start with 250 pods, agent",
            "8.1 s",
            "< 1 s",
            seconds,
            &below(1.0),
        ),
        of(
            Figure::Rest,
            Name::FirstInterface,
            "start until the first interface is traced",
            "",
            "< 100 ms",
            ms,
            &below(0.1),
        ),
        of(
            Figure::Rest,
            Name::Stop,
            "stop with 250 pods, agent",
            "8.3 s",
            "< 1 s",
            seconds,
            &below(1.0),
        ),
        of(
            Figure::Delay,
            Name::DelayFirst,
            &format!("{delay}, first second, no inventory"),
            "2 s",
            "< 15 ms",
            ms,
            &tiny,
        ),
        of(
            Figure::Delay,
            Name::Delay,
            &format!("{delay}, then"),
            "5.2 ms",
            "< 15 ms",
            ms,
            &tiny,
        ),
        of(
            Figure::Delay,
            Name::DelayMedian,
            "packet to line, p50",
            "2.7 ms",
            "",
            ms,
            &tiny,
        ),
        of(
            Figure::Delay,
            Name::DelayNamedFirst,
            &format!("{delay}, first second, inventory"),
            "2 s",
            "< 15 ms",
            ms,
            &tiny,
        ),
        of(
            Figure::Delay,
            Name::DelayNamed,
            &format!("{delay}, then, inventory"),
            "",
            "< 15 ms",
            ms,
            &tiny,
        ),
        of(
            Figure::Delay,
            Name::DelayNamedMedian,
            "packet to line, p50, inventory",
            "",
            "",
            ms,
            &tiny,
        ),
    ]
}
