//! Capture files compared with tshark: our recordings, and files built byte by byte.
//!
//! Needs tshark and capinfos (Debian: tshark) and fails without them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tracer_core::files::capture::{Reader, Replay, ReplaySettings, Writer};
use tracer_core::model::flow::Direction;
use tracer_core::model::record::Record;

fn fixture(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/captures")
        .join(file)
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| {
            panic!("{program} is needed for this test (Debian: tshark): {error}")
        });
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    String::from_utf8(output.stdout).expect("text")
}

/// One line per packet: the fields, comma-separated.
fn tshark(file: &Path, fields: &[&str]) -> Vec<String> {
    tshark_where(file, "frame", fields)
}

/// The same for the packets that a display filter selects.
fn tshark_where(file: &Path, filter: &str, fields: &[&str]) -> Vec<String> {
    let file = file.to_str().expect("a path in text");
    let mut arguments = vec![
        "-r",
        file,
        "-Y",
        filter,
        "-T",
        "fields",
        "-E",
        "separator=,",
        "-E",
        "occurrence=f",
    ];
    for field in fields {
        arguments.extend(["-e", field]);
    }
    run("tshark", &arguments)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The records of the fixture, from the client pod's side.
fn records(file: &Path) -> Vec<Record> {
    let reader = Reader::open(file).expect("the fixture is in the repository");
    let mut replay = Replay::new(reader, &ReplaySettings::default());
    let pods = ["10.1.39.193", "fd00::39:193"].map(|pod| pod.parse().expect("an address"));
    let mut records = Vec::new();
    while replay
        .step(|ip| pods.contains(&ip), &mut records)
        .expect("it is whole")
    {}
    records
}

fn record_to(path: &Path, records: &[Record]) {
    let mut writer = Writer::create(path).expect("a new file");
    for record in records {
        let direction = match record.direction {
            Direction::FromPod => "from pod",
            Direction::ToPod => "to pod",
        };
        let comment = format!("default/deb-ubuntu {direction}");
        writer
            .write(record.time, "cali1", record, &comment)
            .expect("there is room");
    }
    let (_, stats, result) = writer.finish();
    result.expect("there is room");
    assert_eq!(stats.written, records.len() as u64);
}

#[test]
fn tshark_reads_in_a_recording_what_it_reads_in_the_capture() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let recording = directory.path().join("recording.pcapng");
    // Cut by the snaplen, so that the original lengths matter.
    for file in ["ethernet.pcap", "snapped.pcap"] {
        let capture = fixture(file);
        record_to(&recording, &records(&capture));
        let fields = [
            "frame.time_epoch",
            "ip.src",
            "ip.dst",
            "ip.len",
            "ipv6.src",
            "ipv6.dst",
            "ipv6.plen",
            "udp.length",
            "tcp.seq_raw",
            "icmp.seq",
            "dns.qry.name",
            "dns.flags.rcode",
        ];
        // Fragments are one packet in a recording; tshark puts them together, too, and that is compared
        // below.
        let filter = "!(ip.flags.mf == 1 || ip.frag_offset > 0) && !(ip.len > 1500)";
        let mut expected = tshark_where(&capture, filter, &fields);
        // What is not IP is in no record.
        expected.retain(|line| line.split(',').nth(1) != line.split(',').nth(4));
        assert_eq!(
            tshark_where(&recording, filter, &fields),
            expected,
            "{file}"
        );

        // Without the link header, which tshark counts.
        let lengths = tshark_where(
            &capture,
            filter,
            &["frame.len", "frame.cap_len", "eth.type"],
        );
        let expected: Vec<String> = lengths
            .iter()
            .filter(|line| line.ends_with("0x0800") || line.ends_with("0x86dd"))
            .map(|line| {
                let mut numbers = line.split(',').map(str::parse::<u32>);
                let mut next = || numbers.next().expect("a field").expect("a number") - 14;
                format!("{},{}", next(), next())
            })
            .collect();
        assert_eq!(
            tshark_where(&recording, filter, &["frame.len", "frame.cap_len"]),
            expected,
            "{file}"
        );
    }
}

