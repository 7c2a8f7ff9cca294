//! What the events of TCP connections and UDP flows mean: attempts, successes, and failures for the rules.
//!
//! Where one failure is ordinary, this counts several of a kind ([`Mishap`]) before it asks the rules.

use std::time::Duration;

use super::attempt::{self, Late};
use super::case::Symptom;
use super::cure::Sign;
use super::examination::{Examination, Span};
use super::memory::{FailedConnection, Mishap, Share, Target, Use};
use crate::model::connection::{TcpConnection, TcpState, UdpFlow, UdpState};
use crate::model::flow::Direction;
use crate::model::time::Timestamp;

/// This many mishaps of a kind at one destination make a finding.
const MISHAPS: u64 = 3;
/// A connection that waited longer lost more than its first SYN. One lost SYN is ordinary; Linux repeats it
/// after a second, and then after two.
const LONG_WAIT: Duration = Duration::from_millis(2500);
/// A SYN-ACK that comes sooner was not late; the client is in a hurry, as with several addresses tried at
/// once (RFC 8305).
const HURRY: Duration = Duration::from_secs(1);

impl Examination<'_> {
    pub(super) fn tcp(&mut self, started: Timestamp, connection: &TcpConnection) {
        if connection.evidence.late_answer.is_some() {
            return self.answered_too_late(started, connection);
        }
        match connection.state {
            TcpState::Established => self.established(started, connection),
            TcpState::Refused(_) | TcpState::Timeout => self.failed(started, connection),
            TcpState::Undecided if connection.evidence.reply_from.is_some() => {
                self.attempted_tcp(connection);
                self.notable(started, connection);
            }
            TcpState::Undecided if connection.evidence.given_up.is_some() => {
                self.given_up(started, connection);
            }
            TcpState::Undecided | TcpState::Opening => {}
            TcpState::Reset | TcpState::Closed | TcpState::Idle => self.ended(started, connection),
        }
    }

    fn established(&mut self, started: Timestamp, connection: &TcpConnection) {
        let at = connection
            .handshake
            .map_or(connection.last, |handshake| started.after(handshake));
        let peer = connection.flow.peer;
        // A late answer is a second event of an attempt that has been counted as a timeout.
        let counted = connection
            .handshake
            .is_some_and(|handshake| handshake >= self.diagnosis.tcp_timeout);
        if !counted {
            self.attempted_tcp(connection);
            self.at_endpoint(Use::Tcp, None);
        }
        let Some(handshake) = connection.handshake else {
            return;
        };
        let contact = (self.ends.peer.ip, peer.port());
        self.memory().connected.add(started, contact);
        let mut failed = None;
        if attempt::late(connection).is_some() {
            self.lost_syn(started, connection);
            let share = match counted {
                true => Share::default(),
                false => self.mishap(connection, Mishap::LostSyn),
            };
            if share.failures >= MISHAPS || handshake >= LONG_WAIT {
                let span = Span::from_start(started, connection.last).about(at);
                failed = self.judge_share(span, Symptom::Tcp(connection), share);
            }
        }
        if !counted {
            self.cure(at, &Sign::Connected(handshake), failed.as_ref());
        }
        self.notable(started, connection);
    }

    /// The client gave its SYN up before a verdict was due. Once is no failure, and no attempt either.
    fn given_up(&mut self, started: Timestamp, connection: &TcpConnection) {
        let peer = connection.flow.peer;
        self.memory().mishaps.attempt(peer);
        let share = self.mishap(connection, Mishap::GivenUp);
        if share.failures >= MISHAPS {
            self.attempted(Target::Socket(peer, "TCP").key());
            let span = Span::from_start(started, connection.last);
            self.judge_share(span, Symptom::Tcp(connection), share);
        }
    }

    fn failed(&mut self, started: Timestamp, connection: &TcpConnection) {
        self.attempted_tcp(connection);
        self.at_endpoint(Use::Tcp, Some(started));
        if connection.state == TcpState::Timeout {
            self.lost_syn(started, connection);
            self.mishap(connection, Mishap::GivenUp);
        }
        if self.is_dns(connection) {
            let failed = FailedConnection {
                started,
                ends: self.ends.clone(),
                connection: connection.clone(),
            };
            let failed_tcp = &mut self.diagnosis.memory.failed_tcp;
            failed_tcp.add(self.now, &self.owner, failed);
        } else {
            let span = Span::from_start(started, connection.last);
            self.connection_verdict(span, connection);
        }
    }

    /// The opener reset a SYN-ACK because it had given up.
    fn answered_too_late(&mut self, started: Timestamp, connection: &TcpConnection) {
        let Some(Late::TooLate(after)) = attempt::late(connection) else {
            return;
        };
        if after < HURRY {
            return;
        }
        if after < self.diagnosis.tcp_timeout {
            self.attempted_tcp(connection);
        }
        let span = Span::from_start(started, connection.last);
        self.judge(span, Symptom::Tcp(connection));
    }

    /// A connection ended, or is no longer followed.
    fn ended(&mut self, started: Timestamp, connection: &TcpConnection) {
        let evidence = &connection.evidence;
        let reset = evidence
            .reset
            .filter(|reset| reset.sender == Direction::ToPod && reset.answers_payload);
        if self.is_dns(connection) {
            // Exchanges show what happened to its queries.
            return;
        }
        match reset {
            Some(_) if !evidence.payload.to_pod => {
                let share = self.mishap(connection, Mishap::EarlyReset);
                let span = Span::from_start(started, connection.last).about(connection.last);
                self.judge_share(span, Symptom::Tcp(connection), share);
            }
            Some(_) => self.notable(started, connection),
            None => {
                self.notable(started, connection);
                let silent = evidence.unanswered.is_some() || evidence.large_lost.is_some();
                if evidence.payload.to_pod && !silent {
                    self.cure(connection.last, &Sign::Carried, None);
                }
            }
        }
    }

    /// Evidence on a connection whose state stays the same.
    pub(super) fn tcp_progress(&mut self, started: Timestamp, connection: &TcpConnection) {
        // An attempt counts once it has a verdict.
        if connection.state != TcpState::Opening && !self.is_dns(connection) {
            self.notable(started, connection);
        }
    }

    fn notable(&mut self, started: Timestamp, connection: &TcpConnection) {
        if connection.evidence.is_notable() {
            let span = Span::from_start(started, connection.last).about(connection.last);
            self.judge(span, Symptom::Tcp(connection));
        }
    }

    pub(super) fn udp(&mut self, started: Timestamp, flow: &UdpFlow) {
        // At the end of the input the open ones have one more event.
        if flow.state == UdpState::Open && !self.diagnosis.ending {
            self.attempted(Target::Socket(flow.flow.peer, "UDP").key());
        }
        match flow.state {
            UdpState::Unanswered | UdpState::IcmpError => {
                self.at_endpoint(Use::Udp, Some(started));
            }
            UdpState::Closed if flow.totals.rx.packets > 0 => self.at_endpoint(Use::Udp, None),
            _ => {}
        }
        let span = Span::from_start(started, flow.last);
        let failed = self.judge(span, Symptom::Udp(flow));
        let ended = flow.state == UdpState::Closed;
        if ended && flow.totals.rx.packets > 0 && flow.unanswered.is_none() {
            self.cure(flow.last, &Sign::Carried, failed.as_ref());
        }
    }

    /// Evidence on a UDP flow whose state stays the same.
    pub(super) fn udp_progress(&mut self, started: Timestamp, flow: &UdpFlow) {
        let span = Span::from_start(started, flow.last).about(flow.last);
        self.judge(span, Symptom::Udp(flow));
    }

    fn attempted_tcp(&mut self, connection: &TcpConnection) {
        let peer = connection.flow.peer;
        self.memory().mishaps.attempt(peer);
        self.attempted(Target::Socket(peer, "TCP").key());
    }

    fn mishap(&mut self, connection: &TcpConnection, mishap: Mishap) -> Share {
        let now = self.now;
        let mishaps = &mut self.memory().mishaps;
        let (share, gave_way) = mishaps.add(now, connection.flow.peer, mishap);
        self.gave_way(gave_way);
        share
    }

    fn lost_syn(&mut self, started: Timestamp, connection: &TcpConnection) {
        let flow = &connection.flow;
        let lost_syns = &mut self.diagnosis.memory.lost_syns;
        lost_syns.add(started, flow.ifindex, flow.peer);
    }

    fn is_dns(&self, connection: &TcpConnection) -> bool {
        let port = connection.flow.peer.port();
        self.diagnosis.dns_ports.contains(&port)
    }
}
