//! The cluster that is tested: one of `cargo xtask cluster up`, entered for every command, or any other by
//! its kubeconfig.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use testbed::cluster::{Cluster, STREAMER};
use testbed::lab::shell;

use super::scene::LABEL;

/// A cluster.
#[derive(Debug)]
pub(super) enum Target {
    /// Raised by this program.
    Local(Cluster),
    /// An existing cluster: its kubeconfig, and the command that loads images onto its nodes.
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

    /// `tracer observe` as a user with the role for traces and no other, where there is such a user.
    pub(super) fn observe(&self, program: &str) -> Result<Command> {
        let observe = [program, "observe", "--follow", "--output", "json"];
        let mut command = self.command(&observe)?;
        if let Target::Local(cluster) = self {
            let role = "--clusterrole=tracer-traces-view";
            let user = format!("--user={STREAMER}");
            self.kubectl(&["create", "clusterrolebinding", STREAMER, role, &user])?;
            self.kubectl(&["label", "clusterrolebinding", STREAMER, LABEL])?;
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

    /// Refuses to start without a way to load an image onto the nodes.
    pub(super) fn ensure_loads(&self) -> Result<()> {
        ensure!(
            !matches!(self, Target::Other(_, None)),
            "how do this cluster's nodes get the agent's and the tools' image? Say it with --load (kind: --load 'kind load \
             image-archive {{}}'; microk8s: --load 'microk8s ctr image import {{}}'; k3s: --load 'k3s ctr images import {{}}'), \
             or name images that they can pull with --image and --tools-image"
        );
        Ok(())
    }

    /// Loads an image onto the nodes.
    pub(super) fn load(&self, archive: &Path) -> Result<()> {
        match self {
            Target::Local(cluster) => cluster.load_image(archive),
            Target::Other(_, Some(template)) => {
                let command =
                    template.replace("{}", &shell::quoted(&archive.display().to_string()));
                shell::run(shell::command("sh").args(["-c", &command]))
                    .map(drop)
                    .context("--load")
            }
            Target::Other(_, None) => self.ensure_loads(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(load: Option<&str>) -> Result<Target> {
        Target::kubeconfig(Path::new("/dev/null"), load)
    }

    #[test]
    fn an_archive_is_loaded_by_the_command_whatever_its_path() {
        let directory = std::env::temp_dir().join(format!("xtask e2e's {}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let archive = directory.join("image.tar");
        std::fs::write(&archive, "content").expect("a file");
        let load = target(Some("cat {} > /dev/null && cp {} {}.loaded")).expect("it has {}");
        load.load(&archive).expect("it is loaded");
        let loaded = std::fs::read_to_string(directory.join("image.tar.loaded"));
        assert_eq!(loaded.expect("the command ran"), "content");

        let failing = target(Some("echo no such cluster >&2; false {}")).expect("it has {}");
        let error = format!("{:#}", failing.load(&archive).expect_err("it fails"));
        assert!(error.contains("no such cluster"), "{error}");
        std::fs::remove_dir_all(&directory).expect("it can be removed");
    }

    #[test]
    fn a_missing_load_command_is_explained() {
        let error = target(None).expect("a file").ensure_loads();
        let reported = error.expect_err("there is no way").to_string();
        assert!(
            reported.contains("kind load image-archive {}"),
            "{reported}"
        );
        assert!(target(Some("kind load image-archive")).is_err(), "no {{}}");
        target(Some("kind load image-archive {}"))
            .expect("it has {}")
            .ensure_loads()
            .expect("it says how");
    }
}
