//! Recordings read back as written, and a full disk loses no more than it must. `tests/core/captures.rs`
//! shows that other programs can read them.

use std::io::{self, Cursor, ErrorKind, Write};

use super::testing::{CLIENT, is_one_of, path, read, udp};
use super::{FileError, Output, Reader, Replay, ReplaySettings, Writer, WriterStats};
use crate::model::flow::{Direction, FlowTotals, Ifindex, Traffic};
use crate::model::identity::Process;
use crate::model::loss::Missing;
use crate::model::record::Record;
use crate::model::time::Timestamp;

fn records(bytes: Vec<u8>) -> Vec<Record> {
    let reader = Reader::new("test", Cursor::new(bytes));
    let mut replay = Replay::new(reader, &ReplaySettings::default());
    let mut records = Vec::new();
    // The recording knows its pods whatever the inventory says.
    while replay.step(|_| true, &mut records).expect("it is whole") {}
    records
}

fn record(number: u32) -> Record {
    let bytes = udp(("10.0.0.1", 4_000), ("10.0.0.2", 53), &number.to_be_bytes());
    Record {
        time: Timestamp(1_700_000_000_000_000_000 + u64::from(number)),
        ifindex: Ifindex(number % 3),
        direction: if number.is_multiple_of(2) {
            Direction::FromPod
        } else {
            Direction::ToPod
        },
        ethertype: 0x0800,
        wire_len: 32 + number,
        chunk_offset: 0,
        missing: Missing::default(),
        totals: (!number.is_multiple_of(5)).then(|| FlowTotals {
            tx: Traffic {
                packets: 1,
                bytes: u64::from(number),
            },
            rx: Traffic {
                packets: u64::MAX,
                bytes: 0,
            },
            retransmits: number.is_multiple_of(3).then(|| number.into()),
        }),
        sender_cgroup: u64::from(number % 4),
        // A process can choose its name.
        sender_process: ["curl", ", process 1 \"a\"", "\n\u{fffd}", ""]
            .get(number as usize % 7)
            .map(|comm| Process {
                pid: number,
                comm: (*comm).into(),
            }),
        bytes,
    }
}

fn write<W: Output>(writer: &mut Writer<W>, record: &Record) -> Result<(), FileError> {
    let name = format!("cali{}", record.ifindex.0);
    writer.write(record.time, &name, record, "default/deb-ubuntu from pod")
}

#[test]
fn a_recording_reads_back_as_the_records_that_were_written() {
    let reader = Reader::open(path("ethernet.pcap")).expect("the fixture is in the repository");
    let mut replay = Replay::new(reader, &ReplaySettings::default());
    let mut written: Vec<Record> = (0..50).map(record).collect();
    while replay
        .step(is_one_of(&CLIENT), &mut written)
        .expect("it is whole")
    {}
    let mut writer = Writer::new("test", Vec::new());
    for record in &written {
        write(&mut writer, record).expect("in memory");
    }
    let (file, stats, result) = writer.finish();
    result.expect("in memory");
    assert_eq!(stats.written, written.len() as u64);
    let found = records(file);
    assert_eq!(found.len(), written.len());
    for (found, written) in found.iter().zip(&written) {
        assert_eq!(found, written);
    }
}

#[test]
fn a_recording_states_what_was_lost_before_each_packet() {
    let counts = [0, 3, 3, 1];
    let mut writer = Writer::new("test", Vec::new());
    for (number, count) in (1..).zip(counts) {
        let record = Record {
            ifindex: Ifindex(7),
            missing: Missing {
                count,
                ..Missing::default()
            },
            ..record(number)
        };
        write(&mut writer, &record).expect("in memory");
    }
    let (file, _, _) = writer.finish();
    // epb_dropcount: option 4 of eight bytes; before the last packet the count wrapped around.
    for lost in [3, u16::MAX - 1] {
        let mut option = vec![4, 0, 8, 0];
        option.extend(u64::from(lost).to_le_bytes());
        let found = file.windows(option.len()).filter(|part| **part == option);
        assert_eq!(found.count(), 1, "{lost}");
    }
    let found: Vec<u16> = records(file)
        .iter()
        .map(|record| record.missing.count)
        .collect();
    assert_eq!(found, counts);
}

