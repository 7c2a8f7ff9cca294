//! Options from a file: a ConfigMap's, mostly.
//!
//! YAML with the options' long names as keys. Owns reading it, saying what is wrong with it, and the precedence: the command
//! line wins over the environment, the environment over the file, the file over the defaults. What a value may be clap says:
//! the file's options are put behind those of the command line and parsed with them, so each is checked by the one
//! definition there is, and `--help` describes both.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;

use super::settings_file::{SettingsError, SettingsFile};

/// The option that names the file, and the only one that it cannot hold beside `help`.
pub(super) const OPTION: &str = "config";
/// The file, where the option names a directory.
pub(super) const IN_DIRECTORY: &str = "config.yaml";
/// A key that is nearer than this to an option was meant for it.
const NEAR: f64 = 0.7;

/// What is wrong with a configuration file.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigFileError {
    #[error("{0}. It is given by --config or TRACER_CONFIG")]
    Read(#[from] SettingsError),
    #[error("{} is not YAML with one option a line, as in `history: 64MiB`: {}", path.display(), source.without_snippet())]
    Yaml {
        path: PathBuf,
        source: Box<serde_saphyr::Error>,
    },
    #[error("{}: line {line}: there is no option {key:?}{suggestion}", path.display())]
    Unknown {
        path: PathBuf,
        line: u64,
        key: String,
        suggestion: Suggestion,
    },
    #[error("{}: line {line}: {key} is {found}; it takes {wanted}", path.display())]
    Shape {
        path: PathBuf,
        line: u64,
        key: String,
        found: String,
        wanted: &'static str,
    },
    #[error("{}: {}{message}", path.display(), line.map_or_else(String::new, |line| format!("line {line}: ")))]
    Value {
        path: PathBuf,
        /// Of the option that is wrong, where it is one.
        line: Option<u64>,
        message: String,
    },
}

/// One option of the file.
#[derive(Debug, PartialEq)]
struct Entry {
    key: String,
    line: u64,
    value: Value,
}

/// All of them, in the file's order.
#[derive(Debug, Default)]
struct Entries(Vec<Entry>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entries, D::Error> {
        struct OfMap;
        impl<'de> Visitor<'de> for OfMap {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("options by their names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some((key, value)) = map.next_entry::<Spanned<String>, Value>()? {
                    entries.push(Entry {
                        line: key.referenced.line(),
                        key: key.value,
                        value,
                    });
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(OfMap)
    }
}

/// What could have been meant.
#[derive(Debug)]
pub(super) enum Suggestion {
    Near(String),
    None(String),
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Suggestion::Near(option) => write!(f, ": did you mean {option}?"),
            Suggestion::None(command) => write!(
                f,
                "; its keys are the long options of `tracer {command}`, without the dashes (`tracer {command} --help`)"
            ),
        }
    }
}

/// Parses a command line, with what the file says of a subcommand that has `--config`.
pub(super) fn parse(command: &Command, args: &[OsString]) -> Result<ArgMatches, ParseError> {
    match file_of(command, args) {
        None => Ok(command.clone().try_get_matches_from(args)?),
        Some((name, found, file)) => {
            let path = file.path();
            let options = read(&file)?;
            let sub = command
                .find_subcommand(&name)
                .ok_or_else(|| clap::Error::new(clap::error::ErrorKind::InvalidSubcommand))?;
            let added = arguments(sub, &found, path, &options)?;
            // A mistake of the command line is told as one.
            let with_file = args.iter().cloned().chain(added);
            match command.clone().try_get_matches_from(with_file) {
                Ok(matches) => Ok(matches),
                Err(error) => {
                    command.clone().try_get_matches_from(args)?;
                    let line = line_of(&error, &options);
                    let message = error.render().to_string();
                    let message = message.strip_prefix("error: ").unwrap_or(&message);
                    // What follows is how the command line is used.
                    let message = message.split("\n\n").next().unwrap_or_default().trim();
                    Err(ConfigFileError::Value {
                        path: path.to_owned(),
                        line,
                        message: message.to_owned(),
                    }
                    .into())
                }
            }
        }
    }
}

