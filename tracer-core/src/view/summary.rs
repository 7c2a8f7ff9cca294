//! The last lines of a run, on standard error: what it saw, showed and lost.

use std::fmt;
use std::time::Duration;

use super::losses::{is_loss, sentence};
use super::report::Digest;
use super::text::units;
use crate::model::loss::Losses;
use crate::model::printable::safe;

/// A run in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// How long the run took.
    pub duration: Duration,
    /// Packets that the probes saw; `None` without probes.
    pub packets: Option<u64>,
    /// Agents that answered; `None` if the source is not a set of agents.
    pub agents: Option<u64>,
    /// Records that reached the pipeline.
    pub records: u64,
    /// Events that the pipeline emitted.
    pub events: u64,
    /// Events that were shown.
    pub shown: u64,
    /// The numbers of the report, if the run shows a report.
    pub report: Option<Digest>,
    /// Findings that a rules file silenced.
    pub silenced: u64,
    /// Sentences about names in the filter that match no known object; already shown as warnings.
    pub unmatched: Vec<String>,
    /// The input, if it was a capture without a packet.
    pub empty: Option<String>,
    /// What was lost.
    pub losses: Losses,
    /// Further notes, one line each.
    pub notes: Vec<String>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(input) = &self.empty {
            writeln!(f, "no packets in {}", safe(input))?;
            return self
                .notes
                .iter()
                .try_for_each(|note| writeln!(f, "{}", safe(note)));
        }
        write!(f, "{}: ", units::duration(self.duration))?;
        if let Some(packets) = self.packets {
            write!(f, "{} seen, ", units::count(packets, "packet"))?;
        }
        match self.agents {
            Some(agents) => write!(f, "{} answered", units::count(agents, "agent"))?,
            None => write!(f, "{} read", units::count(self.records, "record"))?,
        }
        match &self.report {
            Some(digest) => write!(f, "\n{digest}")?,
            None => writeln!(
                f,
                ", {}, {} shown",
                units::count(self.events, "event"),
                self.shown
            )?,
        }
        if self.silenced > 0 {
            writeln!(
                f,
                "silenced by the rules file: {}",
                units::count(self.silenced, "finding")
            )?;
        }
        let mut losses: Vec<_> = self.losses.iter().filter(|loss| loss.count > 0).collect();
        losses.sort_by_key(|loss| (loss.stage, loss.reason));
        for loss in &losses {
            // A report names what was open.
            if is_loss(loss) || self.report.is_none() {
                writeln!(f, "{}", sentence(loss))?;
            }
        }
        if !losses.into_iter().any(is_loss) {
            writeln!(f, "lost: nothing")?;
        }
        for note in &self.notes {
            writeln!(f, "{}", safe(note))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Summary;
    use crate::model::loss::{Losses, Stage};

    #[test]
    fn a_summary_lists_what_was_seen_shown_and_lost() {
        let mut losses = Losses::default();
        losses.add(Stage::Table, "dns table full", 2);
        losses.add(Stage::Ring, "ring buffer full", 31);
        losses.add(Stage::Table, "dns undecided at the end", 1);
        let mut summary = Summary {
            duration: Duration::from_millis(12_400),
            packets: Some(1204),
            agents: None,
            records: 318,
            events: 1,
            shown: 0,
            report: None,
            silenced: 2,
            unmatched: Vec::new(),
            empty: None,
            losses,
            notes: vec![
                "2 frames were not IP".to_owned(),
                "recorded: 3 packets in \u{1b}]0;pwned\u{7}".to_owned(),
            ],
        };
        assert_eq!(
            summary.to_string(),
            "12.4 s: 1204 packets seen, 318 records read, 1 event, 0 shown\n\
             silenced by the rules file: 2 findings\n\
             lost: 31 (ring): ring buffer full\n\
             lost: 2 (table): dns table full\n\
             1 DNS query was still unanswered when the capture ended\n\
             2 frames were not IP\n\
             recorded: 3 packets in \\u{1b}]0;pwned\\u{7}\n"
        );
        summary.losses = Losses::default();
        summary
            .losses
            .add(Stage::Table, "dns undecided at the end", 2);
        summary.notes.clear();
        assert!(summary.to_string().ends_with(
            "2 DNS queries were still unanswered when the capture ended\nlost: nothing\n"
        ));
    }
}
