//! What a run says at its end, on standard error: seen, shown, lost by stage.

use std::fmt;
use std::time::Duration;

use super::report::Digest;
use super::text::units;
use crate::model::loss::Losses;
use crate::model::printable::safe;

/// The figures of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// How long it ran.
    pub duration: Duration,
    /// Packets that the probes saw; `None` where there are no probes.
    pub packets: Option<u64>,
    /// Agents that told events; `None` where none were asked.
    pub agents: Option<u64>,
    /// Records that reached the pipeline.
    pub records: u64,
    /// Events that the pipeline put out.
    pub events: u64,
    /// Events that were shown.
    pub shown: u64,
    /// The figures of a report, where that is what was shown.
    pub report: Option<Digest>,
    /// Findings that a rules file silenced.
    pub silenced: u64,
    /// What was lost.
    pub losses: Losses,
    /// Other sentences, one line each.
    pub notes: Vec<String>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", units::duration(self.duration))?;
        if let Some(packets) = self.packets {
            write!(f, "{} seen, ", units::count(packets, "packet"))?;
        }
        match self.agents {
            Some(agents) => write!(f, "{} heard", units::count(agents, "agent"))?,
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
        if self.losses.total() == 0 {
            writeln!(f, "lost: nothing")?;
        } else {
            let mut losses: Vec<_> = self.losses.iter().filter(|loss| loss.count > 0).collect();
            losses.sort_by_key(|loss| (loss.stage, loss.reason));
            for loss in losses {
                writeln!(
                    f,
                    "lost: {} {}: {}",
                    loss.stage.as_str(),
                    loss.count,
                    loss.reason
                )?;
            }
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
    fn says_what_was_seen_shown_and_lost_where() {
        let mut losses = Losses::default();
        losses.add(Stage::Table, "dns table full", 2);
        losses.add(Stage::Ring, "ring buffer full", 31);
        let mut summary = Summary {
            duration: Duration::from_millis(12_400),
            packets: Some(1204),
            agents: None,
            records: 318,
            events: 1,
            shown: 0,
            report: None,
            silenced: 2,
            losses,
            notes: vec![
                "2 queries were open at the end".to_owned(),
                "recorded: 3 packets in \u{1b}]0;pwned\u{7}".to_owned(),
            ],
        };
        assert_eq!(
            summary.to_string(),
            "12.4 s: 1204 packets seen, 318 records read, 1 event, 0 shown\n\
             silenced by the rules file: 2 findings\n\
             lost: ring 31: ring buffer full\n\
             lost: table 2: dns table full\n\
             2 queries were open at the end\n\
             recorded: 3 packets in \\u{1b}]0;pwned\\u{7}\n"
        );
        summary.losses = Losses::default();
        summary.notes.clear();
        assert!(summary.to_string().ends_with("lost: nothing\n"));
    }
}
