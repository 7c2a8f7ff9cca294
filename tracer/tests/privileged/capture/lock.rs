//! The lock of an instance, held by other users and by other agents.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::Command;

use rustix::process::{Signal, Uid};
use rustix::thread::set_thread_uid;
use testbed::stage::running::Running;

use super::netns::Netns;

const NOBODY: u32 = 65_534;

fn agent(node: &Netns, socket: &Path) -> Running {
    node.enter(|| {
        Running::start(
            Command::new(env!("CARGO_BIN_EXE_tracer"))
                .args(["agent", "--http", "none", "--health", "none"])
                .arg("--socket")
                .arg(socket),
        )
    })
}

#[test]
fn another_user_cannot_keep_an_agent_from_starting_and_agents_exclude_each_other() {
    let node = Netns::new();
    let directory = tempfile::tempdir().expect("a directory");
    // The credentials of a listener are those of the thread that listens.
    let squatter = node.enter(|| {
        set_thread_uid(Uid::from_raw(NOBODY)).expect("the tests run as root");
        let name = SocketAddr::from_abstract_name("tracer-capture-default").expect("a name");
        UnixListener::bind_addr(&name).expect("the name is free")
    });
    let mut first = agent(&node, &directory.path().join("first"));
    first.wait_for("the agent serves", |agent| agent.says("serving on unix:"));
    assert!(
        first.says("another user holds the lock"),
        "{:#?}",
        first.said
    );
    // Also once the other user's name is free.
    drop(squatter);
    let mut second = agent(&node, &directory.path().join("second"));
    second.wait_for("it is refused", |agent| {
        agent.says("already runs in this network namespace")
    });
    assert_eq!(first.stop(Signal::TERM), Some(0), "{:#?}", first.said);
}
