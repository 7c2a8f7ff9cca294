//! The findings of a run, each once, and what they were looked for in: what `tracer diagnose` says.
//!
//! Owns which of a finding's tellings counts (the last one) and in which order findings are shown: what is wrong still and
//! bad first. It never writes anything. Input: the events that a filter lets through; what pods are asked is counted on the
//! side of those who ask, as the rules look at it there.

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

/// Findings that a report holds. Nobody reads as many.
pub(super) const MOST_FINDINGS: usize = 10_000;
/// Connections that are remembered because they are told more than once.
const MOST_CONNECTIONS: usize = 65_536;

/// What findings were looked for in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Lookups.
    pub lookups: u64,
    /// TCP connections and attempts.
    pub connections: u64,
    /// UDP flows.
    pub udp_flows: u64,
    /// Pings.
    pub pings: u64,
}

impl Looked {
    fn nothing(&self) -> bool {
        *self == Looked::default()
    }
}

impl fmt::Display for Looked {
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

/// One connection: where it was seen, both ends, when it began.
type ConnectionKey = (Ifindex, SocketAddr, SocketAddr, Timestamp);

/// The findings so far.
#[derive(Debug, Default)]
pub struct Report {
    findings: BTreeMap<String, Event>,
    looked: Looked,
    counted: HashSet<ConnectionKey>,
    /// Findings that were new since somebody asked.
    news: Vec<String>,
    losses: Losses,
}

impl Report {
    /// Takes an event in.
    pub fn take(&mut self, event: &Event) {
        let client = event
            .ends
            .as_ref()
            .is_some_and(|ends| ends.role == Role::Client);
        match &event.body {
            Body::Finding(finding) => self.finding(event, finding),
            _ if !client => {}
            Body::Lookup(_) => self.looked.lookups += 1,
            Body::Tcp(connection) => {
                let flow = connection.flow;
                let key = (flow.ifindex, flow.pod, flow.peer, event.time);
                if self.counted.len() >= MOST_CONNECTIONS {
                    // What is still open may then be counted again: a figure, not a verdict.
                    self.counted.clear();
                }
                if self.counted.insert(key) {
                    self.looked.connections += 1;
                }
                // After these nothing more is told of it.
                if matches!(connection.state, TcpState::Closed | TcpState::Reset) {
                    self.counted.remove(&key);
                }
            }
            Body::Udp(flow) => self.looked.udp_flows += u64::from(flow.state == UdpState::Open),
            Body::Echo(echo) => self.looked.pings += u64::from(echo.state == EchoState::Done),
            Body::Dns(..) | Body::IcmpError(_) | Body::Lost(_) => {}
        }
    }

    fn finding(&mut self, event: &Event, finding: &Finding) {
        if self.findings.contains_key(&finding.id) {
            self.findings.insert(finding.id.clone(), event.clone());
        } else if self.findings.len() < MOST_FINDINGS {
            self.news
                .push(format!("{}: {}", finding.rule, finding.summary));
            self.findings.insert(finding.id.clone(), event.clone());
        } else {
            self.losses
                .add(Stage::Table, "findings beyond what a report holds", 1);
        }
    }

    /// All findings as they were told last: what is wrong still first, the worst of that first.
    pub fn findings(&self) -> Vec<Event> {
        let mut findings: Vec<(_, Event)> = self
            .all()
            .map(|(event, finding)| {
                let key = (
                    finding.resolved,
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

    /// Lines about findings that came since this was asked last.
    pub fn news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.news)
    }

    /// What did not fit.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// The figures.
    pub fn digest(&self) -> Digest {
        let mut digest = Digest {
            looked: self.looked,
            ..Digest::default()
        };
        for (_, finding) in self.all() {
            digest.worst = digest.worst.max(Some(finding.severity));
            match finding.severity {
                Severity::Error => digest.errors += 1,
                Severity::Warning => digest.warnings += 1,
                Severity::Info => digest.infos += 1,
            }
            digest.resolved += u64::from(finding.resolved);
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

/// What a report comes to, in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// What it looked at.
    pub looked: Looked,
    /// Findings of severity error.
    pub errors: u64,
    /// Findings of severity warning.
    pub warnings: u64,
    /// Findings of severity info.
    pub infos: u64,
    /// Those of all of these whose cause is gone.
    pub resolved: u64,
    /// The worst.
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
        writeln!(f, "{} looked at; {found}", self.looked)?;
        if self.looked.nothing() {
            writeln!(
                f,
                "note: no pod that was looked at asked for a name, connected or pinged meanwhile, so there was nothing to \
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

    fn told(report: &Report) -> Vec<(String, u64)> {
        let findings = report.findings().into_iter();
        findings
            .filter_map(|event| match event.body {
                Body::Finding(finding) => Some((finding.id, finding.count)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn each_finding_stands_once_as_it_was_told_last_and_the_worst_first() {
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
        assert_eq!(told(&report), expected);
        assert_eq!(report.news().len(), 4, "one line for each, when it is new");
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
    fn a_connection_that_is_told_twice_is_one() {
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
        assert_eq!(report.digest().looked.connections, 2);
    }
}
