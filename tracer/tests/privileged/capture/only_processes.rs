//! The only process of a container, against what /proc shows. A server's answer to a SYN has no other sign of its process,
//! whichever kernel.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use testbed::turn;
use tracer::capture::Options;
use tracer::capture::live::TaskCgroups;
use tracer::cluster::container_cgroups::{CgroupIds, scan};
use tracer_core::model::flow::Direction;
use tracer_core::model::identity::Process;

use super::live::Live;
use super::netns::Netns;
use super::task_cgroups::{Cgroups, inode};

/// No other test has a pod of this UID.
const UID: &str = "0417beef-97d3-489b-951d-1f66d36173ae";
const POD: &str = "10.9.0.1";
const PORT: u16 = 8_080;
/// Longer than a packet waits for its neighbour's address.
const SETTLED: Duration = Duration::from_millis(3_500);

/// A process in a cgroup and a pod that listens. When it reads a byte, it makes a process that ends at once.
struct Server {
    pid: u32,
    commands: std::io::PipeWriter,
    done: std::io::PipeReader,
    runs: JoinHandle<()>,
}

impl Server {
    fn start(pod: &Netns, cgroup: &Path) -> Server {
        let (mut reads, commands) = std::io::pipe().expect("a pipe");
        let (mut done, mut writes) = std::io::pipe().expect("a pipe");
        let procs = cgroup.join("cgroup.procs");
        let mut child = Command::new("sh");
        child.args(["-c", ":"]);
        let ours = commands.as_raw_fd();
        // SAFETY: nothing here takes a lock but the allocator, which can be used in a forked child.
        unsafe {
            child.pre_exec(move || {
                // Its copy would keep the pipe open.
                libc::close(ours);
                let pid = libc::getpid().cast_unsigned();
                fs::write(&procs, pid.to_string())?;
                let _listener = TcpListener::bind((POD, PORT))?;
                writes.write_all(&pid.to_ne_bytes())?;
                while reads.read_exact(&mut [0]).is_ok() {
                    let made = libc::fork();
                    if made == 0 {
                        libc::_exit(0);
                    }
                    libc::waitpid(made, std::ptr::null_mut(), 0);
                    writes.write_all(&[1])?;
                }
                Ok(())
            });
        }
        let runs = pod.enter(|| {
            // Until the child executes its program, at the end.
            std::thread::spawn(move || {
                child.status().expect("it ends");
            })
        });
        let mut pid = [0; 4];
        done.read_exact(&mut pid).expect("it listens");
        Server {
            pid: u32::from_ne_bytes(pid),
            commands,
            done,
            runs,
        }
    }

    fn make_a_process(&mut self) {
        self.commands.write_all(&[1]).expect("it reads");
        self.done.read_exact(&mut [0]).expect("it has ended");
    }

    fn process(&self) -> Process {
        let comm = fs::read_to_string(format!("/proc/{}/comm", self.pid)).expect("it lives");
        Process {
            pid: self.pid,
            comm: comm.trim_end().into(),
        }
    }

    fn stop(self) {
        drop(self.commands);
        self.runs.join().expect("it ends");
    }
}

/// Connects; the process of the answer.
fn answer(live: &mut Live, node: &Netns) -> Option<Process> {
    let stream = node.enter(|| TcpStream::connect((POD, PORT)));
    let port = stream
        .expect("it connects")
        .local_addr()
        .expect("bound")
        .port();
    let answers = |live: &Live| {
        let records = live.ipv4().into_iter();
        let found = records.filter(|record| {
            record.direction == Direction::FromPod
                && record.bytes.get(20..24)
                    == Some(&[PORT.to_be_bytes(), port.to_be_bytes()].concat()[..])
                && record.bytes.get(33) == Some(&0x12)
        });
        found
            .map(|record| record.sender_process.clone())
            .collect::<Vec<_>>()
    };
    live.wait("a SYN-ACK", |live| !answers(live).is_empty());
    answers(live)[0].clone()
}

fn look(live: &Live) -> Vec<u64> {
    let mut ids = CgroupIds::find(TaskCgroups::reader);
    let found = scan(Path::new("/proc"), &mut ids).expect("/proc is readable");
    let listed = found.only_processes.keys().copied().collect();
    live.capture
        .only_processes()
        .set(found.begun, found.only_processes);
    listed
}

#[test]
fn the_only_process_of_a_container_is_named_until_another_has_been_in_it() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    let mut cgroups = Cgroups::new("only");
    let container = cgroups.add(&format!("kubepods/besteffort/pod{UID}/9f3c"));
    let mut live = Live::start(&node, Options::default());
    let mut server = Server::start(&pod, &container);
    let expected = Some(server.process());

    assert_eq!(answer(&mut live, &node), None, "before a scan");
    assert!(look(&live).contains(&inode(&container)));
    assert_eq!(answer(&mut live, &node), None, "sent maybe before the scan");
    std::thread::sleep(SETTLED);
    assert_eq!(answer(&mut live, &node), expected);

    // It has come and gone.
    server.make_a_process();
    assert_eq!(answer(&mut live, &node), None, "another was there");
    look(&live);
    std::thread::sleep(SETTLED);
    assert_eq!(answer(&mut live, &node), expected);

    // One that comes from elsewhere, as with kubectl exec, in a cgroup that the container has made.
    let inner = cgroups.add(&format!("kubepods/besteffort/pod{UID}/9f3c/inner"));
    let inside = cgroups.start(&container, "exec sleep 300");
    assert_eq!(answer(&mut live, &node), None, "another is there");
    fs::write(inner.join("cgroup.procs"), inside.to_string()).expect("it moves");
    assert!(!look(&live).contains(&inode(&container)));
    std::thread::sleep(SETTLED);
    assert_eq!(
        answer(&mut live, &node),
        None,
        "another is in the container"
    );
    server.stop();
    live.stop();
}
