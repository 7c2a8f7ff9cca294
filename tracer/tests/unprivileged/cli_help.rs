//! Help of every command, and the completions and manual pages generated from the same definition. A change
//! of the interface shows as a diff of a snapshot.

use std::process::{Command, Output};

/// Runs the program without the variables that it reads.
fn tracer(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRACER_") {
            command.env_remove(name);
        }
    }
    command
        .args(args)
        .env_remove("NO_COLOR")
        .env("COLUMNS", "110")
        .output()
        .expect("the program runs")
}

fn stdout_of(args: &[&str]) -> String {
    let output = tracer(args);
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn rendered(name: Option<&str>, long: bool) -> String {
    let mut root = tracer::cli::command().term_width(110);
    root.build();
    let mut command = match name {
        Some(name) => root
            .find_subcommand(name)
            .expect("a command")
            .clone()
            .term_width(110),
        None => root,
    };
    let help = if long {
        command.render_long_help()
    } else {
        command.render_help()
    };
    help.to_string()
}

#[test]
fn short_help_of_every_command() {
    insta::assert_snapshot!("help_short", rendered(None, false));
    for name in [
        "agent",
        "observe",
        "diagnose",
        "dns",
        "explain",
        "status",
        "check",
        "version",
        "completions",
        "man",
    ] {
        insta::assert_snapshot!(format!("help_short_{name}"), rendered(Some(name), false));
    }
}

#[test]
fn long_help_of_every_command() {
    insta::assert_snapshot!("help_long", rendered(None, true));
    for name in [
        "agent", "observe", "diagnose", "dns", "explain", "status", "check",
    ] {
        insta::assert_snapshot!(format!("help_long_{name}"), rendered(Some(name), true));
    }
}

#[test]
fn help_goes_to_stdout_and_wrong_usage_to_stderr() {
    let help = tracer(&["observe", "--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(help.stderr.is_empty() && !help.stdout.is_empty());
    for wrong in [
        &["observe", "--no-such-option"][..],
        &["no-such-command"],
        &["observe", "--local", "--duration", "10"],
        &["man", "no-such-command"],
        &["diagnose"],
        &["explain"],
        &["diagnose", "--explain", "no-such-rule"],
    ] {
        let output = tracer(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(output.stdout.is_empty(), "{wrong:?}");
        assert!(!output.stderr.is_empty(), "{wrong:?}");
    }
}

#[test]
fn without_a_cluster_or_a_source_the_error_names_the_options() {
    let output = Command::new(env!("CARGO_BIN_EXE_tracer"))
        .arg("observe")
        .env("KUBECONFIG", "/no/such/kubeconfig")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .output()
        .expect("the program runs");
    let says = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        ["--local", "--server", "--kubeconfig"]
            .iter()
            .all(|option| says.contains(option)),
        "{says}"
    );
}

#[test]
fn variables_set_options() {
    let output = Command::new(env!("CARGO_BIN_EXE_tracer"))
        .arg("observe")
        .env("TRACER_DURATION", "10")
        .output()
        .expect("the program runs");
    let says = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2));
    assert!(says.contains("needs its unit"), "{says}");
}

#[test]
fn completion_scripts_contain_the_options() {
    for (shell, knows) in [
        ("bash", "--inventory"),
        ("zsh", "--inventory"),
        ("fish", "inventory"),
    ] {
        let script = stdout_of(&["completions", shell]);
        assert!(script.contains(knows), "{shell}");
    }
    // bash parses the script without an error.
    let script = stdout_of(&["completions", "bash"]);
    let checked = Command::new("bash")
        .args(["-n", "-c", &script])
        .output()
        .expect("bash runs");
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );
}

#[test]
fn manual_pages_are_roff_and_name_variables() {
    let page = stdout_of(&["man"]);
    assert!(page.contains(".TH tracer 1"), "{page}");
    let page = stdout_of(&["man", "observe"]);
    assert!(
        page.contains(".TH tracer\\-observe 1") || page.contains(".TH tracer-observe 1"),
        "{page}"
    );
    assert!(page.contains("TRACER_INVENTORY"), "{page}");
    // The page has the options that the short help hides.
    for command in ["agent", "observe", "diagnose", "dns"] {
        let page = stdout_of(&["man", command]);
        assert!(page.contains("TRACER_RING_SIZE"), "{command}: {page}");
    }
}

#[test]
fn version_prints_sources_and_tools_of_the_build() {
    let says = stdout_of(&["version"]);
    for (line, starts) in says.lines().zip([
        "tracer         0.",
        "commit         ",
        "eBPF toolchain ",
        "record layout  ",
    ]) {
        assert!(line.starts_with(starts), "{line}");
    }
    assert_eq!(says.lines().count(), 4);
}

#[test]
fn version_prints_the_commit() {
    let says = stdout_of(&["version"]);
    let built = says
        .lines()
        .find_map(|line| line.strip_prefix("commit         "));
    // A packager sets the variable; otherwise the build asks the repository, if there is one.
    let asked = Command::new("git")
        .args([
            "-C",
            concat!(env!("CARGO_MANIFEST_DIR"), "/.."),
            "rev-parse",
            "HEAD",
        ])
        .output()
        .ok()
        .filter(|output| output.status.success());
    let expected = match (std::env::var("TRACER_GIT_COMMIT"), asked) {
        (Ok(given), _) => given,
        (Err(_), Some(output)) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        (Err(_), None) => "not recorded at build time".to_owned(),
    };
    assert_eq!(built, Some(expected.as_str()));
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_tracer"))
        .args(["completions", "bash"])
        .stdout(writer)
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(0));
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
