//! A real OpenTelemetry Collector beside the nodes, which prints what the agents send.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use testbed::watch::Watch;

use crate::build;

use super::target::Target;

const PORT: u16 = 4317;

/// A running collector.
#[derive(Debug)]
pub(super) struct Collector {
    watch: Watch,
    _configuration: tempfile::TempDir,
    /// Where agents reach it.
    pub(super) url: String,
}

/// The collector that CONTRIBUTING.md shows how to build, if it is there.
pub(super) fn program() -> Option<PathBuf> {
    let program = build::target_directory().join("otelcol/otelcol");
    program.is_file().then_some(program)
}

impl Collector {
    /// Starts it on an administrator's machine, in reach of the nodes.
    pub(super) fn start(target: &Target, program: &Path) -> Result<Collector> {
        let nodes = target.get(&["nodes", "-l", "node-role.kubernetes.io/control-plane"])?;
        let all = target.get(&["nodes"])?;
        let node = nodes["items"]
            .get(0)
            .or_else(|| all["items"].get(0))
            .context("no node")?;
        let addresses = node["status"]["addresses"]
            .as_array()
            .context("no address")?;
        let internal = addresses
            .iter()
            .find(|address| address["type"] == "InternalIP");
        let address = internal
            .and_then(|address| address["address"].as_str())
            .context("the first node has no address")?;
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("collector.yaml");
        let endpoint = format!("{address}:{PORT}");
        let text = format!(
            "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '{endpoint}'}}}}}}}}\n\
             exporters: {{debug: {{verbosity: detailed}}}}\n\
             service:\n  \
               telemetry: {{metrics: {{level: none}}}}\n  \
               pipelines:\n    \
                 logs: {{receivers: [otlp], exporters: [debug]}}\n    \
                 metrics: {{receivers: [otlp], exporters: [debug]}}\n"
        );
        std::fs::write(&path, text)?;
        let program = program.to_str().context("a path that is UTF-8")?;
        let configuration = path.to_str().context("a path that is UTF-8")?;
        let mut watch = Watch::spawn(target.command(&[program, "--config", configuration])?)?;
        watch.wait_for_logs("Everything is ready", 1)?;
        Ok(Collector {
            watch,
            _configuration: directory,
            url: format!("http://{endpoint}"),
        })
    }

    /// The scenario's findings, with the pod and the name, and metrics have arrived.
    pub(super) fn check(&mut self) -> Result<String> {
        for words in [
            "nxdomain-other-namespace",
            "ping-clusterip",
            "k8s.pod.name: Str(deb-ubuntu)",
            "clusterip-apache2-ds-myns",
            "tracer_dns_exchanges",
        ] {
            // Its whole output would hide which one it is.
            let arrived = self.watch.wait_for_logs(words, 1);
            ensure!(
                arrived.is_ok(),
                "the OpenTelemetry Collector did not get {words:?}"
            );
        }
        Ok("the OpenTelemetry Collector has both findings, their pod and the metrics".to_owned())
    }
}
