//! The cluster that is tested: one of `cargo xtask cluster up`, entered for every command, or any other by its kubeconfig.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::cluster::{Cluster, STREAMER};
use crate::lab::shell;

/// A cluster.
#[derive(Debug)]
pub(super) enum Target {
    /// Raised by this program.
    Local(Cluster),
    /// Somebody's, by its kubeconfig, and how its nodes are given images.
    Other(PathBuf, Option<String>),
}

impl Target {
    pub(super) fn local(name: &str) -> Result<Target> {
        Ok(Target::Local(Cluster::attach(name)?))
    }

    pub(super) fn kubeconfig(file: &Path, load: Option<&str>) -> Result<Target> {
        let file = file
            .canonicalize()
            .with_context(|| format!("cannot read the kubeconfig {}", file.display()))?;
        if let Some(command) = load {
            ensure!(
                command.contains("{}"),
                "--load has no {{}} for the archive: {command}"
            );
        }
        Ok(Target::Other(file, load.map(str::to_owned)))
    }

    pub(super) fn describe(&self) -> Result<String> {
        let version: Value = serde_json::from_str(&self.kubectl(&["version", "-o", "json"])?)?;
        let version = version["serverVersion"]["gitVersion"]
            .as_str()
            .unwrap_or("of an unknown version")
            .to_owned();
        Ok(match self {
            Target::Local(cluster) => format!(
                "Kubernetes {version}, nodes {}, kube-proxy mode {}",
                cluster.nodes().join(" and "),
                cluster.proxy_mode()
            ),
            Target::Other(file, _) => format!("Kubernetes {version}, by {}", file.display()),
        })
    }

    /// A command on an administrator's machine.
    pub(super) fn command(&self, argv: &[&str]) -> Result<Command> {
        match self {
            Target::Local(cluster) => cluster.command(argv),
            Target::Other(kubeconfig, _) => {
                let (program, arguments) = argv.split_first().context("nothing to run")?;
                let mut command = shell::command(program);
                command.args(arguments).env("KUBECONFIG", kubeconfig);
                Ok(command)
            }
        }
    }

    /// `tracer observe` of somebody who has the role `tracer-stream` and no other, where there is such a user.
    pub(super) fn observe(&self, program: &str) -> Result<Command> {
        let observe = [
            program,
            "observe",
            "--follow",
            "--output",
            "json",
            "--agent-namespace",
            "tracer",
        ];
        let mut command = self.command(&observe)?;
        if let Target::Local(cluster) = self {
            let (role, user) = ("--role=tracer-stream", format!("--user={STREAMER}"));
            self.kubectl(&[
                "-n",
                "tracer",
                "create",
                "rolebinding",
                STREAMER,
                role,
                &user,
            ])?;
            command.env("KUBECONFIG", cluster.streamer());
        }
        Ok(command)
    }

    /// kubectl's output.
    pub(super) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        shell::run(&mut self.command(&[&["kubectl"], arguments].concat())?)
    }

    /// kubectl's output, parsed.
    pub(super) fn get(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[&["get", "-o", "json"], arguments].concat())?;
        serde_json::from_str(&text).with_context(|| format!("kubectl get {}", arguments.join(" ")))
    }

    /// Gives the nodes an image.
    pub(super) fn load(&self, archive: &Path) -> Result<()> {
        match self {
            Target::Local(cluster) => cluster.load_image(archive),
            Target::Other(_, Some(template)) => {
                let command = template.replace("{}", &archive.display().to_string());
                shell::run(shell::command("sh").args(["-c", &command])).map(drop)
            }
            Target::Other(_, None) => bail!(
                "say how this cluster's nodes get images: --load 'kind load image-archive {{}}', or name images that they can \
                 pull with --image and --tools-image"
            ),
        }
    }
}
