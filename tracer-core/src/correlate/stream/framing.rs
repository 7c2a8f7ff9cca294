//! A stream's bytes in order, to messages by their length prefixes (RFC 1035 section 4.2.2, RFC 7766 section 8).
//!
//! Owns where the next message starts, and how that is known. Never sees sequence numbers: [`super::half_stream`] gives it
//! runs of bytes in order and says where bytes are missing.
//!
//! A boundary is certain at the start of the stream and wherever the lengths lead from there, also across a gap within
//! a message whose length is known. Where they do not (a gap over a boundary, a stream not seen from its start) the next
//! segment that [`plausible`] finds to begin like a message is taken for a start: programs write messages as a whole.
//! From there on all messages are marked as guessed; each must be plausible again where the one before ends, and is only
//! told if it can be read from end to end.

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

/// Makes messages of one direction's bytes.
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
    /// Within a message that was given up; its end is so many bytes away.
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

    /// Nothing is known of what came before.
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

    /// So many bytes are missing. The loss is counted by the caller, and what it makes useless here.
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

    /// Gives up the message that is being collected, though not where it ends, if that is known. Whether it held any
    /// memory.
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

    /// No more bytes will come.
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

    /// The message is there, or its length is not one.
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
            // The next message, if there is one, still has to prove the guess.
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

    /// What was taken for a start is none. The next is sought in what was collected for it, which is less than the
    /// longest name and a header; each step has one run less to go through, so this ends.
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

/// Where bytes of a guessed message's first came from.
#[derive(Clone, Copy, Debug)]
struct Origin {
    at: usize,
    time: Timestamp,
    starts: bool,
}

/// A message that is being collected, with its length prefix.
#[derive(Debug, Default)]
struct Partial {
    bytes: Vec<u8>,
    /// When the packet with the first byte was seen.
    began: Timestamp,
    /// The latest time of all its packets.
    latest: Timestamp,
    /// It begins where another one ended.
    follows: bool,
    /// A guess that was found plausible.
    accepted: bool,
    /// While it is not: what it is made of.
    runs: Vec<Origin>,
}

enum Taken {
    /// The run is used up.
    All,
    /// The message is complete.
    Message,
    /// It is no message.
    Implausible,
}

impl Partial {
    /// Takes from `run` what belongs to this message.
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
        // Doubles as vectors do, but never beyond the message: an announced length alone costs nothing, and what is
        // accounted for is what is used.
        let needed = at + run.bytes.len();
        if needed > self.bytes.capacity() {
            let capacity = (self.bytes.capacity() * 2).clamp(needed, wanted.max(needed));
            self.bytes.reserve_exact(capacity - at);
        }
        self.bytes.extend_from_slice(run.bytes);
    }

    /// The whole length, once the prefix is there.
    fn length(&self) -> Option<usize> {
        let prefix = self.bytes.first_chunk::<PREFIX>()?;
        Some(PREFIX + usize::from(u16::from_be_bytes(*prefix)))
    }

    /// How many bytes it lacks, if its length is known.
    fn left(&self, certain: bool) -> Option<u64> {
        if !certain && !self.accepted {
            return None;
        }
        Some(self.length()?.saturating_sub(self.bytes.len()) as u64)
    }
}
