//! Follows the entries that conntrack translates, by its events for new ones (`NFNLGRP_CONNTRACK_NEW`).
//!
//! The owner calls [`Follower::drain`] before it hands on a batch of records: the event of a flow's first packet
//! precedes every answer, so a refused connection has its endpoint already. A request for each failed connection
//! instead would come after its entry has gone. The entries that exist at the start are read once.
//!
//! Bounded: above a rate the socket is closed for some seconds. What was missed is signalled, so that nothing
//! rests on its absence.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use netlink_packet_core::DefaultNla;
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use tracer_core::model::signal::Signal;
use tracer_core::model::time::Timestamp;

use super::ConntrackError;
use super::filter::{self, DESTINATION_TRANSLATED};
use super::message::{Message, attribute, kind};
use super::socket::Socket;

/// `NFNLGRP_CONNTRACK_NEW` is group 1.
const NEW_ENTRIES: u32 = 1 << 0;
/// An event takes about 1 KiB of it, so this holds a second at the highest rate.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;
/// New translated entries per second above which reading them costs more than it shows.
const MAX_PER_SECOND: u64 = 5_000;
/// How long the events are left alone then.
const PAUSE: Duration = Duration::from_secs(5);
/// Time between two attempts where conntrack is absent, and between two looks at the sysctl.
const RETRY: Duration = Duration::from_secs(30);
/// Entries read at the start, and the translated ones among them.
const MAX_AT_START: u64 = 262_144;
const MAX_TRANSLATED_AT_START: u64 = 65_536;

/// What a [`Follower`] reads at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Every new translation.
    Following,
    /// Nothing for some seconds: too many new entries.
    Paused,
    /// Nothing, for this reason.
    Absent(String),
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Translations read.
    pub translations: u64,
    /// Times that the socket's buffer was full, so that events were lost.
    pub overflows: u64,
    /// Times that too many entries came.
    pub pauses: u64,
    /// Messages that could not be read.
    pub unreadable: u64,
}

/// A change that the user has not heard of yet.
pub type Notice = Option<State>;

/// Follows the translations of this network namespace.
#[derive(Debug)]
pub struct Follower {
    socket: Option<Socket>,
    state: State,
    totals: Totals,
    /// When the socket was last found empty: what comes next happened after that.
    drained: Timestamp,
    /// Events may have been lost, and that was signalled.
    incomplete: bool,
    /// The current second and its entries.
    second: (Timestamp, u64),
    /// When to subscribe again, or to look at the sysctl.
    next_attempt: Timestamp,
    announced: Option<State>,
}

impl Follower {
    /// Subscribes in this thread's network namespace, and reads the entries that exist.
    pub fn start(now: Timestamp, signals: &mut Vec<(Timestamp, Signal)>) -> Follower {
        let mut follower = Follower {
            socket: None,
            state: State::Paused,
            totals: Totals::default(),
            drained: now,
            incomplete: true,
            second: (now, 0),
            next_attempt: now,
            announced: None,
        };
        follower.subscribe(now, signals);
        if follower.socket.is_some() {
            follower.existing(now, signals);
        }
        follower
    }

    /// What is read at present.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Totals since the start.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The state, if it lasts and has changed since the last call.
    pub fn notice(&mut self) -> Notice {
        if self.state == State::Paused || self.announced.as_ref() == Some(&self.state) {
            return None;
        }
        self.announced = Some(self.state.clone());
        self.announced.clone()
    }

    /// Appends everything that happened before `now`, with the time after which it happened.
    pub fn drain(&mut self, now: Timestamp, signals: &mut Vec<(Timestamp, Signal)>) {
        if now >= self.next_attempt {
            self.attempt(now, signals);
        }
        if self.socket.is_none() {
            return;
        }
        let since = self.drained;
        if now.since(self.second.0) >= Duration::from_secs(1) {
            self.second = (now, 0);
        }
        let before = self.totals.overflows;
        while let Some(socket) = &mut self.socket {
            match socket.receive() {
                Ok(Some(messages)) => messages
                    .into_iter()
                    .for_each(|message| self.take(since, message, signals)),
                Ok(None) => break,
                Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {
                    self.totals.overflows += 1;
                    self.missing(since, signals);
                }
                Err(error) => self.absent(now, &error.to_string(), signals),
            }
            if self.second.1 > MAX_PER_SECOND {
                self.pause(now, signals);
            }
        }
        self.drained = now;
        // What was lost was lost before now.
        if self.socket.is_some() && self.incomplete && self.totals.overflows == before {
            self.incomplete = false;
            signals.push((now, Signal::TranslationsComplete(true)));
        }
    }

