//! The output of `tracer dns`: what was counted, in the form that was asked for.

use std::sync::Arc;

use super::WallClock;
use super::dns_health::DnsHealth;
use super::json::dns_health as json;
use super::text::{DnsText, TextSettings};
use crate::model::event::Event;

/// The form of the screen.
#[derive(Clone, Debug)]
pub(super) enum DnsForm {
    /// For people; each table has at most `top` rows.
    Text { settings: TextSettings, top: usize },
    /// One object; each list has at most `top` rows, or all.
    Json { top: Option<usize> },
}

/// The numbers so far, and how to show them.
#[derive(Debug)]
pub(super) struct DnsScreen {
    health: DnsHealth,
    form: DnsForm,
}

impl DnsScreen {
    pub(super) fn new(form: DnsForm) -> DnsScreen {
        DnsScreen {
            health: DnsHealth::default(),
            form,
        }
    }

    /// Adds an event of a node. Returns whether it counts.
    pub(super) fn take(&mut self, node: Option<&Arc<str>>, event: &Event) -> bool {
        // A node of several clusters is CLUSTER/NODE. A node's name has no slash.
        let cluster = node.and_then(|node| Some(node.rsplit_once('/')?.0));
        self.health.take(cluster, event)
    }

    /// What was seen so far.
    pub(super) fn render(&self, clock: &dyn WallClock) -> serde_json::Result<String> {
        match &self.form {
            DnsForm::Text { settings, top } => {
                Ok(DnsText::new(settings, *top).screen(&self.health, clock))
            }
            DnsForm::Json { top } => json::object(&self.health, *top, clock),
        }
    }
}
