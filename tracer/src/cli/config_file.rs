//! The agent's configuration file: options by their long names, in YAML.
//!
//! Owns the file's structure, its errors and its precedence: the command line wins over variables, variables
//! over the file, the file over the defaults. The types of the values are those of the command line, so both
//! accept the same.

use std::collections::HashSet;
use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::parser::ValueSource;
use clap::{ArgMatches, ValueEnum};
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::agent::{AgentArgs, RelayService};
use super::events::EventsOutput;
use super::export::HttpAddress;
use super::limits::{Entries, Nested};
use super::logs::{LogFilter, LogFormat};
use super::otlp::{OtlpUrl, Share};
use super::settings_file::{self, SettingsError, SettingsFile};
use super::suggest;
use super::values::{Domain, FileSize, HistorySize, Instance, Int, RingSize, Span};
use crate::cluster::RemoteIdentity;
use crate::export::selection::EventClass;
use tracer_core::model::glob::Glob;
use tracer_core::view::privacy::RedactedDomain;

#[cfg(test)]
mod tests;

/// The file's name in a directory.
const IN_DIRECTORY: &str = "config.yaml";

/// Declares the file's options: each one's kind, the type of its value, and its place in [`AgentArgs`].
macro_rules! agent_file {
    ($($option:ident: $kind:ident $(<$value:ty>)? => $($place:ident).+;)+) => {
        /// The options in a configuration file.
        #[derive(Debug, Default, Deserialize)]
        #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
        pub(super) struct AgentFile {
            $($option: Option<$kind $(<$value>)?>,)+
        }

        impl AgentFile {
            /// Sets the file's options, except those that the command line or a variable gives.
            pub(super) fn apply(self, args: &mut AgentArgs, given: &Given) {
                $(
                    if let Some(value) = self.$option
                        && !given.0.contains(stringify!($option))
                    {
                        args.$($place).+ = value.0.into();
                    }
                )+
            }
        }

        /// The long names of the options that differ.
        pub(super) fn differences(old: &AgentArgs, new: &AgentArgs) -> Vec<String> {
            let mut names = Vec::new();
            $(
                if old.$($place).+ != new.$($place).+ {
                    names.push(stringify!($option).replace('_', "-"));
                }
            )+
            names
        }
    };
}

