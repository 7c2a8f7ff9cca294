//! Lines to an output that can be slow or close.
//!
//! Owns the buffer. It is flushed when it is full and when the caller has no more lines for now, so a single
//! event appears at once and a burst costs few system calls. A closed pipe is a result of its own: `tracer
//! observe | head` ends quietly.

use std::io::{self, BufWriter, Write};

/// The size at which the buffer is flushed without a call to [`LineWriter::flush`].
const BUFFER_BYTES: usize = 64 * 1024;

/// Why a line could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The reader closed the pipe.
    #[error("the reader of the output is gone")]
    Closed,
    /// Another failure, a full disk for example.
    #[error("cannot write the output")]
    Failed(#[source] io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> WriteError {
        match error.kind() {
            io::ErrorKind::BrokenPipe => WriteError::Closed,
            _ => WriteError::Failed(error),
        }
    }
}

/// A buffered output that counts its lines.
#[derive(Debug)]
pub struct LineWriter<W: Write> {
    out: BufWriter<W>,
    lines: u64,
}

impl<W: Write> LineWriter<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> LineWriter<W> {
        LineWriter {
            out: BufWriter::with_capacity(BUFFER_BYTES, out),
            lines: 0,
        }
    }

    /// Writes whole lines, each with its newline.
    pub fn write(&mut self, lines: &str) -> Result<(), WriteError> {
        self.out.write_all(lines.as_bytes())?;
        self.lines += lines.bytes().filter(|byte| *byte == b'\n').count() as u64;
        Ok(())
    }

    /// Writes the buffer to the output.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        if self.out.buffer().is_empty() {
            return Ok(());
        }
        Ok(self.out.flush()?)
    }

    /// How many lines were written.
    pub fn lines(&self) -> u64 {
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use super::{LineWriter, WriteError};

    /// Counts writes, and fails like a closed pipe after `room` of them.
    struct Pipe {
        writes: usize,
        room: usize,
    }

    impl Write for &mut Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.writes == self.room {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.writes += 1;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_burst_is_one_write_and_an_empty_flush_is_none() {
        let mut pipe = Pipe { writes: 0, room: 9 };
        let mut writer = LineWriter::new(&mut pipe);
        for _ in 0..100 {
            writer.write("a line\n").expect("room");
        }
        writer.flush().expect("room");
        writer.flush().expect("nothing to do");
        assert_eq!(writer.lines(), 100);
        drop(writer);
        assert_eq!(pipe.writes, 1);
    }

    #[test]
    fn a_closed_pipe_differs_from_a_failure() {
        let mut pipe = Pipe { writes: 0, room: 0 };
        let mut writer = LineWriter::new(&mut pipe);
        writer.write("a line\n").expect("it stays in the buffer");
        assert!(matches!(writer.flush(), Err(WriteError::Closed)));
        let full = WriteError::from(io::Error::from(io::ErrorKind::StorageFull));
        assert!(matches!(full, WriteError::Failed(_)));
    }
}
