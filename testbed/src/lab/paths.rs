//! The names of everything that a lab owns, derived from the lab's name. Pure.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::inventory::Pod;

/// The paths and names of a lab.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    name: String,
}

impl Paths {
    /// Checks the name: it becomes part of paths that are deleted and of namespaces' names.
    pub(crate) fn new(name: &str) -> Result<Paths> {
        let fine = !name.is_empty()
            && name.len() <= 40
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        ensure!(
            fine,
            "a lab's name is made of lower-case letters, digits and hyphens, not {name:?}"
        );
        Ok(Paths {
            name: name.to_owned(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The lab's files. Below /run: gone after a reboot, as namespaces and processes are.
    pub(crate) fn directory(&self) -> PathBuf {
        Path::new("/run").join(&self.name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory().join("state.json")
    }

    pub(crate) fn inventory(&self) -> PathBuf {
        self.directory().join("inventory.yaml")
    }

    /// Beside the directory, not in it: it is held while the directory is made and removed.
    pub(crate) fn lock(&self) -> PathBuf {
        Path::new("/run").join(format!("{}.lock", self.name))
    }

    pub(crate) fn pod_directory(&self, pod: &Pod) -> PathBuf {
        self.directory()
            .join("pods")
            .join(format!("{}.{}", pod.namespace, pod.name))
    }

    /// Files of a part that is not a pod, such as the upstream stand-in.
    pub(crate) fn part_directory(&self, part: &str) -> PathBuf {
        self.directory().join(part)
    }

    pub(crate) fn log(&self, what: &str) -> PathBuf {
        self.directory().join("logs").join(format!("{what}.log"))
    }

    /// The namespace of a node, or of one of the lab's own parts (switch, router, upstream).
    pub(crate) fn netns(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }

    /// A dot between namespace and name keeps the names of two pods apart.
    pub(crate) fn pod_netns(&self, pod: &Pod) -> String {
        format!("{}-{}.{}", self.name, pod.namespace, pod.name)
    }

    /// Below the lab's cgroup, as kubelet's cgroupfs driver lays it out for a BestEffort pod.
    pub(crate) fn pod_cgroup(pod: &Pod) -> PathBuf {
        Path::new("kubepods/besteffort")
            .join(format!("pod{}", pod.uid))
            .join(&pod.container_id)
    }
}

/// The file of a named network namespace, as iproute2 keeps them.
pub(crate) fn netns_file(netns: &str) -> PathBuf {
    Path::new("/run/netns").join(netns)
}

/// The host end of a pod's veth: Calico's form, eleven hexadecimal digits, here the UID's last ones.
pub(crate) fn host_interface(pod: &Pod) -> String {
    let digits: Vec<char> = pod.uid.chars().filter(char::is_ascii_hexdigit).collect();
    format!(
        "cali{}",
        digits[digits.len().saturating_sub(11)..]
            .iter()
            .collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_leave_run_is_refused() {
        for name in ["", "..", "a/b", "-x", "Lab", "a b"] {
            assert!(Paths::new(name).is_err(), "{name:?}");
        }
        assert!(Paths::new("tracer-lab").is_ok());
    }
}
