//! Which seeds each fuzz target starts from, and how long its inputs are. Read by `cargo xtask fuzz` and by
//! the smoke test of the core (`tests/core/fuzz_smoke.rs`), which include this file.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Where its seeds are, files and directories, from `tracer-core/fuzz`.
    pub seeds: &'static [&'static str],
    /// Length limit of inputs in bytes. Longer inputs find nothing else, only more slowly.
    pub max_len: usize,
}

/// All targets.
pub const TARGETS: [Target; 6] = [
    Target {
        name: "record",
        seeds: &["seeds/record"],
        max_len: 2_048,
    },
    Target {
        name: "dns_message",
        seeds: &["seeds/dns_message"],
        max_len: 2_048,
    },
    Target {
        name: "tcp_stream",
        seeds: &["seeds/tcp_stream"],
        max_len: 4_096,
    },
    Target {
        name: "capture_file",
        seeds: &["seeds/capture_file", "../tests/fixtures/captures"],
        max_len: 8_192,
    },
    Target {
        name: "inventory",
        seeds: &[
            "seeds/inventory",
            "../tests/fixtures/inventory",
            "../../testbed/lab/near-misses.yaml",
        ],
        max_len: 8_192,
    },
    Target {
        name: "pipeline",
        seeds: &["seeds/pipeline"],
        max_len: 4_096,
    },
];

/// Extensions of files beside the seeds that are not seeds.
const NO_SEEDS: [&str; 3] = ["txt", "sh", "md"];

impl Target {
    /// Its seed files, in order. `fuzz` is the directory of this file.
    pub fn seed_files(&self, fuzz: &Path) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for place in self.seeds {
            let place = fuzz.join(place);
            let paths = if place.is_dir() {
                fs::read_dir(&place)?
                    .map(|entry| entry.map(|entry| entry.path()))
                    .collect::<io::Result<Vec<_>>>()?
            } else {
                vec![place]
            };
            files.extend(paths.into_iter().filter(|path| {
                let extension = path.extension().and_then(OsStr::to_str);
                path.is_file() && extension.is_none_or(|extension| !NO_SEEDS.contains(&extension))
            }));
        }
        files.sort();
        Ok(files)
    }
}
