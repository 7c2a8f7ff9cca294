//! Files of settings, read again when one of them changes: `--config` and `--rules` of an agent.
//!
//! Owns when they are read again, that a mistake in one of them changes nothing, and how they stand for those who ask. What
//! is in them and what it changes comes from outside. A change counts as a whole: what two files say holds together or not
//! at all.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cluster::file_watch::FileWatch;
use crate::cluster::reload::POLL_EVERY;
use crate::config::{LiveSettings, Reload, Reread};

/// How the files stand.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Report {
    /// Which.
    pub files: Vec<PathBuf>,
    /// When the settings that hold were read.
    pub read: jiff::Timestamp,
    /// Why the latest change does not hold.
    pub failure: Option<String>,
    /// Options that have changed and take effect with the next start.
    pub restart: Vec<String>,
}

/// The report where both sides reach it.
#[derive(Clone, Debug)]
pub(super) struct Settings(Arc<Mutex<Report>>);

impl Settings {
    /// How the files stand now.
    pub(super) fn report(&self) -> Report {
        self.lock().clone()
    }

    /// A panic elsewhere while it was locked leaves a report that is whole.
    fn lock(&self) -> MutexGuard<'_, Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over how reading went. The files to watch from now on, where they are other ones.
    fn read(&self, result: Result<Reread, String>, apply: &impl Fn(LiveSettings)) -> Change {
        match result {
            Ok(Reread {
                live,
                restart,
                files,
            }) => {
                apply(live);
                let mut report = self.lock();
                report.read = jiff::Timestamp::now();
                report.failure = None;
                report.restart.clone_from(&restart);
                if report.files != files {
                    report.files.clone_from(&files);
                    return Change::OtherFiles(files);
                }
                Change::Applied(restart)
            }
            Err(why) => {
                self.lock().failure = Some(why.clone());
                Change::Refused(why)
            }
        }
    }
}

/// What came of reading.
#[derive(Debug, PartialEq)]
enum Change {
    /// What they say holds; the options that need a restart.
    Applied(Vec<String>),
    /// It holds, and other files are to be watched.
    OtherFiles(Vec<PathBuf>),
    /// Nothing changes.
    Refused(String),
}

/// The report, and what rereads the files whenever one changes, for as long as it is polled.
pub(super) fn follow(
    reload: Reload,
    apply: impl Fn(LiveSettings),
) -> (Settings, impl Future<Output = ()>) {
    let Reload { files, read } = reload;
    let settings = Settings(Arc::new(Mutex::new(Report {
        files: files.clone(),
        read: jiff::Timestamp::now(),
        failure: None,
        restart: Vec::new(),
    })));
    let report = settings.clone();
    let mut watches = watch(&files);
    let following = async move {
        // They were read before they were watched, so what changed in between is read now, and told if it is bad.
        let mut pending = true;
        let mut first = true;
        let mut ticks = tokio::time::interval(POLL_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // All of them: what changed is taken as read.
            let changed: Vec<PathBuf> = watches
                .iter_mut()
                .filter_map(|watch| watch.changed().then(|| watch.path().to_owned()))
                .collect();
            if changed.is_empty() && !pending {
                continue;
            }
            // ConfigMaps are small and on this machine: reading them holds nobody up.
            match report.read(read(), &apply) {
                Change::Applied(restart) => {
                    if !first || !restart.is_empty() {
                        tell(&changed, &restart);
                    }
                    pending = false;
                }
                Change::OtherFiles(files) => {
                    // Read again once they are watched, or what changes between the two would be missed.
                    watches = watch(&files);
                    pending = true;
                }
                Change::Refused(why) => {
                    tracing::warn!("the settings stay as they were: {why}");
                    pending = false;
                }
            }
            first = false;
        }
    };
    (settings, following)
}

fn watch(files: &[PathBuf]) -> Vec<FileWatch> {
    files.iter().map(|file| FileWatch::new(file)).collect()
}

/// Says what was read again.
fn tell(changed: &[PathBuf], restart: &[String]) {
    let mut text = "the settings were read again".to_owned();
    for path in changed {
        let how = if path.exists() {
            "changed"
        } else {
            "is not there any more: what it said does not hold"
        };
        text.push_str(&format!("; {} {how}", path.display()));
    }
    if restart.is_empty() {
        tracing::info!("{text}");
    } else {
        tracing::warn!("{text}; a restart is needed for {}", restart.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    /// What a closure read, one after the other, without a deadline that a busy machine could miss by little.
    struct Applied(mpsc::Receiver<bool>);

    impl Applied {
        async fn next(&self) -> bool {
            let mut found = None;
            until(|| {
                found = self.0.try_recv().ok();
                found.is_some()
            })
            .await;
            found.expect("it was waited for")
        }
    }

    async fn until(mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !done() {
            assert!(Instant::now() < deadline, "it did not happen in a minute");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn replace(path: &Path, text: &str) {
        let new = path.with_extension("new");
        fs::write(&new, text).expect("written");
        fs::rename(&new, path).expect("renamed");
    }

    /// A file of one word: whether pods have metrics of their own. `more` after it names a second file.
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
    async fn a_changed_file_is_applied_and_a_bad_one_is_told_and_changes_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config.yaml");
        fs::write(&path, "none").expect("written");
        let (applied, told) = mpsc::channel();
        let (settings, following) = follow(reload(&path, &path), move |live| {
            let _ = applied.send(live.metrics_pod_label);
        });
        let told = Applied(told);
        let task = tokio::spawn(following);
        // What changed between the agent's first reading and the watch is not missed.
        assert!(!told.next().await);
        replace(&path, "pods");
        assert!(told.next().await);
        let held = settings.report();
        assert_eq!(
            (held.failure, held.restart),
            (None, vec!["history".to_owned()])
        );
        replace(&path, "mistake");
        until(|| settings.report().failure.is_some()).await;
        let report = settings.report();
        assert_eq!(report.failure.as_deref(), Some("line 1: no such option"));
        assert_eq!(report.read, held.read);
        assert!(told.0.try_recv().is_err(), "nothing was applied");
        replace(&path, "none");
        assert!(!told.next().await);
        until(|| settings.report().failure.is_none()).await;
        task.abort();
    }

    #[tokio::test]
    async fn a_file_that_the_configuration_names_only_now_is_followed_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config.yaml");
        let more = directory.path().join("rules.yaml");
        fs::write(&path, "pods").expect("written");
        let (applied, told) = mpsc::channel();
        let (settings, following) = follow(reload(&path, &more), move |live| {
            let _ = applied.send(live.metrics_pod_label);
        });
        let told = Applied(told);
        let task = tokio::spawn(following);
        assert!(told.next().await);
        replace(&path, "none more");
        // Once because it changed, once because the other file is watched from now on.
        assert!(!told.next().await);
        assert!(!told.next().await);
        assert_eq!(settings.report().files, [path.clone(), more.clone()]);
        fs::write(&more, "").expect("written");
        assert!(!told.next().await);
        task.abort();
    }
}
