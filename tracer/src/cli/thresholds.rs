//! When silence becomes an event, as options. They stand in the long help only.

use clap::Args;

use super::values::Span;
use tracer_core::model::settings::Thresholds;

/// When silence becomes an event.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Thresholds (when silence becomes an event)")]
pub(super) struct ThresholdArgs {
    /// A query without an answer is a timeout this long after its last attempt. Resolvers ask again after 5 s
    #[arg(long, env = "TRACER_DNS_TIMEOUT", value_name = "DURATION", hide_short_help = true,
        default_value_t = Span(Thresholds::default().dns_timeout))]
    dns_timeout: Span,

    /// An answer up to this long after its timeout is still told, as late
    #[arg(long, env = "TRACER_DNS_LATE", value_name = "DURATION", hide_short_help = true,
        default_value_t = Span(Thresholds::default().dns_late))]
    dns_late: Span,

    /// A lookup without another query for so long is over
    #[arg(long, env = "TRACER_LOOKUP_IDLE", value_name = "DURATION", hide_short_help = true,
        default_value_t = Span(Thresholds::default().lookup_idle))]
    lookup_idle: Span,

    /// After a name was found, a lookup waits so long for a query of another type (nslookup asks for AAAA after A)
    #[arg(long, env = "TRACER_LOOKUP_GRACE", value_name = "DURATION", hide_short_help = true,
        default_value_t = Span(Thresholds::default().lookup_grace))]
    lookup_grace: Span,

    /// A connection whose first SYN was not answered for so long has timed out
    #[arg(long, env = "TRACER_TCP_TIMEOUT", value_name = "DURATION", hide_short_help = true,
        default_value_t = Span(Thresholds::default().tcp_timeout))]
    tcp_timeout: Span,

    /// A connection is told as opening at this many retransmissions of its SYN
    #[arg(long, env = "TRACER_TCP_OPENING_RETRANSMITS", value_name = "N", hide_short_help = true,
        value_parser = clap::value_parser!(u32).range(1..=16),
        default_value_t = Thresholds::default().tcp_opening_retransmits)]
    tcp_opening_retransmits: u32,

    /// A connection or UDP flow without a packet for so long is closed
    #[arg(long, env = "TRACER_FLOW_IDLE", value_name = "DURATION", hide_short_help = true,
        default_value_t = Span(Thresholds::default().flow_idle))]
    flow_idle: Span,

    /// A UDP flow whose packets got no answer for so long is unanswered
    #[arg(long, env = "TRACER_UDP_TIMEOUT", value_name = "DURATION", hide_short_help = true,
        default_value_t = Span(Thresholds::default().udp_timeout))]
    udp_timeout: Span,

    /// A ping that goes on is told so often
    #[arg(long, env = "TRACER_ECHO_REPORT", value_name = "DURATION", hide_short_help = true,
        default_value_t = Span(Thresholds::default().echo_report))]
    echo_report: Span,

    /// A ping without a request for so long is done
    #[arg(long, env = "TRACER_ECHO_IDLE", value_name = "DURATION", hide_short_help = true,
        default_value_t = Span(Thresholds::default().echo_idle))]
    echo_idle: Span,

    /// What a pod does before its name is known is told after so long at the latest
    #[arg(long, env = "TRACER_IDENTITY_WAIT", value_name = "DURATION", hide_short_help = true,
        default_value_t = Span(Thresholds::default().identity_wait))]
    identity_wait: Span,
}

impl ThresholdArgs {
    pub(super) fn resolve(&self) -> Thresholds {
        Thresholds {
            dns_timeout: self.dns_timeout.0,
            dns_late: self.dns_late.0,
            dns_tcp_wait: Thresholds::default().dns_tcp_wait,
            lookup_idle: self.lookup_idle.0,
            lookup_grace: self.lookup_grace.0,
            tcp_timeout: self.tcp_timeout.0,
            tcp_opening_retransmits: self.tcp_opening_retransmits,
            flow_idle: self.flow_idle.0,
            udp_timeout: self.udp_timeout.0,
            echo_report: self.echo_report.0,
            echo_idle: self.echo_idle.0,
            identity_wait: self.identity_wait.0,
        }
    }
}
