//! When silence becomes an event, as options. Only the long help shows them.

use clap::Args;

use super::values::{Int, Span};
use tracer_core::model::settings::Thresholds;

/// Declares an option for each duration. Its default is the one of [`Thresholds`].
macro_rules! threshold_args {
    ($($(#[$help:meta])+ $field:ident)+) => {
        /// When silence becomes an event.
        #[derive(Clone, Debug, Args)]
        #[command(next_help_heading = "Thresholds (when silence becomes an event)")]
        pub(super) struct ThresholdArgs {
            $(
                $(#[$help])+
                #[arg(long, value_name = "DURATION", hide_short_help = true,
                    default_value_t = Span(Thresholds::default().$field))]
                pub $field: Span,
            )+

            /// SYN retransmissions after which a connection is reported as opening
            #[arg(long, value_name = "N", hide_short_help = true,
                default_value_t = Int(Thresholds::default().tcp_opening_retransmits))]
            pub tcp_opening_retransmits: Int<u32, 1, 16>,
        }

        impl ThresholdArgs {
            pub(super) fn resolve(&self) -> Thresholds {
                Thresholds {
                    $($field: self.$field.0,)+
                    tcp_opening_retransmits: self.tcp_opening_retransmits.0,
                    dns_tcp_wait: Thresholds::default().dns_tcp_wait,
                }
            }
        }
    };
}

threshold_args! {
    /// Report an unanswered query as a timeout this long after its last attempt. Resolvers retry after 5 s
    dns_timeout
    /// Match an answer to its query, and report it as late, up to this long after the timeout
    dns_late
    /// End a lookup after this long without another query
    lookup_idle
    /// After a name is found, wait this long for a query of another type (nslookup asks for AAAA after A)
    lookup_grace
    /// Report a connection as timed out if its first SYN is unanswered for this long
    tcp_timeout
    /// Close a connection or UDP flow after this long without a packet
    flow_idle
    /// Report a UDP flow as unanswered after this long without an answer
    udp_timeout
    /// Report interval for a running ping
    echo_report
    /// End a ping after this long without a request
    echo_idle
    /// Hold an event for at most this long while its pod is unknown
    identity_wait
}
