//! What comes from files: captures ([`capture`]) and the inventory ([`inventory`], [`objects`]).
//!
//! The only part of this crate that reads and writes files. It is behind the feature `files`.

pub mod capture;
pub mod inventory;
pub mod objects;
