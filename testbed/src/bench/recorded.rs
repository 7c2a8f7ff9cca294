//! What a tool recorded and lost, by its summary or its metrics.

/// What a tool recorded, as its own output or its counters say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// DNS messages.
    pub messages: u64,
    /// Messages that it says it lost.
    pub lost: Option<u64>,
    /// Timeouts that it reported.
    pub timeouts: Option<u64>,
    /// Queries of which it says that the answer may have been lost.
    pub undecided: Option<u64>,
    /// Records that it took, where it says so.
    pub records: Option<u64>,
}

impl Recorded {
    /// The same for a load in which each message is a record of its own. An agent's metrics do not say whether
    /// the answer of an undecided exchange was recorded; the number of records does.
    pub(super) fn by_records(self) -> Recorded {
        let most = self.messages + self.undecided.unwrap_or(0);
        let records = self.records.unwrap_or(self.messages);
        Recorded {
            messages: records.clamp(self.messages, most),
            ..self
        }
    }
}

/// The sum of a family's series.
pub(super) fn total(metrics: &str, family: &str) -> f64 {
    series(metrics, family).map(|(_, value)| value).sum()
}

fn series<'a>(metrics: &'a str, family: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    metrics.lines().filter_map(move |line| {
        let rest = line.strip_prefix(family)?;
        if !rest.starts_with(['{', ' ']) {
            return None;
        }
        let (labels, value) = rest.rsplit_once(' ')?;
        Some((labels, value.parse().ok()?))
    })
}

fn lost_messages(metrics: &str) -> u64 {
    let losses = series(metrics, "tracer_lost_total");
    let of_messages = losses.filter(|(labels, _)| {
        let value = |label: &str| {
            let (_, rest) = labels.split_once(&format!("{label}=\""))?;
            rest.split('"').next()
        };
        is_message(
            value("stage").unwrap_or_default(),
            value("reason").unwrap_or_default(),
        )
    });
    of_messages.map(|(_, count)| count as u64).sum()
}

/// What an agent's metrics say.
pub(super) fn of_metrics(metrics: &str) -> Recorded {
    let mut recorded = Recorded {
        messages: total(metrics, "tracer_dns_retries_total") as u64,
        lost: Some(lost_messages(metrics)),
        timeouts: Some(0),
        undecided: Some(0),
        records: Some(total(metrics, "tracer_records_total") as u64),
    };
    for (labels, count) in series(metrics, "tracer_dns_exchanges_total") {
        let count = count as u64;
        let is = |outcome: &str| labels.contains(&format!("outcome=\"{outcome}\""));
        let (timeout, undecided) = (is("timeout"), is("undecided"));
        // The query, and the answer where one came.
        let answered = !(timeout || undecided || is("icmp-error"));
        recorded.messages += if answered { 2 * count } else { count };
        recorded.timeouts = recorded
            .timeouts
            .map(|sum| sum + if timeout { count } else { 0 });
        recorded.undecided = recorded
            .undecided
            .map(|sum| sum + if undecided { count } else { 0 });
    }
    recorded
}

/// The stages at which a lost record is a lost message. What tables lose was recorded before.
const MESSAGES: [&str; 4] = ["kernel", "ring", "decode", "queue"];
/// The reason of a loss in the kernel that is no lost record: the packets of a flow are not counted.
const UNCOUNTED_FLOW: &str = "flow table full";
/// What stays undecided because records were lost is counted at their stage, beside the records.
const UNDECIDED: &str = " undecided: ";

/// Whether each loss of this kind is a lost message.
fn is_message(stage: &str, reason: &str) -> bool {
    MESSAGES.contains(&stage) && reason != UNCOUNTED_FLOW && !reason.contains(UNDECIDED)
}

/// The messages that the tracer's summary says it lost.
pub(super) fn lost(log: &str) -> u64 {
    let counts = log.lines().filter_map(|line| {
        let (count, rest) = line.strip_prefix("lost: ")?.split_once(" (")?;
        let (stage, reason) = rest.split_once("): ")?;
        is_message(stage, reason).then(|| count.parse::<u64>().ok())?
    });
    counts.sum()
}

/// The number before a text, "31" in "31 packets captured".
pub(super) fn number_before(log: &str, text: &str) -> Option<u64> {
    let before = log.get(..log.find(text)?)?;
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_read() {
        let log = "tcpdump: listening on vc0\n31 packets captured\n7 packets dropped by kernel\n";
        assert_eq!(number_before(log, " packets captured"), Some(31));
        assert_eq!(number_before(log, " packets dropped by kernel"), Some(7));
        let log = "1 s: 9 packets seen, 8 records read, 4 events, 4 shown\nlost: 31 (ring): ring buffer full\n\
            lost: 5 (kernel): flow table full\nlost: 9 (ring): lookup undecided: records were lost\nlost: 2 (table): x\n";
        assert_eq!(number_before(log, " records read"), Some(8));
        // Two exchanges that made room are no messages, nor are nine lookups, and a message of an uncounted flow
        // is not lost.
        assert_eq!(lost(log), 31);
        assert_eq!(lost("lost: nothing\n"), 0);
    }

    #[test]
    fn an_agents_exchanges_are_counted_as_messages() {
        let metrics = "tracer_dns_exchanges_total{outcome=\"answered\",qtype=\"A\"} 5\n\
            tracer_dns_exchanges_total{outcome=\"timeout\",qtype=\"A\"} 2\n\
            tracer_dns_exchanges_total_created{outcome=\"timeout\"} 9\n\
            tracer_dns_retries_total{namespace=\"\"} 1\ntracer_lost_total{stage=\"ring\"} 3\n\
            tracer_lost_total{stage=\"kernel\",reason=\"flow table full\"} 4\n\
            tracer_lost_total{stage=\"ring\",reason=\"dns undecided: records were lost\"} 8\ntracer_records_total 13\n";
        let recorded = Recorded {
            messages: 13,
            lost: Some(3),
            timeouts: Some(2),
            undecided: Some(0),
            records: Some(13),
        };
        assert_eq!(of_metrics(metrics), recorded);
        assert_eq!(recorded.by_records(), recorded);
    }

    #[test]
    fn an_undecided_exchange_has_an_answer_if_its_record_was_taken() {
        // Something was lost while eight exchanges were open. Five answers were recorded, and one query is lost.
        let metrics = "tracer_dns_exchanges_total{outcome=\"undecided\",qtype=\"A\"} 7\n\
            tracer_lost_total{stage=\"ring\"} 4\ntracer_records_total 12\n";
        let recorded = of_metrics(metrics);
        assert_eq!((recorded.messages, recorded.undecided), (7, Some(7)));
        assert_eq!(recorded.by_records().messages, 12);
        // More records than that are of other packets.
        let others = Recorded {
            records: Some(100),
            ..recorded
        };
        assert_eq!(others.by_records().messages, 14);
    }
}
