//! The signals that end a run: Ctrl-C (SIGINT) and, on Unix, SIGTERM.
//!
//! A run listens before it announces that it works. A signal that arrives right after the announcement must
//! still produce the summary, and where the parent ignores SIGINT (`nohup`, a shell's background job) a run
//! that does not listen would not end at all.

pub(super) use self::platform::Signals;

/// Why a run should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    #[cfg_attr(not(unix), allow(dead_code, reason = "only Unix has SIGTERM"))]
    Terminate,
}

#[cfg(unix)]
mod platform {
    use anyhow::{Context as _, Result};
    use tokio::signal::unix::{Signal, SignalKind, signal};

    use super::Stop;

    /// Listens for signals and keeps them until [`Signals::next`] is called.
    #[derive(Debug)]
    pub(in super::super) struct Signals {
        interrupt: Signal,
        terminate: Signal,
    }

    impl Signals {
        /// Starts to listen. Needs a tokio runtime.
        pub(in super::super) fn listen() -> Result<Signals> {
            Ok(Signals {
                interrupt: signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
                terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
            })
        }

        /// Waits for the next signal. Cancel safe.
        pub(in super::super) async fn next(&mut self) -> Stop {
            tokio::select! {
                _ = self.interrupt.recv() => Stop::Interrupt,
                _ = self.terminate.recv() => Stop::Terminate,
            }
        }
    }
}

#[cfg(not(unix))]
mod platform {
    use anyhow::{Context as _, Result};
    use tokio::signal::windows::{CtrlC, ctrl_c};

    use super::Stop;

    /// Listens for Ctrl-C and keeps it until [`Signals::next`] is called.
    #[derive(Debug)]
    pub(in super::super) struct Signals(CtrlC);

    impl Signals {
        /// Starts to listen. Needs a tokio runtime.
        pub(in super::super) fn listen() -> Result<Signals> {
            Ok(Signals(ctrl_c().context("cannot listen for Ctrl-C")?))
        }

        /// Waits for the next Ctrl-C. Cancel safe.
        pub(in super::super) async fn next(&mut self) -> Stop {
            self.0.recv().await;
            Stop::Interrupt
        }
    }
}
