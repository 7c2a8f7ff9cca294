//! `tracer relay`: connects standard input and output to the agent's socket.
//!
//! The client starts it in the agent's pod through the exec API. It copies bytes without reading them, and
//! ends when either side does.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result};

const BUFFER_BYTES: usize = 64 * 1024;

/// Copies in both directions until one side ends.
pub fn relay(socket: &Path) -> Result<()> {
    let agent = UnixStream::connect(socket).with_context(|| {
        format!(
            "no agent answers on {}: check that `tracer agent` runs here with the same --socket",
            socket.display()
        )
    })?;
    // Files, because the standard library's stdout holds incomplete lines in a buffer.
    let mut input = file(io::stdin())?;
    let mut output = file(io::stdout())?;
    let mut to_agent = agent
        .try_clone()
        .context("cannot duplicate the socket's descriptor")?;
    let mut from_agent = agent;
    thread::Builder::new()
        .name("tracer-relay".to_owned())
        .spawn(move || {
            copy(&mut input, &mut to_agent);
            // The client is gone, so the rest of the answer is not needed.
            let _ = to_agent.shutdown(Shutdown::Both);
        })
        .context("cannot start the thread that copies to the agent")?;
    copy(&mut from_agent, &mut output);
    Ok(())
}

/// Copies until either side ends. An error counts as an end: client and agent notice it themselves.
fn copy(from: &mut impl Read, to: &mut impl Write) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        if to.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
}

fn file(stream: impl AsFd) -> Result<File> {
    let own = stream
        .as_fd()
        .try_clone_to_owned()
        .context("cannot duplicate the descriptors of standard input and output")?;
    Ok(File::from(own))
}
