//! The parts of a lab, on disk: written before any of them is made, so that an interrupted run can be cleared
//! up.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::paths::Paths;
use super::process::Process;
use super::proxy::ProxyMode;

/// The state of a lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) proxy_mode: ProxyMode,
    /// Whether the lab is complete.
    pub(crate) complete: bool,
    /// Every network namespace, made or about to be.
    pub(crate) netns: Vec<String>,
    /// The root of its cgroups.
    pub(crate) cgroup: PathBuf,
    pub(crate) processes: Vec<Process>,
    /// The DNS zone's serial, which grows with every change.
    pub(crate) serial: u32,
}

impl State {
    /// Reads it; `None` if there is no lab of that name.
    pub(crate) fn load(paths: &Paths) -> Result<Option<State>> {
        let path = paths.state();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        serde_json::from_str(&text)
            .map(Some)
            .with_context(|| format!("cannot use {}", path.display()))
    }

    /// Writes it in one step.
    pub(crate) fn save(&self, paths: &Paths) -> Result<()> {
        fs::create_dir_all(paths.directory())?;
        replace(&paths.state(), &serde_json::to_string_pretty(self)?)
    }

    /// The process that holds a pod's mount namespace.
    pub(crate) fn pause(&self, pod: &str) -> Option<&Process> {
        self.processes.iter().find(|process| {
            process.pod.as_deref() == Some(pod) && process.what == super::pod::PAUSE
        })
    }
}

/// Writes a file such that a reader sees the old or the new one, never half of it.
pub(crate) fn replace(path: &std::path::Path, text: &str) -> Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
