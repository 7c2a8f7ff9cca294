//! Builds the probes (`tracer-ebpf`) for the BPF target and leaves the object in `OUT_DIR` for `capture` to embed.
//!
//! The probes need the core library's source, for `-Z build-std`, and bpf-linker. Two set-ups have them: a rustup nightly
//! with the rust-src component, or Debian's rustc-web, cargo-web and rust-web-src. Which one was taken is in the
//! environment variable `TRACER_EBPF_TOOLCHAIN` of the crate, and in `TRACER_GIT_COMMIT` the commit that is built, where
//! there is a repository to ask or whoever builds it has set that variable.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Leaves `tracer-ebpf.o` in `OUT_DIR`.
pub fn build() -> Result<(), String> {
    let manifest_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let workspace = manifest_dir
        .parent()
        .ok_or("the crate has no parent directory")?;
    let probes = workspace.join("tracer-ebpf");
    for input in [
        "build/probes.rs",
        "../tracer-ebpf/src",
        "../tracer-ebpf/Cargo.toml",
        "../tracer-ebpf/Cargo.lock",
        "../tracer-common/src",
        "../tracer-common/Cargo.toml",
    ] {
        println!("cargo::rerun-if-changed={input}");
    }

    commit(workspace);

    let linker = find_linker()?;
    let toolchain = Toolchain::find()?;
    println!(
        "cargo::rustc-env=TRACER_EBPF_TOOLCHAIN={}",
        toolchain.description
    );

    let target = match variable("CARGO_CFG_TARGET_ENDIAN")?.as_str() {
        "big" => "bpfeb-unknown-none",
        _ => "bpfel-unknown-none",
    };
    let arch = variable("CARGO_CFG_TARGET_ARCH")?;
    let target_dir = out_dir.join("tracer-ebpf-target");
    let status = toolchain
        .cargo()
        .args([
            "build",
            "--release",
            "--locked",
            "-Z",
            "build-std=core",
            "--target",
            target,
        ])
        .arg("--manifest-path")
        .arg(probes.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(&linker, &arch, workspace)?)
        .status()
        .map_err(|error| format!("{} does not start: {error}", toolchain.description))?;
    if !status.success() {
        return Err(format!(
            "cargo failed ({status}) with {} and {}; its messages are above. `cargo xtask setup` says what the build \
             needs; a bpf-linker built for an older LLVM than the compiler's cannot read its output",
            toolchain.description,
            linker.display(),
        ));
    }

    let object = target_dir.join(target).join("release").join("tracer-ebpf");
    let embedded = out_dir.join("tracer-ebpf.o");
    std::fs::copy(&object, &embedded).map_err(|error| {
        format!(
            "cannot copy {} to {}: {error}",
            object.display(),
            embedded.display()
        )
    })?;
    Ok(())
}

