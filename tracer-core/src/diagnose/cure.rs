//! What shows that a cause is gone.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::fact::ObjectName;
use super::lookup_evidence::LookupEvidence;
use super::memory::{NameScope, is_answered};
use crate::identity::Index;
use crate::model::dns::{DnsName, RecordType};
use crate::model::echo::Echo;
use crate::model::event::Ends;
use crate::model::exchange::{Exchange, Outcome, Transport};
use crate::model::heap_bytes::HeapBytes;

/// The name that an exchange asks for.
fn asked_name(exchange: &Exchange) -> Option<&DnsName> {
    exchange.question.as_ref().map(|question| &question.name)
}

/// What a finding waits for to be resolved.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cure {
    /// The pod finds this name.
    Found(DnsName),
    /// The pod finds this name, which it asked for through the search list.
    FoundBySearch(String),
    /// The server answers the pod, whatever the answer.
    Answers(IpAddr),
    /// The server answers every query of a lookup the first time.
    AnswersPromptly(IpAddr),
    /// The server answers, and shows that it understood the query.
    Understands(IpAddr),
    /// The pod connects to this address, and to this port if there is one.
    Connects(IpAddr, Option<u16>),
    /// A connection, or a UDP flow, with this destination carries the other end's data to its end.
    Carries(IpAddr, u16),
    /// The pod gets a reply to a ping of this address.
    Replies(IpAddr),
    /// The Service has a ready endpoint: its namespace and name.
    Ready(Arc<str>, Arc<str>),
    /// The server answers the pod for a name in this domain, with neither SERVFAIL nor REFUSED.
    Resolves(IpAddr, DnsName),
    /// The server answers the pod over TCP.
    AnswersTcp(IpAddr),
    /// The query for this type of this name is answered, if only without a record.
    AnswersType(RecordType, DnsName),
    /// The server's latency is back to normal for names of this scope.
    NormalLatency(IpAddr, NameScope),
    /// The workload wastes few queries.
    FewWasted(String),
}

/// Something that worked.
#[derive(Debug)]
pub(super) enum Sign<'a> {
    /// A lookup ended.
    LookupEnded(&'a LookupEvidence<'a>),
    /// A connection was established within this time.
    Connected(Duration),
    /// A connection, or a UDP flow, ended well after it carried the other end's data.
    Carried,
    /// A ping was answered.
    Replied(&'a Echo),
    /// A server's latency is back to normal for names of this scope.
    NormalLatency(NameScope),
    /// A workload has wasted few queries for a minute.
    FewWasted(&'a str),
}

/// How a finding was resolved.
#[derive(Clone, Debug)]
pub(super) enum Resolution {
    /// The pod found the name, with this data.
    Found(DnsName, Option<String>),
    /// The server answered, within this time.
    Answers(IpAddr, Option<Duration>),
    /// The server answered for this name.
    AnswersFor(IpAddr, DnsName),
    /// The server answered over TCP.
    AnswersTcp(IpAddr),
    /// The query for this type of this name was answered.
    AnswersType(RecordType, DnsName),
    /// The server's latency is back to normal.
    NormalLatency(IpAddr),
    /// The workload wastes few queries.
    FewWasted(String),
    /// The pod connected within this time.
    Connected(IpAddr, Option<u16>, Duration),
    /// A connection, or a UDP flow, with this destination worked to its end.
    Carried(IpAddr, u16),
    /// The ping was answered.
    Replied {
        ip: IpAddr,
        received: u64,
        sent: u64,
    },
    /// The Service has this many ready endpoints.
    Ready(ObjectName, usize),
}

impl Sign<'_> {
    /// How many attempts in a row succeeded.
    pub fn successes(&self) -> u64 {
        match self {
            Sign::Replied(echo) => echo.received,
            _ => 1,
        }
    }
}

impl HeapBytes for Cure {
    fn heap_bytes(&self) -> usize {
        match self {
            Cure::Found(name) | Cure::Resolves(_, name) | Cure::AnswersType(_, name) => {
                name.heap_bytes()
            }
            Cure::FoundBySearch(text) | Cure::FewWasted(text) => text.heap_bytes(),
            // Shared with the index, and short.
            Cure::Ready(namespace, name) => namespace.len() + name.len(),
            Cure::Answers(_)
            | Cure::AnswersPromptly(_)
            | Cure::Understands(_)
            | Cure::Connects(..)
            | Cure::Carries(..)
            | Cure::Replies(_)
            | Cure::AnswersTcp(_)
            | Cure::NormalLatency(..) => 0,
        }
    }
}

impl Cure {
    /// Whether one sign shows that the cause is gone: it rests on the content of an answer or on the
    /// inventory, or is itself a summary of many attempts. Other causes can come and go.
    pub fn is_decisive(&self) -> bool {
        match self {
            Cure::Found(_)
            | Cure::FoundBySearch(_)
            | Cure::Ready(..)
            | Cure::AnswersType(..)
            | Cure::NormalLatency(..)
            | Cure::FewWasted(_)
            | Cure::Connects(_, None) => true,
            Cure::Answers(_)
            | Cure::AnswersPromptly(_)
            | Cure::Understands(_)
            | Cure::Connects(_, Some(_))
            | Cure::Carries(..)
            | Cure::Replies(_)
            | Cure::Resolves(..)
            | Cure::AnswersTcp(_) => false,
        }
    }

