//! Records the commit that is built in `TRACER_GIT_COMMIT`, for `tracer version`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Sets the crate's environment variable `TRACER_GIT_COMMIT`.
///
/// The variable stays unset where the sources are in no repository, or inside another project's. A value that
/// the caller of cargo has set wins.
pub fn record() -> Result<(), String> {
    println!("cargo::rerun-if-changed=build/commit.rs");
    println!("cargo::rerun-if-env-changed=TRACER_GIT_COMMIT");
    if env::var_os("TRACER_GIT_COMMIT").is_some() {
        // The compiler inherits the variable.
        return Ok(());
    }
    let manifest_dir = PathBuf::from(crate::variable("CARGO_MANIFEST_DIR")?);
    let workspace = manifest_dir
        .parent()
        .ok_or("the crate has no parent directory")?;
    let top = git(workspace, &["rev-parse", "--show-toplevel"])
        .and_then(|top| Path::new(&top).canonicalize().ok());
    if top.is_none() || top != workspace.canonicalize().ok() {
        return Ok(());
    }
    // A checkout changes HEAD; a commit changes the file that HEAD names. That file is absent while refs are
    // packed; the log of HEAD changes then.
    let reference = git(workspace, &["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "logs/HEAD", "packed-refs"]
        .into_iter()
        .chain(reference.as_deref())
    {
        let path = git(workspace, &["rev-parse", "--git-path", name])
            .map(|path| workspace.join(path))
            // cargo treats a missing file as changed in every build.
            .filter(|path| path.exists());
        if let Some(path) = path {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    if let Some(commit) = git(workspace, &["rev-parse", "HEAD"]) {
        println!("cargo::rustc-env=TRACER_GIT_COMMIT={commit}");
    }
    Ok(())
}

/// git's output, or `None` if git fails or is missing.
fn git(workspace: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(workspace)
        .args(arguments)
        // A git hook sets these for its own repository.
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
