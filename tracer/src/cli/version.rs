//! `tracer version`.

use std::io::Write;

use super::Exit;

/// Prints the version, and the sources and tools it was built from.
pub(super) fn print(out: &mut impl Write) -> anyhow::Result<Exit> {
    let or_unknown = |known: Option<&'static str>| known.unwrap_or("not recorded at build time");
    writeln!(out, "tracer         {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(
        out,
        "commit         {}",
        or_unknown(option_env!("TRACER_GIT_COMMIT"))
    )?;
    #[cfg(agent)]
    writeln!(out, "eBPF toolchain {}", crate::capture::live::TOOLCHAIN)?;
    writeln!(out, "record layout  {}", tracer_common::LAYOUT_VERSION)?;
    Ok(Exit::Fine)
}
