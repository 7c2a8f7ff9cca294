//! What `cargo xtask bench` measures with: a node between a client and a DNS server, load, the tools that are
//! compared, and the kernel's account of who used the CPU.
//!
//! Owns how a figure is measured, never what it should be: goals and tables are xtask's. [`Bed`] is the place to
//! start. Nothing leaves the machine: the namespaces have no link to its network.

mod bed;
pub mod count;
pub mod cpu;
pub mod inventory;
pub mod load;
mod measure;
mod server;
pub mod tool;

pub use bed::{Bed, Wire, sweep};
pub use load::{Answered, Load, Mix, Rate, Transport};
pub use measure::{Measured, Measurement};
pub use tool::{Output, Tool, Tracer};
