//! What the agent exports beside its stream, and what it holds back.

use std::net::SocketAddr;
use std::str::FromStr;

use clap::Args;
use clap::builder::BoolishValueParser;

use crate::config::LiveSettings;
use crate::export::http;
use tracer_core::diagnose::DiagnosisSettings;
use tracer_core::model::glob::Glob;
use tracer_core::view::privacy::{PrivacySettings, RedactedDomain};

/// What the agent exports beside its stream, and what it holds back.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Export and privacy")]
pub(super) struct ExportArgs {
    /// Health and metrics on this address: /livez, /readyz, /metrics; none: nowhere
    #[arg(long, env = "TRACER_HTTP", value_name = "ADDR:PORT", default_value = http::DEFAULT_ADDRESS)]
    pub http: HttpAddress,

    /// Give each pod metrics of its own, 500 pods at most at a time
    #[arg(long, env = "TRACER_METRICS_POD_LABEL", value_parser = BoolishValueParser::new())]
    metrics_pod_label: bool,

    /// Do not make findings Events of the cluster, which `kubectl describe pod` shows
    #[arg(long, env = "TRACER_NO_KUBE_EVENTS", value_parser = BoolishValueParser::new())]
    pub no_kube_events: bool,

    /// Leave out what pods of this namespace do: it is in no stream, no metric, no Event. Patterns as in 'kube-*'
    #[arg(
        long,
        env = "TRACER_EXCLUDE_NAMESPACE",
        value_name = "NS",
        value_delimiter = ','
    )]
    exclude_namespace: Vec<Glob>,

    /// Hash the names below this domain: db.corp.example becomes h-0f1e2d3c4b5a.corp.example, the same as long as the
    /// agent runs
    #[arg(
        long,
        env = "TRACER_REDACT_NAMES",
        value_name = "DOMAIN",
        value_delimiter = ','
    )]
    redact_names: Vec<RedactedDomain>,
}

/// The options that can change while the agent runs.
pub(super) const LIVE: [&str; 5] = [
    "exclude-namespace",
    "log",
    "metrics-pod-label",
    "redact-names",
    "rules",
];

impl ExportArgs {
    /// What can change while the agent runs, with what the rules file says.
    pub(super) fn live(&self, diagnosis: DiagnosisSettings) -> LiveSettings {
        LiveSettings {
            privacy: PrivacySettings {
                exclude_namespaces: self.exclude_namespace.clone(),
                redact: self.redact_names.clone(),
            },
            metrics_pod_label: self.metrics_pod_label,
            diagnosis,
        }
    }
}

/// An address to listen on, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HttpAddress(pub Option<SocketAddr>);

impl FromStr for HttpAddress {
    type Err = String;

    fn from_str(written: &str) -> Result<HttpAddress, String> {
        if written.eq_ignore_ascii_case("none") {
            return Ok(HttpAddress(None));
        }
        match written.parse() {
            Ok(address) => Ok(HttpAddress(Some(address))),
            Err(_) => Err(
                "it is an address and a port, as in 127.0.0.1:9095, 0.0.0.0:9095 or [::1]:9095, or none"
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HttpAddress;

    #[test]
    fn an_address_to_listen_on_has_a_port_or_is_none() {
        for (written, expected) in [
            ("127.0.0.1:9095", Some(Some("127.0.0.1:9095"))),
            ("[::1]:80", Some(Some("[::1]:80"))),
            ("none", Some(None)),
            ("127.0.0.1", None),
            (":9095", None),
            ("localhost:9095", None),
        ] {
            let parsed = written.parse::<HttpAddress>().ok().map(|address| address.0);
            let expected = expected.map(|address| address.map(|it: &str| it.parse().unwrap()));
            assert_eq!(parsed, expected, "{written}");
        }
    }
}