#[test]
fn fragments_are_put_together_as_tshark_does_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let recording = directory.path().join("recording.pcapng");
    let capture = fixture("ethernet.pcap");
    record_to(&recording, &records(&capture));
    let fields = ["frame.time_epoch", "icmp.type", "icmp.seq", "data.len"];
    let filter = "icmp && data.len > 1500";
    let expected = tshark_where(&capture, filter, &fields);
    assert_eq!(expected.len(), 2, "the ping of 1,600 bytes: {expected:?}");
    assert_eq!(tshark_where(&recording, filter, &fields), expected);
    // And the checksum over what was put together is right.
    let checked = tshark_where(
        &recording,
        &format!("{filter} && icmp.checksum.status == \"Good\""),
        &["ip.len"],
    );
    assert_eq!(checked, ["1628", "1628"]);
}

#[test]
fn wireshark_shows_whose_packet_it_is() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let recording = directory.path().join("recording.pcapng");
    let records = records(&fixture("ethernet.pcap"));
    record_to(&recording, &records);
    let shown = tshark(
        &recording,
        &[
            "frame.comment",
            "frame.interface_name",
            "frame.packet_flags_direction",
        ],
    );
    let expected: Vec<String> = records
        .iter()
        .map(|record| match record.direction {
            // Seen from the node, which is where the interface is.
            Direction::FromPod => "default/deb-ubuntu from pod,cali1,0x00000001".to_owned(),
            Direction::ToPod => "default/deb-ubuntu to pod,cali1,0x00000002".to_owned(),
        })
        .collect();
    assert_eq!(shown, expected);
    let path = recording.to_str().expect("a path in text");
    let about = run("capinfos", &[path]);
    for line in ["Wireshark/... - pcapng", "Raw IP", "nanoseconds", "tracer "] {
        assert!(about.contains(line), "{line} is not in {about}");
    }
    // tshark prints nothing about intact files.
    let details = run("tshark", &["-r", path, "-V", "-Y", "frame.number == 1"]);
    assert!(
        details.contains("tracer: from pod, interface 2147483649, flow sent"),
        "{details}"
    );
}

/// Reads `file` as tshark does: stamp and IP length of each IPv4 packet.
fn assert_reads_as_tshark(file: &Path) {
    let found: Vec<String> = Reader::open(file)
        .expect("a file")
        .map(|packet| packet.expect("it is whole"))
        .map(|packet| {
            let (seconds, rest) = (packet.time.0 / 1_000_000_000, packet.time.0 % 1_000_000_000);
            format!("{seconds}.{rest:09},{}", packet.wire_len)
        })
        .collect();
    assert_eq!(
        found,
        tshark(file, &["frame.time_epoch", "ip.len"]),
        "{file:?}"
    );
    assert!(!found.is_empty());
}

#[test]
fn link_types_and_byte_orders_that_no_tool_here_writes_read_as_tshark_reads_them() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let raw: Vec<Record> = records(&fixture("raw.pcap"))
        .into_iter()
        .filter(|record| record.ethertype == 0x0800)
        .collect();
    let tagged = [&[2; 12][..], &[0x81, 0, 0, 5, 8, 0]].concat();
    let twice = [&[2; 12][..], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0]].concat();
    let cases: [(&str, u32, &[u8]); 7] = [
        ("null", 0, &[2, 0, 0, 0]),
        ("loop", 108, &[0, 0, 0, 2]),
        ("ipv4", 228, &[]),
        ("vlan", 1, &tagged),
        ("qinq", 1, &twice),
        ("raw", 101, &[]),
        ("dlt-raw", 12, &[]),
    ];
    for (name, link_type, header) in cases {
        // Big-endian, nanoseconds.
        let mut file = [0xa1b2_3c4d, 0x0002_0004, 0, 0, 262_144, link_type]
            .map(u32::to_be_bytes)
            .concat();
        for record in &raw {
            let len = u32::try_from(header.len() + record.bytes.len()).expect("short");
            let seconds = u32::try_from(record.time.0 / 1_000_000_000).expect("before 2106");
            let rest = u32::try_from(record.time.0 % 1_000_000_000).expect("less than a billion");
            file.extend([seconds, rest, len, len].map(u32::to_be_bytes).concat());
            file.extend_from_slice(header);
            file.extend_from_slice(&record.bytes);
        }
        let path = directory.path().join(format!("{name}.pcap"));
        fs::write(&path, file).expect("there is room");
        assert_reads_as_tshark(&path);
    }
}

