//! Times, numbers and other single words of a scenario file.

use tracer_core::model::flow::SeenFlags;
use tracer_core::model::loss::{Stage, Thinning};
use tracer_core::model::time::Timestamp;

pub fn time(text: &str) -> Result<Timestamp, String> {
    let (digits, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => (digits, 1e6),
        (None, Some(digits)) => (digits, 1e9),
        (None, None) => return Err(format!("{text:?} is not a time like 0.8ms or 6s")),
    };
    let value: f64 = digits
        .parse()
        .map_err(|_| format!("{text:?} is not a time like 0.8ms or 6s"))?;
    // Scenario times are a few seconds with a few decimals: exact enough as f64, then rounded to a
    // nanosecond.
    Ok(Timestamp((value * unit).round() as u64))
}

pub(super) fn seen_flags(text: &str) -> Result<u8, String> {
    if text == "none" {
        return Ok(0);
    }
    text.split('+').try_fold(0, |flags, word| {
        Ok(flags
            | match word {
                "syn" => SeenFlags::SYN,
                "ack" => SeenFlags::ACK,
                "fin" => SeenFlags::FIN,
                "rst" => SeenFlags::RST,
                "psh" => SeenFlags::PSH,
                other => return Err(format!("{other:?} is no TCP flag")),
            })
    })
}

/// The stage at which the pipeline lost something.
pub(super) fn lost_at(stage: &str) -> Result<Stage, String> {
    const STAGES: [Stage; 5] = [
        Stage::Kernel,
        Stage::Ring,
        Stage::Decode,
        Stage::Table,
        Stage::Queue,
    ];
    let known = STAGES.into_iter().find(|known| known.as_str() == stage);
    known.ok_or_else(|| format!("the pipeline loses nothing at {stage:?}"))
}

/// Reasons are literals in the program. A test can leak a few.
pub(super) fn leaked(reason: &[&str]) -> &'static str {
    reason.join(" ").leak()
}

/// The level of a thinning, if one is given.
pub(super) fn level(words: &[&str]) -> Result<Option<Thinning>, String> {
    match words {
        [] => Ok(None),
        ["thinning", level] => Ok(Some(Thinning(number(level)?))),
        other => Err(format!("{:?} is not a thinning", other.join(" "))),
    }
}

pub(super) fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a number here"))
}
