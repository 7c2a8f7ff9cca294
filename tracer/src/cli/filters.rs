//! Which events are shown, as options of every command that shows events. What they mean for each type of event is said in
//! [`sinks::filter`](tracer_core::view::filter) and, for users, in the long help.

use clap::builder::{BoolishValueParser, PossibleValuesParser};
use clap::{Args, ValueEnum};

use super::values::{self, Moment, Span};
use tracer_core::model::dns::{RecordType, ResponseCode};
use tracer_core::model::flow::Role;
use tracer_core::model::glob::Glob;
use tracer_core::view::filter::{Detail, FilterConfig, Kind, NamePattern, PeerPattern, PodPattern};
use tracer_core::view::words;

/// Whom and what it is about.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Filters")]
pub(super) struct SubjectArgs {
    /// Only what pods of this namespace do, or what is done to a pod or Service of it
    #[arg(
        short,
        long,
        env = "TRACER_NAMESPACE",
        value_name = "GLOB",
        value_delimiter = ','
    )]
    namespace: Vec<Glob>,

    /// Only what this pod does or what is done to it: NAME, NAMESPACE/NAME or an address
    #[arg(
        short,
        long,
        env = "TRACER_POD",
        value_name = "POD",
        value_delimiter = ','
    )]
    pod: Vec<PodPattern>,

    /// Only with this other end: an address, a range like 10.1.0.0/16, or NAMESPACE/NAME of a Service or pod
    #[arg(long, env = "TRACER_PEER", value_name = "PEER", value_delimiter = ',')]
    peer: Vec<PeerPattern>,

    /// Only with this port on either side
    #[arg(long, env = "TRACER_PORT", value_name = "PORT", value_delimiter = ',',
        value_parser = clap::value_parser!(u16).range(1..))]
    port: Vec<u16>,

    /// Only lookups of names, or connections to names, that fit
    #[arg(long, env = "TRACER_NAME", value_name = "GLOB", value_delimiter = ',')]
    name: Vec<NamePattern>,
}

/// Which events are shown.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Filters")]
pub(super) struct FilterArgs {
    #[command(flatten)]
    subject: SubjectArgs,

    /// Only events of this type, and then all of them
    #[arg(
        long = "type",
        env = "TRACER_TYPE",
        value_name = "TYPE",
        value_enum,
        value_delimiter = ','
    )]
    kind: Vec<KindArg>,

    /// Only what pods do (client), or what is done to them (server)
    #[arg(long, env = "TRACER_DIRECTION", value_name = "ROLE", value_enum)]
    direction: Option<DirectionArg>,

    /// Only DNS for records of this type, as in AAAA
    #[arg(long, env = "TRACER_QTYPE", value_name = "QTYPE", value_delimiter = ',', value_parser = values::qtype)]
    qtype: Vec<RecordType>,

    /// Only DNS with this response code, as in NXDOMAIN
    #[arg(long, env = "TRACER_RCODE", value_name = "RCODE", value_delimiter = ',', value_parser = values::rcode)]
    rcode: Vec<ResponseCode>,

    /// Only what ended like this, or stands so
    #[arg(long, env = "TRACER_OUTCOME", value_name = "OUTCOME", value_delimiter = ',', hide_possible_values = true,
        value_parser = PossibleValuesParser::new(words::outcomes()))]
    outcome: Vec<String>,

    /// Only what took at least so long: until the answer, the handshake, the longest round trip of a ping
    #[arg(long, env = "TRACER_SLOW", value_name = "DURATION")]
    slow: Option<Span>,

    /// Only what failed
    #[arg(long, env = "TRACER_FAILED", value_parser = BoolishValueParser::new())]
    failed: bool,
}

/// Which part of what a source has recorded is shown.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Filters")]
pub(super) struct HistoryArgs {
    /// Of what was recorded, only what began since: so long ago (5m), a time of day (12:30), or a date and time
    #[arg(long, env = "TRACER_SINCE", value_name = "WHEN")]
    pub since: Option<Moment>,

    /// Of what was recorded, only the last N events
    #[arg(long, env = "TRACER_LAST", value_name = "N", conflicts_with = "count",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub last: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KindArg {
    Dns,
    Lookup,
    Tcp,
    Udp,
    Icmp,
    Finding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DirectionArg {
    Client,
    Server,
}

/// What the filters mean, for the long help.
pub(super) const HELP: &str = "\
What the filters mean:
  Options combine with and, several values of one (repeated, or with commas)
  with or. GLOB and names know * and ?. They choose among events, the same
  ones from every source.
  --peer     the other end, as the pod addresses it: a Service by its address,
             a pod by its own. A name without a namespace is one in any.
  --port     of the pod or of the other end; of an ICMP error also one of the
             packet that it is about. Pings have none.
  --name     dns, lookup: the name that was asked for, or one on its search
             path; finding: that of its lookup, or of the Service; others: a
             name that the pod resolved the address from. The final dot does
             not matter.
  --qtype    dns, lookup: the type that was asked for, by mnemonic or number.
  --rcode    a query's response code. A lookup fits if one of its queries
             has it, even if it succeeded in the end.
  --outcome  the event's own outcome or state. dns, lookup: answered, nodata,
             nxdomain, servfail, refused, formerr, truncated, timeout,
             icmp-error, other; tcp: opening, established, refused, timeout,
             reset, closed; udp: open, unanswered, icmp-error, closed;
             icmp: running, done, icmp-error; finding: active, resolved.
  --slow     dns: first query to answer; lookup: first query to last answer;
             tcp: first SYN to SYN-ACK; pings: the longest round trip. What
             got no answer took no time that is known: --failed has it.
  --failed   dns, lookup: nothing to work with (an empty answer for a name
             that exists is no failure); tcp: opening, refused, timeout,
             reset; udp: unanswered, icmp-error; pings with loss; ICMP
             errors; active findings of severity warning or error.
  A namespace, pod or Service that is not in the inventory is told.
  With --local the probes hand over only packets that what is chosen can rest
  on; --record wants all. Nothing else changes by it.
  Counts of packets and bytes are of all packets.";

impl SubjectArgs {
    /// A filter for that, whatever the type of event.
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
    /// The filter, with every detail; the form of the output decides how much of it is shown.
    pub(super) fn resolve(&self) -> FilterConfig {
        FilterConfig {
            kinds: self
                .kind
                .iter()
                .map(|kind| match kind {
                    KindArg::Dns => Kind::Dns,
                    KindArg::Lookup => Kind::Lookup,
                    KindArg::Tcp => Kind::Tcp,
                    KindArg::Udp => Kind::Udp,
                    KindArg::Icmp => Kind::Icmp,
                    KindArg::Finding => Kind::Finding,
                })
                .collect(),
            direction: self.direction.map(|direction| match direction {
                DirectionArg::Client => Role::Client,
                DirectionArg::Server => Role::Server,
            }),
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
