//! Counts what a tool recorded, in the output that it wrote. awk and wc do it: there are a million lines, and
//! xtask is a debug build.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::lab::shell::{command, run};

/// DNS in the tracer's JSON lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// `dns` events.
    pub events: u64,
    /// Queries and answers: each attempt, and each answer that came.
    pub messages: u64,
    /// Events that report a timeout.
    pub timeouts: u64,
    /// Events that report neither an answer nor its absence, because something was lost.
    pub undecided: u64,
}

/// It searches for fields instead of parsing. The queries of a late answer are in the event that reported the
/// timeout.
const DNS: &str = r#"
/"type":"dns",/ {
    events++
    if (!/"rcode":null/) messages++
    if (!/"late":true/ && match($0, /"attempts":[0-9]+/))
        messages += substr($0, RSTART + 11, RLENGTH - 11)
    if (/"outcome":"timeout"/) timeouts++
    if (/"outcome":"undecided"/) undecided++
}
END { print events + 0, messages + 0, timeouts + 0, undecided + 0 }
"#;

/// Lines of a file.
pub fn lines(path: &Path) -> Result<u64> {
    let output = run(command("wc").arg("-l").arg(path))?;
    let number = output.split(' ').next().unwrap_or_default();
    number.parse().with_context(|| format!("wc: {output}"))
}

/// DNS in a file of JSON lines.
pub fn dns(path: &Path) -> Result<Dns> {
    let mut awk = command("awk");
    // Bytes, not characters: names of hosts are ASCII, and it is faster.
    awk.env("LC_ALL", "C").arg(DNS).arg(path);
    let output = run(&mut awk)?;
    let numbers: Vec<u64> = output
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    match numbers.as_slice() {
        &[events, messages, timeouts, undecided] => Ok(Dns {
            events,
            messages,
            timeouts,
            undecided,
        }),
        _ => anyhow::bail!("awk: {output}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_and_answers_are_messages() {
        let file = std::env::temp_dir().join(format!("bench-count-{}", std::process::id()));
        let text = [
            r#""type":"dns","rcode":"NOERROR","outcome":"answered","attempts":1,"late":false"#,
            r#""type":"dns","rcode":null,"outcome":"timeout","attempts":12,"late":false"#,
            r#""type":"dns","rcode":"NOERROR","outcome":"answered","attempts":12,"late":true"#,
            r#""type":"dns","rcode":null,"outcome":"undecided","attempts":1,"late":false"#,
            r#""type":"lookup","attempts":9"#,
        ]
        .map(|line| format!("{{{line}}}\n"))
        .concat();
        std::fs::write(&file, text).expect("a file");
        let counted = (dns(&file), lines(&file));
        std::fs::remove_file(&file).expect("it can be removed");
        let expected = Dns {
            events: 4,
            messages: 2 + 12 + 1 + 1,
            timeouts: 1,
            undecided: 1,
        };
        assert_eq!(counted.0.expect("awk"), expected);
        assert_eq!(counted.1.expect("wc"), 5);
    }
}
