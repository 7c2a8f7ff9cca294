//! Notes for a run's summary, collected while it runs. Bounded: an agent runs for months while interfaces
//! come and go.

/// Notes that are kept. Further ones are only counted.
const MAX_NOTES: usize = 100;

/// Sentences for the summary.
#[derive(Debug, Default)]
pub(super) struct Notes {
    kept: Vec<String>,
    more: u64,
}

impl Notes {
    /// Adds a note.
    pub(super) fn push(&mut self, note: String) {
        if self.kept.len() < MAX_NOTES {
            self.kept.push(note);
        } else {
            self.more += 1;
        }
    }

    /// Returns the kept notes and, in a last one, the number of those that were not kept.
    pub(super) fn into_lines(mut self) -> Vec<String> {
        if self.more > 0 {
            self.kept.push(format!("and {} more notes", self.more));
        }
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_NOTES, Notes};

    #[test]
    fn the_first_notes_are_kept_and_the_rest_counted() {
        let mut notes = Notes::default();
        for number in 0..MAX_NOTES + 7 {
            notes.push(format!("veth{number} was not traced"));
        }
        let lines = notes.into_lines();
        assert_eq!(lines.len(), MAX_NOTES + 1);
        assert_eq!(
            lines.first().map(String::as_str),
            Some("veth0 was not traced")
        );
        assert_eq!(lines.last().map(String::as_str), Some("and 7 more notes"));
    }
}
