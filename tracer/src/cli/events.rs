//! `--events` of the agent, as options.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::values::{FileSize, Int};
use crate::export::event_log::{EventLogConfig, EventLogTarget, Rotation};
use crate::export::selection::EventClass;

/// Events as lines for a collector of logs.
#[derive(Clone, Debug, Args)]
pub(super) struct EventsArgs {
    /// Write events as JSON lines to this file, or to standard output: stdout
    #[arg(long, value_name = "stdout|FILE")]
    pub events: Option<EventsOutput>,

    /// For --events: the events to write: findings, failed (lookups, connections, pings), all
    #[arg(
        long,
        value_name = "CLASS",
        value_delimiter = ',',
        default_values_t = [EventClass::Findings],
    )]
    pub events_filter: Vec<EventClass>,

    /// For --events FILE: begin a new file at this size
    #[arg(long, value_name = "SIZE", default_value_t = FileSize(10 << 20), hide_short_help = true)]
    pub events_file_size: FileSize,

    /// For --events FILE: keep this many files. FILE.1 is the one before FILE
    #[arg(long, value_name = "N", default_value_t = Int(3), hide_short_help = true)]
    pub events_files: Int<u32, 1, 1000>,
}

impl EventsArgs {
    /// What to write; `None` without --events.
    pub(super) fn resolve(&self) -> Option<EventLogConfig> {
        let target = match self.events.as_ref()? {
            EventsOutput::Stdout => EventLogTarget::Stdout,
            EventsOutput::File(path) => EventLogTarget::File(
                path.clone(),
                Rotation {
                    max_bytes: self.events_file_size.0,
                    files: self.events_files.0,
                },
            ),
        };
        Some(EventLogConfig {
            target,
            events: self.events_filter.clone(),
        })
    }
}

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EventsOutput {
    /// Standard output, by the words `stdout` and `-`.
    Stdout,
    /// A file.
    File(PathBuf),
}

impl FromStr for EventsOutput {
    type Err = Infallible;

    fn from_str(written: &str) -> Result<EventsOutput, Infallible> {
        Ok(match written {
            "stdout" | "-" => EventsOutput::Stdout,
            path => EventsOutput::File(path.into()),
        })
    }
}
