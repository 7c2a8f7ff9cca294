//! Where the names of pods and Services come from: an inventory file, the cluster's API server, or nowhere.
//!
//! Owns the watches of the cluster, and reports how current the names are.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use tokio::sync::mpsc;

use crate::cluster::watch::{SyncReport, WatchConfig, Watches};
use crate::config::ObserveConfig;
use crate::run::notice::Notices;
use tracer_core::identity::Index;
use tracer_core::model::cluster::ClusterChange;
use tracer_core::model::time::Timestamp;

/// Where names come from.
pub(in crate::run) enum IdentitySource {
    /// An inventory file, read last at this time.
    Inventory(PathBuf, jiff::Timestamp),
    /// A cluster, whose changes arrive in the channel given to [`IdentitySource::start`].
    Cluster(Watches),
    /// Nowhere: pods are shown by address.
    None,
}

/// How current the names are.
pub(in crate::run) struct IdentityState {
    /// A description of the source and its state.
    pub(in crate::run) source: String,
    /// Everything is known and kept up to date.
    pub(in crate::run) fresh: bool,
    /// When the names were last known to be right.
    pub(in crate::run) as_of: Option<jiff::Timestamp>,
}

impl IdentitySource {
    /// Starts the watches of the cluster, where there is one.
    pub(super) fn start(
        config: &ObserveConfig,
        changes: mpsc::Sender<ClusterChange>,
    ) -> Result<IdentitySource> {
        if let Some(cluster) = &config.cluster {
            let watch = WatchConfig {
                source: cluster.source.clone(),
                remote: cluster.remote,
                node: Arc::clone(&config.node),
            };
            return Ok(IdentitySource::Cluster(Watches::spawn(watch, changes)?));
        }
        Ok(match &config.inventory {
            Some(path) => IdentitySource::Inventory(path.clone(), jiff::Timestamp::now()),
            None => IdentitySource::None,
        })
    }

    /// The inventory file was read again.
    pub(super) fn reloaded(&mut self) {
        if let IdentitySource::Inventory(_, read) = self {
            *read = jiff::Timestamp::now();
        }
    }

    /// Reports what has happened to the watches since the last call.
    pub(super) fn give_notices(&self, notices: Notices) {
        if let IdentitySource::Cluster(watches) = self {
            for notice in watches.sync().notices() {
                match notice.trouble {
                    true => notices.warn(&notice.text),
                    false => notices.progress(&notice.text),
                }
            }
        }
    }

    /// How current the names are.
    pub(super) fn state(&self) -> IdentityState {
        match self {
            IdentitySource::Inventory(path, read) => IdentityState {
                source: format!("inventory {}", path.display()),
                fresh: true,
                as_of: Some(*read),
            },
            IdentitySource::Cluster(watches) => {
                IdentityState::from_report(&watches.sync().report())
            }
            IdentitySource::None => IdentityState {
                source: "none: pods are shown by address".to_owned(),
                fresh: false,
                as_of: None,
            },
        }
    }

    /// The change for the index when the names become stale or current again.
    pub(super) fn staleness(&self, index: &Index, now: Timestamp) -> Option<ClusterChange> {
        let IdentitySource::Cluster(watches) = self else {
            return None;
        };
        let since = watches.sync().report().stale_since();
        if since.is_some() == index.stale_since().is_some() {
            return None;
        }
        // The watches use wall time, the index the kernel's clock.
        let since = since.map(|since| {
            let ago = jiff::Timestamp::now().duration_since(since).as_nanos();
            Timestamp(now.0.saturating_sub(u64::try_from(ago).unwrap_or(0)))
        });
        Some(ClusterChange::Stale(since))
    }

    /// A note for the summary.
    pub(super) fn note(&self) -> Option<String> {
        match self {
            IdentitySource::Cluster(watches) => {
                let report = watches.sync().report();
                Some(format!("names from {}: {report}", report.server))
            }
            IdentitySource::Inventory(..) | IdentitySource::None => None,
        }
    }
}

impl IdentityState {
    fn from_report(report: &SyncReport) -> IdentityState {
        let stale = report.stale_since();
        IdentityState {
            source: format!("cluster {}: {report}", report.server),
            fresh: report.is_synced() && stale.is_none(),
            as_of: match stale {
                None if report.is_synced() => Some(jiff::Timestamp::now()),
                stale => stale,
            },
        }
    }
}
