//! Detects that a file has changed, by polling. inotify does not work alike for a ConfigMap (a swapped
//! symlink), NFS and a rename.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The attributes that distinguish two states of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn read(path: &Path) -> Option<Stamp> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

/// A file, its state when it was last read, and its state at the last poll.
#[derive(Clone, Debug)]
pub struct FileWatch {
    path: PathBuf,
    /// The state when the file was last read, valid or not; `None` if there was no file.
    read: Option<Stamp>,
    /// The state at the last poll.
    seen: Option<Stamp>,
}

impl FileWatch {
    /// Call this before reading the file for the first time, so that a change during the reading is detected.
    pub fn new(path: &Path) -> FileWatch {
        let stamp = Stamp::read(path);
        FileWatch {
            path: path.to_owned(),
            read: stamp,
            seen: stamp,
        }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the caller must read the file again; takes it as read from then on. A file replaced by rename
    /// is due at once. A file written in place, or removed, is due once two polls find the same state.
    pub fn changed(&mut self) -> bool {
        let now = Stamp::read(&self.path);
        let before = std::mem::replace(&mut self.seen, now);
        if now == self.read {
            return false;
        }
        let replaced = match (now, self.read) {
            (Some(now), Some(read)) => (now.device, now.inode) != (read.device, read.inode),
            _ => false,
        };
        if !replaced && now != before {
            return false;
        }
        self.read = now;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::FileWatch;

    #[test]
    fn a_swapped_config_map_is_read_at_once() {
        // As the kubelet does it: the file is in a directory behind the symlink `..data`, which a rename
        // replaces.
        let mount = tempfile::tempdir().expect("a directory");
        let version = |name: &str, text: &str| {
            let directory = mount.path().join(name);
            fs::create_dir(&directory).expect("made");
            fs::write(directory.join("config.yaml"), text).expect("written");
            let link = mount.path().join("..data_tmp");
            symlink(name, &link).expect("linked");
            fs::rename(link, mount.path().join("..data")).expect("swapped");
        };
        version("..2026_01", "history: 1\n");
        let path = mount.path().join("config.yaml");
        symlink("..data/config.yaml", &path).expect("linked");
        let mut watch = FileWatch::new(&path);
        assert!(!watch.changed());
        version("..2026_02", "history: 2\n");
        assert!(watch.changed());
        assert_eq!(fs::read_to_string(&path).expect("read"), "history: 2\n");
        assert!(!watch.changed());
    }
}
