//! `tracer check`: whether this node can run Tracer, and a remedy for each problem.
//!
//! [`facts`] reads the machine, [`rules`] judges the facts (pure, so tests reach every verdict), [`report`]
//! prints the result. It changes nothing: the map and the program that it tries to create are never attached,
//! and freed at once.

use std::io::{IsTerminal, Write};

use clap::{Args, ValueEnum};

use super::Exit;

mod facts;
mod report;
mod rules;

/// Arguments of `tracer check`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes:\n  \
        0  Tracer can run; warnings name what it will not see\n  \
        1  a problem prevents Tracer from running\n\n\
        Examples:\n  \
        sudo tracer check\n  \
        tracer check -o json | jq 'select(.status != \"ok\")'")]
pub struct CheckArgs {
    /// Output format: text, or json (one object per line)
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = CheckFormat::Text)]
    output: CheckFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CheckFormat {
    Text,
    Json,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// No problem.
    Ok,
    /// Tracer runs, and sees less.
    Warn,
    /// Tracer does not run.
    Fail,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "fail",
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    /// The check's stable name.
    check: &'static str,
    status: Status,
    /// The facts.
    found: String,
    /// What to do. Present unless the status is ok.
    remedy: Option<String>,
}

pub(super) fn run(args: &CheckArgs, out: &mut impl Write) -> anyhow::Result<Exit> {
    let lines = rules::judge(&facts::Facts::gather());
    match args.output {
        CheckFormat::Text => {
            let host = super::Host::look_up();
            let color = host.no_color.is_none_or(|value| value.is_empty())
                && std::io::stdout().is_terminal();
            report::text(&lines, color, out)?;
        }
        CheckFormat::Json => report::json(&lines, out)?,
    }
    let blocked = lines.iter().any(|line| line.status == Status::Fail);
    Ok(if blocked { Exit::Found } else { Exit::Fine })
}
