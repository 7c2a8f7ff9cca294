//! Container images as files.

pub mod archive;
pub mod compare;
