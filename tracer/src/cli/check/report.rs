//! Output of a check, as text and as JSON.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::{Line, Status};

pub(super) fn text(lines: &[Line], color: bool, out: &mut impl Write) -> io::Result<()> {
    let width = lines.iter().map(|line| line.check.len()).max().unwrap_or(0);
    for line in lines {
        let style = match line.status {
            _ if !color => Style::new(),
            Status::Ok => AnsiColor::Green.on_default(),
            Status::Warn => AnsiColor::Yellow.on_default(),
            Status::Fail => AnsiColor::Red.on_default().bold(),
        };
        writeln!(
            out,
            "{style}{:4}{style:#}  {:width$}  {}",
            line.status.as_str(),
            line.check,
            tracer_core::model::printable::safe(&line.found)
        )?;
        if let Some(remedy) = &line.remedy {
            writeln!(out, "{:6}{:width$}  → {remedy}", "", "")?;
        }
    }
    let count = |status| lines.iter().filter(|line| line.status == status).count();
    let (fails, warnings) = (count(Status::Fail), count(Status::Warn));
    if fails > 0 {
        writeln!(out, "\nTracer cannot run here: {fails} to fix.")
    } else if warnings > 0 {
        writeln!(
            out,
            "\nTracer can run here; the warnings name what it will not see."
        )
    } else {
        writeln!(out, "\nTracer can run here.")
    }
}

#[derive(Serialize)]
struct JsonLine<'a> {
    check: &'a str,
    status: &'static str,
    found: &'a str,
    remedy: Option<&'a str>,
}

pub(super) fn json(lines: &[Line], out: &mut impl Write) -> io::Result<()> {
    for line in lines {
        serde_json::to_writer(
            &mut *out,
            &JsonLine {
                check: line.check,
                status: line.status.as_str(),
                found: &line.found,
                remedy: line.remedy.as_deref(),
            },
        )?;
        writeln!(out)?;
    }
    Ok(())
}
