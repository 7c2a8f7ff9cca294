//! `cargo xtask image`: the agent's container image as an OCI archive, without Docker, the same bytes for the
//! same commit.
//!
//! One static program and nothing else, for each platform that is asked for. Paths of the machine that builds
//! are replaced, every time stamp is the commit's (or SOURCE_DATE_EPOCH), so that anyone with the commit and
//! the same compiler can check that an image was made from it; `--verify` builds it twice and compares.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::{build, setup};

mod platform;
mod program;
mod verify;

pub use platform::Platform;
use testbed::image::archive::{Compression, File, Image, Variant};

/// Every node pulls it: a platform's image above this is a defect.
const MAX_BYTES: u64 = 25 * 1024 * 1024;
const DESCRIPTION: &str =
    "Per-pod DNS and traffic traces for Kubernetes nodes, with the reasons for what failed";
/// Where the image's name is set.
const KUSTOMIZATION: &str = "deploy/base/kustomization.yaml";

/// Build the agent's container image reproducibly, as an OCI archive
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask image && ctr -n k8s.io image import target/tracer-image.tar
  cargo xtask image && kind load image-archive target/tracer-image.tar
  cargo xtask image --platform linux/amd64,linux/arm64
  skopeo copy --all oci-archive:target/tracer-image.tar docker://YOUR.REGISTRY/tracer:0.1.0
  cargo xtask image --verify

The image's name is the one in deploy/base/kustomization.yaml. SOURCE_DATE_EPOCH sets the time in it (else the \
commit's), TRACER_GIT_COMMIT the commit where there is no repository to ask.

For another platform than this machine's the compiler needs the library of that target: rustup's (rustup target add \
aarch64-unknown-linux-gnu) where it is there, else Debian's rustc-web builds it from rust-web-src; and a C compiler with \
its static library (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross).

Exit code 0: it is written, or verified; 1: two builds differ; 2: it could not be built.")]
pub struct Arguments {
    /// Where to write the archive
    #[arg(long, value_name = "FILE", default_value = "target/tracer-image.tar")]
    out: PathBuf,
    /// Platforms, separated by commas [default: this machine's]
    #[arg(long, value_enum, value_name = "OS/ARCH", value_delimiter = ',')]
    platform: Vec<Platform>,
    /// Use this static program instead of building one; once per architecture
    #[arg(long, value_name = "FILE", conflicts_with = "platform")]
    program: Vec<PathBuf>,
    /// Write nothing; build twice from two fresh copies of the sources, and compare
    #[arg(long, conflicts_with_all = ["program", "out"])]
    verify: bool,
}

/// Builds the programs and writes the image.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let sources = Sources::here()?;
    let mut platforms = arguments.platform.clone();
    if platforms.is_empty() && arguments.program.is_empty() {
        platforms.push(Platform::host()?);
    }
    platforms.sort();
    platforms.dedup();
    if !platforms.is_empty() {
        setup::ensure(setup::Needs::Probes)?;
    }
    if arguments.verify {
        return verify::run(&sources, &platforms);
    }
    let mut programs = arguments.program.clone();
    for platform in platforms {
        programs.push(sources.program(platform, &usual_directory()?)?);
    }
    let written = sources.write(&programs, &arguments.out)?;
    eprintln!(
        "image: {} for {}, {}, {:.1} MB: {}",
        written.reference,
        written.platforms,
        written.digest,
        written.bytes as f64 / 1e6,
        arguments.out.display()
    );
    println!("{}", written.digest);
    Ok(ExitCode::SUCCESS)
}

/// Builds the tracer for an image of this machine's platform and gives its path. Cargo shows its progress.
pub fn static_program() -> Result<PathBuf> {
    setup::ensure(setup::Needs::Probes)?;
    Sources::here()?.program(Platform::host()?, &usual_directory()?)
}

/// Puts a static program into an image.
pub fn write(program: &Path, out: &Path) -> Result<Written> {
    Sources::here()?.write(&[program.to_owned()], out)
}

/// cargo's directory for images: with other flags than usual, everything in the usual one would be rebuilt,
/// back and forth.
fn usual_directory() -> Result<PathBuf> {
    Ok(std::path::absolute(build::target_directory())?.join("image"))
}

/// An image that was written.
#[derive(Debug)]
pub struct Written {
    /// Its name.
    pub reference: String,
    /// Its platforms, as text.
    pub platforms: String,
    /// The digest of its index.
    pub digest: String,
    /// The archive's size.
    pub bytes: u64,
}

/// What images are made from.
#[derive(Clone, Debug)]
struct Sources {
    /// The repository, or a copy of it.
    tree: PathBuf,
    /// Which commit that is, where it is known.
    commit: Option<String>,
    /// When that was: the time of everything in the image.
    created: i64,
}

impl Sources {
    fn here() -> Result<Sources> {
        Ok(Sources {
            tree: build::root().canonicalize()?,
            commit: commit(),
            created: time()?,
        })
    }

    fn program(&self, platform: Platform, target_directory: &Path) -> Result<PathBuf> {
        program::build(
            &self.tree,
            target_directory,
            platform,
            self.commit.as_deref(),
        )
    }

