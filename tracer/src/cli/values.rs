//! Types of option values: durations with units, sizes, names, bounded numbers.
//!
//! Each type parses what users write, checks it and prints it back. The command line and the configuration
//! file share these types, so both accept the same values. Each error says what is accepted.

use std::ffi::OsStr;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{
    NonEmptyStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser,
};
use jiff::{SignedDuration, Zoned, civil};

use super::suggest;
use tracer_core::model::dns::{
    DnsName, RecordType, ResponseCode, rcode_from_mnemonic, type_mnemonic,
};
use tracer_core::view::words;

#[cfg(agent)]
mod agent;

#[cfg(agent)]
pub(super) use self::agent::{FileSize, HistorySize, Instance, RingSize};

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

/// An outcome or state of an event. Takes every word: which ones are possible depends on `--type`, and
/// [`FilterArgs`](super::filters::FilterArgs) checks that. Completions have all of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutcomeParser;

impl TypedValueParser for OutcomeParser {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        NonEmptyStringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let words = words::outcomes().into_iter();
        Some(Box::new(words.map(PossibleValue::new)))
    }
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

/// A moment in the past: `5m` ago, `12:30` today (yesterday if that is still to come), `2026-01-31 12:30`
/// local time, or
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

/// Response codes that a filter is likely to name.
const RCODES: [&str; 12] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET",
    "NXRRSET", "NOTAUTH", "NOTZONE", "BADVERS",
];
/// Record types that a filter is likely to name.
const QTYPES: [&str; 14] = [
    "A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT", "HTTPS", "SVCB", "ANY", "CAA",
    "NAPTR",
];

/// Parses a response code: a mnemonic or a number.
pub(super) fn rcode(written: &str) -> Result<ResponseCode, String> {
    rcode_from_mnemonic(written).ok_or_else(|| match suggest::did_you_mean(written, RCODES) {
        Some(meant) => format!("did you mean {meant}?"),
        None => "expected a mnemonic (NOERROR, NXDOMAIN, SERVFAIL, REFUSED, FORMERR, NOTIMP, ...) or a number"
            .to_owned(),
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
        .ok_or_else(|| match suggest::did_you_mean(written, QTYPES) {
            Some(meant) => format!("did you mean {meant}?"),
            None => {
                "expected a mnemonic (A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT, HTTPS, ANY, ...), a number, or TYPE<number>"
                    .to_owned()
            }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Domain, Int, Moment, Span, qtype, rcode};
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
        assert!(qtype("AAAAA").is_err_and(|error| error.contains("AAAA")));
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
    fn domains_and_response_codes_are_checked() {
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
        assert!(rcode("nxdomain").is_ok());
        assert!(rcode("NX").is_err_and(|error| error.contains("NXDOMAIN")));
    }
}
