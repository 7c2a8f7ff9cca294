//! The counters of conntrack: `IPCTNL_MSG_CT_GET_STATS_CPU` and `IPCTNL_MSG_CT_GET_STATS`.
//!
//! They are those of this network namespace since it exists, summed over all CPUs. They say that something was
//! dropped, not what.

use tracer_core::model::signal::ConntrackCounters;

use super::ConntrackError;
use super::message::{Message, kind};
use super::socket::Socket;

/// `enum ctattr_stats_cpu`.
const INSERT_FAILED: u16 = 9;
const DROP: u16 = 10;
const EARLY_DROP: u16 = 11;
/// `enum ctattr_stats_global`; the maximum since Linux 4.18.
const ENTRIES: u16 = 1;
const MAX_ENTRIES: u16 = 2;

/// Reads the counters.
#[derive(Debug)]
pub struct CounterReader {
    socket: Socket,
}

impl CounterReader {
    /// Opens a socket in this thread's network namespace.
    pub fn open() -> Result<CounterReader, ConntrackError> {
        Ok(CounterReader {
            socket: Socket::open(0)?,
        })
    }

    /// The counters now.
    pub fn read(&mut self) -> Result<ConntrackCounters, ConntrackError> {
        let failed = |source| ConntrackError::System {
            operation: "read the counters of conntrack",
            source,
        };
        let mut counters = ConntrackCounters::default();
        self.socket.dump(kind::STATS_PER_CPU, &[]).map_err(failed)?;
        self.answer(true, |number, count| match number {
            INSERT_FAILED => counters.insert_failed += count,
            DROP => counters.drop += count,
            EARLY_DROP => counters.early_drop += count,
            _ => {}
        })?;
        self.socket.get(kind::STATS).map_err(failed)?;
        self.answer(false, |number, count| match number {
            ENTRIES => counters.entries = count,
            MAX_ENTRIES => counters.max = count,
            _ => {}
        })?;
        Ok(counters)
    }

    /// Reads an answer: one message, or several and an end.
    fn answer(
        &mut self,
        several: bool,
        mut take: impl FnMut(u16, u64),
    ) -> Result<(), ConntrackError> {
        let what = "the counters of conntrack";
        loop {
            let received = self
                .socket
                .receive()
                .map_err(|source| ConntrackError::System {
                    operation: "read the counters of conntrack",
                    source,
                })?;
            // The kernel has answered by now, or never does.
            for message in received.ok_or(ConntrackError::Answer { what })? {
                match message {
                    Message::Counters(counters) => {
                        counters
                            .into_iter()
                            .for_each(|(number, count)| take(number, count));
                        if !several {
                            return Ok(());
                        }
                    }
                    Message::Done => return Ok(()),
                    Message::Error(errno) => {
                        return Err(ConntrackError::System {
                            operation: "read the counters of conntrack",
                            source: std::io::Error::from_raw_os_error(errno),
                        });
                    }
                    _ => return Err(ConntrackError::Answer { what }),
                }
            }
        }
    }
}
