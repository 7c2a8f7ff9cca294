//! The programs of a cluster: Kubernetes' and CoreDNS, which Debian does not have, built as ordinary Go
//! modules at fixed releases through the Go toolchain and kept in the user's cache; etcd, containerd, runc
//! and the CNI plugins from Debian.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::debian;
use crate::lab::shell;

/// Go programs of one module, at one release.
struct Module {
    path: &'static str,
    version: &'static str,
    /// Packages below the module's path; the program is called as their last part.
    packages: &'static [&'static str],
    /// Whether the parts that its own repository replaces by directories are published, and as which version:
    /// a module that requires it must say so itself, because replacements count in the main module only.
    staging: Option<&'static str>,
    /// The release, which the linker writes into the programs as their own builds do.
    variables: &'static [(&'static str, &'static str)],
}

/// The release of Kubernetes.
pub const KUBERNETES: &str = "v1.36.2";

const MODULES: [Module; 2] = [
    Module {
        path: "k8s.io/kubernetes",
        version: KUBERNETES,
        packages: &[
            "cmd/kube-apiserver",
            "cmd/kube-controller-manager",
            "cmd/kube-scheduler",
            "cmd/kubelet",
            "cmd/kube-proxy",
            "cmd/kubectl",
        ],
        staging: Some("v0.36.2"),
        variables: &[
            ("k8s.io/component-base/version.gitVersion", KUBERNETES),
            ("k8s.io/component-base/version.gitMajor", "1"),
            ("k8s.io/component-base/version.gitMinor", "36"),
            ("k8s.io/component-base/version.gitTreeState", "clean"),
            ("k8s.io/client-go/pkg/version.gitVersion", KUBERNETES),
        ],
    },
    Module {
        path: "github.com/coredns/coredns",
        version: "v1.13.1",
        packages: &[""],
        staging: None,
        variables: &[],
    },
];

impl Module {
    /// The programs' names.
    fn programs(&self) -> impl Iterator<Item = &'static str> {
        self.packages.iter().map(|package| {
            let path = if package.is_empty() {
                self.path
            } else {
                package
            };
            path.rsplit('/').next().unwrap_or(path)
        })
    }

    /// The file with the release of the cached programs.
    fn stamp(&self) -> String {
        format!("{}@{}\n", self.path, self.version)
    }
}

/// The programs from Debian: program or file, package, purpose.
const PACKAGES: [(&str, &str); 7] = [
    ("etcd", "etcd-server"),
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("busybox", "busybox-static"),
];
/// Debian's directory of CNI plugins.
pub(super) const CNI_PLUGINS: &str = "/usr/lib/cni";

/// The cache: $XDG_CACHE_HOME/tracer/cluster.
pub(super) fn cache() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = base.or_else(|| env::home_dir().map(|home| home.join(".cache")));
    let base = base.context("neither XDG_CACHE_HOME nor a home directory says where to cache")?;
    Ok(base.join("tracer/cluster"))
}

/// Where the programs are.
pub(super) fn programs() -> Result<PathBuf> {
    Ok(cache()?.join("bin"))
}

/// Builds the programs that the cache lacks in this release. Silent if it lacks none.
pub fn ensure_built() -> Result<()> {
    let cache = cache()?;
    let bin = cache.join("bin");
    for module in &MODULES {
        let stamp = bin.join(format!("{}.release", module.path.replace('/', "_")));
        let there = fs::read_to_string(&stamp).is_ok_and(|text| text == module.stamp())
            && module.programs().all(|program| bin.join(program).exists());
        if !there {
            build(module, &cache)
                .with_context(|| format!("cannot build {} {}", module.path, module.version))?;
            fs::write(&stamp, module.stamp())?;
        }
    }
    // Twice the size of all programs, and unused until the next release.
    match fs::remove_dir_all(cache.join("gocache")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("cannot clear Go's build cache")
        }
        _ => Ok(()),
    }
}

