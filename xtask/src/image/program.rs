//! Builds the static program of an image, for this machine's architecture or for another one.
//!
//! The library for another architecture comes from rustup where that has it (`rustup target add`). Where not,
//! Debian's compiler builds it from its source, which it needs for the probes anyway. It prints which way it
//! took.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{build, setup};
use testbed::debian;
use testbed::lab::shell;

use super::platform::Platform;

/// Of Debian's compiler.
const SYSTEM: (&str, &str) = ("/usr/bin/rustc", "/usr/bin/cargo");

/// Where the standard library for a platform is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Library {
    /// It came with the compiler that cargo uses, or through `rustup target add`.
    Installed,
    /// Debian's compiler builds it.
    Source,
}

/// Builds the tracer from a tree of sources and gives its path. Cargo shows its progress.
pub(super) fn build(
    tree: &Path,
    target_directory: &Path,
    platform: Platform,
    commit: Option<&str>,
) -> Result<PathBuf> {
    let tree = tree.canonicalize()?;
    std::fs::create_dir_all(target_directory)
        .with_context(|| format!("cannot make {}", target_directory.display()))?;
    // As the compiler will see it: what is replaced in paths is compared with that, letter by letter.
    let target_directory = target_directory.canonicalize()?;
    let library = library(platform)?;
    let mut cargo = match library {
        Library::Installed => build::cargo(),
        Library::Source => {
            let (rustc, cargo) = SYSTEM;
            let mut cargo = build::cargo_called(cargo.as_ref());
            // A release compiler; -Z build-std is for those who ask. The libraries that rustup points to are
            // another compiler's.
            cargo
                .args(["-Z", "build-std=std,panic_abort"])
                .env("RUSTC", rustc)
                .env("RUSTC_BOOTSTRAP", "1")
                .env_remove("LD_LIBRARY_PATH")
                .env_remove("RUSTUP_TOOLCHAIN");
            cargo
        }
    };
    let target = platform.target();
    cargo
        .current_dir(&tree)
        .args(["build", "--release", "--locked"])
        .args(["--package", "tracer", "--bin", "tracer"])
        // Without `kubeconfig`, as in deploy/Dockerfile; a test of deploy/ compares them.
        .args(["--no-default-features", "--features", "agent,client"])
        .args(["--target", target, "--target-dir"])
        .arg(&target_directory)
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags(&tree, &target_directory)?);
    if platform != Platform::host()? {
        let variable = format!(
            "CARGO_TARGET_{}_LINKER",
            target.to_uppercase().replace('-', "_")
        );
        if env::var_os(&variable).is_none() {
            ensure_linker(platform)?;
            cargo.env(variable, platform.linker());
        }
    }
    if let Some(commit) = commit {
        cargo.env("TRACER_GIT_COMMIT", commit);
    }
    let status = cargo.status().context("cannot run cargo")?;
    ensure!(
        status.success(),
        "the tracer does not build for {platform}; cargo's messages are above"
    );
    Ok(target_directory.join(target).join("release/tracer"))
}

/// As cargo takes them: separated by a character that no path contains.
fn flags(tree: &Path, target_directory: &Path) -> Result<String> {
    let mut flags = vec![
        "-Ctarget-feature=+crt-static".to_owned(),
        "-Cstrip=symbols".to_owned(),
        remap(tree, "/tracer")?,
        // Code that build scripts write is compiled from there. It may be in the tree or not: the last that
        // fits counts.
        remap(target_directory, "/target")?,
    ];
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    if let Some(home) = cargo_home {
        flags.push(remap(&home, "/cargo")?);
    }
    Ok(flags.join("\u{1f}"))
}

fn remap(path: &Path, to: &str) -> Result<String> {
    let path = path
        .to_str()
        .with_context(|| format!("the path {} is not UTF-8", path.display()))?;
    Ok(format!("--remap-path-prefix={path}={to}"))
}

