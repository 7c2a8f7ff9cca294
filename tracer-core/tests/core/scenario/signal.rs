//! Statements about what the kernel says.

use tracer_core::model::flow::Protocol;
use tracer_core::model::signal::{ConntrackCounters, Signal, Translation, Tuple};

use super::words::number;

/// `translated AT PROTOCOL SRC DST ENDPOINT [CLIENT]`, from the protocol on.
pub(super) fn translated(words: &[&str]) -> Result<Signal, String> {
    let (protocol, src, dst, endpoint, client) = match words {
        [protocol, src, dst, endpoint] => (protocol, src, dst, endpoint, src),
        [protocol, src, dst, endpoint, client] => (protocol, src, dst, endpoint, client),
        _ => return Err("translated AT PROTOCOL SRC DST ENDPOINT [CLIENT]".to_owned()),
    };
    let protocol = match *protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        other => return Err(format!("{other:?} is not translated")),
    };
    let tuple = |src: &str, dst: &str| {
        Ok::<_, String>(Tuple {
            protocol,
            src: number(src)?,
            dst: number(dst)?,
        })
    };
    Ok(Signal::Translated(Translation {
        original: tuple(src, dst)?,
        reply: tuple(endpoint, client)?,
    }))
}

/// `conntrack AT complete|missing`, or the counters, each as NAME=COUNT.
pub(super) fn conntrack(words: &[&str]) -> Result<Signal, String> {
    match words {
        ["complete"] => return Ok(Signal::TranslationsComplete(true)),
        ["missing"] => return Ok(Signal::TranslationsComplete(false)),
        _ => {}
    }
    let mut counters = ConntrackCounters::default();
    for word in words {
        let (name, count) = word
            .split_once('=')
            .ok_or_else(|| format!("{word:?} is not NAME=COUNT"))?;
        let counter = match name {
            "entries" => &mut counters.entries,
            "max" => &mut counters.max,
            "insert_failed" => &mut counters.insert_failed,
            "drop" => &mut counters.drop,
            "early_drop" => &mut counters.early_drop,
            other => return Err(format!("conntrack has no counter {other:?}")),
        };
        *counter = number(count)?;
    }
    Ok(Signal::Conntrack(counters))
}
