//! `tracer version`: this program and, as JSON, the agents of a cluster.

use std::io::Write;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::Exit;
#[cfg(feature = "client")]
use super::agents::AgentsArgs;
#[cfg(feature = "client")]
use super::cluster::KubeArgs;

/// Arguments of `tracer version`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
        tracer version\n  \
        tracer version -o json | jq .agents")]
pub struct VersionArgs {
    /// Output format: text, or json, which has the versions of the agents too
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = VersionFormat::Text)]
    output: VersionFormat,

    #[cfg(feature = "client")]
    #[command(flatten)]
    agents: AgentsArgs,

    #[cfg(feature = "client")]
    #[command(flatten)]
    kube: KubeArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum VersionFormat {
    Text,
    Json,
}

/// What this program was built from, by the name in JSON and the one in text.
fn build() -> Vec<(&'static str, &'static str, String)> {
    let commit = option_env!("TRACER_GIT_COMMIT").unwrap_or("not recorded at build time");
    vec![
        ("version", "tracer", env!("CARGO_PKG_VERSION").to_owned()),
        ("commit", "commit", commit.to_owned()),
        #[cfg(agent)]
        (
            "ebpfToolchain",
            "eBPF toolchain",
            crate::capture::live::TOOLCHAIN.to_owned(),
        ),
        (
            "recordLayout",
            "record layout",
            tracer_common::LAYOUT_VERSION.to_string(),
        ),
    ]
}

impl VersionArgs {
    /// Prints the version, and the sources and tools it was built from.
    pub(super) fn run(&self, out: &mut impl Write) -> anyhow::Result<Exit> {
        if self.output == VersionFormat::Text {
            for (_, name, value) in build() {
                writeln!(out, "{name:<14} {value}")?;
            }
            return Ok(Exit::Fine);
        }
        let mut object: Map<String, Value> = build()
            .into_iter()
            .map(|(name, _, value)| (name.to_owned(), value.into()))
            .collect();
        // Scripts ask for this program's version where there is no cluster, too.
        match self.agents() {
            Ok(agents) => object.insert("agents".to_owned(), agents),
            Err(error) => object.insert("agentsUnknown".to_owned(), format!("{error:#}").into()),
        };
        writeln!(out, "{}", Value::Object(object))?;
        Ok(Exit::Fine)
    }

    #[cfg(feature = "client")]
    fn agents(&self) -> anyhow::Result<Value> {
        let agents = self.agents.resolve(&self.kube)?;
        let statuses = crate::run::statuses(&agents)?;
        let agent = |answer: &crate::client::status::Answer| {
            let node = answer.node.as_deref().unwrap_or(&answer.target);
            match &answer.status {
                Ok(status) => json!({
                    "node": node,
                    "version": status.node.as_ref().map(|node| &node.version),
                    "commit": status.commit,
                }),
                Err(why) => json!({"node": node, "unknown": why}),
            }
        };
        Ok(statuses.agents.iter().map(agent).collect())
    }

    #[cfg(not(feature = "client"))]
    fn agents(&self) -> anyhow::Result<Value> {
        Err(super::trace::no_client())
    }
}
