//! The comment that this program adds to each packet it records: the pod's interface, the direction, and the
//! flow's counters. As text, so that Wireshark shows it; in a fixed form, so that replay can read it.
//!
//! `tracer: from pod, interface 12, flow sent 3 packets 180 bytes, received 2 packets 120 bytes, sent again 0 segments`

use super::Recorded;
use crate::model::flow::{Direction, FlowTotals, Ifindex, Traffic};
use crate::model::record::Record;

const START: &str = "tracer: ";
const FROM_POD: &str = "from pod";
const TO_POD: &str = "to pod";
const INTERFACE: &str = "interface ";
const SENT: &str = "flow sent ";
const RECEIVED: &str = "received ";
const AGAIN: &str = "sent again ";

/// The note for a record.
pub(super) fn from_record(record: &Record) -> String {
    let direction = match record.direction {
        Direction::FromPod => FROM_POD,
        Direction::ToPod => TO_POD,
    };
    let mut note = format!("{START}{direction}, {INTERFACE}{}", record.ifindex.0);
    if let Some(FlowTotals {
        tx,
        rx,
        retransmits,
    }) = record.totals
    {
        note += &format!(
            ", {SENT}{} packets {} bytes, {RECEIVED}{} packets {} bytes",
            tx.packets, tx.bytes, rx.packets, rx.bytes
        );
        if let Some(segments) = retransmits {
            note += &format!(", {AGAIN}{segments} segments");
        }
    }
    note
}

/// Reads a note back. `None` for comments of other programs.
pub(super) fn read(comment: &[u8]) -> Option<Recorded> {
    let note = std::str::from_utf8(comment).ok()?.strip_prefix(START)?;
    let mut parts = note.split(", ");
    let direction = match parts.next()? {
        FROM_POD => Direction::FromPod,
        TO_POD => Direction::ToPod,
        _ => return None,
    };
    let ifindex = parts.next()?.strip_prefix(INTERFACE)?.parse().ok()?;
    let totals = match parts.next() {
        None => None,
        Some(sent) => Some(FlowTotals {
            tx: traffic(sent.strip_prefix(SENT)?)?,
            rx: traffic(parts.next()?.strip_prefix(RECEIVED)?)?,
            // Notes of earlier versions end before it.
            retransmits: match parts.next() {
                None => None,
                Some(again) => Some(segments(again.strip_prefix(AGAIN)?)?),
            },
        }),
    };
    Some(Recorded {
        ifindex: Ifindex(ifindex),
        direction,
        totals,
    })
}

fn segments(text: &str) -> Option<u64> {
    text.strip_suffix(" segments")?.parse().ok()
}

fn traffic(text: &str) -> Option<Traffic> {
    let (packets, bytes) = text.strip_suffix(" bytes")?.split_once(" packets ")?;
    Some(Traffic {
        packets: packets.parse().ok()?,
        bytes: bytes.parse().ok()?,
    })
}