/// Decides by what there is, and says what it decided.
fn library(platform: Platform) -> Result<Library> {
    let target = platform.target();
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let version = shell::run(shell::command(&rustc).arg("--version"))?;
    let directory =
        shell::run(shell::command(&rustc).args(["--print", "target-libdir", "--target", target]))?;
    if has_library(Path::new(directory.trim())) {
        eprintln!("image: {platform} with {}", version.trim());
        return Ok(Library::Installed);
    }
    if !setup::system_compiler() {
        bail!(
            "{} has no library for {target}, which images for {platform} need. `rustup target add {target}` fetches it; \
             without rustup, Debian's rustc-web, cargo-web and rust-web-src build it from its source (apt-get install \
             --no-install-recommends rustc-web cargo-web rust-web-src)",
            version.trim()
        );
    }
    let version = shell::run(shell::command(SYSTEM.0).arg("--version"))?;
    eprintln!(
        "image: {platform} with the distribution's {}, and the library from its source (`rustup target add {target}` would \
         spare it that)",
        version.trim()
    );
    Ok(Library::Source)
}

fn has_library(directory: &Path) -> bool {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names = files.filter_map(|file| file.file_name().into_string().ok());
    names.any(|name| name.starts_with("libstd-") && name.ends_with(".rlib"))
}

/// Sees to it that there is a C compiler for the platform and a static C library.
fn ensure_linker(platform: Platform) -> Result<()> {
    let linker = platform.linker();
    if debian::program(linker).is_some() {
        // The name alone comes back where it has no such file.
        let library = shell::run(shell::command(linker).arg("-print-file-name=libc.a"))?;
        if Path::new(library.trim()).is_absolute() {
            return Ok(());
        }
    }
    eprintln!(
        "image: {linker} or its static C library is missing, which link programs for {platform}"
    );
    debian::install(&platform.packages())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_same_code_is_compiled_from_the_same_paths_wherever_it_lies() {
        // By the compiler itself: what it writes into a program as the source of a panic.
        let compiled = |target_directory: &str| {
            let directory = tempdir("remap");
            let tree = directory.join("tree");
            let target = directory.join(target_directory);
            fs::create_dir_all(&tree).expect("a directory");
            fs::create_dir_all(target.join("out")).expect("a directory");
            let generated = target.join("out/generated.rs");
            let flags = flags(&tree, &target).expect("paths in UTF-8");
            let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
            let mut command = shell::command(&rustc);
            command
                .args(["--crate-type=lib", "--emit=llvm-ir", "-o"])
                .arg(directory.join("ir"))
                .args(
                    flags
                        .split('\u{1f}')
                        .filter(|flag| flag.starts_with("--remap")),
                )
                .arg(&generated);
            // A constant that is used: else nothing is written.
            fs::write(
                &generated,
                "#[unsafe(no_mangle)] pub static FILE: &str = file!();",
            )
            .expect("a file");
            shell::run(&mut command).expect("it compiles");
            let text = fs::read_to_string(directory.join("ir")).expect("it is text");
            fs::remove_dir_all(&directory).expect("it can be removed");
            text
        };
        for target_directory in ["tree/target", "elsewhere", "tree/target/image"] {
            let text = compiled(target_directory);
            assert!(text.contains("/target/out/generated.rs"), "{text}");
            assert!(
                !text.contains("/tree") && !text.contains("elsewhere"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_target_counts_as_installed_only_with_its_library() {
        let directory = tempdir("target-libdir");
        assert!(!has_library(&directory.join("lib")), "not there");
        fs::create_dir(directory.join("lib")).expect("a directory");
        assert!(!has_library(&directory.join("lib")), "empty");
        fs::write(directory.join("lib/libstd-0123.so"), "").expect("a file");
        assert!(!has_library(&directory.join("lib")), "cannot be linked in");
        fs::write(directory.join("lib/libstd-0123.rlib"), "").expect("a file");
        assert!(has_library(&directory.join("lib")));
        fs::remove_dir_all(&directory).expect("it can be removed");
    }

    fn tempdir(name: &str) -> PathBuf {
        let directory = env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("a directory");
        directory
    }
}
