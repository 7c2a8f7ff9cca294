//! Which events are shown, as options of every command that shows events. [`tracer_core::view::filter`]
//! defines their meaning for each type of event; the long help explains it to users.

use anyhow::bail;
use clap::Args;

use super::suggest;
use super::values::{self, Moment, OutcomeParser, Span, choice};
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

    /// Only traffic of this container of the pod, where it is known
    #[arg(short, long, value_name = "GLOB", value_delimiter = ',')]
    container: Vec<Glob>,

    /// Only traffic of processes with this name, such as curl, where it is known
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    comm: Vec<Glob>,

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
        value_parser = OutcomeParser)]
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

    /// All past events that agents have kept, instead of the last 20
    #[arg(long, conflicts_with_all = ["last", "since"])]
    pub all: bool,
}

/// Past events that agents send if nothing else is asked for, as `hubble observe` does.
const USUAL_LAST: usize = 20;

impl HistoryArgs {
    /// Whether past events are selected.
    pub(super) fn is_given(&self) -> bool {
        self.since.is_some() || self.last.is_some() || self.all
    }

    /// How many past events to show, the latest ones; `None` for all. `usual` if the options select none.
    pub(super) fn last(&self, usual: bool) -> Option<usize> {
        let last = self.last.map(|last| last as usize);
        last.or_else(|| (usual && !self.is_given()).then_some(USUAL_LAST))
    }
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
             icmp-error, other, undecided; tcp: opening, established, refused, timeout,
             reset, closed, idle, undecided; udp: open, unanswered, icmp-error,
             closed, undecided; icmp: running, done, icmp-error;
             finding: active, intermittent, resolved.
  --slow     dns: first query to answer; lookup: first query to last answer;
             tcp: first SYN to SYN-ACK; pings: the longest round trip. Events
             without an answer have no duration: use --failed for those.
  --failed   dns, lookup: no usable answer (an empty answer for an existing
             name is no failure); tcp: opening, refused, timeout, reset;
             udp: unanswered, icmp-error; pings with loss; ICMP errors;
             findings of severity warning or error that are not resolved.
  Warns about a namespace, pod or Service missing from the inventory, and
  names the one that may be meant. Filters that exclude each other, as in
  --type tcp --rcode NXDOMAIN, are an error.
  With --local, the probes emit only packets that the filter can need;
  --record disables this. The output is the same either way.
  Packet and byte counts always include all packets.";

impl SubjectArgs {
    /// The filter for these, for every type of event.
    pub(super) fn resolve(&self) -> FilterConfig {
        FilterConfig {
            namespaces: self.namespace.clone(),
            pods: self.pod.clone(),
            containers: self.container.clone(),
            comms: self.comm.clone(),
            peers: self.peer.clone(),
            ports: self.port.clone(),
            names: self.name.clone(),
            ..FilterConfig::default()
        }
    }
}

impl FilterArgs {
    /// The filter, in full detail; the output's format decides how much of it is shown.
    pub(super) fn resolve(&self) -> anyhow::Result<FilterConfig> {
        self.check()?;
        Ok(FilterConfig {
            types: self.kind.clone(),
            direction: self.direction,
            qtypes: self.qtype.clone(),
            rcodes: self.rcode.clone(),
            outcomes: self.outcome.clone(),
            slow: self.slow.map(|span| span.0),
            failed: self.failed,
            detail: Detail::default(),
            ..self.subject.resolve()
        })
    }

    /// Rejects values that no event of the selected types has.
    fn check(&self) -> anyhow::Result<()> {
        let mut types: Vec<EventType> = match self.kind.as_slice() {
            [] => EventType::ALL.to_vec(),
            kind => kind.to_vec(),
        };
        let dns = [EventType::Dns, EventType::Lookup];
        let timed = [
            EventType::Dns,
            EventType::Lookup,
            EventType::Tcp,
            EventType::Icmp,
        ];
        for (option, given, apply_to) in [
            ("--rcode", !self.rcode.is_empty(), dns.as_slice()),
            ("--qtype", !self.qtype.is_empty(), dns.as_slice()),
            ("--slow", self.slow.is_some(), timed.as_slice()),
        ] {
            if !given {
                continue;
            }
            types.retain(|event| apply_to.contains(event));
            if types.is_empty() {
                bail!(
                    "--type {} and {option} exclude each other: only {} events have that",
                    list(&self.kind, ","),
                    list(apply_to, ", ")
                );
            }
        }
        let kinds: Vec<&str> = types.iter().map(|event| event.as_str()).collect();
        let possible = words::outcomes_of(&kinds);
        for outcome in &self.outcome {
            if !possible.contains(&outcome.as_str()) {
                bail!("{}", no_such_outcome(outcome, &types, &possible));
            }
        }
        Ok(())
    }
}

fn list(types: &[EventType], separator: &str) -> String {
    let words: Vec<&str> = types.iter().map(|event| event.as_str()).collect();
    words.join(separator)
}

fn no_such_outcome(outcome: &str, types: &[EventType], possible: &[&'static str]) -> String {
    let meant = suggest::did_you_mean(outcome, possible.iter().copied());
    let meant = meant.map_or(";".to_owned(), |meant| format!(": did you mean {meant}?"));
    let reason = match words::outcomes().contains(&outcome) {
        true => format!("{outcome} is no outcome of {} events", list(types, " or ")),
        false => format!("{outcome} is no outcome or state"),
    };
    let scope = match types.len() == EventType::ALL.len() {
        // `--help` sorts them by type.
        true => "see --help for those of each type".to_owned(),
        false => format!(
            "{} events have {}",
            list(types, " and "),
            possible.join(", ")
        ),
    };
    format!("invalid value for --outcome: {reason}{meant} {scope}")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::FilterArgs;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        filters: FilterArgs,
    }

    /// The error of these options, in a line.
    fn error(args: &str) -> String {
        let parsed = Cli::try_parse_from(["tracer"].into_iter().chain(args.split(' ')));
        match parsed {
            Ok(cli) => match cli.filters.resolve() {
                Ok(_) => "none".to_owned(),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn values_that_no_event_has_are_errors_that_offer_another() {
        for (args, expected) in [
            ("--outcome nxdoman", "did you mean nxdomain?"),
            (
                "--type tcp --outcome refusd",
                "did you mean refused? tcp events have",
            ),
            (
                "--type tcp --outcome refusd",
                "opening, established, refused, timeout, reset, closed, idle, undecided",
            ),
            (
                "--type tcp --outcome nxdomain",
                "nxdomain is no outcome of tcp events",
            ),
            (
                "--type tcp --rcode NXDOMAIN",
                "--type tcp and --rcode exclude each other: only dns, lookup events",
            ),
            (
                "--type udp --slow 1s",
                "--type udp and --slow exclude each other",
            ),
            ("--rcode NXDOMIAN", "did you mean NXDOMAIN?"),
            ("--qtype AAA", "did you mean AAAA"),
            ("--type looukp", "lookup"),
            ("--type dns,tcp --rcode NXDOMAIN", "none"),
            ("--type tcp --outcome refused,timeout", "none"),
            ("--outcome undecided,intermittent", "none"),
        ] {
            let error = error(args);
            assert!(error.contains(expected), "{args}: {error}");
        }
    }
}
