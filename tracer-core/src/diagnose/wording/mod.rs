//! The only place where findings become English: summaries, facts, evidence, resolutions and commands as
//! sentences.
//!
//! [`sentence!`] reads like `format!`: a template with `{}` for each part. The type of a part says what it is
//! ([`Part`](parts::Part)), so names stay names and privacy settings can redact them. Text that is not known
//! at compile time has to be wrapped as [`Asked`](parts::Asked) or [`Opaque`](parts::Opaque).

mod along_path;
mod commands;
mod evidence;
mod facts;
mod headline;
mod parts;
mod rest;
mod summary;

pub(super) use self::along_path::{AlongPath, along_path};
pub(super) use self::commands::command;
pub(super) use self::evidence::evidence;
pub(crate) use self::facts::drop_means;
pub(super) use self::facts::fact;
pub(super) use self::headline::{MAX_HEADLINE, fix, headline, resolved};
pub(super) use self::parts::list;
pub(super) use self::summary::{resolution, summary};

/// Makes a [`Sentence`](crate::model::sentence::Sentence) of a template and its parts. The compiler counts
/// the parts.
macro_rules! sentence {
    ($template:literal $(, $part:expr)* $(,)?) => {{
        const {
            let parts: &[&str] = &[$(stringify!($part)),*];
            assert!($crate::diagnose::wording::parts::holes($template) == parts.len());
        }
        $crate::diagnose::wording::parts::fill(
            $template,
            &[$(&$part as &dyn $crate::diagnose::wording::parts::Part),*],
        )
    }};
}

use sentence;

/// The pod's name or address, as a part of a finding's id.
pub(super) fn who(who: &super::fact::Who) -> String {
    sentence!("{}", who).to_string()
}