#[test]
fn a_recording_has_wall_clock_timestamps_whatever_the_record_clock() {
    let mut writer = Writer::new("test", Vec::new());
    let wall = Timestamp(1_800_000_000_999_999_999);
    writer
        .write(wall, "cali1", &record(1), "")
        .expect("in memory");
    let (file, _, _) = writer.finish();
    assert_eq!(records(file)[0].time, wall);
}

#[test]
fn chunks_of_a_long_segment_are_joined_into_one_packet() {
    let mut whole: Vec<u8> = [0x45]
        .into_iter()
        .chain((1..5_000_u32).map(|byte| byte as u8))
        .collect();
    // A record that is not a chunk.
    whole[6..8].fill(0);
    let whole = whole;
    let chunk = |start: usize, end: usize| Record {
        chunk_offset: u32::try_from(start).expect("short"),
        wire_len: 5_000,
        sender_cgroup: 0,
        sender_process: None,
        bytes: whole[start..end].to_vec(),
        ..record(1)
    };
    let mut writer = Writer::new("test", Vec::new());
    write(&mut writer, &chunk(0, 2_048)).expect("in memory");
    // A record from another CPU.
    write(&mut writer, &record(2)).expect("in memory");
    write(&mut writer, &chunk(2_048, 4_096)).expect("in memory");
    write(&mut writer, &chunk(4_096, 5_000)).expect("in memory");
    // A chunk whose first chunk was lost.
    write(
        &mut writer,
        &Record {
            ifindex: Ifindex(77),
            ..chunk(2_048, 4_096)
        },
    )
    .expect("in memory");
    let (file, stats, _) = writer.finish();
    assert_eq!(
        stats,
        WriterStats {
            written: 2,
            unwritten: 0,
            unplaced: 1
        }
    );
    let found = records(file);
    assert_eq!(found[0].bytes, whole);
    assert_eq!(found[1], record(2));
}

#[test]
fn a_record_waits_for_its_next_chunk_only_for_a_limited_time() {
    let first = Record {
        bytes: [vec![0x45], vec![0; 2_047]].concat(),
        wire_len: 9_000,
        ..record(1)
    };
    let mut writer = Writer::new("test", Vec::new());
    write(&mut writer, &first).expect("in memory");
    assert_eq!(writer.stats().written, 0);
    for number in 2..10 {
        write(&mut writer, &record(number)).expect("in memory");
    }
    assert_eq!(writer.stats().written, 9);
    let (file, _, _) = writer.finish();
    assert_eq!(records(file)[0], first);
}

#[test]
fn a_flush_in_the_middle_of_a_segment_does_not_split_it() {
    let bytes = [vec![0x45], vec![0; 4_095]].concat();
    let chunk = |start: usize| Record {
        chunk_offset: u32::try_from(start).expect("short"),
        wire_len: 4_096,
        sender_cgroup: 0,
        sender_process: None,
        bytes: bytes[start..start + 2_048].to_vec(),
        ..record(1)
    };
    let mut writer = Writer::new("test", Vec::new());
    write(&mut writer, &chunk(0)).expect("in memory");
    writer.flush().expect("in memory");
    write(&mut writer, &chunk(2_048)).expect("in memory");
    writer.flush().expect("in memory");
    assert_eq!(writer.stats().written, 1);
    let (file, _, _) = writer.finish();
    assert_eq!(records(file)[0].bytes, bytes);

    // A segment whose rest was lost is written as well.
    let mut writer = Writer::new("test", Vec::new());
    write(&mut writer, &chunk(0)).expect("in memory");
    writer.flush().expect("in memory");
    writer.flush().expect("in memory");
    assert_eq!(writer.stats().written, 1);
}

