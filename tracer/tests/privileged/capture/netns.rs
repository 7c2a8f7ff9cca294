//! Network namespaces for tests. They have no names, so the kernel removes them with the test, however it
//! ends.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// A network namespace with its loopback up.
pub struct Netns(File);

impl Netns {
    pub fn new() -> Netns {
        let file = std::thread::spawn(|| {
            // SAFETY: a new network namespace shares no memory and no file descriptors anew.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("a new network namespace");
            File::open("/proc/thread-self/ns/net").expect("the thread's namespace")
        })
        .join()
        .expect("the thread makes a namespace");
        let netns = Netns(file);
        netns.sh("ip link set lo up");
        netns
    }

    /// Runs `body` on a thread inside the namespace. Threads and processes that it starts are inside, too.
    pub fn enter<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("into the namespace");
                body()
            });
            inside
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a command line inside and returns what it printed; fails with it.
    pub fn sh(&self, line: &str) -> String {
        let output = self
            .enter(|| Command::new("sh").args(["-c", line]).output())
            .expect("sh starts");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "`{line}` failed: {printed}{errors}"
        );
        printed
    }

    /// A path by which `ip link set ... netns PATH` finds it.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// A pair: `host` here with a gateway's address, `eth0` in `pod` with `address`. Both families: 10.9.0.N
    /// and fd09::N.
    pub fn add_pod(&self, pod: &Netns, host: &str, number: u8) {
        self.ip(&format!(
            "link add {host} type veth peer name eth0 netns {}
             link set {host} up
             addr add 10.9.255.254/32 dev {host}
             addr add fd09::ffff/128 dev {host} nodad
             route add 10.9.0.{number}/32 dev {host}
             route add fd09::{number}/128 dev {host}",
            pod.path()
        ));
        pod.ip(&format!(
            "link set eth0 up
             addr add 10.9.0.{number}/32 dev eth0
             addr add fd09::{number}/128 dev eth0 nodad
             route add 10.9.255.254 dev eth0
             route add default via 10.9.255.254 dev eth0
             route add fd09::ffff dev eth0
             route add default via fd09::ffff dev eth0"
        ));
    }

    /// Several of ip's commands in one process.
    fn ip(&self, commands: &str) {
        self.sh(&format!("ip -batch - <<'END'\n{commands}\nEND"));
    }
}

/// Sends a frame unchanged.
pub fn send_frame(netns: &Netns, interface: &str, frame: &[u8]) {
    netns.enter(|| {
        let protocol = u16::to_be(libc::ETH_P_ALL as u16);
        // SAFETY: plain system calls with arguments of this frame; the socket is closed before it returns.
        unsafe {
            let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
            assert!(socket >= 0, "{}", std::io::Error::last_os_error());
            let name = std::ffi::CString::new(interface).expect("a name");
            let mut to: libc::sockaddr_ll = std::mem::zeroed();
            to.sll_family = libc::AF_PACKET as u16;
            to.sll_protocol = protocol;
            to.sll_ifindex = libc::if_nametoindex(name.as_ptr()).cast_signed();
            let length = size_of::<libc::sockaddr_ll>() as u32;
            let sent = libc::sendto(
                socket,
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const to).cast(),
                length,
            );
            let error = std::io::Error::last_os_error();
            libc::close(socket);
            assert_eq!(usize::try_from(sent).ok(), Some(frame.len()), "{error}");
        }
    });
}
