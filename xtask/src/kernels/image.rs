//! The initramfs: the test program, the few programs that it runs, the libraries of all of them, modules and
//! an init.
//!
//! Two cpio archives (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst: "newc", and
//! several may follow each other): what all kernels share is made once.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::archive::{self, Fetched};
use crate::build;
use testbed::debian;

/// What the tests run, and the shell that they run it with.
const PROGRAMS: [&str; 9] = [
    "dash", "ip", "tc", "nft", "ipvsadm", "ping", "seq", "sleep", "cat",
];
/// A veth pair, a bridge and a dummy device, what a filter of tc needs, nftables with translation, and conntrack's netlink. What a kernel has not as
/// a module it has built in.
const MODULES: [&str; 13] = [
    "veth",
    "bridge",
    "dummy",
    "sch_ingress",
    "cls_bpf",
    "nf_tables",
    "nft_ct",
    "nft_chain_nat",
    "nft_nat",
    "nft_counter",
    "nft_objref",
    "nft_numgen",
    "nf_conntrack_netlink",
];
/// What a test loads itself: that the kernel has IPVS changes how conntrack is read.
const IPVS: [&str; 2] = ["ip_vs", "ip_vs_rr"];

/// Before and after what the tests print.
pub(super) const BEGIN: &str = "@@BEGIN";
pub(super) const END: &str = "@@END";

/// What is the same for all kernels.
pub(super) struct Base {
    test: PathBuf,
    archive: Vec<u8>,
}

impl Base {
    pub fn new(test: &Path, busybox: &Path) -> Result<Base> {
        let mut cpio = Cpio::default();
        for directory in ["proc", "sys", "dev", "run", "tmp", "modules"] {
            cpio.directory(Path::new(directory));
        }
        cpio.file(Path::new("bin/busybox"), &read(busybox)?);
        let mut libraries = BTreeSet::new();
        for name in PROGRAMS {
            let path = debian::program(name)
                .with_context(|| format!("{name} is missing: `cargo xtask setup` installs it"))?;
            cpio.file(&Path::new("bin").join(name), &read(&path)?);
            libraries.append(&mut libraries_of(&path)?);
        }
        cpio.link(Path::new("bin/sh"), "dash");
        // The tests start the tracer from where it was built.
        let tracer = test
            .ancestors()
            .nth(2)
            .map(|target| target.join("tracer"))
            .context("the test program is not in a target directory")?;
        for program in [test, &tracer] {
            libraries.append(&mut libraries_of(program)?);
            cpio.file(inside(program), &without_debugging(program)?);
        }
        // The crate's root, where tests run.
        cpio.directory(inside(&build::root().join("tracer").canonicalize()?));
        for library in &libraries {
            cpio.file(inside(library), &read(library)?);
        }
        Ok(Base {
            test: test.to_owned(),
            archive: cpio.finish()?,
        })
    }

