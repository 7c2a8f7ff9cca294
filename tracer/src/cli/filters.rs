//! Which events are shown, as options of every command that shows events. [`tracer_core::view::filter`]
//! defines their meaning for each type of event; the long help explains it to users.

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::values::{self, Moment, Span, choice};
use tracer_core::model::dns::{RecordType, ResponseCode};
use tracer_core::model::flow::Role;
use tracer_core::model::glob::Glob;
use tracer_core::view::filter::{
    Detail, EventType, FilterConfig, NamePattern, PeerPattern, PodPattern,
};
use tracer_core::view::words;

/// Which pods and destinations events are about.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Filters")]
pub(super) struct SubjectArgs {
    /// Only traffic from, or to, pods and Services in this namespace
    #[arg(short, long, value_name = "GLOB", value_delimiter = ',')]
    namespace: Vec<Glob>,

    /// Only traffic from or to this pod: NAME, NAMESPACE/NAME or an address
    #[arg(short, long, value_name = "POD", value_delimiter = ',')]
    pod: Vec<PodPattern>,

    /// Only traffic with this peer: an address, a range such as 10.1.0.0/16, or NAMESPACE/NAME of a Service
    /// or pod
    #[arg(long, value_name = "PEER", value_delimiter = ',')]
    peer: Vec<PeerPattern>,

    /// Only traffic with this port at either end
    #[arg(long, value_name = "PORT", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    port: Vec<u16>,

    /// Only lookups of matching names, and traffic to addresses that a matching name resolved to
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    name: Vec<NamePattern>,
}

/// Which events are shown.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Filters")]
pub(super) struct FilterArgs {
    #[command(flatten)]
    subject: SubjectArgs,

    /// Only events of this type, including those that text output hides by default
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = choice(EventType::ALL.map(|event| (event.as_str(), event))))]
    kind: Vec<EventType>,

    /// Only events where the pod is the client, or the server
    #[arg(long, value_name = "ROLE", value_parser = choice(words::DIRECTIONS.map(|role| (words::direction(role), role))))]
    direction: Option<Role>,

    /// Only DNS queries for this record type, such as AAAA
    #[arg(long, value_name = "QTYPE", value_delimiter = ',', value_parser = values::qtype)]
    qtype: Vec<RecordType>,

    /// Only DNS answers with this response code, such as NXDOMAIN
    #[arg(long, value_name = "RCODE", value_delimiter = ',', value_parser = values::rcode)]
    rcode: Vec<ResponseCode>,

    /// Only events with this outcome or state
    #[arg(long, value_name = "OUTCOME", value_delimiter = ',', hide_possible_values = true,
        value_parser = PossibleValuesParser::new(words::outcomes()))]
    outcome: Vec<String>,

    /// Only events that took at least this long: time to the answer, TCP handshake, or a ping's longest round
    /// trip
    #[arg(long, value_name = "DURATION")]
    slow: Option<Span>,

    /// Only failures
    #[arg(long)]
    failed: bool,
}

/// Which part of the history is shown.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Filters")]
pub(super) struct HistoryArgs {
    /// Only past events since then: a duration ago (5m), a time of day (12:30), or a date and time
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Moment>,

    /// Only the last N past events
    #[arg(long, value_name = "N", conflicts_with = "count",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub last: Option<u32>,
}

/// What the filters mean, for the long help.
pub(super) const HELP: &str = "\
What the filters mean:
  An event is shown if it matches all filters. A filter with several values
  (repeated, or separated by commas) matches any of them. In GLOB and in names
  * and ? are wildcards. The filters work alike on every source.
  --peer     the other end as the pod addresses it: a Service by its address,
             a pod by its own. A name without a namespace matches in any.
  --port     a port of the pod or of the peer; for an ICMP error also one of
             the packet that it quotes. Pings have none.
  --name     dns, lookup: the requested name, or one on its search path;
             finding: the name of its lookup or Service; others: a name that
             the pod resolved to the peer's address. The final dot is
             optional.
  --qtype    dns, lookup: the requested record type, a mnemonic or a number.
  --rcode    the response code of a query. A lookup matches if one of its
             queries does, even if the lookup succeeded.
  --outcome  the event's outcome or state. dns, lookup: answered, nodata,
             nxdomain, servfail, refused, formerr, truncated, timeout,
             icmp-error, other; tcp: opening, established, refused, timeout,
             reset, closed, idle, undecided; udp: open, unanswered, icmp-error,
             closed, undecided; icmp: running, done, icmp-error;
             finding: active, resolved.
  --slow     dns: first query to answer; lookup: first query to last answer;
             tcp: first SYN to SYN-ACK; pings: the longest round trip. Events
             without an answer have no duration: use --failed for those.
  --failed   dns, lookup: no usable answer (an empty answer for an existing
             name is no failure); tcp: opening, refused, timeout, reset;
             udp: unanswered, icmp-error; pings with loss; ICMP errors;
             active findings of severity warning or error.
  Warns about a namespace, pod or Service missing from the inventory.
  With --local, the probes emit only packets that the filter can need;
  --record disables this. The output is the same either way.
  Packet and byte counts always include all packets.";

impl SubjectArgs {
    /// The filter for these, for every type of event.
    pub(super) fn resolve(&self) -> FilterConfig {
        FilterConfig {
            namespaces: self.namespace.clone(),
            pods: self.pod.clone(),
            peers: self.peer.clone(),
            ports: self.port.clone(),
            names: self.name.clone(),
            ..FilterConfig::default()
        }
    }
}

impl FilterArgs {
    /// The filter, in full detail; the output's format decides how much of it is shown.
    pub(super) fn resolve(&self) -> FilterConfig {
        FilterConfig {
            types: self.kind.clone(),
            direction: self.direction,
            qtypes: self.qtype.clone(),
            rcodes: self.rcode.clone(),
            outcomes: self.outcome.clone(),
            slow: self.slow.map(|span| span.0),
            failed: self.failed,
            detail: Detail::default(),
            ..self.subject.resolve()
        }
    }
}
