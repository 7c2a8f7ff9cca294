//! An Event's note and reason.

use tracer_core::model::sentence::Sentence;

/// The API server's limit (`ValidateEventCreate` in k8s.io/kubernetes, pkg/apis/core/validation/events.go).
const MAX_NOTE_BYTES: usize = 1024;

/// The headline, which has symptom, cause and fix, and the remedies that it does not have; cut to the API
/// server's limit.
pub(super) fn note(headline: &Sentence, remedies: &[Sentence]) -> String {
    let mut note = headline.to_string().trim_end().to_owned();
    let said = |remedy: &String| note.ends_with(&format!(" {remedy}"));
    let remedies: Vec<String> = remedies.iter().map(Sentence::to_string).collect();
    let remedies: Vec<String> = remedies
        .into_iter()
        .filter(|remedy| !said(remedy))
        .collect();
    if !remedies.is_empty() {
        if !note.ends_with(['.', '!', '?']) {
            note.push('.');
        }
        note.push_str(" Try: ");
        note.push_str(&remedies.join("; "));
    }
    cut(note)
}

fn cut(mut note: String) -> String {
    const DOTS: &str = "...";
    if note.len() > MAX_NOTE_BYTES {
        let mut end = MAX_NOTE_BYTES - DOTS.len();
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
        note.push_str(DOTS);
    }
    note
}

/// A rule's id in the form of an Event's reason: `nxdomain-other-namespace` becomes `NxdomainOtherNamespace`.
pub(super) fn reason(rule: &str) -> String {
    rule.split('-')
        .map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<String>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{note, reason};
    use tracer_core::diagnose::catalogue::RULES;

    #[test]
    fn a_note_has_the_headline_and_the_remedies() {
        let remedies = ["use db.shop".into(), "or db.shop.svc".into()];
        assert_eq!(
            note(&"default/web asked for db".into(), &remedies),
            "default/web asked for db. Try: use db.shop; or db.shop.svc"
        );
        assert_eq!(
            note(
                &"default/web can't resolve db: the Service is in namespace shop; use db.shop"
                    .into(),
                &["db.shop".into(), "kubectl get svc".into()]
            ),
            "default/web can't resolve db: the Service is in namespace shop; use db.shop. Try: kubectl get svc"
        );
        assert_eq!(
            note(&"It failed.".into(), &remedies[..1]),
            "It failed. Try: use db.shop"
        );
        assert_eq!(note(&"It failed".into(), &[]), "It failed");
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let cut = note(&"ä".repeat(600).into(), &[]);
        assert!(cut.len() <= 1024 && cut.len() > 1000, "{}", cut.len());
        assert!(cut.ends_with("ä..."));
    }

    #[test]
    fn every_rule_has_a_valid_reason() {
        assert_eq!(reason("nxdomain-other-namespace"), "NxdomainOtherNamespace");
        for rule in RULES {
            let reason = reason(rule.id);
            assert!(reason.len() <= 128, "{reason}");
            assert!(
                reason.chars().all(|c| c.is_ascii_alphanumeric()),
                "{reason}"
            );
            assert!(
                reason.starts_with(|c: char| c.is_ascii_uppercase()),
                "{reason}"
            );
        }
    }
}
