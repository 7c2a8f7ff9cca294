//! Input from files: captures ([`capture`]) and the Kubernetes inventory ([`inventory`], [`objects`]).
//!
//! The only part of this crate that reads and writes files, behind the feature `files`. It decides nothing:
//! captures become the records that a live run would have, objects become the model's. Decoding, correlation
//! and identity treat both like live input.

pub mod capture;
pub mod inventory;
pub mod objects;
