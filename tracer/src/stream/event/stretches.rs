//! What the words of a finding are about, on the wire.

use crate::stream::proto;
use tracer_core::model::finding::Finding;
use tracer_core::model::sentence::Sentence;
use tracer_core::model::stretch::Stretches;

/// `None` if no word is about a part of the way.
pub(super) fn to_wire(finding: &Finding) -> Option<proto::Stretches> {
    let bits = |sentence: &Sentence| u32::from(sentence.stretches().bits());
    let wire = proto::Stretches {
        headline: bits(&finding.headline),
        fix: finding.fix.as_ref().map_or(0, bits),
        why: finding.why.iter().map(bits).collect(),
        r#try: finding.remedies.iter().map(bits).collect(),
    };
    let sentences = wire.why.iter().chain(&wire.r#try);
    let any = sentences.fold(wire.headline | wire.fix, |all, bits| all | bits);
    (any != 0).then_some(wire)
}

/// Adds it to a finding's words.
pub(super) fn add(finding: &mut Finding, wire: &proto::Stretches) {
    mark(&mut finding.headline, wire.headline);
    if let Some(fix) = &mut finding.fix {
        mark(fix, wire.fix);
    }
    mark_all(&mut finding.why, &wire.why);
    mark_all(&mut finding.remedies, &wire.r#try);
}

/// Other numbers than sentences say nothing of any.
fn mark_all(sentences: &mut [Sentence], bits: &[u32]) {
    if sentences.len() == bits.len() {
        for (sentence, bits) in sentences.iter_mut().zip(bits) {
            mark(sentence, *bits);
        }
    }
}

/// Parts of a later version make it one of no part in particular: it stays.
fn mark(sentence: &mut Sentence, bits: u32) {
    let about = Stretches::from_bits(bits).unwrap_or_default();
    *sentence = std::mem::take(sentence).about(about);
}
