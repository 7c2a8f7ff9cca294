//! A file of settings, given by its name or by its directory.
//!
//! An optional ConfigMap that does not exist is mounted as an empty directory. So a file in a given directory
//! may be missing, which counts as empty; a file given by its own name must exist. Owns that difference, the
//! size limit and how a YAML error is described. The callers own the contents.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use tracer_core::model::printable::without_long_words;

/// The size limit of a ConfigMap.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// A file of settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SettingsFile {
    path: PathBuf,
    may_be_missing: bool,
}

/// Why a file of settings cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SettingsError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is larger than {MAX_BYTES} bytes, the limit for settings: is it the inventory?", path.display())]
    TooLarge { path: PathBuf },
}

impl SettingsFile {
    /// The given file, or the file `name` in the given directory.
    pub(super) fn new(given: &Path, name: &str) -> SettingsFile {
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

    /// The path, whether or not the file exists.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file's text; `None` if it is missing and may be.
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
        // Limits the read itself: the size in stat is wrong for a device, a pipe or a growing file.
        let read = file.take(MAX_BYTES + 1).read_to_string(&mut text);
        if read.map_err(failed)? as u64 > MAX_BYTES {
            return Err(SettingsError::TooLarge {
                path: self.path.clone(),
            });
        }
        Ok(Some(text))
    }
}

/// Whether a text has only empty lines and comments. YAML parses that as null, not as an empty mapping.
pub(super) fn is_blank(text: &str) -> bool {
    text.lines()
        .map(str::trim)
        .all(|line| line.is_empty() || line.starts_with('#'))
}

/// The line of a YAML error, and its message without the position and the excerpt.
pub(super) fn describe(error: &serde_saphyr::Error) -> (Option<u64>, String) {
    let mut message = without_long_words(&error.without_snippet().to_string());
    let Some(at) = error.location() else {
        return (None, message);
    };
    let position = format!(" at line {}, column {}", at.line(), at.column());
    message = message.replace(&position, "");
    (Some(at.line()), message)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{MAX_BYTES, SettingsFile};

    #[test]
    fn a_named_file_must_exist_and_a_file_in_a_given_directory_may_be_missing() {
        let directory = tempfile::tempdir().expect("a directory");
        let read = |given: &Path| {
            let read = SettingsFile::new(given, "rules.yaml").read();
            read.map_err(|error| error.to_string())
        };
        let by_name = directory.path().join("rules.yaml");
        let error = read(&by_name).expect_err("a missing file");
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
    fn a_file_above_the_size_limit_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("rules.yaml");
        let file = fs::File::create(&path).expect("created");
        file.set_len(MAX_BYTES + 1).expect("grown");
        // stat has no size for a device, and this one never ends.
        for path in [path.as_path(), Path::new("/dev/zero")] {
            let error = SettingsFile::new(path, "rules.yaml").read();
            let error = error.expect_err("too large").to_string();
            assert!(error.contains("is it the inventory?"), "{error}");
        }
    }
}
