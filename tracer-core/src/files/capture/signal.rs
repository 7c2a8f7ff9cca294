//! The block of a recording that holds what no packet shows: a translation, a dropped packet, counters of conntrack, the
//! container of a cgroup, an interface of the node.
//!
//! pcapng leaves block types from 0x8000_0000 on to local use, and other programs skip them. The block's body is one
//! line of text, padded with zeros:
//!
//! ```text
//! tracer signal: 1770000000000000000 translated 6 10.1.39.193:40001 10.152.183.115:90 6 10.1.79.66:90 10.1.39.193:40001
//! tracer signal: 1770000000000000000 complete true
//! tracer signal: 1770000000000000000 drops true
//! tracer signal: 1770000000000000000 dropped 6 10.1.39.193:40001 10.1.79.66:90 2 NETFILTER_DROP nf_hook_slow node eth0 0
//! tracer signal: 1770000000000000000 conntrack 120 262144 0 0 0
//! tracer signal: 1770000000000000000 container 4711 6757d342-97d3-489b-951d-1f66d36173ae 5ca1ab1e
//! tracer signal: 1770000000000000000 uplink 2
//! tracer signal: 1770000000000000000 loopback 1
//! ```
//!
//! The number is the time in nanoseconds since the epoch, `-` stands for what is unknown, protocols are numbers.

use std::str::{FromStr, SplitAsciiWhitespace};
use std::sync::Arc;

use crate::model::cluster::ContainerCgroup;
use crate::model::flow::{Ifindex, Protocol};
use crate::model::intern::intern;
use crate::model::signal::{ConntrackCounters, DropPlace, PacketDrop, Signal, Translation, Tuple};
use crate::model::time::Timestamp;

/// The block's type.
pub(super) const BLOCK: u32 = 0x8000_5452;
/// The limit for blocks that are read; this program writes no longer ones.
pub(super) const MAX_BLOCK_BYTES: u32 = 1_024;

const START: &str = "tracer signal: ";
const UNKNOWN: &str = "-";
/// The limit for the name of a device or function, and for a reason.
const MAX_NAME_BYTES: usize = 128;

/// A signal that was read, or why not.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Signal(Timestamp, Signal),
    /// It begins as a signal does, and the rest cannot be read.
    Unreadable,
    /// Another program's block.
    Foreign,
}

/// The block of a signal.
pub(super) fn block(at: Timestamp, signal: &Signal) -> Vec<u8> {
    let mut body = format!("{START}{} {}", at.0, text(signal)).into_bytes();
    body.resize(body.len().next_multiple_of(4), 0);
    let len = u32::try_from(body.len() + 12).unwrap_or(u32::MAX);
    let mut block = Vec::with_capacity(body.len() + 12);
    block.extend(BLOCK.to_le_bytes());
    block.extend(len.to_le_bytes());
    block.extend(body);
    block.extend(len.to_le_bytes());
    block
}

fn text(signal: &Signal) -> String {
    match signal {
        Signal::Translated(Translation { original, reply }) => {
            format!("translated {} {}", tuple_text(original), tuple_text(reply))
        }
        Signal::TranslationsComplete(complete) => format!("complete {complete}"),
        Signal::DropsSeen(seen) => format!("drops {seen}"),
        Signal::Dropped(dropped) => format!(
            "dropped {} {} {} {} {} {} {}",
            tuple_text(&dropped.tuple),
            dropped
                .tcp_flags
                .map_or(UNKNOWN.to_owned(), |flags| flags.to_string()),
            name_text(Some(dropped.reason)),
            name_text(dropped.function.as_deref()),
            match dropped.place {
                DropPlace::Node => "node",
                DropPlace::Pod => "pod",
                DropPlace::Unknown => UNKNOWN,
            },
            name_text(dropped.device.as_deref()),
            dropped.unreported
        ),
        Signal::Conntrack(counters) => format!(
            "conntrack {} {} {} {} {}",
            counters.entries,
            counters.max,
            counters.insert_failed,
            counters.drop,
            counters.early_drop
        ),
        Signal::Container(cgroup) => format!(
            "container {} {} {}",
            cgroup.id,
            name_text(Some(&cgroup.pod_uid)),
            name_text(Some(&cgroup.container_id))
        ),
        Signal::NodeInterface(ifindex, false) => format!("uplink {}", ifindex.0),
        Signal::NodeInterface(ifindex, true) => format!("loopback {}", ifindex.0),
    }
}

fn tuple_text(tuple: &Tuple) -> String {
    let Tuple { protocol, src, dst } = tuple;
    format!("{} {src} {dst}", protocol.number())
}

/// A name as one word.
fn name_text(name: Option<&str>) -> &str {
    let is_word = |name: &&str| {
        !name.is_empty()
            && name.len() <= MAX_NAME_BYTES
            && name.bytes().all(|byte| byte.is_ascii_graphic())
    };
    name.filter(is_word).unwrap_or(UNKNOWN)
}

/// Reads the body of a block of this type.
pub(super) fn read(body: &[u8]) -> Read {
    let Some(rest) = body.strip_prefix(START.as_bytes()) else {
        return Read::Foreign;
    };
    let padding = rest.iter().rev().take_while(|byte| **byte == 0).count();
    let text = rest.get(..rest.len() - padding).unwrap_or_default();
    let signal = std::str::from_utf8(text).ok().and_then(parse);
    signal.map_or(Read::Unreadable, |(at, signal)| Read::Signal(at, signal))
}

