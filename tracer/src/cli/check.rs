//! `tracer check`: can this node run it, and what to do where it cannot.
//!
//! [`facts`] reads the machine, [`rules`] judges what was read (pure, so every verdict can be tried), [`report`] prints it.
//! It changes nothing: what it tries, a map and a program that are thrown away at once, no packet ever meets.

use std::io::{IsTerminal, Write};

use clap::{Args, ValueEnum};

use super::Exit;

mod facts;
mod report;
mod rules;

/// Arguments of `tracer check`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes:\n  \
        0  it can run; warnings name what it will not see\n  \
        1  something prevents it\n\n\
        Examples:\n  \
        sudo tracer check\n  \
        tracer check -o json | jq 'select(.status != \"ok\")'")]
pub struct CheckArgs {
    /// Form of the output: text, or json (one object a line)
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = CheckFormat::Text)]
    output: CheckFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CheckFormat {
    Text,
    Json,
}

/// How a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// As it should be.
    Ok,
    /// It runs, with less.
    Warn,
    /// It does not run.
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
    /// Stable; what was looked at.
    check: &'static str,
    status: Status,
    /// What was found.
    found: String,
    /// What to do; always there unless the status is ok.
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
