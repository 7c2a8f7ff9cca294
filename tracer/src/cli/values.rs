//! Types of option values: durations with units, sizes, names, bounded numbers.
//!
//! Each type parses what users write, checks it and prints it back. The command line and the configuration file share
//! these types, so both accept the same values. Each error says what is accepted.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::{SignedDuration, Zoned, civil};

use tracer_core::model::dns::{
    DnsName, RecordType, ResponseCode, rcode_from_mnemonic, type_mnemonic,
};

/// Parses one of these words into the value beside it.
pub(super) fn choice<T, const N: usize>(
    choices: [(&'static str, T); N],
) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    PossibleValuesParser::new(choices.map(|(word, _)| word)).try_map(move |written| {
        let found = choices.iter().find(|(word, _)| *word == written);
        found.map(|(_, value)| *value).ok_or("not a possible value")
    })
}

/// An integer from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Int<T, const MIN: u64, const MAX: u64>(pub T);

impl<T: fmt::Display, const MIN: u64, const MAX: u64> fmt::Display for Int<T, MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: TryFrom<u64>, const MIN: u64, const MAX: u64> FromStr for Int<T, MIN, MAX> {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        let number = written.parse::<u64>().ok();
        number
            .filter(|number| (MIN..=MAX).contains(number))
            .and_then(|number| T::try_from(number).ok())
            .map(Int)
            .ok_or_else(|| format!("expected an integer in {MIN}..={MAX}"))
    }
}

/// A duration with its unit: `500ms`, `10s`, `2m`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SignedDuration::try_from(self.0) {
            Ok(duration) => write!(f, "{duration:#}"),
            Err(_) => write!(f, "{}s", self.0.as_secs()),
        }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(written: &str) -> Result<Span, String> {
        let needs_unit =
            || "a duration needs its unit, as in 500ms, 10s, 2m or '1h 30m'".to_owned();
        // jiff parses 1:30:00 as a duration; users mean a time of day.
        if written.contains(':') {
            return Err(needs_unit());
        }
        let parsed = written
            .parse::<SignedDuration>()
            .map_err(|_| needs_unit())?;
        match Duration::try_from(parsed) {
            Ok(duration) if !duration.is_zero() => Ok(Span(duration)),
            _ => Err("must be greater than zero".to_owned()),
        }
    }
}

/// A moment in the past: `5m` ago, `12:30` today (yesterday if that is still to come), `2026-01-31 12:30` local time, or
/// `2026-01-31T12:30:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Ago(Duration),
    TimeOfDay(civil::Time),
    Local(civil::DateTime),
    Instant(jiff::Timestamp),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(written: &str) -> Result<Moment, String> {
        if let Ok(Span(ago)) = written.parse() {
            return Ok(Moment::Ago(ago));
        }
        // The longer forms first: the parsers of the shorter ones accept their beginning and ignore the rest.
        if let Ok(instant) = written.parse() {
            return Ok(Moment::Instant(instant));
        }
        if let Ok(local) = written.parse() {
            return Ok(Moment::Local(local));
        }
        match written.parse() {
            // jiff also parses 10 as a time of day, which is ambiguous here.
            Ok(time) if written.contains(':') => Ok(Moment::TimeOfDay(time)),
            _ => Err(
                "expected a duration (5m), a time (12:30), or a date and time ('2026-01-31 12:30' or 2026-01-31T12:30:00Z)"
                    .to_owned(),
            ),
        }
    }
}

impl Moment {
    /// The instant, as seen at `now` in `now`'s time zone.
    pub(super) fn at(self, now: &Zoned) -> Result<jiff::Timestamp, jiff::Error> {
        match self {
            Moment::Ago(ago) => Ok(now
                .timestamp()
                .saturating_sub(SignedDuration::try_from(ago)?)?),
            Moment::Instant(instant) => Ok(instant),
            Moment::Local(local) => Ok(local.to_zoned(now.time_zone().clone())?.timestamp()),
            Moment::TimeOfDay(time) => {
                let on = |day: civil::Date| day.to_datetime(time).to_zoned(now.time_zone().clone());
                let today = on(now.date())?;
                if today <= *now {
                    return Ok(today.timestamp());
                }
                Ok(on(now.date().yesterday()?)?.timestamp())
            }
        }
    }
}

/// The size of the ring buffer. The kernel requires a power of two of whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RingSize(pub u32);

impl fmt::Display for RingSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bytes(u64::from(self.0), f)
    }
}

impl FromStr for RingSize {
    type Err = String;

