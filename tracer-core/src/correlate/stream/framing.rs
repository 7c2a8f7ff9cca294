//! Splits a stream's ordered bytes into messages by their length prefixes (RFC 1035 section 4.2.2, RFC 7766
//! section 8).
//!
//! Owns the position of the next message and how certain it is. Never sees sequence numbers:
//! [`super::half_stream`] supplies ordered bytes and marks where bytes are missing.
//!
//! A boundary is certain at the start of the stream and wherever the lengths lead from there, also across a
//! gap within a message of known length. Elsewhere (a gap over a boundary, a stream not seen from its start)
//! the next segment that [`plausible`] accepts is taken for a start: programs write whole messages. From
//! there on all messages are marked as guessed; each must be plausible where the one before ends, and is
//! emitted only if it parses from end to end.

use std::cmp::Ordering;

use hickory_proto::op::Message;

use super::plausible::{self, HEADER, PREFIX, Verdict};
use super::tally::Tally;
use crate::model::time::Timestamp;

/// Consecutive bytes of one packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) time: Timestamp,
    /// The first byte is the first of its segment.
    pub(super) starts: bool,
}

impl<'a> Run<'a> {
    fn take(&mut self, count: usize) -> Run<'a> {
        let (bytes, rest) = self.bytes.split_at(count.min(self.bytes.len()));
        let taken = Run { bytes, ..*self };
        self.bytes = rest;
        self.starts &= taken.bytes.is_empty();
        taken
    }
}

/// Frames the messages of one direction.
#[derive(Debug)]
pub(super) struct Framer {
    /// The lengths lead here from the start of the stream.
    certain: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// At or after a message's start.
    Message(Partial),
    /// Within a message that was given up; its end is this many bytes away.
    Skipping(u64),
    /// The next segment may start a message.
    Lost,
}

impl Framer {
    /// The next byte is the stream's first, so it starts a message.
    pub(super) fn at_start() -> Framer {
        Framer {
            certain: true,
            state: State::Message(Partial::default()),
        }
    }

    /// Starts with nothing known of the bytes before.
    pub(super) fn lost() -> Framer {
        Framer {
            certain: false,
            state: State::Lost,
        }
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, mut run: Run<'_>, tally: &mut Tally<'_>) {
        while !run.bytes.is_empty() {
            match &mut self.state {
                State::Lost if run.starts => self.state = State::Message(Partial::default()),
                State::Lost => {
                    tally.dropped(run.bytes.len());
                    return;
                }
                State::Skipping(left) => {
                    let skipped = run.take(usize::try_from(*left).unwrap_or(usize::MAX));
                    tally.dropped(skipped.bytes.len());
                    *left -= skipped.bytes.len() as u64;
                    if *left == 0 {
                        self.next_message();
                    }
                }
                State::Message(partial) => match partial.take(&mut run, self.certain) {
                    Taken::All => {}
                    Taken::Message => self.complete(tally),
                    Taken::Implausible => self.retry(tally),
                },
            }
        }
    }

    /// Skips missing bytes. The caller counts the loss; this counts the bytes that it makes useless.
    pub(super) fn gap(&mut self, missing: u64, tally: &mut Tally<'_>) {
        let left = match &self.state {
            State::Message(partial) => {
                tally.dropped(partial.bytes.len());
                partial.left(self.certain)
            }
            State::Skipping(left) => Some(*left),
            State::Lost => None,
        };
        match left.map(|left| (left, left.cmp(&missing))) {
            Some((left, Ordering::Greater)) => self.state = State::Skipping(left - missing),
            Some((_, Ordering::Equal)) => self.next_message(),
            Some((_, Ordering::Less)) | None => *self = Framer::lost(),
        }
    }

    /// Gives up the message in progress, but keeps its end if that is known. Returns whether it held memory.
    pub(super) fn give_up_message(&mut self, tally: &mut Tally<'_>) -> bool {
        let State::Message(partial) = &self.state else {
            return false;
        };
        if self.memory() == 0 {
            return false;
        }
        tally.dropped(partial.bytes.len());
        match partial.left(self.certain) {
            Some(left) => self.state = State::Skipping(left),
            None => *self = Framer::lost(),
        }
        true
    }

    /// Ends the stream.
    pub(super) fn end(&mut self, tally: &mut Tally<'_>) {
        if let State::Message(partial) = &self.state
            && !partial.bytes.is_empty()
        {
            tally.dropped(partial.bytes.len());
            tally.undecodable("dns over tcp: message unfinished");
        }
        *self = Framer::lost();
    }

