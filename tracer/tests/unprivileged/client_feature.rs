//! What a build of the feature `client` alone depends on: nothing of the agent's.

use std::collections::BTreeSet;
use std::process::Command;

/// Dependencies that only an agent may have: they need Linux, the probes' toolchain, or serve something.
const AGENT_ONLY: [&str; 12] = [
    "aya",
    "aya-log",
    "aya-log-common",
    "aya-obj",
    "axum",
    "axum-core",
    "netlink-packet-core",
    "netlink-packet-route",
    "netlink-proto",
    "netlink-sys",
    "prometheus-client",
    "rtnetlink",
];

/// The packages that a build of the crate links, for the system of this machine.
fn dependencies(features: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--edges", "normal", "--prefix", "none"])
        .args(features)
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn agent_only(dependencies: &BTreeSet<String>) -> Vec<&'static str> {
    AGENT_ONLY
        .into_iter()
        .filter(|name| dependencies.contains(*name))
        .collect()
}

#[test]
fn a_client_depends_on_nothing_of_the_agent() {
    let client = dependencies(&["--no-default-features", "--features", "client"]);
    assert!(client.contains("tonic"), "{client:?}");
    assert_eq!(agent_only(&client), [""; 0]);
}

#[test]
fn the_default_features_contain_the_agent() {
    // Proves that the names above are spelled as cargo spells them.
    assert_eq!(agent_only(&dependencies(&[])), AGENT_ONLY);
}