    fn from_str(written: &str) -> Result<RingSize, String> {
        let bytes = bytes(written)?;
        let (min, max) = (64 * 1024, 1024 * 1024 * 1024);
        if (min..=max).contains(&bytes) && bytes.is_power_of_two() {
            let bytes = u32::try_from(bytes).map_err(|error| error.to_string())?;
            return Ok(RingSize(bytes));
        }
        let next = bytes
            .clamp(min, max)
            .checked_next_power_of_two()
            .unwrap_or(max);
        Err(format!(
            "expected a power of two from 64 KiB to 1 GiB, for example {}",
            ByteSize::b(next).display().iec()
        ))
    }
}

/// The size of an agent's event history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HistorySize(pub u64);

impl fmt::Display for HistorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bytes(self.0, f)
    }
}

impl FromStr for HistorySize {
    type Err = String;

    fn from_str(written: &str) -> Result<HistorySize, String> {
        let bytes = bytes(written)?;
        if (64 * 1024..=64 << 30).contains(&bytes) {
            return Ok(HistorySize(bytes));
        }
        Err("expected 64 KiB to 64 GiB".to_owned())
    }
}

/// Writes a size as the options take it: `8MiB`.
fn write_bytes(bytes: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match bytes {
        bytes if bytes % (1 << 20) == 0 => write!(f, "{}MiB", bytes >> 20),
        bytes if bytes % (1 << 10) == 0 => write!(f, "{}KiB", bytes >> 10),
        bytes => write!(f, "{bytes}"),
    }
}

/// Parses a number of bytes, with or without a unit. `8MB` means 8 MiB, the usual meaning for memory.
fn bytes(written: &str) -> Result<u64, String> {
    let upper = written.trim().to_ascii_uppercase();
    let binary = match upper.strip_suffix('B') {
        Some(prefix) if prefix.ends_with(['K', 'M', 'G']) => format!("{prefix}IB"),
        None if upper.ends_with(['K', 'M', 'G']) => format!("{upper}IB"),
        _ => upper,
    };
    binary
        .parse::<ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| "expected a number with a unit, as in 512KiB or 16MiB".to_owned())
}

/// Parses a response code: a mnemonic or a number.
pub(super) fn rcode(written: &str) -> Result<ResponseCode, String> {
    rcode_from_mnemonic(written).ok_or_else(|| {
        "expected a mnemonic (NOERROR, NXDOMAIN, SERVFAIL, REFUSED, FORMERR, NOTIMP, ...) or a number"
            .to_owned()
    })
}

/// Parses a DNS record type: a mnemonic, in any case, a number, or TYPE and a number (RFC 3597).
pub(super) fn qtype(written: &str) -> Result<RecordType, String> {
    let upper = written.to_ascii_uppercase();
    let number = upper.strip_prefix("TYPE").unwrap_or(&upper);
    if let Ok(number) = number.parse::<u16>() {
        return Ok(RecordType::from(number));
    }
    (0..=u16::MAX)
        .map(RecordType::from)
        .find(|known| type_mnemonic(*known) == upper)
        .ok_or_else(|| {
            "expected a mnemonic (A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT, HTTPS, ANY, ...), a number, or TYPE<number>"
                .to_owned()
        })
}

/// A DNS domain, with or without the final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Domain(pub DnsName);

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('.'))
    }
}

impl FromStr for Domain {
    type Err = String;

    fn from_str(written: &str) -> Result<Domain, String> {
        let relative = written.strip_suffix('.').unwrap_or(written);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        if relative.len() <= 253 && relative.split('.').all(label) {
            return Ok(Domain(DnsName::new(relative)));
        }
        Err(
            "expected labels of letters, digits and '-', separated by dots, as in cluster.local"
                .to_owned(),
        )
    }
}

