//! Failures of the collector in the agent's log: each once when it begins or changes, and once when it ends.

use std::time::{Duration, Instant};

use tonic::{Code, Status};

use super::collector::explain;

/// Two failures that take turns are not logged more often than this.
const AGAIN_AFTER: Duration = Duration::from_secs(600);

/// The failures of one signal.
#[derive(Debug)]
pub(super) struct FailureLog {
    url: String,
    signal: &'static str,
    /// The current failure, if the last request failed.
    current: Option<Code>,
    /// When each code was last logged: there are 17.
    logged: Vec<(Code, Instant)>,
}

impl FailureLog {
    /// `signal` is "logs" or "metrics".
    pub fn new(url: &str, signal: &'static str) -> FailureLog {
        FailureLog {
            url: url.to_owned(),
            signal,
            current: None,
            logged: Vec::new(),
        }
    }

    /// The current failure's text for the log, if it is due.
    pub fn failed(&mut self, status: &Status, now: Instant) -> Option<String> {
        let code = status.code();
        let began = self.current.replace(code) != Some(code);
        let recently = |(logged, at): &(Code, Instant)| {
            *logged == code && now.saturating_duration_since(*at) < AGAIN_AFTER
        };
        if !began || self.logged.iter().any(recently) {
            return None;
        }
        self.logged.retain(|(logged, _)| *logged != code);
        self.logged.push((code, now));
        Some(explain(status, &self.url, self.signal))
    }

    /// A text for the log if a failure has ended.
    pub fn succeeded(&mut self) -> Option<String> {
        self.current.take()?;
        self.logged.clear();
        Some(format!(
            "{} are exported to {} again",
            self.signal, self.url
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_logged_when_it_begins_and_changes_and_when_it_ends() {
        let mut log = FailureLog::new("http://127.0.0.1:4317", "logs");
        let now = Instant::now();
        let refused = Status::unavailable("tcp connect error");
        let denied = Status::unauthenticated("no token");
        assert_eq!(log.succeeded(), None, "nothing had failed");
        let text = log.failed(&refused, now).expect("it begins");
        assert!(
            text.starts_with(
                "cannot export logs to http://127.0.0.1:4317: tcp connect error. Check that"
            ),
            "{text}"
        );
        assert_eq!(log.failed(&refused, now), None, "the same again");
        let text = log.failed(&denied, now).expect("it changes");
        assert!(text.contains("--otlp-headers"), "{text}");
        assert_eq!(log.failed(&refused, now), None, "they take turns");
        let unknown = Status::unavailable("dns error: Name or service not known");
        let text = explain(&unknown, "http://otel:4317", "logs");
        assert!(text.contains("dnsPolicy"), "{text}");
        assert!(log.failed(&denied, now + AGAIN_AFTER).is_some());
        assert!(log.succeeded().is_some());
        assert_eq!(log.succeeded(), None);
        assert!(log.failed(&refused, now).is_some(), "a new failure");
    }
}
