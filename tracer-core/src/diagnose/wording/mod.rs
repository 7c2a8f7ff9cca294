//! The only place where findings become English: summaries, facts, evidence, resolutions and commands as sentences.
//!
//! [`sentence!`] takes the parts of a sentence in order. A string literal is words. Everything else has a type that says
//! what it is ([`Part`]): names stay names, so that privacy settings can redact them. Text that is not known at compile
//! time has to be wrapped as [`Asked`] or [`Opaque`].

mod commands;
mod evidence;
mod facts;
mod parts;
mod summary;

pub(super) use self::commands::command;
pub(super) use self::evidence::evidence;
pub(super) use self::facts::fact;
pub(super) use self::parts::list;
pub(super) use self::summary::{resolution, summary};

/// Makes a [`Sentence`](crate::model::sentence::Sentence) of parts.
macro_rules! sentence {
    ($($part:expr),* $(,)?) => {{
        let mut sentence = $crate::model::sentence::Sentence::default();
        $($crate::diagnose::wording::parts::Part::add_to(&$part, &mut sentence);)*
        sentence
    }};
}

use sentence;

/// The pod's name or address, as a part of a finding's id.
pub(super) fn who(who: &super::fact::Who) -> String {
    sentence![who].to_string()
}