fn parse(text: &str) -> Option<(Timestamp, Signal)> {
    let words = &mut text.split_ascii_whitespace();
    let at = Timestamp(next(words)?);
    let signal = match words.next()? {
        "translated" => Signal::Translated(Translation {
            original: tuple(words)?,
            reply: tuple(words)?,
        }),
        "complete" => Signal::TranslationsComplete(next(words)?),
        "drops" => Signal::DropsSeen(next(words)?),
        "dropped" => Signal::Dropped(dropped(words)?),
        "conntrack" => Signal::Conntrack(ConntrackCounters {
            entries: next(words)?,
            max: next(words)?,
            insert_failed: next(words)?,
            drop: next(words)?,
            early_drop: next(words)?,
        }),
        "container" => Signal::Container(ContainerCgroup {
            id: next(words)?,
            pod_uid: name(words.next()?).and_then(known)?.into(),
            container_id: name(words.next()?).and_then(known)?.into(),
        }),
        "uplink" => Signal::NodeInterface(Ifindex(next(words)?), false),
        "loopback" => Signal::NodeInterface(Ifindex(next(words)?), true),
        _ => return None,
    };
    // A later version may add words.
    Some((at, signal))
}

fn dropped(words: &mut SplitAsciiWhitespace<'_>) -> Option<PacketDrop> {
    Some(PacketDrop {
        tuple: tuple(words)?,
        tcp_flags: known(words.next()?).map(str::parse).transpose().ok()?,
        reason: intern(name(words.next()?)?),
        function: name(words.next()?).and_then(known).map(Arc::from),
        place: match words.next()? {
            "node" => DropPlace::Node,
            "pod" => DropPlace::Pod,
            UNKNOWN => DropPlace::Unknown,
            _ => return None,
        },
        device: name(words.next()?).and_then(known).map(Arc::from),
        unreported: next(words)?,
    })
}

fn tuple(words: &mut SplitAsciiWhitespace<'_>) -> Option<Tuple> {
    Some(Tuple {
        protocol: Protocol::from_number(next(words)?),
        src: next(words)?,
        dst: next(words)?,
    })
}

fn next<T: FromStr>(words: &mut SplitAsciiWhitespace<'_>) -> Option<T> {
    words.next()?.parse().ok()
}

/// A word that is no longer than a name, without what could change a terminal.
fn name(word: &str) -> Option<&str> {
    let fits = word.len() <= MAX_NAME_BYTES && word.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then_some(word)
}

fn known(word: &str) -> Option<&str> {
    (word != UNKNOWN).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Signal> {
        let end = |text: &str| text.parse().expect("an address");
        let tuple = |src, dst| Tuple {
            protocol: Protocol::Tcp,
            src: end(src),
            dst: end(dst),
        };
        let full = PacketDrop {
            tuple: tuple("10.1.39.193:40001", "10.1.79.66:90"),
            tcp_flags: Some(2),
            reason: "NETFILTER_DROP",
            function: Some("nf_hook_slow".into()),
            place: DropPlace::Node,
            device: Some("eth0".into()),
            unreported: 3,
        };
        let bare = PacketDrop {
            tuple: Tuple {
                protocol: Protocol::Icmpv6,
                ..tuple("[fd00::1]:7", "[fd00::2]:0")
            },
            tcp_flags: None,
            function: None,
            place: DropPlace::Unknown,
            device: None,
            ..full.clone()
        };
        vec![
            Signal::Translated(Translation {
                original: tuple("10.1.39.193:40001", "10.152.183.115:90"),
                reply: tuple("10.1.79.66:90", "10.1.39.193:40001"),
            }),
            Signal::TranslationsComplete(true),
            Signal::TranslationsComplete(false),
            Signal::DropsSeen(true),
            Signal::Dropped(full),
            Signal::Dropped(bare),
            Signal::Conntrack(ConntrackCounters {
                entries: 1,
                max: 2,
                insert_failed: 3,
                drop: 4,
                early_drop: u64::MAX,
            }),
            Signal::Container(ContainerCgroup {
                id: u64::MAX,
                pod_uid: "6757d342-97d3-489b-951d-1f66d36173ae".into(),
                container_id: "5ca1ab1e".into(),
            }),
            Signal::NodeInterface(Ifindex(2), false),
            Signal::NodeInterface(Ifindex(1), true),
        ]
    }

    #[test]
    fn a_signal_is_read_as_it_was_written() {
        for signal in samples() {
            let block = block(Timestamp(u64::MAX), &signal);
            assert_eq!(block.len() % 4, 0);
            let body = &block[8..block.len() - 4];
            assert_eq!(
                read(body),
                Read::Signal(Timestamp(u64::MAX), signal.clone())
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_reported_and_what_is_foreign_is_not() {
        for signal in samples() {
            let block = block(Timestamp(5), &signal);
            let body = &block[8..block.len() - 4];
            let text = body.split(|byte| *byte == 0).next().expect("text");
            let last = text.iter().rposition(|byte| *byte == b' ').expect("words");
            assert_eq!(read(&text[..last]), Read::Unreadable);
        }
        assert_eq!(read(b"tracer signal: x"), Read::Unreadable);
        assert_eq!(read(b"another program's"), Read::Foreign);
        assert_eq!(read(b""), Read::Foreign);
    }

    #[test]
    fn a_name_that_is_no_word_is_left_out() {
        let Signal::Dropped(mut dropped) = samples().remove(4) else {
            panic!("a drop");
        };
        dropped.device = Some("two words".into());
        let block = block(Timestamp(5), &Signal::Dropped(dropped.clone()));
        dropped.device = None;
        assert_eq!(
            read(&block[8..block.len() - 4]),
            Read::Signal(Timestamp(5), Signal::Dropped(dropped.clone()))
        );
    }
}