fn build(module: &Module, cache: &Path) -> Result<()> {
    let version = Command::new("go").args(["env", "GOVERSION"]).output();
    let Ok(version) = version else {
        bail!(
            "there is no Go toolchain (`go` is not on the PATH). The cluster's own programs are Go modules that Debian \
             does not have; install Go 1.26 or later"
        );
    };
    let directory = cache.join("build").join(module.path.replace('/', "_"));
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    eprintln!(
        "cluster: building {} {} with {} (once; about 13 minutes for Kubernetes on two cores)",
        module.path,
        module.version,
        String::from_utf8_lossy(&version.stdout).trim()
    );
    fs::write(directory.join("go.mod"), go_mod(module, &directory)?)?;
    let mut go = go(&directory);
    go.args([
        "build",
        "-trimpath",
        "-ldflags",
        &linker_flags(module),
        "-o",
    ])
    .arg(format!("{}/", cache.join("bin").display()))
    .env("CGO_ENABLED", "0")
    .env("GOCACHE", cache.join("gocache"));
    for package in module.packages {
        go.arg(format!("{}/{package}", module.path).trim_end_matches('/'));
    }
    let status = go.status().context("cannot run go")?;
    ensure!(
        status.success(),
        "go ended with {status}; its messages are above. It needs a module proxy (GOPROXY) that it reaches"
    );
    Ok(())
}

/// In a module that requires only this one, whose checksums Go fills in as it goes.
fn go(directory: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(directory)
        .env("GOFLAGS", "-mod=mod -buildvcs=false")
        .env("GOWORK", "off");
    go
}

fn linker_flags(module: &Module) -> String {
    let mut flags = "-s -w".to_owned();
    for (variable, value) in module.variables {
        let _ = write!(flags, " -X {variable}={value}");
    }
    flags
}

fn go_mod(module: &Module, directory: &Path) -> Result<String> {
    let mut text = format!(
        "module tracer.invalid/cluster\n\ngo 1.26.0\n\nrequire {} {}\n",
        module.path, module.version
    );
    if let Some(version) = module.staging {
        // Any module file will do for the query.
        fs::write(directory.join("go.mod"), &text)?;
        let wanted = format!("{}@{}", module.path, module.version);
        let answer = shell::run(go(directory).args(["mod", "download", "-json", &wanted]))?;
        let answer: Value = serde_json::from_str(&answer).context("go mod download -json")?;
        let file = answer["GoMod"].as_str().context("go names no go.mod")?;
        let theirs = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
        let replaced: Vec<&str> = staged(&theirs).collect();
        ensure!(
            !replaced.is_empty(),
            "{wanted} replaces nothing by directories of its own"
        );
        for path in replaced {
            let _ = writeln!(text, "replace {path} => {path} {version}");
        }
        for setting in theirs.lines().filter(|line| line.starts_with("godebug ")) {
            let _ = writeln!(text, "{setting}");
        }
    }
    Ok(text)
}

/// The modules that a go.mod replaces by directories of its own repository.
fn staged(go_mod: &str) -> impl Iterator<Item = &str> {
    go_mod.lines().filter_map(|line| {
        let (path, to) = line
            .trim()
            .trim_start_matches("replace ")
            .split_once(" => ")?;
        to.starts_with("./staging/").then_some(path)
    })
}

/// Installs missing programs from Debian.
pub fn ensure_installed() -> Result<()> {
    let mut missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(program, _)| debian::program(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if !Path::new(CNI_PLUGINS).join("ptp").exists() {
        missing.push("containernetworking-plugins");
    }
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("cluster: missing are Debian's {}", missing.join(", "));
    debian::install(&missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_named_as_their_packages_are() {
        let names: Vec<&str> = MODULES.iter().flat_map(Module::programs).collect();
        assert_eq!(
            names,
            [
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubelet",
                "kube-proxy",
                "kubectl",
                "coredns"
            ]
        );
    }

    #[test]
    fn only_directories_of_the_repository_are_replaced_by_published_modules() {
        let theirs = "module k8s.io/kubernetes\nreplace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\
                      \ta.b/c => a.b/d v1.0.0\n)\nreplace k8s.io/kms => ./staging/src/k8s.io/kms\n";
        assert_eq!(
            staged(theirs).collect::<Vec<_>>(),
            ["k8s.io/api", "k8s.io/kms"]
        );
    }
}
