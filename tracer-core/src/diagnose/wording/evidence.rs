//! Lines of evidence.

use super::parts::{Asked, Count};
use super::sentence;
use super::summary::packets;
use crate::diagnose::attempt::Failure;
use crate::diagnose::claim::Evidence;
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
                Failure::Silent => sentence!("nothing came back"),
            }
        ),
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
            sentence!("\"{}\": {} in vain", Asked(name), Count(*queries, "query"))
        }
        Evidence::TooBig { error, to } => {
            sentence!("{} about {} to {}", error, error.about.src.ip(), to)
        }
        Evidence::More(lines) => sentence!("and {} more", lines),
    }
}