    /// Whether the sign is what the cure waits for.
    pub fn shown_by(&self, sign: &Sign<'_>, ends: &Ends) -> Option<Resolution> {
        match (self, sign) {
            (cure, Sign::LookupEnded(lookup)) => cure.shown_by_lookup(lookup),
            (Cure::NormalLatency(server, waiting), Sign::NormalLatency(scope))
                if *server == ends.peer.ip && waiting == scope =>
            {
                Some(Resolution::NormalLatency(*server))
            }
            (Cure::FewWasted(waiting), Sign::FewWasted(workload)) if waiting == workload => {
                Some(Resolution::FewWasted(waiting.clone()))
            }
            (Cure::Connects(ip, port), Sign::Connected(handshake))
                if *ip == ends.peer.ip && port.is_none_or(|port| Some(port) == ends.peer.port) =>
            {
                Some(Resolution::Connected(*ip, ends.peer.port, *handshake))
            }
            (Cure::Carries(ip, port), Sign::Carried)
                if *ip == ends.peer.ip && Some(*port) == ends.peer.port =>
            {
                Some(Resolution::Carried(*ip, *port))
            }
            (Cure::Replies(ip), Sign::Replied(echo)) if *ip == ends.peer.ip => {
                Some(Resolution::Replied {
                    ip: *ip,
                    received: echo.received,
                    sent: echo.sent,
                })
            }
            _ => None,
        }
    }

    /// Whether a lookup shows what the cure waits for.
    fn shown_by_lookup(&self, lookup: &LookupEvidence<'_>) -> Option<Resolution> {
        let answers = || lookup.taken.iter().filter(|one| is_answered(one));
        match self {
            Cure::Found(name) if lookup.event.outcome == Outcome::Answered => {
                let as_asked = || lookup.event.asked.as_deref().map(DnsName::new);
                let mut steps = lookup.event.steps.iter();
                let step = steps.find(|step| step.outcome == Some(Outcome::Answered))?;
                (step.name == *name || as_asked().as_ref() == Some(name))
                    .then(|| Resolution::Found(step.name.clone(), step.data.first().cloned()))
            }
            Cure::FoundBySearch(asked)
                if lookup.event.outcome == Outcome::Answered
                    && lookup.event.asked.as_ref() == Some(asked) =>
            {
                let mut steps = lookup.event.steps.iter();
                let step = steps.find(|step| step.outcome == Some(Outcome::Answered))?;
                let data = step.data.first().cloned();
                Some(Resolution::Found(step.name.clone(), data))
            }
            Cure::Answers(server) => answers()
                .find(|one| one.flow.peer.ip() == *server)
                .map(|one| Resolution::Answers(*server, one.latency)),
            Cure::AnswersPromptly(server) => {
                let lost = lookup
                    .event
                    .steps
                    .iter()
                    .flat_map(|step| &step.sent)
                    .any(|query| query.server == *server && query.outcome.is_none());
                let mut answers = answers().filter(|one| one.flow.peer.ip() == *server);
                let answer = answers.next()?;
                (!lost).then_some(Resolution::Answers(*server, answer.latency))
            }
            Cure::Understands(server) => answers()
                .filter(|one| one.flow.peer.ip() == *server)
                .find(|one| !matches!(one.outcome, Outcome::Formerr | Outcome::Other))
                .and_then(|one| Some(Resolution::AnswersFor(*server, asked_name(one)?.clone()))),
            Cure::Resolves(server, domain) => {
                let inside = |name: &DnsName| {
                    domain.as_str() == "." || name == domain || name.below(domain).is_some()
                };
                let good = |outcome| !matches!(outcome, Outcome::Servfail | Outcome::Refused);
                answers()
                    .filter(|one| one.flow.peer.ip() == *server && good(one.outcome))
                    .filter_map(|one| asked_name(one))
                    .find(|name| inside(name))
                    .map(|name| Resolution::AnswersFor(*server, name.clone()))
            }
            Cure::AnswersTcp(server) => answers()
                .any(|one| one.flow.peer.ip() == *server && one.transport == Transport::Tcp)
                .then_some(Resolution::AnswersTcp(*server)),
            Cure::AnswersType(qtype, name) => lookup
                .event
                .steps
                .iter()
                .any(|step| {
                    step.qtype == *qtype
                        && step.name == *name
                        && matches!(step.outcome, Some(Outcome::Answered | Outcome::Nodata))
                })
                .then(|| Resolution::AnswersType(*qtype, name.clone())),
            _ => None,
        }
    }

    /// Whether the inventory shows what the cure waits for.
    pub fn shown_by_inventory(&self, index: &Index) -> Option<Resolution> {
        let Cure::Ready(namespace, name) = self else {
            return None;
        };
        let endpoints = index.endpoints(namespace, name);
        let ready = endpoints.iter().filter(|endpoint| endpoint.ready).count();
        let service = ObjectName {
            namespace: Arc::clone(namespace),
            name: Arc::clone(name),
        };
        (ready > 0).then_some(Resolution::Ready(service, ready))
    }
}
