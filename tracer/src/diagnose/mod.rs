//! Findings: says why something failed, from the pipeline's own events and the inventory at that time. Pure.
//!
//! Owns the rules ([`rules`], one file each, in their order of precedence), what they need to remember ([`memory`]) and
//! how a finding lives: told once its evidence is complete, again with a new count, resolved once ([`ledger`]). Input:
//! identified events, changes of the inventory, time. It never guesses: what the evidence or the inventory does not show is
//! left out or called possible.
//!
//! The way through: an event becomes a [`Case`](case::Case); the first rule of [`catalogue::RULES`] that makes a
//! [`Claim`](claim::Claim) of it has the say; the [`Ledger`] folds claims of one cause into one finding. An event that
//! shows something working is held against the cures that open findings wait for.

mod attempt;
mod case;
pub mod catalogue;
mod claim;
mod gone;
mod ledger;
mod looked;
mod memory;
mod names;
mod policies;
mod rules;
mod services;
mod words;

use std::time::Duration;

use crate::identity::{Index, Owner};
use crate::model::event::{Body, Ends, Event};
use crate::model::exchange::Exchange;
use crate::model::flow::Role;
use crate::model::lookup::Lookup;
use crate::model::loss::Losses;
use crate::model::observation::IcmpError;
use crate::model::time::Timestamp;

use self::case::{Case, Symptom};
use self::claim::Sign;
use self::ledger::Ledger;
use self::looked::Looked;
use self::memory::{Memory, Visit};

/// How findings are told and how much is kept for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiagnosisSettings {
    /// An open finding is told again with a new count at most so often.
    pub repeat: Duration,
    /// A finding whose cause did not show for so long is forgotten: nobody knows whether it is gone.
    pub forget: Duration,
    /// Open findings; at the limit the one that was quiet for longest makes room.
    pub findings: usize,
    /// Lines of evidence of one finding; what is beyond is said in a last line.
    pub evidence: usize,
    /// Clients, servers and the like that rules remember something of, each sort for itself.
    pub remembered: usize,
}

impl Default for DiagnosisSettings {
    fn default() -> DiagnosisSettings {
        DiagnosisSettings {
            repeat: Duration::from_secs(30),
            forget: Duration::from_secs(600),
            findings: 1024,
            evidence: 16,
            remembered: 4096,
        }
    }
}

/// All rules and what they know.
#[derive(Debug)]
pub struct Diagnosis {
    /// A lookup without a new candidate for so long is over, whatever it may have left to try.
    lookup_idle: Duration,
    /// The input ends: what is told now was not decided.
    ending: bool,
    memory: Memory,
    ledger: Ledger,
}

impl Diagnosis {
    /// With nothing seen yet.
    pub fn new(settings: &DiagnosisSettings, lookup_idle: Duration) -> Diagnosis {
        Diagnosis {
            lookup_idle,
            ending: false,
            memory: Memory::new(settings.remembered),
            ledger: Ledger::new(settings),
        }
    }

    /// Takes an event in, as it is told at `now`.
    pub fn event(&mut self, now: Timestamp, event: &Event, index: &Index, out: &mut Vec<Event>) {
        let Some(ends) = &event.ends else { return };
        match &event.body {
            Body::IcmpError(error) => self.icmp(now, ends, error, index, out),
            // What a pod is asked is told from the side of who asks.
            _ if ends.role == Role::Server => {}
            Body::Dns(exchange, place) => {
                if place.is_some() {
                    self.memory.exchanges.add(now, Owner::of(ends), exchange);
                }
                self.answered(now, ends, exchange, out);
            }
            Body::Lookup(lookup) => self.lookup(now, event.time, ends, lookup, index, out),
            Body::Tcp(connection) => {
                if let Some(handshake) = connection.handshake {
                    self.connected(event.time, ends);
                    self.ledger
                        .cure(now, ends, &Sign::Connected(handshake), out);
                }
                self.judge(now, event.time, ends, Symptom::Tcp(connection), index, out);
            }
            Body::Udp(flow) => {
                self.judge(now, event.time, ends, Symptom::Udp(flow), index, out);
            }
            Body::Echo(echo) => {
                if echo.received > 0 {
                    self.ledger.cure(now, ends, &Sign::Replied(echo), out);
                }
                self.judge(now, now, ends, Symptom::Echo(echo, event.time), index, out);
            }
            Body::Finding(_) | Body::Lost(_) => {}
        }
    }

