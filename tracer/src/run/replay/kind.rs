//! Whether a capture is a file or a pipe.

use std::path::Path;

/// Whether the packets of this capture arrive while it is read. Standard input can be a file, too.
#[cfg(unix)]
pub(super) fn is_pipe(path: &Path) -> bool {
    use rustix::fs::FileType;

    let stat = if path == Path::new("-") {
        rustix::fs::fstat(std::io::stdin())
    } else {
        rustix::fs::stat(path)
    };
    stat.is_ok_and(|stat| {
        matches!(
            FileType::from_raw_mode(stat.st_mode),
            FileType::Fifo | FileType::Socket
        )
    })
}

/// Treats standard input as a pipe. With a file on standard input, its old timestamps show that it is not
/// live.
#[cfg(not(unix))]
pub(super) fn is_pipe(path: &Path) -> bool {
    path == Path::new("-")
}
