//! What a run has to say at its end, gathered on the way. An agent runs for months, and interfaces come and go: so many
//! sentences at most, the rest is counted.

/// Nobody reads more than that of the kind.
const MOST: usize = 100;

/// Sentences for the summary.
#[derive(Debug, Default)]
pub(super) struct Notes {
    kept: Vec<String>,
    more: u64,
}

impl Notes {
    /// One more.
    pub(super) fn push(&mut self, note: String) {
        if self.kept.len() < MOST {
            self.kept.push(note);
        } else {
            self.more += 1;
        }
    }

    /// All that were kept, and how many were not.
    pub(super) fn all(mut self) -> Vec<String> {
        if self.more > 0 {
            self.kept.push(format!("and {} more notes", self.more));
        }
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, Notes};

    #[test]
    fn a_run_of_months_keeps_its_first_notes_and_counts_the_rest() {
        let mut notes = Notes::default();
        for number in 0..MOST + 7 {
            notes.push(format!("veth{number} was not traced"));
        }
        let all = notes.all();
        assert_eq!(all.len(), MOST + 1);
        assert_eq!(
            all.first().map(String::as_str),
            Some("veth0 was not traced")
        );
        assert_eq!(all.last().map(String::as_str), Some("and 7 more notes"));
    }
}
