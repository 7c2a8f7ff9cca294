//! A file of lines that is replaced when it is full: FILE becomes FILE.1, FILE.1 becomes FILE.2, and the oldest
//! one is deleted.
//!
//! Events hold names and addresses, and the agent is root: the file's mode is 0600, no symbolic link is
//! followed, and a file of another user is refused.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// When the file is full, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The size of one file. A line is never split.
    pub max_bytes: u64,
    /// Files in all, the current one included.
    pub files: u32,
}

/// Why events cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be opened.
    #[error("cannot open {}, which --events names: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The thread that writes cannot be started.
    #[error("cannot start the thread that writes the events of --events: {0}")]
    Thread(io::Error),
}

/// The current file.
#[derive(Debug)]
pub(super) struct RotatedFile {
    path: PathBuf,
    rotation: Rotation,
    /// `None` if the next file could not be opened yet.
    file: Option<File>,
    bytes: u64,
}

impl RotatedFile {
    /// Opens the file and continues it.
    pub fn open(path: PathBuf, rotation: Rotation) -> Result<RotatedFile, FileError> {
        match open(&path) {
            Ok((file, bytes)) => Ok(RotatedFile {
                path,
                rotation,
                file: Some(file),
                bytes,
            }),
            Err(source) => Err(FileError::Open { path, source }),
        }
    }

    /// A file that is open already, for tests of what a disk can do.
    #[cfg(test)]
    pub fn of(file: File) -> RotatedFile {
        let rotation = Rotation {
            max_bytes: u64::MAX,
            files: 1,
        };
        RotatedFile {
            path: PathBuf::new(),
            rotation,
            file: Some(file),
            bytes: 0,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line, to a new file if it does not fit this one.
    pub fn write_line(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64;
        if self.bytes > 0 && self.bytes + length > self.rotation.max_bytes {
            self.file = None;
            rotate(&self.path, self.rotation.files)?;
            self.bytes = 0;
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let (file, bytes) = open(&self.path)?;
                self.bytes = bytes;
                none.insert(file)
            }
        };
        let written = file.write_all(line.as_bytes());
        // A failed write may have written a part.
        self.bytes = match &written {
            Ok(()) => self.bytes + length,
            Err(_) => file.metadata().map_or(self.bytes, |data| data.len()),
        };
        written
    }
}

/// Opens the file at its end, and returns its size.
fn open(path: &Path) -> io::Result<(File, u64)> {
    // NONBLOCK: a pipe without a reader must not block the start.
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::CLOEXEC
        | OFlags::NONBLOCK;
    let opened = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR);
    let file = File::from(opened.map_err(|error| match error {
        rustix::io::Errno::LOOP => io::Error::other(
            "it is a symbolic link, which is not followed: give the path that it points to",
        ),
        error => error.into(),
    })?);
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    Ok((file, found.len()))
}

/// Makes room for a new file.
fn rotate(path: &Path, files: u32) -> io::Result<()> {
    if files < 2 {
        return fs::remove_file(path);
    }
    // Renaming replaces the oldest one. A missing file in between is not an error.
    for number in (1..files).rev() {
        let from = numbered(path, number - 1);
        match fs::rename(&from, numbered(path, number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
    }
    Ok(())
}

/// FILE, FILE.1, FILE.2 and so on.
fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    PathBuf::from(name)
}
