//! An agent's `--config` and `--rules` files, read again when one of them changes.
//!
//! Owns when they are read again and the report about them. An error in one file changes nothing: the
//! settings of all files take effect together or not at all. The contents, and what they change, belong to
//! the caller.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::cluster::file_watch::FileWatch;
use crate::cluster::reload::POLL_EVERY;
use crate::config::{LiveSettings, Reload, Reread};

/// The state of the files.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SettingsReport {
    /// The files being watched.
    pub files: Vec<PathBuf>,
    /// When the settings in effect were read.
    pub read: jiff::Timestamp,
    /// Why the latest change was refused.
    pub failure: Option<String>,
    /// Changed options that take effect only after a restart.
    pub restart: Vec<String>,
}

/// The report, shared with the task that rereads the files.
#[derive(Clone, Debug)]
pub(super) struct Settings(Arc<Mutex<SettingsReport>>);

impl Settings {
    /// The current state of the files.
    pub(super) fn report(&self) -> SettingsReport {
        self.0.lock().clone()
    }

    /// Applies what was read, and updates the report.
    fn update(&self, result: Result<Reread, String>, apply: &impl Fn(LiveSettings)) -> Outcome {
        match result {
            Ok(Reread {
                live,
                restart,
                files,
            }) => {
                apply(live);
                let mut report = self.0.lock();
                report.read = jiff::Timestamp::now();
                report.failure = None;
                report.restart.clone_from(&restart);
                if report.files != files {
                    report.files.clone_from(&files);
                    return Outcome::OtherFiles(files);
                }
                Outcome::Applied(restart)
            }
            Err(why) => {
                let before = self.0.lock().failure.replace(why.clone());
                // The files of one ConfigMap may become due one after another.
                if before.as_ref() == Some(&why) {
                    return Outcome::StillRefused;
                }
                Outcome::Refused(why)
            }
        }
    }
}

/// The result of reading the files.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// The settings are in effect, but for these options, which need a restart.
    Applied(Vec<String>),
    /// The settings are in effect, and name other files to watch.
    OtherFiles(Vec<PathBuf>),
    /// Nothing changes, for this reason.
    Refused(String),
    /// Nothing changes, for the reason that was reported already.
    StillRefused,
}

/// Returns the report, and a future that rereads the files whenever one of them changes.
pub(super) fn follow(
    reload: Reload,
    apply: impl Fn(LiveSettings),
) -> (Settings, impl Future<Output = ()>) {
    let Reload { files, read } = reload;
    let settings = Settings(Arc::new(Mutex::new(SettingsReport {
        files: files.clone(),
        read: jiff::Timestamp::now(),
        failure: None,
        restart: Vec::new(),
    })));
    let report = settings.clone();
    let mut watches = watch(&files);
    let following = async move {
        // The agent read the files before they were watched: read them once more for a change in between.
        let mut pending = true;
        let mut first = true;
        let mut ticks = tokio::time::interval(POLL_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Ask every watch, because all files are about to be read.
            let changed: Vec<PathBuf> = watches
                .iter_mut()
                .filter_map(|watch| watch.changed().then(|| watch.path().to_owned()))
                .collect();
            if changed.is_empty() && !pending {
                continue;
            }
            // ConfigMaps are small and local, so reading them here does not delay other tasks.
            match report.update(read(), &apply) {
                Outcome::Applied(restart) => {
                    if !first || !restart.is_empty() {
                        log_reread(&changed, &restart);
                    }
                    pending = false;
                }
                Outcome::OtherFiles(files) => {
                    // Read them again once they are watched: they may have changed in between.
                    watches = watch(&files);
                    pending = true;
                }
                Outcome::Refused(why) => {
                    tracing::warn!("settings unchanged: {why}");
                    pending = false;
                }
                Outcome::StillRefused => pending = false,
            }
            first = false;
        }
    };
    (settings, following)
}

fn watch(files: &[PathBuf]) -> Vec<FileWatch> {
    files.iter().map(|file| FileWatch::new(file)).collect()
}

