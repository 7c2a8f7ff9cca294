//! Suggestions for a misspelled rule ID or key of a file.

use tracer_core::diagnose::catalogue::RULES;

/// Names at least this similar to the input are suggested (Jaro-Winkler, 0 to 1).
const MIN_SIMILARITY: f64 = 0.7;
/// At most this many are suggested.
const MAX_SUGGESTIONS: usize = 3;

/// The end of an error message about an unknown rule: the most similar IDs and where to find all of them.
pub(super) fn similar_rules(id: &str) -> String {
    let mut similar: Vec<(f64, &str)> = RULES
        .iter()
        .map(|rule| {
            let score = strsim::jaro_winkler(id, rule.id);
            // A part of an ID is a better hint than its spelling.
            let part = !id.is_empty() && rule.id.contains(id);
            (if part { score.max(0.99) } else { score }, rule.id)
        })
        .filter(|(score, _)| *score >= MIN_SIMILARITY)
        .collect();
    similar.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    let similar: Vec<&str> = similar
        .iter()
        .take(MAX_SUGGESTIONS)
        .map(|(_, id)| *id)
        .collect();
    match similar.as_slice() {
        [] => "; `tracer diagnose --list` has them all".to_owned(),
        similar => format!(
            ": did you mean {}? `tracer diagnose --list` has them all",
            similar.join(" or ")
        ),
    }
}

/// The key that is most similar to an unknown one, if one is similar enough.
pub(super) fn similar_key<'a>(
    key: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let written = key.to_ascii_lowercase().replace('_', "-");
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(&written, known), known))
        .filter(|(score, _)| *score >= MIN_SIMILARITY)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}
