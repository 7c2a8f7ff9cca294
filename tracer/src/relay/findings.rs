//! The findings of the whole cluster.
