//! Standard output as something that can go away: `tracer observe | head` ends when `head` does.

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Whether the reader of a pipe or the peer of a socket is gone. A program that waits for events would otherwise learn it
/// only with the next line, which may never come.
pub(super) fn reader_gone(output: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&output, PollFlags::empty())];
    let at_once = Timespec::default();
    // An output that cannot be polled is not gone; the next write will tell.
    poll(&mut fds, Some(&at_once)).is_ok_and(|ready| ready > 0)
        && fds[0]
            .revents()
            .intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::reader_gone;

    #[test]
    fn a_pipe_without_a_reader_is_noticed_before_anything_is_written() {
        let (reader, writer) = io::pipe().expect("a pipe");
        assert!(!reader_gone(&writer));
        drop(reader);
        assert!(reader_gone(&writer));
    }
}
