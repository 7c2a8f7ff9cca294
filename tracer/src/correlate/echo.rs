//! Runs of ICMP echo requests and their replies: what `ping` does, counted as ping counts.
//!
//! A run is one identifier between two addresses, in one direction: a pod pings, or is pinged. Requests are told apart by
//! their sequence number, carried on beyond its 16 bits, so a flood that wraps around stays countable.

use std::collections::VecDeque;
use std::time::Duration;

use super::round_trip::RoundTrips;
use super::table::Table;
use crate::model::correlated::{Correlated, Happening};
use crate::model::echo::{Echo, EchoState};
use crate::model::flow::{Flow, Role, Way};
use crate::model::loss::{Losses, Stage};
use crate::model::observation::{EchoMessage, IcmpError, Observation};
use crate::model::settings::{Limits, Thresholds};
use crate::model::time::Timestamp;

/// The requests kept by all runs together are at most so many times those that one run may keep.
const RUNS_AT_THE_LIMIT: usize = 64;

/// A request whose reply, or second reply, may still come.
#[derive(Clone, Copy, Debug)]
struct Request {
    /// The sequence number, carried on beyond 16 bits.
    number: u64,
    sent: Timestamp,
    answered: bool,
    failed: bool,
}

#[derive(Clone, Debug)]
struct Run {
    started: Timestamp,
    last_request: Timestamp,
    next_report: Timestamp,
    sent: u64,
    received: u64,
    duplicates: u64,
    errors: u64,
    last_error: Option<IcmpError>,
    round_trips: RoundTrips,
    /// By number; nearly always the order of arrival.
    requests: VecDeque<Request>,
    /// The highest number so far.
    highest: u64,
    /// Requests that were given up for want of room and had no reply then: replies below `requests` may be theirs.
    forgotten: u64,
}

impl Run {
    fn new(at: Timestamp, sequence: u16, report: Duration) -> Run {
        Run {
            started: at,
            last_request: at,
            next_report: at.after(report),
            sent: 0,
            received: 0,
            duplicates: 0,
            errors: 0,
            last_error: None,
            round_trips: RoundTrips::default(),
            requests: VecDeque::new(),
            // One wrap up, so that a request from just before the first seen has a number too.
            highest: (1 << 16) + u64::from(sequence),
            forgotten: 0,
        }
    }

    /// The number of the request with this sequence number that is nearest to the highest so far.
    fn number(&self, sequence: u16) -> u64 {
        // The cast takes the number's lower 16 bits: the sequence number on the wire.
        let ahead = sequence.wrapping_sub(self.highest as u16);
        // As a signed distance: up to half the range ahead, else behind.
        let ahead = i64::from(ahead.cast_signed());
        self.highest.saturating_add_signed(ahead)
    }

    fn request(&mut self, number: u64) -> Option<&mut Request> {
        let index = self
            .requests
            .binary_search_by_key(&number, |request| request.number)
            .ok()?;
        self.requests.get_mut(index)
    }

    fn told(&self, key: &Key, state: EchoState) -> Correlated {
        let echo = Echo {
            flow: key.flow,
            role: key.role,
            id: key.flow.pod.port(),
            sent: self.sent,
            received: self.received,
            duplicates: self.duplicates,
            errors: self.errors,
            last_error: self.last_error,
            samples: self.round_trips.samples(),
            rtt: self.round_trips.rtt(),
            state,
        };
        Correlated {
            time: self.started,
            flow: key.flow,
            role: key.role,
            what: Happening::Echo(Box::new(echo)),
        }
    }
}

/// Two hosts can ping each other with the same identifier at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    flow: Flow,
    role: Role,
}

/// All runs.
#[derive(Debug)]
pub(super) struct Echoes {
    runs: Table<Key, Run>,
    /// Requests kept by all runs.
    kept: usize,
    run_limit: usize,
    report: Duration,
    idle: Duration,
}

impl Echoes {
    pub(super) fn new(thresholds: &Thresholds, limits: &Limits) -> Echoes {
        Echoes {
            runs: Table::new(limits.echo_runs),
            kept: 0,
            run_limit: limits.echo_outstanding.max(1),
            report: thresholds.echo_report,
            idle: thresholds.echo_idle,
        }
    }

    /// Takes a request or a reply in.
    pub(super) fn observe(
        &mut self,
        observation: &Observation,
        message: &EchoMessage,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let role = match (observation.way, message.reply) {
            (Way::FromPod, false) | (Way::ToPod, true) => Role::Client,
            (Way::ToPod, false) | (Way::FromPod, true) => Role::Server,
        };
        let key = Key {
            flow: observation.flow,
            role,
        };
        if message.reply {
            self.reply(&key, observation.time, message.sequence, losses);
        } else {
            self.request(key, observation.time, message.sequence, losses, out);
        }
    }