/// What can be wrong with the whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum ParseError {
    #[error(transparent)]
    File(#[from] ConfigFileError),
    #[error(transparent)]
    Line(#[from] clap::Error),
}

/// The subcommand, what the command line and the environment say, and the file that they name.
fn file_of(command: &Command, args: &[OsString]) -> Option<(String, ArgMatches, SettingsFile)> {
    // What is missing here can stand in the file, so this is no place to complain.
    let lenient = command.clone().ignore_errors(true);
    let matches = lenient.try_get_matches_from(args).ok()?;
    let (name, found) = matches.subcommand()?;
    let path = found.try_get_one::<PathBuf>(OPTION).ok().flatten()?;
    let file = SettingsFile::of(path, IN_DIRECTORY);
    Some((name.to_owned(), found.clone(), file))
}

/// Where in the file the option stands that is wrong.
fn line_of(error: &clap::Error, options: &[Entry]) -> Option<u64> {
    let Some(ContextValue::String(arg)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    // As in "--count <N>".
    let long = arg.strip_prefix("--")?.split([' ', '=']).next()?;
    options
        .iter()
        .find(|option| option.key == long)
        .map(|option| option.line)
}

fn read(file: &SettingsFile) -> Result<Vec<Entry>, ConfigFileError> {
    let text = file.read()?.unwrap_or_default();
    // Nothing but comments is no option at all.
    let options: Option<Entries> =
        serde_saphyr::from_str(&text).map_err(|source| ConfigFileError::Yaml {
            path: file.path().to_owned(),
            source: Box::new(source),
        })?;
    Ok(options.unwrap_or_default().0)
}

/// The file's options as arguments, without those that the command line or the environment gives.
fn arguments(
    command: &Command,
    found: &ArgMatches,
    path: &Path,
    options: &[Entry],
) -> Result<Vec<OsString>, ConfigFileError> {
    let mut arguments = Vec::new();
    for Entry { key, line, value } in options {
        let arg = option(command, key).ok_or_else(|| ConfigFileError::Unknown {
            path: path.to_owned(),
            line: *line,
            key: key.clone(),
            suggestion: suggest(command, key),
        })?;
        let shape = |wanted| ConfigFileError::Shape {
            path: path.to_owned(),
            line: *line,
            key: key.clone(),
            found: value.to_string(),
            wanted,
        };
        let given = match arg.get_action() {
            ArgAction::SetTrue => match value {
                Value::Bool(true) => vec![format!("--{key}")],
                Value::Bool(false) | Value::Null => Vec::new(),
                _ => return Err(shape("true or false")),
            },
            action => {
                let several = matches!(action, ArgAction::Append);
                let values = match value {
                    Value::Array(values) if several => values.iter().collect(),
                    Value::Null => Vec::new(),
                    value => vec![value],
                };
                let mut given = Vec::new();
                for value in values {
                    let text = scalar(value).ok_or_else(|| {
                        shape(if several {
                            "a value or a list of values"
                        } else {
                            "one value"
                        })
                    })?;
                    given.push(format!("--{key}={text}"));
                }
                given
            }
        };
        let from_elsewhere = matches!(
            found.value_source(arg.get_id().as_str()),
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        );
        if !from_elsewhere {
            arguments.extend(given.into_iter().map(OsString::from));
        }
    }
    Ok(arguments)
}

fn option<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    options(command).find(|arg| arg.get_long() == Some(key))
}

/// Everything that the file can hold.
fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    command
        .get_arguments()
        .filter(|arg| !matches!(arg.get_long(), None | Some(OPTION | "help" | "version")))
}

fn suggest(command: &Command, key: &str) -> Suggestion {
    let wanted = key.to_ascii_lowercase().replace('_', "-");
    let near = options(command)
        .filter_map(Arg::get_long)
        .map(|long| (strsim::jaro_winkler(&wanted, long), long))
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match near {
        Some((score, long)) if score >= NEAR => Suggestion::Near(long.to_owned()),
        _ => Suggestion::None(command.get_name().to_owned()),
    }
}

