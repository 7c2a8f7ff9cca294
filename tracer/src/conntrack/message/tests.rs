use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;

/// Events of Linux 6.18, as a socket received them: `curl http://10.96.0.1/` behind `dnat to 127.0.0.1:8080`.
const TCP: &str = "c40000000001000600000000000000000200000034000180140001800800010000000000080002000a6000011c000280050001000600000006000200824c000006000300005000003400028014000180080001007f00000108000200000000001c0002800500010006000000060002001f90000006000300824c000008000c000346e93208000300000001a80800070000000078300004802c0001800500010001000000050002000a000000050003000000000006000400030000000600050000000000";
/// `curl http://[fd00::1]/` behind `dnat to [fd00::99]:8080`.
const TCP_V6: &str = "f40000000001000600000000000000000a0000004c0001802c00018014000300fd00000000000000000000000000009914000400fd0000000000000000000000000000011c00028005000100060000000600020091ea000006000300005000004c0002802c00018014000300fd00000000000000000000000000009914000400fd0000000000000000000000000000991c0002800500010006000000060002001f9000000600030091ea000008000c0019481a2d08000300000001a80800070000000078300004802c0001800500010001000000050002000a000000050003000000000006000400030000000600050000000000";
/// `dig @10.96.0.2` behind `dnat to 127.0.0.1:5353`.
const UDP: &str = "940000000001000600000000000000000200000034000180140001800800010000000000080002000a6000021c000280050001001100000006000200a24e000006000300003500003400028014000180080001007f00000108000200000000001c00028005000100110000000600020014e9000006000300a24e000008000c00cf42894d08000300000001a8080007000000001e";
/// `curl http://127.0.0.1:9/`, which nothing translates.
const PLAIN: &str = "c4000000000100060000000000000000020000003400018014000180080001007f000001080002007f0000011c000280050001000600000006000200c076000006000300000900003400028014000180080001007f000001080002007f0000011c0002800500010006000000060002000009000006000300c076000008000c00d8cd4e4608000300000001880800070000000078300004802c0001800500010001000000050002000a000000050003000000000006000400030000000600050000000000";
/// The counters of two CPUs.
const PER_CPU: &str = "64000000040102000100000074eacbc600000000080002000000000008000400000000040800080000000000080009000000000008000a000000000008000b000000000008000c000000000208000d000000000008000e000000000008000f000000000064000000040102000100000074eacbc600000001080002000000000008000400000000000800080000000000080009000000000008000a000000000008000b000000000008000c000000000008000d000000000008000e000000000008000f0000000000";
const DONE: &str = "14000000030002000100000074eacbc600000000";
const GLOBAL: &str = "240000000501020001000000faeee0ad0000000008000100000000020800020000040000";
/// The answer to an unknown request: EINVAL, 22.
const ERROR: &str =
    "2800000002000000010000008073e3caeaffffff1400000063010100010000000000000000000000";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
        .collect()
}

/// Protocol, and source and destination of both directions.
fn translated(hex: &str) -> (Protocol, [String; 4]) {
    let [Message::Translated(translation)] = &messages(&bytes(hex))[..] else {
        panic!("{:?}", messages(&bytes(hex)));
    };
    let Translation { original, reply } = translation;
    assert_eq!(original.protocol, reply.protocol);
    let ends = [original.src, original.dst, reply.src, reply.dst];
    (original.protocol, ends.map(|end| end.to_string()))
}

#[test]
fn a_translated_entry_has_both_directions() {
    let (protocol, ends) = translated(TCP);
    assert_eq!(protocol, Protocol::Tcp);
    assert_eq!(
        ends,
        [
            "0.0.0.0:33356",
            "10.96.0.1:80",
            "127.0.0.1:8080",
            "0.0.0.0:33356"
        ]
    );
    let (protocol, ends) = translated(TCP_V6);
    assert_eq!(protocol, Protocol::Tcp);
    assert_eq!(
        ends,
        [
            "[fd00::99]:37354",
            "[fd00::1]:80",
            "[fd00::99]:8080",
            "[fd00::99]:37354"
        ]
    );
    let (protocol, ends) = translated(UDP);
    assert_eq!(protocol, Protocol::Udp);
    assert_eq!(
        ends,
        [
            "0.0.0.0:41550",
            "10.96.0.2:53",
            "127.0.0.1:5353",
            "0.0.0.0:41550"
        ]
    );
}

#[test]
fn an_entry_that_mirrors_its_original_is_not_translated() {
    assert_eq!(messages(&bytes(PLAIN)), [Message::Other]);
}

#[test]
fn counters_errors_and_the_end_of_a_dump_are_told_apart() {
    let per_cpu = messages(&bytes(PER_CPU));
    let [Message::Counters(first), Message::Counters(second)] = &per_cpu[..] else {
        panic!("{per_cpu:?}");
    };
    assert_eq!(first.iter().find(|(number, _)| *number == 4), Some(&(4, 4)));
    assert_eq!(second.len(), 10);
    assert_eq!(messages(&bytes(DONE)), [Message::Done]);
    assert_eq!(
        messages(&bytes(GLOBAL)),
        [Message::Counters(vec![(1, 2), (2, 262_144)])]
    );
    assert_eq!(messages(&bytes(ERROR)), [Message::Error(22)]);
}

#[test]
fn several_messages_of_a_datagram_are_read_and_a_cut_one_is_counted() {
    let both = bytes(&format!("{TCP}{UDP}"));
    assert_eq!(messages(&both).len(), 2);
    let cut = messages(&both[..both.len() - 10]);
    assert_eq!(cut.len(), 2);
    assert_eq!(cut[1], Message::Unreadable);
}

#[test]
fn garbage_never_panics() {
    let mut random = StdRng::seed_from_u64(1);
    let real = [TCP, TCP_V6, UDP, PLAIN, PER_CPU, DONE, GLOBAL, ERROR].map(bytes);
    let mut unreadable = 0;
    for round in 0..200_000 {
        let mut datagram = real[round % real.len()].clone();
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(0..datagram.len());
            datagram[at] = random.random();
        }
        datagram.truncate(random.random_range(0..=datagram.len()));
        let read = messages(&datagram);
        unreadable += usize::from(read.contains(&Message::Unreadable));
    }
    assert!(unreadable > 10_000, "{unreadable}");
}
