//! The options of a scenario's `filter` lines, as `tracer observe` spells them. A test of `tracer` compares
//! each with what its command line makes of it.

use std::time::Duration;

use tracer_core::model::dns::{RecordType, type_mnemonic};
use tracer_core::model::flow::Role;
use tracer_core::view::filter::FilterConfig;

/// The filter that these options ask for.
pub fn parse(options: &[&str]) -> Result<FilterConfig, String> {
    let mut config = FilterConfig::default();
    let mut words = options.iter();
    while let Some(option) = words.next() {
        if *option == "--failed" {
            config.failed = true;
            continue;
        }
        let value = words
            .next()
            .ok_or_else(|| format!("{option} has no value"))?;
        for value in value.split(',') {
            let unknown = || format!("{option} {value}: unknown");
            match *option {
                "--type" => {
                    config.types.push(value.parse().map_err(|_| unknown())?);
                }
                "--outcome" => config.outcomes.push(value.to_owned()),
                "--slow" => {
                    let millis = value.strip_suffix("ms").ok_or_else(unknown)?;
                    let millis = millis.parse().map_err(|_| unknown())?;
                    config.slow = Some(Duration::from_millis(millis));
                }
                "--qtype" => config.qtypes.push(record_type(value).ok_or_else(unknown)?),
                "--port" => config.ports.push(value.parse().map_err(|_| unknown())?),
                "--peer" => config.peers.push(value.parse().map_err(|_| unknown())?),
                "--direction" => {
                    config.direction = Some(match value {
                        "client" => Role::Client,
                        "server" => Role::Server,
                        _ => return Err(unknown()),
                    });
                }
                // No filter, but the choice that the program makes without one.
                "--color" => {}
                _ => return Err(format!("{option} is not an option of scenarios")),
            }
        }
    }
    Ok(config)
}

/// A record type by its number or mnemonic.
fn record_type(text: &str) -> Option<RecordType> {
    match text.parse::<u16>() {
        Ok(number) => Some(RecordType::from(number)),
        Err(_) => (0..=u16::MAX)
            .map(RecordType::from)
            .find(|known| type_mnemonic(*known) == text),
    }
}
