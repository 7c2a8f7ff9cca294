//! A pod whose lookups, connections and pings work, one of each a round, and what the tracer says about them.
//!
//! A lookup is found again by the identifier that dig prints, a connection by the local port that curl prints, and
//! pings are counted.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use serde_json::Value;

use super::word;
use crate::lab::Lab;

const NAME: &str = "clusterip-nginx-ds.default.svc.cluster.local.";
const URL: &str = "http://10.152.183.117/";
/// Another pod, on another node.
const PINGED: &str = "10.1.235.213";

/// What the tracer says about one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Said {
    #[default]
    Nothing,
    Undecided,
    Worked,
    Failed,
}

/// The pod.
#[derive(Debug)]
pub struct Bystander {
    name: &'static str,
    /// By identifier: identifiers repeat rarely among some hundred.
    lookups: BTreeMap<u64, Said>,
    /// By local port.
    connections: BTreeMap<u64, Said>,
    /// Pings that were answered.
    pings: usize,
    seen: Seen,
}

/// The comparison.
#[derive(Debug, Default)]
pub struct Seen {
    lookups: Counts,
    connections: Counts,
    pings: Counts,
    /// Attempts that failed for the client: the flood is felt, and the tracer may say so.
    failed_attempts: u64,
    /// Events that are false.
    wrong: Vec<Value>,
}

#[derive(Debug, Default)]
struct Counts {
    worked: usize,
    reported: usize,
}

impl Bystander {
    pub(super) fn new(name: &'static str) -> Bystander {
        Bystander {
            name,
            lookups: BTreeMap::new(),
            connections: BTreeMap::new(),
            pings: 0,
            seen: Seen::default(),
        }
    }

    /// A lookup, a connection and a ping.
    pub(super) fn round(&mut self, lab: &Lab) -> Result<()> {
        let run = |argv: &[&str]| -> Result<Option<String>> {
            let output = lab.exec(self.name, argv)?.output()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            Ok(output.status.success().then_some(text))
        };
        let dig = run(&["dig", "+tries=1", "+time=5", NAME])?;
        let curl = run(&[
            "curl",
            "-sSf",
            "-m",
            "5",
            "-o",
            "/dev/null",
            "-w",
            "%{local_port}",
            URL,
        ])?;
        let ping = run(&["ping", "-n", "-c", "1", "-W", "5", PINGED])?;
        let id = dig
            .filter(|text| text.contains("status: NOERROR"))
            .and_then(|text| {
                text.split_once(", id: ")?
                    .1
                    .split('\n')
                    .next()?
                    .parse()
                    .ok()
            });
        match id {
            Some(id) => drop(self.lookups.entry(id).or_default()),
            None => self.seen.failed_attempts += 1,
        }
        match curl.and_then(|port| port.parse().ok()) {
            Some(port) => drop(self.connections.entry(port).or_default()),
            None => self.seen.failed_attempts += 1,
        }
        match ping {
            Some(_) => self.pings += 1,
            None => self.seen.failed_attempts += 1,
        }
        Ok(())
    }

    /// Takes an event.
    pub(super) fn hear(&mut self, event: Value) {
        let pod = &event["pod"];
        let own = format!("{}/{}", word(pod, "namespace"), word(pod, "name")) == self.name;
        if !own || word(&event, "direction") != "client" {
            return;
        }
        let (said, known) = match word(&event, "type") {
            "dns" => {
                let said = judged(word(&event, "outcome"), &["answered"]);
                let id = event["id"].as_u64();
                (said, id.and_then(|id| self.lookups.get_mut(&id)))
            }
            "tcp" => {
                let said = judged(word(&event, "state"), &["established", "closed", "idle"]);
                let port = pod["port"].as_u64();
                (said, port.and_then(|port| self.connections.get_mut(&port)))
            }
            "icmp" if word(&event, "kind") == "echo" => {
                let said = ping(&event);
                self.seen.pings.reported += usize::from(said == Said::Worked);
                (said, None)
            }
            "lookup" => (judged(word(&event, "outcome"), &["answered"]), None),
            "finding" => (Said::Failed, None),
            _ => (Said::Undecided, None),
        };
        match known {
            Some(known) if *known != Said::Failed && said != Said::Undecided => *known = said,
            _ => {}
        }
        if said == Said::Failed {
            self.seen.wrong.push(event);
        }
    }

    /// The comparison so far.
    pub(super) fn seen(mut self) -> Seen {
        let counts = |said: &BTreeMap<u64, Said>| Counts {
            worked: said.len(),
            reported: said.values().filter(|said| **said == Said::Worked).count(),
        };
        self.seen.lookups = counts(&self.lookups);
        self.seen.connections = counts(&self.connections);
        self.seen.pings.worked = self.pings;
        self.seen
    }
}

fn judged(word: &str, good: &[&str]) -> Said {
    match word {
        "undecided" => Said::Undecided,
        word if good.contains(&word) => Said::Worked,
        _ => Said::Failed,
    }
}

/// A run of one request.
fn ping(event: &Value) -> Said {
    match word(event, "state") {
        "undecided" => Said::Undecided,
        "done" if event["received"] == event["sent"] => Said::Worked,
        "done" => Said::Failed,
        _ => Said::Nothing,
    }
}

impl Seen {
    /// What is wrong with what the tracer says.
    pub(super) fn faults(&self, least: f64) -> Vec<String> {
        let mut faults = Vec::new();
        // Where the client itself failed, so may the tracer's word about it.
        if self.wrong.len() as u64 > self.failed_attempts {
            let first: String = self
                .wrong
                .iter()
                .take(5)
                .map(|event| format!("\n  {event}"))
                .collect();
            faults.push(format!(
                "{} events about the bystander say that it failed; {} of its attempts did:{first}",
                self.wrong.len(),
                self.failed_attempts,
            ));
        }
        for (what, counts) in self.all() {
            let share = counts.reported as f64 / counts.worked.max(1) as f64;
            if share < least {
                faults.push(format!(
                    "only {} of {} {what} are reported",
                    counts.reported, counts.worked
                ));
            }
        }
        faults
    }

    fn all(&self) -> [(&'static str, &Counts); 3] {
        [
            ("lookups", &self.lookups),
            ("connections", &self.connections),
            ("pings", &self.pings),
        ]
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, counts) in self.all() {
            writeln!(
                f,
                "{what}: {} worked, {} reported as such",
                counts.worked, counts.reported
            )?;
        }
        writeln!(
            f,
            "{} attempts failed for the client, {} events say that one failed",
            self.failed_attempts,
            self.wrong.len()
        )
    }
}
