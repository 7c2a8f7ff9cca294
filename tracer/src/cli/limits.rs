//! Table sizes, as options. Only the long help shows them.

use clap::Args;

use super::values::Int;
use tracer_core::model::settings::Limits;

/// No table is larger: the node's memory is for its pods.
const MAX_ENTRIES: u64 = 16 * 1024 * 1024;
/// No list within an entry is longer.
const MAX_NESTED: u64 = 65_536;

/// Entries of a table.
pub(super) type Entries = Int<usize, 1, MAX_ENTRIES>;
/// Items of a list within an entry.
pub(super) type Nested = Int<usize, 1, MAX_NESTED>;

/// Declares an option for each table. Its default is the one of [`Limits`].
macro_rules! limit_args {
    ($($(#[$help:meta])+ $arg:ident: $value:ty => $field:ident)+) => {
        /// Table sizes.
        #[derive(Clone, Debug, Args)]
        #[command(
            next_help_heading = "Limits (a full table evicts its oldest entry and counts it as lost)"
        )]
        pub(super) struct LimitArgs {
            $(
                $(#[$help])+
                #[arg(long, value_name = "N", hide_short_help = true,
                    default_value_t = Int(Limits::default().$field))]
                pub $arg: $value,
            )+
        }

        impl LimitArgs {
            pub(super) fn resolve(&self) -> Limits {
                Limits {
                    $($field: self.$arg.0,)+
                    ..Limits::default()
                }
            }
        }
    };
}

limit_args! {
    /// DNS queries waiting for an answer
    max_exchanges: Entries => exchanges
    /// TCP connections
    max_connections: Entries => connections
    /// UDP flows
    max_udp_flows: Entries => udp_flows
    /// Running pings
    max_echo_runs: Entries => echo_runs
    /// Requests of one ping waiting for a reply
    max_echo_outstanding: Nested => echo_outstanding
    /// Undecided lookups
    max_lookups: Entries => lookups
    /// Queries shown for one lookup
    max_lookup_steps: Nested => lookup_steps
    /// Events waiting for their pod's name
    max_waiting_events: Entries => waiting_events
}
