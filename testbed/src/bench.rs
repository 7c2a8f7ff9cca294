//! What `cargo xtask bench` measures with: a node between a client and a DNS server, load, the tools that are
//! compared, and the kernel's account of who used the CPU.
//!
//! Owns how a figure is measured, never what it should be: goals and tables are xtask's. [`Bed`] is the place to
//! start. Nothing leaves the machine: the namespaces have no link to its network.

mod bed;
mod bulk;
pub mod count;
pub mod cpu;
mod delay;
mod empty;
pub mod inventory;
pub mod load;
mod measure;
mod packets;
mod recorded;
mod rest;
mod server;
mod sources;
pub mod tool;
mod uplink;

pub use bed::{Bed, Wire, sweep};
pub use bulk::bulk;
pub use delay::{Delay, delay};
pub use load::{Answered, Load, Mix, Rate, Transport};
pub use measure::{Measured, Measurement};
pub use packets::{PacketCost, Packets, packets};
pub use recorded::Recorded;
pub use rest::{AtRest, Rest, rest};
pub use sources::{Sources, sources};
pub use tool::{Output, Programs, Source, Tool, Tracer};
pub use uplink::Uplink;
