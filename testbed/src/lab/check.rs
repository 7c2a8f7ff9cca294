//! The lab's DNS server against answers captured from a real CoreDNS: the same queries, asked by dig in a
//! pod, must give the same status, flags and records. Left out are times to live, the zone's serial, the case
//! of names, and how often a record is repeated in the additional section.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};

use super::{Inventory, Lab, Options, ProxyMode, TemporaryLab, shell};

/// Captured answers; the header describes how they were captured.
const FIXTURE: &str = include_str!("../../lab/coredns-answers.txt");

/// The client pod.
const CLIENT: &str = "default/deb-ubuntu";

/// Raises the lab that the fixture was captured in: its name is `NAME-check`, and it goes when it is dropped.
pub fn raise(name: &str) -> Result<TemporaryLab> {
    let inventory = Inventory::scenario_with_near_misses()?;
    Ok(Lab::up(Options {
        name: format!("{name}-check"),
        proxy_mode: ProxyMode::default(),
        inventory,
    })?
    .temporary())
}

/// Asks every query of the fixture and returns the answers in the fixture's form.
pub fn answers(lab: &Lab) -> Result<String> {
    let mut out = String::new();
    for (query, _) in blocks(FIXTURE) {
        let _ = writeln!(out, "query {query}\n{}", ask(lab, query)?);
    }
    Ok(out)
}

/// Where the lab's answers differ from the captured ones: one text per query.
pub fn differences(lab: &Lab) -> Result<Vec<String>> {
    let mut differences = Vec::new();
    let expected = blocks(FIXTURE);
    ensure!(!expected.is_empty(), "the fixture holds no query");
    for (query, captured) in expected {
        let answered = ask(lab, query)?;
        if answered.trim_end() != captured.trim_end() {
            differences.push(format!(
                "{query}\n  CoreDNS:\n{}\n  lab:\n{}",
                indent(captured),
                indent(&answered)
            ));
        }
    }
    Ok(differences)
}

fn indent(text: &str) -> String {
    text.trim_end()
        .lines()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A query and the lines that were answered; comments and empty lines between them are skipped.
fn blocks(fixture: &str) -> Vec<(&str, &str)> {
    let text = fixture.split("\nquery ").skip(1);
    text.filter_map(|block| block.split_once('\n')).collect()
}

fn ask(lab: &Lab, query: &str) -> Result<String> {
    let mut argv = vec!["dig", "+tries=1", "+time=5", "+nocookie"];
    argv.extend(query.split(' '));
    let output = shell::run(&mut lab.exec(CLIENT, &argv)?)?;
    normalise(&output).with_context(|| format!("no answer to {query}:\n{output}"))
}

/// dig's output, reduced to what must agree.
fn normalise(output: &str) -> Option<String> {
    let mut out = String::new();
    let status = output
        .lines()
        .find_map(|line| line.split_once("status: ")?.1.split_once(','))?
        .0;
    let flags = output
        .lines()
        .find_map(|line| line.strip_prefix(";; flags: ")?.split_once(';'))?
        .0;
    let _ = writeln!(out, "status {status}\nflags {flags}");
    let mut section = "";
    let mut records = Vec::new();
    for line in output.lines() {
        if let Some(heading) = line
            .strip_prefix(";; ")
            .and_then(|line| line.strip_suffix(" SECTION:"))
        {
            section = match heading {
                "ANSWER" => "answer",
                "AUTHORITY" => "authority",
                "ADDITIONAL" => "additional",
                _ => "",
            };
        } else if !section.is_empty() && !line.starts_with(';') && !line.is_empty() {
            let mut fields: Vec<&str> = line.split_whitespace().collect();
            if fields.len() > 4 {
                // Name, time to live, class, type, data. Of a SOA the third field of the data is the serial.
                fields.remove(1);
                if fields[2] == "SOA" && fields.len() > 5 {
                    fields[5] = "SERIAL";
                }
            }
            let [name, rest @ ..] = fields.as_slice() else {
                continue;
            };
            records.push(format!(
                "{section} {} {}",
                name.to_ascii_lowercase(),
                rest.join(" ")
            ));
        }
    }
    // Servers rotate records of one kind; sections stay apart, in dig's order.
    let order = |record: &str| {
        ["answer", "authority", "additional"]
            .iter()
            .position(|s| record.starts_with(s))
    };
    records.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.cmp(b)));
    records.dedup();
    for record in records {
        let _ = writeln!(out, "{record}");
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixture_holds_blocks_with_a_status_and_flags_each() {
        let blocks = blocks(FIXTURE);
        assert!(blocks.len() > 20, "{}", blocks.len());
        for (query, answer) in blocks {
            assert!(
                answer.starts_with("status ") && answer.contains("\nflags qr"),
                "{query}: {answer}"
            );
        }
    }

    #[test]
    fn an_answer_is_reduced_to_what_must_agree() {
        let output = "\
;; Got answer:
;; ->>HEADER<<- opcode: QUERY, status: NXDOMAIN, id: 2372
;; flags: qr aa rd; QUERY: 1, ANSWER: 0, AUTHORITY: 1, ADDITIONAL: 1

;; OPT PSEUDOSECTION:
; EDNS: version: 0, flags:; udp: 1232
;; QUESTION SECTION:
;x.cluster.local.		IN	A

;; AUTHORITY SECTION:
cluster.local.		5	IN	SOA	ns.dns.cluster.local. hostmaster.cluster.local. 1700000000 7200 1800 86400 5

;; Query time: 0 msec
";
        let expected = "status NXDOMAIN\nflags qr aa rd\n\
            authority cluster.local. IN SOA ns.dns.cluster.local. hostmaster.cluster.local. SERIAL 7200 1800 86400 5\n";
        assert_eq!(normalise(output).as_deref(), Some(expected));
    }
}
