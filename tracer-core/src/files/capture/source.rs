//! The bytes of a capture: a file or standard input, decompressed if it is gzip.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use super::FileError;

/// The first two bytes of gzip (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Any source of bytes.
pub(super) type Input = Box<dyn Read + Send>;

/// Opens a file, or standard input for `-`, without reading from it. Also returns its name for messages.
pub(super) fn open(path: &Path) -> Result<(String, Input), FileError> {
    if path == Path::new("-") {
        return Ok(("standard input".to_owned(), Box::new(io::stdin())));
    }
    let file = path.display().to_string();
    match File::open(path) {
        Ok(opened) => Ok((file, Box::new(opened))),
        Err(source) => Err(FileError::Open { file, source }),
    }
}

/// Counts the bytes read, before decompression.
pub(super) struct Counted {
    input: Input,
    bytes: Arc<AtomicU64>,
}

impl Counted {
    /// Counts into `bytes`.
    pub(super) fn new(input: Input, bytes: Arc<AtomicU64>) -> Counted {
        Counted { input, bytes }
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Decompresses gzip, recognized by content rather than name, because a pipe has no name. Waits for the first
/// two bytes.
pub(super) fn unpack(mut input: Input) -> io::Result<Input> {
    let mut start = Vec::with_capacity(GZIP.len());
    input
        .by_ref()
        .take(GZIP.len() as u64)
        .read_to_end(&mut start)?;
    let gzip = start == GZIP;
    let whole = Cursor::new(start).chain(input);
    Ok(if gzip {
        // Files joined with cat have several members.
        Box::new(MultiGzDecoder::new(BufReader::new(whole)))
    } else {
        Box::new(whole)
    })
}
