//! Which tests of one process run at the same time.
//!
//! libtest runs tests side by side. Tests that only need network namespaces of their own may: they take a
//! [`shared`] turn. A test that measures time in the lab runs [`alone`]. Each test takes one turn: a second
//! one on the same thread can wait for ever.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

// It guards no data, so a test that panics with it leaves nothing inconsistent.
static TURN: RwLock<()> = RwLock::new(());

/// Waits until no test runs that must be alone, and keeps such tests waiting while the guard lives.
pub fn shared() -> RwLockReadGuard<'static, ()> {
    TURN.read().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until no other test has a turn, and keeps all others waiting while the guard lives.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    TURN.write().unwrap_or_else(PoisonError::into_inner)
}
