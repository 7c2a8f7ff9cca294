//! Installs packages from Debian's archive: without questions, and without starting the daemons that some of
//! them bring.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

/// Packages with a daemon, and its unit: the lab runs these programs in its namespaces, the machine must not.
const DAEMONS: [(&str, &str); 8] = [
    ("etcd-server", "etcd.service"),
    ("containerd", "containerd.service"),
    ("knot", "knot.service"),
    ("bind9", "named.service"),
    ("nginx-light", "nginx.service"),
    ("nsd", "nsd.service"),
    ("iperf3", "iperf3.service"),
    ("prometheus", "prometheus.service"),
];

/// Asked by every package before it starts a service; 101 means "forbidden by policy" (invoke-rc.d's
/// interface). One that is there already decides; ours is known by its second line, also after a run that was
/// killed. The shell removes it, because it outlives an interrupted parent.
const GUARDED: &str = r#"
policy=/usr/sbin/policy-rc.d
mark='# Made by cargo xtask setup, for the time of an installation.'
if [ ! -e "$policy" ] || grep -qxF "$mark" "$policy"; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" > "$policy"
    chmod 755 "$policy"
fi
"$@"
"#;

/// A program on the PATH, or where the system keeps those for root.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Whether packages come from apt.
pub fn is_debian() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let like = release
        .lines()
        .filter(|line| line.starts_with("ID=") || line.starts_with("ID_LIKE="));
    let debian = like
        .into_iter()
        .any(|line| line.contains("debian") || line.contains("ubuntu"));
    debian && Path::new("/usr/bin/apt-get").exists()
}

/// Installs Debian packages, where this is Debian and the caller may.
pub fn install(packages: &[&str]) -> Result<()> {
    if !is_debian() {
        bail!(
            "this is not Debian; install these, by their Debian packages' names: {}",
            packages.join(" ")
        );
    }
    if !rustix::process::geteuid().is_root() {
        bail!(
            "installing them needs root: apt-get install --no-install-recommends {}",
            packages.join(" ")
        );
    }
    apt_install(packages)
}

/// Installs packages. Needs root.
pub fn apt_install(packages: &[&str]) -> Result<()> {
    eprintln!("setup: apt-get update, for the list of packages");
    apt(&["update"])?;
    eprintln!("setup: apt-get install {}", packages.join(" "));
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    // Installed packages, such as another compiler, must not be removed for it.
    arguments.push("--no-remove");
    arguments.extend(packages);
    apt(&arguments)?;
    let daemons = DAEMONS
        .iter()
        .filter(|(package, _)| packages.contains(package));
    for (_, unit) in daemons {
        // Installed means enabled: without this it would start at the next boot. Where there is no systemd,
        // nothing starts it.
        let disabled = Command::new("systemctl")
            .args(["--quiet", "disable", unit])
            .stderr(Stdio::null())
            .status();
        if disabled.is_ok_and(|status| status.success()) {
            eprintln!("setup: {unit} is disabled: the lab runs the program, the machine does not");
        }
    }
    Ok(())
}

fn apt(arguments: &[&str]) -> Result<()> {
    let status = Command::new("sh")
        .args([
            "-c",
            GUARDED,
            "sh",
            "apt-get",
            "-qq",
            "-o",
            "Dpkg::Use-Pty=0",
        ])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("NEEDRESTART_SUSPEND", "1")
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .context("cannot run apt-get")?;
    ensure!(
        status.success(),
        "apt-get {} failed ({status})",
        arguments.join(" ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_that_was_there_before_is_left_alone() {
        // The script as it is, on another file: whether it is removed is the shell's doing, not ours.
        let policy = env::temp_dir().join(format!("policy-rc.d-{}", std::process::id()));
        let script = GUARDED.replace("/usr/sbin/policy-rc.d", &policy.display().to_string());
        let run = |command: &str| {
            Command::new("sh")
                .args(["-c", &script, "sh", "sh", "-c", command])
                .output()
                .expect("a shell")
        };

        let seen = run(&format!("cat {}", policy.display()));
        assert!(
            String::from_utf8_lossy(&seen.stdout).ends_with("exit 101\n"),
            "{seen:?}"
        );
        assert!(!policy.exists(), "it goes with the installation");
        assert_eq!(run("exit 3").status.code(), Some(3));
        assert!(!policy.exists(), "it goes with a failed installation too");

        fs::write(&policy, "#!/bin/sh\nexit 0\n").expect("a file");
        let seen = run(&format!("cat {}", policy.display()));
        assert_eq!(String::from_utf8_lossy(&seen.stdout), "#!/bin/sh\nexit 0\n");
        assert!(policy.exists());
        fs::remove_file(&policy).expect("it can be removed");
    }
}
