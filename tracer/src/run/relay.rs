//! `tracer relay`: standard input and output are the agent's socket.
//!
//! What `kubectl exec` and the client start in the agent's pod. It copies bytes and understands none of them; it ends when
//! either side does.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result};

const BUFFER_BYTES: usize = 64 * 1024;

/// Copies both ways until one side ends.
pub fn relay(socket: &Path) -> Result<()> {
    let agent = UnixStream::connect(socket).with_context(|| {
        format!(
            "no agent answers on {}: does `tracer agent` run here, with the same --socket?",
            socket.display()
        )
    })?;
    // Standard output of the library keeps what is no whole line.
    let mut input = file(io::stdin())?;
    let mut output = file(io::stdout())?;
    let mut to_agent = agent.try_clone().context("cannot use the socket twice")?;
    let mut from_agent = agent;
    thread::Builder::new()
        .name("tracer-relay".to_owned())
        .spawn(move || {
            copy(&mut input, &mut to_agent);
            // Nobody will ask any more, and nobody wants to hear the rest.
            let _ = to_agent.shutdown(Shutdown::Both);
        })
        .context("cannot start a thread")?;
    copy(&mut from_agent, &mut output);
    Ok(())
}

/// Until either side ends: how is no matter, the two that talk notice.
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
        .context("cannot use standard input and output")?;
    Ok(File::from(own))
}