/// A value as the command line would have it.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The options, by their long names, that two parsed command lines differ in.
pub(super) fn differences(command: &Command, old: &ArgMatches, new: &ArgMatches) -> Vec<String> {
    options(command)
        .filter(|arg| {
            let id = arg.get_id().as_str();
            let raw = |matches: &ArgMatches| -> Vec<OsString> {
                let values = matches.try_get_raw(id).ok().flatten();
                values
                    .map(|values| values.map(ToOwned::to_owned).collect())
                    .unwrap_or_default()
            };
            raw(old) != raw(new)
        })
        .filter_map(|arg| arg.get_long().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::builder::BoolishValueParser;
    use clap::{Arg, ArgAction, Command, value_parser};

    use super::*;

    fn command() -> Command {
        let sub = Command::new("agent").args([
            Arg::new("config")
                .long("config")
                .value_parser(value_parser!(PathBuf)),
            Arg::new("history").long("history").default_value("16"),
            Arg::new("count")
                .long("count")
                .value_parser(value_parser!(u32)),
            // Nobody's variable: HOME and the like would do as well, but this one is not set by accident.
            Arg::new("from_env").long("from-env").env("PATH"),
            Arg::new("flag")
                .long("metrics-pod-label")
                .action(ArgAction::SetTrue)
                .value_parser(BoolishValueParser::new()),
            Arg::new("name")
                .long("redact-names")
                .action(ArgAction::Append),
            Arg::new("listen").long("listen").requires("key"),
            Arg::new("key").long("key"),
        ]);
        Command::new("tracer").subcommand(sub)
    }

    /// Parses with a file of this text, and gives the values of an option.
    fn parsed(file: &str, args: &[&str]) -> Result<ArgMatches, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config.yaml");
        fs::write(&path, file).expect("written");
        let args: Vec<OsString> = ["tracer", "agent", "--config"]
            .iter()
            .map(OsString::from)
            .chain([path.clone().into_os_string()])
            .chain(args.iter().map(OsString::from))
            .collect();
        let shown = path.display().to_string();
        parse(&command(), &args)
            .map(|matches| matches.subcommand().expect("agent").1.clone())
            .map_err(|error| error.to_string().replace(&shown, "FILE"))
    }

    fn values(matches: &ArgMatches, id: &str) -> Vec<String> {
        let raw = matches.get_raw(id).into_iter().flatten();
        raw.map(|value| value.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn the_file_wins_over_the_default_and_loses_to_the_rest() {
        let matches = parsed("history: 64\ncount: 7\nfrom-env: file\n", &["--count", "9"]);
        let matches = matches.expect("parsed");
        assert_eq!(values(&matches, "history"), ["64"]);
        assert_eq!(values(&matches, "count"), ["9"]);
        assert_ne!(values(&matches, "from_env"), ["file"]);
        let matches = parsed("# nothing\n", &[]).expect("parsed");
        assert_eq!(values(&matches, "history"), ["16"]);
    }

    #[test]
    fn lists_and_flags_are_written_as_yaml_has_them() {
        let matches = parsed(
            "redact-names: [corp.example, internal]\nmetrics-pod-label: true\n",
            &[],
        );
        let matches = matches.expect("parsed");
        assert_eq!(values(&matches, "name"), ["corp.example", "internal"]);
        assert!(matches.get_flag("flag"));
        let matches = parsed("redact-names: internal\nmetrics-pod-label: false\n", &[]);
        let matches = matches.expect("parsed");
        assert_eq!(values(&matches, "name"), ["internal"]);
        assert!(!matches.get_flag("flag"));
        // The command line's list is the list, and not a part of it.
        let matches = parsed("redact-names: [a, b]\n", &["--redact-names", "c"]).expect("parsed");
        assert_eq!(values(&matches, "name"), ["c"]);
    }

    #[test]
    fn what_an_option_needs_can_stand_in_the_file() {
        let matches = parsed("key: k\n", &["--listen", "l"]).expect("parsed");
        assert_eq!(values(&matches, "key"), ["k"]);
        let error = parsed("history: 1\n", &["--listen", "l"]).expect_err("no key");
        assert!(error.contains("--key"), "{error}");
    }

    #[test]
    fn a_mistake_is_told_with_its_file_and_what_would_be_right() {
        for (file, says) in [
            (
                "redact_names: a",
                "FILE: line 1: there is no option \"redact_names\": did you mean redact-names?",
            ),
            ("histroy: 1", "did you mean history?"),
            ("xyzzy: 1", "`tracer agent --help`"),
            ("config: other.yaml", "there is no option \"config\""),
            (
                "history: 1\ncount: many",
                "FILE: line 2: invalid value 'many' for '--count",
            ),
            (
                "count: [1, 2]",
                "FILE: line 1: count is [1,2]; it takes one value",
            ),
            ("metrics-pod-label: maybe", "it takes true or false"),
            (
                "redact-names: {a: b}",
                "it takes a value or a list of values",
            ),
            ("- a\n- b\n", "FILE is not YAML with one option a line"),
            (
                "history: 1\nhistory: 2\n",
                "FILE is not YAML with one option a line",
            ),
        ] {
            let error = parsed(file, &[]).expect_err(file);
            assert!(error.contains(says), "{file}: {error}");
        }
    }

    #[test]
    fn a_mistake_of_the_command_line_is_told_as_one() {
        let error = parsed("history: 1\n", &["--no-such-option"]).expect_err("a mistake");
        assert!(
            error.contains("--no-such-option") && !error.contains("FILE:"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_told_by_its_name() {
        let args = ["tracer", "agent", "--config", "/no/such/file"].map(OsString::from);
        let error = parse(&command(), &args).expect_err("no file").to_string();
        assert!(
            error.starts_with("cannot read /no/such/file: No such file"),
            "{error}"
        );
    }

    #[test]
    fn differences_are_told_by_the_names_of_options() {
        let old = parsed("history: 1\nredact-names: [a]\n", &[]).expect("parsed");
        let new = parsed("history: 2\nredact-names: [a, b]\ncount: 3\n", &[]).expect("parsed");
        let command = command();
        let sub = command.find_subcommand("agent").expect("agent");
        let mut found = differences(sub, &old, &new);
        found.sort();
        assert_eq!(found, ["count", "history", "redact-names"]);
        assert_eq!(differences(sub, &old, &old), [""; 0]);
    }
}
