//! TCP segments that sockets of pods send again: whether this kernel shows them.

use tracer_common::{KernelOffsets, SocketOffsets};

use super::btf::Btf;
use super::offsets::{kernel_offsets, socket_offsets};

/// The tracepoint, and the program's name.
pub(super) const TCP_RETRANSMIT_SKB: &str = "tcp_retransmit_skb";

/// What the probe of retransmissions needs to know of the running kernel.
pub(super) struct RetransmitFacts {
    pub kernel: KernelOffsets,
    pub socket: SocketOffsets,
    /// The tracepoint also shows those that failed, with their error (Linux 6.18).
    pub errors: bool,
}

impl RetransmitFacts {
    /// Reads them from the kernel's BTF, or says what it lacks.
    pub(super) fn read() -> Result<RetransmitFacts, String> {
        let btf = Btf::of_kernel().map_err(|error| format!("the kernel's types (BTF): {error}"))?;
        let errors = match btf.tracepoint_arguments(TCP_RETRANSMIT_SKB) {
            Some(2) => false,
            Some(3) => true,
            Some(other) => {
                return Err(format!(
                    "the kernel's tracepoint {TCP_RETRANSMIT_SKB} has {other} arguments"
                ));
            }
            None => {
                return Err(format!("the kernel has no tracepoint {TCP_RETRANSMIT_SKB}"));
            }
        };
        Ok(RetransmitFacts {
            kernel: kernel_offsets(&btf)?,
            socket: socket_offsets(&btf)?,
            errors,
        })
    }
}

/// Checks that the kernel shows retransmissions. The error is what it lacks.
pub fn retransmissions() -> Result<(), String> {
    RetransmitFacts::read().map(|_| ())
}
