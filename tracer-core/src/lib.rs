//! The pure core of Tracer: from a packet to its explanation.
#![forbid(unsafe_code)]

pub mod blind_spots;
pub mod correlate;
pub mod decode;
pub mod diagnose;
#[cfg(feature = "files")]
pub mod files;
pub mod identity;
pub mod lookup;
pub mod model;
pub mod pipeline;
pub(crate) mod table;
pub mod view;
