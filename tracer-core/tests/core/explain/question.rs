//! A question to inventories and events.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tracer_core::explain::{
    Coverage, Explanation, Followed, Input, Span, Subject, Target, explain, failed_attempt,
};
use tracer_core::files::inventory::parse;
use tracer_core::identity::{Index, IndexSettings};
use tracer_core::model::cluster::{ClusterChange, Inventory};
use tracer_core::model::connection::{TcpConnection, TcpState};
use tracer_core::model::event::{Body, Ends, Event};
use tracer_core::model::evidence::TcpEvidence;
use tracer_core::model::flow::{Flow, FlowTotals, Ifindex, Protocol, Role};
use tracer_core::model::identity::{Backend, PeerEnd, PodEnd, ServiceIdentity};
use tracer_core::model::path::Path as PacketPath;
use tracer_core::model::time::Timestamp;

pub const LAB: &str = include_str!("../../../../testbed/lab/inventory.yaml");
pub const FINDINGS: &str = include_str!("../../fixtures/inventory/findings.yaml");
pub const POLICIES: &str = include_str!("../../fixtures/inventory/policies.yaml");
pub const ROUTING: &str = include_str!("../../fixtures/inventory/routing.yaml");
pub const ROUTING_POLICIES: &str = include_str!("../../fixtures/inventory/routing-policies.yaml");

/// The index of several inventories together.
pub fn index(texts: &[&str]) -> Index {
    let mut all = Inventory::default();
    for text in texts {
        let one = parse(text).expect("an inventory").inventory;
        all.pods.extend(one.pods);
        all.services.extend(one.services);
        all.slices.extend(one.slices);
        all.nodes.extend(one.nodes);
        all.namespaces.extend(one.namespaces);
        all.policies.extend(one.policies);
        all.service_cidrs.extend(one.service_cidrs);
    }
    let mut index = Index::new(IndexSettings::default());
    index.apply(Timestamp(0), ClusterChange::Replace(Box::new(all)));
    index
}

/// A question to an index.
pub struct Question {
    pub index: Index,
    pub coverage: Coverage,
    pub events: Vec<Event>,
}

impl Question {
    pub fn new(texts: &[&str]) -> Question {
        Question {
            index: index(texts),
            coverage: Coverage::default(),
            events: Vec::new(),
        }
    }

    pub fn with(mut self, events: Vec<Event>) -> Question {
        self.events = events;
        self
    }

    pub fn ask(&self, pod: &str, to: Option<&str>) -> Explanation {
        self.explain(pod, to, None)
    }

    /// With a path of the latest failed attempt.
    pub fn follow(&self, pod: &str, path: &PacketPath) -> Explanation {
        self.explain(pod, None, Some(path))
    }

    fn explain(&self, pod: &str, to: Option<&str>, path: Option<&PacketPath>) -> Explanation {
        let subject = Subject::find(pod, None, &self.index, &self.coverage).expect("the pod");
        let target = to.map(|to| {
            Target::parse(to, &subject.namespace, &self.index, &self.coverage).expect("the target")
        });
        let clock =
            |at: Timestamp| jiff::Timestamp::from_nanosecond(i128::from(at.0)).unwrap_or_default();
        let mut input = Input {
            index: &self.index,
            coverage: &self.coverage,
            subject: &subject,
            target: target.as_ref(),
            events: &self.events,
            span: Some(Span::Last(Duration::from_secs(900))),
            now: Timestamp(100_000_000_000),
            clock: &clock,
            unknown: Vec::new(),
            followed: None,
        };
        let attempt = failed_attempt(&input).filter(|_| path.is_some());
        if let Some((attempt, path)) = attempt.zip(path) {
            assert_eq!(attempt.time, path.time);
            input.followed = Some(Followed { attempt, path });
        }
        explain(&input)
    }
}

pub fn ask(texts: &[&str], pod: &str, to: &str) -> Explanation {
    Question::new(texts).ask(pod, Some(to))
}

/// A flow of the pod of this name to a peer of which nothing is known.
pub fn ends(index: &Index, of: &str, (pod, peer): (SocketAddr, SocketAddr)) -> Ends {
    Ends {
        ifindex: Ifindex(3),
        role: Role::Client,
        pod: PodEnd {
            ip: pod.ip(),
            port: Some(pod.port()),
            identity: Ok(index.pods_named(of).next().expect("a pod").clone()),
            container: None,
            at_uplink: false,
            process: None,
        },
        peer: PeerEnd {
            ip: peer.ip(),
            port: Some(peer.port()),
            pod: None,
            host_pod: None,
            service: None,
            node: None,
            names: Vec::new(),
            backend: None,
        },
        peer_traced_here: false,
    }
}

/// A connection of a pod of routing.yaml to a Service's ClusterIP and the endpoint behind it.
pub fn connection(
    index: &Index,
    second: u64,
    to: &str,
    backend: Option<&str>,
    state: TcpState,
) -> Event {
    let at = Timestamp(second * 1_000_000_000);
    let peer: SocketAddr = to.parse().expect("an address");
    let pod: SocketAddr = format!("10.20.1.5:{}", 40_000 + second)
        .parse()
        .expect("an address");
    let flow = Flow {
        ifindex: Ifindex(3),
        protocol: Protocol::Tcp,
        pod,
        peer,
    };
    let mut ends = ends(index, "client", (pod, peer));
    let service = index
        .services()
        .find(|one| one.cluster_ips.contains(&peer.ip()));
    ends.peer.service = service.map(|one| {
        Arc::new(ServiceIdentity {
            namespace: one.namespace.clone(),
            name: one.name.clone(),
        })
    });
    ends.peer.backend = backend.map(|ip| {
        Arc::new(Backend {
            ip: ip.parse().expect("an address"),
            port: Some(8080),
            pod: None,
            node: None,
        })
    });
    Event {
        time: at,
        ends: Some(ends),
        incomplete: false,
        body: Body::Tcp(Box::new(TcpConnection {
            flow,
            role: Role::Client,
            state,
            handshake: (state == TcpState::Established).then_some(Duration::from_micros(400)),
            syn_retransmits: 0,
            totals: FlowTotals::default(),
            icmp: None,
            last: at,
            evidence: TcpEvidence::default(),
        })),
    }
}
