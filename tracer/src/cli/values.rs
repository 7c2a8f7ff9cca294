//! Values of options as people write them: durations with units, sizes, names. Each error says what would be right.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use jiff::{SignedDuration, Zoned, civil};

use tracer_core::model::dns::{
    DnsName, RecordType, ResponseCode, rcode_from_mnemonic, type_mnemonic,
};

/// A duration with its unit: `500ms`, `10s`, `2m`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

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
        // 1:30:00 is a duration to jiff, and a time of day to everybody else.
        if written.contains(':') {
            return Err(needs_unit());
        }
        let parsed = written
            .parse::<SignedDuration>()
            .map_err(|_| needs_unit())?;
        match Duration::try_from(parsed) {
            Ok(duration) if !duration.is_zero() => Ok(Span(duration)),
            _ => Err("it must be longer than nothing".to_owned()),
        }
    }
}

/// A moment of the past: `5m` ago, `12:30` today (or yesterday, where that is still to come), `2026-01-31 12:30` here,
/// or `2026-01-31T12:30:00Z`.
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
        // The forms with more in them first: the shorter ones take the beginning and leave the rest out.
        if let Ok(instant) = written.parse() {
            return Ok(Moment::Instant(instant));
        }
        if let Ok(local) = written.parse() {
            return Ok(Moment::Local(local));
        }
        match written.parse() {
            // To jiff 10 is a time of day as well; a person can mean anything by it.
            Ok(time) if written.contains(':') => Ok(Moment::TimeOfDay(time)),
            _ => Err(
                "it is so long ago, as in 5m, a time as in 12:30, or a date and time as in '2026-01-31 12:30' or \
                 2026-01-31T12:30:00Z"
                    .to_owned(),
            ),
        }
    }
}

impl Moment {
    /// When that is, asked at `now`, on the clock of `now`'s time zone.
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

/// A size of the ring buffer: the kernel takes a power of two of whole pages only.
pub(super) fn ring_bytes(written: &str) -> Result<u32, String> {
    let bytes = bytes(written)?;
    let (least, most) = (64 * 1024, 1024 * 1024 * 1024);
    if (least..=most).contains(&bytes) && bytes.is_power_of_two() {
        return u32::try_from(bytes).map_err(|error| error.to_string());
    }
    let near = bytes
        .clamp(least, most)
        .checked_next_power_of_two()
        .unwrap_or(most);
    Err(format!(
        "it must be a power of two from 64 KiB to 1 GiB; the next one is {}",
        ByteSize::b(near).display().iec()
    ))
}

/// What an agent may hold of the past.
pub(super) fn history_bytes(written: &str) -> Result<u64, String> {
    let bytes = bytes(written)?;
    if (64 * 1024..=64 << 30).contains(&bytes) {
        return Ok(bytes);
    }
    Err("it must be from 64 KiB to 64 GiB".to_owned())
}

/// A number of bytes, with or without a unit. `8MB` are taken as MiB, as memory is meant by it.
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
        .map_err(|_| "a size is a number with a unit, as in 512KiB or 16MiB".to_owned())
}

/// A response code by mnemonic or number.
pub(super) fn rcode(written: &str) -> Result<ResponseCode, String> {
    rcode_from_mnemonic(written).ok_or_else(|| {
        "a response code is a mnemonic (NOERROR, NXDOMAIN, SERVFAIL, REFUSED, FORMERR, NOTIMP, ...) or a number"
            .to_owned()
    })
}

/// A type of DNS record by mnemonic or number: what the output calls it, in any case.
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
            "a type is a mnemonic (A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT, HTTPS, ANY, ...), a number or TYPE<number>"
                .to_owned()
        })
}

/// A DNS domain, absolute or not.
pub(super) fn domain(written: &str) -> Result<DnsName, String> {
    let relative = written.strip_suffix('.').unwrap_or(written);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if relative.len() <= 253 && relative.split('.').all(label) {
        Ok(DnsName::new(relative))
    } else {
        Err(
            "a domain is labels of letters, digits and '-' with dots between, as in cluster.local"
                .to_owned(),
        )
    }
}

/// A name for one of several tracers on a node.
pub(super) fn instance(written: &str) -> Result<String, String> {
    let fits = (1..=32).contains(&written.len())
        && written
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if fits {
        Ok(written.to_owned())
    } else {
        Err("it is 1 to 32 letters, digits, '-' or '_'".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Moment, Span, domain, instance, qtype, rcode, ring_bytes};
    use tracer_core::model::dns::RecordType;

    #[test]
    fn durations_need_a_unit_and_a_length() {
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
    fn a_moment_is_so_long_ago_or_a_time() {
        let now = "2026-03-29T10:30:00+02:00[Europe/Berlin]"
            .parse()
            .expect("a time");
        for (written, expected) in [
            ("90s", "2026-03-29T08:28:30Z"),
            ("10:15", "2026-03-29T08:15:00Z"),
            ("10:15:30.5", "2026-03-29T08:15:30.5Z"),
            // Not yet today; and summer time began that night.
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
    fn a_type_is_what_the_output_calls_it_or_a_number() {
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
    fn a_ring_is_a_power_of_two_and_the_error_names_the_next() {
        assert_eq!(ring_bytes("16MiB"), Ok(16 << 20));
        assert_eq!(ring_bytes("16MB"), Ok(16 << 20));
        assert_eq!(ring_bytes("16m"), Ok(16 << 20));
        assert_eq!(ring_bytes("65536"), Ok(65_536));
        assert!(ring_bytes("5MiB").is_err_and(|error| error.contains("8.0 MiB")));
        assert!(ring_bytes("1k").is_err_and(|error| error.contains("64.0 KiB")));
        assert!(ring_bytes("16 GiB").is_err_and(|error| error.contains("1.0 GiB")));
        assert!(ring_bytes("many").is_err());
    }

    #[test]
    fn names_are_checked() {
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
        assert!(instance("second-1").is_ok());
        for wrong in ["", "a/b", &"a".repeat(33)] {
            assert!(instance(wrong).is_err(), "{wrong}");
        }
        assert!(rcode("nxdomain").is_ok());
        assert!(rcode("NX").is_err_and(|error| error.contains("NXDOMAIN")));
    }
}