/// Says which commit this is. Sources without a repository are fine, and so are those inside of another one's.
fn commit(workspace: &Path) {
    println!("cargo::rerun-if-env-changed=TRACER_GIT_COMMIT");
    if env::var_os("TRACER_GIT_COMMIT").is_some() {
        // What the environment says reaches the compiler by itself.
        return;
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(workspace)
            .args(arguments)
            // Said where git was called from, as in a hook.
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let top =
        git(&["rev-parse", "--show-toplevel"]).and_then(|top| Path::new(&top).canonicalize().ok());
    if top.is_none() || top != workspace.canonicalize().ok() {
        return;
    }
    // A checkout changes HEAD, a commit the file that HEAD names. That is not there while refs are packed into one file; the
    // log of HEAD knows of it then.
    let reference = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "logs/HEAD", "packed-refs"]
        .into_iter()
        .chain(reference.as_deref())
    {
        let path = git(&["rev-parse", "--git-path", name]).map(|path| workspace.join(path));
        // A missing file would count as changed every time.
        if let Some(path) = path.filter(|path| path.exists()) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    if let Some(commit) = git(&["rev-parse", "HEAD"]) {
        println!("cargo::rustc-env=TRACER_GIT_COMMIT={commit}");
    }
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}

/// The flags as cargo takes them: separated by a character that no path contains.
fn flags(linker: &Path, arch: &str, workspace: &Path) -> Result<String, String> {
    let utf8 = |path: &Path| {
        let text = path.to_str().map(str::to_owned);
        text.ok_or_else(|| format!("the path {} is not UTF-8", path.display()))
    };
    let mut flags = vec![
        "-Cpanic=abort".to_owned(),
        // BTF is made from it.
        "-Cdebuginfo=2".to_owned(),
        format!("-Clinker={}", utf8(linker)?),
        "-Clink-arg=--btf".to_owned(),
        // aya-ebpf's structures of registers depend on it.
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        // BTF names source files: not by where they lie on the machine that builds, or two builds of one commit differ.
        format!("--remap-path-prefix={}=/tracer", utf8(workspace)?),
    ];
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    if let Some(home) = cargo_home {
        flags.push(format!("--remap-path-prefix={}=/cargo", utf8(&home)?));
    }
    Ok(flags.join("\u{1f}"))
}

/// What compiles the probes.
struct Toolchain {
    description: String,
    command: Vec<OsString>,
    environment: Vec<(&'static str, &'static str)>,
}

impl Toolchain {
    fn find() -> Result<Toolchain, String> {
        if let Some(version) = version_with_source(&["rustup", "run", "nightly", "rustc"]) {
            return Ok(Toolchain {
                description: format!("rustup nightly ({version})"),
                command: ["rustup", "run", "nightly", "cargo"]
                    .map(OsString::from)
                    .into(),
                environment: Vec::new(),
            });
        }
        if let Some(version) = version_with_source(&["/usr/bin/rustc"])
            && Path::new("/usr/bin/cargo").exists()
        {
            return Ok(Toolchain {
                description: format!("the distribution's compiler ({version})"),
                command: vec![OsString::from("/usr/bin/cargo")],
                // A release compiler; -Z build-std and inline assembly for BPF are for those who ask.
                environment: vec![("RUSTC", "/usr/bin/rustc"), ("RUSTC_BOOTSTRAP", "1")],
            });
        }
        Err("no compiler with the core library's source. Run `cargo xtask setup`, or install one of: a rustup nightly \
             with rust-src (`rustup toolchain install nightly --component rust-src`); Debian's rustc-web, cargo-web and \
             rust-web-src"
            .to_owned())
    }

    fn cargo(&self) -> Command {
        let mut command = clean(Command::new(&self.command[0]));
        command
            .args(&self.command[1..])
            .envs(self.environment.iter().copied());
        command
    }
}

/// The compiler's version, if it runs and has the library's source.
fn version_with_source(rustc: &[&str]) -> Option<String> {
    let ask = |argument: &[&str]| {
        let output = clean(Command::new(rustc[0]))
            .args(&rustc[1..])
            .args(argument)
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let sysroot = ask(&["--print", "sysroot"])?;
    let source = Path::new(&sysroot).join("lib/rustlib/src/rust/library/core/src/lib.rs");
    if !source.exists() {
        return None;
    }
    ask(&["--version"])
}

/// Without what cargo and rustup set for this build: it is meant for another compiler, another target, another profile.
/// Settings of the user that cargo reads (CARGO_HOME, network, registries) stay.
fn clean(mut command: Command) -> Command {
    const KEPT: [&str; 6] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_SOURCE_",
    ];
    const DROPPED: [&str; 14] = [
        "HOST",
        "LD_LIBRARY_PATH",
        "MAKEFLAGS",
        "MFLAGS",
        "NUM_JOBS",
        "OPT_LEVEL",
        "OUT_DIR",
        "PROFILE",
        "DEBUG",
        "RUSTC",
        "RUSTDOC",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
        "TARGET",
    ];
    for (name, _) in env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let of_cargo = name.starts_with("CARGO") && !KEPT.iter().any(|kept| name.starts_with(kept));
        if of_cargo || name.starts_with("RUSTC_") || DROPPED.contains(&name) {
            command.env_remove(name);
        }
    }
    command
}

/// bpf-linker: where the PATH says, else where `cargo install` puts it.
fn find_linker() -> Result<PathBuf, String> {
    let on_path = env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = env::split_paths(&on_path).collect();
    directories.extend(env::var_os("CARGO_HOME").map(|home| PathBuf::from(home).join("bin")));
    directories.extend(env::home_dir().map(|home| home.join(".cargo/bin")));
    directories
        .into_iter()
        .map(|directory| directory.join("bpf-linker"))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| {
            "bpf-linker is neither on the PATH nor in ~/.cargo/bin. Run `cargo xtask setup`, or put a release of \
             https://github.com/aya-rs/bpf-linker there"
                .to_owned()
        })
}