    fn take(&mut self, since: Timestamp, message: Message, signals: &mut Vec<(Timestamp, Signal)>) {
        match message {
            Message::Translated(translation) => {
                self.second.1 += 1;
                self.totals.translations += 1;
                signals.push((since, Signal::Translated(translation)));
            }
            Message::Unreadable => self.totals.unreadable += 1,
            _ => self.second.1 += 1,
        }
    }

    fn attempt(&mut self, now: Timestamp, signals: &mut Vec<(Timestamp, Signal)>) {
        self.next_attempt = now.after(RETRY);
        match &self.socket {
            None => self.subscribe(now, signals),
            Some(_) if !has_events() => {
                self.absent(now, &ConntrackError::NoEvents.to_string(), signals);
            }
            Some(_) => {}
        }
    }

    fn subscribe(&mut self, now: Timestamp, signals: &mut Vec<(Timestamp, Signal)>) {
        match subscribe() {
            Ok(socket) => {
                self.socket = Some(socket);
                self.state = State::Following;
                self.drained = now;
                self.second = (now, 0);
                self.next_attempt = now.after(RETRY);
                self.incomplete = false;
                signals.push((now, Signal::TranslationsComplete(true)));
            }
            Err(error) => self.absent(now, &error.to_string(), signals),
        }
    }

    fn pause(&mut self, now: Timestamp, signals: &mut Vec<(Timestamp, Signal)>) {
        self.totals.pauses += 1;
        self.state = State::Paused;
        self.stop(now.after(PAUSE), signals);
    }

    fn absent(&mut self, now: Timestamp, why: &str, signals: &mut Vec<(Timestamp, Signal)>) {
        self.state = State::Absent(why.to_owned());
        self.stop(now.after(RETRY), signals);
    }

    fn stop(&mut self, until: Timestamp, signals: &mut Vec<(Timestamp, Signal)>) {
        self.socket = None;
        self.next_attempt = until;
        self.missing(self.drained, signals);
    }

    fn missing(&mut self, since: Timestamp, signals: &mut Vec<(Timestamp, Signal)>) {
        if !std::mem::replace(&mut self.incomplete, true) {
            signals.push((since, Signal::TranslationsComplete(false)));
        }
    }

    /// Reads the translated entries that exist. Those beyond the bound stay unknown.
    fn existing(&mut self, now: Timestamp, signals: &mut Vec<(Timestamp, Signal)>) {
        let mut read = 0;
        let result = dump_translated(|message| {
            read += 1;
            if let Message::Translated(translation) = message {
                self.totals.translations += 1;
                signals.push((now, Signal::Translated(translation)));
            }
            read < MAX_AT_START && self.totals.translations < MAX_TRANSLATED_AT_START
        });
        if let Err(error) = result {
            self.absent(now, &error.to_string(), signals);
        }
    }
}

/// Opens the events' socket.
pub(super) fn subscribe() -> Result<Socket, ConntrackError> {
    let socket = Socket::open(NEW_ENTRIES)?;
    if !has_events() {
        return Err(ConntrackError::NoEvents);
    }
    if let Err(error) = set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER_BYTES) {
        tracing::debug!(%error, "cannot enlarge the receive buffer of conntrack's events");
    }
    // IPVS changes an entry without marking it as translated.
    if !has_ipvs() {
        filter::attach(&socket).map_err(|source| ConntrackError::System {
            operation: "filter conntrack events",
            source,
        })?;
    }
    Ok(socket)
}

/// Dumps all entries, the translated ones only where the kernel can select them, until `take` has enough.
fn dump_translated(mut take: impl FnMut(Message) -> bool) -> Result<(), ConntrackError> {
    let failed = |source| ConntrackError::System {
        operation: "read conntrack's entries",
        source,
    };
    let status = DESTINATION_TRANSLATED.to_be_bytes().to_vec();
    let selection = [
        DefaultNla::new(attribute::STATUS, status.clone()),
        DefaultNla::new(attribute::STATUS_MASK, status),
    ];
    let selection: &[DefaultNla] = if has_ipvs() { &[] } else { &selection };
    let mut socket = Socket::open(0)?;
    socket.dump(kind::GET, selection).map_err(failed)?;
    while let Some(messages) = socket.receive().map_err(failed)? {
        for message in messages {
            match message {
                Message::Done => return Ok(()),
                Message::Error(errno) => return Err(failed(io::Error::from_raw_os_error(errno))),
                message => {
                    if !take(message) {
                        return Ok(());
                    }
                }
            }
        }
    }
    Ok(())
}

/// Whether entries cause events here. Each thread sees the value of its own network namespace.
fn has_events() -> bool {
    let switch = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_events");
    switch.map_or(true, |value| value.trim() != "0")
}

fn has_ipvs() -> bool {
    Path::new("/proc/thread-self/net/ip_vs").exists()
}
