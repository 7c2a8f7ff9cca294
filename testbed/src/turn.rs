//! Which tests of one process run at the same time.
//!
//! libtest runs tests side by side. Tests that only need network namespaces of their own use the machine's cores: all of
//! them may run together ([`shared`]). Tests with a lab mostly wait for timeouts: a few of them may ([`lab`]), but with
//! none of the first kind. A test that measures the process runs [`alone`]. Each test takes one turn: a second
//! one on the same thread can wait for ever.

use parking_lot::{Condvar, Mutex};

/// Labs at the same time. Their tests measure time.
const LABS: usize = 2;

static RUNNING: Mutex<Running> = Mutex::new(Running {
    shared: 0,
    labs: 0,
    alone: 0,
});
static ENDED: Condvar = Condvar::new();

/// How many tests of each kind run.
#[derive(Debug)]
struct Running {
    shared: usize,
    labs: usize,
    alone: usize,
}

impl Running {
    fn count(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Shared => &mut self.shared,
            Kind::Lab => &mut self.labs,
            Kind::Alone => &mut self.alone,
        }
    }

    fn admits(&self, kind: Kind) -> bool {
        let Running {
            shared,
            labs,
            alone,
        } = *self;
        match kind {
            Kind::Shared => labs + alone == 0,
            Kind::Lab => shared + alone == 0 && labs < LABS,
            Kind::Alone => shared + labs + alone == 0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Shared,
    Lab,
    Alone,
}

/// A test's turn, until it is dropped.
#[derive(Debug)]
pub struct Turn(Kind);

impl Turn {
    fn wait(kind: Kind) -> Turn {
        let mut running = RUNNING.lock();
        ENDED.wait_while(&mut running, |running| !running.admits(kind));
        *running.count(kind) += 1;
        Turn(kind)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.lock().count(self.0) -= 1;
        ENDED.notify_all();
    }
}

/// Waits until no test with a lab runs, and none that must be alone.
pub fn shared() -> Turn {
    Turn::wait(Kind::Shared)
}

/// Waits until one more lab may run, and no test of another kind does.
pub fn lab() -> Turn {
    Turn::wait(Kind::Lab)
}

/// Waits until no other test has a turn.
pub fn alone() -> Turn {
    Turn::wait(Kind::Alone)
}
