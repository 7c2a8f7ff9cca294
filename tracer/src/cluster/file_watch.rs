//! Whether a file changed, by polling: one that comes as a ConfigMap (a symlink that is swapped), over NFS or by rename changes
//! in ways that inotify does not tell alike.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

/// A file and the state in which it was read last.
#[derive(Clone, Debug)]
pub struct FileWatch {
    path: PathBuf,
    /// The state that was read, good or bad; `None` where there was no file.
    read: Option<Stamp>,
    /// The state that the latest poll found.
    seen: Option<Stamp>,
}

impl FileWatch {
    /// Of a file that is read right after this: what changes meanwhile is read again.
    pub fn new(path: &Path) -> FileWatch {
        let stamp = Stamp::of(path);
        FileWatch {
            path: path.to_owned(),
            read: stamp,
            seen: stamp,
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is to be read again, which is then taken as done. A file that was replaced by rename is so at once; one
    /// that is written in place once it stays the same from one poll to the next, and so is one that is gone.
    pub fn changed(&mut self) -> bool {
        let now = Stamp::of(&self.path);
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
    fn a_config_map_that_is_swapped_is_read_at_once() {
        // As the kubelet does it: a file in a directory behind the symlink `..data`, and another one in its place.
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
