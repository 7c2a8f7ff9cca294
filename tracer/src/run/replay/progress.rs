//! A progress line on standard error while a long file is read.

use std::io::{self, IsTerminal};
use std::path::Path;

use super::reading::Figures;
use tracer_core::model::printable::safe;

/// The progress line of a file.
pub(super) struct Progress {
    file: String,
    bytes: u64,
    shown: bool,
}

impl Progress {
    /// For a file with a known length, and only where standard error is a terminal and events go elsewhere.
    pub(super) fn new(path: &Path) -> Option<Progress> {
        if !io::stderr().is_terminal() || io::stdout().is_terminal() {
            return None;
        }
        let metadata = path.metadata().ok()?;
        (metadata.is_file() && metadata.len() > 0).then(|| Progress {
            file: safe(&path.display().to_string()).into_owned(),
            bytes: metadata.len(),
            shown: false,
        })
    }

    /// Replaces the line.
    pub(super) fn show(&mut self, figures: &Figures) {
        let percent = figures.position.min(self.bytes) * 100 / self.bytes;
        let packets = figures.read.packets;
        eprint!("\r{}: {percent} %, {packets} packets\u{1b}[K", self.file);
        self.shown = true;
    }

    /// Removes the line.
    pub(super) fn clear(&mut self) {
        if self.shown {
            eprint!("\r\u{1b}[K");
            self.shown = false;
        }
    }
}
