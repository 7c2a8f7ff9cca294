//! The load: dnsperf, what it asks, and its own statistics of what was answered.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::bed::{Bed, SERVER};
use crate::lab::shell::run;

/// Names of each kind.
pub(super) const NAMES: usize = 1000;
/// A domain outside the cluster.
pub(super) const EXTERNAL: &str = "example.com";

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mix {
    /// Only names that exist.
    Ok,
    /// 50 % A, 25 % AAAA of names that have none, 25 % NXDOMAIN.
    Nxdomain,
    /// The search path of names outside the cluster: three NXDOMAIN, then the answer.
    Search,
}

impl Mix {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Mix::Ok => "ok",
            Mix::Nxdomain => "mix",
            Mix::Search => "search",
        }
    }

    /// dnsperf's input.
    pub(super) fn queries(self) -> String {
        let mut text = String::new();
        // An application asks few names outside, again and again.
        let names = if self == Mix::Search { 50 } else { NAMES };
        for number in 0..names {
            let cluster = "default.svc.cluster.local";
            let _ = match self {
                Mix::Ok => writeln!(text, "svc-{number}.{cluster} A"),
                Mix::Nxdomain => write!(
                    text,
                    "svc-{number}.{cluster} A\nsvc-{number}.{cluster} AAAA\n\
                     svc-{other}.{cluster} A\nno-{number}.{cluster} A\n",
                    other = (number + NAMES / 2) % NAMES,
                ),
                Mix::Search => {
                    let name = format!("www-{number}.{EXTERNAL}");
                    write!(
                        text,
                        "{name}.{cluster} A\n{name}.svc.cluster.local A\n{name}.cluster.local A\n{name} A\n"
                    )
                }
            };
        }
        text
    }
}

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rate {
    /// Queries per second.
    PerSecond(u32),
    /// As many as are answered: 300 are outstanding at a time.
    Limit,
    /// 90,000 per second whether they are answered or not: up to 10,000 outstanding. A closed loop slows down
    /// when a tool takes the CPU, and so hides loss.
    Open,
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Rate::PerSecond(rate) => write!(f, "{rate}"),
            Rate::Limit => f.write_str("limit"),
            Rate::Open => f.write_str("open"),
        }
    }
}

/// The transport of the queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP, connections that stay open.
    Tcp,
}

/// A load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Load {
    /// What is asked.
    pub mix: Mix,
    /// How fast.
    pub rate: Rate,
    /// Over what.
    pub transport: Transport,
    /// For how many seconds.
    pub seconds: u32,
}

/// dnsperf's statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Answered {
    /// Queries sent.
    pub sent: u64,
    /// Queries answered.
    pub completed: u64,
    /// Queries without an answer within two seconds.
    pub lost: u64,
    /// Answers per second.
    pub per_second: f64,
    /// Mean time from query to answer.
    pub latency: Duration,
}

impl Load {
    /// Runs it to its end.
    pub fn run(self, bed: &Bed) -> Result<Answered> {
        let queries = bed.queries(self.mix)?;
        let queries = queries.to_str().context("a path that is UTF-8")?;
        let pods = bed.addresses().len();
        // Sockets: 50 for a search path, so that 50 resolvers ask at a time, and more than there are pods.
        let sockets = match self.mix {
            Mix::Search => 50,
            _ => 8,
        };
        let sockets = if pods > 1 { pods * 4 } else { sockets }.to_string();
        let (seconds, server) = (self.seconds.to_string(), SERVER.to_string());
        let limit = (self.seconds + 30).to_string();
        let mut argv = vec![
            "timeout", &limit, "dnsperf", "-s", &server, "-d", queries, "-l", &seconds,
        ];
        argv.extend(["-c", &sockets, "-t", "2"]);
        let rate;
        match self.rate {
            Rate::PerSecond(number) => {
                rate = number.to_string();
                argv.extend(["-q", "300", "-Q", &rate]);
            }
            Rate::Limit => argv.extend(["-q", "300"]),
            Rate::Open => argv.extend(["-q", "10000", "-Q", "90000"]),
        }
        if self.transport == Transport::Tcp {
            argv.extend(["-m", "tcp"]);
        }
        answered(&run(&mut bed.command("client", "load", &argv)?)?)
    }
}

fn answered(output: &str) -> Result<Answered> {
    let number = |label: &str| {
        let line = output
            .lines()
            .find_map(|line| line.trim().strip_prefix(label));
        let word = line.and_then(|rest| rest.split_whitespace().next());
        word.and_then(|word| word.parse::<f64>().ok())
            .with_context(|| format!("dnsperf printed no {label:?}:\n{output}"))
    };
    Ok(Answered {
        sent: number("Queries sent:")? as u64,
        completed: number("Queries completed:")? as u64,
        lost: number("Queries lost:")? as u64,
        per_second: number("Queries per second:")?,
        latency: Duration::from_secs_f64(number("Average Latency (s):").unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_mix_does_not_exist() {
        let text = Mix::Nxdomain.queries();
        let missing = text.lines().filter(|line| line.starts_with("no-")).count();
        assert_eq!(missing * 4, text.lines().count());
    }

    #[test]
    fn dnsperfs_statistics_are_read() {
        let output = "Statistics:

  Queries sent:         100001
  Queries completed:    99999 (100.00%)
  Queries lost:         2 (0.00%)

  Response codes:       NOERROR 75000 (75.00%), NXDOMAIN 24999 (25.00%)
  Average packet size:  request 52, response 106
  Run time (s):         5.000041
  Queries per second:   19999.836001

  Average Latency (s):  0.000046 (min 0.000016, max 0.002102)
  Latency StdDev (s):   0.000041
";
        assert_eq!(
            answered(output).expect("complete"),
            Answered {
                sent: 100_001,
                completed: 99_999,
                lost: 2,
                per_second: 19_999.836_001,
                latency: Duration::from_micros(46),
            }
        );
        assert!(answered("").is_err());
    }
}
