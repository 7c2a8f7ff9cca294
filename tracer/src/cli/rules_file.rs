//! `--rules FILE`: silenced findings and thresholds of rules.
//!
//! Owns the file's structure and its errors: the line, the mistake, and a suggestion.
//! [`tracer_core::diagnose`] owns the meaning of the settings.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::settings_file::{self, SettingsFile};
use super::suggest;
use super::values::Span;
use tracer_core::diagnose::catalogue::RULES;
use tracer_core::diagnose::{DiagnosisSettings, RuleThresholds, Silence};
use tracer_core::model::glob::Glob;

/// The file's name in a directory.
const IN_DIRECTORY: &str = "rules.yaml";
/// The number of slow answers that the rule remembers, so no threshold can be higher.
const MAX_SLOW_ANSWERS: u64 = 60;

/// Settings of the rules.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sources")]
pub(super) struct RulesArgs {
    /// Silence findings and set the thresholds of rules with this YAML file (docs/rules-file.md)
    #[arg(long, value_name = "FILE|DIR")]
    pub rules: Option<PathBuf>,
}

impl RulesArgs {
    /// The rules file.
    pub(super) fn file(&self) -> Option<SettingsFile> {
        let given = self.rules.as_ref()?;
        Some(SettingsFile::new(given, IN_DIRECTORY))
    }

    /// The file's settings; the defaults without a file.
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
    /// A comment for readers of the file.
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
    let file = if settings_file::is_blank(text) {
        File::default()
    } else {
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| described(&error))?
    };
    let mut settings = DiagnosisSettings::default();
    for entry in file.silence.unwrap_or_default() {
        let line = entry.referenced.line();
        let entry = entry.value;
        if let Some(rule) = &entry.rule {
            check_rule(rule)?;
        }
        let silence = Silence {
            rule: glob(entry.rule)?,
            namespace: glob(entry.namespace)?,
            pod: glob(entry.pod)?,
            name: glob(entry.name)?,
        };
        if silence == Silence::default() {
            bail!(
                "line {line}: this entry of silence has no rule, namespace, pod or name and would silence everything; \
                 write rule: \"*\" if you want that"
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
        let answers = ranged("answers", slow.answers, 1, MAX_SLOW_ANSWERS)?;
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
    min: u64,
    max: u64,
) -> anyhow::Result<Option<u64>> {
    match value {
        None => Ok(None),
        Some(value) if (min..=max).contains(&value.value) => Ok(Some(value.value)),
        Some(value) => bail!(
            "line {}: {key} is {}; expected {min} to {max}",
            value.referenced.line(),
            value.value
        ),
    }
}

fn glob(written: Option<Spanned<String>>) -> anyhow::Result<Option<Glob>> {
    let Some(written) = written else {
        return Ok(None);
    };
    // The final dot of a DNS name is optional here.
    let bare = written.value.strip_suffix('.').unwrap_or(&written.value);
    match bare.parse() {
        Ok(glob) => Ok(Some(glob)),
        Err(why) => bail!("line {}: {why}", written.referenced.line()),
    }
}

/// Refuses an unknown rule: the entry would silently have no effect.
fn check_rule(rule: &Spanned<String>) -> anyhow::Result<()> {
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

/// The error with its line first and, for an unknown key, a suggestion.
fn described(error: &serde_saphyr::Error) -> anyhow::Error {
    let (line, message) = settings_file::describe(error);
    let suggestion = match error.without_snippet() {
        serde_saphyr::Error::SerdeUnknownField {
            field, expected, ..
        } => suggest::similar_key(field, expected.iter().copied()),
        _ => None,
    };
    let line = line.map_or_else(String::new, |line| format!("line {line}: "));
    let suggestion = suggestion.map_or_else(String::new, |key| format!(": did you mean {key}?"));
    anyhow::anyhow!("{line}{message}{suggestion}")
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
    fn an_error_names_the_line_and_suggests_a_key() {
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
