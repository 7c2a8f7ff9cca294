//! Files on top of command lines of `tracer agent`.

use std::fs;

use super::*;
use crate::cli::{self, Cli, Command};
use clap::FromArgMatches as _;

/// Parses `tracer agent --config FILE` with these arguments, and applies a file with this text.
fn parsed(file: &str, args: &[&str]) -> Result<AgentArgs, String> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.yaml");
    fs::write(&path, file).expect("written");
    let shown = path.display().to_string();
    let line = ["tracer", "agent", "--config", &shown];
    let matches = cli::command()
        .try_get_matches_from(line.iter().chain(args))
        .map_err(|error| error.to_string())?;
    let (_, of_agent) = matches.subcommand().expect("agent");
    let Command::Agent(mut args) = Cli::from_arg_matches(&matches).expect("valid").command else {
        panic!("not an agent");
    };
    let file = read(&locate(&path)).map_err(|error| error.to_string().replace(&shown, "FILE"))?;
    file.apply(&mut args, &Given::new(of_agent));
    Ok(*args)
}

fn domains(written: &[&str]) -> Vec<RedactedDomain> {
    let parsed = written.iter().map(|domain| domain.parse());
    parsed.map(|domain| domain.expect("a domain")).collect()
}

#[test]
fn the_file_has_every_option_of_the_agent() {
    let command = cli::command();
    let agent = command.find_subcommand("agent").expect("agent");
    let mut options: Vec<&str> = agent
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .filter(|long| !["config", "help"].contains(long))
        .collect();
    let error = serde_saphyr::from_str::<AgentFile>("no-such-option: 1").expect_err("an error");
    let serde_saphyr::Error::SerdeUnknownField { expected, .. } = error.without_snippet() else {
        panic!("{error}");
    };
    let mut fields = expected.clone();
    options.sort_unstable();
    fields.sort_unstable();
    assert_eq!(fields, options);
}

#[test]
fn the_file_wins_over_defaults_and_loses_to_the_command_line_and_variables() {
    let args = parsed("history: 64MiB\nmax-clients: 7\n", &["--max-clients", "9"]);
    let args = args.expect("parsed");
    assert_eq!(args.history, HistorySize(64 << 20));
    assert_eq!(args.max_clients, Int(9));
    let args = parsed("# nothing\n", &[]).expect("parsed");
    assert_eq!(args.history, HistorySize(16 << 20));

    // PATH stands for a variable of the program: it is set everywhere, and tests cannot set their own.
    let command = clap::Command::new("agent").args([
        clap::Arg::new("context").long("context").env("PATH"),
        clap::Arg::new("history")
            .long("history")
            .default_value("16MiB"),
    ]);
    let given = Given::new(&command.get_matches_from(["agent"]));
    assert!(given.0.contains("context") && !given.0.contains("history"));
}

#[test]
fn lists_and_flags_are_written_as_in_yaml() {
    let args = parsed(
        "redact-names: [corp.example, internal]\nmetrics-pod-label: true\n",
        &[],
    );
    let args = args.expect("parsed");
    assert_eq!(
        args.exports.redact_names,
        domains(&["corp.example", "internal"])
    );
    assert!(args.exports.metrics_pod_label);
    let args = parsed("redact-names: internal\nmetrics-pod-label: false\n", &[]);
    let args = args.expect("parsed");
    assert_eq!(args.exports.redact_names, domains(&["internal"]));
    assert!(!args.exports.metrics_pod_label);
    // The command line's list replaces the file's.
    let args = parsed("redact-names: [a, b]\n", &["--redact-names", "c"]).expect("parsed");
    assert_eq!(args.exports.redact_names, domains(&["c"]));
}

#[test]
fn a_value_is_written_as_on_the_command_line() {
    let args = parsed(
        "dns-port: 5353\nnode-name: 007\nlog: off\nremote-identity: none\ninterface: cali*,veth*\nlisten:\n",
        &[],
    );
    let args = args.expect("parsed");
    assert_eq!(args.trace.sources.dns_port, [Int(5353)]);
    assert_eq!(args.trace.sources.node_name.as_deref(), Some("007"));
    assert_eq!(args.log.log, "off".parse().expect("a filter"));
    assert_eq!(args.trace.names.remote_identity, RemoteIdentity::None);
    assert_eq!(args.trace.probes.interface.len(), 2);
    assert_eq!(args.listen, None);
}

#[test]
fn the_command_line_and_the_file_complete_each_other() {
    let host = cli::Host::look_up();
    let resolve = |file: &str| {
        let args = parsed(file, &["--listen", "127.0.0.1:1", "--socket", "/s"]).expect("parsed");
        args.resolve(&host).map_err(|error| error.to_string())
    };
    let config = resolve("tls-cert: c\ntls-key: k\ntls-any-client: true\n").expect("resolved");
    assert_eq!(config.listen.expect("an address").key, PathBuf::from("k"));
    for (file, says) in [
        ("history: 1MiB\n", "--tls-key"),
        ("tls-cert: c\n", "--tls-key"),
        (
            "tls-any-client: true\ntls-client-ca: a\n",
            "cannot be used with",
        ),
        ("in-cluster: true\ncontext: c\n", "cannot be used with"),
    ] {
        let error = resolve(file).expect_err(file);
        assert!(error.contains(says), "{file}: {error}");
    }
}

#[test]
fn an_error_names_the_file_the_line_and_what_is_allowed() {
    for (file, says) in [
        (
            "redact_names: a",
            "FILE: line 1: there is no option \"redact_names\": did you mean redact-names?",
        ),
        ("histroy: 1", "did you mean history?"),
        ("xyzzy: 1", "`tracer agent --help`"),
        ("config: other.yaml", "there is no option \"config\""),
        (
            "history: 1MiB\nmax-clients: many",
            "FILE: line 2: max-clients: invalid value 'many': expected an integer in 1..=1024",
        ),
        ("max-clients: [1, 2]", "FILE: line 1: max-clients: "),
        ("max-clients: [1, 2]", "one value"),
        ("metrics-pod-label: maybe", "expected true or false"),
        ("log-format: xml", "possible values are text, json"),
        ("redact-names: {a: b}", "a value or a list of values"),
        ("exclude-namespace: [ok, {a: b}]", "exclude-namespace[1]: "),
        ("- a\n- b\n", "FILE: line 1: not a YAML mapping of options"),
        ("history: 1MiB\nhistory: 2MiB\n", "FILE: line 2: "),
        ("history: [", "FILE: line 1: "),
    ] {
        let error = parsed(file, &[]).expect_err(file);
        assert!(error.contains(says), "{file}: {error}");
    }
}

#[test]
fn an_error_on_the_command_line_does_not_name_the_file() {
    let error = parsed("history: 1MiB\n", &["--no-such-option"]).expect_err("an error");
    assert!(
        error.contains("--no-such-option") && !error.contains("FILE:"),
        "{error}"
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = read(&locate(Path::new("/no/such/file"))).expect_err("no file");
    let error = error.to_string();
    assert!(
        error.starts_with("cannot read /no/such/file: No such file"),
        "{error}"
    );
}

#[test]
fn differences_are_named_by_their_options() {
    let old = parsed("history: 1MiB\nredact-names: [a]\n", &[]).expect("parsed");
    let new = parsed("history: 2MiB\nredact-names: [a, b]\nmax-clients: 3\n", &[]);
    let new = new.expect("parsed");
    let mut found = differences(&old, &new);
    found.sort();
    assert_eq!(found, ["history", "max-clients", "redact-names"]);
    assert_eq!(differences(&old, &old), [""; 0]);
}
