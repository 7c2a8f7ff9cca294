//! How much each table keeps, as options. They stand in the long help only.

use clap::Args;

use tracer_core::model::settings::Limits;

/// No table is larger, whatever is asked for: memory of a node is for its pods.
const MOST: u64 = 16 * 1024 * 1024;

/// How much each table keeps.
#[derive(Clone, Debug, Args)]
#[command(
    next_help_heading = "Limits (at a limit the oldest entry makes room, and that is counted as lost)"
)]
pub(super) struct LimitArgs {
    /// DNS queries that wait for their answer
    #[arg(long, env = "TRACER_MAX_EXCHANGES", value_name = "N", hide_short_help = true,
        value_parser = clap::value_parser!(u64).range(1..=MOST),
        default_value_t = Limits::default().exchanges as u64)]
    max_exchanges: u64,

    /// TCP connections
    #[arg(long, env = "TRACER_MAX_CONNECTIONS", value_name = "N", hide_short_help = true,
        value_parser = clap::value_parser!(u64).range(1..=MOST),
        default_value_t = Limits::default().connections as u64)]
    max_connections: u64,

    /// UDP flows
    #[arg(long, env = "TRACER_MAX_UDP_FLOWS", value_name = "N", hide_short_help = true,
        value_parser = clap::value_parser!(u64).range(1..=MOST),
        default_value_t = Limits::default().udp_flows as u64)]
    max_udp_flows: u64,

    /// Pings that go on
    #[arg(long, env = "TRACER_MAX_ECHO_RUNS", value_name = "N", hide_short_help = true,
        value_parser = clap::value_parser!(u64).range(1..=MOST),
        default_value_t = Limits::default().echo_runs as u64)]
    max_echo_runs: u64,

    /// Requests of one ping that wait for their reply
    #[arg(long, env = "TRACER_MAX_ECHO_OUTSTANDING", value_name = "N", hide_short_help = true,
        value_parser = clap::value_parser!(u64).range(1..=65_536),
        default_value_t = Limits::default().echo_outstanding as u64)]
    max_echo_outstanding: u64,

    /// Lookups that are not decided yet
    #[arg(long, env = "TRACER_MAX_LOOKUPS", value_name = "N", hide_short_help = true,
        value_parser = clap::value_parser!(u64).range(1..=MOST),
        default_value_t = Limits::default().lookups as u64)]
    max_lookups: u64,

    /// Queries of one lookup that are shown
    #[arg(long, env = "TRACER_MAX_LOOKUP_STEPS", value_name = "N", hide_short_help = true,
        value_parser = clap::value_parser!(u64).range(1..=65_536),
        default_value_t = Limits::default().lookup_steps as u64)]
    max_lookup_steps: u64,

    /// Events that wait for their pod's name
    #[arg(long, env = "TRACER_MAX_WAITING_EVENTS", value_name = "N", hide_short_help = true,
        value_parser = clap::value_parser!(u64).range(1..=MOST),
        default_value_t = Limits::default().waiting_events as u64)]
    max_waiting_events: u64,
}

impl LimitArgs {
    pub(super) fn resolve(&self) -> Limits {
        // All are at most 16 Mi, which fits a usize wherever this runs.
        let entries = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        Limits {
            exchanges: entries(self.max_exchanges),
            connections: entries(self.max_connections),
            udp_flows: entries(self.max_udp_flows),
            echo_runs: entries(self.max_echo_runs),
            echo_outstanding: entries(self.max_echo_outstanding),
            lookups: entries(self.max_lookups),
            lookup_steps: entries(self.max_lookup_steps),
            waiting_events: entries(self.max_waiting_events),
            streams: Limits::default().streams,
        }
    }
}