agent_file! {
    socket: One<PathBuf> => socket.socket;
    history: One<HistorySize> => history;
    listen: One<SocketAddr> => listen;
    tls_cert: One<PathBuf> => tls_cert;
    tls_key: One<PathBuf> => tls_key;
    tls_client_ca: One<PathBuf> => tls_client_ca;
    tls_any_client: Flag => tls_any_client;
    max_clients: One<Int<u32, 1, 1024>> => max_clients;
    relay: One<RelayService> => relay;
    relay_token: One<PathBuf> => relay_token;

    http: One<HttpAddress> => exports.http;
    health: One<HttpAddress> => exports.health;
    metrics_pod_label: Flag => exports.metrics_pod_label;
    no_kube_events: Flag => exports.no_kube_events;
    otlp: One<OtlpUrl> => exports.otlp.otlp;
    otlp_events: Many<EventClass> => exports.otlp.otlp_events;
    otlp_sample: One<Share> => exports.otlp.otlp_sample;
    otlp_metrics: One<Span> => exports.otlp.otlp_metrics;
    otlp_ca: One<PathBuf> => exports.otlp.otlp_ca;
    otlp_headers: One<PathBuf> => exports.otlp.otlp_headers;
    events: One<EventsOutput> => exports.events.events;
    events_filter: Many<EventClass> => exports.events.events_filter;
    events_file_size: One<FileSize> => exports.events.events_file_size;
    events_files: One<Int<u32, 1, 1000>> => exports.events.events_files;
    exclude_namespace: Many<Glob> => exports.exclude_namespace;
    redact_names: Many<RedactedDomain> => exports.redact_names;

    log: One<LogFilter> => log.log;
    log_format: Choice<LogFormat> => log.log_format;

    inventory: One<PathBuf> => trace.sources.inventory;
    cluster_domain: One<Domain> => trace.sources.cluster_domain;
    node_name: One<String> => trace.sources.node_name;
    dns_port: Many<Int<u16, 1, 65_535>> => trace.sources.dns_port;

    rules: One<PathBuf> => trace.rules.rules;

    kubeconfig: One<PathBuf> => trace.kube.kubeconfig;
    context: One<String> => trace.kube.context;
    in_cluster: Flag => trace.names.in_cluster;
    remote_identity: Choice<RemoteIdentity> => trace.names.remote_identity;

    interface: Many<Glob> => trace.probes.interface;
    instance: One<Instance> => trace.probes.instance;
    ring_size: One<RingSize> => trace.probes.ring_size;
    flow_table_size: One<Int<u32, 64, 16_777_216>> => trace.probes.flow_table_size;
    payload_bytes: One<Int<u32, 128, 1984>> => trace.probes.payload_bytes;
    records_per_second: One<Int<u32, 0, 100_000_000>> => trace.probes.records_per_second;
    record_burst: One<Int<u32, 1, 100_000_000>> => trace.probes.record_burst;
    no_conntrack: Flag => trace.probes.no_conntrack;
    no_node: Flag => trace.probes.no_node;
    no_processes: Flag => trace.probes.no_processes;
    no_drops: Flag => trace.probes.no_drops;
    no_retransmits: Flag => trace.probes.no_retransmits;
    probe_log: Flag => trace.probes.probe_log;

    dns_timeout: One<Span> => trace.thresholds.dns_timeout;
    dns_late: One<Span> => trace.thresholds.dns_late;
    lookup_idle: One<Span> => trace.thresholds.lookup_idle;
    lookup_grace: One<Span> => trace.thresholds.lookup_grace;
    tcp_timeout: One<Span> => trace.thresholds.tcp_timeout;
    tcp_opening_retransmits: One<Int<u32, 1, 16>> => trace.thresholds.tcp_opening_retransmits;
    flow_idle: One<Span> => trace.thresholds.flow_idle;
    udp_timeout: One<Span> => trace.thresholds.udp_timeout;
    echo_report: One<Span> => trace.thresholds.echo_report;
    echo_idle: One<Span> => trace.thresholds.echo_idle;
    identity_wait: One<Span> => trace.thresholds.identity_wait;

    max_exchanges: One<Entries> => trace.limits.max_exchanges;
    max_connections: One<Entries> => trace.limits.max_connections;
    max_udp_flows: One<Entries> => trace.limits.max_udp_flows;
    max_echo_runs: One<Entries> => trace.limits.max_echo_runs;
    max_echo_outstanding: One<Nested> => trace.limits.max_echo_outstanding;
    max_lookups: One<Entries> => trace.limits.max_lookups;
    max_lookup_steps: One<Nested> => trace.limits.max_lookup_steps;
    max_waiting_events: One<Entries> => trace.limits.max_waiting_events;
}

/// The options that the command line or a variable gives, by clap's IDs.
#[derive(Debug)]
pub(super) struct Given(HashSet<String>);

impl Given {
    /// From the matches of `tracer agent`.
    pub(super) fn new(matches: &ArgMatches) -> Given {
        let given = matches.ids().map(clap::Id::as_str).filter(|id| {
            let source = matches.value_source(id);
            matches!(
                source,
                Some(ValueSource::CommandLine | ValueSource::EnvVariable)
            )
        });
        Given(given.map(str::to_owned).collect())
    }
}

/// A value that is written as on the command line.
#[derive(Debug)]
struct One<T>(T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for One<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<One<T>, D::Error> {
        deserializer
            .deserialize_str(Scalar)
            .and_then(parse)
            .map(One)
    }
}

/// One of a few words.
#[derive(Debug)]
struct Choice<T>(T);

impl<'de, T: ValueEnum> Deserialize<'de> for Choice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Choice<T>, D::Error> {
        let written = deserializer.deserialize_str(Scalar)?;
        T::from_str(&written, false).map(Choice).map_err(|_| {
            let variants = T::value_variants().iter();
            let words: Vec<_> = variants.filter_map(T::to_possible_value).collect();
            let words: Vec<_> = words.iter().map(|word| word.get_name()).collect();
            invalid(
                &written,
                format!("possible values are {}", words.join(", ")),
            )
        })
    }
}

/// `true` or `false`.
#[derive(Debug)]
struct Flag(bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Flag, D::Error> {
        match deserializer.deserialize_str(Scalar)?.as_str() {
            "true" => Ok(Flag(true)),
            "false" => Ok(Flag(false)),
            written => Err(invalid(written, "expected true or false")),
        }
    }
}