fn log_reread(changed: &[PathBuf], restart: &[String]) {
    let mut text = "settings reloaded".to_owned();
    for path in changed {
        let how = if path.exists() {
            "changed"
        } else {
            "was removed: its settings no longer apply"
        };
        text.push_str(&format!("; {} {how}", path.display()));
    }
    if restart.is_empty() {
        tracing::info!("{text}");
    } else {
        tracing::warn!("{text}; restart the agent to apply {}", restart.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    /// The values that were applied, in order. Waits long enough for a busy machine.
    struct Applied(mpsc::Receiver<bool>);

    impl Applied {
        async fn next(&self) -> bool {
            let mut found = None;
            until(|| {
                found = self.0.try_recv().ok();
                found.is_some()
            })
            .await;
            found.expect("a value")
        }
    }

    async fn until(mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !done() {
            assert!(Instant::now() < deadline, "not done within a minute");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn replace(path: &Path, text: &str) {
        let new = path.with_extension("new");
        fs::write(&new, text).expect("written");
        fs::rename(&new, path).expect("renamed");
    }

    /// A file with one word: whether each pod gets its own metrics. `more` after the word names a second
    /// file.
    fn reload(path: &Path, more: &Path) -> Reload {
        let (source, more) = (path.to_owned(), more.to_owned());
        Reload {
            files: vec![path.to_owned()],
            read: Box::new(move || {
                let text = fs::read_to_string(&source).map_err(|error| error.to_string())?;
                let (word, files) = match text.strip_suffix(" more") {
                    Some(word) => (word, vec![source.clone(), more.clone()]),
                    None => (text.as_str(), vec![source.clone()]),
                };
                let pods = match word {
                    "pods" => true,
                    "none" => false,
                    _ => return Err("line 1: no such option".to_owned()),
                };
                Ok(Reread {
                    live: LiveSettings {
                        metrics_pod_label: pods,
                        ..LiveSettings::default()
                    },
                    restart: vec!["history".to_owned()],
                    files,
                })
            }),
        }
    }

    #[tokio::test]
    async fn a_changed_file_is_applied_and_an_invalid_one_reported_and_ignored() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config.yaml");
        fs::write(&path, "none").expect("written");
        let (sender, receiver) = mpsc::channel();
        let (settings, following) = follow(reload(&path, &path), move |live| {
            let _ = sender.send(live.metrics_pod_label);
        });
        let applied = Applied(receiver);
        let task = tokio::spawn(following);
        // The files are read once when the watch starts.
        assert!(!applied.next().await);
        replace(&path, "pods");
        assert!(applied.next().await);
        let before = settings.report();
        assert_eq!(
            (before.failure, before.restart),
            (None, vec!["history".to_owned()])
        );
        replace(&path, "mistake");
        until(|| settings.report().failure.is_some()).await;
        let report = settings.report();
        assert_eq!(report.failure.as_deref(), Some("line 1: no such option"));
        assert_eq!(report.read, before.read);
        assert!(applied.0.try_recv().is_err(), "nothing was applied");
        replace(&path, "none");
        assert!(!applied.next().await);
        until(|| settings.report().failure.is_none()).await;
        task.abort();
    }

    #[tokio::test]
    async fn a_file_that_the_configuration_newly_names_is_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config.yaml");
        let more = directory.path().join("rules.yaml");
        fs::write(&path, "pods").expect("written");
        let (sender, receiver) = mpsc::channel();
        let (settings, following) = follow(reload(&path, &more), move |live| {
            let _ = sender.send(live.metrics_pod_label);
        });
        let applied = Applied(receiver);
        let task = tokio::spawn(following);
        assert!(applied.next().await);
        replace(&path, "none more");
        // Once for the change, once because the second file is now watched.
        assert!(!applied.next().await);
        assert!(!applied.next().await);
        assert_eq!(settings.report().files, [path.clone(), more.clone()]);
        fs::write(&more, "").expect("written");
        assert!(!applied.next().await);
        task.abort();
    }
}
