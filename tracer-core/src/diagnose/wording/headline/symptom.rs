//! What failed, in a clause.

use super::brief::{Brief, Short};
use crate::diagnose::attempt::Failure;
use crate::diagnose::claim::Summary;
use crate::diagnose::fact::Who;
use crate::diagnose::search_domains::Caught;
use crate::diagnose::tally::Tally;
use crate::diagnose::wording::parts::{Asked, Count, List, Plain, Relative, address};
use crate::diagnose::wording::rest::rest;
use crate::diagnose::wording::sentence;
use crate::model::sentence::Sentence;

pub(in crate::diagnose::wording) fn symptom(
    who: &Who,
    summary: &Summary,
    tally: &Tally,
) -> Sentence {
    let some = tally.attempts > tally.failures && tally.attempts > 1;
    let share =
        |noun: &'static str| sentence!("{} of {}", tally.failures, Count(tally.attempts, noun));
    match summary {
        Summary::NoSuchName { asked, .. } => {
            sentence!("{} can't resolve \"{}\"", who, Asked(asked))
        }
        Summary::NoSuchType { asked, types, .. } => sentence!(
            "{} looked up \"{}\": the name has no {} record",
            who,
            Asked(asked),
            List(types)
        ),
        Summary::TypeFails {
            name,
            qtype,
            outcome,
            ..
        } => sentence!(
            "{}: {} of {} fails ({}) while A is answered",
            who,
            qtype,
            Relative(name),
            outcome
        ),
        Summary::QueriesRejected { server, .. } => {
            sentence!("{} can't reach DNS server {}", who, Brief(server))
        }
        Summary::ServerRefusesTcp(server) => {
            sentence!(
                "{} can't connect to DNS server {} over TCP",
                who,
                Brief(server)
            )
        }
        Summary::Race { waited, asked, .. } if !some => {
            sentence!("{} waited {} for \"{}\"", who, waited, Asked(asked))
        }
        Summary::Race { server, waited, .. } => sentence!(
            "{}: {} at DNS server {} waited {}",
            who,
            share("lookup"),
            Brief(server),
            waited
        ),
        Summary::SearchDomain {
            asked,
            domain,
            caught,
        } => match caught {
            Caught::Answered(_) => sentence!(
                "{}: search domain {} answers \"{}\"",
                who,
                Relative(domain),
                Asked(asked)
            ),
            Caught::Ended => sentence!(
                "{} can't resolve \"{}\": the search ended after domain {}",
                who,
                Asked(asked),
                Relative(domain)
            ),
            Caught::Waited(waited) => sentence!(
                "{} waited {} for \"{}\": search domain {} doesn't answer",
                who,
                waited,
                Asked(asked),
                Relative(domain)
            ),
            Caught::Empty | Caught::Failed(_) => sentence!(
                "{} can't resolve \"{}\": search domain {} ended the search",
                who,
                Asked(asked),
                Relative(domain)
            ),
        },
        Summary::Loop {
            name,
            server,
            times,
            ..
        } => sentence!(
            "{}: its question for {} to DNS server {} came back {}",
            who,
            Relative(name),
            Brief(server),
            Count(*times, "time")
        ),
        Summary::Retried { waited, asked, .. } if !some => {
            sentence!("{} waited {} for \"{}\"", who, waited, Asked(asked))
        }
        Summary::Retried { waited, server, .. } => sentence!(
            "{}: {} at DNS server {} waited, the last one {}",
            who,
            share("lookup"),
            Brief(server),
            waited
        ),
        Summary::RepliesFromElsewhere { asked, server, .. } => sentence!(
            "{} can't resolve \"{}\" at DNS server {}",
            who,
            Asked(asked),
            Brief(server)
        ),
        Summary::NotUnderstood {
            asked,
            server,
            rcode,
            ..
        } => sentence!(
            "{} can't resolve \"{}\": {} from DNS server {}",
            who,
            Asked(asked),
            rcode,
            Brief(server)
        ),
        Summary::FragmentsLost { asked, server, .. } => sentence!(
            "{} can't resolve \"{}\" at DNS server {}",
            who,
            Asked(asked),
            Brief(server)
        ),
        Summary::Servfail { asked, server, .. }
        | Summary::Refused { asked, server, .. }
        | Summary::NoAnswer { asked, server, .. } => {
            let outcome = match summary {
                Summary::Servfail { .. } => "SERVFAIL",
                Summary::Refused { .. } => "REFUSED",
                _ => "no answer",
            };
            if some {
                sentence!(
                    "{}: {} at DNS server {} got {}",
                    who,
                    share("lookup"),
                    Brief(server),
                    outcome
                )
            } else {
                sentence!(
                    "{} can't resolve \"{}\": {} from DNS server {}",
                    who,
                    Asked(asked),
                    outcome,
                    Brief(server)
                )
            }
        }
        Summary::Truncated { asked, server, .. } => sentence!(
            "{} can't resolve \"{}\": the answer of DNS server {} is truncated and TCP fails",
            who,
            Asked(asked),
            Brief(server)
        ),
        Summary::SlowServer {
            server, latency, ..
        } => sentence!(
            "{} waited {} for DNS server {}",
            who,
            latency,
            Brief(server)
        ),
        Summary::OtherClusterDomain { domain, configured } => sentence!(
            "{}: the cluster's domain is {}, not {}",
            who,
            Relative(domain),
            Relative(configured)
        ),
        Summary::Rest(latest) => rest(who, latest, tally.failures),
        Summary::SearchPathWaste {
            workload,
            wasted,
            queries,
            ..
        } => sentence!(
            "{}: {} of {} DNS queries are for names that don't exist",
            Plain(workload.clone()),
            wasted,
            queries
        ),
        Summary::CannotReach {
            protocol,
            failure,
            destination,
            ..
        } => {
            let destination = Short(destination);
            match (*protocol, failure, some) {
                ("TCP", _, true) => sentence!(
                    "{}: {} to {} {}",
                    who,
                    share("connection"),
                    destination,
                    match failure {
                        Failure::Reset => "are refused",
                        Failure::Rejected(_) => "are rejected by ICMP",
                        Failure::Silent | Failure::Late(_) => "got no answer in time",
                    }
                ),
                ("TCP", _, false) => sentence!(
                    "{} can't connect to {} ({})",
                    who,
                    destination,
                    failed(failure)
                ),
                (_, Failure::Silent, _) => {
                    sentence!("{} gets no answer from {} over UDP", who, destination)
                }
                _ => sentence!(
                    "{} can't reach {} over UDP ({})",
                    who,
                    destination,
                    failed(failure)
                ),
            }
        }
        Summary::ConnectedSlowly {
            destination,
            waited,
            ..
        } if !some => sentence!(
            "{} waited {} to connect to {}",
            who,
            waited,
            Short(destination)
        ),
        Summary::ConnectedSlowly {
            destination,
            waited,
            ..
        } => sentence!(
            "{}: {} to {} were slow ({})",
            who,
            share("connection"),
            Short(destination),
            waited
        ),
        Summary::RepliesFromOther {
            syn_ack: true,
            destination,
            ..
        } => sentence!("{} can't connect to {}", who, Short(destination)),
        Summary::RepliesFromOther { destination, .. } => {
            sentence!("{} gets no valid reply from {}", who, Short(destination))
        }
        Summary::ResetAfterData { destination, .. } => sentence!(
            "{}: {} to {} are reset after the first data",
            who,
            share("connection"),
            Short(destination)
        ),
        Summary::ResetAfterIdle { destination, idle } => sentence!(
            "{}: a connection to {} was reset after {} idle",
            who,
            Short(destination),
            idle
        ),
        Summary::Stalled {
            destination, span, ..
        } => sentence!(
            "{} gets no answer on its connection to {} for {}",
            who,
            Short(destination),
            span
        ),
        Summary::SynAckRepeated { destination, .. } => sentence!(
            "{}: {} is slow to accept connections",
            who,
            Short(destination)
        ),
        Summary::LargeLost { destination, .. } => {
            sentence!("{}: its connection to {} hangs", who, Short(destination))
        }
        Summary::UdpUnanswered { destination, .. } => sentence!(
            "{} gets no answer any more from {} over UDP",
            who,
            Short(destination)
        ),
        Summary::PingedClusterIp {
            ip,
            access,
            service,
            sent,
            received,
            ..
        } => sentence!(
            "{} pinged {} {} (Service {}): {} sent, {} received",
            who,
            address(*access),
            ip,
            service,
            sent,
            received
        ),
        Summary::PingUnanswered { ip, sent } | Summary::PingedServiceRange { ip, sent } => {
            sentence!("{} pinged {}: {} sent, 0 received", who, ip, sent)
        }
        Summary::PacketsTooBig { to, .. } => sentence!(
            "{} sends packets to {} that are too big for the path",
            who,
            to
        ),
    }
}

/// How an attempt failed.
fn failed(failure: &Failure) -> Sentence {
    match failure {
        Failure::Reset => "refused".into(),
        Failure::Rejected(error) => sentence!("{}", error),
        Failure::Silent => "no answer".into(),
        Failure::Late(late) => sentence!("no answer for {}", late.after()),
    }
}
