//! `cargo xtask image`: the agent's container image as an OCI archive, without Docker, the same bytes for the same commit.
//!
//! One static program and nothing else. glibc is linked in (`crt-static`), so no musl target is needed. Paths of the machine
//! that builds are replaced, every time stamp is the commit's (or SOURCE_DATE_EPOCH), so that whoever has the commit and the
//! same compiler can check that an image was made from it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail, ensure};
use oci_spec::image::Arch;
use serde::Deserialize;

use crate::{build, setup};

pub mod archive;

use archive::{Compression, File, Image};

/// What the program is built for.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Every node pulls it: an image above this is a defect.
const MOST_BYTES: u64 = 25 * 1024 * 1024;
const DESCRIPTION: &str =
    "Per-pod DNS and traffic traces for Kubernetes nodes, with the reasons for what failed";
/// Where the image's name is set.
const KUSTOMIZATION: &str = "deploy/base/kustomization.yaml";

/// The agent's container image, as an OCI archive
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask image && ctr -n k8s.io image import target/tracer-image.tar\n  \
    cargo xtask image && kind load image-archive target/tracer-image.tar\n  \
    cargo xtask image && skopeo copy oci-archive:target/tracer-image.tar docker://YOUR.REGISTRY/tracer:0.1.0\n\n\
    The image's name is the one in deploy/base/kustomization.yaml. SOURCE_DATE_EPOCH sets the time in it\n\
    (else the commit's), TRACER_GIT_COMMIT the commit where there is no repository to ask.")]
pub struct Arguments {
    /// Where to write the archive
    #[arg(long, value_name = "FILE", default_value = "target/tracer-image.tar")]
    out: PathBuf,
    /// Take this program instead of building one: it must be static
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Builds the program and writes the image.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => {
            setup::ensure(setup::Needs::Probes)?;
            static_program()?
        }
    };
    let written = write(&program, &arguments.out)?;
    eprintln!(
        "image: {} {}, {:.1} MB: {}",
        written.reference,
        written.digest,
        written.bytes as f64 / 1e6,
        arguments.out.display()
    );
    println!("{}", written.digest);
    Ok(ExitCode::SUCCESS)
}

/// An image that was written.
#[derive(Debug)]
pub struct Written {
    /// Its name.
    pub reference: String,
    /// The digest of its index.
    pub digest: String,
    /// The archive's size.
    pub bytes: u64,
}

/// Puts a static program into an image.
pub fn write(program: &Path, out: &Path) -> Result<Written> {
    let content =
        fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    ensure_static(&content).with_context(|| format!("{} does not fit", program.display()))?;
    let reference = reference()?;
    let version = reference
        .rsplit_once(':')
        .map_or("", |(_, tag)| tag)
        .to_owned();
    let mut labels = vec![
        ("title", "tracer".to_owned()),
        ("description", DESCRIPTION.to_owned()),
        (
            "licenses",
            "(MIT OR Apache-2.0) AND (MIT OR GPL-2.0-only)".to_owned(),
        ),
        ("version", version),
    ];
    if let Some(commit) = commit() {
        labels.push(("revision", commit));
    }
    let mut files = vec![("usr/bin/tracer".to_owned(), File::Plain(0o755, content))];
    for name in ["LICENSE-APACHE", "LICENSE-GPL2", "LICENSE-MIT"] {
        let text =
            fs::read(build::root().join(name)).with_context(|| format!("cannot read {name}"))?;
        files.push((
            format!("usr/share/doc/tracer/{name}"),
            File::Plain(0o644, text),
        ));
    }
    // What the agent's volumes are mounted on: the root is read-only.
    files.push(("run/tracer".to_owned(), File::Directory(0o755)));
    let image = Image {
        reference: reference.clone(),
        architecture: Arch::Amd64,
        created: time()?,
        entrypoint: vec!["/usr/bin/tracer".to_owned()],
        environment: vec!["PATH=/usr/bin".to_owned()],
        labels: labels
            .into_iter()
            .map(|(name, text)| (format!("org.opencontainers.image.{name}"), text))
            .collect(),
        compression: Compression::best(),
        files: files.into_iter().collect(),
    };
    let file = fs::File::create(out).with_context(|| format!("cannot write {}", out.display()))?;
    let digest = image.write(std::io::BufWriter::new(file))?;
    let bytes = fs::metadata(out)?.len();
    ensure!(
        bytes <= MOST_BYTES,
        "the image has {bytes} bytes; {MOST_BYTES} is the most that every node should have to pull"
    );
    Ok(Written {
        reference,
        digest,
        bytes,
    })
}

