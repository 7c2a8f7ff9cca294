//! Suggestions for a misspelled rule ID, key of a file or value of an option.

use tracer_core::diagnose::catalogue::RULES;

/// Names at least this similar to the input are suggested (Jaro-Winkler, 0 to 1).
const MIN_SIMILARITY: f64 = 0.7;
/// The same for words that are chosen from a short list.
const MIN_SIMILARITY_OF_WORDS: f64 = 0.8;
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

/// The known words that are most similar to an unknown one, in words; `None` if none is.
pub(super) fn did_you_mean<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let written = written.to_ascii_lowercase();
    let mut similar: Vec<(f64, &str)> = known
        .into_iter()
        .map(|known| {
            let score = strsim::jaro_winkler(&written, &known.to_ascii_lowercase());
            (score, known)
        })
        .filter(|(score, _)| *score >= MIN_SIMILARITY_OF_WORDS)
        .collect();
    similar.sort_by(|a, b| b.0.total_cmp(&a.0));
    let best = similar.first()?.0;
    // A clearly worse one is not what was meant.
    similar.retain(|(score, _)| *score > best - 0.02);
    let words: Vec<&str> = similar.iter().map(|(_, known)| *known).collect();
    Some(words[..words.len().min(MAX_SUGGESTIONS)].join(" or "))
}
