//! ICMP errors in words.

use super::line::{Row, Verdict};
use super::names::bracketed;
use crate::model::flow::{Protocol, QuotedFlow};
use crate::model::observation::IcmpError;
use crate::view::words;

/// An error that belongs to no known exchange, flow or ping.
pub(super) fn row(error: &IcmpError) -> Row {
    let (verdict, unconfirmed) = match error.unconfirmed {
        true => (
            Verdict::Neutral,
            ", which the pod is not known to have sent",
        ),
        false => (Verdict::Bad, ""),
    };
    Row {
        kind: "icmp",
        subject: format!("from {}", error.from.ip()),
        verdict: Some((verdict, meaning(error))),
        detail: format!("about {}{unconfirmed}", quoted(&error.about)),
        ..Row::default()
    }
}

/// An error's meaning and its sender.
pub(super) fn sentence(error: &IcmpError) -> String {
    format!("{} from {}", meaning(error), error.from.ip())
}

/// The packet that failed.
fn quoted(flow: &QuotedFlow) -> String {
    let ports = matches!(flow.protocol, Protocol::Tcp | Protocol::Udp);
    let end = |address: std::net::SocketAddr| {
        if ports {
            format!("{}:{}", bracketed(address.ip(), true), address.port())
        } else {
            address.ip().to_string()
        }
    };
    format!(
        "{} {} → {}",
        words::protocol(flow.protocol),
        end(flow.src),
        end(flow.dst)
    )
}

/// The names of RFC 792, 1122 and 1812 for ICMP, and of RFC 4443 for ICMPv6.
fn meaning(error: &IcmpError) -> String {
    let known = match (error.v6, error.icmp_type, error.icmp_code) {
        (false, 3, 0) => "network unreachable",
        (false, 3, 1) => "host unreachable",
        (false, 3, 2) => "protocol unreachable",
        (false, 3, 3) | (true, 1, 4) => "port unreachable",
        (false, 3, 4) => return with_mtu("fragmentation needed", error),
        (false, 3, 5) => "source route failed",
        (false, 3, 6) => "network unknown",
        (false, 3, 7) => "host unknown",
        (false, 3, 9 | 10 | 13) | (true, 1, 1) => "administratively prohibited",
        (false, 5, _) => "redirect",
        (false, 11, 0) => "time to live exceeded",
        (false, 11, 1) | (true, 3, 1) => "reassembly time exceeded",
        (false, 12, _) | (true, 4, _) => "parameter problem",
        (true, 1, 0) => "no route",
        (true, 1, 3) => "address unreachable",
        (true, 1, 5) => "source address failed policy",
        (true, 1, 6) => "reject route",
        (true, 2, _) => return with_mtu("packet too big", error),
        (true, 3, 0) => "hop limit exceeded",
        (v6, icmp_type, icmp_code) => {
            let version = if v6 { "ICMPv6" } else { "ICMP" };
            return format!("{version} type {icmp_type} code {icmp_code}");
        }
    };
    known.to_owned()
}

fn with_mtu(what: &str, error: &IcmpError) -> String {
    match error.mtu {
        Some(mtu) => format!("{what}, MTU {mtu}"),
        None => what.to_owned(),
    }
}
