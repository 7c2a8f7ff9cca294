//! An explanation as text for people: one screen, the answer first, the thing to do last.

mod policies;
mod service;

use std::time::Duration;

use jiff::tz::TimeZone;

use super::Explanation;
use super::attempts::{Attempts, Group, Moment};
use super::drops::DropFacts;
use super::findings::FindingFacts;
use super::outcome::Result;
use super::pod::{PodFacts, ResolverFacts};
use super::resolution::{Candidate, InInventory, Resolution, SeenAnswer};
use super::verdict::VerdictKind;
use crate::model::printable::safe;
use crate::model::units::{count, duration};
use crate::view::text::{Painter, styles, wrap};

/// Lines break before this column without a terminal.
const WIDTH: usize = 100;
/// Lines break before this column on a wider terminal.
const MAX_WIDTH: usize = 120;
/// Lines keep this width on a narrower one.
const MIN_WIDTH: usize = 60;
/// The column after the labels.
const INDENT: usize = 10;
/// Findings that are listed.
const MAX_FINDINGS: usize = 4;

/// How text is written.
#[derive(Clone, Debug)]
pub struct ExplainText {
    /// Use colour.
    pub color: bool,
    /// Columns of the terminal; `None` without one.
    pub width: Option<usize>,
    /// Times are ages, rather than times of day.
    pub ages: bool,
    /// The zone of times of day.
    pub time_zone: TimeZone,
}

impl ExplainText {
    /// The text of an explanation.
    pub fn write(&self, explanation: &Explanation) -> String {
        let mut page = Page {
            settings: self,
            painter: Painter::new(self.color),
            width: self.width.unwrap_or(WIDTH).clamp(MIN_WIDTH, MAX_WIDTH),
            out: String::new(),
            label: "",
        };
        page.head(explanation);
        page.pod(&explanation.pod);
        if let Some(resolution) = &explanation.resolution {
            page.resolution(resolution);
        }
        page.label("service");
        page.aliases(&explanation.aliases);
        if let Some(service) = &explanation.service {
            page.service(service);
        }
        page.policies(&explanation.policies);
        page.attempts(&explanation.attempts);
        let shown = explanation.attempts.path.as_ref();
        let shown = shown.map(|path| path.line.as_str());
        page.findings(&explanation.findings, &explanation.verdict.says, shown);
        page.label("unknown");
        for sentence in &explanation.unknown {
            page.line(sentence);
        }
        page.next(explanation);
        page.out
    }
}

struct Page<'a> {
    settings: &'a ExplainText,
    painter: Painter,
    width: usize,
    out: String,
    /// The label of the section that begins with the next line.
    label: &'static str,
}

