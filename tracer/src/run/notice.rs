//! What a run reports about itself: progress, notes and warnings.
//!
//! A command writes them to standard error; an agent writes them to its log. Never data: events go to
//! [`super::output`].

use tracer_core::model::printable::{safe, safe_lines};

/// Where notices go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notices {
    /// Lines on standard error, for the person who runs the command.
    Terminal,
    /// Lines of the log, for an agent.
    #[cfg_attr(
        not(agent),
        expect(dead_code, reason = "only an agent writes notices to a log")
    )]
    Log,
}

impl Notices {
    /// Reports progress.
    pub(super) fn progress(self, text: &str) {
        match self {
            Notices::Terminal => eprintln!("{}", safe_lines(text)),
            Notices::Log => tracing::info!("{text}"),
        }
    }

    /// Reports something worth knowing that is not a problem.
    pub(super) fn note(self, text: &str) {
        match self {
            Notices::Terminal => eprintln!("note: {}", safe(text)),
            Notices::Log => tracing::info!("{text}"),
        }
    }

    /// Reports a problem.
    pub(super) fn warn(self, text: &str) {
        match self {
            Notices::Terminal => eprintln!("warning: {}", safe_lines(text)),
            Notices::Log => tracing::warn!("{text}"),
        }
    }

    /// Reports a new finding of a report that is printed only at the end.
    pub(super) fn found(self, finding: &str) {
        self.progress(&format!("found {}", safe(finding)));
    }
}
