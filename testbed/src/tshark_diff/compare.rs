//! Compares exchange by exchange: agreement, intended differences, and the rest.
//!
//! An answer is identified by its time stamp, which both sides take from the capture, so nothing is guessed
//! about what belongs together. Every query and every answer that tshark sees must be accounted for by an
//! event, and every event by what tshark sees.

use std::collections::BTreeMap;
use std::fmt;

use super::copies::Sighting;
use super::message::{Answer, End, Time, milliseconds};
use super::ours::Exchange;
use super::theirs::Message;

/// How long the tracer waits for an answer: a query that is younger at the end of the file is undecided.
const TIMEOUT_NS: Time = 6_000_000_000;

/// Why the two differ on purpose. Each is explained in docs/tshark-diff.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Intended {
    /// Attempts from several ports, or more than five seconds apart, are one exchange here and several there.
    Retry,
    /// A truncated answer over UDP and the same question over TCP are one exchange here and two there.
    TruncatedThenTcp,
    /// A second answer is counted here, and listed there.
    DuplicateAnswer,
    /// The file ends before it is known whether an answer comes.
    Undecided,
    /// The packet is in the file several times, as captured at several interfaces.
    Copy,
    /// The capture holds a part of the message only: what is missing is not compared.
    CutShort,
    /// tshark prints the data of such a record in another form: name, type and TTL are compared.
    DataNotCompared,
}

impl Intended {
    /// The name, as in docs/tshark-diff.md.
    pub fn as_str(self) -> &'static str {
        match self {
            Intended::Retry => "retry",
            Intended::TruncatedThenTcp => "truncated-then-tcp",
            Intended::DuplicateAnswer => "duplicate-answer",
            Intended::Undecided => "undecided",
            Intended::Copy => "copy",
            Intended::CutShort => "cut-short",
            Intended::DataNotCompared => "data-not-compared",
        }
    }
}

/// The result for one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Messages that tshark sees.
    pub messages: usize,
    /// Exchanges of which everything was compared.
    pub compared: usize,
    /// How often each intended difference was met.
    pub intended: BTreeMap<Intended, usize>,
    /// Everything else. Empty means that the two agree.
    pub unexplained: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages, {} exchanges compared, {} differences",
            self.messages,
            self.compared,
            self.unexplained.len()
        )?;
        for (class, count) in &self.intended {
            write!(f, "\n  intended: {} {count}", class.as_str())?;
        }
        for line in &self.unexplained {
            write!(f, "\n  DIFFERENT: {line}")?;
        }
        Ok(())
    }
}

/// Compares both sides of one file.
pub fn compare(ours: &[Exchange], theirs: &[Message]) -> Report {
    let mut comparison = Comparison {
        theirs,
        accounted: vec![false; theirs.len()],
        begun: vec![false; theirs.len()],
        report: Report {
            messages: theirs.len(),
            ..Report::default()
        },
    };
    for exchange in ours {
        comparison.exchange(exchange);
    }
    for exchange in ours {
        comparison.attempts(exchange);
    }
    comparison.rest();
    comparison.report
}

struct Comparison<'a> {
    theirs: &'a [Message],
    /// Messages that an event reported.
    accounted: Vec<bool>,
    /// Queries that an event began with.
    begun: Vec<bool>,
    report: Report,
}

