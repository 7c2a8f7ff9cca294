//! The outcome of a test program, read from libtest's output, and the verdict on two runs. Pure.

/// libtest's exit code where tests failed.
const FAILED: i32 = 101;

/// The outcome of one run of a test program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All tests passed.
    Passed,
    /// These tests failed.
    Failed(Vec<String>),
    /// The program ended early, for this reason, so the failed tests are unknown.
    Broken(String),
}

impl Outcome {
    /// Reads it from the exit code, a description of the end and the output.
    pub fn read(code: Option<i32>, how: &str, printed: &str) -> Outcome {
        if code == Some(0) {
            return Outcome::Passed;
        }
        let names = failures(printed);
        if names.is_empty() || code != Some(FAILED) {
            Outcome::Broken(how.to_owned())
        } else {
            Outcome::Failed(names)
        }
    }
}

/// The names between libtest's last "failures:" and the closing line. A test's own output may contain such
/// lines before.
fn failures(printed: &str) -> Vec<String> {
    let lines: Vec<&str> = printed.lines().collect();
    let end = lines
        .iter()
        .rposition(|line| line.starts_with("test result: "));
    let Some(lines) = end.and_then(|end| lines.get(..end)) else {
        return Vec::new();
    };
    let start = lines.iter().rposition(|line| *line == "failures:");
    let listed = start.and_then(|start| lines.get(start + 1..));
    listed
        .unwrap_or_default()
        .iter()
        .filter_map(|line| line.strip_prefix("    "))
        .map(str::to_owned)
        .collect()
}

/// The verdict on one or two runs of a program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Tests that failed, then passed alone.
    unstable: Vec<String>,
    /// Tests that failed each time.
    failed: Vec<String>,
    /// How the program ended, if it ended early.
    broken: Option<String>,
}

impl Verdict {
    /// From the first run and the second run of its failed tests.
    pub fn of(first: Outcome, again: Option<Outcome>) -> Verdict {
        let mut verdict = Verdict {
            unstable: Vec::new(),
            failed: Vec::new(),
            broken: None,
        };
        match (first, again) {
            (Outcome::Passed, _) => {}
            (Outcome::Broken(how), _) => verdict.broken = Some(how),
            (Outcome::Failed(names), None) => verdict.failed = names,
            (Outcome::Failed(names), Some(Outcome::Passed)) => verdict.unstable = names,
            (Outcome::Failed(names), Some(Outcome::Failed(twice))) => {
                (verdict.failed, verdict.unstable) =
                    names.into_iter().partition(|name| twice.contains(name));
            }
            (Outcome::Failed(names), Some(Outcome::Broken(how))) => {
                verdict.failed = names;
                verdict.broken = Some(how);
            }
        }
        verdict
    }

    /// Whether no test failed for good.
    pub fn passed(&self) -> bool {
        self.failed.is_empty() && self.broken.is_none()
    }

    /// The lines for the summary; none if all tests passed at once.
    pub fn lines(&self) -> Vec<String> {
        let unstable = self
            .unstable
            .iter()
            .map(|name| format!("UNSTABLE: {name} failed, then passed alone"));
        let failed = self.failed.iter().map(|name| format!("FAILED: {name}"));
        let broken = self
            .broken
            .iter()
            .map(|how| format!("FAILED: ended early ({how})"));
        unstable.chain(failed).chain(broken).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What libtest prints where one test of two fails whose own output looks like libtest's.
    const PRINTED: &str = "
running 2 tests
test a::holds ... ok
test b::breaks ... FAILED

failures:

---- b::breaks stdout ----
failures:
    a::no_such_test
test result: FAILED. 0 passed

thread 'b::breaks' panicked at src/lib.rs:1:1


failures:
    b::breaks

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

";

    fn failed(names: &[&str]) -> Outcome {
        Outcome::Failed(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn what_failed_is_read_from_the_last_list() {
        assert_eq!(
            Outcome::read(Some(101), "exit status: 101", PRINTED),
            failed(&["b::breaks"])
        );
        assert_eq!(Outcome::read(Some(0), "", "anything"), Outcome::Passed);
    }

    #[test]
    fn a_program_that_a_signal_ends_is_broken_whatever_it_printed() {
        let outcome = Outcome::read(None, "signal: 6 (SIGABRT)", PRINTED);
        assert!(
            matches!(&outcome, Outcome::Broken(how) if how.contains("signal: 6")),
            "{outcome:?}"
        );
        let verdict = Verdict::of(outcome, None);
        assert!(!verdict.passed());
        assert_eq!(verdict.lines().len(), 1);
    }

    #[test]
    fn what_passes_alone_is_reported_as_unstable_and_passes() {
        let verdict = Verdict::of(failed(&["a"]), Some(Outcome::Passed));
        assert!(verdict.passed());
        assert_eq!(verdict.lines(), ["UNSTABLE: a failed, then passed alone"]);
    }

    #[test]
    fn what_fails_twice_fails_and_what_fails_once_is_reported_beside_it() {
        let verdict = Verdict::of(failed(&["a", "b"]), Some(failed(&["b"])));
        assert!(!verdict.passed());
        assert_eq!(
            verdict.lines(),
            ["UNSTABLE: a failed, then passed alone", "FAILED: b"]
        );
    }

    #[test]
    fn without_a_second_run_a_failure_is_one() {
        let verdict = Verdict::of(failed(&["a"]), None);
        assert!(!verdict.passed());
        assert_eq!(verdict.lines(), ["FAILED: a"]);
        assert!(Verdict::of(Outcome::Passed, None).lines().is_empty());
    }
}