/// The name of one of several tracers on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instance(pub String);

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Instance {
    type Err = String;

    fn from_str(written: &str) -> Result<Instance, String> {
        let valid = (1..=32).contains(&written.len())
            && written
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if valid {
            Ok(Instance(written.to_owned()))
        } else {
            Err("expected 1 to 32 letters, digits, '-' or '_'".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Domain, HistorySize, Instance, Int, Moment, RingSize, Span, qtype, rcode};
    use tracer_core::model::dns::RecordType;

    #[test]
    fn a_duration_needs_a_unit_and_is_not_zero() {
        for (written, expected) in [
            ("500ms", Some(Duration::from_millis(500))),
            ("10s", Some(Duration::from_secs(10))),
            ("1h 30m", Some(Duration::from_secs(5_400))),
            ("1m30s", Some(Duration::from_secs(90))),
            ("10", None),
            ("1:30:00", None),
            ("0s", None),
            ("-5s", None),
            ("soon", None),
        ] {
            let parsed = written.parse::<Span>().ok().map(|span| span.0);
            assert_eq!(parsed, expected, "{written}");
        }
        assert_eq!(Span(Duration::from_millis(20)).to_string(), "20ms");
        assert_eq!(Span(Duration::from_secs(300)).to_string(), "5m");
    }

    #[test]
    fn a_moment_is_a_duration_ago_a_time_or_a_date() {
        let now = "2026-03-29T10:30:00+02:00[Europe/Berlin]"
            .parse()
            .expect("a time");
        for (written, expected) in [
            ("90s", "2026-03-29T08:28:30Z"),
            ("10:15", "2026-03-29T08:15:00Z"),
            ("10:15:30.5", "2026-03-29T08:15:30.5Z"),
            // 23:59 is still to come today, so it is yesterday's; daylight saving time began that night.
            ("23:59", "2026-03-28T22:59:00Z"),
            ("2026-03-28 10:15", "2026-03-28T09:15:00Z"),
            ("2026-03-28", "2026-03-27T23:00:00Z"),
            ("2026-03-28T10:15:00Z", "2026-03-28T10:15:00Z"),
            ("2026-03-28T10:15:00+02:00", "2026-03-28T08:15:00Z"),
        ] {
            let moment: Moment = written.parse().expect(written);
            let at = moment.at(&now).expect(written);
            assert_eq!(at.to_string(), expected, "{written}");
        }
        for wrong in ["yesterday", "10", "25:00", "2026-13-01", "0s"] {
            let refused = wrong.parse::<Moment>();
            assert!(
                refused.is_err_and(|error| error.contains("12:30")),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_record_type_is_a_mnemonic_or_a_number() {
        for (written, expected) in [
            ("aaaa", RecordType::AAAA),
            ("IXFR", RecordType::IXFR),
            ("28", RecordType::AAAA),
            ("type65280", RecordType::from(65_280)),
        ] {
            assert_eq!(qtype(written), Ok(expected), "{written}");
        }
        assert!(qtype("AAAAA").is_err_and(|error| error.contains("HTTPS")));
    }

    #[test]
    fn a_ring_size_is_a_power_of_two_and_the_error_names_the_next() {
        let ring = |written: &str| written.parse::<RingSize>().map(|size| size.0);
        assert_eq!(ring("16MiB"), Ok(16 << 20));
        assert_eq!(ring("16MB"), Ok(16 << 20));
        assert_eq!(ring("16m"), Ok(16 << 20));
        assert_eq!(ring("65536"), Ok(65_536));
        assert!(ring("5MiB").is_err_and(|error| error.contains("8.0 MiB")));
        assert!(ring("1k").is_err_and(|error| error.contains("64.0 KiB")));
        assert!(ring("16 GiB").is_err_and(|error| error.contains("1.0 GiB")));
        assert!(ring("many").is_err());
    }

    #[test]
    fn a_size_is_printed_as_it_is_parsed() {
        for (bytes, text) in [
            (16 << 20, "16MiB"),
            (64 << 10, "64KiB"),
            (100_000, "100000"),
        ] {
            assert_eq!(HistorySize(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(HistorySize(bytes)));
        }
        assert!("1KiB".parse::<HistorySize>().is_err());
    }

    #[test]
    fn an_integer_out_of_range_is_an_error_that_names_the_range() {
        type Port = Int<u16, 1, 65_535>;
        assert_eq!("53".parse::<Port>().map(|port| port.0), Ok(53));
        for wrong in ["0", "65536", "-1", "many", ""] {
            let error = wrong.parse::<Port>().map(|port| port.0);
            assert!(
                error.is_err_and(|error| error.contains("1..=65535")),
                "{wrong}"
            );
        }
    }

    #[test]
    fn domains_instances_and_response_codes_are_checked() {
        let domain = |written: &str| written.parse::<Domain>().map(|domain| domain.0);
        assert_eq!(
            domain("Cluster.Local").map(|name| name.to_string()),
            Ok("cluster.local.".to_owned())
        );
        assert_eq!(
            domain("a.b.").map(|name| name.to_string()),
            Ok("a.b.".to_owned())
        );
        for wrong in ["", ".", "a..b", "with space", &"a".repeat(64)] {
            assert!(domain(wrong).is_err(), "{wrong}");
        }
        assert!("second-1".parse::<Instance>().is_ok());
        for wrong in ["", "a/b", &"a".repeat(33)] {
            assert!(wrong.parse::<Instance>().is_err(), "{wrong}");
        }
        assert!(rcode("nxdomain").is_ok());
        assert!(rcode("NX").is_err_and(|error| error.contains("NXDOMAIN")));
    }
}
