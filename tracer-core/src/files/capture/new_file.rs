//! Creates the file of a recording, which other users must neither read nor redirect.
//!
//! A recording holds whole DNS messages, and root often writes it into a directory that is open to all. So
//! its mode is 0600, and neither it nor a file that it replaces is opened through a symbolic link.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;

/// How often a file is replaced that another process creates again and again.
const ATTEMPTS: u32 = 8;

/// Creates the file or replaces it. Pipes and devices are opened as they are.
pub fn create(path: &Path) -> io::Result<File> {
    let mut new = OpenOptions::new();
    // With `create_new` (O_EXCL) the kernel follows no symbolic link.
    new.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        new.mode(0o600);
    }
    for _ in 0..ATTEMPTS {
        match new.open(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            opened => return opened,
        }
        let found = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            found => found?,
        };
        if found.is_symlink() {
            return Err(io::Error::other(
                "it is a symbolic link, which recordings do not follow: give the path that it points to",
            ));
        }
        if found.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        if !found.is_file() {
            return existing(path, &found);
        }
        // Not truncated: its owner and its mode could let others read it.
        match fs::remove_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// Opens a pipe or device, unless it has become something else in the meantime.
fn existing(path: &Path, expected: &Metadata) -> io::Result<File> {
    let file = OpenOptions::new().write(true).open(path)?;
    if is_same(&file.metadata()?, expected) {
        Ok(file)
    } else {
        Err(io::Error::other("it was replaced while it was opened"))
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    one.file_type() == other.file_type()
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    }

    #[test]
    fn a_recording_is_readable_by_its_owner_only() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("new.pcapng");
        create(&path).expect("created");
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_symbolic_link_is_refused_and_its_target_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let target = directory.path().join("shadow");
        fs::write(&target, "precious").expect("written");
        let path = directory.path().join("trap.pcapng");
        for target in [&target, &directory.path().join("dangling")] {
            symlink(target, &path).expect("linked");
            let error = create(&path).expect_err("refused").to_string();
            assert!(error.contains("symbolic link"), "{error}");
            fs::remove_file(&path).expect("removed");
        }
        assert_eq!(fs::read_to_string(&target).expect("there"), "precious");
        assert!(!directory.path().join("dangling").exists());
    }

    #[test]
    fn an_existing_file_is_replaced_and_not_written_into() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("old.pcapng");
        fs::write(&path, "old").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("set");
        let link = directory.path().join("hard-link");
        fs::hard_link(&path, &link).expect("linked");
        create(&path)
            .expect("created")
            .write_all(b"new")
            .expect("written");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_to_string(&link).expect("there"), "old");
    }
}
