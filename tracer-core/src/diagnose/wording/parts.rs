//! Parts of sentences.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::diagnose::fact::{
    Destination, DestinationKind, EndpointPlace, Figures, ObjectName, PortName, Selector, Server,
    ServerKind, Who,
};
use crate::diagnose::route::Access;
use crate::model::dns::{DnsName, RecordType, ResponseCode, rcode_mnemonic, type_mnemonic};
use crate::model::exchange::Outcome;
use crate::model::observation::IcmpError;
use crate::model::sentence::{Sentence, Span};
use crate::model::units::{count, duration};

/// At most this many items of a list are written out.
const MAX_LISTED: usize = 8;

/// Something that can be a part of a sentence.
pub(super) trait Part {
    /// Appends it.
    fn add_to(&self, sentence: &mut Sentence);
}

/// The template with a part in place of each `{}`.
pub(super) fn fill(template: &'static str, parts: &[&dyn Part]) -> Sentence {
    let mut sentence = Sentence::default();
    let mut words = template.split("{}");
    sentence.push_words(words.next().unwrap_or_default());
    for (part, words) in parts.iter().zip(words) {
        part.add_to(&mut sentence);
        sentence.push_words(words);
    }
    sentence
}

/// The number of `{}` in a template.
pub(super) const fn holes(template: &str) -> usize {
    let bytes = template.as_bytes();
    let (mut holes, mut at) = (0, 1);
    while at < bytes.len() {
        if bytes[at - 1] == b'{' && bytes[at] == b'}' {
            holes += 1;
        }
        at += 1;
    }
    holes
}

/// A name, or a part of one, as an application asks for it.
pub(super) struct Asked<'a>(pub &'a str);

/// Text from outside that can hold names anywhere.
pub(super) struct Opaque<'a>(pub &'a str);

/// Text that holds no name of the wire: made of numbers, addresses and names of nodes and workloads.
pub(super) struct Plain(pub String);

/// A number with its noun: `1 query`, `2 queries`.
pub(super) struct Count(pub u64, pub &'static str);

/// `a, b and c`.
pub(super) struct List<'a, T>(pub &'a [T]);

/// A name without its trailing dot.
pub(super) struct Relative<'a>(pub &'a DnsName);

/// A word of a shell command, quoted if it has to be.
pub(super) struct ShellWord<'a>(pub &'a str);

/// `1st`, `2nd`, `3rd`, `11th`.
pub(super) struct Ordinal(pub usize);

impl Part for &'static str {
    fn add_to(&self, sentence: &mut Sentence) {
        sentence.push_words(*self);
    }
}

impl Part for Sentence {
    fn add_to(&self, sentence: &mut Sentence) {
        sentence.append(self.clone());
    }
}

impl<T: Part> Part for Option<T> {
    fn add_to(&self, sentence: &mut Sentence) {
        if let Some(part) = self {
            part.add_to(sentence);
        }
    }
}

impl<T: Part> Part for &T {
    fn add_to(&self, sentence: &mut Sentence) {
        (*self).add_to(sentence);
    }
}

macro_rules! part_by_display {
    ($($shown:ty),+ $(,)?) => {
        $(impl Part for $shown {
            fn add_to(&self, sentence: &mut Sentence) {
                sentence.push_words(self.to_string());
            }
        })+
    };
}

part_by_display!(u8, u16, u32, u64, usize, IpAddr, SocketAddr, ipnet::IpNet);

impl Part for DnsName {
    fn add_to(&self, sentence: &mut Sentence) {
        sentence.push(Span::Name(self.clone()));
    }
}

impl Part for Asked<'_> {
    fn add_to(&self, sentence: &mut Sentence) {
        sentence.push(Span::Asked(self.0.to_owned()));
    }
}

impl Part for Opaque<'_> {
    fn add_to(&self, sentence: &mut Sentence) {
        sentence.push(Span::Opaque(self.0.to_owned()));
    }
}

impl Part for Plain {
    fn add_to(&self, sentence: &mut Sentence) {
        sentence.push_words(self.0.clone());
    }
}

impl Part for Relative<'_> {
    fn add_to(&self, sentence: &mut Sentence) {
        Asked(self.0.relative()).add_to(sentence);
    }
}

/// The name of a node, a namespace or a hostname.
impl Part for Arc<str> {
    fn add_to(&self, sentence: &mut Sentence) {
        sentence.push_words(self.to_string());
    }
}

impl Part for ShellWord<'_> {
    fn add_to(&self, sentence: &mut Sentence) {
        match shlex::try_quote(self.0) {
            Ok(quoted) if quoted == self.0 => Asked(self.0).add_to(sentence),
            Ok(quoted) => Opaque(&quoted).add_to(sentence),
            // A name in presentation format has no NUL.
            Err(_) => {}
        }
    }
}

