//! The findings of a run in the lab: the expected ones must be reported, and no others.

use std::collections::BTreeMap;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::watch::{Ended, Events, listed};
use serde_json::Value;

use super::{Stage, name};

/// An unanswered lookup, connection or ping is reported after 6 or 7 s; the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// A finding that must be reported, and what its text must contain.
#[derive(Clone, Debug)]
pub struct Expected {
    rule: &'static str,
    pod: &'static str,
    says: Vec<&'static str>,
}

/// Expects a finding of this rule about this pod whose text contains all of `says`.
pub fn expect(rule: &'static str, pod: &'static str, says: &[&'static str]) -> Expected {
    Expected {
        rule,
        pod,
        says: says.to_vec(),
    }
}

impl Expected {
    fn fits(&self, finding: &Value) -> bool {
        let text = text_of(finding);
        finding["rule"] == self.rule
            && name(&finding["pod"]) == self.pod
            && self.says.iter().all(|words| text.contains(words))
    }
}

/// Headline, summary, reasons and remedies.
pub fn text_of(finding: &Value) -> String {
    let tries = finding["try"].as_array().into_iter().flatten();
    let lines = [&finding["headline"], &finding["summary"], &finding["why"]];
    let lines = lines.into_iter().chain(tries).filter_map(Value::as_str);
    lines.collect::<Vec<_>>().join("\n")
}

/// The reported and the expected findings.
pub struct Findings {
    /// All events of the run.
    pub events: Events,
    expected: Vec<Expected>,
    /// Whether findings of severity info must be expected, too.
    infos: bool,
}

impl Findings {
    /// Checks findings of severity warning or error, and ignores the others.
    pub fn of(events: Events) -> Findings {
        Findings {
            events,
            expected: Vec::new(),
            infos: false,
        }
    }

    /// Checks findings of every severity.
    pub fn all_of(events: Events) -> Findings {
        Findings {
            infos: true,
            ..Findings::of(events)
        }
    }

    /// Adds an expectation.
    pub fn expect(&mut self, expected: Expected) {
        self.expected.push(expected);
    }

    /// Waits until every expected finding has been reported.
    pub fn wait(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.events.poll().expect("JSON lines");
            let reported = self.reported();
            let missing: Vec<&Expected> = self
                .expected
                .iter()
                .filter(|expected| !reported.iter().any(|finding| expected.fits(finding)))
                .collect();
            if missing.is_empty() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "not reported: {missing:#?}\nreported:{}\nother events of these pods:{}",
                brief(self.events.all()),
                self.others_of(&missing)
            );
        }
    }

    /// What else was reported about the pods whose findings are missing.
    fn others_of(&self, missing: &[&Expected]) -> String {
        let of_these = |event: &&Value| {
            let pod = name(&event["pod"]);
            event["type"] != "finding" && missing.iter().any(|expected| expected.pod == pod)
        };
        let events: Vec<Value> = self.events.all().iter().filter(of_these).cloned().collect();
        listed(&events)
    }

    /// The finding of that rule about that pod, as first reported.
    pub fn finding(&self, rule: &str, pod: &str) -> Value {
        let mut reported = self.reported().into_iter();
        let found =
            reported.find(|finding| finding["rule"] == rule && name(&finding["pod"]) == pod);
        found.unwrap_or_else(|| panic!("no {rule} of {pod}:{}", brief(self.events.all())))
    }

    /// Waits until a finding is resolved with a summary that contains the text.
    pub fn resolved(&mut self, rule: &str, pod: &str, words: &str) {
        self.resolved_by(rule, pod, words, || {});
    }

    /// Repeats something that works until it resolves a finding: one success does not show that a fault is
    /// gone.
    pub fn resolved_by(&mut self, rule: &str, pod: &str, words: &str, mut attempt: impl FnMut()) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            attempt();
            self.events.poll().expect("JSON lines");
            let resolved = self.events.all().iter().any(|event| {
                event["rule"] == rule
                    && event["state"] == "resolved"
                    && name(&event["pod"]) == pod
                    && event["summary"]
                        .as_str()
                        .is_some_and(|text| text.contains(words))
            });
            if resolved {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{rule} of {pod} is not resolved: {words}; reported:{}",
                brief(self.events.all())
            );
        }
    }

    /// Stops the tracers and checks that findings and expectations match one to one. Returns all events and
    /// the ends.
    pub fn nothing_else(mut self) -> (Vec<Value>, Vec<Ended>) {
        let ended = self.events.stop().expect("the tracers run to the end");
        for ended in &ended {
            assert_eq!(ended.code, Some(0), "{:#?}", ended.log);
        }
        let reported = self.reported();
        let unexpected: Vec<Value> = reported
            .iter()
            .filter(|finding| !self.expected.iter().any(|expected| expected.fits(finding)))
            .cloned()
            .collect();
        assert!(unexpected.is_empty(), "false alarms:{}", brief(&unexpected));
        assert_eq!(reported.len(), self.expected.len(), "{}", brief(&reported));
        (self.events.all().to_vec(), ended)
    }

    /// The findings that count, each once, as first reported.
    fn reported(&self) -> Vec<Value> {
        let mut reported: Vec<Value> = Vec::new();
        for event in self.events.all() {
            let counts = event["type"] == "finding"
                && event["state"] == "active"
                && (self.infos || event["severity"] != "info");
            if counts && !reported.iter().any(|known| known["id"] == event["id"]) {
                reported.push(event.clone());
            }
        }
        reported
    }
}

/// Runs the findings' suggested commands in their pods, each once and all at the same time. Returns the
/// output by command.
pub fn pasted(stage: &Stage, findings: &[Value]) -> BTreeMap<String, Output> {
    let tries = findings
        .iter()
        .filter_map(|finding| finding["try"].as_array())
        .flatten()
        .filter_map(Value::as_str);
    let mut running = BTreeMap::new();
    for line in tries {
        // Without kubectl, the lab takes the rest: `-n NAMESPACE exec POD -- COMMAND`.
        let Some((place, command)) = line
            .strip_prefix("kubectl -n ")
            .and_then(|line| line.split_once(" -- "))
        else {
            continue;
        };
        // `kubectl debug` brings a container of its own, which the lab has not.
        let Some((namespace, pod)) = place.split_once(" exec ") else {
            continue;
        };
        let pod = pod.split_whitespace().next().expect("a pod");
        running.entry(line.to_owned()).or_insert_with(|| {
            stage.spawn_in(&format!("{namespace}/{pod}"), &["sh", "-c", command])
        });
    }
    let output = |(line, child): (String, std::process::Child)| {
        (line, child.wait_with_output().expect("it ends"))
    };
    running.into_iter().map(output).collect()
}

/// The findings, one per line, for messages.
pub fn brief(events: &[Value]) -> String {
    let findings = events.iter().filter(|event| event["type"] == "finding");
    let line = |finding: &Value| {
        format!(
            "\n  {} {} {}: {}",
            finding["state"], finding["severity"], finding["rule"], finding["summary"]
        )
    };
    findings.map(line).collect()
}
