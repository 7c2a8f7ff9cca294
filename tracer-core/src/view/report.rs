//! The findings of a run, each once, and the traffic they were drawn from: the output of `tracer diagnose`.
//!
//! Owns which event of a finding counts (the latest) and the order of findings: the most severe first, the
//! newest first among those, resolved ones last. [`rollup`] combines the pods of a workload, [`undecided`]
//! names what could not be judged. It never writes anything. Input: the events that pass a filter. Traffic is
//! counted on the client's side, where the rules look at it.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use crate::diagnose::settled;
use crate::model::connection::{TcpState, UdpState};
use crate::model::echo::EchoState;
use crate::model::event::{Body, Event};
use crate::model::finding::{Finding, Severity, State};
use crate::model::flow::{Flow, Role};
use crate::model::identity::PodIdentity;
use crate::model::loss::{Losses, Stage};
use crate::model::path::Path;
use crate::model::time::Timestamp;
use crate::model::units::count;

mod rollup;
mod undecided;

pub use self::undecided::Undecided;

/// Findings in a report, at most: more than a person reads.
pub(super) const MAX_FINDINGS: usize = 10_000;
/// Connections, UDP flows and pings to remember: each can have several events but counts once.
const MAX_COUNTED: usize = 65_536;

/// The traffic that the findings were drawn from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// Lookups.
    pub lookups: u64,
    /// TCP connections and attempts.
    pub connections: u64,
    /// UDP flows.
    pub udp_flows: u64,
    /// Pings.
    pub pings: u64,
}

impl Examined {
    fn is_empty(&self) -> bool {
        *self == Examined::default()
    }
}

impl fmt::Display for Examined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = vec![
            count(self.lookups, "lookup"),
            count(self.connections, "connection"),
        ];
        if self.udp_flows > 0 {
            parts.push(count(self.udp_flows, "UDP flow"));
        }
        parts.push(count(self.pings, "ping"));
        write!(f, "{}", parts.join(", "))
    }
}

/// The identity of a connection, UDP flow or ping: its flow and start.
type FlowKey = (Flow, Timestamp);

/// The latest event of a finding, and the node that it came from, if several nodes send events.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) node: Option<Arc<str>>,
    pub(super) event: Event,
}

impl Kept {
    fn finding(&self) -> Option<&Finding> {
        match &self.event.body {
            Body::Finding(finding) => Some(finding),
            _ => None,
        }
    }

    /// Without what its path rules out.
    fn settled(&self) -> Kept {
        match self.finding().map(settled) {
            Some(Cow::Owned(finding)) => self.with(finding),
            _ => self.clone(),
        }
    }

    fn pod(&self) -> Option<&Arc<PodIdentity>> {
        self.event.ends.as_ref()?.pod.identity.as_ref().ok()
    }

    fn with(&self, finding: Finding) -> Kept {
        Kept {
            node: self.node.clone(),
            event: Event {
                body: Body::Finding(Box::new(finding)),
                ..self.event.clone()
            },
        }
    }
}

/// A finding whose cause still exists.
#[derive(Clone, Copy, Debug)]
pub struct OpenFinding<'a> {
    /// Its place in the report.
    pub key: &'a FindingKey,
    /// The node that it came from, if several nodes send events.
    pub node: Option<&'a Arc<str>>,
    /// Its latest event.
    pub event: &'a Event,
    /// The finding of that event.
    pub finding: &'a Finding,
}

/// The cluster of its node, if several are asked, and its id: two clusters can have the same pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FindingKey(Arc<str>, String);

impl FindingKey {
    fn new(node: Option<&Arc<str>>, finding: &Finding) -> FindingKey {
        FindingKey(cluster(node).into(), finding.id.clone())
    }
}

/// What stands before the slash in a node's name.
fn cluster(node: Option<&Arc<str>>) -> &str {
    let split = node.and_then(|node| node.rsplit_once('/'));
    split.map_or("", |(cluster, _)| cluster)
}

/// The findings so far.
#[derive(Debug, Default)]
pub struct Report {
    findings: BTreeMap<FindingKey, Kept>,
    examined: Examined,
    counted: HashSet<FlowKey>,
    /// Findings since the last call of [`Report::new_findings`].
    new: Vec<String>,
    open: undecided::Open,
    losses: Losses,
}

impl Report {
    /// Adds an event of this machine.
    pub fn take(&mut self, event: &Event) {
        self.take_from(None, event);
    }

    /// Adds an event of a node.
    pub(super) fn take_from(&mut self, node: Option<&Arc<str>>, event: &Event) {
        let client = (event.ends.as_ref()).filter(|ends| ends.role == Role::Client);
        if let Body::Finding(finding) = &event.body {
            return self.finding(node, event, finding);
        }
        let Some(ends) = client else { return };
        match &event.body {
            Body::Dns(exchange, _) => self.open.query(exchange, ends, event.incomplete),
            Body::Lookup(lookup) => {
                self.examined.lookups += 1;
                self.open.lookup(event.time, lookup, ends, event.incomplete);
            }
            Body::Tcp(connection) => {
                let key = (connection.flow, event.time);
                self.examined.connections += u64::from(self.counts(key));
                self.open
                    .connection(key, connection, ends, event.incomplete);
                // No event of this connection follows.
                if matches!(
                    connection.state,
                    TcpState::Closed | TcpState::Reset | TcpState::Idle
                ) {
                    self.counted.remove(&key);
                }
            }
            Body::Udp(flow) => {
                let key = (flow.flow, event.time);
                self.examined.udp_flows += u64::from(self.counts(key));
                self.open.udp(key, flow, ends, event.incomplete);
                if flow.state == UdpState::Closed {
                    self.counted.remove(&key);
                }
            }
            Body::Echo(echo) => {
                let key = (echo.flow, event.time);
                // An undecided run may continue.
                if echo.state != EchoState::Running {
                    self.examined.pings += u64::from(self.counts(key));
                }
                self.open.ping(key, echo, ends);
                if echo.state == EchoState::Done {
                    self.counted.remove(&key);
                }
            }
            Body::Finding(_) | Body::IcmpError(_) | Body::Drop(_) | Body::Lost(_) => {}
        }
    }