impl Comparison<'_> {
    fn exchange(&mut self, exchange: &Exchange) {
        let begin = self.query(exchange);
        if let Some(begin) = begin {
            // A late answer is a second event of its query.
            let reported = self.begun[begin] || self.is_copy(&self.theirs[begin], &self.begun);
            if reported && !exchange.late {
                self.differs(exchange, "its first query is another event's, too");
            }
            self.begun[begin] = true;
            self.accounted[begin] = true;
        } else if exchange.attempts > 0 {
            self.differs(exchange, "tshark sees no such query at that time");
        }
        if let Some(after) = exchange.truncated_after {
            self.truncated(exchange, after);
        }
        match exchange.answered() {
            Some(time) => match self.answer(exchange, time) {
                Some(answer) => {
                    self.accounted[answer] = true;
                    self.compare(exchange, &self.theirs[answer].clone());
                }
                None => self.differs(exchange, "tshark sees no such answer at that time"),
            },
            None => self.unanswered(exchange),
        }
    }

    /// The first query of an exchange.
    fn query(&self, exchange: &Exchange) -> Option<usize> {
        self.position(|message, at| {
            !message.response
                && message.id == exchange.id
                && at.time == exchange.begin
                && at.src == exchange.client
                && at.dst == exchange.server
        })
    }

    /// The answer that came at this time. After a retry or over TCP it goes to another port than the first
    /// query's.
    fn answer(&self, exchange: &Exchange, time: Time) -> Option<usize> {
        self.position(|message, at| {
            message.response
                && message.tcp == exchange.tcp
                && at.time == time
                && at.dst.ip == exchange.client.ip
                && at.src == exchange.server
        })
    }

    fn compare(&mut self, exchange: &Exchange, message: &Message) {
        self.report.compared += 1;
        let elsewhere = exchange.truncated_after.is_some();
        if message.id != exchange.id && !elsewhere {
            self.field(exchange, message, "id", &exchange.id, &message.id);
        }
        if message.cut {
            self.intended(Intended::CutShort);
        } else {
            self.field(exchange, message, "name", &exchange.name, &message.name);
            self.field(exchange, message, "type", &exchange.qtype, &message.qtype);
            let rcode = exchange.rcode.clone().unwrap_or_default();
            self.field(exchange, message, "rcode", &rcode, &message.rcode);
            self.answers(exchange, message);
        }
        let latency = exchange.latency;
        if latency != message.since_query {
            match (message.retransmission, exchange.attempts > 1) {
                // tshark finds no query where it does not read the question.
                _ if message.cut && message.since_query.is_none() => {}
                // Counted with the truncated answer.
                _ if elsewhere => {}
                (true, _) => self.intended(Intended::Copy),
                // Each from the first of several packets; that ours are two of them is known.
                _ if !message.copies.is_empty() => self.intended(Intended::Copy),
                (_, true) => self.intended(Intended::Retry),
                _ => {
                    let say = |time: Option<Time>| time.map_or("none".to_owned(), milliseconds);
                    let (ours, theirs) = (say(latency), say(message.since_query));
                    self.field(exchange, message, "response time", &ours, &theirs);
                }
            }
        }
    }

    fn answers(&mut self, exchange: &Exchange, message: &Message) {
        let sorted = |answers: &[Answer]| {
            let mut answers = answers.to_vec();
            answers.sort();
            answers
        };
        let mut ours = exchange.answers.clone();
        if message.answers.iter().any(|answer| answer.data.is_none()) {
            self.intended(Intended::DataNotCompared);
            for answer in &mut ours {
                let comparable = message
                    .answers
                    .iter()
                    .any(|other| other.rtype == answer.rtype && other.data.is_some());
                if !comparable {
                    answer.data = None;
                }
            }
        }
        let (ours, theirs) = (sorted(&ours), sorted(&message.answers));
        if ours != theirs {
            let only = |these: &[Answer], those: &[Answer]| {
                let only: Vec<&Answer> = these.iter().filter(|it| !those.contains(it)).collect();
                format!("{} answers, of them alone {only:?}", these.len())
            };
            let (left, right) = (only(&ours, &theirs), only(&theirs, &ours));
            self.field(exchange, message, "answers", &left, &right);
        }
    }

    /// The truncated answer over UDP that made the client ask over TCP, and the query there.
    fn truncated(&mut self, exchange: &Exchange, after: Time) {
        let answer = self.position(|message, at| {
            message.response
                && message.truncated
                && message.id == exchange.id
                && at.time == exchange.begin + after
                && at.dst == exchange.client
                && at.src == exchange.server
        });
        match answer {
            Some(index) => {
                self.accounted[index] = true;
                let message = &self.theirs[index];
                // As for other answers.
                let comparable = exchange.attempts == 1 && message.copies.is_empty();
                if comparable && message.since_query != Some(after) {
                    self.differs(exchange, "the truncated answer took another time");
                }
            }
            None => self.differs(exchange, "tshark sees no truncated answer at that time"),
        }
        self.intended(Intended::TruncatedThenTcp);
    }

    /// What had no answer in time must have none there either.
    fn unanswered(&mut self, exchange: &Exchange) {
        self.report.compared += 1;
        let answer = self.position(|message, at| {
            message.response
                && message.id == exchange.id
                && message.name == exchange.name
                && message.since_query.is_some()
                && at.dst == exchange.client
                && at.src == exchange.server
                && at.time > exchange.begin
                && at.time < exchange.begin + TIMEOUT_NS
        });
        if let Some(answer) = answer {
            let frame = self.theirs[answer].frame;
            self.differs(
                exchange,
                &format!("tshark sees its answer in packet {frame}"),
            );
        }
    }

    /// All queries of an exchange: as many as it says.
    fn attempts(&mut self, exchange: &Exchange) {
        // A late answer belongs to what was reported before.
        if exchange.late || exchange.attempts == 0 {
            return;
        }
        let end = exchange.answered().unwrap_or(Time::MAX);
        let mut seen = 0;
        for (index, message) in self.theirs.iter().enumerate() {
            let same = !message.response
                && !message.tcp
                && message.id == exchange.id
                && same_question(exchange, message)
                && (exchange.begin..=end).contains(&message.time);
            // What begins another exchange is not of this one.
            if same
                && (!self.accounted[index] || message.time == exchange.begin)
                && seen < exchange.attempts
            {
                self.accounted[index] = true;
                seen += 1;
            }
            let over_tcp = !message.response
                && message.tcp
                && exchange.tcp
                && same_question(exchange, message)
                && (exchange.begin..=end).contains(&message.time);
            if over_tcp && !self.accounted[index] && exchange.truncated_after.is_some() {
                self.accounted[index] = true;
            }
        }
        if !exchange.tcp && seen != exchange.attempts {
            self.differs(
                exchange,
                &format!(
                    "{} attempts, of which tshark sees {seen}",
                    exchange.attempts
                ),
            );
        }
    }

    /// What no event reported.
    fn rest(&mut self) {
        let end = self.theirs.iter().map(|message| message.time).max();
        let mut explained = self.accounted.clone();
        let mut left = Vec::new();
        for (index, message) in self.theirs.iter().enumerate() {
            if self.accounted[index] {
                continue;
            }
            match self.silence(message, end.unwrap_or(message.time)) {
                Some(class) => {
                    explained[index] = true;
                    self.intended(class);
                }
                None => left.push(index),
            }
        }
        // The packet that represents this one may itself have no event: a second answer.
        for index in left {
            let message = &self.theirs[index];
            if self.is_copy(message, &explained) {
                self.intended(Intended::Copy);
            } else {
                let line = format!(
                    "packet {}: {} id {} {} {}, {} to {}: no event reports it",
                    message.frame,
                    if message.response { "answer" } else { "query" },
                    message.id,
                    message.name,
                    message.qtype,
                    message.src,
                    message.dst
                );
                self.report.unexplained.push(line);
            }
        }
    }

    /// Why no event reports a message, where that is meant to be.
    fn silence(&self, message: &Message, end: Time) -> Option<Intended> {
        let reported = |(other, accounted): (&Message, &bool)| {
            *accounted
                && other.response == message.response
                && other.id == message.id
                && other.name == message.name
                && other.qtype == message.qtype
                && other.client().ip == message.client().ip
                && other.server() == message.server()
        };
        let again = self.theirs.iter().zip(&self.accounted).any(reported);
        let repeated = message.retransmission && !message.response && again;
        if repeated || self.is_copy(message, &self.accounted) {
            Some(Intended::Copy)
        } else if message.response && again {
            Some(Intended::DuplicateAnswer)
        } else if !message.response && end - message.time < TIMEOUT_NS {
            Some(Intended::Undecided)
        } else {
            None
        }
    }

    /// Whether it is the packet of one of these.
    fn is_copy(&self, message: &Message, these: &[bool]) -> bool {
        let here = message.sighting();
        let mut messages = self.theirs.iter().zip(these);
        messages.any(|(other, this)| *this && other.copies.contains(&here))
    }

    /// The message whose packet was seen like this: where tshark took it from, else at another interface.
    fn position(&self, fits: impl Fn(&Message, &Sighting) -> bool) -> Option<usize> {
        let mut messages = self.theirs.iter();
        let here = messages.position(|message| fits(message, &message.sighting()));
        here.or_else(|| {
            let mut messages = self.theirs.iter();
            messages.position(|message| message.copies.iter().any(|at| fits(message, at)))
        })
    }

    fn intended(&mut self, class: Intended) {
        *self.report.intended.entry(class).or_default() += 1;
    }

    fn field<T: PartialEq + fmt::Display>(
        &mut self,
        exchange: &Exchange,
        message: &Message,
        what: &str,
        ours: &T,
        theirs: &T,
    ) {
        if ours != theirs {
            let frame = message.frame;
            self.differs(
                exchange,
                &format!("{what} is {ours} here and {theirs} in packet {frame}"),
            );
        }
    }

    fn differs(&mut self, exchange: &Exchange, what: &str) {
        let Exchange {
            id,
            name,
            qtype,
            outcome,
            client,
            ..
        } = exchange;
        self.report
            .unexplained
            .push(format!("{client} id {id} {name} {qtype} {outcome}: {what}"));
    }
}

fn same_question(exchange: &Exchange, message: &Message) -> bool {
    let End { ip, .. } = message.client();
    *ip == exchange.client.ip
        && message.server().ip == exchange.server.ip
        && message.name == exchange.name
        && message.qtype == exchange.qtype
}
