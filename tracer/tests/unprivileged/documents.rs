//! README.md and docs/ against the program: their output is the program's, and their commands parse.
//!
//! The task names after `cargo xtask` are checked by xtask itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser as _;
use clap::error::ErrorKind;
use testbed::scenario::{REMEDIES, STEPS, typed};
use tracer::cli::Cli;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// README.md and the files of docs/, with their text.
fn documents() -> Vec<(String, String)> {
    let mut files = vec!["README.md".to_owned()];
    for entry in fs::read_dir(root().join("docs")).expect("docs/") {
        let name = entry.expect("a directory entry").file_name();
        files.push(format!("docs/{}", name.to_string_lossy()));
    }
    files.sort();
    files
        .into_iter()
        .filter(|file| file.ends_with(".md"))
        .map(|file| (file.clone(), read(&file)))
        .collect()
}

/// The text of the fenced blocks of one language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let blocks = text.split(fence.as_str()).skip(1);
    blocks
        .filter_map(|rest| rest.split("\n```").next())
        .collect()
}

fn normalised(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_readme_is_short_and_narrow() {
    let readme = read("README.md");
    assert!(readme.lines().count() <= 140);
    let wide: Vec<&str> = readme
        .lines()
        .filter(|line| line.chars().count() > 100)
        .collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

/// What `tracer diagnose` prints about captures of the repository.
fn diagnosed(captures: &[String]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tracer"))
        .current_dir(root())
        .args(["diagnose", "--color", "never"])
        .args(["--inventory", "testbed/lab/inventory.yaml"])
        .args(captures)
        .env("TZ", "UTC")
        .output()
        .expect("the tracer runs");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_readme_shows_a_finding_of_the_capture_that_it_names() {
    let capture = "--replay=tracer-core/tests/fixtures/captures/dns-session.pcap.gz";
    let printed = diagnosed(&[capture.to_owned()]);
    let readme = read("README.md");
    let shown = blocks(&readme, "text");
    let shown = shown.first().expect("a text block in README.md");
    let findings: Vec<String> = printed.split("\n\n").map(normalised).collect();
    assert!(findings.contains(&normalised(shown)), "{printed}");
}

#[test]
fn the_readme_shows_the_path_that_the_captures_of_two_nodes_give() {
    let captures = "tracer-core/tests/fixtures/captures/two-nodes";
    let replay = |node: &str| format!("--replay={node}={captures}/{node}.pcap.gz");
    let printed = diagnosed(&["k8s-worker03", "k8s-worker01"].map(replay));
    let readme = read("README.md");
    let shown = blocks(&readme, "text");
    let shown = shown.get(1).expect("a second text block in README.md");
    // The headline and the path of the finding; the reasons are left out.
    let (headline, path) = shown.split_once("\n  path ").expect("two parts");
    assert!(printed.starts_with(headline), "{printed}");
    let path = normalised(&format!("path {path}"));
    let found = printed.lines().any(|line| normalised(line) == path);
    assert!(found, "{printed}");
}

/// The command lines of the indented and fenced code blocks that start with `tracer `, with continuation
/// lines joined.
fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut fenced = false;
    let joined = text.replace("\\\n", " ");
    for line in joined.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
            continue;
        }
        let code = if fenced {
            Some(line)
        } else {
            line.strip_prefix("    ")
        };
        let code = code.map(|code| code.trim_start_matches("$ "));
        commands.extend(
            code.filter(|code| code.starts_with("tracer "))
                .map(str::to_owned),
        );
    }
    commands
}

/// The words of a command up to a pipe, a redirection or a comment.
fn words(command: &str) -> Vec<String> {
    let words = shlex::split(command).unwrap_or_else(|| panic!("not a shell command: {command}"));
    words
        .into_iter()
        .take_while(|word| !["|", ">", "&&", ";"].contains(&word.as_str()))
        .collect()
}

#[test]
fn every_tracer_command_in_the_documents_parses() {
    let mut count = 0;
    for (file, text) in documents() {
        for command in commands(&text) {
            if let Err(error) = Cli::try_parse_from(words(&command)) {
                let help = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion];
                assert!(help.contains(&error.kind()), "{file}: {command}: {error}");
            }
            count += 1;
        }
    }
    assert!(count > 20, "{count} commands");
}

#[test]
fn the_page_of_the_demo_has_the_steps_of_the_scenario() {
    let page = read("docs/demo.md");
    let shown = blocks(&page, "text");
    let [shown] = shown.as_slice() else {
        panic!("docs/demo.md has {} text blocks, not 1", shown.len());
    };
    let steps = STEPS.iter().map(|step| step.title.to_owned());
    let remedies = REMEDIES
        .iter()
        .map(|remedy| format!("what {} says to try", remedy.rule));
    let expected: Vec<String> = (1..)
        .zip(steps.chain(remedies))
        .map(|(number, title)| format!("{number}. {title}"))
        .collect();
    let titles: Vec<&str> = shown
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()) && line.contains(". "))
        .filter(|line| {
            line.split_once(". ")
                .is_some_and(|(number, _)| number.len() == 1)
        })
        .collect();
    assert_eq!(titles, expected);
    let sections = shown
        .split("\n\n")
        .filter(|section| expected.iter().any(|title| section.starts_with(title)));
    for (number, section) in sections.enumerate() {
        let commands: Vec<&str> = section
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("$ "))
            .collect();
        match STEPS.get(number) {
            Some(step) => {
                let expected: Vec<String> = step.commands.iter().map(|argv| typed(argv)).collect();
                assert_eq!(commands, expected, "{}", step.title);
            }
            // The commands that the finding suggests.
            None => assert!(!commands.is_empty(), "{expected:#?}"),
        }
    }
    let findings = shown.matches("  FINDING  ").count();
    assert!(findings >= REMEDIES.len(), "{findings}");
}

/// Every Rust file below a directory.
fn sources(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).expect("UTF-8"));
        }
    }
}

#[test]
fn every_test_that_security_md_names_exists() {
    let mut text = String::new();
    for directory in ["tracer", "tracer-core", "testbed/src", "xtask/src"] {
        for part in ["src", "tests"] {
            let directory = root().join(directory).join(part);
            if directory.is_dir() {
                sources(&directory, &mut text);
            }
        }
    }
    let scenarios = root().join("tracer-core/tests/scenarios");
    let security = read("SECURITY.md");
    let cited = security.split('`').skip(1).step_by(2);
    let mut count = 0;
    for name in cited {
        if let Some(scenario) = name.strip_suffix(".txt") {
            assert!(scenarios.join(name).is_file(), "no scenario {scenario}");
        } else if name.matches('_').count() >= 3
            && name
                .chars()
                .all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit())
        {
            assert!(text.contains(&format!("fn {name}()")), "no test {name}");
        } else {
            continue;
        }
        count += 1;
    }
    assert!(count >= 40, "{count} tests");
}