    /// Bytes of payload held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        match &self.state {
            State::Message(partial) => partial.bytes.len(),
            State::Skipping(_) | State::Lost => 0,
        }
    }

    /// Bytes of memory held.
    pub(super) fn memory(&self) -> usize {
        match &self.state {
            State::Message(partial) => {
                partial.bytes.capacity() + partial.runs.capacity() * size_of::<Origin>()
            }
            State::Skipping(_) | State::Lost => 0,
        }
    }

    fn next_message(&mut self) {
        self.state = State::Message(Partial {
            follows: true,
            ..Partial::default()
        });
    }

    /// The message is complete, or its length is impossible.
    fn complete(&mut self, tally: &mut Tally<'_>) {
        let State::Message(partial) = &mut self.state else {
            return;
        };
        let Partial {
            mut bytes,
            began,
            latest,
            follows,
            ..
        } = std::mem::take(partial);
        self.next_message();
        if bytes.len() < PREFIX + HEADER {
            tally.dropped(bytes.len());
            tally.undecodable("dns over tcp: message shorter than a header");
            return;
        }
        let length = bytes.len();
        bytes.drain(..PREFIX);
        if !self.certain && Message::from_vec(&bytes).is_err() {
            // The next message, if any, still has to confirm the guess.
            self.state = State::Message(Partial {
                follows,
                ..Partial::default()
            });
            tally.dropped(length);
            tally.undecodable("dns over tcp: guessed message unreadable");
            return;
        }
        if !self.certain && !follows {
            tally.resynchronised();
        }
        tally.message(bytes, began, latest, !self.certain);
    }

    /// The guessed start was wrong. Searches the collected bytes, which are fewer than the longest name and a
    /// header, for the next one. Each step has one part less to search, so this ends.
    fn retry(&mut self, tally: &mut Tally<'_>) {
        let State::Message(partial) = std::mem::replace(&mut self.state, State::Lost) else {
            return;
        };
        tally.undecodable("dns over tcp: no message start");
        let mut bytes = partial.bytes.as_slice();
        let mut ends = partial.runs.iter().skip(1).map(|run| run.at);
        for (index, run) in partial.runs.iter().enumerate() {
            let end = ends.next().unwrap_or(partial.bytes.len());
            let (part, rest) = bytes.split_at(end - run.at);
            bytes = rest;
            if index == 0 {
                tally.dropped(part.len());
            } else {
                let run = Run {
                    bytes: part,
                    time: run.time,
                    starts: run.starts,
                };
                self.feed(run, tally);
            }
        }
    }
}

/// Origin of a part of the first guessed message.
#[derive(Clone, Copy, Debug)]
struct Origin {
    at: usize,
    time: Timestamp,
    starts: bool,
}

/// A message in progress, with its length prefix.
#[derive(Debug, Default)]
struct Partial {
    bytes: Vec<u8>,
    /// Time of the packet with the first byte.
    began: Timestamp,
    /// Latest time of all its packets.
    latest: Timestamp,
    /// It begins where another message ended.
    follows: bool,
    /// The guess was found plausible.
    accepted: bool,
    /// Until then, its parts.
    runs: Vec<Origin>,
}

enum Taken {
    /// The input is used up.
    All,
    /// The message is complete.
    Message,
    /// It is no message.
    Implausible,
}

impl Partial {
    /// Takes this message's bytes from `run`.
    fn take(&mut self, run: &mut Run<'_>, certain: bool) -> Taken {
        loop {
            let wanted = if certain || self.accepted {
                match self.length() {
                    Some(length) if self.bytes.len() >= length => return Taken::Message,
                    Some(length) => length,
                    None => PREFIX,
                }
            } else {
                match plausible::judge(&self.bytes) {
                    Verdict::Implausible => return Taken::Implausible,
                    Verdict::Plausible => {
                        self.accepted = true;
                        self.runs = Vec::new();
                        continue;
                    }
                    Verdict::NeedsBytes(count) => count,
                }
            };
            if run.bytes.is_empty() {
                return Taken::All;
            }
            let known = certain || self.accepted;
            self.push(run.take(wanted - self.bytes.len()), wanted, !known);
        }
    }

    fn push(&mut self, run: Run<'_>, wanted: usize, guessed: bool) {
        let at = self.bytes.len();
        if at == 0 {
            self.began = run.time;
        }
        self.latest = self.latest.max(run.time);
        if guessed && (run.starts || self.runs.last().is_none_or(|last| last.time != run.time)) {
            self.runs.push(Origin {
                at,
                time: run.time,
                starts: run.starts,
            });
        }
        // Doubles as vectors do, but never beyond the message: an announced length alone costs nothing, and
        // the accounted capacity is the one in use.
        let needed = at + run.bytes.len();
        if needed > self.bytes.capacity() {
            let capacity = (self.bytes.capacity() * 2).clamp(needed, wanted.max(needed));
            self.bytes.reserve_exact(capacity - at);
        }
        self.bytes.extend_from_slice(run.bytes);
    }

    /// The whole length, once the prefix is complete.
    fn length(&self) -> Option<usize> {
        let prefix = self.bytes.first_chunk::<PREFIX>()?;
        Some(PREFIX + usize::from(u16::from_be_bytes(*prefix)))
    }

    /// Missing bytes, if the length is known.
    fn left(&self, certain: bool) -> Option<u64> {
        if !certain && !self.accepted {
            return None;
        }
        Some(self.length()?.saturating_sub(self.bytes.len()) as u64)
    }
}
