//! `--list` and `--explain`: what the rules say of themselves, as text, JSON and Markdown.

use std::io::{self, Write};

use anyhow::{Context, bail};
use serde::Serialize;

use super::super::Exit;
use super::FormArg;
use tracer_core::diagnose::catalogue::{RULES, Rule, rule};
use tracer_core::view::words;

/// Sentences are broken before this column.
const WRAP: usize = 100;
/// Names that are nearer to what was asked for are offered (Jaro-Winkler, 0 to 1).
const NEAR: f64 = 0.7;
/// So many are offered.
const OFFERED: usize = 3;

/// Each rule with its severity and one line.
pub(super) fn list(form: FormArg, out: &mut impl Write) -> anyhow::Result<Exit> {
    let written = match form {
        FormArg::Text | FormArg::Wide => list_text(out),
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

/// All that one rule says, or `all`.
pub(super) fn explain(id: &str, form: FormArg, out: &mut impl Write) -> anyhow::Result<Exit> {
    let asked: Vec<&Rule> = match (id, rule(id)) {
        ("all", _) => RULES.to_vec(),
        (_, Some(rule)) => vec![rule],
        (_, None) => bail!("there is no rule '{id}'{}", offers(id)),
    };
    let written = match form {
        FormArg::Text | FormArg::Wide => text(&asked, out),
        FormArg::Json => asked.iter().try_for_each(|rule| json(&full(rule), out)),
        FormArg::Markdown => out.write_all(markdown(&asked).as_bytes()),
    };
    written.context("cannot write the explanation")?;
    Ok(Exit::Fine)
}

/// What else may have been meant.
pub(in crate::cli) fn offers(id: &str) -> String {
    let mut near: Vec<(f64, &str)> = RULES
        .iter()
        .map(|rule| {
            let near = strsim::jaro_winkler(id, rule.id);
            // Who knows a part of the name means one of those.
            let part = !id.is_empty() && rule.id.contains(id);
            (if part { near.max(0.99) } else { near }, rule.id)
        })
        .filter(|(near, _)| *near >= NEAR)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    let near: Vec<&str> = near.iter().take(OFFERED).map(|(_, id)| *id).collect();
    match near.as_slice() {
        [] => "; `tracer diagnose --list` has them all".to_owned(),
        near => format!(
            ": did you mean {}? `tracer diagnose --list` has them all",
            near.join(" or ")
        ),
    }
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
    fired_by: Vec<String>,
    not_fired_by: Vec<String>,
}

fn full(rule: &Rule) -> FullLine {
    FullLine {
        id: rule.id,
        severity: words::severity(rule.severity),
        finds: rule.finds,
        means: rule.means,
        looks_at: rule.looks_at,
        cannot_know: rule.cannot_know,
        fired_by: files(rule.fired_by).collect(),
        not_fired_by: files(rule.not_fired_by).collect(),
    }
}

fn files(names: &'static [&'static str]) -> impl Iterator<Item = String> {
    names
        .iter()
        .map(|name| format!("tracer-core/tests/scenarios/{name}.txt"))
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
            for line in wrapped(sentences) {
                writeln!(out, "  {line}")?;
            }
        }
        writeln!(out, "\nHow it was tested")?;
        for (title, names) in [
            ("It says something in", rule.fired_by),
            ("It says nothing in", rule.not_fired_by),
        ] {
            writeln!(out, "  {title}")?;
            for file in files(names) {
                writeln!(out, "    {file}")?;
            }
        }
    }
    Ok(())
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WRAP => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

const MARKDOWN_HEAD: &str = "\
# What Tracer finds, and how far it can be trusted

<!-- Made from the rules by `tracer diagnose --explain all -o markdown`; a test fails where it differs from them. -->

A finding says what failed, why, and what to try. What it claims, packets or the inventory show; what is only supposed is
called possible. Of the rules that have something to say about the same failure the first of this list has the say. A
finding is of one cause and one pod (or workload): it is told once, again with a new count, and once when its cause is gone.
Where only one direction of a pod's traffic can be seen, no rule concludes anything from silence.

`tracer diagnose --list` and `tracer diagnose --explain RULE` say the same on the command line. The scenario files are
stories in packets; `cargo test --package tracer --test scenarios` plays them and shows that each rule speaks and keeps
silent where it is said here. [rules-file.md](rules-file.md) says how findings are silenced and thresholds set.

";

fn markdown(rules: &[&Rule]) -> String {
    let mut page = MARKDOWN_HEAD.to_owned();
    page.push_str("| rule | severity | finds |\n|---|---|---|\n");
    for rule in rules {
        let severity = words::severity(rule.severity);
        page.push_str(&format!(
            "| [{0}](#{0}) | {severity} | {1} |\n",
            rule.id, rule.finds
        ));
    }
    for rule in rules {
        page.push_str(&format!(
            "\n## {}\n\n{}\n\n**Looks at:** {}\n\n**Cannot know:** {}\n\n**Tested:** says something in {}; nothing in {}.\n",
            rule.id,
            rule.means,
            rule.looks_at,
            rule.cannot_know,
            links(rule.fired_by),
            links(rule.not_fired_by)
        ));
    }
    page
}

fn links(names: &[&str]) -> String {
    let links: Vec<String> = names
        .iter()
        .map(|name| format!("[{name}](../tracer-core/tests/scenarios/{name}.txt)"))
        .collect();
    links.join(", ")
}
