//! Foreign programs of a few instructions on traced interfaces, and the list of our own loaded programs.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use aya::maps::loaded_maps;
use aya::programs::{loaded_links, loaded_programs};

use super::netns::Netns;

/// One eBPF instruction (linux/bpf.h): opcode, destination and source register, offset, immediate.
const fn instruction(opcode: u8, registers: u8, offset: i16, immediate: i32) -> u64 {
    // The kernel reads it in host order; the tests run on little-endian machines as the fields are put
    // together here.
    opcode as u64
        | (registers as u64) << 8
        | (offset as u16 as u64) << 16
        | (immediate as u32 as u64) << 32
}

fn bpf(command: libc::c_long, attributes: &[u32; 16]) -> OwnedFd {
    // SAFETY: the attributes outlive the call; unused ones are zero, which the kernel takes for absent.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attributes.as_ptr(),
            size_of_val(attributes),
        )
    };
    assert!(
        fd >= 0,
        "bpf({command}): {}",
        std::io::Error::last_os_error()
    );
    // SAFETY: a new file descriptor without another owner.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).expect("a descriptor")) }
}

/// A classifier of these instructions.
fn load(program: &[u64]) -> OwnedFd {
    let split = |pointer: u64| [pointer as u32, (pointer >> 32) as u32];
    let [code_low, code_high] = split(program.as_ptr() as u64);
    let [license_low, license_high] = split(c"GPL".as_ptr() as u64);
    let mut load = [0; 16];
    // BPF_PROG_TYPE_SCHED_CLS, the number of instructions, the instructions, the license.
    load[..6].copy_from_slice(&[
        3,
        program.len() as u32,
        code_low,
        code_high,
        license_low,
        license_high,
    ]);
    bpf(5, &load)
}

/// At the end of the TCX ingress chain of an interface, for as long as the link is held.
fn link_at_ingress(node: &Netns, interface: &str, program: &OwnedFd) -> OwnedFd {
    let mut link = [0; 16];
    // The program, the interface, BPF_TCX_INGRESS.
    link[..3].copy_from_slice(&[
        program.as_raw_fd().cast_unsigned(),
        index(node, interface),
        46,
    ]);
    node.enter(|| bpf(28, &link))
}

fn index(node: &Netns, name: &str) -> u32 {
    node.sh(&format!("ip -o link show {name}"))
        .split(':')
        .next()
        .and_then(|index| index.trim().parse().ok())
        .expect("an index")
}

/// A foreign TCX program that returns `verdict` for every packet from the pod.
pub fn verdict(node: &Netns, interface: &str, verdict: i32) -> OwnedFd {
    let program = [instruction(0xb7, 0, 0, verdict), instruction(0x95, 0, 0, 0)];
    link_at_ingress(node, interface, &load(&program))
}

/// Delivers what comes in by `uplink` over IPv4 to the pod behind `host_end`, for as long as the link is
/// held.
pub fn deliver_past(node: &Netns, uplink: &str, host_end: &str) -> OwnedFd {
    const REDIRECT_PEER: i32 = 155;
    let program = [
        // r2 = skb->protocol; only IPv4 is redirected.
        instruction(0x61, 0x12, 16, 0),
        instruction(0x55, 0x02, 4, i32::from(u16::to_be(0x0800))),
        instruction(0xb7, 0x01, 0, index(node, host_end).cast_signed()),
        instruction(0xb7, 0x02, 0, 0),
        instruction(0x85, 0, 0, REDIRECT_PEER),
        instruction(0x95, 0, 0, 0),
        // return -1: next.
        instruction(0xb7, 0, 0, -1),
        instruction(0x95, 0, 0, 0),
    ];
    link_at_ingress(node, uplink, &load(&program))
}

/// Programs and the maps that they use, by their ids.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
}

impl Loaded {
    /// These programs and their maps.
    pub fn of(programs: &[u32]) -> Loaded {
        let mut loaded = Loaded::default();
        for info in loaded_programs().filter_map(Result::ok) {
            if programs.contains(&info.id()) {
                loaded.programs.insert(info.id());
                loaded.maps.extend(
                    info.map_ids()
                        .expect("the program's maps")
                        .unwrap_or_default(),
                );
            }
        }
        assert_eq!(loaded.programs.len(), programs.len(), "not all are loaded");
        loaded
    }

    /// What still exists of it: programs, maps, and links of the programs.
    fn left(&self) -> (Vec<u32>, Vec<u32>, usize) {
        let programs = loaded_programs()
            .filter_map(Result::ok)
            .map(|info| info.id())
            .filter(|id| self.programs.contains(id));
        let maps = loaded_maps()
            .filter_map(Result::ok)
            .map(|info| info.id())
            .filter(|id| self.maps.contains(id));
        let links = loaded_links()
            .filter_map(Result::ok)
            .filter(|info| self.programs.contains(&info.program_id()));
        (programs.collect(), maps.collect(), links.count())
    }

    /// Waits until nothing of it exists: the kernel frees asynchronously.
    pub fn assert_gone(&self) {
        assert!(!self.maps.is_empty(), "our programs use maps");
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let left = self.left();
            if left == (Vec::new(), Vec::new(), 0) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "programs, maps and links that are left: {left:?}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
