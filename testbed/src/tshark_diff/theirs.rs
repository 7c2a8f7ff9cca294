//! tshark's side: DNS messages of `tshark -T json`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value};

use super::copies::{Copies, Sighting};
use super::message::{Answer, End, Time, rcode_name, type_name};

/// The quote in an ICMP error is not a message: it was sent before. Segments that are not dissected are
/// copies of others, or the beginning of what a later one ends.
const FILTER: &str = "(dns || (tcp.port == 53 && tcp.len > 0)) && !icmp && !icmpv6";

/// A DNS message as tshark decodes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Number of the packet that ends it.
    pub frame: u64,
    /// Its time stamp.
    pub time: Time,
    /// The sender.
    pub src: End,
    /// The receiver.
    pub dst: End,
    /// Over TCP.
    pub tcp: bool,
    /// The DNS message id.
    pub id: u64,
    /// It is an answer.
    pub response: bool,
    /// Its TC flag is set.
    pub truncated: bool,
    /// Absolute, in lower case; empty without a question.
    pub name: String,
    /// Mnemonic; empty as the name.
    pub qtype: String,
    /// Mnemonic, with the extension that EDNS adds.
    pub rcode: String,
    /// The answer section.
    pub answers: Vec<Answer>,
    /// Since the query, where tshark knows it.
    pub since_query: Option<Time>,
    /// Seen before.
    pub retransmission: bool,
    /// The capture ends within it, or it is broken.
    pub cut: bool,
    /// The same packet at other interfaces.
    pub copies: Vec<Sighting>,
}

impl Message {
    /// The client.
    pub fn client(&self) -> &End {
        if self.response { &self.dst } else { &self.src }
    }

    /// The server.
    pub fn server(&self) -> &End {
        if self.response { &self.src } else { &self.dst }
    }

    /// Where the packet was seen that tshark took the message from.
    pub fn sighting(&self) -> Sighting {
        Sighting {
            time: self.time,
            src: self.src.clone(),
            dst: self.dst.clone(),
        }
    }
}

/// Runs tshark. Without name resolution and without the user's
/// preferences.
pub fn decode(file: &Path) -> Result<String> {
    let output = Command::new("tshark")
        .args(["-n", "-r"])
        .arg(file)
        .args(["-Y", FILTER, "-T", "json", "--no-duplicate-keys"])
        .args(["-J", "frame ip ipv6 udp tcp dns"])
        .env("WIRESHARK_CONFIG_DIR", "/nonexistent")
        .output()
        .context("tshark is needed (Debian: tshark)")?;
    ensure!(
        output.status.success(),
        "tshark cannot read {}: {}",
        file.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8(output.stdout).context("tshark's JSON is not UTF-8")
}

/// Reads tshark's JSON.
pub fn read(json: &str) -> Result<Vec<Message>> {
    let packets: Vec<Value> = serde_json::from_str(json).context("not tshark's JSON")?;
    let mut seen = Vec::new();
    for packet in &packets {
        let layers = &packet["_source"]["layers"];
        seen.push((
            layers,
            sighting(layers).with_context(|| unexpected(layers))?,
        ));
    }
    let copies = Copies::of(&seen);
    let mut messages = Vec::new();
    for (layers, sighting) in &seen {
        // A TCP segment can hold several.
        for dns in each(&layers["dns"]) {
            let elsewhere = copies.elsewhere(layers, sighting);
            let message = message(layers, sighting.clone(), dns, elsewhere);
            messages.push(message.with_context(|| unexpected(layers))?);
        }
    }
    Ok(messages)
}

fn unexpected(layers: &Value) -> String {
    format!(
        "not as expected: packet {}",
        layers["frame"]["frame.number"]
    )
}

fn sighting(layers: &Value) -> Result<Sighting> {
    let transport = transport(layers);
    let end = |which: &str, port: &str| -> Result<End> {
        let ip = layers["ip"][format!("ip.{which}")]
            .as_str()
            .or_else(|| layers["ipv6"][format!("ipv6.{which}")].as_str());
        Ok(End {
            ip: ip.context("an address")?.to_owned(),
            port: number(&layers[transport][format!("{transport}.{port}")])?,
        })
    };
    Ok(Sighting {
        time: seconds(&layers["frame"]["frame.time_epoch"])?,
        src: end("src", "srcport")?,
        dst: end("dst", "dstport")?,
    })
}

fn transport(layers: &Value) -> &'static str {
    if layers.get("tcp").is_some() {
        "tcp"
    } else {
        "udp"
    }
}

