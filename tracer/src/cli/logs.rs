//! What the agent logs, and in which form. Logs are about the agent: what pods do is in no line of them by default.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// The agent itself says what it does; the libraries only what goes wrong, and kube not even that: the watches say it in
/// their own words, once.
const DEFAULT: &str = "warn,tracer=info,kube_client=error,kube_runtime=error";

/// What is logged.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Log")]
pub(super) struct LogArgs {
    /// What is logged to standard error: error, warn, info, debug or trace, or such a level for each part, as in
    /// warn,tracer::cluster=debug
    #[arg(long, env = "TRACER_LOG", value_name = "LEVEL", default_value = DEFAULT, value_parser = filter)]
    pub log: String,

    /// Form of the log: text, or json (one object a line)
    #[arg(long, env = "TRACER_LOG_FORMAT", value_name = "FORM", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Checked here, kept as it was written.
fn filter(written: &str) -> Result<String, String> {
    match EnvFilter::try_new(written) {
        // To the library an empty text is a filter that lets errors through, and a word that it does not know a target.
        Ok(_) if !written.trim().is_empty() && written.split(',').all(is_directive) => {
            Ok(written.to_owned())
        }
        _ => Err(
            "a level is error, warn, info, debug, trace or off; or several with the part that they are for, as in \
             warn,tracer=debug"
                .to_owned(),
        ),
    }
}

fn is_directive(directive: &str) -> bool {
    let level = directive.rsplit('=').next().unwrap_or_default().trim();
    matches!(
        level.to_ascii_lowercase().as_str(),
        "error" | "warn" | "info" | "debug" | "trace" | "off"
    )
}

/// Changes what is logged.
pub(super) type SetLog = Box<dyn Fn(&str) -> Result<(), String> + Send>;

impl LogArgs {
    /// Logs to standard error from now on.
    pub(super) fn install(&self) -> SetLog {
        let filter = EnvFilter::new(&self.log);
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal());
        // `try_init` fails only where somebody set a subscriber before, and then that one logs.
        match self.log_format {
            LogFormat::Text => {
                let builder = builder.with_filter_reloading();
                let handle = builder.reload_handle();
                let _ = builder.try_init();
                Box::new(move |written| set(&handle, written))
            }
            LogFormat::Json => {
                let builder = builder.json().with_filter_reloading();
                let handle = builder.reload_handle();
                let _ = builder.try_init();
                Box::new(move |written| set(&handle, written))
            }
        }
    }
}

fn set<S>(
    handle: &tracing_subscriber::reload::Handle<EnvFilter, S>,
    written: &str,
) -> Result<(), String> {
    let filter = EnvFilter::try_new(written).map_err(|error| error.to_string())?;
    handle.reload(filter).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT, filter};

    #[test]
    fn a_filter_is_a_level_or_levels_with_parts() {
        for good in [
            "info",
            "DEBUG",
            "off",
            DEFAULT,
            "warn,tracer::cluster=debug,kube=trace",
        ] {
            assert_eq!(filter(good), Ok(good.to_owned()));
        }
        for bad in ["", " ", "loud", "tracer", "warn,tracer=loud", "warn,,info"] {
            assert!(filter(bad).is_err(), "{bad:?}");
        }
    }
}