impl Part for Count {
    fn add_to(&self, sentence: &mut Sentence) {
        sentence.push_words(count(self.0, self.1));
    }
}

impl Part for Duration {
    fn add_to(&self, sentence: &mut Sentence) {
        sentence.push_words(duration(*self));
    }
}

impl Part for RecordType {
    fn add_to(&self, sentence: &mut Sentence) {
        sentence.push_words(type_mnemonic(*self).to_string());
    }
}

impl Part for ResponseCode {
    fn add_to(&self, sentence: &mut Sentence) {
        sentence.push_words(rcode_mnemonic(*self).to_string());
    }
}

impl Part for Ordinal {
    fn add_to(&self, sentence: &mut Sentence) {
        let number = self.0;
        let ending = match (number % 100, number % 10) {
            (11..=13, _) => "th",
            (_, 1) => "st",
            (_, 2) => "nd",
            (_, 3) => "rd",
            _ => "th",
        };
        number.add_to(sentence);
        sentence.push_words(ending);
    }
}

impl<T: Part> Part for List<'_, T> {
    fn add_to(&self, sentence: &mut Sentence) {
        let shown = &self.0[..self.0.len().min(MAX_LISTED)];
        let more = self.0.len() - shown.len();
        for (number, item) in shown.iter().enumerate() {
            if number > 0 {
                let last = number + 1 == shown.len() && more == 0;
                sentence.push_words(if last { " and " } else { ", " });
            }
            item.add_to(sentence);
        }
        if more > 0 {
            sentence.push_words(format!(" and {more} more"));
        }
    }
}

/// `a, b and c`, of plain words.
pub(in crate::diagnose) fn list<T: ToString>(items: &[T]) -> String {
    let items: Vec<Plain> = items.iter().map(|item| Plain(item.to_string())).collect();
    let mut sentence = Sentence::default();
    List(&items).add_to(&mut sentence);
    sentence.to_string()
}

/// A Service's name is a part of the DNS names that lead to it.
impl Part for ObjectName {
    fn add_to(&self, sentence: &mut Sentence) {
        sentence.push_words(format!("{}/", self.namespace));
        Asked(&self.name).add_to(sentence);
    }
}

impl Part for Who {
    fn add_to(&self, sentence: &mut Sentence) {
        match self {
            Who::Pod(pod) => pod.add_to(sentence),
            Who::Address(ip) => ip.add_to(sentence),
        }
    }
}

impl Part for PortName {
    fn add_to(&self, sentence: &mut Sentence) {
        sentence.push_words(format!("{}/{}", self.port, self.protocol));
    }
}

/// What an address of a Service is.
pub(super) fn address(access: Access) -> &'static str {
    match access {
        Access::ClusterIp => "ClusterIP",
        Access::Balancer => "LoadBalancer address",
        Access::External => "external address",
        Access::NodePort => "node address",
    }
}

/// The ports of a Service: `90/TCP and 53/UDP`.
pub(super) struct Ports<'a>(pub &'a [PortName]);

impl Part for Ports<'_> {
    fn add_to(&self, sentence: &mut Sentence) {
        if self.0.is_empty() {
            sentence.push_words("no port");
        } else {
            List(self.0).add_to(sentence);
        }
    }
}

/// `app=web,tier=front`.
impl Part for Selector {
    fn add_to(&self, sentence: &mut Sentence) {
        let pairs: Vec<String> = self
            .0
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        sentence.push_words(pairs.join(","));
    }
}

/// The pod and the node of an endpoint: `myns/apache-ds-myns-5tjrr on k8s-worker01`.
pub(super) fn place(endpoint: &EndpointPlace) -> Option<Sentence> {
    let mut sentence = Sentence::default();
    match (&endpoint.pod, &endpoint.node) {
        (Some(pod), Some(node)) => {
            pod.add_to(&mut sentence);
            sentence.push_words(format!(" on {node}"));
        }
        (Some(pod), None) => pod.add_to(&mut sentence),
        (None, Some(node)) => sentence.push_words(format!("on {node}")),
        (None, None) => return None,
    }
    Some(sentence)
}

/// `10.1.79.66 (myns/apache-ds-myns-5tjrr on k8s-worker01)`.
impl Part for EndpointPlace {
    fn add_to(&self, sentence: &mut Sentence) {
        self.ip.add_to(sentence);
        if let Some(place) = place(self) {
            sentence.push_words(" (");
            sentence.append(place);
            sentence.push_words(")");
        }
    }
}

