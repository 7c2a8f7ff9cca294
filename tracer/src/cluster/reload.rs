//! Reads the inventory file again when it changes.
//!
//! [`super::file_watch`] detects the change. An invalid file never replaces a valid inventory; it yields an
//! error.

use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;

use super::file_watch::FileWatch;
use tracer_core::files::inventory::{self, InventoryFileError, Loaded};

/// Poll interval. A change is noticed within two intervals.
pub const POLL_EVERY: Duration = Duration::from_secs(1);

/// An inventory file and its state when it was last read.
#[derive(Debug)]
pub struct InventoryFile(FileWatch);

impl InventoryFile {
    /// Reads the file for the first time.
    pub fn open(path: &Path) -> Result<(InventoryFile, Loaded), InventoryFileError> {
        let file = FileWatch::new(path);
        let loaded = inventory::load(path)?;
        Ok((InventoryFile(file), loaded))
    }

    /// Reads the file if it has changed ([`FileWatch::changed`]). A missing file is an error, once.
    pub fn poll(&mut self) -> Option<Result<Loaded, InventoryFileError>> {
        self.0.changed().then(|| inventory::load(self.0.path()))
    }

    /// Polls until the receiver is gone.
    pub async fn watch(
        mut self,
        every: Duration,
        loaded: mpsc::Sender<Result<Loaded, InventoryFileError>>,
    ) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = loaded.closed() => return,
            }
            // Reading and parsing a large file takes long enough to delay other tasks.
            let polled = tokio::task::spawn_blocking(move || {
                let read = self.poll();
                (self, read)
            });
            let Ok((file, read)) = polled.await else {
                return;
            };
            self = file;
            if let Some(read) = read
                && loaded.send(read).await.is_err()
            {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ONE: &str = "kind: List\nitems:\n- {kind: Namespace, metadata: {name: one}}\n";
    const MORE: &str = "kind: List\nitems:\n- {kind: Namespace, metadata: {name: another}}\n";

    fn names(
        read: Option<Result<Loaded, InventoryFileError>>,
    ) -> Option<Result<Vec<String>, String>> {
        read.map(|read| match read {
            Ok(loaded) => Ok(loaded
                .inventory
                .namespaces
                .iter()
                .map(|namespace| namespace.name.to_string())
                .collect()),
            Err(error) => Err(error.to_string()),
        })
    }

    #[test]
    fn an_unchanged_file_is_read_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("inventory.yaml");
        fs::write(&path, ONE).unwrap();
        let (mut file, loaded) = InventoryFile::open(&path).unwrap();
        assert_eq!(&*loaded.inventory.namespaces[0].name, "one");
        assert_eq!((names(file.poll()), names(file.poll())), (None, None));
    }

    #[test]
    fn a_file_written_in_place_is_read_once_it_stays_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("inventory.yaml");
        fs::write(&path, ONE).unwrap();
        let (mut file, _) = InventoryFile::open(&path).unwrap();
        fs::write(&path, &MORE[..20]).unwrap();
        assert_eq!(names(file.poll()), None, "it may still be written");
        fs::write(&path, MORE).unwrap();
        assert_eq!(names(file.poll()), None);
        assert_eq!(names(file.poll()), Some(Ok(vec!["another".into()])));
        assert_eq!(names(file.poll()), None);
    }

    #[test]
    fn a_file_replaced_by_rename_is_read_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("inventory.yaml");
        fs::write(&path, ONE).unwrap();
        let (mut file, _) = InventoryFile::open(&path).unwrap();
        let new = directory.path().join("new.yaml");
        fs::write(&new, MORE).unwrap();
        fs::rename(&new, &path).unwrap();
        assert_eq!(names(file.poll()), Some(Ok(vec!["another".into()])));
    }

    #[test]
    fn an_invalid_file_is_reported_once_and_its_correction_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("inventory.yaml");
        fs::write(&path, ONE).unwrap();
        let (mut file, _) = InventoryFile::open(&path).unwrap();
        let replace = |text: &str| {
            let new = directory.path().join("new.yaml");
            fs::write(&new, text).unwrap();
            fs::rename(&new, &path).unwrap();
        };
        replace("kind: List\nitems:\n- {kind: Pod}\n");
        let message = names(file.poll()).unwrap().unwrap_err();
        assert_eq!(
            message,
            format!(
                "inventory {}: object 1 (Pod, line 3): metadata.name is missing",
                path.display()
            )
        );
        assert_eq!(names(file.poll()), None);
        replace(MORE);
        assert_eq!(names(file.poll()), Some(Ok(vec!["another".into()])));
    }

    #[test]
    fn a_file_that_is_removed_is_reported_and_its_return_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("inventory.yaml");
        fs::write(&path, ONE).unwrap();
        let (mut file, _) = InventoryFile::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(names(file.poll()), None, "it may be about to return");
        let message = names(file.poll()).unwrap().unwrap_err();
        assert!(
            message.ends_with("No such file or directory (os error 2)"),
            "{message}"
        );
        assert_eq!(names(file.poll()), None);
        fs::write(&path, ONE).unwrap();
        assert_eq!(names(file.poll()), None);
        assert_eq!(names(file.poll()), Some(Ok(vec!["one".into()])));
    }

    #[tokio::test]
    async fn a_watch_sends_each_change_and_ends_with_its_receiver() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("inventory.yaml");
        fs::write(&path, ONE).unwrap();
        let (file, _) = InventoryFile::open(&path).unwrap();
        let (sender, mut loaded) = mpsc::channel(1);
        let watch = tokio::spawn(file.watch(Duration::from_millis(1), sender));
        for text in [MORE, ONE] {
            let new = directory.path().join("new.yaml");
            fs::write(&new, text).unwrap();
            fs::rename(&new, &path).unwrap();
            let read = loaded.recv().await.unwrap().unwrap();
            assert_eq!(read, inventory::parse(text).unwrap());
        }
        drop(loaded);
        watch.await.unwrap();
    }
}
