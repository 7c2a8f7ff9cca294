//! The watches' state: which kinds are synced, which are stale and since when, and each kind's last error.
//!
//! The watches write it; status, readiness, metrics and the summary of a run read it. It also queues notices
//! for the user: one when trouble starts, and one when it is over.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::trouble::Trouble;
use tracer_core::model::cluster::Kind;

/// Notices in the queue; the oldest is dropped to make room.
const MAX_NOTICES: usize = 32;

/// The watches' state. Clones share it.
#[derive(Clone, Debug)]
pub struct ClusterSync {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    kinds: Vec<KindReport>,
    server: String,
    /// The connection as a whole is in trouble, and a notice about it has been queued.
    away: bool,
    notices: VecDeque<Notice>,
}

/// A notice for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Trouble has started; otherwise it is over.
    pub trouble: bool,
    /// The message.
    pub text: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.trouble { "warning: " } else { "" };
        write!(f, "{prefix}{}", self.text)
    }
}

/// The state of one kind's watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindReport {
    /// The kind.
    pub kind: Kind,
    /// It has been listed completely at least once.
    pub synced: bool,
    /// Since when its objects are not kept up to date.
    pub stale_since: Option<Timestamp>,
    /// The verb that the credentials do not permit.
    pub refused: Option<&'static str>,
    /// The API has no such kind.
    pub absent: bool,
    /// How often it was listed again because the watch could not resume.
    pub relists: u64,
    /// Objects that could not be read. A new one is left out; a known one keeps its previous state.
    pub malformed: u64,
    /// The last error. It is over unless `stale_since` or `refused` is set.
    pub last_error: Option<String>,
}

/// The state of all watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncReport {
    /// The API server; empty before the first request.
    pub server: String,
    /// The state by kind.
    pub kinds: Vec<KindReport>,
}

impl SyncReport {
    /// Whether every available kind has been listed.
    pub fn is_synced(&self) -> bool {
        let mut kinds = self.kinds.iter();
        kinds.all(|kind| kind.synced || kind.absent || kind.refused.is_some())
    }

    /// Since when some kind is not kept up to date.
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
        for (label, which) in [
            (
                "not answered yet",
                resources(&|kind| !kind.synced && !kind.absent && kind.refused.is_none()),
            ),
            ("no permission", resources(&|kind| kind.refused.is_some())),
        ] {
            if !which.is_empty() {
                parts.push(format!("{label}: {which}"));
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
    /// The state before the first response.
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
                notices: VecDeque::new(),
            })),
        }
    }

    /// The current state.
    pub fn report(&self) -> SyncReport {
        let state = self.state.lock();
        SyncReport {
            server: state.server.clone(),
            kinds: state.kinds.clone(),
        }
    }

    /// Takes the notices that were queued since the last call.
    pub fn notices(&self) -> Vec<Notice> {
        self.state.lock().notices.drain(..).collect()
    }

    /// Sets the API server's address.
    pub(super) fn set_server(&self, server: &str) {
        server.clone_into(&mut self.state.lock().server);
    }

    /// The server accepted a watch, so changes of this kind arrive from now on.
    pub(super) fn watching(&self, kind: Kind) {
        self.state.lock().recovered(kind);
    }

    /// All objects of a kind have been listed.
    pub(super) fn listed(&self, kind: Kind) {
        let mut state = self.state.lock();
        let Some(known) = state.kind(kind) else {
            return;
        };
        if known.synced {
            known.relists += 1;
        }
        known.synced = true;
        state.recovered(kind);
    }

    /// An object cannot be read.
    pub(super) fn malformed(&self, kind: Kind, object: &str, why: &str) {
        let mut state = self.state.lock();
        let Some(known) = state.kind(kind) else {
            return;
        };
        known.malformed += 1;
        known.last_error = Some(format!("{object}: {why}"));
        if known.malformed == 1 {
            let resource = kind.resource();
            state.warn(format!(
                "cannot read {object}, one of the {resource}, so it is left out: {why}. Further ones are counted, not reported"
            ));
        }
    }

    /// The credentials cannot be read again.
    pub(super) fn without_credentials(&self, why: &str) {
        let mut state = self.state.lock();
        state.warn(format!("{why}; the previous credentials stay in use"));
    }

    /// A list or a watch failed.
    pub(super) fn failed(&self, kind: Kind, trouble: &Trouble) {
        let now = Timestamp::now();
        let mut state = self.state.lock();
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
                let reported = known.refused.replace(verb).is_some();
                known.last_error = Some(message.clone());
                if !reported {
                    state.warn(format!(
                        "{server} does not allow this user to {verb} {resource}, so they stay unknown: {message}. Grant \
                         \"list\" and \"watch\" on {resource} in a ClusterRole that is bound to the user"
                    ));
                }
                return;
            }
            Trouble::Unauthorized(why) => (
                format!("{server} does not accept the credentials: {why}"),
                ". They will be read again",
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
}

impl State {
    fn kind(&mut self, kind: Kind) -> Option<&mut KindReport> {
        self.kinds.iter_mut().find(|known| known.kind == kind)
    }

    /// This kind is readable and up to date again.
    fn recovered(&mut self, kind: Kind) {
        let Some(known) = self.kind(kind) else {
            return;
        };
        known.refused = None;
        known.stale_since = None;
        let healthy = |known: &KindReport| {
            known.stale_since.is_none() && (known.synced || known.absent || known.refused.is_some())
        };
        if self.away && self.kinds.iter().all(healthy) {
            self.away = false;
            let server = self.server.clone();
            self.notify(Notice {
                trouble: false,
                text: format!("{server} answers again; names are up to date"),
            });
        }
    }

    fn warn(&mut self, text: String) {
        self.notify(Notice {
            trouble: true,
            text,
        });
    }

    fn notify(&mut self, notice: Notice) {
        if self.notices.len() >= MAX_NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back(notice);
    }
}