    /// Whether it was not counted before.
    fn counts(&mut self, key: FlowKey) -> bool {
        if self.counted.len() >= MAX_COUNTED {
            // An open connection can then count twice. That distorts a number in the summary, not a finding.
            self.counted.clear();
        }
        self.counted.insert(key)
    }

    fn finding(&mut self, node: Option<&Arc<str>>, event: &Event, finding: &Finding) {
        let kept = Kept {
            node: node.cloned(),
            event: event.clone(),
        };
        let key = FindingKey::new(node, finding);
        if self.findings.contains_key(&key) {
            self.findings.insert(key, kept);
        } else if self.findings.len() < MAX_FINDINGS {
            self.new
                .push(format!("{}: {}", finding.rule, finding.headline));
            self.findings.insert(key, kept);
        } else {
            self.losses
                .add(Stage::Table, "findings beyond what a report holds", 1);
        }
    }

    /// The findings whose cause still exists.
    pub fn open_findings(&self) -> impl Iterator<Item = OpenFinding<'_>> {
        self.findings.iter().filter_map(|(key, kept)| {
            let finding = kept.finding().filter(|finding| !finding.is_resolved())?;
            Some(OpenFinding {
                key,
                node: kept.node.as_ref(),
                event: &kept.event,
                finding,
            })
        })
    }

    /// Adds the path of a finding's latest attempt.
    pub fn set_path(&mut self, key: &FindingKey, path: Path) {
        if let Some(kept) = self.findings.get_mut(key)
            && let Body::Finding(finding) = &mut kept.event.body
        {
            finding.path = Some(Box::new(path));
        }
    }

    /// The latest event of each finding, pods of one workload combined: the most severe first and the newest
    /// of those, resolved ones last.
    pub fn findings(&self) -> Vec<Event> {
        self.kept().into_iter().map(|kept| kept.event).collect()
    }

    /// Like [`Report::findings`], with nodes.
    pub(super) fn kept(&self) -> Vec<Kept> {
        // The words of one pod stand for all, so they are settled before.
        let settled: Vec<Kept> = self.findings.values().map(Kept::settled).collect();
        let mut findings = rollup::roll_up(settled.iter());
        findings.sort_by_cached_key(|kept| {
            kept.finding().map(|finding| {
                (
                    finding.is_resolved(),
                    Reverse(finding.severity),
                    Reverse(finding.last),
                    finding.id.clone(),
                )
            })
        });
        findings
    }

    /// A line for each finding since the last call.
    pub fn new_findings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.new)
    }

    /// Findings that did not fit.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// The report's numbers.
    pub fn digest(&self) -> Digest {
        let mut digest = Digest {
            examined: self.examined,
            undecided: self.open.digest(),
            ..Digest::default()
        };
        for finding in self.kept().iter().filter_map(Kept::finding) {
            digest.worst = digest.worst.max(Some(finding.severity));
            match finding.severity {
                Severity::Error => digest.errors += 1,
                Severity::Warning => digest.warnings += 1,
                Severity::Info => digest.infos += 1,
            }
            digest.resolved += u64::from(finding.is_resolved());
            digest.intermittent += u64::from(finding.state == State::Intermittent);
        }
        digest
    }
}

/// A report in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// The traffic that the findings were drawn from.
    pub examined: Examined,
    /// Findings of severity error.
    pub errors: u64,
    /// Findings of severity warning.
    pub warnings: u64,
    /// Findings of severity info.
    pub infos: u64,
    /// Resolved findings, of any severity.
    pub resolved: u64,
    /// Intermittent findings, of any severity.
    pub intermittent: u64,
    /// The highest severity.
    pub worst: Option<Severity>,
    /// What was neither a success nor a finding.
    pub undecided: Undecided,
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = [
            (self.errors, "error"),
            (self.warnings, "warning"),
            (self.infos, "hint"),
        ];
        let mut found: Vec<String> = counted
            .into_iter()
            .filter(|(times, _)| *times > 0)
            .map(|(times, what)| count(times, what))
            .collect();
        if found.is_empty() {
            found.push("nothing found".to_owned());
        }
        let mut found = found.join(", ");
        let states = [
            (self.intermittent, "intermittent"),
            (self.resolved, "resolved"),
        ];
        let states: Vec<String> = states
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, state)| format!("{number} {state}"))
            .collect();
        if !states.is_empty() {
            found.push_str(&format!(", of which {}", states.join(", ")));
        }
        if self.undecided.total() > 0 {
            found.push_str(&format!(", {} undecided", self.undecided.total()));
        }
        writeln!(f, "{} looked at; {found}", self.examined)?;
        write!(f, "{}", self.undecided)?;
        if self.examined.is_empty() {
            writeln!(
                f,
                "note: the traced pods made no DNS query, connection or ping during this time, so there was nothing to \
                 diagnose"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
