//! Runs of ICMP echo requests and their replies, counted as `ping` counts them.
//!
//! A run is one identifier between two addresses in one direction: a pod pings, or is pinged. Sequence
//! numbers, extended beyond 16 bits, identify the requests, so a flood that wraps around stays countable.
//! Where the probes suppressed records of a flood, the kernel's flow counters supply the number of requests
//! and replies; round-trip times rest on the recorded ones (`samples`).

mod run;

use std::time::Duration;

use crate::fair_table::{self, Evicted, FairTable, Room};
use crate::model::correlated::Correlated;
use crate::model::echo::EchoState;
use crate::model::flow::{Direction, Flow, FlowSnapshot, Ifindex, Role};
use crate::model::loss::{Losses, Stage};
use crate::model::observation::{EchoMessage, IcmpError, Observation};
use crate::model::settings::{Limits, Thresholds};
use crate::model::time::Timestamp;
use run::{Request, Run};

/// How long a finished flood waits for the counter sweep that includes its last packets.
const SWEEP_PATIENCE: Duration = Duration::from_secs(10);
/// A flood's last packets come at most this long after its last record: a flood always has a recent record.
const SETTLED: Duration = Duration::from_secs(1);
/// Interval at which a finished flood checks for that sweep.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The role is part of the key because two hosts can ping each other with the same identifier at the same
/// time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    flow: Flow,
    role: Role,
}

impl fair_table::Key for Key {
    type Owner = Ifindex;

    fn owner(&self) -> Ifindex {
        self.flow.ifindex
    }
}

/// All runs.
#[derive(Debug)]
pub(super) struct Echoes {
    runs: FairTable<Key, Run>,
    /// The latest sweep of the kernel's counters.
    swept: Timestamp,
    run_limit: usize,
    report: Duration,
    idle: Duration,
}

impl Echoes {
    pub(super) fn new(thresholds: &Thresholds, limits: &Limits) -> Echoes {
        Echoes {
            runs: FairTable::new(Room {
                entries: limits.echo_runs,
                bytes: limits.memory.echo_runs,
            }),
            swept: Timestamp(0),
            run_limit: limits.echo_outstanding.max(1),
            report: thresholds.echo_report,
            idle: thresholds.echo_idle,
        }
    }

    /// Takes a request or a reply.
    pub(super) fn observe(
        &mut self,
        observation: &Observation,
        message: &EchoMessage,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let role = match (observation.direction, message.reply) {
            (Direction::FromPod, false) | (Direction::ToPod, true) => Role::Client,
            (Direction::ToPod, false) | (Direction::FromPod, true) => Role::Server,
        };
        let key = Key {
            flow: observation.flow,
            role,
        };
        // The kernel counts two opposite runs with the same identifier as one flow.
        let opposite = Key {
            role: match role {
                Role::Client => Role::Server,
                Role::Server => Role::Client,
            },
            ..key
        };
        if let Some(run) = self.runs.get_mut(&opposite) {
            run.meter.observe(observation);
        }
        if message.reply {
            self.reply(&key, observation, message.sequence, losses);
        } else {
            self.request(key, observation, message.sequence, losses, out);
        }
    }

    fn request(
        &mut self,
        key: Key,
        observation: &Observation,
        sequence: u16,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let now = observation.time;
        if let Some(run) = self.runs.get_mut(&key) {
            run.meter.observe(observation);
        } else {
            let run = Run::new(observation, sequence, self.report);
            self.keep(key, run, now, losses, out);
        }
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
        while run.requests.len() >= self.run_limit
            && let Some(oldest) = run.requests.pop_front()
        {
            if !oldest.answered {
                run.forgotten += 1;
                let reason = "echo requests without their round trip";
                losses.add_on(key.flow.ifindex, Stage::Table, reason, 1);
            }
        }
        let before = run.heap_bytes();
        match run
            .requests
            .binary_search_by_key(&number, |request| request.number)
        {
            // A repeated number: some programs never increment it. The earlier request can get no reply of
            // its own any more.
            Ok(index) => run.requests[index] = request,
            Err(index) => run.requests.insert(index, request),
        }
        let after = run.heap_bytes();
        let deadline = self.due(&key);
        self.runs.touch(&key, deadline);
        if after != before {
            let evicted = self.runs.weigh(&key, after);
            made_room(evicted, losses, out);
        }
    }

    fn keep(
        &mut self,
        key: Key,
        run: Run,
        deadline: Timestamp,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let bytes = run.heap_bytes();
        made_room(self.runs.insert(key, run, bytes, deadline), losses, out);
    }

