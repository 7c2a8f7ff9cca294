//! What a rule says, and what would show that its cause is gone.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::identity::Index;
use crate::model::dns::{DnsName, RecordType};
use crate::model::echo::Echo;
use crate::model::event::Ends;
use crate::model::exchange::{Exchange, Outcome, Transport};
use crate::model::finding::Severity;
use crate::model::lookup::Lookup;
use crate::model::units::duration;

/// What a rule says about a case.
#[derive(Debug)]
pub(super) struct Claim {
    /// What tells this cause from others of the same rule and pod.
    pub cause: String,
    /// Whose it is, where that is not one pod.
    pub by: Option<String>,
    /// Another severity than the rule's own.
    pub severity: Option<Severity>,
    /// So bad is what happened once. It is as bad as the rule says only if it happens again.
    pub once: Option<Severity>,
    /// What failed, in one sentence.
    pub summary: String,
    /// Why: sentences, each a line.
    pub why: Vec<String>,
    /// What to do: a line each, ready to be copied.
    pub remedies: Vec<String>,
    /// What it rests on.
    pub evidence: Vec<String>,
    /// What would show that the cause is gone; any one of them does.
    pub cures: Vec<Cure>,
    /// So long it is not told: what cures it may be on its way.
    pub patience: Duration,
}

impl Claim {
    /// With nothing but what failed.
    pub fn new(cause: impl Into<String>, summary: impl Into<String>) -> Claim {
        Claim {
            cause: cause.into(),
            by: None,
            severity: None,
            once: None,
            summary: summary.into(),
            why: Vec::new(),
            remedies: Vec::new(),
            evidence: Vec::new(),
            cures: Vec::new(),
            patience: Duration::ZERO,
        }
    }

    /// Of a workload, not of one pod.
    pub fn by(mut self, workload: String) -> Claim {
        self.by = Some(workload);
        self
    }

    /// Of that severity, not the rule's.
    pub fn of_severity(mut self, severity: Severity) -> Claim {
        self.severity = Some(severity);
        self
    }

    /// Of that severity as long as it happened only once.
    pub fn once(mut self, severity: Severity) -> Claim {
        self.once = Some(severity);
        self
    }

    /// Not told before so long.
    pub fn patience(mut self, patience: Duration) -> Claim {
        self.patience = patience;
        self
    }

    /// Adds a sentence to why.
    pub fn why(mut self, sentence: impl Into<String>) -> Claim {
        self.why.push(sentence.into());
        self
    }

    /// Adds something to do.
    pub fn remedy(mut self, line: impl Into<String>) -> Claim {
        self.remedies.push(line.into());
        self
    }

    /// Adds lines of evidence.
    pub fn evidence(mut self, lines: impl IntoIterator<Item = String>) -> Claim {
        self.evidence.extend(lines);
        self
    }

    /// Adds what would show that the cause is gone.
    pub fn cure(mut self, cure: Cure) -> Claim {
        self.cures.push(cure);
        self
    }

    /// Adds several of that.
    pub fn cures(mut self, cures: impl IntoIterator<Item = Cure>) -> Claim {
        self.cures.extend(cures);
        self
    }
}

/// What would show that a cause is gone.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cure {
    /// The pod finds this name.
    Found(DnsName),
    /// This server answers the pod, whatever it says.
    Answers(IpAddr),
    /// The pod connects to this address, and this port if one is given.
    Connects(IpAddr, Option<u16>),
    /// A ping of the pod to this address is answered.
    Replies(IpAddr),
    /// This Service has a ready endpoint.
    Ready(Arc<str>, Arc<str>),
    /// This server answers the pod for a name of that domain, and does not say that it failed or refuses.
    Resolves(IpAddr, DnsName),
    /// This server answers the pod over TCP.
    AnswersTcp(IpAddr),
    /// This name's AAAA is answered, be it with nothing.
    HasAaaa(DnsName),
    /// This server answers at its usual pace again, for names of the cluster or others.
    Fast(IpAddr, bool),
    /// This workload does not waste queries any more.
    Thrifty(String),
}