/// A disk with room for `room` bytes, which accepts whatever still fits.
struct Disk {
    data: Vec<u8>,
    room: usize,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = bytes.len().min(self.room - self.data.len());
        if fits == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        self.data.extend_from_slice(&bytes[..fits]);
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Disk {
    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.data.cut(len)
    }
}

#[test]
fn a_full_disk_leaves_a_valid_file_and_counts_the_missing_records() {
    for room in (0..4_000).step_by(37) {
        let mut writer = Writer::new(
            "full.pcapng",
            Disk {
                data: Vec::new(),
                room,
            },
        );
        let mut errors = Vec::new();
        for number in 0..60 {
            let results = [write(&mut writer, &record(number)), writer.flush()];
            errors.extend(results.into_iter().filter_map(Result::err));
        }
        let (disk, stats, last) = writer.finish();
        assert!(last.is_ok());
        assert_eq!(errors.len(), 1, "the error is returned once");
        let FileError::Write {
            offset,
            written,
            source,
            ..
        } = &errors[0]
        else {
            panic!("{}", errors[0]);
        };
        assert_eq!(source.kind(), ErrorKind::StorageFull);
        assert_eq!(*offset, disk.data.len() as u64);
        assert_eq!(*written, stats.written);
        assert_eq!(stats.written + stats.unwritten, 60);
        if disk.data.is_empty() {
            assert_eq!(stats.written, 0);
            continue;
        }
        let (packets, error) = read(disk.data);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(packets.len() as u64, stats.written);
    }
}

#[test]
fn records_lost_to_a_full_disk_are_counted_exactly_in_a_large_write() {
    let mut writer = Writer::new(
        "full.pcapng",
        Disk {
            data: Vec::new(),
            room: 2_000,
        },
    );
    for number in 0..60 {
        write(&mut writer, &record(number)).expect("it is only buffered");
    }
    assert!(writer.flush().is_err());
    let (disk, stats, _) = writer.finish();
    assert!(stats.written > 5);
    assert_eq!(stats.written + stats.unwritten, 60);
    assert_eq!(read(disk.data).0.len() as u64, stats.written);
}

#[test]
fn records_that_are_not_ip_are_counted_and_not_written() {
    let mut writer = Writer::new("test", Vec::new());
    write(
        &mut writer,
        &Record {
            bytes: Vec::new(),
            ..record(1)
        },
    )
    .expect("in memory");
    write(
        &mut writer,
        &Record {
            ethertype: 0x0806,
            ..record(1)
        },
    )
    .expect("in memory");
    assert_eq!(writer.stats().unplaced, 2);
}

#[test]
fn the_error_names_a_file_that_cannot_be_created() {
    let error = Writer::create("/no/such/directory/file.pcapng")
        .err()
        .expect("an error");
    assert_eq!(
        error.to_string(),
        "cannot create the capture file /no/such/directory/file.pcapng"
    );
}

#[test]
fn comments_are_truncated_at_a_character_boundary() {
    let mut writer = Writer::new("test", Vec::new());
    let comment = "ü".repeat(70_000);
    writer
        .write(Timestamp(1), &comment, &record(1), &comment)
        .expect("in memory");
    let (file, stats, _) = writer.finish();
    assert_eq!(stats.written, 1);
    assert_eq!(records(file).len(), 1);
}

#[test]
fn a_full_device_is_reported_once_and_later_records_are_counted() {
    let mut writer = Writer::create("/dev/full").expect("Linux has it");
    write(&mut writer, &record(1)).expect("it is only buffered");
    let error = writer.flush().expect_err("it is full").to_string();
    assert_eq!(
        error,
        "cannot write to /dev/full beyond byte 0: recording stops after 0 packets"
    );
    write(&mut writer, &record(2)).expect("the error was returned already");
    assert_eq!(writer.stats().unwritten, 2);
}
