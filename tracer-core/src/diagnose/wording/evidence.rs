//! Lines of evidence.

use super::parts::{Asked, Count};
use super::sentence;
use super::summary::packets;
use crate::diagnose::attempt::{Failure, Late};
use crate::diagnose::claim::{Break, Evidence};
use crate::model::sentence::Sentence;

/// A line of evidence.
pub(in crate::diagnose) fn evidence(evidence: &Evidence) -> Sentence {
    match evidence {
        Evidence::Query {
            name,
            qtype,
            outcome,
            latency,
            details,
        } => {
            let details = details.as_ref().map(|details| {
                sentence!(
                    ", server {}{}{}{}",
                    details.server,
                    (details.attempts > 1).then(|| sentence!(", asked {} times", details.attempts)),
                    details.negative.as_ref().map(|(zone, ttl)| {
                        sentence!(", negative TTL {} s of zone {}", ttl, zone)
                    }),
                    details.icmp.map(|error| sentence!(", {}", error))
                )
            });
            sentence!(
                "{} {}: {}{}{}",
                name,
                qtype,
                match outcome {
                    Some(outcome) => sentence!("{}", outcome),
                    None => sentence!("no answer yet"),
                },
                latency.map(|latency| sentence!(" in {}", latency)),
                details
            )
        }
        Evidence::Upstream(asked) => sentence!(
            "inferred: {} asked {} for {} {}, {} {}",
            asked.by,
            asked.to,
            asked.name,
            asked.qtype,
            match asked.outcome {
                Some(outcome) => sentence!("{} in", outcome),
                None => sentence!("no answer in"),
            },
            asked.after
        ),
        Evidence::Attempt {
            protocol,
            from,
            to,
            sent,
            failure,
        } => sentence!(
            "{} {} to {}: {}, {}",
            *protocol,
            from,
            to,
            packets(protocol, *sent),
            match failure {
                Failure::Reset => sentence!("RST"),
                Failure::Rejected(error) => sentence!("{}", error),
                Failure::Silent => sentence!("no answer"),
                Failure::Late(Late::Established(after)) => sentence!("SYN-ACK after {}", after),
                Failure::Late(Late::TooLate(after)) => {
                    sentence!("SYN-ACK after {}, reset by the pod", after)
                }
            }
        ),
        Evidence::Broken {
            protocol,
            from,
            to,
            end,
        } => sentence!("{} {} to {}: {}", *protocol, from, to, broken(end)),
        Evidence::Pings {
            sent,
            received,
            errors,
        } => sentence!(
            "{}, {}, {}",
            Count(*sent, "echo request"),
            Count(*received, "reply"),
            Count(*errors, "ICMP error")
        ),
        Evidence::LastError(error) => sentence!("last error: {}", error),
        Evidence::SlowAnswer { name, latency } => sentence!("{}: {}", name, latency),
        Evidence::Wasted { name, queries } => {
            sentence!(
                "\"{}\": {} without success",
                Asked(name),
                Count(*queries, "query")
            )
        }
        Evidence::TooBig { error, to } => {
            sentence!("{} about {} to {}", error, error.about.src.ip(), to)
        }
        Evidence::More(lines) => sentence!("and {} more", lines),
    }
}

/// How a connection or flow broke.
fn broken(end: &Break) -> Sentence {
    match end {
        Break::Reset { idle, age } => {
            sentence!("RST {} after it was established, idle for {}", age, idle)
        }
        Break::Unanswered { packets, span } => {
            sentence!(
                "{} in {} without an answer",
                Count(*packets, "packet"),
                span
            )
        }
        Break::OtherSender { from, packets } => {
            sentence!("{} from {}", Count(*packets, "packet"), from)
        }
        Break::SynAckRepeated(times) => sentence!("SYN-ACK repeated {}", Count(*times, "time")),
        Break::LargeLost {
            bytes,
            seen,
            delivered,
        } => sentence!(
            "{} bytes of payload lost{}, {}",
            bytes,
            (*seen > 0).then(|| sentence!(", sent {}", Count((*seen).into(), "time"))),
            match delivered {
                0 => sentence!("no smaller segment seen to arrive"),
                largest => sentence!("the largest that arrived has {}", largest),
            }
        ),
    }
}
