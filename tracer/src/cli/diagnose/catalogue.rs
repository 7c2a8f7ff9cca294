//! `--list` and `--explain`: the rules' descriptions as text, JSON and Markdown.

use std::io::{self, Write};

use anyhow::{Context, bail};
use serde::Serialize;

use super::super::{Exit, suggest};
use super::FormArg;
use tracer_core::diagnose::Rule;
use tracer_core::diagnose::catalogue::{RULES, rule};
use tracer_core::view::text::wrap;
use tracer_core::view::words;

/// Lines are wrapped before this column.
const WRAP: usize = 100;

/// Prints each rule with its severity and one line.
pub(super) fn list(form: FormArg, out: &mut impl Write) -> anyhow::Result<Exit> {
    let written = match form {
        FormArg::Text | FormArg::Wide | FormArg::Table => list_text(out),
        FormArg::Json => RULES.iter().try_for_each(|rule| {
            let line = ListLine {
                id: rule.id,
                severity: words::severity(rule.severity),
                finds: rule.finds,
            };
            json(&line, out)
        }),
        FormArg::Markdown => bail!("-o markdown is for --explain; --list is text or json"),
    };
    written.context("cannot write the list")?;
    Ok(Exit::Fine)
}

fn list_text(out: &mut impl Write) -> io::Result<()> {
    let width = RULES.iter().map(|rule| rule.id.len()).max().unwrap_or(0);
    for rule in RULES {
        let severity = words::severity(rule.severity);
        writeln!(out, "{:width$}  {severity:7}  {}", rule.id, rule.finds)?;
    }
    Ok(())
}

/// Prints the description of one rule, or of `all`.
pub(super) fn explain(id: &str, form: FormArg, out: &mut impl Write) -> anyhow::Result<Exit> {
    let asked: Vec<&Rule> = match (id, rule(id)) {
        ("all", _) => RULES.to_vec(),
        (_, Some(rule)) => vec![rule],
        (_, None) => bail!("there is no rule '{id}'{}", suggest::similar_rules(id)),
    };
    let written = match form {
        FormArg::Text | FormArg::Wide | FormArg::Table => text(&asked, out),
        FormArg::Json => asked.iter().try_for_each(|rule| json(&full(rule), out)),
        FormArg::Markdown => markdown(&asked, out),
    };
    written.context("cannot write the explanation")?;
    Ok(Exit::Fine)
}

#[derive(Serialize)]
struct ListLine {
    id: &'static str,
    severity: &'static str,
    finds: &'static str,
}

#[derive(Serialize)]
struct FullLine {
    id: &'static str,
    severity: &'static str,
    finds: &'static str,
    means: &'static str,
    looks_at: &'static str,
    cannot_know: &'static str,
}

fn full(rule: &Rule) -> FullLine {
    FullLine {
        id: rule.id,
        severity: words::severity(rule.severity),
        finds: rule.finds,
        means: rule.means,
        looks_at: rule.looks_at,
        cannot_know: rule.cannot_know,
    }
}

fn json(line: &impl Serialize, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    writeln!(out)
}

fn text(rules: &[&Rule], out: &mut impl Write) -> io::Result<()> {
    for (number, rule) in rules.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        let severity = words::severity(rule.severity);
        writeln!(out, "{} ({severity}): {}", rule.id, rule.finds)?;
        for (title, sentences) in [
            ("What it means", rule.means),
            ("What it looks at", rule.looks_at),
            ("What it cannot know", rule.cannot_know),
        ] {
            writeln!(out, "\n{title}")?;
            for line in wrap(sentences, WRAP) {
                writeln!(out, "  {line}")?;
            }
        }
    }
    Ok(())
}

fn markdown(rules: &[&Rule], out: &mut impl Write) -> io::Result<()> {
    for (number, rule) in rules.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        writeln!(out, "## {}\n\n{}", rule.id, rule.means)?;
        writeln!(out, "\n**Looks at:** {}", rule.looks_at)?;
        writeln!(out, "\n**Cannot know:** {}", rule.cannot_know)?;
    }
    Ok(())
}