/// Builds the tracer for an image and gives its path. Cargo shows its progress.
pub fn static_program() -> Result<PathBuf> {
    let root = build::root().canonicalize()?;
    let mut flags = vec![
        "-Ctarget-feature=+crt-static".to_owned(),
        "-Cstrip=symbols".to_owned(),
        remap(&root, "/tracer")?,
    ];
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    if let Some(home) = cargo_home {
        flags.push(remap(&home, "/cargo")?);
    }
    // Its own directory: other flags would rebuild everything in the usual one, back and forth.
    let target = env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), PathBuf::from)
        .join("image");
    let mut cargo = build::cargo();
    cargo
        .args([
            "build",
            "--release",
            "--locked",
            "--package",
            "tracer",
            "--bin",
            "tracer",
        ])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target)
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    if let Some(commit) = commit() {
        cargo.env("TRACER_GIT_COMMIT", commit);
    }
    let status = cargo.status().context("cannot run cargo")?;
    ensure!(status.success(), "the tracer does not build");
    Ok(target.join(TARGET).join("release/tracer"))
}

fn remap(path: &Path, to: &str) -> Result<String> {
    let path = path
        .to_str()
        .with_context(|| format!("the path {} is not UTF-8", path.display()))?;
    Ok(format!("--remap-path-prefix={path}={to}"))
}

/// The image's name with its tag, from the one place where it is set.
pub fn reference() -> Result<String> {
    let path = build::root().join(KUSTOMIZATION);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {KUSTOMIZATION}"))?;
    parse_reference(&text).with_context(|| format!("in {KUSTOMIZATION}"))
}

fn parse_reference(kustomization: &str) -> Result<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        name: String,
        new_name: String,
        new_tag: String,
    }
    #[derive(Deserialize)]
    struct Kustomization {
        images: Vec<Named>,
    }
    let parsed: Kustomization = serde_saphyr::from_str(kustomization)?;
    let named = parsed
        .images
        .into_iter()
        .find(|image| image.name == "tracer");
    let named = named.context("no image \"tracer\"")?;
    Ok(format!("{}:{}", named.new_name, named.new_tag))
}

/// The time of everything in the image.
fn time() -> Result<i64> {
    if let Ok(text) = env::var("SOURCE_DATE_EPOCH") {
        return text
            .parse()
            .with_context(|| format!("SOURCE_DATE_EPOCH is not a number of seconds: {text}"));
    }
    match git(&["log", "-1", "--format=%ct"]) {
        Some(text) => Ok(text.parse()?),
        None => bail!("no repository to ask for the commit's time: set SOURCE_DATE_EPOCH"),
    }
}

/// The commit, with a mark where the sources differ from it.
fn commit() -> Option<String> {
    if let Ok(commit) = env::var("TRACER_GIT_COMMIT") {
        return Some(commit);
    }
    let commit = git(&["rev-parse", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    if changed.is_empty() {
        return Some(commit);
    }
    eprintln!(
        "image: the sources differ from the commit, so nobody can check what the image was made from"
    );
    Some(format!("{commit}-changed"))
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(build::root())
        .args(arguments)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// An empty image has no loader and no libraries: an ELF file that asks for an interpreter cannot start there.
fn ensure_static(program: &[u8]) -> Result<()> {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, bytes: usize| -> Result<u64> {
        let field = at
            .checked_add(bytes)
            .and_then(|end| program.get(at..end))
            .context("it is cut off")?;
        Ok(field
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    };
    // 64 bits, little-endian: what the image is for (System V ABI, chapter 4).
    ensure!(
        program.starts_with(b"\x7fELF\x02\x01"),
        "it is no 64-bit ELF program"
    );
    ensure!(number(18, 2)? == 62, "it is not for x86-64");
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for index in 0..count {
        let at = usize::try_from(table.saturating_add(index * size))?;
        ensure!(
            number(at, 4)? != u64::from(PT_INTERP),
            "it is linked dynamically; build it with -C target-feature=+crt-static"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_needs_a_loader_is_refused() {
        let own = fs::read(env::current_exe().expect("this program")).expect("it can be read");
        let error = ensure_static(&own).expect_err("tests are linked dynamically");
        assert!(error.to_string().contains("crt-static"), "{error:#}");
        assert!(ensure_static(&own[..100]).is_err());
        assert!(ensure_static(b"#!/bin/sh\n").is_err());
    }

    #[test]
    fn the_name_comes_from_the_deployment() {
        let named = "images: [{name: tracer, newName: some.registry/a/tracer, newTag: v2}]";
        assert_eq!(
            parse_reference(named).expect("it has one"),
            "some.registry/a/tracer:v2"
        );
        assert!(parse_reference("images: []").is_err());
        assert!(reference().expect("deploy/ has one").contains("/tracer:"));
    }
}
