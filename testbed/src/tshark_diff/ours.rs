//! The tracer's side: the DNS events of `observe --replay FILE -o json`.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::message::{Answer, End, Time};

/// A DNS exchange as the tracer reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The first query; of an answer without one, the answer.
    pub begin: Time,
    /// The client.
    pub client: End,
    /// The server.
    pub server: End,
    /// Over TCP in the end.
    pub tcp: bool,
    /// The DNS message id.
    pub id: u64,
    /// Empty where the question could not be read.
    pub name: String,
    /// Mnemonic; empty as the name.
    pub qtype: String,
    /// The mnemonic.
    pub rcode: Option<String>,
    /// answered, timeout and so on.
    pub outcome: String,
    /// The answer section.
    pub answers: Vec<Answer>,
    /// First query to answer.
    pub latency: Option<Time>,
    /// The number of attempts.
    pub attempts: u64,
    /// The answer to what was reported as unanswered before.
    pub late: bool,
    /// The latency of the truncated answer over UDP; the query followed over TCP.
    pub truncated_after: Option<Time>,
}

impl Exchange {
    /// When the answer came.
    pub fn answered(&self) -> Option<Time> {
        match (self.latency, self.attempts) {
            (Some(latency), _) => Some(self.begin + latency),
            // The client is unknown.
            (None, 0) => Some(self.begin),
            (None, _) => None,
        }
    }
}

/// Reads JSON lines.
pub fn read(lines: &str) -> Result<Vec<Exchange>> {
    let mut exchanges = Vec::new();
    for line in lines.lines() {
        let event: Value =
            serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
        // What is undecided at the end of the file is compared with nothing.
        if event["type"] == "dns" && event["outcome"] != "undecided" {
            exchanges.push(exchange(&event).with_context(|| format!("not as expected: {line}"))?);
        }
    }
    Ok(exchanges)
}

fn exchange(event: &Value) -> Result<Exchange> {
    let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let end = |key: &str| -> Result<End> {
        Ok(End {
            ip: event[key]["ip"].as_str().context("an address")?.to_owned(),
            port: event[key]["port"].as_u64().context("a port")?,
        })
    };
    let (client, server) = match event["direction"].as_str().context("a direction")? {
        "client" => (end("pod")?, end("peer")?),
        _ => (end("peer")?, end("pod")?),
    };
    let time: jiff::Timestamp = text("time").parse().context("a time")?;
    let steps = event["steps"].as_array().map_or(&[][..], Vec::as_slice);
    let answers = event["answers"].as_array().context("answers")?;
    Ok(Exchange {
        begin: time.as_nanosecond(),
        client,
        server,
        tcp: event["transport"] == "tcp",
        id: event["id"].as_u64().context("an identifier")?,
        name: text("name"),
        qtype: text("qtype"),
        rcode: event["rcode"].as_str().map(str::to_owned),
        outcome: text("outcome"),
        answers: answers.iter().map(answer).collect::<Result<_>>()?,
        latency: event["latency_ns"].as_i64().map(Time::from),
        attempts: event["attempts"].as_u64().context("attempts")?,
        late: event["late"] == true,
        truncated_after: steps
            .iter()
            .find(|step| step["transport"] == "udp" && step["outcome"] == "truncated")
            .and_then(|step| step["latency_ns"].as_i64())
            .map(Time::from),
    })
}

fn answer(answer: &Value) -> Result<Answer> {
    let text = |key: &str| answer[key].as_str().map(str::to_owned);
    Ok(Answer {
        name: text("name").context("a name")?,
        rtype: text("type").context("a type")?,
        ttl: answer["ttl"].as_u64().context("a TTL")?,
        data: text("data"),
    })
}
