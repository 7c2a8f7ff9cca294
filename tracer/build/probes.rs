//! Builds the probes (`tracer-ebpf`) for the BPF target and writes the objects to `OUT_DIR`, where `capture`
//! embeds them.
//!
//! The build needs bpf-linker and the core library's source, for `-Z build-std`. Two toolchains have the
//! source: a rustup nightly with the component rust-src, and Debian's rustc-web, cargo-web and rust-web-src.
//! The crate's environment variable `TRACER_EBPF_TOOLCHAIN` names the one that was used.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The objects: the probes at interfaces, and the iterator over tasks.
const OBJECTS: [&str; 2] = ["tracer-ebpf", "tracer-tasks"];

/// Writes an `.o` file for each of [`OBJECTS`] to `OUT_DIR`.
pub fn build() -> Result<(), String> {
    let manifest_dir = PathBuf::from(crate::variable("CARGO_MANIFEST_DIR")?);
    let out_dir = PathBuf::from(crate::variable("OUT_DIR")?);
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

    let linker = find_linker()?;
    let toolchain = Toolchain::find()?;
    println!(
        "cargo::rustc-env=TRACER_EBPF_TOOLCHAIN={}",
        toolchain.description
    );

    let target = match crate::variable("CARGO_CFG_TARGET_ENDIAN")?.as_str() {
        "big" => "bpfeb-unknown-none",
        _ => "bpfel-unknown-none",
    };
    let arch = crate::variable("CARGO_CFG_TARGET_ARCH")?;
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
        .map_err(|error| format!("cannot start {}: {error}", toolchain.description))?;
    if !status.success() {
        return Err(format!(
            "cargo failed ({status}) with {} and {}; see its messages above. `cargo xtask setup` checks what the build \
             needs. A bpf-linker built for an older LLVM than the compiler's cannot read the compiler's output",
            toolchain.description,
            linker.display(),
        ));
    }

    for name in OBJECTS {
        let object = target_dir.join(target).join("release").join(name);
        let embedded = out_dir.join(format!("{name}.o"));
        std::fs::copy(&object, &embedded).map_err(|error| {
            format!(
                "cannot copy {} to {}: {error}",
                object.display(),
                embedded.display()
            )
        })?;
    }
    Ok(())
}

/// The compiler's flags as `CARGO_ENCODED_RUSTFLAGS` takes them, separated by 0x1f.
fn flags(linker: &Path, arch: &str, workspace: &Path) -> Result<String, String> {
    let utf8 = |path: &Path| {
        let text = path.to_str().map(str::to_owned);
        text.ok_or_else(|| format!("the path {} is not UTF-8", path.display()))
    };
    let mut flags = vec![
        "-Cpanic=abort".to_owned(),
        // bpf-linker generates BTF from the debug information.
        "-Cdebuginfo=2".to_owned(),
        format!("-Clinker={}", utf8(linker)?),
        "-Clink-arg=--btf".to_owned(),
        // aya-ebpf picks its register structures by it.
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        // BTF contains source paths. Without the remapping two machines build different objects from one
        // commit.
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

/// The compiler of the probes.
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
                // -Z build-std and inline assembly for BPF are unstable; this lets a release compiler accept
                // them.
                environment: vec![("RUSTC", "/usr/bin/rustc"), ("RUSTC_BOOTSTRAP", "1")],
            });
        }
        Err("no compiler with the core library's source found. Run `cargo xtask setup`, or install a rustup nightly with \
             rust-src (`rustup toolchain install nightly --component rust-src`) or Debian's rustc-web, cargo-web and \
             rust-web-src. `--no-default-features --features client` builds tracer without the probes"
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

/// The compiler's version, if it runs and has the core library's source.
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

/// Removes the variables that cargo and rustup set for this build, which has another compiler, target and
/// profile. The user's settings for cargo (CARGO_HOME, network, registries) stay.
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
        let set_by_cargo =
            name.starts_with("CARGO") && !KEPT.iter().any(|kept| name.starts_with(kept));
        if set_by_cargo || name.starts_with("RUSTC_") || DROPPED.contains(&name) {
            command.env_remove(name);
        }
    }
    command
}

/// Finds bpf-linker on the PATH, else where `cargo install` puts it.
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
            "bpf-linker is neither on the PATH nor in ~/.cargo/bin. Run `cargo xtask setup`, or install a release of \
             https://github.com/aya-rs/bpf-linker there. `--no-default-features --features client` builds tracer \
             without the probes"
                .to_owned()
        })
}
