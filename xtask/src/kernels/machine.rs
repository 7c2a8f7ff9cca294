//! The machine: QEMU without KVM, so that it runs wherever QEMU does, and with nothing but a serial line.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::archive::Fetched;
use super::image::{BEGIN, END};

const QEMU: &str = "qemu-system-x86_64";

/// What the tests printed inside.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// The tests' exit code; `None` where they did not come to their end.
    pub code: Option<i32>,
    /// All that was printed since the tests began.
    pub printed: String,
}

impl Ended {
    /// How many tests passed and failed, by libtest's closing line.
    pub fn counts(&self) -> (u64, u64) {
        let closing = self
            .printed
            .lines()
            .rfind(|line| line.starts_with("test result: "))
            .unwrap_or_default();
        let before = |word: &str| {
            let words: Vec<&str> = closing.split([' ', ';']).collect();
            let at = words.iter().position(|other| *other == word)?;
            words.get(at.checked_sub(1)?)?.parse().ok()
        };
        (before("passed").unwrap_or(0), before("failed").unwrap_or(0))
    }

    /// Takes in a line of the serial line. Whether it was the last one.
    fn take(&mut self, begun: &mut bool, line: &str) -> bool {
        if line == BEGIN {
            *begun = true;
        } else if let Some(code) = line.strip_prefix(END).filter(|_| *begun) {
            self.code = code.trim().parse().ok();
            return true;
        } else if *begun {
            self.printed.push_str(line);
            self.printed.push('\n');
        }
        false
    }
}

/// Says what is missing where it cannot be run.
pub(super) fn look() -> Result<()> {
    match Command::new(QEMU).arg("--version").output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => bail!(
            "no {QEMU} here, which runs the other kernels: apt-get install --no-install-recommends qemu-system-x86"
        ),
    }
}

/// Runs a kernel until its tests are done, no longer than `limit`. Shows what they print.
pub(super) fn run(kernel: &Fetched, initramfs: &Path, limit: Duration) -> Result<Ended> {
    let mut child = Command::new(QEMU)
        .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-machine"])
        .args(["q35", "-smp", "1", "-m", "1024", "-kernel"])
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initramfs)
        .args([
            "-append",
            "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable",
        ])
        .args(["-display", "none", "-nodefaults", "-no-reboot"])
        .args(["-serial", "stdio"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {QEMU}"))?;
    let (sender, lines) = mpsc::channel();
    let serial = child.stdout.take().context("a pipe to the serial line")?;
    let reader = thread::spawn(move || {
        let mut serial = BufReader::new(serial);
        let mut line = Vec::new();
        while serial
            .read_until(b'\n', &mut line)
            .is_ok_and(|read| read > 0)
        {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(text).is_err() {
                break;
            }
            line.clear();
        }
    });
    let deadline = Instant::now() + limit;
    let (mut ended, mut begun) = (Ended::default(), false);
    let mut before = Vec::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if begun {
                    eprintln!("  {line}");
                } else {
                    before.push(line.clone());
                }
                if ended.take(&mut begun, &line) {
                    break;
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                eprintln!("  not done within {} s", limit.as_secs());
                break;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // It has nothing more to say, whatever it still does.
    let _ = child.kill();
    child.wait().context("cannot wait for the machine")?;
    let _ = reader.join();
    if !begun {
        bail!("{} did not come up:\n{}", kernel.release, before.join("\n"));
    }
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> (Ended, bool) {
        let (mut ended, mut begun) = (Ended::default(), false);
        let over = lines.lines().any(|line| ended.take(&mut begun, line));
        (ended, over)
    }

    #[test]
    fn the_tests_end_with_their_exit_code_and_counts() {
        let (ended, over) = read(
            "SeaBIOS\n@@BEGIN\nrunning 3 tests\ntest a ... ok\n\
                                  test result: FAILED. 2 passed; 1 failed; 0 ignored\n@@END 101\n[1.0] reboot",
        );
        assert!(over);
        assert_eq!(ended.code, Some(101));
        assert_eq!(ended.counts(), (2, 1));
        assert!(ended.printed.starts_with("running 3 tests\n"));
    }

    #[test]
    fn a_machine_that_panics_has_no_exit_code() {
        let (ended, over) = read("@@BEGIN\nrunning 3 tests\nKernel panic - not syncing");
        assert!(!over);
        assert_eq!(ended.code, None);
        assert_eq!(ended.counts(), (0, 0));
    }
}
