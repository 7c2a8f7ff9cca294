//! What failed, and how it was resolved.

use std::net::IpAddr;

use super::parts::{Asked, Count, Opaque, Ordinal, Plain};
use super::sentence;
use crate::diagnose::attempt::Failure;
use crate::diagnose::claim::Summary;
use crate::diagnose::cure::Resolution;
use crate::diagnose::fact::{TcpFailure, Who};
use crate::model::sentence::Sentence;

/// What failed, in one sentence about the pod.
pub(in crate::diagnose) fn summary(who: &Who, summary: &Summary) -> Sentence {
    match summary {
        Summary::NoSuchName { asked, figures } => {
            sentence![
                who,
                " looked up \"",
                Asked(asked),
                "\": NXDOMAIN (",
                figures,
                ")"
            ]
        }
        Summary::NoSuchType {
            asked,
            types,
            figures,
        } => sentence![
            who,
            " looked up \"",
            Asked(asked),
            "\": the name exists and has no ",
            super::parts::List(types),
            " record (",
            figures,
            ").",
        ],
        Summary::AaaaFails {
            name,
            outcome,
            repeated,
        } => sentence![
            who,
            " looked up ",
            name,
            ": A is answered, AAAA is not: ",
            outcome,
            repeated.map(|(attempts, within)| {
                sentence![", asked ", attempts, " times within ", within]
            }),
            ".",
        ],
        Summary::QueriesRejected {
            asked,
            server,
            figures,
        } => sentence![
            who,
            " cannot look up \"",
            Asked(asked),
            "\": its queries to DNS server ",
            server,
            " are rejected (",
            figures,
            ").",
        ],
        Summary::ServerRefusesTcp(server) => {
            sentence![
                who,
                " cannot connect to DNS server ",
                server,
                " over TCP: refused."
            ]
        }
        Summary::Race {
            waited,
            asked,
            lost,
            server,
        } => sentence![
            who,
            " waited ",
            waited,
            " for \"",
            Asked(asked),
            "\": of two queries sent together ",
            lost,
            " got no answer from DNS server ",
            server,
            " until it was asked again.",
        ],
        Summary::Servfail {
            asked,
            server,
            figures,
        } => sentence![
            who,
            " looked up \"",
            Asked(asked),
            "\": SERVFAIL from DNS server ",
            server,
            " (",
            figures,
            ").",
        ],
        Summary::Refused {
            asked,
            server,
            figures,
        } => sentence![
            who,
            " looked up \"",
            Asked(asked),
            "\": REFUSED by DNS server ",
            server,
            " (",
            figures,
            ").",
        ],
        Summary::NoAnswer {
            asked,
            server,
            figures,
        } => sentence![
            who,
            " looked up \"",
            Asked(asked),
            "\": no answer from DNS server ",
            server,
            " (",
            figures,
            ").",
        ],
        Summary::Truncated { asked, server, tcp } => sentence![
            who,
            " looked up \"",
            Asked(asked),
            "\": the answer of DNS server ",
            server,
            " was truncated, and ",
            match tcp {
                TcpFailure::Refused => "TCP was refused",
                TcpFailure::NoConnection => "TCP got no answer",
                TcpFailure::Closed => "the TCP connection was closed without an answer",
                TcpFailure::NoAnswer => "no answer came over TCP",
                TcpFailure::NotTried => "it was not asked for again over TCP",
            },
            ".",
        ],
        Summary::SlowServer {
            server,
            latency,
            name,
            times,
        } => sentence![
            "DNS server ",
            server,
            " answers ",
            who,
            " slowly: ",
            latency,
            " for ",
            name,
            ", the ",
            Ordinal(*times),
            " time within a minute.",
        ],
        Summary::SearchPathWaste {
            workload,
            tenths,
            wasted,
            queries,
        } => sentence![
            Plain(workload.clone()),
            " sends ",
            tenths / 10,
            ".",
            tenths % 10,
            " DNS queries a lookup: ",
            wasted,
            " of ",
            queries,
            " within a minute went to names of the search path that do not exist.",
        ],
        Summary::CannotReach {
            protocol,
            failure,
            sent,
            destination,
        } => sentence![
            who,
            match (*protocol, failure) {
                ("TCP", _) => " cannot connect to ",
                // Applications do not have to answer UDP.
                (_, Failure::Silent) => " gets no answer from ",
                _ => " cannot reach ",
            },
            destination,
            ": ",
            match failure {
                Failure::Reset => sentence!["refused by a reset"],
                Failure::Rejected(error) => sentence!["rejected, ", error],
                Failure::Silent => sentence!["no answer to ", packets(protocol, *sent)],
            },
            ".",
        ],
        Summary::PingedClusterIp {
            ip,
            service,
            sent,
            received,
            errors,
        } => sentence![
            who,
            " pinged ",
            ip,
            ", the ClusterIP of Service ",
            service,
            ": ",
            sent,
            " sent, ",
            received,
            " received",
            (*errors > 0).then(|| sentence![", ", Count(*errors, "error")]),
        ],
        Summary::PingUnanswered { ip, sent } => {
            sentence![who, " pinged ", ip, ": ", sent, " sent, 0 received."]
        }
        Summary::PingedServiceRange { ip, sent } => sentence![
            who,
            " pinged ",
            ip,
            ", which is no Service's address: ",
            sent,
            " sent, 0 received.",
        ],
        Summary::PacketsTooBig { to, times, within } => sentence![
            who,
            " sends packets to ",
            to,
            " that are too big for the path, though it was told ",
            times,
            " times in ",
            within,
            ".",
        ],
    }
}

/// SYNs or packets.
pub(super) fn packets(protocol: &str, sent: u64) -> Count {
    Count(sent, if protocol == "TCP" { "SYN" } else { "packet" })
}

/// How a finding was resolved, in one sentence about the pod.
pub(in crate::diagnose) fn resolution(who: &Who, resolution: &Resolution) -> Sentence {
    let server = |server: &IpAddr| sentence!["The DNS server ", server, " answers ", who];
    match resolution {
        Resolution::Found(name, data) => sentence![
            who,
            " finds ",
            name,
            data.as_deref().map(|data| sentence![": ", Opaque(data)]),
            ".",
        ],
        Resolution::Answers(ip, latency) => sentence![
            server(ip),
            " again",
            latency.map(|latency| sentence![" in ", latency]),
            ".",
        ],
        Resolution::AnswersFor(ip, name) => sentence![server(ip), " for ", name, " again."],
        Resolution::AnswersTcp(ip) => sentence![server(ip), " over TCP."],
        Resolution::AnswersAaaa(name) => sentence!["AAAA of ", name, " is answered."],
        Resolution::NormalLatency(ip) => sentence![server(ip), " at its usual pace again."],
        Resolution::FewWasted(workload) => sentence![
            Plain(workload.clone()),
            " sent few queries to names that do not exist for a minute.",
        ],
        Resolution::Connected(ip, port, handshake) => sentence![
            who,
            " connects to ",
            ip,
            port.map(|port| sentence![" port ", port]),
            " in ",
            handshake,
            ".",
        ],
        Resolution::Replied { ip, received, sent } => sentence![
            "A ping of ",
            who,
            " to ",
            ip,
            " is answered: ",
            received,
            " of ",
            sent,
            ".",
        ],
        Resolution::Ready(service, ready) => sentence![
            "Service ",
            service,
            " has a ready endpoint now (",
            ready,
            " in all).",
        ],
    }
}
