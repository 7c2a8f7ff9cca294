//! What a run may set: how findings are told, from when on rules speak, and whom nobody wants to hear of.

use std::time::Duration;

use crate::model::event::Ends;
use crate::model::glob::Glob;

/// How findings are told and how much is kept for them.
#[derive(Clone, Debug, PartialEq)]
pub struct DiagnosisSettings {
    /// An open finding is told again with a new count at most so often.
    pub repeat: Duration,
    /// A finding whose cause did not show for so long is forgotten: nobody knows whether it is gone.
    pub forget: Duration,
    /// Open findings; at the limit the one that was quiet for longest makes room.
    pub findings: usize,
    /// Lines of evidence of one finding; what is beyond is said in a last line.
    pub evidence: usize,
    /// Clients, servers and the like that rules remember something of, each sort for itself.
    pub remembered: usize,
    /// From when on rules speak.
    pub thresholds: RuleThresholds,
    /// Findings that are not told.
    pub silences: Vec<Silence>,
}

impl Default for DiagnosisSettings {
    fn default() -> DiagnosisSettings {
        DiagnosisSettings {
            repeat: Duration::from_secs(30),
            forget: Duration::from_secs(600),
            findings: 1024,
            evidence: 16,
            remembered: 4096,
            thresholds: RuleThresholds::default(),
            silences: Vec::new(),
        }
    }
}

/// From when on rules speak, as far as that is a matter of taste and not of the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleThresholds {
    /// An answer of a DNS server that takes longer is slow, if the pod is not used to that.
    pub slow_dns: Duration,
    /// It is used to it if the answer takes less than so many times its normal.
    pub slow_dns_times_normal: u32,
    /// So many slow answers within a minute; one is ordinary: an upstream that fills its cache.
    pub slow_dns_answers: usize,
    /// So many queries in vain within a minute are a waste,
    pub wasted_queries: u64,
    /// if they are that part of all of the workload's, in percent, or more.
    pub wasted_percent: u64,
    /// So many times a pod is told that its packets are too big. One or two errors are how a host learns a path's MTU.
    pub too_big_errors: u64,
}

impl Default for RuleThresholds {
    fn default() -> RuleThresholds {
        RuleThresholds {
            slow_dns: Duration::from_millis(500),
            slow_dns_times_normal: 8,
            slow_dns_answers: 3,
            wasted_queries: 24,
            wasted_percent: 50,
            too_big_errors: 3,
        }
    }
}

/// Findings that are not told: those that fit all that is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Silence {
    /// Rules.
    pub rule: Option<Glob>,
    /// Namespaces of the pod. One that is not known is in none.
    pub namespace: Option<Glob>,
    /// Names of the pod.
    pub pod: Option<Glob>,
    /// What was looked up, in any form, or what the other end is called; without a final dot.
    pub name: Option<Glob>,
}

impl Silence {
    /// Whether a finding of that rule is one of these.
    pub(super) fn fits<N: AsRef<str>>(&self, rule: &str, ends: &Ends, names: &[N]) -> bool {
        let pod = ends.pod.identity.as_deref().ok();
        let of_pod = |glob: &Option<Glob>, of: fn(&crate::model::identity::PodIdentity) -> &str| {
            glob.as_ref()
                .is_none_or(|glob| pod.is_some_and(|pod| glob.matches(of(pod))))
        };
        self.rule.as_ref().is_none_or(|glob| glob.matches(rule))
            && of_pod(&self.namespace, |pod| &pod.namespace)
            && of_pod(&self.pod, |pod| &pod.name)
            && self
                .name
                .as_ref()
                .is_none_or(|glob| names.iter().any(|name| glob.matches(name.as_ref())))
    }
}