    /// The file for a kernel, that runs the tests with these arguments.
    pub fn with(&self, kernel: &Fetched, arguments: &[String]) -> Result<PathBuf> {
        let mut cpio = Cpio::default();
        let mut seen = BTreeSet::new();
        for (directory, names) in [("modules", &MODULES[..]), ("modules/ipvs", &IPVS)] {
            let modules = with_dependencies(&kernel.modules, names, &mut seen)?;
            for (number, (name, module)) in modules.iter().enumerate() {
                let file = format!("{number:02}-{name}.ko");
                cpio.file(&Path::new(directory).join(file), module);
            }
        }
        cpio.file(Path::new("init"), init(&self.test, arguments).as_bytes());
        let path = archive::directory().join(format!("initramfs-{}", kernel.release));
        let mut bytes = self.archive.clone();
        bytes.append(&mut cpio.finish()?);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// The first process. Arguments are names of tests and options, which need no quotes.
fn init(test: &Path, arguments: &[String]) -> String {
    format!(
        "#!/bin/busybox sh
for mount in 'proc proc' 'sysfs sys' 'devtmpfs dev' 'tmpfs run' 'tmpfs tmp' 'bpf sys/fs/bpf' \
    'cgroup2 sys/fs/cgroup'; do
    set -- $mount
    /bin/busybox mount -t $1 $1 /$2
done
for module in /modules/*.ko; do /bin/busybox insmod $module; done
export PATH=/bin
echo {BEGIN}
{} {}
echo {END} $?
/bin/busybox poweroff -f
",
        test.display(),
        arguments.join(" ")
    )
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A path of this machine as one below the archive's root.
fn inside(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// The program without what debuggers need, which is most of it; as it is where there is no strip.
fn without_debugging(program: &Path) -> Result<Vec<u8>> {
    let stripped = archive::directory().join("stripped");
    let done = Command::new("strip")
        .args(["--strip-debug", "-o"])
        .args([stripped.as_path(), program])
        .status();
    match done {
        Ok(status) if status.success() => read(&stripped),
        _ => read(program),
    }
}

/// The libraries that a program loads, as ldd prints them.
fn libraries_of(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .context("cannot run ldd")?;
    Ok(paths(&String::from_utf8_lossy(&output.stdout)))
}

fn paths(ldd: &str) -> BTreeSet<PathBuf> {
    ldd.split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

/// Those of the modules, and of what they depend on, that were not seen yet, in the order in which they can be loaded.
fn with_dependencies(
    directory: &Path,
    names: &[&str],
    seen: &mut BTreeSet<String>,
) -> Result<Vec<(String, Vec<u8>)>> {
    let mut ordered = Vec::new();
    for name in names {
        add(directory, name, seen, &mut ordered)?;
    }
    Ok(ordered)
}

fn add(
    directory: &Path,
    name: &str,
    seen: &mut BTreeSet<String>,
    ordered: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    if !seen.insert(name.to_owned()) {
        return Ok(());
    }
    let Some(module) = module(directory, name)? else {
        return Ok(());
    };
    for other in dependencies(&module) {
        add(directory, &other, seen, ordered)?;
    }
    ordered.push((name.to_owned(), module));
    Ok(())
}

/// The names of other modules in the entry `depends` of a module's information (include/linux/module.h).
fn dependencies(module: &[u8]) -> Vec<String> {
    let entry = module
        .split(|byte| *byte == 0)
        .find_map(|text| text.strip_prefix(b"depends="));
    let names = String::from_utf8_lossy(entry.unwrap_or_default());
    let names = names.split(',').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

/// A module of a kernel, unpacked; `None` where it has none of that name.
fn module(directory: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let file = entry.file_name();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if let Some(found) = module(&path, name)? {
                return Ok(Some(found));
            }
            continue;
        }
        // A module's name has underscores where its file's can have hyphens.
        let file = file.to_string_lossy().replace('-', "_");
        if file == format!("{name}.ko") {
            return read(&path).map(Some);
        } else if file == format!("{name}.ko.xz") {
            let output = Command::new("xz")
                .arg("-dc")
                .arg(&path)
                .output()
                .context("cannot run xz")?;
            ensure!(output.status.success(), "cannot unpack {}", path.display());
            return Ok(Some(output.stdout));
        }
    }
    Ok(None)
}

/// A cpio archive in the making.
#[derive(Default)]
struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
    directories: BTreeSet<PathBuf>,
}

impl Cpio {
    fn directory(&mut self, path: &Path) {
        let mut above: Vec<&Path> = path.ancestors().collect();
        above.reverse();
        for directory in above {
            if directory.as_os_str().is_empty() || !self.directories.insert(directory.to_owned()) {
                continue;
            }
            self.entry(directory, 0o040_755, &[]);
        }
    }

    fn put(&mut self, path: &Path, mode: u32, content: &[u8]) {
        if let Some(directory) = path.parent() {
            self.directory(directory);
        }
        self.entry(path, mode, content);
    }

    /// A file; that it can be run does no harm.
    fn file(&mut self, path: &Path, content: &[u8]) {
        self.put(path, 0o100_755, content);
    }

    fn link(&mut self, path: &Path, target: &str) {
        self.put(path, 0o120_777, target.as_bytes());
    }

    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) {
        self.entries += 1;
        let name = path.as_os_str().as_encoded_bytes();
        // ino, mode, uid, gid, nlink, mtime, size, device and rdevice, length of the name, checksum.
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let header = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            length(content),
            0,
            0,
            0,
            0,
            length(name) + 1,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in header {
            self.bytes.extend(format!("{field:08X}").bytes());
        }
        self.bytes.extend(name);
        self.bytes.push(0);
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> io::Result<Vec<u8>> {
        self.entry(Path::new("TRAILER!!!"), 0, &[]);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&self.bytes)?;
        gzip.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldds_lines_give_the_files() {
        let printed = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected = [
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(paths(printed), expected.map(PathBuf::from).into());
        assert!(paths("\tnot a dynamic executable\n").is_empty());
    }

    #[test]
    fn a_module_names_those_that_it_needs() {
        let module = b"\x7fELF\0license=GPL\0depends=nf_conntrack,nf_tables\0name=nft_ct\0";
        assert_eq!(dependencies(module), ["nf_conntrack", "nf_tables"]);
        assert!(dependencies(b"\x7fELF\0depends=\0").is_empty());
    }

    #[test]
    fn an_archive_is_one_that_cpio_would_take() {
        let mut cpio = Cpio::default();
        cpio.file(Path::new("a/b"), b"hello");
        assert_eq!(cpio.entries, 2, "the directory comes before its file");
        // 110 bytes of header, "a" and its zero, to a multiple of four.
        let file = &cpio.bytes[112..];
        assert!(file.starts_with(b"070701"));
        assert_eq!(&file[54..62], b"00000005", "the sixth field is the size");
        assert_eq!(&file[110..114], b"a/b\0");
        assert_eq!(&file[116..], b"hello\0\0\0");
    }

    #[test]
    fn the_init_says_where_the_tests_begin_and_how_they_ended() {
        let script = init(
            Path::new("/t/privileged"),
            &["--exact".to_owned(), "a::b".to_owned()],
        );
        let lines: Vec<&str> = script.lines().collect();
        let begin = lines.iter().position(|line| *line == "echo @@BEGIN");
        let begin = begin.expect("a beginning");
        assert_eq!(
            lines[begin + 1..begin + 3],
            ["/t/privileged --exact a::b", "echo @@END $?"]
        );
    }
}
