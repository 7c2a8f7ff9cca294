//! Parts of a sentence, as short as a headline needs them.

use crate::diagnose::fact::{Destination, DestinationKind, Server, ServerKind};
use crate::diagnose::wording::parts::{List, Part, Relative};
use crate::diagnose::wording::sentence;
use crate::model::sentence::Sentence;

/// Items of a list in a headline.
pub(super) const MAX_ITEMS: usize = 3;

/// A DNS server as a headline names it: by its object, or by its address.
pub(super) struct Brief<'a>(pub(super) &'a Server);

impl Part for Brief<'_> {
    fn add_to(&self, sentence: &mut Sentence) {
        let Server { kind, ip } = self.0;
        match kind {
            ServerKind::Object(object) => object.add_to(sentence),
            ServerKind::NodeCache { named: true } => sentence.push_words("NodeLocal DNSCache"),
            ServerKind::NodeCache { named: false } | ServerKind::Node(_) | ServerKind::Other => {
                ip.add_to(sentence);
            }
        }
    }
}

/// The first items of a list.
pub(super) struct Few<'a, T>(pub(super) &'a [T]);

impl<T: Part> Part for Few<'_, T> {
    fn add_to(&self, sentence: &mut Sentence) {
        let shown = &self.0[..self.0.len().min(MAX_ITEMS)];
        let more = self.0.len() - shown.len();
        if more == 0 {
            return List(shown).add_to(sentence);
        }
        for item in shown {
            item.add_to(sentence);
            sentence.push_words(", ");
        }
        sentence.push_words(format!("{more} more"));
    }
}

/// `Service shop/api:8080`.
pub(super) struct Short<'a>(pub(super) &'a Destination);

impl Part for Short<'_> {
    fn add_to(&self, sentence: &mut Sentence) {
        let Destination { kind, ip, port } = self.0;
        match kind {
            DestinationKind::Service(service) => sentence!("Service {}:{}", service, port),
            DestinationKind::NodePort(service, node) => {
                sentence!("node port {}:{} of Service {}", node, port, service)
            }
            DestinationKind::Pod(pod) => sentence!("pod {}:{}", pod, port),
            DestinationKind::Node(node) => sentence!("node {}:{}", node, port),
            DestinationKind::Name(name) => sentence!("{}:{}", Relative(name), port),
            DestinationKind::Unknown => sentence!("{}", std::net::SocketAddr::new(*ip, *port)),
        }
        .add_to(sentence);
    }
}
