//! What an event looks like and which events are shown.
//!
//! Owns everything that people and programs read: the JSON contract, the text form, the filters, the report
//! and the closing summary. It never changes an event except to redact names ([`privacy`]), and never waits
//! for anything but its writer. Input: the pipeline's events and a [`WallClock`].
//!
//! | module | owns |
//! |---|---|
//! | [`filter`] | which events are shown, and which packets the probes need to record for them |
//! | [`privacy`] | which events and names may leave the node |
//! | [`Encode`] with [`text`] and [`json`] | an event as lines |
//! | [`words`] | the words that JSON, text and filters share |
//! | [`writer`] | buffered lines to an output that can be slow or close |
//! | [`Sink`], [`OutputSettings`] | filter, encoder and writer in a row |
//! | [`report`] | the findings of a run, each once |
//! | [`dns_health`] | how DNS works for servers, workloads and names |
//! | [`losses`], [`summary`] | what was lost, and the last lines of a run |

pub mod dns_health;
pub mod filter;
pub mod json;
pub mod losses;
pub mod privacy;
pub mod report;
pub mod summary;
pub mod text;
pub mod words;
pub mod writer;

mod dns_screen;
mod encode;
mod settings;
mod sink;

#[cfg(any(test, feature = "gallery"))]
pub mod gallery;

pub use self::encode::{Encode, EncodeError, WallClock};
pub use self::settings::{DnsSettings, Format, OutputSettings};
pub use self::sink::{Next, Sink};
