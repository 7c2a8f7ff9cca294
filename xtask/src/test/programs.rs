//! The test programs of the workspace, read from cargo's messages.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::build;

/// A test program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Program {
    /// Its package, and its target's kind and name: `tracer test privileged`.
    name: (String, String, String),
    /// The executable.
    pub path: PathBuf,
    /// Where cargo would run it: its package's directory.
    pub directory: PathBuf,
}

impl Program {
    /// The names of its tests.
    pub fn tests(&self) -> Result<Vec<String>> {
        let output = Command::new(&self.path)
            .args(["--list", "--format=terse"])
            .output()
            .with_context(|| format!("cannot run {}", self.path.display()))?;
        ensure!(
            output.status.success(),
            "{} --list: {}",
            self.path.display(),
            output.status
        );
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        let names = listed
            .lines()
            .filter_map(|line| line.strip_suffix(": test"));
        Ok(names.map(str::to_owned).collect())
    }

    /// Whether its tests use the real probes, and so depend on how busy the machine is.
    pub fn has_probes(&self) -> bool {
        let (_, kind, name) = &self.name;
        kind == "test" && (name == "privileged" || name == "slow")
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (package, kind, name) = &self.name;
        write!(f, "{package} {kind} {name}")
    }
}

/// One of cargo's messages, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Builds the programs that cargo's arguments select, those with real probes last. `None` if they do not
/// compile; cargo printed why.
pub(crate) fn build(choice: &[&str]) -> Result<Option<Vec<Program>>> {
    let output = build::cargo()
        .args(["test", "--no-run"])
        .arg("--message-format=json-render-diagnostics")
        .args(choice)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        return Ok(None);
    }
    read(&String::from_utf8_lossy(&output.stdout)).map(Some)
}

/// Separates the programs that have a single test, which uses one processor, from the others. A test with real
/// probes has the machine for itself.
pub(crate) fn by_number_of_tests(programs: Vec<Program>) -> Result<(Vec<Program>, Vec<Program>)> {
    let (mut single, mut several) = (Vec::new(), Vec::new());
    for program in programs {
        match !program.has_probes() && program.tests()?.len() == 1 {
            true => single.push(program),
            false => several.push(program),
        }
    }
    Ok((single, several))
}

fn read(messages: &str) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for line in messages.lines() {
        let message: Message =
            serde_json::from_str(line).with_context(|| format!("cargo's message {line}"))?;
        programs.extend(program(message));
    }
    programs.sort_by_key(|program| (program.has_probes(), program.clone()));
    Ok(programs)
}

fn program(message: Message) -> Option<Program> {
    let is_test = message.reason == "compiler-artifact" && message.profile?.test;
    let (target, manifest) = (message.target?, message.manifest_path?);
    let directory = manifest.parent().filter(|_| is_test)?;
    let package = directory.file_name().unwrap_or(Path::new("?").as_os_str());
    Some(Program {
        name: (
            package.to_string_lossy().into_owned(),
            target.kind.into_iter().next()?,
            target.name,
        ),
        path: message.executable?,
        directory: directory.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As cargo 1.95 writes them, without the fields that are of no use here.
    const MESSAGES: &str = r#"
{"reason":"compiler-artifact","manifest_path":"/w/tracer/Cargo.toml","target":{"kind":["test"],"name":"privileged"},"profile":{"test":true},"executable":"/w/target/debug/deps/privileged-1"}
{"reason":"compiler-artifact","manifest_path":"/w/tracer/Cargo.toml","target":{"kind":["test"],"name":"unprivileged"},"profile":{"test":true},"executable":"/w/target/debug/deps/unprivileged-2"}
{"reason":"compiler-artifact","manifest_path":"/r/serde/Cargo.toml","target":{"kind":["lib"],"name":"serde"},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","manifest_path":"/w/tracer/Cargo.toml","target":{"kind":["bin"],"name":"tracer"},"profile":{"test":false},"executable":"/w/target/debug/tracer"}
{"reason":"build-script-executed","package_id":"path+file:///w/tracer#0.1.0"}
{"reason":"compiler-artifact","manifest_path":"/w/tracer/Cargo.toml","target":{"kind":["lib"],"name":"tracer"},"profile":{"test":true},"executable":"/w/target/debug/deps/tracer-3"}
{"reason":"build-finished","success":true}"#;

    #[test]
    fn every_test_program_is_found_and_those_with_probes_come_last() {
        let programs = read(MESSAGES.trim()).expect("messages");
        let named: Vec<(String, bool)> = programs
            .iter()
            .map(|program| (program.to_string(), program.has_probes()))
            .collect();
        assert_eq!(
            named,
            [
                ("tracer lib tracer".to_owned(), false),
                ("tracer test unprivileged".to_owned(), false),
                ("tracer test privileged".to_owned(), true),
            ]
        );
        assert_eq!(programs[0].directory, Path::new("/w/tracer"));
        assert_eq!(programs[0].path, Path::new("/w/target/debug/deps/tracer-3"));
    }
}
