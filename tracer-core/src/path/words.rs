//! The words for each place on a path.

use std::net::SocketAddr;

use super::drops::Drop;
use super::find::{Client, Found, Why};
use super::sighting::Answer;
use crate::model::flow::Protocol;
use crate::model::signal::{DropPlace, PacketDrop};

/// `3 SYNs`, `1 request`.
pub(super) fn requests(protocol: Protocol, count: u64) -> String {
    let noun = match protocol {
        Protocol::Tcp => "SYN",
        _ => "request",
    };
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

pub(super) fn given(client: &Client<'_>) -> &'static str {
    match client.key.protocol {
        Protocol::Tcp => "SYN-ACK",
        _ => "answer",
    }
}

pub(super) fn word(sent: Answer, client: &Client<'_>) -> &'static str {
    match sent {
        Answer::Reset => "RST",
        Answer::Icmp(_) => "ICMP error",
        _ => given(client),
    }
}

pub(super) fn refusal(got: Answer) -> String {
    match got {
        Answer::Icmp(from) => format!("an ICMP error from {from}"),
        _ => "RST".to_owned(),
    }
}

pub(super) fn silence(found: &Found<'_>) -> String {
    let got = requests(found.key.protocol, found.seen.asked);
    format!("got {got}, sent nothing")
}

pub(super) fn untranslated(from: SocketAddr, client: &Client<'_>) -> String {
    format!("got the answer from {from} instead of {}", client.key.peer)
}

pub(super) fn unknown(why: Option<Why>) -> String {
    let reason = match why {
        None => "its half contradicts the client's".to_owned(),
        Some(Why::NoEndpoint) => "the endpoint behind the Service is unknown".to_owned(),
        Some(Why::NoAgent) => "no agent there was asked, or none answered".to_owned(),
        Some(Why::NotWatched) => "its interface isn't known to have been watched".to_owned(),
        Some(Why::Lost) => "the agent there lost records or events".to_owned(),
        Some(Why::Several) => "several connections fit".to_owned(),
        Some(Why::MaybeAs(peer)) => format!("it may have arrived as {peer}"),
    };
    format!("unknown: {reason}")
}

/// The drop, or the refusal that came with it.
pub(super) fn drop_words(drop: &Drop<'_>, refused: Option<Answer>) -> String {
    let PacketDrop { reason, place, .. } = drop.packet;
    let place = match place {
        DropPlace::Node => " in the node",
        DropPlace::Pod => " in the pod",
        DropPlace::Unknown => "",
    };
    let probably = if drop.probable { "probably " } else { "" };
    let what = match refused {
        Some(got) => format!("rejected with {}", refusal(got)),
        None => "dropped".to_owned(),
    };
    format!("{probably}{what}: {reason}{place}")
}
