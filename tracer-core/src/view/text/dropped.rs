//! Dropped packets in words.

use super::line::{Row, Verdict};
use super::names;
use super::units::count;
use crate::model::event::Ends;
use crate::model::flow::SeenFlags;
use crate::model::signal::{DropPlace, PacketDrop};
use crate::view::words;

/// A packet that the kernel dropped.
pub(super) fn row(dropped: &PacketDrop, ends: Option<&Ends>) -> Row {
    let peer = |ends: &Ends| {
        format!(
            "{} {}",
            names::arrow(Some(ends)),
            names::peer_with_port(&ends.peer)
        )
    };
    Row {
        kind: "drop",
        subject: ends.map(peer).unwrap_or_default(),
        verdict: Some((Verdict::Neutral, dropped.reason.to_string())),
        detail: detail(dropped),
        ..Row::default()
    }
}

fn detail(dropped: &PacketDrop) -> String {
    let mut detail = words::protocol(dropped.tuple.protocol);
    if let Some(flags) = dropped.tcp_flags {
        detail.push(' ');
        detail.push_str(&tcp_flags(flags));
    }
    match dropped.place {
        DropPlace::Node => detail.push_str(" in the node"),
        DropPlace::Pod => detail.push_str(" in a pod"),
        DropPlace::Unknown => {}
    }
    if let Some(device) = &dropped.device {
        detail.push_str(" on ");
        detail.push_str(device);
    }
    if let Some(function) = &dropped.function {
        detail.push_str(", by ");
        detail.push_str(function);
    }
    if dropped.unreported > 0 {
        let others = count(dropped.unreported, "other drop");
        detail.push_str(&format!(", after {others} without a line"));
    }
    detail
}

/// The flags as RFC 9293 abbreviates them.
fn tcp_flags(flags: u8) -> String {
    [
        (SeenFlags::SYN, "SYN"),
        (SeenFlags::FIN, "FIN"),
        (SeenFlags::RST, "RST"),
        (SeenFlags::PSH, "PSH"),
        (SeenFlags::ACK, "ACK"),
    ]
    .into_iter()
    .filter(|(bit, _)| flags & bit != 0)
    .map(|(_, name)| name)
    .collect::<Vec<_>>()
    .join("+")
}
