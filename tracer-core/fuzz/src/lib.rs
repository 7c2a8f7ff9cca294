//! The fuzz targets: one function of bytes each, which panics if a promise does not
//! hold.
//!
//! Owns the targets and nothing that runs them. libFuzzer calls them from `fuzz_targets` (`cargo xtask
//! fuzz`), and `tracer-core/tests/core/fuzz_smoke` includes this file and calls them on the committed seeds
//! (`cargo xtask test`), so both run the same. docs/fuzzing.md lists each target's assertions.

pub mod capture_file;
pub mod dns_message;
pub mod inventory;
pub mod pipeline;
pub mod record;
pub mod safe;
pub mod source;
pub mod tcp_stream;

/// A name and the function that is called with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 6] = [
    ("record", record::run),
    ("dns_message", dns_message::run),
    ("tcp_stream", tcp_stream::run),
    ("capture_file", capture_file::run),
    ("inventory", inventory::run),
    ("pipeline", pipeline::run),
];