#[test]
fn sections_resolutions_and_offsets_read_as_tshark_reads_them() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let packet = records(&fixture("raw.pcap"))
        .into_iter()
        .find(|record| record.ethertype == 0x0800)
        .expect("an IPv4 packet")
        .bytes;
    let mut file = Vec::new();
    // if_tsresol, if_tsoffset, stamp.
    for (resolution, offset, stamp) in [
        (6_u8, 0_i64, 1_700_000_000_123_456_u64),
        (9, 1_700_000_000, 987_654_321),
        (0x8a, 1_000, 5_000_512),
        (3, 0, 1_700_000_000_123),
    ] {
        for big_endian in [false, true] {
            let word = |value: u32| {
                if big_endian {
                    value.to_be_bytes()
                } else {
                    value.to_le_bytes()
                }
            };
            let half = |value: u16| {
                if big_endian {
                    value.to_be_bytes()
                } else {
                    value.to_le_bytes()
                }
            };
            let long = |value: i64| {
                if big_endian {
                    value.to_be_bytes()
                } else {
                    value.to_le_bytes()
                }
            };
            let mut block = |block_type: u32, body: &[&[u8]]| {
                let body = body.concat();
                let length = word(u32::try_from(body.len() + 12).expect("short"));
                file.extend([&word(block_type)[..], &length, &body, &length].concat());
            };
            block(
                0x0a0d_0d0a,
                &[&word(0x1a2b_3c4d), &half(1), &half(0), &[0xff; 8]],
            );
            block(
                1,
                &[
                    &half(101),
                    &half(0),
                    &word(0),
                    &half(9),
                    &half(1),
                    &[resolution, 0, 0, 0],
                    &half(14),
                    &half(8),
                    &long(offset),
                    &[0; 4],
                ],
            );
            let padding = vec![0; packet.len().next_multiple_of(4) - packet.len()];
            let len = word(u32::try_from(packet.len()).expect("short"));
            let (high, low) = ((stamp >> 32) as u32, stamp as u32);
            block(
                6,
                &[
                    &word(0),
                    &word(high),
                    &word(low),
                    &len,
                    &len,
                    &packet,
                    &padding,
                ],
            );
        }
    }
    let path = directory.path().join("sections.pcapng");
    fs::write(&path, file).expect("there is room");
    assert_reads_as_tshark(&path);
}

#[test]
fn the_expected_text_of_the_fixtures_is_what_tshark_says_today() {
    // A fixture cannot change without its expected values.
    let expected = fs::read_to_string(fixture("expected.txt")).expect("text");
    let mut found = String::new();
    for line in expected.lines() {
        let Some(file) = line.strip_prefix("# ") else {
            continue;
        };
        writeln!(found, "{line}").expect("in memory");
        for line in tshark(&fixture(file), &["frame.time_epoch", "ip.len", "ipv6.plen"]) {
            let fields: Vec<&str> = line.split(',').filter(|field| !field.is_empty()).collect();
            if fields.len() > 1 {
                writeln!(found, "{}", fields.join(" ")).expect("in memory");
            }
        }
    }
    let expected: Vec<String> = expected
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            if line.starts_with('#') {
                line.to_owned()
            } else {
                format!("{} {}", fields[0], fields[5])
            }
        })
        .collect();
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
}