/// A value or a list of values. As on the command line, a value may hold several, separated by commas.
#[derive(Debug)]
struct Many<T>(Vec<T>);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Many<T>, D::Error> {
        deserializer.deserialize_any(List(PhantomData)).map(Many)
    }
}

/// Takes a scalar as its text.
struct Scalar;

impl Visitor<'_> for Scalar {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value")
    }

    fn visit_str<E: de::Error>(self, written: &str) -> Result<String, E> {
        Ok(written.to_owned())
    }
}

/// Takes a scalar or a sequence of scalars.
struct List<T>(PhantomData<T>);

impl<'de, T: FromStr<Err: Display>> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or a list of values")
    }

    fn visit_str<E: de::Error>(self, written: &str) -> Result<Vec<T>, E> {
        let values = written.split(',');
        values.map(|value| parse(value.to_owned())).collect()
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Vec<T>, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(One(written)) = values.next_element::<One<String>>()? {
            list.extend(List(PhantomData).visit_str::<A::Error>(&written)?);
        }
        Ok(list)
    }
}

fn parse<T: FromStr<Err: Display>, E: de::Error>(written: String) -> Result<T, E> {
    written.parse().map_err(|error| invalid(&written, error))
}

fn invalid<E: de::Error>(written: &str, why: impl Display) -> E {
    E::custom(format_args!("invalid value '{written}': {why}"))
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigFileError {
    #[error("{0}; --config or TRACER_CONFIG names it")]
    Read(#[from] SettingsError),
    #[error("{}: {}not a YAML mapping of options, such as `history: 64MiB`: {message}", path.display(), Line(*line))]
    Yaml {
        path: PathBuf,
        line: Option<u64>,
        message: String,
    },
    #[error("{}: {}there is no option {key:?}{}", path.display(), Line(*line), Suggestion(*suggestion))]
    Unknown {
        path: PathBuf,
        line: Option<u64>,
        key: String,
        suggestion: Option<&'static str>,
    },
    #[error("{}: {}{key}: {message}", path.display(), Line(*line))]
    Value {
        path: PathBuf,
        line: Option<u64>,
        /// The option and, in a list, the position.
        key: String,
        message: String,
    },
}

struct Line(Option<u64>);

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, "line {line}: "))
    }
}

struct Suggestion(Option<&'static str>);

impl Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(option) => write!(f, ": did you mean {option}?"),
            None => f.write_str(
                "; the keys are the long options of `tracer agent`, without the dashes (`tracer agent --help`)",
            ),
        }
    }
}

/// The file that `--config` names, or the one in the directory that it names.
pub(super) fn locate(given: &Path) -> SettingsFile {
    SettingsFile::new(given, IN_DIRECTORY)
}

/// Reads the options of a file.
pub(super) fn read(file: &SettingsFile) -> Result<AgentFile, ConfigFileError> {
    let text = file.read()?.unwrap_or_default();
    if settings_file::is_blank(&text) {
        return Ok(AgentFile::default());
    }
    let mut key = String::new();
    let options = serde_saphyr::options! { with_snippet: false };
    let parsed = serde_saphyr::with_deserializer_from_str_with_options(&text, options, |yaml| {
        serde_path_to_error::deserialize(yaml).map_err(|error| {
            key = error.path().to_string();
            error.into_inner()
        })
    });
    parsed.map_err(|error| described(file.path(), key, &error))
}

fn described(path: &Path, key: String, error: &serde_saphyr::Error) -> ConfigFileError {
    let path = path.to_owned();
    let (line, message) = settings_file::describe(error);
    match error.without_snippet() {
        serde_saphyr::Error::SerdeUnknownField {
            field, expected, ..
        } => ConfigFileError::Unknown {
            path,
            line,
            key: field.clone(),
            suggestion: suggest::similar_key(field, expected.iter().copied()),
        },
        // serde_path_to_error writes a dot for the document itself.
        _ if key.is_empty() || key == "." => ConfigFileError::Yaml {
            path,
            line,
            message,
        },
        // The parser refuses a list or a mapping before `Scalar` sees it.
        serde_saphyr::Error::Unexpected { .. } => ConfigFileError::Value {
            path,
            line,
            key,
            message: "expected one value".to_owned(),
        },
        _ => ConfigFileError::Value {
            path,
            line,
            key,
            message,
        },
    }
}
