//! What failed, and how it was resolved.

use std::net::IpAddr;

use super::parts::{Asked, Count, List, Opaque, Ordinal, Plain, Relative, address};
use super::sentence;
use crate::diagnose::attempt::{Failure, Late};
use crate::diagnose::claim::Summary;
use crate::diagnose::cure::Resolution;
use crate::diagnose::fact::{TcpFailure, Who};
use crate::diagnose::search_domains::Caught;
use crate::model::sentence::Sentence;

/// What failed, in one sentence about the pod.
pub(in crate::diagnose) fn summary(who: &Who, summary: &Summary) -> Sentence {
    match summary {
        Summary::NoSuchName { asked, figures } => {
            sentence!(
                "{} looked up \"{}\": NXDOMAIN ({})",
                who,
                Asked(asked),
                figures
            )
        }
        Summary::NoSuchType {
            asked,
            types,
            figures,
        } => sentence!(
            "{} looked up \"{}\": the name exists and has no {} record ({}).",
            who,
            Asked(asked),
            List(types),
            figures
        ),
        Summary::TypeFails {
            name,
            qtype,
            outcome,
            repeated,
        } => sentence!(
            "{} looked up {}: A is answered, {} is not: {}{}.",
            who,
            name,
            qtype,
            outcome,
            repeated.map(|(attempts, within)| {
                sentence!(", asked {} times within {}", attempts, within)
            })
        ),
        Summary::QueriesRejected {
            asked,
            server,
            figures,
        } => sentence!(
            "{} cannot look up \"{}\": its queries to DNS server {} are rejected ({}).",
            who,
            Asked(asked),
            server,
            figures
        ),
        Summary::SearchDomain {
            asked,
            domain,
            caught,
        } => match caught {
            Caught::Answered(data) => sentence!(
                "{} looked up \"{}\": search domain {} answered{}.",
                who,
                Asked(asked),
                Relative(domain),
                (!data.is_empty()).then(|| {
                    let data: Vec<Opaque<'_>> = data.iter().map(|data| Opaque(data)).collect();
                    sentence!(" with {}", List(&data))
                })
            ),
            Caught::Empty => sentence!(
                "{} looked up \"{}\": search domain {} answered without a record, and the search ended there.",
                who,
                Asked(asked),
                Relative(domain)
            ),
            Caught::Failed(outcome) => sentence!(
                "{} looked up \"{}\": search domain {} failed ({}), and the search ended there.",
                who,
                Asked(asked),
                Relative(domain),
                outcome
            ),
            Caught::Ended => sentence!(
                "{} looked up \"{}\": the search ended after search domain {}, without a query for the name itself.",
                who,
                Asked(asked),
                Relative(domain)
            ),
            Caught::Waited(waited) => sentence!(
                "{} waited {} for \"{}\": search domain {} got no answer before the name itself was asked for.",
                who,
                waited,
                Asked(asked),
                Relative(domain)
            ),
        },
        Summary::Loop {
            name,
            server,
            times,
            within,
        } => sentence!(
            "{} sent a question for {} to DNS server {}, and it came back {} within {}.",
            who,
            name,
            server,
            Count(*times, "time"),
            within
        ),
        Summary::ServerRefusesTcp(server) => {
            sentence!(
                "{} cannot connect to DNS server {} over TCP: refused.",
                who,
                server
            )
        }
        Summary::Race {
            waited,
            asked,
            lost,
            server,
        } => sentence!(
            "{} waited {} for \"{}\": of two queries sent together {} got no answer from DNS server {} until it was asked again.",
            who,
            waited,
            Asked(asked),
            lost,
            server
        ),
        Summary::Servfail {
            asked,
            server,
            figures,
        } => sentence!(
            "{} looked up \"{}\": SERVFAIL from DNS server {} ({}).",
            who,
            Asked(asked),
            server,
            figures
        ),
        Summary::Refused {
            asked,
            server,
            figures,
        } => sentence!(
            "{} looked up \"{}\": REFUSED by DNS server {} ({}).",
            who,
            Asked(asked),
            server,
            figures
        ),
        Summary::Retried {
            asked,
            server,
            waited,
            figures,
        } => sentence!(
            "{} waited {} for \"{}\": DNS server {} left a query unanswered ({}).",
            who,
            waited,
            Asked(asked),
            server,
            figures
        ),
        Summary::RepliesFromElsewhere {
            asked,
            server,
            from,
            figures,
        } => sentence!(
            "{} looked up \"{}\" at DNS server {}: the answers come from {}, which it did not ask ({}).",
            who,
            Asked(asked),
            server,
            from,
            figures
        ),
        Summary::NotUnderstood {
            asked,
            server,
            rcode,
            figures,
        } => sentence!(
            "{} looked up \"{}\": {} from DNS server {} ({}).",
            who,
            Asked(asked),
            rcode,
            server,
            figures
        ),
        Summary::FragmentsLost {
            asked,
            server,
            figures,
        } => sentence!(
            "{} looked up \"{}\": only the first fragment of the answer from DNS server {} arrived ({}).",
            who,
            Asked(asked),
            server,
            figures
        ),
        Summary::NoAnswer {
            asked,
            server,
            figures,
        } => sentence!(
            "{} looked up \"{}\": no answer from DNS server {} ({}).",
            who,
            Asked(asked),
            server,
            figures
        ),
        Summary::Truncated { asked, server, tcp } => sentence!(
            "{} looked up \"{}\": the answer of DNS server {} was truncated, and {}.",
            who,
            Asked(asked),
            server,
            match tcp {
                TcpFailure::Refused => "TCP was refused",
                TcpFailure::NoConnection => "TCP got no answer",
                TcpFailure::Closed => "the TCP connection was closed without an answer",
                TcpFailure::NoAnswer => "no answer came over TCP",
                TcpFailure::NotTried => "it was not asked for again over TCP",
            }
        ),
        Summary::SlowServer {
            server,
            latency,
            name,
            times,
        } => sentence!(
            "DNS server {} answers {} slowly: {} for {}, the {} time within a minute.",
            server,
            who,
            latency,
            name,
            Ordinal(*times)
        ),
        Summary::OtherClusterDomain { domain, configured } => sentence!(
            "{} resolves Services in the domain {}, not in {}.",
            who,
            Relative(domain),
            Relative(configured)
        ),
        Summary::Rest(latest) => {
            let mut line = self::summary(who, latest);
            line.push_words(
                " (the latest of several failures that have no finding of their own, as the pod has too many)",
            );
            line
        }
        Summary::SearchPathWaste {
            workload,
            tenths,
            wasted,
            queries,
        } => sentence!(
            "{} sends {}.{} DNS queries a lookup: {} of {} within a minute went to names of the search path that do not exist.",
            Plain(workload.clone()),
            tenths / 10,
            tenths % 10,
            wasted,
            queries
        ),
        Summary::CannotReach {
            protocol,
            failure,
            sent,
            destination,
        } => sentence!(
            "{}{}{}: {}.",
            who,
            match (*protocol, failure) {
                ("TCP", _) => " cannot connect to ",
                // Applications do not have to answer UDP.
                (_, Failure::Silent) => " gets no answer from ",
                _ => " cannot reach ",
            },
            destination,
            match failure {
                Failure::Reset => sentence!("refused (RST)"),
                Failure::Rejected(error) => sentence!("rejected, {}", error),
                Failure::Silent => sentence!("no answer to {}", packets(protocol, *sent)),
                Failure::Late(Late::Established(after)) => {
                    sentence!("no answer for {} ({})", after, packets(protocol, *sent))
                }
                Failure::Late(Late::TooLate(after)) => sentence!(
                    "no answer for {} ({}), and then it had given up",
                    after,
                    packets(protocol, *sent)
                ),
            }
        ),
        Summary::ConnectedSlowly {
            destination,
            waited,
            sent,
        } => sentence!(
            "{} waited {} for a connection to {}: the answer came to the {} SYN.",
            who,
            waited,
            destination,
            Ordinal(usize::try_from(*sent).unwrap_or(usize::MAX))
        ),
        Summary::RepliesFromOther {
            protocol,
            destination,
            from,
            packets,
            syn_ack,
        } => sentence!(
            "{}{}{}: {} came from {} instead.",
            who,
            match (*protocol, syn_ack) {
                ("TCP", true) => " cannot connect to ",
                ("TCP", false) => " gets no valid reply on its connection to ",
                _ => " gets no valid reply over UDP from ",
            },
            destination,
            Count(*packets, if *syn_ack { "SYN-ACK" } else { "reply" }),
            from
        ),
        Summary::ResetAfterData { destination, share } => sentence!(
            "{} connects to {}, and the other end resets {} of {} in answer to the first data.",
            who,
            destination,
            share.failures,
            Count(share.attempts, "connection")
        ),
        Summary::ResetAfterIdle { destination, idle } => sentence!(
            "A connection of {} to {} was idle for {}; the next data was answered by a RST.",
            who,
            destination,
            idle
        ),
        Summary::Stalled {
            destination,
            packets,
            probes,
            span,
        } => sentence!(
            "{} gets no answer on its connection to {}: {} in {}.",
            who,
            destination,
            if probes == packets {
                Count(*packets, "keepalive probe")
            } else {
                Count(*packets, "packet")
            },
            span
        ),
        Summary::SynAckRepeated {
            destination,
            repeats,
        } => sentence!(
            "{} connected to {}, and the other end repeated its SYN-ACK {}, as if the connection were not open yet.",
            who,
            destination,
            Count(*repeats, "time")
        ),
        Summary::LargeLost {
            destination,
            from_pod: true,
            bytes,
            span,
        } => sentence!(
            "{} sends a segment of {} bytes to {} again and again for {}: it does not arrive, and smaller ones do.",
            who,
            bytes,
            destination,
            span
        ),
        Summary::LargeLost {
            destination,
            from_pod: false,
            bytes,
            span,
        } => sentence!(
            "{} waited {} for {} bytes from {} that never arrived, though a smaller segment behind them did.",
            who,
            span,
            bytes,
            destination
        ),
        Summary::UdpUnanswered {
            destination,
            packets,
            span,
        } => sentence!(
            "{} gets no answer any more from {} over UDP: {} in {}.",
            who,
            destination,
            Count(*packets, "packet"),
            span
        ),
        Summary::PingedClusterIp {
            ip,
            access,
            service,
            sent,
            received,
            errors,
        } => sentence!(
            "{} pinged {}, the {} of Service {}: {} sent, {} received{}.",
            who,
            ip,
            address(*access),
            service,
            sent,
            received,
            (*errors > 0).then(|| sentence!(", {}", Count(*errors, "error")))
        ),
        Summary::PingUnanswered { ip, sent } => {
            sentence!("{} pinged {}: {} sent, 0 received.", who, ip, sent)
        }
        Summary::PingedServiceRange { ip, sent } => sentence!(
            "{} pinged {}, which is no Service's address: {} sent, 0 received.",
            who,
            ip,
            sent
        ),
        Summary::PacketsTooBig { to, times, within } => sentence!(
            "{} sends packets to {} that are too big for the path, though {} reported it in {}.",
            who,
            to,
            Count(*times, "ICMP error"),
            within
        ),
    }
}

