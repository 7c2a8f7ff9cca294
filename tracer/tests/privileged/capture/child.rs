//! A capture in its own process, to be killed.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aya::util::KernelVersion;
use tracer::capture::live::Capture;
use tracer::capture::{HookChoice, Options};

use super::interfaces::{clsact_programs, tcx_programs};
use super::netns::Netns;

const HOOK: &str = "TRACER_TEST_CAPTURES_UNTIL_KILLED";

#[test]
#[ignore = "the process that `Child` starts"]
fn captures_until_killed() {
    let hook = std::env::var_os(HOOK).expect("set by `Child::start`");
    let options = Options {
        hook: match hook.to_str() {
            Some("tcx") => HookChoice::Tcx,
            _ => HookChoice::Clsact,
        },
        ..Options::default()
    };
    let _running = Capture::start(options).expect("starts");
    std::thread::sleep(Duration::from_secs(120));
}

/// The kinds of hook that this kernel has, the default first.
pub fn hooks() -> Vec<HookChoice> {
    let has_tcx =
        KernelVersion::current().is_ok_and(|kernel| kernel >= KernelVersion::new(6, 6, 0));
    if has_tcx {
        vec![HookChoice::Tcx, HookChoice::Clsact]
    } else {
        vec![HookChoice::Clsact]
    }
}

/// The programs attached to an interface by this kind of hook.
pub fn programs(node: &Netns, interface: &str, hook: HookChoice) -> Vec<u32> {
    match hook {
        HookChoice::Tcx => tcx_programs(node, interface),
        _ => clsact_programs(node, interface),
    }
}

/// Waits until `count` programs are attached and returns them.
///
/// A detached program stays loaded for a moment if another test is starting a process: until that process
/// calls exec, it holds a copy of every open file, TCX links among them.
pub fn programs_left(node: &Netns, interface: &str, hook: HookChoice, count: usize) -> Vec<u32> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let there = programs(node, interface, hook);
        if there.len() == count {
            return there;
        }
        assert!(
            Instant::now() < deadline,
            "{interface} has the programs {there:?}, not {count}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A process that captures.
pub struct Child(std::process::Child);

impl Child {
    /// Starts it and waits until it is attached to the interface.
    pub fn start(node: &Netns, interface: &str, hook: HookChoice) -> Child {
        let before = programs(node, interface, hook).len();
        let word = match hook {
            HookChoice::Tcx => "tcx",
            _ => "clsact",
        };
        let program = std::env::current_exe().expect("this test");
        let child = node
            .enter(|| {
                Command::new(program)
                    .args([
                        "--ignored",
                        "--exact",
                        "capture::child::captures_until_killed",
                    ])
                    .env(HOOK, word)
                    .stdout(Stdio::null())
                    .spawn()
            })
            .expect("starts");
        // An emulated machine is slow.
        let deadline = Instant::now() + Duration::from_secs(120);
        while programs(node, interface, hook).len() < before + 2 {
            assert!(Instant::now() < deadline, "the child attaches nothing");
            std::thread::sleep(Duration::from_millis(10));
        }
        Child(child)
    }

    /// Kills it with SIGKILL.
    pub fn kill(mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("ended");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // After a failed test; a second SIGKILL does nothing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
