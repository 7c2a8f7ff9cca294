//! How the watches do: what is synced, what is stale and since when, what went wrong last.
//!
//! Written by the watches, read by whoever asks (status, readiness, metrics, the summary of a run). Also tells, once each,
//! what a person should know: trouble that begins and trouble that is over.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::trouble::Trouble;
use tracer_core::model::cluster::Kind;

/// So much news waits for somebody to read it; the oldest is dropped.
const MAX_NEWS: usize = 32;

/// How the watches do. Clones share one state.
#[derive(Clone, Debug)]
pub struct ClusterSync {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    kinds: Vec<KindReport>,
    server: String,
    /// The connection as a whole is in trouble, and that has been told.
    away: bool,
    news: VecDeque<News>,
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// It is a warning; otherwise something is well again.
    pub trouble: bool,
    /// In words.
    pub text: String,
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.trouble { "warning: " } else { "" };
        write!(f, "{kind}{}", self.text)
    }
}

/// How the watch of one kind does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindReport {
    /// Which kind.
    pub kind: Kind,
    /// It has been listed whole at least once.
    pub synced: bool,
    /// What is known of it is not kept up to date, since then.
    pub stale_since: Option<Timestamp>,
    /// The credentials do not allow to read it: the verb that is missing.
    pub refused: Option<&'static str>,
    /// The API has no such kind.
    pub absent: bool,
    /// How often it was listed again, because the watch could not go on where it was.
    pub relists: u64,
    /// How many objects could not be read, and were left out or stayed as they were.
    pub malformed: u64,
    /// What went wrong last; nothing is wrong any more where neither `stale_since` nor `refused` says so.
    pub last_error: Option<String>,
}

/// How all watches do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncReport {
    /// The API server; empty before the first request.
    pub server: String,
    /// Kind by kind.
    pub kinds: Vec<KindReport>,
}

impl SyncReport {
    /// Whether everything that can be had has been listed.
    pub fn is_synced(&self) -> bool {
        let mut kinds = self.kinds.iter();
        kinds.all(|kind| kind.synced || kind.absent || kind.refused.is_some())
    }

    /// Since when something is not kept up to date.
    pub fn stale_since(&self) -> Option<Timestamp> {
        self.kinds.iter().filter_map(|kind| kind.stale_since).min()
    }
}

impl fmt::Display for SyncReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resources = |fits: &dyn Fn(&KindReport) -> bool| {
            let kinds = self.kinds.iter().filter(|kind| fits(kind));
            let kinds: Vec<&str> = kinds.map(|kind| kind.kind.resource()).collect();
            kinds.join(", ")
        };
        let mut parts = Vec::new();
        if let Some(since) = self.stale_since() {
            let since = since.strftime("%Y-%m-%dT%H:%M:%SZ");
            let which = resources(&|kind| kind.stale_since.is_some());
            parts.push(format!("stale since {since}: {which}"));
        }
        for (said, which) in [
            (
                "not answered yet",
                resources(&|kind| !kind.synced && !kind.absent && kind.refused.is_none()),
            ),
            ("no permission", resources(&|kind| kind.refused.is_some())),
        ] {
            if !which.is_empty() {
                parts.push(format!("{said}: {which}"));
            }
        }
        if parts.is_empty() {
            f.write_str("up to date")
        } else {
            f.write_str(&parts.join("; "))
        }
    }
}

impl ClusterSync {
    /// Nothing has been answered yet.
    pub fn new(kinds: &[Kind]) -> ClusterSync {
        let kinds = kinds.iter().map(|kind| KindReport {
            kind: *kind,
            synced: false,
            stale_since: None,
            refused: None,
            absent: false,
            relists: 0,
            malformed: 0,
            last_error: None,
        });
        ClusterSync {
            state: Arc::new(Mutex::new(State {
                kinds: kinds.collect(),
                server: String::new(),
                away: false,
                news: VecDeque::new(),
            })),
        }
    }

    /// How they do now.
    pub fn report(&self) -> SyncReport {
        let state = self.lock();
        SyncReport {
            server: state.server.clone(),
            kinds: state.kinds.clone(),
        }
    }

