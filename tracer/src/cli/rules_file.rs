//! `--rules FILE`: which findings nobody wants to hear of, and from when on rules speak.
//!
//! Owns the file's form and what is said of a file that is wrong: where, what, and what may have been meant. What the
//! settings mean is for [`tracer_core::diagnose`].

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::settings_file::SettingsFile;
use super::suggest;
use super::values::Span;
use tracer_core::diagnose::catalogue::RULES;
use tracer_core::diagnose::{DiagnosisSettings, RuleThresholds, Silence};
use tracer_core::model::glob::Glob;

/// The file, where the option names a directory.
const IN_DIRECTORY: &str = "rules.yaml";
/// Answers that are remembered as slow; no threshold can be beyond.
const MOST_SLOW_ANSWERS: u64 = 60;

/// Which findings are told, and from when on.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sources")]
pub(super) struct RulesArgs {
    /// Findings that nobody wants to hear of, and thresholds of the rules, as docs/rules-file.md describes
    #[arg(long, env = "TRACER_RULES", value_name = "FILE")]
    rules: Option<PathBuf>,
}

impl RulesArgs {
    /// Where it is read from.
    pub(super) fn file(&self) -> Option<SettingsFile> {
        let given = self.rules.as_ref()?;
        Some(SettingsFile::of(given, IN_DIRECTORY))
    }

