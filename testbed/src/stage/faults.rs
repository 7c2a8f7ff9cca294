//! Faults put into the lab's network: packets dropped or rejected by their contents. Uses nftables,
//! whose counters give the number, and which the tracer does not read.

use std::fmt::Write as _;
use std::process::Command;

/// Before connection tracking and translation, and after the probes, which see the packet on the pod's
/// interface.
pub const RAW: &str = "type filter hook prerouting priority -400";

/// The matches of an nftables rule for a DNS query over UDP: its name and type, behind 8 bytes of UDP and 12
/// of DNS header.
pub fn question(name: &str, qtype: u16) -> String {
    let mut wire = Vec::new();
    for label in name.trim_end_matches('.').split('.') {
        wire.push(u8::try_from(label.len()).expect("a label"));
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire.extend(qtype.to_be_bytes());
    let mut rule = String::from("udp dport 53");
    let mut bit = (8 + 12) * 8;
    // No match is longer than a register.
    for part in wire.chunks(16) {
        let digits: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = write!(rule, " @th,{bit},{} 0x{digits}", part.len() * 8);
        bit += part.len() * 8;
    }
    rule
}

/// A separate table with one chain: `hook` as in [`RAW`], and the rules. A rule may count in `counter name
/// NAME`.
pub fn table(hook: &str, counters: &[&str], rules: &[String]) -> String {
    let mut script = String::from("table inet fault {\n");
    for counter in counters {
        let _ = writeln!(script, "counter {counter} {{ }}");
    }
    let _ = writeln!(
        script,
        "chain faults {{\n{hook};\n{}\n}}\n}}",
        rules.join("\n")
    );
    script
}

/// How many packets a counter of that table has seen; the command is `nft list counter inet fault NAME`.
pub fn counted(mut command: Command) -> u64 {
    let output = command.output().expect("nft runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text
        .split_whitespace()
        .skip_while(|word| *word != "packets");
    let packets = words.nth(1).and_then(|number| number.parse().ok());
    packets.unwrap_or_else(|| panic!("a counter: {output:?}"))
}

/// Runs a command that must succeed.
pub fn done(mut command: Command) {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {output:?}");
}
