//! Texts that are kept for the rest of the process.

pub(crate) use tracer_core::model::intern::intern;