    /// What the file says; the defaults without one.
    pub(super) fn resolve(&self) -> anyhow::Result<DiagnosisSettings> {
        let Some(file) = self.file() else {
            return Ok(DiagnosisSettings::default());
        };
        let text = file.read().context("--rules")?.unwrap_or_default();
        parse(&text).with_context(|| format!("rules file {}", file.path().display()))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    silence: Option<Vec<Spanned<SilenceEntry>>>,
    #[serde(default)]
    thresholds: Option<Thresholds>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SilenceEntry {
    rule: Option<Spanned<String>>,
    namespace: Option<Spanned<String>>,
    pod: Option<Spanned<String>>,
    name: Option<Spanned<String>>,
    /// For those who read the file.
    #[serde(rename = "because")]
    _because: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Thresholds {
    dns_slow: Option<Slow>,
    search_path_waste: Option<Waste>,
    mtu_black_hole: Option<TooBig>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Slow {
    longer_than: Option<Spanned<String>>,
    times_normal: Option<Spanned<u64>>,
    answers: Option<Spanned<u64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Waste {
    queries: Option<Spanned<u64>>,
    percent: Option<Spanned<u64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TooBig {
    errors: Option<Spanned<u64>>,
}

fn parse(text: &str) -> anyhow::Result<DiagnosisSettings> {
    // Nothing but comments is a file, too.
    let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    let file = if text.lines().all(blank) {
        File::default()
    } else {
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| anyhow::anyhow!(explained(&error)))?
    };
    let mut settings = DiagnosisSettings::default();
    for entry in file.silence.unwrap_or_default() {
        let line = entry.referenced.line();
        let entry = entry.value;
        if let Some(rule) = &entry.rule {
            known(rule)?;
        }
        let silence = Silence {
            rule: glob(entry.rule)?,
            namespace: glob(entry.namespace)?,
            pod: glob(entry.pod)?,
            name: glob(entry.name)?,
        };
        if silence == Silence::default() {
            bail!(
                "line {line}: this entry of silence says neither rule, namespace, pod nor name, so it would silence \
                 everything; if that is what you want, say rule: \"*\""
            );
        }
        settings.silences.push(silence);
    }
    if let Some(thresholds) = file.thresholds {
        set(thresholds, &mut settings.thresholds)?;
    }
    Ok(settings)
}

fn set(file: Thresholds, thresholds: &mut RuleThresholds) -> anyhow::Result<()> {
    if let Some(slow) = file.dns_slow {
        if let Some(longer) = slow.longer_than {
            let Span(longer) = longer.value.parse().map_err(|why| {
                anyhow::anyhow!("line {}: longer-than: {why}", longer.referenced.line())
            })?;
            thresholds.slow_dns = longer;
        }
        let times = ranged("times-normal", slow.times_normal, 1, 1000)?;
        if let Some(times) = times.and_then(|times| u32::try_from(times).ok()) {
            thresholds.slow_dns_times_normal = times;
        }
        let answers = ranged("answers", slow.answers, 1, MOST_SLOW_ANSWERS)?;
        if let Some(answers) = answers.and_then(|answers| usize::try_from(answers).ok()) {
            thresholds.slow_dns_answers = answers;
        }
    }
    if let Some(waste) = file.search_path_waste {
        if let Some(queries) = ranged("queries", waste.queries, 1, 1_000_000)? {
            thresholds.wasted_queries = queries;
        }
        if let Some(percent) = ranged("percent", waste.percent, 1, 100)? {
            thresholds.wasted_percent = percent;
        }
    }
    if let Some(too_big) = file.mtu_black_hole
        && let Some(errors) = ranged("errors", too_big.errors, 2, 1000)?
    {
        thresholds.too_big_errors = errors;
    }
    Ok(())
}

fn ranged(
    key: &str,
    value: Option<Spanned<u64>>,
    least: u64,
    most: u64,
) -> anyhow::Result<Option<u64>> {
    match value {
        None => Ok(None),
        Some(value) if (least..=most).contains(&value.value) => Ok(Some(value.value)),
        Some(value) => bail!(
            "line {}: {key} is {}; it can be {least} to {most}",
            value.referenced.line(),
            value.value
        ),
    }
}

fn glob(written: Option<Spanned<String>>) -> anyhow::Result<Option<Glob>> {
    let Some(written) = written else {
        return Ok(None);
    };
    // The final dot of a DNS name says nothing here.
    let bare = written.value.strip_suffix('.').unwrap_or(&written.value);
    match bare.parse() {
        Ok(glob) => Ok(Some(glob)),
        Err(why) => bail!("line {}: {why}", written.referenced.line()),
    }
}

/// A rule that there is not would silence nothing, and nobody would notice.
fn known(rule: &Spanned<String>) -> anyhow::Result<()> {
    let glob: Option<Glob> = rule.value.parse().ok();
    let any = glob.is_some_and(|glob| RULES.iter().any(|known| glob.matches(known.id)));
    if !any {
        bail!(
            "line {}: there is no rule '{}'{}",
            rule.referenced.line(),
            rule.value,
            suggest::similar_rules(&rule.value)
        );
    }
    Ok(())
}

/// The parser's words with the place first, and of a key that it does not know the one that may be meant.
fn explained(error: &serde_saphyr::Error) -> String {
    let mut message = error.without_snippet().to_string();
    let mut place = String::new();
    if let Some(at) = error.location() {
        let position = format!(" at line {}, column {}", at.line(), at.column());
        message = message.replace(&position, "");
        place = format!("line {}: ", at.line());
    }
    // In the parser's words the wrong key stands between backticks, and then those that there are.
    let wrong = message
        .split_once("unknown field `")
        .and_then(|(_, rest)| rest.split_once("`, expected "));
    let meant = wrong.and_then(|(wrong, known)| {
        known
            .strip_prefix("one of ")
            .unwrap_or(known)
            .split(", ")
            .map(|known| known.trim_matches('`'))
            .map(|known| (strsim::jaro_winkler(wrong, known), known))
            .filter(|(near, _)| *near > 0.75)
            .max_by(|a, b| a.0.total_cmp(&b.0))
    });
    match meant {
        Some((_, meant)) => format!("{place}{message}: did you mean {meant}?"),
        None => format!("{place}{message}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::parse;
    use tracer_core::diagnose::{DiagnosisSettings, RuleThresholds};

    #[test]
    fn silences_and_thresholds_are_read() {
        let settings = parse(
            "silence:\n\
             - rule: nxdomain-*\n  namespace: shop\n  pod: crawler-*\n  name: '*.example.com.'\n  because: it crawls\n\
             - namespace: kube-system\n\
             thresholds:\n  dns-slow: {longer-than: 2s, answers: 5}\n  search-path-waste: {percent: 80}\n",
        )
        .expect("a rules file");
        let written: Vec<Vec<Option<&str>>> = settings
            .silences
            .iter()
            .map(|silence| {
                [
                    &silence.rule,
                    &silence.namespace,
                    &silence.pod,
                    &silence.name,
                ]
                .map(|glob| glob.as_ref().map(|glob| glob.as_str()))
                .to_vec()
            })
            .collect();
        assert_eq!(
            written,
            [
                [
                    Some("nxdomain-*"),
                    Some("shop"),
                    Some("crawler-*"),
                    Some("*.example.com")
                ],
                [None, Some("kube-system"), None, None],
            ]
        );
        let expected = RuleThresholds {
            slow_dns: Duration::from_secs(2),
            slow_dns_answers: 5,
            wasted_percent: 80,
            ..RuleThresholds::default()
        };
        assert_eq!(settings.thresholds, expected);
    }

    #[test]
    fn an_empty_file_changes_nothing() {
        for text in ["", "# nothing yet\n", "silence: []\n", "silence:\n"] {
            let settings = parse(text).expect(text);
            assert_eq!(settings, DiagnosisSettings::default(), "{text:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_what_may_be_meant() {
        for (text, says) in [
            (
                "silence:\n- rule: dns-slwo\n",
                &["line 2", "no rule 'dns-slwo'", "dns-slow"][..],
            ),
            (
                "silence:\n- rule: dns-slow\n  namspace: shop\n",
                &["line 3", "namspace", "did you mean namespace?"],
            ),
            (
                "silences:\n- rule: dns-slow\n",
                &["line 1", "did you mean silence?"],
            ),
            ("silence:\n- because: of it\n", &["line 2", "rule: \"*\""]),
            (
                "thresholds:\n  dns-slow:\n    longer-than: 500\n",
                &["line 3", "longer-than", "unit"],
            ),
            (
                "thresholds:\n  dns-slow:\n    answers: 1000\n",
                &["line 3", "answers is 1000", "1 to 60"],
            ),
            ("thresholds:\n  dns-slow:\n    answers: many\n", &["line 3"]),
            (
                "thresholds:\n  dns-timeout:\n    answers: 1\n",
                &["line 2", "dns-timeout"],
            ),
            ("silence: [\n", &["line"]),
            ("- rule: dns-slow\n", &["line 1"]),
        ] {
            let error = parse(text).expect_err(text).to_string();
            for says in says {
                assert!(error.contains(says), "{text:?}: {says:?} is not in {error}");
            }
        }
    }
}