/// `kube-system/kube-dns (10.152.183.10)`.
impl Part for Server {
    fn add_to(&self, sentence: &mut Sentence) {
        match &self.kind {
            ServerKind::Object(object) => object.add_to(sentence),
            ServerKind::NodeCache { named: true } => sentence.push_words("NodeLocal DNSCache"),
            ServerKind::NodeCache { named: false } => sentence.push_words("node-local cache"),
            ServerKind::Node(node) => sentence.push_words(format!("on node {node}")),
            ServerKind::Other => return self.ip.add_to(sentence),
        }
        sentence.push_words(format!(" ({})", self.ip));
    }
}

/// `Service myns/web (10.152.183.115 port 90)`.
impl Part for Destination {
    fn add_to(&self, sentence: &mut Sentence) {
        let address = format!("{} port {}", self.ip, self.port);
        match &self.kind {
            DestinationKind::Service(service) => {
                sentence.push_words("Service ");
                service.add_to(sentence);
            }
            DestinationKind::NodePort(service, node) => {
                sentence.push_words("a node port of Service ");
                service.add_to(sentence);
                sentence.push_words(format!(" at node {node}"));
            }
            DestinationKind::Pod(pod) => {
                sentence.push_words("pod ");
                pod.add_to(sentence);
            }
            DestinationKind::Node(node) => sentence.push_words(format!("node {node}")),
            DestinationKind::Name(name) => Relative(name).add_to(sentence),
            DestinationKind::Unknown => return sentence.push_words(address),
        }
        sentence.push_words(format!(" ({address})"));
    }
}

/// `4 queries, 3.1 ms`.
impl Part for Figures {
    fn add_to(&self, sentence: &mut Sentence) {
        Count(self.queries, "query").add_to(sentence);
        if let Some(time) = self.duration {
            sentence.push_words(format!(", {}", duration(time)));
        }
    }
}

/// `ICMP port unreachable from 10.0.0.1`.
impl Part for IcmpError {
    fn add_to(&self, sentence: &mut Sentence) {
        let from = self.from.ip();
        let meaning = match (self.v6, self.icmp_type, self.icmp_code) {
            (false, 3, 0) => "network unreachable",
            (false, 3, 1) | (true, 1, 3) => "host unreachable",
            (false, 3, 2) => "protocol unreachable",
            (false, 3, 3) | (true, 1, 4) => "port unreachable",
            (false, 3, 4) => "fragmentation needed",
            (false, 3, 9 | 10 | 13) | (true, 1, 1) => "administratively prohibited",
            (true, 1, 0) => "no route",
            (true, 1, 5 | 6) => "rejected by policy or route",
            (true, 2, _) => "packet too big",
            (false, 11, _) | (true, 3, _) => "time exceeded",
            (_, icmp_type, code) => {
                return sentence
                    .push_words(format!("ICMP type {icmp_type} code {code} from {from}"));
            }
        };
        sentence.push_words(format!("ICMP {meaning} from {from}"));
    }
}

/// The outcome of an exchange.
impl Part for Outcome {
    fn add_to(&self, sentence: &mut Sentence) {
        sentence.push_words(match self {
            Outcome::Answered => "answered",
            Outcome::Nodata => "NOERROR without such a record",
            Outcome::Nxdomain => "NXDOMAIN",
            Outcome::Servfail => "SERVFAIL",
            Outcome::Refused => "REFUSED",
            Outcome::Formerr => "FORMERR",
            Outcome::Truncated => "truncated",
            Outcome::Timeout => "no answer",
            Outcome::Undecided => "no answer yet",
            Outcome::IcmpError => "ICMP error",
            Outcome::Other => "another response code",
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::sentence;
    use super::{Ordinal, ShellWord, list};
    use crate::model::sentence::Span;

    #[test]
    fn a_list_reads_as_a_sentence_and_ends_in_a_number() {
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b"]), "a and b");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        let many: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        assert_eq!(list(&many), "0, 1, 2, 3, 4, 5, 6, 7 and 2 more");
        assert_eq!(list::<&str>(&[]), "");
    }

    #[test]
    fn ordinals_have_the_ending_of_their_last_word() {
        let spoken = [1, 2, 3, 4, 11, 12, 13, 21, 103, 112]
            .map(|number| sentence!("{}", Ordinal(number)).to_string());
        let expected = "1st 2nd 3rd 4th 11th 12th 13th 21st 103rd 112th";
        assert_eq!(spoken.join(" "), expected);
    }

    #[test]
    fn a_name_from_the_wire_is_one_word_of_a_shell_command() {
        let quoted = |name| sentence!("{}", ShellWord(name));
        assert_eq!(
            quoted("web.prod").spans(),
            [Span::Asked("web.prod".to_owned())]
        );
        assert_eq!(
            quoted("$(reboot).example").to_string(),
            "'$(reboot).example'"
        );
        assert_eq!(quoted("it's").to_string(), "\"it's\"");
        assert_eq!(quoted("a|b").to_string(), "'a|b'");
    }
}
