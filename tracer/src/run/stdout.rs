//! Standard output as something that can go away: `tracer observe | head` ends when `head` does.

/// Whether the reader of standard output is gone: the end of a pipe, or the peer of a socket. Without this
/// check a program that waits for events would notice only with the next line, which may never come.
#[cfg(unix)]
pub(super) fn reader_gone() -> bool {
    unix::reader_gone(std::io::stdout())
}

/// Always false: only a failed write shows that the reader is gone.
#[cfg(not(unix))]
pub(super) fn reader_gone() -> bool {
    false
}

#[cfg(unix)]
mod unix {
    use std::os::fd::AsFd;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    pub(super) fn reader_gone(output: impl AsFd) -> bool {
        let mut fds = [PollFd::new(&output, PollFlags::empty())];
        let no_wait = Timespec::default();
        // An output that does not support poll counts as present; the next write detects the end.
        poll(&mut fds, Some(&no_wait)).is_ok_and(|ready| ready > 0)
            && fds[0]
                .revents()
                .intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL)
    }

    #[cfg(test)]
    mod tests {
        use std::io;

        use super::reader_gone;

        #[test]
        fn a_pipe_without_a_reader_is_detected_before_a_write() {
            let (reader, writer) = io::pipe().expect("a pipe");
            assert!(!reader_gone(&writer));
            drop(reader);
            assert!(reader_gone(&writer));
        }
    }
}
