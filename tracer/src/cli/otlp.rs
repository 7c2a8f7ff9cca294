//! OTLP of the agent, as options.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use http::Uri;

use super::values::Span;
use crate::export::otlp::{OtlpConfig, Target};
use crate::export::selection::EventClass;

/// Metrics more often than this would cost more than they show.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// What an OpenTelemetry collector gets.
#[derive(Clone, Debug, Args)]
pub(super) struct OtlpArgs {
    /// Export to an OpenTelemetry collector by OTLP/gRPC, such as http://otel-collector.monitoring:4317
    #[arg(long, value_name = "URL")]
    pub otlp: Option<OtlpUrl>,

    /// For --otlp: the events that become log records: findings, failed (lookups, connections, pings), all, none
    #[arg(
        long,
        value_name = "CLASS",
        value_delimiter = ',',
        default_values_t = [EventClass::Findings, EventClass::Failed],
    )]
    pub otlp_events: Vec<EventClass>,

    /// For --otlp: also export this share of the successful events, from 0 to 1, such as 0.01
    #[arg(long, value_name = "SHARE", default_value_t = Share(0.0), hide_short_help = true)]
    pub otlp_sample: Share,

    /// For --otlp: also export all metrics of /metrics, at this interval, such as 60s
    #[arg(long, value_name = "INTERVAL")]
    pub otlp_metrics: Option<Span>,

    /// For --otlp with https: accept certificates of the authorities in this file, PEM [default: those of the
    /// system]
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub otlp_ca: Option<PathBuf>,

    /// For --otlp: send the headers in this file, a `name: value` line each, such as a mounted Secret's
    /// `authorization: Bearer TOKEN`
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub otlp_headers: Option<PathBuf>,
}

impl OtlpArgs {
    /// The configuration of the export; `None` without --otlp.
    pub(super) fn resolve(&self) -> anyhow::Result<Option<OtlpConfig>> {
        let Some(OtlpUrl(url)) = &self.otlp else {
            return Ok(None);
        };
        if self.otlp_ca.is_some() && url.starts_with("http:") {
            bail!("--otlp-ca needs TLS: write the URL of --otlp with https");
        }
        if self.otlp_headers.is_some() && url.starts_with("http:") && !is_loopback(url) {
            tracing::warn!(
                "--otlp-headers are sent to {url} without encryption: anyone on the way can read them. Use https"
            );
        }
        if self
            .otlp_metrics
            .is_some_and(|every| every.0 < MIN_INTERVAL)
        {
            bail!("--otlp-metrics: the shortest interval is 1s");
        }
        Ok(Some(OtlpConfig {
            target: Target {
                url: url.clone(),
                ca: self.otlp_ca.clone(),
                headers: self.otlp_headers.clone(),
            },
            events: self.otlp_events.clone(),
            sample: self.otlp_sample.0,
            metrics_every: self.otlp_metrics.map(|every| every.0),
        }))
    }
}

fn is_loopback(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    matches!(host, "localhost" | "[::1]") || host.starts_with("127.")
}

/// The URL of a collector's gRPC receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OtlpUrl(pub String);

impl FromStr for OtlpUrl {
    type Err = String;

    fn from_str(written: &str) -> Result<OtlpUrl, String> {
        let expected = || {
            "expected a URL of an OTLP/gRPC receiver, as in http://otel-collector.monitoring:4317"
                .to_owned()
        };
        let uri: Uri = written.parse().map_err(|_| expected())?;
        let (Some(scheme @ ("http" | "https")), Some(authority)) =
            (uri.scheme_str(), uri.authority())
        else {
            return Err(expected());
        };
        if authority.as_str().contains('@') {
            return Err("a URL shows in the list of processes: put credentials into the file of --otlp-headers".to_owned());
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(
                "expected no path: OTLP/gRPC has none (port 4317); for an OTLP/HTTP endpoint put a collector between"
                    .to_owned(),
            );
        }
        let port = match authority.port_u16() {
            Some(_) => "",
            None => ":4317",
        };
        Ok(OtlpUrl(format!("{scheme}://{authority}{port}")))
    }
}

/// A share, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share(pub f64);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(written: &str) -> Result<Share, String> {
        match written.parse() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Share(share)),
            _ => Err("expected a number from 0 to 1, such as 0.01 for one in a hundred".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{OtlpUrl, Share};

    #[test]
    fn a_url_has_a_scheme_and_a_host_and_the_port_of_grpc_by_default() {
        for (written, expected) in [
            ("http://otel:4317", Some("http://otel:4317")),
            (
                "https://otel.monitoring/",
                Some("https://otel.monitoring:4317"),
            ),
            ("http://[::1]:9", Some("http://[::1]:9")),
            ("otel:4317", None),
            ("grpc://otel:4317", None),
            ("http://otel:4318/v1/logs", None),
            ("https://user:secret@otel:4317", None),
            ("", None),
        ] {
            let parsed = written.parse::<OtlpUrl>().ok().map(|url| url.0);
            assert_eq!(parsed.as_deref(), expected, "{written}");
        }
    }

    #[test]
    fn a_share_is_between_zero_and_one() {
        for (written, expected) in [
            ("0", Some(0.0)),
            ("1", Some(1.0)),
            ("0.01", Some(0.01)),
            ("1.1", None),
            ("-1", None),
            ("NaN", None),
            ("1%", None),
        ] {
            let parsed = written.parse::<Share>().ok().map(|share| share.0);
            assert_eq!(parsed, expected, "{written}");
        }
    }
}