    fn reply(&mut self, key: &Key, observation: &Observation, sequence: u16, losses: &mut Losses) {
        let now = observation.time;
        let Some(run) = self.runs.get_mut(key) else {
            // Its request preceded the start, or its run was already reported as done.
            losses.add(Stage::Table, "echo reply without a run", 1);
            return;
        };
        run.meter.observe(observation);
        run.last = run.last.max(now);
        let number = run.number(sequence);
        let oldest = run
            .requests
            .front()
            .map_or(u64::MAX, |request| request.number);
        if let Some(request) = run.request(number) {
            let again = std::mem::replace(&mut request.answered, true);
            // ping includes the time of a duplicate, too.
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
        } else if run.unseen(key.role).0 > run.credited {
            run.credited += 1;
        } else {
            losses.add(Stage::Table, "echo reply without a request", 1);
        }
    }

    /// Takes an ICMP error that quotes an echo request of `flow`, sent or received by the pod in this role.
    /// Returns whether the request is known, or may be one whose record was suppressed in a flood.
    pub(super) fn icmp(
        &mut self,
        flow: &Flow,
        role: Role,
        error: &IcmpError,
        at: Timestamp,
    ) -> bool {
        let Some(sequence) = error.echo_sequence else {
            return false;
        };
        let Some(run) = self.runs.get_mut(&Key { flow: *flow, role }) else {
            return false;
        };
        let number = run.number(sequence);
        let suppressed = run.forgotten > 0 || run.unseen(role).0 > 0;
        let again = match run.request(number) {
            Some(request) => std::mem::replace(&mut request.failed, true),
            None if suppressed => false,
            None => return false,
        };
        run.last = run.last.max(at);
        if !again {
            run.errors += 1;
        }
        run.last_error = Some(*error);
        true
    }

    /// Takes a flow's counters.
    pub(super) fn count(&mut self, snapshot: &FlowSnapshot) {
        for role in [Role::Client, Role::Server] {
            let key = Key {
                flow: snapshot.flow,
                role,
            };
            let Some(run) = self.runs.get_mut(&key) else {
                continue;
            };
            let before = run.unseen(role).0;
            run.meter.count(snapshot.last, snapshot.totals);
            if run.unseen(role).0 > before {
                // Requests continue, though no record shows them.
                run.last_request = run.last_request.max(snapshot.last);
                let deadline = self.due(&key);
                self.runs.touch(&key, deadline);
            }
        }
    }

    /// A sweep covered every counter that had changed by `now`.
    pub(super) fn swept(&mut self, now: Timestamp) {
        self.swept = self.swept.max(now);
    }

    pub(super) fn advance(
        &mut self,
        now: Timestamp,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        while let Some((key, mut run)) = self.runs.pop_due(now) {
            let done = run.last_request.after(self.idle);
            if done <= run.next_report {
                let settled = run.last_request.after(SETTLED);
                let counted = self.swept >= settled || !run.meter.counted_by_kernel();
                let latest = done.after(SWEEP_PATIENCE);
                if !counted && run.is_flood(key.role) && now < latest {
                    let deadline = now.after(LOOK_AGAIN).min(latest);
                    self.keep(key, run, deadline, losses, out);
                    continue;
                }
                out.push(run.event(&key, EchoState::Done));
                continue;
            }
            out.push(run.event(&key, EchoState::Running));
            run.next_report = self.beat_after(run.next_report, now);
            let deadline = done.min(run.next_report);
            self.keep(key, run, deadline, losses, out);
        }
    }

    /// Emits every run as done.
    pub(super) fn end(&mut self, out: &mut Vec<Correlated>) {
        while let Some((key, run)) = self.runs.pop_oldest() {
            out.push(run.event(&key, EchoState::Done));
        }
    }

    /// The first report time after `now` for a run whose next report was due at `beat`. Reports that were
    /// missed are merged into one.
    fn beat_after(&self, beat: Timestamp, now: Timestamp) -> Timestamp {
        let every_ns = u64::try_from(self.report.as_nanos()).unwrap_or(u64::MAX);
        let every_ns = every_ns.max(1);
        let passed = now.0.saturating_sub(beat.0) / every_ns;
        Timestamp(
            beat.0
                .saturating_add(every_ns.saturating_mul(passed.saturating_add(1))),
        )
    }

    fn due(&self, key: &Key) -> Timestamp {
        self.runs.get(key).map_or(Timestamp(0), |run| {
            run.last_request.after(self.idle).min(run.next_report)
        })
    }
}

/// Ends the runs that made room for others. Their counts so far are right, but replies may still come.
fn made_room(evicted: Evicted<Key, Run>, losses: &mut Losses, out: &mut Vec<Correlated>) {
    for (key, run) in evicted {
        losses.add_on(key.flow.ifindex, Stage::Table, "echo run table full", 1);
        out.push(Correlated::made_room(run.started, key.flow, key.role));
        out.push(run.event(&key, EchoState::Undecided));
    }
}

#[cfg(test)]
mod tests;
