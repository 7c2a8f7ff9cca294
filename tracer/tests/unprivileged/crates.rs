//! The direction of dependencies between the crates of the workspace.

use std::collections::BTreeSet;
use std::process::Command;

/// The packages in a crate's dependency tree, itself aside, of these kinds of edges.
fn dependencies(package: &str, edges: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--prefix", "none", "--edges", edges])
        .args(["--all-features", "--package", package])
        .output()
        .expect("cargo starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != package)
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_testbed_depends_on_no_crate_that_it_tests() {
    let tested = dependencies("testbed", "normal,build");
    let tested: Vec<&String> = tested
        .iter()
        .filter(|name| name.starts_with("tracer"))
        .collect();
    assert!(tested.is_empty(), "{tested:?}");
}

#[test]
fn the_core_and_its_tests_need_no_edge() {
    let all = dependencies("tracer-core", "normal,build,dev");
    for edge in ["aya", "kube", "testbed", "tokio", "tonic", "tracer"] {
        assert!(!all.contains(edge), "{edge}");
    }
}