impl Page<'_> {
    fn label(&mut self, label: &'static str) {
        self.label = label;
    }

    /// A line of a section, broken with its rest below its beginning.
    fn line(&mut self, text: &str) {
        self.marked("", text);
    }

    /// A line that begins with a mark.
    fn marked(&mut self, mark: &str, text: &str) {
        let hang = if mark.is_empty() { 0 } else { 2 };
        let lines = wrap(text, self.width - INDENT - hang);
        for (number, line) in lines.iter().enumerate() {
            self.begin();
            match (number, mark) {
                (_, "") => {}
                (0, mark) => {
                    self.painter.put(&mut self.out, mark, style(mark));
                    self.out.push(' ');
                }
                _ => self.out.push_str("  "),
            }
            self.out.push_str(&safe(line));
            self.out.push('\n');
        }
    }

    /// A line that is there to be copied, so it does not break.
    fn whole(&mut self, text: &str) {
        self.begin();
        self.out.push_str(&safe(text));
        self.out.push('\n');
    }

    fn begin(&mut self) {
        let label = std::mem::take(&mut self.label);
        self.painter.put(&mut self.out, label, styles::FAINT);
        self.out
            .extend(std::iter::repeat_n(' ', INDENT - label.len()));
    }

    fn head(&mut self, explanation: &Explanation) {
        let (mark, style) = match explanation.verdict.kind {
            VerdictKind::Fails | VerdictKind::Blocked => ("✗", styles::BAD),
            VerdictKind::Works => ("✓", styles::GOOD),
            VerdictKind::Unknown => ("?", styles::WARN),
        };
        let lines = wrap(&explanation.verdict.says, self.width - 2);
        for (number, line) in lines.iter().enumerate() {
            let mark = if number == 0 { mark } else { " " };
            self.painter
                .put(&mut self.out, &format!("{mark} {}", safe(line)), style);
            self.out.push('\n');
        }
        self.out.push('\n');
    }

    fn next(&mut self, explanation: &Explanation) {
        self.label("next");
        self.line(&explanation.next.says);
        if let Some(command) = &explanation.next.command {
            self.whole(command);
        }
    }

    fn pod(&mut self, pod: &PodFacts) {
        self.label("pod");
        let mut parts = vec![format!("{}/{}", pod.namespace, pod.name)];
        if let Some(node) = &pod.node {
            parts[0].push_str(&format!(" on {node}"));
        }
        parts.extend(pod.chosen.clone());
        parts.extend(pod.ips.iter().map(ToString::to_string));
        if pod.host_network {
            parts.push("on its node's network".to_owned());
        }
        let state = match (pod.terminating, pod.ready, pod.phase) {
            (true, ..) => Some("terminating"),
            (_, _, Some(phase)) if phase != "Running" => Some(phase),
            (_, Some(true), _) => Some("ready"),
            (_, Some(false), _) => Some("not ready"),
            (_, None, phase) => phase,
        };
        parts.extend(state.map(str::to_owned));
        if !pod.known {
            parts.push("not listed".to_owned());
        }
        self.line(&parts.join(", "));
        match (&pod.resolver, pod.dns_policy) {
            (Some(resolver), policy) => self.resolver(resolver, policy),
            (None, Some(policy)) => self.line(&format!(
                "resolver: its node's resolv.conf, which no object shows (dnsPolicy {policy}{})",
                if pod.host_network {
                    ", hostNetwork"
                } else {
                    ""
                }
            )),
            (None, None) => {}
        }
    }

    fn resolver(&mut self, resolver: &ResolverFacts, policy: Option<&str>) {
        let domains: Vec<&str> = resolver.search.iter().map(|one| relative(one)).collect();
        let mut search = match domains.is_empty() {
            true => "no search domain".to_owned(),
            false => format!("search {}", domains.join(" ")),
        };
        if resolver.node_domains {
            search.push_str(" (then those of its node, which no object shows)");
        }
        let mut text = format!("resolver: {search}, ndots {}", resolver.ndots);
        if let Some(policy) = policy.filter(|policy| *policy != "ClusterFirst") {
            text.push_str(&format!(", dnsPolicy {policy}"));
        }
        if !resolver.nameservers.is_empty() {
            let servers: Vec<String> = resolver
                .nameservers
                .iter()
                .map(ToString::to_string)
                .collect();
            text.push_str(&format!(", name servers {}", servers.join(" ")));
        }
        self.line(&text);
    }

    fn resolution(&mut self, resolution: &Resolution) {
        self.label("name");
        self.line(&match resolution.candidates.len() {
            1 => format!("{} is tried as it is:", resolution.asked),
            _ => format!("{} is tried as, in this order:", resolution.asked),
        });
        let winner = resolution.winner.as_ref();
        let mut candidates = resolution.candidates.iter();
        let decided = winner.and_then(|name| candidates.position(|one| one.name == *name));
        let tried = decided.map_or(resolution.candidates.len(), |place| place + 1);
        for candidate in &resolution.candidates[..tried] {
            let mark = match (winner == Some(&candidate.name), candidate.inventory) {
                (true, _) => "✓",
                (false, InInventory::Absent) => "✗",
                _ if !candidate.seen.is_empty() => "✗",
                _ => "·",
            };
            let text = self.candidate(candidate);
            self.marked(mark, &text);
        }
        let rest = resolution.candidates.len() - tried;
        if rest > 0 {
            self.marked(" ", &format!("{} not tried", names_that_are(rest)));
        }
        for note in &resolution.notes {
            self.line(note);
        }
        if !resolution.instead.is_empty() {
            let instead = resolution.instead.iter();
            let names: Vec<String> = instead
                .map(|one| format!("{} ({})", one.name, one.service))
                .collect();
            self.line(&format!("leads to a Service: {}", names.join(" or ")));
        }
    }

    fn candidate(&self, candidate: &Candidate) -> String {
        let seen: Vec<String> = candidate.seen.iter().map(|one| self.answer(one)).collect();
        let seen = match seen.is_empty() {
            true => "not asked lately".to_owned(),
            false => seen.join(", "),
        };
        format!("{}: {}; {seen}", candidate.name, candidate.because)
    }

    fn answer(&self, answer: &SeenAnswer) -> String {
        let what = match answer.outcome {
            "answered" => match &answer.data[..] {
                [] => "answered".to_owned(),
                [one] => one.clone(),
                [first, ..] => format!("{first} and {} more", answer.data.len() - 1),
            },
            "nodata" => "no record".to_owned(),
            "timeout" => "no answer".to_owned(),
            other => other.to_uppercase(),
        };
        let latency = answer.latency_ns.map(Duration::from_nanos);
        let latency = latency
            .map(|one| format!(" in {}", duration(one)))
            .unwrap_or_default();
        format!("{} {what}{latency} {}", answer.qtype, self.when(&answer.at))
    }

    /// `12 s ago`, or `at 12:01:03`.
    fn when(&self, moment: &Moment) -> String {
        if self.settings.ages {
            return match moment.ago.as_secs() {
                seconds @ 0..60 => format!("{seconds} s ago"),
                seconds => format!("{} min ago", seconds / 60),
            };
        }
        let local = moment.time.to_zoned(self.settings.time_zone.clone());
        format!("at {}", local.strftime("%H:%M:%S"))
    }

    /// How many lines of a list are left out.
    fn more(&mut self, of: usize, shown: usize) {
        if of > shown {
            self.line(&format!("and {} more", of - shown));
        }
    }

    fn attempts(&mut self, attempts: &Attempts) {
        self.label("attempts");
        let Some(span) = &attempts.span else {
            return self.line("unknown: no events could be collected");
        };
        if attempts.groups.is_empty() {
            return self.line(&format!("none seen {span}"));
        }
        for group in &attempts.groups {
            let mark = match (group.last_result, group.failed) {
                (Result::Failed, _) => "✗",
                (Result::Succeeded, 0) => "✓",
                (Result::Succeeded, _) | (Result::Undecided, 1..) => "!",
                (Result::Undecided, _) => "·",
            };
            let text = self.group(group);
            self.marked(mark, &text);
            for share in &group.endpoints {
                let name = match &share.pod {
                    Some(pod) => format!("{pod} ({})", share.ip),
                    None => share.ip.to_string(),
                };
                let node = share.node.as_ref().map(|node| format!(" on {node}"));
                let text = format!(
                    "endpoint {name}{}: {} of {} failed",
                    node.unwrap_or_default(),
                    share.failed,
                    share.count
                );
                self.marked(" ", &text);
            }
        }
        for one in &attempts.drops {
            let text = self.dropped(one);
            self.marked("✗", &text);
        }
        if let Some(path) = &attempts.path {
            let when = self.when(&path.time);
            self.line(&format!("path of the one that failed {when}:"));
            self.marked(" ", &path.line);
        }
        if attempts.more > 0 {
            self.line(&format!("and {} more destinations", attempts.more));
        }
    }

    fn dropped(&self, one: &DropFacts) -> String {
        let what = match one.sent {
            true => format!("{} to {}", count(one.packets, "packet"), one.peer()),
            false => format!("{} from {}", count(one.packets, "answer"), one.peer()),
        };
        let place = match one.place {
            Some("pod") => " in a pod's network namespace",
            Some(_) => " in the node",
            None => "",
        };
        let device = one.device.as_ref().map(|name| format!(" on {name}"));
        let function = one.function.as_ref().map(|name| format!(", by {name}"));
        format!(
            "dropped by {}: {what} ({}), {}{place}{}{}; the last {}",
            one.node(),
            one.protocol,
            one.reason,
            device.unwrap_or_default(),
            function.unwrap_or_default(),
            self.when(&one.last),
        )
    }

    fn group(&self, group: &Group) -> String {
        let outcomes: Vec<String> = group
            .outcomes
            .iter()
            .map(|(outcome, times)| format!("{times} {outcome}"))
            .collect();
        let median = group
            .median_ns
            .map(Duration::from_nanos)
            .filter(|_| group.count > 1);
        let median = median
            .map(|one| format!(", median {}", duration(one)))
            .unwrap_or_default();
        format!(
            "{} {}: {}{median}; the last {}: {}",
            group.kind,
            group.subject(),
            outcomes.join(", "),
            self.when(&group.last),
            group.last_words,
        )
    }

    /// `shown`: the path that the attempts have.
    fn findings(&mut self, findings: &[FindingFacts], verdict: &str, shown: Option<&str>) {
        self.label("findings");
        for finding in findings.iter().take(MAX_FINDINGS) {
            let mark = match (finding.state, finding.severity) {
                ("resolved", _) => "✓",
                (_, "error") => "✗",
                (_, "warning") => "!",
                _ => "·",
            };
            let share = match finding.of > finding.count {
                true => format!("{} of {} times", finding.count, finding.of),
                false => count(finding.count, "time"),
            };
            let when = self.when(&finding.last);
            self.marked(
                mark,
                &format!("{} ({}, {share}, last {when})", finding.rule, finding.state),
            );
            if finding.headline != verdict {
                self.marked(" ", &finding.headline);
            }
            // The reasons of the finding that is the answer.
            if finding.headline == verdict {
                let path = finding.path.as_ref();
                if let Some(path) = path.filter(|path| Some(path.as_str()) != shown) {
                    self.marked(" ", &format!("path: {path}"));
                }
                for why in &finding.why {
                    self.marked(" ", why);
                }
            }
        }
        self.more(findings.len(), MAX_FINDINGS);
    }
}

fn style(mark: &str) -> anstyle::Style {
    match mark {
        "✓" => styles::GOOD,
        "✗" => styles::BAD,
        "!" => styles::WARN,
        _ => styles::PLAIN,
    }
}

fn relative(name: &str) -> &str {
    name.strip_suffix('.')
        .filter(|name| !name.is_empty())
        .unwrap_or(name)
}

fn names_that_are(number: usize) -> String {
    match number {
        1 => "1 more name is".to_owned(),
        number => format!("{number} more names are"),
    }
}
