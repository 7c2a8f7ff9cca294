//! What an image can be for, and what that means to compilers, linkers, registries and the ELF format.

use std::env;
use std::fmt;

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use oci_spec::image::Arch;

/// A platform of nodes, as registries name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Platform {
    /// x86-64
    #[value(name = "linux/amd64")]
    Amd64,
    /// 64-bit ARM
    #[value(name = "linux/arm64")]
    Arm64,
}

impl Platform {
    /// This machine's.
    pub fn host() -> Result<Platform> {
        match env::consts::ARCH {
            "x86_64" => Ok(Platform::Amd64),
            "aarch64" => Ok(Platform::Arm64),
            other => bail!(
                "there are no images for {other}, which this machine is; --platform says for which they are to be made"
            ),
        }
    }

    /// How the architecture is called in images.
    pub fn arch(self) -> Arch {
        match self {
            Platform::Amd64 => Arch::Amd64,
            Platform::Arm64 => Arch::ARM64,
        }
    }

    /// The compiler's target. glibc can be linked in (`crt-static`), so no musl target is needed.
    pub(super) fn target(self) -> &'static str {
        match self {
            Platform::Amd64 => "x86_64-unknown-linux-gnu",
            Platform::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The C compiler that links for it on a machine of another architecture, by the name that the `cc` crate
    /// expects too.
    pub(super) fn linker(self) -> &'static str {
        match self {
            Platform::Amd64 => "x86_64-linux-gnu-gcc",
            Platform::Arm64 => "aarch64-linux-gnu-gcc",
        }
    }

    /// Debian's packages with that linker and with the static C library.
    pub(super) fn packages(self) -> [&'static str; 2] {
        match self {
            Platform::Amd64 => ["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"],
            Platform::Arm64 => ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
        }
    }

    /// What a program is for. It must be a static one: an empty image has no loader and no libraries, so a
    /// program that asks for an interpreter cannot start there.
    pub(super) fn of_static(program: &[u8]) -> Result<Platform> {
        const PT_INTERP: u32 = 3;
        let number = |at: usize, bytes: usize| -> Result<u64> {
            let field = at
                .checked_add(bytes)
                .and_then(|end| program.get(at..end))
                .context("it is cut off")?;
            Ok(field
                .iter()
                .rev()
                .fold(0, |number, byte| number << 8 | u64::from(*byte)))
        };
        // 64 bits, little-endian: what the images are for (System V ABI, chapter 4).
        ensure!(
            program.starts_with(b"\x7fELF\x02\x01"),
            "it is no 64-bit ELF program"
        );
        let platform = match number(18, 2)? {
            62 => Platform::Amd64,
            183 => Platform::Arm64,
            machine => bail!("it is for ELF machine {machine}, not for x86-64 (62) or ARM64 (183)"),
        };
        let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        for index in 0..count {
            let at = usize::try_from(table.saturating_add(index * size))?;
            ensure!(
                number(at, 4)? != u64::from(PT_INTERP),
                "it is linked dynamically; build it with -C target-feature=+crt-static"
            );
        }
        Ok(platform)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Platform::Amd64 => "linux/amd64",
            Platform::Arm64 => "linux/arm64",
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use super::*;

    /// The smallest that counts as a static program: a header without segments, and something behind it.
    pub(in super::super) fn program(machine: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = vec![0; 64];
        header[..6].copy_from_slice(b"\x7fELF\x02\x01");
        header[18] = machine;
        header.extend_from_slice(rest);
        header
    }

    #[test]
    fn a_program_that_needs_a_loader_is_refused() {
        let own = fs::read(env::current_exe().expect("this program")).expect("it can be read");
        let error = Platform::of_static(&own).expect_err("tests are linked dynamically");
        assert!(error.to_string().contains("crt-static"), "{error:#}");
        assert!(Platform::of_static(&own[..100]).is_err());
        assert!(Platform::of_static(b"#!/bin/sh\n").is_err());
    }

    #[test]
    fn a_programs_header_says_what_it_is_for() {
        let platform = |machine| Platform::of_static(&program(machine, b"")).ok();
        // EM_X86_64 and EM_AARCH64, and EM_RISCV, for which there is no image.
        assert_eq!(platform(62), Some(Platform::Amd64));
        assert_eq!(platform(183), Some(Platform::Arm64));
        assert_eq!(platform(243), None);
    }
}