    /// The inventory changed.
    pub fn changed(&mut self, now: Timestamp, index: &Index, out: &mut Vec<Event>) {
        self.memory.births.update(now, index);
        self.ledger.inventory(now, index, out);
    }

    /// Tells what is due.
    pub fn advance(&mut self, now: Timestamp, out: &mut Vec<Event>) {
        self.memory.advance(now);
        self.ledger.advance(now, out);
    }

    /// The input ends: the events to come are of what is not decided.
    pub fn ending(&mut self) {
        self.ending = true;
    }

    /// The input ended: counts that were not told yet are told.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        self.ledger.end(out);
    }

    /// What the limits cost so far.
    pub fn losses(&self) -> Losses {
        let mut losses = self.memory.losses();
        losses.merge(self.ledger.losses());
        losses
    }

    /// A packet of the pod, in whatever role, was too big for its path.
    fn icmp(
        &mut self,
        now: Timestamp,
        ends: &Ends,
        error: &IcmpError,
        index: &Index,
        out: &mut Vec<Event>,
    ) {
        if error.is_too_big() && error.about.src.ip() == ends.pod.ip {
            let told = self
                .memory
                .too_big
                .add(now, Owner::of(ends), error.about.dst.ip());
            self.judge(now, now, ends, Symptom::TooBig(*error, told), index, out);
        }
    }

    fn connected(&mut self, at: Timestamp, ends: &Ends) {
        if let Some(port) = ends.peer.port {
            let visit = Visit {
                owner: Owner::of(ends),
                who: words::who(ends),
                at,
            };
            self.memory.reached.add((ends.peer.ip, port), visit);
        }
    }

    fn answered(&mut self, now: Timestamp, ends: &Ends, exchange: &Exchange, out: &mut Vec<Event>) {
        if exchange.rcode.is_some() && !exchange.late {
            self.ledger.cure(now, ends, &Sign::Answered(exchange), out);
        }
    }

    fn lookup(
        &mut self,
        now: Timestamp,
        started: Timestamp,
        ends: &Ends,
        lookup: &Lookup,
        index: &Index,
        out: &mut Vec<Event>,
    ) {
        let ended = started.after(lookup.duration);
        let looked = Looked {
            lookup,
            seen: self.memory.exchanges.take(&Owner::of(ends), lookup),
            resolver: ends
                .pod
                .who
                .as_ref()
                .ok()
                .and_then(|pod| index.resolver(pod)),
            cut_short: self.ending && now.since(ended) < self.lookup_idle,
        };
        self.ledger.cure(now, ends, &Sign::Found(lookup), out);
        self.judge(now, ended, ends, Symptom::Lookup(&looked), index, out);
    }

    /// Puts a case before the rules; the first that claims it has it.
    fn judge(
        &mut self,
        now: Timestamp,
        at: Timestamp,
        ends: &Ends,
        symptom: Symptom<'_>,
        index: &Index,
        out: &mut Vec<Event>,
    ) {
        let case = Case {
            at,
            ends,
            index,
            memory: &self.memory,
            symptom,
        };
        let claim = catalogue::RULES
            .iter()
            .find_map(|rule| (rule.check)(&case).map(|claim| (*rule, claim)));
        if let Some((rule, claim)) = claim {
            self.ledger.claim(now, &case, rule, claim, out);
        }
    }
}