    fn write(&self, programs: &[PathBuf], out: &Path) -> Result<Written> {
        let reference = reference(&self.tree)?;
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
        labels.extend(self.commit.clone().map(|commit| ("revision", commit)));
        let variants: Result<Vec<(Platform, Variant)>> =
            programs.iter().map(|file| self.variant(file)).collect();
        let (platforms, variants): (Vec<Platform>, _) = variants?.into_iter().unzip();
        let image = Image {
            reference: reference.clone(),
            created: self.created,
            entrypoint: vec!["/usr/bin/tracer".to_owned()],
            environment: vec!["PATH=/usr/bin".to_owned()],
            labels: labels
                .into_iter()
                .map(|(name, text)| (format!("org.opencontainers.image.{name}"), text))
                .collect(),
            compression: Compression::best(),
            variants,
        };
        let file =
            fs::File::create(out).with_context(|| format!("cannot write {}", out.display()))?;
        let digest = image.write(std::io::BufWriter::new(file))?;
        let bytes = fs::metadata(out)?.len();
        let most = MAX_BYTES * platforms.len() as u64;
        ensure!(
            bytes <= most,
            "the image has {bytes} bytes; {most} is the most that every node should have to pull"
        );
        let platforms: Vec<String> = platforms.iter().map(Platform::to_string).collect();
        Ok(Written {
            reference,
            platforms: platforms.join(" and "),
            digest,
            bytes,
        })
    }

    /// What the image is on the platform that a program is for.
    fn variant(&self, program: &Path) -> Result<(Platform, Variant)> {
        let content =
            fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
        let platform = Platform::of_static(&content)
            .with_context(|| format!("{} does not fit", program.display()))?;
        let mut files = vec![("usr/bin/tracer".to_owned(), File::Plain(0o755, content))];
        for name in ["LICENSE-APACHE", "LICENSE-GPL2", "LICENSE-MIT"] {
            let text =
                fs::read(self.tree.join(name)).with_context(|| format!("cannot read {name}"))?;
            files.push((
                format!("usr/share/doc/tracer/{name}"),
                File::Plain(0o644, text),
            ));
        }
        // What the agent's volumes are mounted on: the root is read-only.
        files.push(("run/tracer".to_owned(), File::Directory(0o755)));
        let variant = Variant {
            architecture: platform.arch(),
            files: files.into_iter().collect(),
        };
        Ok((platform, variant))
    }
}

/// The image's name with its tag, from the one place where it is set.
pub(crate) fn reference(tree: &Path) -> Result<String> {
    let path = tree.join(KUSTOMIZATION);
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
        "image: the sources differ from the commit, so the image cannot be traced to a commit"
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

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, chown};
    use std::time::{Duration, SystemTime};

    use super::platform::tests::program;
    use super::*;

    #[test]
    fn the_name_comes_from_the_deployment() {
        let named = "images: [{name: tracer, newName: some.registry/a/tracer, newTag: v2}]";
        assert_eq!(
            parse_reference(named).expect("it has one"),
            "some.registry/a/tracer:v2"
        );
        assert!(parse_reference("images: []").is_err());
        let ours = reference(&build::root()).expect("deploy/ has one");
        assert!(ours.contains("/tracer:"), "{ours}");
    }

    #[test]
    fn an_image_is_what_its_files_contain_and_not_when_or_by_whom_they_were_made() {
        let directory = env::temp_dir().join(format!("xtask-image-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        // A program and the tree that it is from; `rest` is what the program contains.
        let image = |name: &str, rest: &[u8], reversed: bool| {
            let tree = directory.join(name);
            fs::create_dir_all(tree.join("deploy/base")).expect("a directory");
            let mut files = vec![
                "LICENSE-APACHE",
                "LICENSE-GPL2",
                "LICENSE-MIT",
                KUSTOMIZATION,
            ];
            if reversed {
                files.reverse();
            }
            for file in files {
                fs::copy(build::root().join(file), tree.join(file)).expect("a copy");
            }
            let (amd, arm) = (tree.join("amd"), tree.join("arm"));
            fs::write(&amd, program(62, rest)).expect("a file");
            fs::write(&arm, program(183, rest)).expect("a file");
            let mut programs = [amd.clone(), arm];
            if reversed {
                programs.reverse();
                let file = fs::File::options().write(true).open(&amd);
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
                file.and_then(|file| file.set_modified(time))
                    .expect("it can be aged");
                fs::set_permissions(&amd, Permissions::from_mode(0o600)).expect("ours");
                if rustix::process::geteuid().is_root() {
                    chown(&amd, Some(12), Some(34)).expect("root may");
                }
            }
            let sources = Sources {
                tree,
                commit: Some("0123abcd".to_owned()),
                created: 1_700_000_000,
            };
            let out = directory.join(format!("{name}.tar"));
            let written = sources.write(&programs, &out).expect("it can be written");
            (written.digest, fs::read(out).expect("it is there"))
        };
        let first = image("first", b"content", false);
        let second = image("second", b"content", true);
        assert!(first == second);
        let changed = image("changed", b"contenu", false);
        assert_ne!(first.0, changed.0);
        fs::remove_dir_all(&directory).expect("it can be removed");
    }
}
