//! The settings of the diagnosis: how findings are repeated, the thresholds of rules, silences.

use std::time::Duration;

use crate::model::event::Ends;
use crate::model::glob::Glob;

/// How findings are repeated and how much memory they may use.
#[derive(Clone, Debug, PartialEq)]
pub struct DiagnosisSettings {
    /// The minimum interval between two events of an open finding.
    pub repeat: Duration,
    /// A finding without new evidence for this long is dropped. It is not resolved: its cause may still
    /// exist.
    pub forget: Duration,
    /// The maximum number of open findings of all pods. At the limit, one of the interface that has most is
    /// dropped.
    pub findings: usize,
    /// The maximum size, in bytes, of the open findings of all pods. At the limit, the same.
    pub finding_bytes: usize,
    /// The maximum number of open findings of a pod. More failures of a rule count together in one.
    pub findings_per_pod: usize,
    /// The maximum number of lines of evidence of a finding. The last line counts the others.
    pub evidence: usize,
    /// The maximum size, in bytes, of what rules remember of all pods. At the limit, the interface that holds
    /// most gives way.
    pub memory: usize,
    /// The thresholds of rules.
    pub thresholds: RuleThresholds,
    /// Findings that are not emitted.
    pub silences: Vec<Silence>,
}

impl Default for DiagnosisSettings {
    fn default() -> DiagnosisSettings {
        DiagnosisSettings {
            repeat: Duration::from_secs(30),
            forget: Duration::from_secs(600),
            findings: 1024,
            finding_bytes: 8 << 20,
            findings_per_pod: 32,
            evidence: 16,
            memory: 12 << 20,
            thresholds: RuleThresholds::default(),
            silences: Vec::new(),
        }
    }
}

/// The thresholds of rules that are a matter of preference, not of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleThresholds {
    /// A slow answer of a DNS server takes at least this long,
    pub slow_dns: Duration,
    /// and at least this many times the usual latency.
    pub slow_dns_times_normal: u32,
    /// This many slow answers within a minute make a finding. One is ordinary: an upstream server that fills
    /// its cache.
    pub slow_dns_answers: usize,
    /// This many wasted queries within a minute make a finding,
    pub wasted_queries: u64,
    /// if they are at least this share of the workload's queries, in percent.
    pub wasted_percent: u64,
    /// This many ICMP errors about packets that are too big make a finding. A host learns a path's MTU from
    /// one or two.
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

/// Silences the findings that match all patterns given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Silence {
    /// The rule.
    pub rule: Option<Glob>,
    /// The pod's namespace. A pod without a known name matches no pattern.
    pub namespace: Option<Glob>,
    /// The pod's name.
    pub pod: Option<Glob>,
    /// The name looked up, in any form, or a name of the other end; without a trailing dot.
    pub name: Option<Glob>,
}

impl Silence {
    /// Whether it silences a finding of this rule.
    pub(super) fn matches<N: AsRef<str>>(&self, rule: &str, ends: &Ends, names: &[N]) -> bool {
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
