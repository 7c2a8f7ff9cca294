//! The agent's log, as options. The log is about the agent: by default no line contains what pods do.

use std::fmt;
use std::io::{self, IsTerminal};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// The agent logs its own progress; libraries only log problems. The watches report kube's errors themselves,
/// once each.
const DEFAULT: &str = "warn,tracer=info,kube_client=error,kube_runtime=error";

/// What to log, and in which format.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Log")]
pub(super) struct LogArgs {
    /// Log level on standard error: error, warn, info, debug or trace; or a level per module, as in
    /// warn,tracer::cluster=debug
    #[arg(long, value_name = "LEVEL", default_value_t)]
    pub log: LogFilter,

    /// Log format: text, or json (one object per line)
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// The format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// A valid filter, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogFilter(String);

impl Default for LogFilter {
    fn default() -> LogFilter {
        LogFilter(DEFAULT.to_owned())
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(written: &str) -> Result<LogFilter, String> {
        match EnvFilter::try_new(written) {
            // The library takes an empty text as the level error, and an unknown word as a module.
            Ok(_) if !written.trim().is_empty() && written.split(',').all(is_directive) => {
                Ok(LogFilter(written.to_owned()))
            }
            _ => Err(
                "expected a level (error, warn, info, debug, trace or off), or levels per module as in warn,tracer=debug"
                    .to_owned(),
            ),
        }
    }
}

fn is_directive(directive: &str) -> bool {
    let level = directive.rsplit('=').next().unwrap_or_default().trim();
    matches!(
        level.to_ascii_lowercase().as_str(),
        "error" | "warn" | "info" | "debug" | "trace" | "off"
    )
}

/// Changes the log's filter.
pub(super) type SetLog = Box<dyn Fn(&LogFilter) -> Result<(), String> + Send>;

impl LogArgs {
    /// Starts logging to standard error.
    pub(super) fn install(&self) -> SetLog {
        let filter = EnvFilter::new(&self.log.0);
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal());
        // `try_init` fails only if there is a subscriber already, which then logs.
        match self.log_format {
            LogFormat::Text => {
                let builder = builder.with_filter_reloading();
                let handle = builder.reload_handle();
                let _ = builder.try_init();
                Box::new(move |filter| set(&handle, filter))
            }
            LogFormat::Json => {
                let builder = builder.json().with_filter_reloading();
                let handle = builder.reload_handle();
                let _ = builder.try_init();
                Box::new(move |filter| set(&handle, filter))
            }
        }
    }
}

fn set<S>(
    handle: &tracing_subscriber::reload::Handle<EnvFilter, S>,
    filter: &LogFilter,
) -> Result<(), String> {
    let filter = EnvFilter::try_new(&filter.0).map_err(|error| error.to_string())?;
    handle.reload(filter).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT, LogFilter};

    #[test]
    fn a_filter_is_a_level_or_levels_per_module() {
        for good in [
            "info",
            "DEBUG",
            "off",
            DEFAULT,
            "warn,tracer::cluster=debug,kube=trace",
        ] {
            assert_eq!(good.parse(), Ok(LogFilter(good.to_owned())));
        }
        for bad in ["", " ", "loud", "tracer", "warn,tracer=loud", "warn,,info"] {
            assert!(bad.parse::<LogFilter>().is_err(), "{bad:?}");
        }
    }
}