    fn request(
        &mut self,
        key: Key,
        now: Timestamp,
        sequence: u16,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        if self.runs.get(&key).is_none()
            && let Some((evicted, run)) =
                self.runs
                    .insert(key, Run::new(now, sequence, self.report), now)
        {
            // What it counted so far is right; only its end was not awaited.
            self.kept -= run.requests.len();
            losses.add(Stage::Table, "echo run table full", 1);
            out.push(run.told(&evicted, EchoState::Done));
        }
        let room_for_all = self.run_limit.saturating_mul(RUNS_AT_THE_LIMIT);
        let Some(run) = self.runs.get_mut(&key) else {
            return;
        };
        run.sent += 1;
        run.last_request = run.last_request.max(now);
        let number = run.number(sequence);
        run.highest = run.highest.max(number);
        let request = Request {
            number,
            sent: now,
            answered: false,
            failed: false,
        };
        match run
            .requests
            .binary_search_by_key(&number, |request| request.number)
        {
            // The same number again: some programs never count. The earlier one can get no reply of its own any more.
            Ok(index) => run.requests[index] = request,
            Err(index) => {
                run.requests.insert(index, request);
                self.kept += 1;
            }
        }
        while run.requests.len() > self.run_limit || self.kept > room_for_all {
            let Some(oldest) = run.requests.pop_front() else {
                break;
            };
            self.kept -= 1;
            if !oldest.answered {
                run.forgotten += 1;
                losses.add(Stage::Table, "echo requests without their round trip", 1);
            }
        }
        let deadline = self.due(&key);
        self.runs.touch(&key, deadline);
    }

    fn reply(&mut self, key: &Key, now: Timestamp, sequence: u16, losses: &mut Losses) {
        let Some(run) = self.runs.get_mut(key) else {
            // Its request was before the start, or its run was told as done.
            losses.add(Stage::Table, "echo reply without a run", 1);
            return;
        };
        let number = run.number(sequence);
        let oldest = run
            .requests
            .front()
            .map_or(u64::MAX, |request| request.number);
        if let Some(request) = run.request(number) {
            let again = std::mem::replace(&mut request.answered, true);
            // As ping does, a duplicate's time counts too.
            let round_trip = now.since(request.sent);
            run.round_trips.add(round_trip);
            if again {
                run.duplicates += 1;
            } else {
                run.received += 1;
            }
        } else if number < oldest && run.forgotten > 0 {
            run.forgotten -= 1;
            run.received += 1;
        } else {
            losses.add(Stage::Table, "echo reply without a request", 1);
        }
    }

    /// An ICMP error quotes an echo request of `flow` that the pod in this role sent or was sent. Whether its run is known.
    pub(super) fn icmp(&mut self, flow: &Flow, role: Role, error: &IcmpError) -> bool {
        let Some(sequence) = error.echo_sequence else {
            return false;
        };
        let Some(run) = self.runs.get_mut(&Key { flow: *flow, role }) else {
            return false;
        };
        let number = run.number(sequence);
        let again = run
            .request(number)
            .is_some_and(|request| std::mem::replace(&mut request.failed, true));
        if !again {
            run.errors += 1;
        }
        run.last_error = Some(*error);
        true
    }

    pub(super) fn advance(&mut self, now: Timestamp, out: &mut Vec<Correlated>) {
        while let Some((key, mut run)) = self.runs.pop_due(now) {
            let done = run.last_request.after(self.idle);
            if done <= run.next_report {
                self.kept -= run.requests.len();
                out.push(run.told(&key, EchoState::Done));
                continue;
            }
            out.push(run.told(&key, EchoState::Running));
            run.next_report = run.next_report.after(self.report);
            let deadline = done.min(run.next_report);
            self.runs.insert(key, run, deadline);
        }
    }

    /// Every run is done.
    pub(super) fn end(&mut self, out: &mut Vec<Correlated>) {
        while let Some((key, run)) = self.runs.pop_oldest() {
            self.kept -= run.requests.len();
            out.push(run.told(&key, EchoState::Done));
        }
    }

    fn due(&self, key: &Key) -> Timestamp {
        self.runs.get(key).map_or(Timestamp(0), |run| {
            run.last_request.after(self.idle).min(run.next_report)
        })
    }
}

#[cfg(test)]
mod tests;
