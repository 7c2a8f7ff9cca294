//! The fuzz targets on the stable compiler: every seed, and a fixed number of mutations of the seeds.
//!
//! The same functions that libFuzzer calls (`cargo xtask fuzz`, docs/fuzzing.md). The mutations are the same
//! in every run.

use std::fs;
use std::path::{Path, PathBuf};

use self::inputs::TARGETS;

#[path = "../../fuzz/inputs.rs"]
#[expect(dead_code, reason = "the length limit is for libFuzzer alone")]
mod inputs;
mod made;
#[path = "../../fuzz/src/lib.rs"]
mod targets;

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).expect("44 bits") % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        // A byte with a meaning in some format, or any byte.
        const NOTABLE: [u8; 8] = [0, 1, 0x7f, 0x80, 0xc0, 0xff, b'\n', b':'];
        match self.below(3) {
            0 => NOTABLE[self.below(NOTABLE.len())],
            _ => self.below(256) as u8,
        }
    }
}

/// A seed with some bytes changed, moved, doubled, cut off or taken from another one.
fn mutation(random: &mut Random, seeds: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].1.clone();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len());
        let few = bytes.len().min(at + 1 + random.below(8));
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => bytes.extend_from_within(at..),
            2 => drop(bytes.drain(at..few)),
            3 => bytes.insert(at, random.byte()),
            4 => {
                let other = &seeds[random.below(seeds.len())].1;
                bytes.truncate(at);
                bytes.extend_from_slice(&other[random.below(other.len())..]);
            }
            5 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            _ if !bytes.is_empty() => bytes[at] = random.byte(),
            _ => {}
        }
    }
    bytes
}

fn holds_on_seeds_and_mutations(name: &str, mutations: usize) {
    let (_, run) = *targets::TARGETS
        .iter()
        .find(|(target, _)| *target == name)
        .expect("a target of this name");
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "{name} has no seeds");
    for (path, bytes) in &seeds {
        attempt(run, bytes, &path.display().to_string());
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for number in 0..mutations {
        let bytes = mutation(&mut random, &seeds);
        attempt(run, &bytes, &format!("mutation {number}"));
    }
}

/// Runs a target, and prints the input on which it failed.
fn attempt(run: fn(&[u8]), bytes: &[u8], what: &str) {
    struct Announce<'a>(&'a [u8], &'a str);
    impl Drop for Announce<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
                eprintln!("failed on {}: {hex}", self.1);
            }
        }
    }
    let announce = Announce(bytes, what);
    run(bytes);
    std::mem::forget(announce);
}

fn seeds(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let target = TARGETS
        .iter()
        .find(|target| target.name == name)
        .expect("a target of this name");
    let files = target
        .seed_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz"))
        .expect("readable directories");
    files
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).expect("a seed")))
        .collect()
}

#[test]
fn both_runners_know_the_same_targets() {
    let ours: Vec<&str> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
    let theirs: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(ours, theirs);
}

#[test]
fn record_decoding_holds() {
    holds_on_seeds_and_mutations("record", 20_000);
}

#[test]
fn dns_message_decoding_holds() {
    holds_on_seeds_and_mutations("dns_message", 20_000);
}

#[test]
fn tcp_reassembly_holds() {
    holds_on_seeds_and_mutations("tcp_stream", 5_000);
}

#[test]
fn capture_file_reading_holds() {
    holds_on_seeds_and_mutations("capture_file", 2_000);
}

#[test]
fn inventory_reading_holds() {
    holds_on_seeds_and_mutations("inventory", 1_000);
}

#[test]
fn the_pipeline_holds() {
    holds_on_seeds_and_mutations("pipeline", 1_000);
}
