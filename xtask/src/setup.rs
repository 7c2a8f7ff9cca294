//! `cargo xtask setup`: finds what the probes' build and the lab need, and installs what is missing.
//!
//! Other tasks call [`ensure`] first, so users need not know this command. If nothing is missing it looks at
//! a few files and is done. It installs from Debian's archive only, plus bpf-linker from crates.io; where it
//! cannot (not root, not Debian) it says what to install.

pub(crate) mod find;
mod linker;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use clap::Args;
use testbed::debian;

use find::Compiler;

/// Arguments of `cargo xtask setup`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Only list what is missing; exit code 1 if anything is
    #[arg(long)]
    check: bool,
}

/// What a task is going to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Build the probes.
    Probes,
    /// Raise the lab.
    Lab,
    /// Both.
    Everything,
}

/// What was found, after anything missing was installed.
#[derive(Clone, Debug)]
pub struct Found {
    /// The compiler of the probes, as text.
    pub compiler: Option<String>,
    /// The linker that makes BPF objects.
    pub linker: Option<PathBuf>,
}

/// A program that the lab or the tests run.
struct Program {
    name: &'static str,
    package: &'static str,
    why: &'static str,
}

const fn program(name: &'static str, package: &'static str, why: &'static str) -> Program {
    Program { name, package, why }
}

const PROGRAMS: [Program; 27] = [
    program(
        "ip",
        "iproute2",
        "makes the lab's network namespaces and links",
    ),
    program("tc", "iproute2", "shows what is attached to a link"),
    program(
        "nft",
        "nftables",
        "translates Service addresses, as kube-proxy does",
    ),
    program(
        "nsenter",
        "util-linux",
        "runs programs in a pod's or node's network",
    ),
    program("unshare", "util-linux", "gives a pod its own view of /etc"),
    program(
        "knotd",
        "knot",
        "answers the lab's DNS queries in CoreDNS's place",
    ),
    program("knotc", "knot", "gives that server new zones"),
    program(
        "named",
        "bind9",
        "is the resolver outside the lab's cluster",
    ),
    program("nginx", "nginx-light", "serves behind the lab's Services"),
    program(
        "dig",
        "bind9-dnsutils",
        "asks DNS queries that the tracer must report",
    ),
    program("nslookup", "bind9-dnsutils", "asks as the scenario does"),
    program("ping", "iputils-ping", "pings as the scenario does"),
    program("curl", "curl", "connects as the scenario does"),
    program(
        "conntrack",
        "conntrack",
        "lists the endpoints that the tracer must name",
    ),
    program(
        "ipvsadm",
        "ipvsadm",
        "sets up IPVS where a kernel in QEMU has it",
    ),
    program(
        "tcpdump",
        "tcpdump",
        "captures what the tracer is compared with",
    ),
    program(
        "tshark",
        "tshark",
        "decodes what the tracer is compared with",
    ),
    program(
        "dnsperf",
        "dnsperf",
        "loads a DNS server for the benchmarks",
    ),
    program("nsd", "nsd", "is the DNS server of the benchmarks"),
    program("iperf3", "iperf3", "sends bulk traffic for the benchmarks"),
    program("getent", "libc-bin", "looks names up through glibc"),
    program(
        "musl-gcc",
        "musl-tools",
        "builds a client that looks names up through musl",
    ),
    program(
        "go",
        "golang-go",
        "builds a client that looks names up through Go",
    ),
    program("busybox", "busybox-static", "looks names up in its own way"),
    program("node", "nodejs", "looks names up through c-ares"),
    program(
        "java",
        "default-jdk-headless",
        "runs a client that looks names up as Java does",
    ),
    program(
        "promtool",
        "prometheus",
        "tests the alerts and recording rules",
    ),
];

/// The compiler with the core library's source, from Debian's archive (bookworm-security).
const COMPILER_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const COMPILER_WHY: &str =
    "compiles the probes: BPF has no prebuilt core library, so its source is needed";
const LINKER_WHY: &str = "links the probes into a BPF object";

/// What there is not.
#[derive(Debug, Default)]
struct Missing {
    /// Debian package, and each thing it is for.
    packages: Vec<(&'static str, Vec<String>)>,
    linker: bool,
}

impl Missing {
    fn look(needs: Needs) -> (Missing, Found) {
        let mut missing = Missing::default();
        let mut found = Found {
            compiler: None,
            linker: None,
        };
        if needs != Needs::Lab {
            found.compiler = Compiler::find().map(|compiler| compiler.to_string());
            found.linker = find::bpf_linker();
            if found.compiler.is_none() {
                for package in COMPILER_PACKAGES {
                    missing.package(package, COMPILER_WHY.to_owned());
                }
            }
            if found.linker.is_none() {
                missing.linker = true;
                for (package, file) in linker::LIBRARIES {
                    if !Path::new(file).exists() {
                        missing.package(
                            package,
                            "builds bpf-linker, which links the probes".to_owned(),
                        );
                    }
                }
            }
        }
        if needs != Needs::Probes {
            for program in PROGRAMS
                .iter()
                .filter(|program| debian::program(program.name).is_none())
            {
                missing.package(program.package, format!("{} {}", program.name, program.why));
            }
        }
        (missing, found)
    }