/// Something that worked.
#[derive(Debug)]
pub(super) enum Sign<'a> {
    /// A lookup ended.
    Found(&'a Lookup),
    /// A DNS server answered.
    Answered(&'a Exchange),
    /// A connection was established, in so long.
    Connected(Duration),
    /// A ping was answered.
    Replied(&'a Echo),
    /// A server's answers are at their usual pace again, for names of the cluster or others.
    Fast(bool),
    /// A workload has wasted few queries for a minute.
    Thrifty(&'a str),
}

impl Cure {
    /// Whether this is what the cure waits for; then a sentence that says so.
    pub fn shown_by(&self, sign: &Sign<'_>, ends: &Ends, who: &str) -> Option<String> {
        match (self, sign) {
            (Cure::Found(name), Sign::Found(lookup)) if lookup.outcome == Outcome::Answered => {
                let as_asked = || lookup.asked.as_deref().map(DnsName::new);
                let step = lookup
                    .steps
                    .iter()
                    .find(|step| step.outcome == Some(Outcome::Answered))?;
                (step.name == *name || as_asked().as_ref() == Some(name)).then(|| {
                    let data = match step.data.first() {
                        Some(data) => format!(": {data}"),
                        None => String::new(),
                    };
                    format!("{who} finds {}{data}.", step.name)
                })
            }
            (Cure::Answers(server), Sign::Answered(exchange)) if *server == ends.peer.ip => {
                let latency = exchange
                    .latency
                    .map(|latency| format!(" in {}", duration(latency)));
                Some(format!(
                    "The DNS server {server} answers {who} again{}.",
                    latency.unwrap_or_default()
                ))
            }
            (Cure::Resolves(server, domain), Sign::Answered(exchange))
                if *server == ends.peer.ip
                    && !matches!(exchange.outcome, Outcome::Servfail | Outcome::Refused) =>
            {
                let name = &exchange.question.as_ref()?.name;
                let inside =
                    domain.as_str() == "." || name == domain || name.below(domain).is_some();
                inside.then(|| format!("The DNS server {server} answers {who} for {name} again."))
            }
            (Cure::AnswersTcp(server), Sign::Answered(exchange))
                if *server == ends.peer.ip && exchange.transport == Transport::Tcp =>
            {
                Some(format!("The DNS server {server} answers {who} over TCP."))
            }
            (Cure::HasAaaa(name), Sign::Answered(exchange))
                if matches!(exchange.outcome, Outcome::Answered | Outcome::Nodata) =>
            {
                let question = exchange.question.as_ref()?;
                (question.qtype == RecordType::AAAA && question.name == *name)
                    .then(|| format!("AAAA of {name} is answered."))
            }
            (Cure::Fast(server, of_cluster), Sign::Fast(fast))
                if *server == ends.peer.ip && of_cluster == fast =>
            {
                Some(format!(
                    "The DNS server {server} answers {who} at its usual pace again."
                ))
            }
            (Cure::Thrifty(workload), Sign::Thrifty(thrifty)) if workload == thrifty => Some(
                format!("{workload} sent few queries to names that do not exist for a minute."),
            ),
            (Cure::Connects(ip, port), Sign::Connected(handshake))
                if *ip == ends.peer.ip && port.is_none_or(|port| Some(port) == ends.peer.port) =>
            {
                let port = ends.peer.port.map(|port| format!(" port {port}"));
                Some(format!(
                    "{who} connects to {ip}{} in {}.",
                    port.unwrap_or_default(),
                    duration(*handshake)
                ))
            }
            (Cure::Replies(ip), Sign::Replied(echo)) if *ip == ends.peer.ip => Some(format!(
                "A ping of {who} to {ip} is answered: {} of {}.",
                echo.received, echo.sent
            )),
            _ => None,
        }
    }

    /// Whether the inventory shows it; then a sentence that says so.
    pub fn shown_by_inventory(&self, index: &Index) -> Option<String> {
        let Cure::Ready(namespace, name) = self else {
            return None;
        };
        let endpoints = index.endpoints(namespace, name);
        let ready = endpoints.iter().filter(|endpoint| endpoint.ready).count();
        (ready > 0).then(|| {
            format!("Service {namespace}/{name} has a ready endpoint now ({ready} in all).")
        })
    }
}
