//! A file of settings, given by its name or by its directory.
//!
//! A ConfigMap that is optional is an empty directory where there is none: so of a directory the file in it may be missing,
//! which says nothing, while a file that was given by its own name must be there. Owns that difference and the bound of
//! the size; what is in the file is for those who read it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// A ConfigMap holds 1 MiB at most.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// Where settings are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SettingsFile {
    path: PathBuf,
    may_be_missing: bool,
}

/// Why a file of settings cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum SettingsError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} has more than {MAX_BYTES} bytes, which settings have at most: is it the inventory?", path.display())]
    TooLarge { path: PathBuf },
}

impl SettingsFile {
    /// The file itself, or the one of that name in a directory.
    pub(super) fn of(given: &Path, name: &str) -> SettingsFile {
        let may_be_missing = given.is_dir();
        let path = match may_be_missing {
            true => given.join(name),
            false => given.to_owned(),
        };
        SettingsFile {
            path,
            may_be_missing,
        }
    }

    /// Where it is, or would be.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What it says; nothing where it may be missing and is.
    pub(super) fn read(&self) -> Result<Option<String>, SettingsError> {
        let missing =
            |error: &io::Error| self.may_be_missing && error.kind() == io::ErrorKind::NotFound;
        let failed = |source| SettingsError::Read {
            path: self.path.clone(),
            source,
        };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if missing(&error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut text = String::new();
        // Limited while reading: the size that stat tells is nothing to rely on (a device, a pipe, a file that grows).
        let read = file.take(MAX_BYTES + 1).read_to_string(&mut text);
        if read.map_err(failed)? as u64 > MAX_BYTES {
            return Err(SettingsError::TooLarge {
                path: self.path.clone(),
            });
        }
        Ok(Some(text))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{MAX_BYTES, SettingsFile};

    #[test]
    fn a_file_must_be_there_and_one_in_a_directory_need_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let read = |given: &Path| {
            let read = SettingsFile::of(given, "rules.yaml").read();
            read.map_err(|error| error.to_string())
        };
        let by_name = directory.path().join("rules.yaml");
        let error = read(&by_name).expect_err("it is not there");
        assert!(
            error.contains("/rules.yaml: No such file or directory"),
            "{error}"
        );
        assert_eq!(read(directory.path()), Ok(None));
        fs::write(&by_name, "silence: []\n").expect("written");
        for given in [by_name.as_path(), directory.path()] {
            assert_eq!(read(given), Ok(Some("silence: []\n".to_owned())));
        }
    }

    #[test]
    fn what_is_too_large_to_be_settings_is_not_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("rules.yaml");
        let file = fs::File::create(&path).expect("made");
        file.set_len(MAX_BYTES + 1).expect("grown");
        // Of a device stat tells no size, and it has no end.
        for path in [path.as_path(), Path::new("/dev/zero")] {
            let error = SettingsFile::of(path, "rules.yaml").read();
            let error = error.expect_err("too large").to_string();
            assert!(error.contains("is it the inventory?"), "{error}");
        }
    }
}
