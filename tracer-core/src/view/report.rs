//! The findings of a run, each once, and the traffic they were drawn from: the output of `tracer diagnose`.
//!
//! Owns which event of a finding counts (the latest) and the order of findings: active before resolved, the
//! most severe first. It never writes anything. Input: the events that pass a filter. Traffic is counted on
//! the client's side, where the rules look at it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::net::SocketAddr;

use crate::model::connection::{TcpState, UdpState};
use crate::model::echo::EchoState;
use crate::model::event::{Body, Event};
use crate::model::finding::{Finding, Severity};
use crate::model::flow::{Ifindex, Role};
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;
use crate::model::units::count;

/// Findings in a report, at most: more than a person reads.
pub(super) const MAX_FINDINGS: usize = 10_000;
/// Connections to remember: each can have several events but counts once.
const MAX_CONNECTIONS: usize = 65_536;

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

/// A connection's identity: interface, both ends, start.
type ConnectionKey = (Ifindex, SocketAddr, SocketAddr, Timestamp);

/// The findings so far.
#[derive(Debug, Default)]
pub struct Report {
    findings: BTreeMap<String, Event>,
    examined: Examined,
    counted: HashSet<ConnectionKey>,
    /// Findings since the last call of [`Report::new_findings`].
    new: Vec<String>,
    losses: Losses,
}

impl Report {
    /// Adds an event.
    pub fn take(&mut self, event: &Event) {
        let client = event
            .ends
            .as_ref()
            .is_some_and(|ends| ends.role == Role::Client);
        match &event.body {
            Body::Finding(finding) => self.finding(event, finding),
            _ if !client => {}
            Body::Lookup(_) => self.examined.lookups += 1,
            Body::Tcp(connection) => {
                let flow = connection.flow;
                let key = (flow.ifindex, flow.pod, flow.peer, event.time);
                if self.counted.len() >= MAX_CONNECTIONS {
                    // An open connection can then count twice. That distorts a number in the summary, not a
                    // finding.
                    self.counted.clear();
                }
                if self.counted.insert(key) {
                    self.examined.connections += 1;
                }
                // No event of this connection follows.
                if matches!(
                    connection.state,
                    TcpState::Closed | TcpState::Reset | TcpState::Idle
                ) {
                    self.counted.remove(&key);
                }
            }
            Body::Udp(flow) => self.examined.udp_flows += u64::from(flow.state == UdpState::Open),
            Body::Echo(echo) => self.examined.pings += u64::from(echo.state == EchoState::Done),
            Body::Dns(..) | Body::IcmpError(_) | Body::Lost(_) => {}
        }
    }

    fn finding(&mut self, event: &Event, finding: &Finding) {
        if self.findings.contains_key(&finding.id) {
            self.findings.insert(finding.id.clone(), event.clone());
        } else if self.findings.len() < MAX_FINDINGS {
            self.new
                .push(format!("{}: {}", finding.rule, finding.summary));
            self.findings.insert(finding.id.clone(), event.clone());
        } else {
            self.losses
                .add(Stage::Table, "findings beyond what a report holds", 1);
        }
    }

    /// The latest event of each finding: active before resolved, the most severe first.
    pub fn findings(&self) -> Vec<Event> {
        let mut findings: Vec<(_, Event)> = self
            .all()
            .map(|(event, finding)| {
                let key = (
                    finding.is_resolved(),
                    Reverse(finding.severity),
                    finding.first,
                    finding.id.clone(),
                );
                (key, event.clone())
            })
            .collect();
        findings.sort_by(|a, b| a.0.cmp(&b.0));
        findings.into_iter().map(|(_, event)| event).collect()
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
            ..Digest::default()
        };
        for (_, finding) in self.all() {
            digest.worst = digest.worst.max(Some(finding.severity));
            match finding.severity {
                Severity::Error => digest.errors += 1,
                Severity::Warning => digest.warnings += 1,
                Severity::Info => digest.infos += 1,
            }
            digest.resolved += u64::from(finding.is_resolved());
        }
        digest
    }

    fn all(&self) -> impl Iterator<Item = (&Event, &Finding)> {
        self.findings
            .values()
            .filter_map(|event| match &event.body {
                Body::Finding(finding) => Some((event, &**finding)),
                _ => None,
            })
    }
}

/// A report in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// The highest severity.
    pub worst: Option<Severity>,
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
        if self.resolved > 0 {
            found.push_str(&format!(", of which {} resolved", self.resolved));
        }
        writeln!(f, "{} looked at; {found}", self.examined)?;
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
mod tests {
    use super::Report;
    use crate::model::connection::TcpState;
    use crate::model::event::{Body, Event};
    use crate::model::finding::Severity;
    use crate::view::gallery;

    fn finding(id: &str, severity: Severity, resolved: bool, count: u64) -> Event {
        let mut event = gallery::finding(severity, resolved);
        if let Body::Finding(finding) = &mut event.body {
            finding.id = id.to_owned();
            finding.count = count;
        }
        event
    }

    fn ids_and_counts(report: &Report) -> Vec<(String, u64)> {
        let findings = report.findings().into_iter();
        findings
            .filter_map(|event| match event.body {
                Body::Finding(finding) => Some((finding.id, finding.count)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn each_finding_appears_once_with_its_latest_count_and_the_most_severe_first() {
        let mut report = Report::default();
        for event in [
            finding("hint", Severity::Info, false, 1),
            finding("over", Severity::Error, false, 1),
            finding("bad", Severity::Error, false, 1),
            finding("bad", Severity::Error, false, 7),
            finding("over", Severity::Error, true, 1),
            finding("mild", Severity::Warning, false, 2),
        ] {
            report.take(&event);
        }
        let expected = [("bad", 7), ("mild", 2), ("hint", 1), ("over", 1)];
        let expected = expected.map(|(id, count)| (id.to_owned(), count));
        assert_eq!(ids_and_counts(&report), expected);
        assert_eq!(report.new_findings().len(), 4, "one line per finding");
        let digest = report.digest();
        assert_eq!(digest.worst, Some(Severity::Error));
        assert_eq!(
            digest.to_string().lines().next(),
            Some(
                "0 lookups, 0 connections, 0 pings looked at; 2 errors, 1 warning, 1 hint, of which 1 resolved"
            )
        );
    }

    #[test]
    fn a_connection_with_two_events_counts_once() {
        let mut report = Report::default();
        let states = [TcpState::Established, TcpState::Closed];
        for ends in [
            gallery::client("10.152.183.117", 80),
            gallery::client("10.152.183.117", 81),
        ] {
            for state in states {
                report.take(&gallery::tcp(ends.clone(), state, |_| {}));
            }
        }
        assert_eq!(report.digest().examined.connections, 2);
    }
}