fn message(
    layers: &Value,
    Sighting { time, src, dst }: Sighting,
    dns: &Value,
    copies: Vec<Sighting>,
) -> Result<Message> {
    let flags = &dns["dns.flags_tree"];
    let flag = |name: &str| is_true(&flags[format!("dns.flags.{name}")]);
    let response = flag("response");
    let query = records(&dns["Queries"]).next();
    let cut = layers.get("_ws.short").is_some()
        || layers.get("_ws.malformed").is_some()
        || dns.get("_ws.malformed").is_some();
    let extended = records(&dns["Additional records"])
        .find_map(|(_, record)| number(&record["dns.resp.ext_rcode"]).ok())
        .unwrap_or(0);
    let rcode = number(&flags["dns.flags.rcode"]).unwrap_or(0);
    Ok(Message {
        frame: number(&layers["frame"]["frame.number"])?,
        time,
        src,
        dst,
        tcp: transport(layers) == "tcp",
        id: number(&dns["dns.id"])?,
        response,
        truncated: flag("truncated"),
        name: query
            .map(|(_, query)| absolute(query["dns.qry.name"].as_str().unwrap_or_default()))
            .unwrap_or_default(),
        qtype: match query {
            Some((_, query)) => type_name(number(&query["dns.qry.type"])?),
            None => String::new(),
        },
        rcode: rcode_name(extended << 4 | rcode),
        answers: records(&dns["Answers"])
            .map(|(label, record)| answer(label, record))
            .collect::<Result<_>>()?,
        since_query: dns.get("dns.time").map(seconds).transpose()?,
        retransmission: dns.as_object().is_some_and(marks_retransmission),
        cut,
        copies,
    })
}

/// tshark puts it in a subtree whose name says what it belongs to.
fn marks_retransmission(dns: &Map<String, Value>) -> bool {
    dns.keys().any(|key| key.contains("retransmi"))
}

fn answer(label: &str, record: &Value) -> Result<Answer> {
    let name = label.rsplit_once(": type ").map_or(label, |(name, _)| name);
    let field = |field: &str| -> Option<String> {
        let texts: Option<Vec<String>> = each(record.get(field)?)
            .map(|value| value.as_str().map(str::to_owned))
            .collect();
        Some(texts?.join(" "))
    };
    let domain = |key: &str| field(key).map(|name| absolute(&name));
    let rtype = type_name(number(&record["dns.resp.type"])?);
    let all = |parts: &[Option<String>]| -> Option<String> {
        let parts: Option<Vec<String>> = parts.iter().cloned().collect();
        Some(parts?.join(" "))
    };
    let data = match rtype.as_str() {
        "A" => field("dns.a"),
        "AAAA" => field("dns.aaaa"),
        "CNAME" => domain("dns.cname"),
        "NS" => domain("dns.ns"),
        "PTR" => domain("dns.ptr.domain_name"),
        "MX" => all(&[field("dns.mx.preference"), domain("dns.mx.mail_exchange")]),
        "SRV" => all(&[
            field("dns.srv.priority"),
            field("dns.srv.weight"),
            field("dns.srv.port"),
            domain("dns.srv.target"),
        ]),
        "SOA" => all(&[
            domain("dns.soa.mname"),
            domain("dns.soa.rname"),
            field("dns.soa.serial_number"),
            field("dns.soa.refresh_interval"),
            field("dns.soa.retry_interval"),
            field("dns.soa.expire_limit"),
            field("dns.soa.minimum_ttl"),
        ]),
        "TXT" => record.get("dns.txt").map(|texts| {
            let quoted = each(texts).filter_map(Value::as_str);
            let quoted: Vec<String> = quoted.map(|text| format!("\"{text}\"")).collect();
            quoted.join(" ")
        }),
        _ => None,
    };
    Ok(Answer {
        name: absolute(name),
        rtype,
        ttl: number(&record["dns.resp.ttl"])?,
        data,
    })
}

/// The records of a section: by label, and those with the same label in a list.
fn records(section: &Value) -> impl Iterator<Item = (&str, &Value)> {
    section
        .as_object()
        .into_iter()
        .flatten()
        .flat_map(|(label, records)| each(records).map(move |record| (label.as_str(), record)))
}

/// With `--no-duplicate-keys` a field that occurs once is a value; one that occurs more often is a list.
fn each(value: &Value) -> impl Iterator<Item = &Value> {
    let (one, list) = match value {
        Value::Array(list) => (None, list.as_slice()),
        Value::Null => (None, &[][..]),
        one => (Some(one), &[][..]),
    };
    one.into_iter().chain(list)
}

fn is_true(value: &Value) -> bool {
    matches!(value.as_str(), Some("1" | "True"))
}

fn number(value: &Value) -> Result<u64> {
    let text = value
        .as_str()
        .with_context(|| format!("no number: {value}"))?;
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.with_context(|| format!("no number: {text}"))
}

fn seconds(value: &Value) -> Result<Time> {
    let text = value
        .as_str()
        .with_context(|| format!("no time: {value}"))?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{seconds}{fraction:0<9}")
        .parse()
        .with_context(|| format!("no time: {text}"))
}

fn absolute(name: &str) -> String {
    match name {
        "<Root>" | "" => ".".to_owned(),
        name => format!("{}.", name.trim_end_matches('.').to_ascii_lowercase()),
    }
}