    fn package(&mut self, package: &'static str, why: String) {
        match self.packages.iter_mut().find(|(name, _)| *name == package) {
            Some((_, reasons)) => reasons.push(why),
            None => self.packages.push((package, vec![why])),
        }
    }

    fn is_empty(&self) -> bool {
        self.packages.is_empty() && !self.linker
    }

    fn names(&self) -> Vec<&'static str> {
        self.packages.iter().map(|(name, _)| *name).collect()
    }

    fn describe(&self) -> String {
        let mut lines: Vec<String> = self
            .packages
            .iter()
            .map(|(name, why)| format!("  {name}: {}", why.join("; ")))
            .collect();
        if self.linker {
            lines.push(format!("  bpf-linker {}: {LINKER_WHY}", linker::VERSION));
        }
        lines.join("\n")
    }

    /// What a person can do about it.
    fn remedy(&self) -> String {
        let mut lines = Vec::new();
        if !self.packages.is_empty() {
            lines.push(format!(
                "  apt-get install --no-install-recommends {}",
                self.names().join(" ")
            ));
        }
        if self.linker {
            lines.push(format!("  {}", linker::COMMAND));
        }
        if self
            .packages
            .iter()
            .any(|(name, _)| COMPILER_PACKAGES.contains(name))
        {
            lines.push(
                "or, for the compiler: rustup toolchain install nightly --component rust-src"
                    .to_owned(),
            );
        }
        lines.join("\n")
    }
}

/// Makes sure that everything is there. Says nothing where it is; else each step and why.
pub fn ensure(needs: Needs) -> Result<Found> {
    let (missing, found) = Missing::look(needs);
    if missing.is_empty() {
        return Ok(found);
    }
    eprintln!("setup: missing:\n{}", missing.describe());
    if !missing.packages.is_empty() {
        if !debian::is_debian() {
            bail!(
                "this is not Debian; install these programs, by their Debian packages' names:\n{}",
                missing.remedy()
            );
        }
        if !rustix::process::geteuid().is_root() {
            bail!(
                "installing them needs root; as root run `cargo xtask setup`, or\n{}",
                missing.remedy()
            );
        }
        debian::apt_install(&missing.names())?;
    }
    if missing.linker {
        linker::install()?;
    }
    let (still, found) = Missing::look(needs);
    ensure!(
        still.is_empty(),
        "still missing after the installation:\n{}",
        still.describe()
    );
    eprintln!("setup: nothing is missing");
    Ok(found)
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.check {
        let (missing, found) = Missing::look(Needs::Everything);
        report(&found);
        if !missing.is_empty() {
            println!(
                "missing:\n{}\nto install:\n{}",
                missing.describe(),
                missing.remedy()
            );
            return Ok(ExitCode::FAILURE);
        }
        return Ok(ExitCode::SUCCESS);
    }
    report(&ensure(Needs::Everything)?);
    Ok(ExitCode::SUCCESS)
}

/// Whether the distribution's compiler is there with its library's source.
pub(crate) fn system_compiler() -> bool {
    Compiler::system(Path::new("/usr")).is_some()
}

fn report(found: &Found) {
    let compiler = found.compiler.as_deref().unwrap_or("missing");
    let linker = found
        .linker
        .as_ref()
        .map_or_else(|| "missing".to_owned(), |path| path.display().to_string());
    println!("compiler for the probes  {compiler}\nbpf-linker               {linker}");
    for program in PROGRAMS {
        let path = debian::program(program.name)
            .map_or_else(|| "missing".to_owned(), |path| path.display().to_string());
        println!("{:<24} {path}", program.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_named_once_with_all_that_it_is_for() {
        let mut missing = Missing::default();
        missing.package("knot", "knotd answers".into());
        missing.package("knot", "knotc reloads".into());
        assert_eq!(missing.names(), ["knot"]);
        assert_eq!(missing.describe(), "  knot: knotd answers; knotc reloads");
    }

    #[test]
    fn without_root_the_remedy_has_the_commands() {
        let mut missing = Missing {
            linker: true,
            ..Missing::default()
        };
        missing.package("rustc-web", "compiles".into());
        let remedy = missing.remedy();
        assert!(
            remedy.contains("apt-get install --no-install-recommends rustc-web"),
            "{remedy}"
        );
        assert!(remedy.contains("cargo install bpf-linker"), "{remedy}");
        assert!(
            remedy.contains("rustup toolchain install nightly --component rust-src"),
            "{remedy}"
        );
    }
}