    /// What happened since this was asked last that a person should know.
    pub fn news(&self) -> Vec<News> {
        self.lock().news.drain(..).collect()
    }

    /// The API server that is asked.
    pub(super) fn asks(&self, server: &str) {
        server.clone_into(&mut self.lock().server);
    }

    /// A watch was accepted: changes are told from now on.
    pub(super) fn watching(&self, kind: Kind) {
        self.lock().well(kind);
    }

    /// All objects of a kind were listed.
    pub(super) fn listed(&self, kind: Kind) {
        let mut state = self.lock();
        let Some(known) = state.kind(kind) else {
            return;
        };
        if known.synced {
            known.relists += 1;
        }
        known.synced = true;
        state.well(kind);
    }

    /// An object could not be read.
    pub(super) fn malformed(&self, kind: Kind, object: &str, why: &str) {
        let mut state = self.lock();
        let Some(known) = state.kind(kind) else {
            return;
        };
        known.malformed += 1;
        known.last_error = Some(format!("{object}: {why}"));
        if known.malformed == 1 {
            let resource = kind.resource();
            state.warn(format!(
                "one of the {resource}, {object}, cannot be read and is left out: {why}. Others like it are counted"
            ));
        }
    }

    /// The credentials could not be read again.
    pub(super) fn without_credentials(&self, why: &str) {
        let mut state = self.lock();
        state.warn(format!("{why}; the ones from before are used"));
    }

    /// A list or a watch failed.
    pub(super) fn failed(&self, kind: Kind, trouble: &Trouble) {
        let now = Timestamp::now();
        let mut state = self.lock();
        let server = state.server.clone();
        let Some(known) = state.kind(kind) else {
            return;
        };
        let resource = kind.resource();
        let (why, what_to_do) = match trouble {
            Trouble::Expired => {
                known.last_error = Some("the watch was too far behind (410 Gone)".to_owned());
                return;
            }
            Trouble::Absent => {
                known.absent = true;
                known.last_error = Some(format!("the API server has no {resource}"));
                return;
            }
            Trouble::Forbidden { verb, message } => {
                let told = known.refused.replace(verb).is_some();
                known.last_error = Some(message.clone());
                if !told {
                    state.warn(format!(
                        "{server} does not allow to {verb} {resource}, so they are not known: {message}. Allow \"list\" and \
                         \"watch\" of {resource} in a ClusterRole that is bound to this user"
                    ));
                }
                return;
            }
            Trouble::Unauthorized(why) => (
                format!("{server} does not accept the credentials: {why}"),
                ". They are read again",
            ),
            Trouble::Unreachable(why) => (format!("cannot reach {server}: {why}"), ""),
            Trouble::Failed(why) => (format!("{server} fails: {why} ({resource})"), ""),
        };
        if known.synced {
            known.stale_since.get_or_insert(now);
        }
        let synced = known.synced;
        known.last_error = Some(why.clone());
        if !state.away {
            state.away = true;
            let until_then = match synced {
                true => "names stay as they are",
                false => "names come later",
            };
            state.warn(format!("{why}{what_to_do}; until it answers, {until_then}"));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What a panic leaves behind is a report like any other.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn kind(&mut self, kind: Kind) -> Option<&mut KindReport> {
        self.kinds.iter_mut().find(|known| known.kind == kind)
    }

    /// Nothing is wrong with this kind.
    fn well(&mut self, kind: Kind) {
        let Some(known) = self.kind(kind) else {
            return;
        };
        known.refused = None;
        known.stale_since = None;
        let fine = |known: &KindReport| {
            known.stale_since.is_none() && (known.synced || known.absent || known.refused.is_some())
        };
        if self.away && self.kinds.iter().all(fine) {
            self.away = false;
            let server = self.server.clone();
            self.tell(News {
                trouble: false,
                text: format!("{server} answers again; names are up to date"),
            });
        }
    }

    fn warn(&mut self, text: String) {
        self.tell(News {
            trouble: true,
            text,
        });
    }

    fn tell(&mut self, news: News) {
        if self.news.len() >= MAX_NEWS {
            self.news.pop_front();
        }
        self.news.push_back(news);
    }
}
