//! Exports and privacy of the agent, as options.

use std::net::SocketAddr;
use std::str::FromStr;

use clap::Args;

use super::events::EventsArgs;
use super::otlp::OtlpArgs;
use crate::config::LiveSettings;
use crate::export::http;
use tracer_core::diagnose::DiagnosisSettings;
use tracer_core::model::glob::Glob;
use tracer_core::view::privacy::{PrivacySettings, RedactedDomain};

/// Exports beside the stream, and what is left out of them.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Export and privacy")]
pub(super) struct ExportArgs {
    /// Serve /metrics, /livez and /readyz on this address; none disables it
    #[arg(long, value_name = "ADDR:PORT", default_value = http::DEFAULT_ADDRESS)]
    pub http: HttpAddress,

    /// Serve /livez and /readyz on this address, apart from the clients of --http, for the kubelet's probes;
    /// none disables it
    #[arg(long, value_name = "ADDR:PORT", default_value = http::DEFAULT_PROBE_ADDRESS)]
    pub health: HttpAddress,

    /// Label metrics with the pod, for at most 500 pods at a time
    #[arg(long)]
    pub metrics_pod_label: bool,

    /// Do not create Kubernetes Events for findings
    #[arg(long)]
    pub no_kube_events: bool,

    #[command(flatten)]
    pub otlp: OtlpArgs,

    #[command(flatten)]
    pub events: EventsArgs,

    /// Leave the pods of this namespace out of streams, metrics, Events and all other exports. Wildcards as in 'kube-*'
    #[arg(long, value_name = "NS", value_delimiter = ',')]
    pub exclude_namespace: Vec<Glob>,

    /// Hash names below this domain: db.corp.example becomes h-0f1e2d3c4b5a.corp.example. A name's hash is
    /// stable until the agent restarts
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',')]
    pub redact_names: Vec<RedactedDomain>,
}

/// Options that can change while the agent runs.
pub(super) const LIVE: [&str; 5] = [
    "exclude-namespace",
    "log",
    "metrics-pod-label",
    "redact-names",
    "rules",
];

impl ExportArgs {
    /// The settings that can change while the agent runs. `diagnosis` is from the rules file.
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

/// The address to listen on; `None` for no server.
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
                "expected an address and a port, as in 127.0.0.1:9095, 0.0.0.0:9095 or [::1]:9095, or none"
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HttpAddress;

    #[test]
    fn an_http_address_has_a_port_or_is_none() {
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