/// SYNs or packets.
pub(super) fn packets(protocol: &str, sent: u64) -> Count {
    Count(sent, if protocol == "TCP" { "SYN" } else { "packet" })
}

/// How a finding was resolved, in one sentence about the pod.
pub(in crate::diagnose) fn resolution(who: &Who, resolution: &Resolution) -> Sentence {
    let server = |server: &IpAddr| sentence!("The DNS server {} answers {}", server, who);
    match resolution {
        Resolution::Found(name, data) => sentence!(
            "{} finds {}{}.",
            who,
            name,
            data.as_deref().map(|data| sentence!(": {}", Opaque(data)))
        ),
        Resolution::Answers(ip, latency) => sentence!(
            "{} again{}.",
            server(ip),
            latency.map(|latency| sentence!(" in {}", latency))
        ),
        Resolution::AnswersFor(ip, name) => sentence!("{} for {} again.", server(ip), name),
        Resolution::AnswersTcp(ip) => sentence!("{} over TCP.", server(ip)),
        Resolution::AnswersType(qtype, name) => sentence!("{} of {} is answered.", qtype, name),
        Resolution::NormalLatency(ip) => sentence!("{} at its usual pace again.", server(ip)),
        Resolution::FewWasted(workload) => sentence!(
            "{} sent few queries to names that do not exist for a minute.",
            Plain(workload.clone())
        ),
        Resolution::Connected(ip, port, handshake) => sentence!(
            "{} connects to {}{} in {}.",
            who,
            ip,
            port.map(|port| sentence!(" port {}", port)),
            handshake
        ),
        Resolution::Carried(ip, port) => {
            sentence!("Connections of {} to {} port {} work again.", who, ip, port)
        }
        Resolution::Replied { ip, received, sent } => sentence!(
            "A ping of {} to {} is answered: {} of {}.",
            who,
            ip,
            received,
            sent
        ),
        Resolution::Ready(service, ready) => sentence!(
            "Service {} has a ready endpoint now ({} in all).",
            service,
            ready
        ),
    }
}
