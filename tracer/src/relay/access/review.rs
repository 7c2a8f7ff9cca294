//! Whether a user may: a SubjectAccessReview, with a short memory.
//!
//! An answer is remembered for seconds, so that a page of a list or a dashboard does not ask each time, and a
//! permission that is taken away works no longer than that. A watch that runs is asked about again, every
//! minute or so.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use lru::LruCache;
use parking_lot::Mutex;
use tracer_core::model::error_chain::error_chain;

use super::User;
use crate::export::metrics::RelayMetrics;

/// How long a refusal is: a person may just have been granted it.
const DENIED_FOR: Duration = Duration::from_secs(2);
/// Answers that are remembered.
const MAX_ANSWERS: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What a user wants to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// get, list or watch.
    pub verb: &'static str,
    /// The API group.
    pub group: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The resource.
    pub resource: &'static str,
    /// `None` for all namespaces, and for resources without.
    pub namespace: Option<String>,
    /// The name, for one object.
    pub name: Option<String>,
}

/// Kubernetes' answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The user may.
    Allowed,
    /// The user may not; the reason can be empty.
    Denied(String),
}

#[derive(Debug)]
struct Answer {
    verdict: Verdict,
    until: Instant,
}

/// Asks Kubernetes.
pub struct Reviewer {
    reviews: Api<SubjectAccessReview>,
    answers: Mutex<LruCache<(User, Access), Answer>>,
    allowed_for: Duration,
    metrics: Arc<RelayMetrics>,
}

impl std::fmt::Debug for Reviewer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reviewer").finish_non_exhaustive()
    }
}

impl Reviewer {
    /// Asks with this client, which needs ClusterRole system:auth-delegator, and remembers a permission for this long.
    pub fn new(client: Client, allowed_for: Duration, metrics: Arc<RelayMetrics>) -> Reviewer {
        Reviewer {
            allowed_for,
            metrics,
            reviews: Api::all(client),
            answers: Mutex::new(LruCache::new(MAX_ANSWERS)),
        }
    }

    /// Whether the user may do this.
    ///
    /// # Errors
    /// In words, if Kubernetes does not say.
    pub async fn review(&self, user: &User, access: &Access) -> Result<Verdict, String> {
        let key = (user.clone(), access.clone());
        if let Some(answer) = self.answers.lock().get(&key)
            && Instant::now() < answer.until
        {
            return Ok(answer.verdict.clone());
        }
        let verdict = self.ask(user, access).await;
        let (result, kept) = match verdict {
            Ok(Verdict::Allowed) => ("allowed", self.allowed_for),
            Ok(Verdict::Denied(_)) => ("denied", DENIED_FOR),
            Err(_) => ("failed", Duration::ZERO),
        };
        self.metrics.reviewed("access", result);
        let verdict = verdict?;
        let until = Instant::now() + kept;
        let answer = Answer {
            verdict: verdict.clone(),
            until,
        };
        self.answers.lock().put(key, answer);
        Ok(verdict)
    }

    async fn ask(&self, user: &User, access: &Access) -> Result<Verdict, String> {
        let review = question(user, access);
        let parameters = PostParams::default();
        let asking = self.reviews.create(&parameters, &review);
        let answer = tokio::time::timeout(ANSWER_WITHIN, asking)
            .await
            .map_err(|_| "the API server does not answer a SubjectAccessReview".to_owned())?
            .map_err(|error| {
                format!(
                    "the API server refuses a SubjectAccessReview: {}",
                    error_chain(&error)
                )
            })?;
        Ok(verdict(&answer))
    }
}

fn question(user: &User, access: &Access) -> SubjectAccessReview {
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user.name.clone()),
            uid: user.uid.clone(),
            groups: Some(user.groups.clone()),
            extra: (!user.extra.is_empty()).then(|| user.extra.clone()),
            resource_attributes: Some(ResourceAttributes {
                verb: Some(access.verb.to_owned()),
                group: Some(access.group.to_owned()),
                version: Some(access.version.to_owned()),
                resource: Some(access.resource.to_owned()),
                namespace: access.namespace.clone(),
                name: access.name.clone(),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

fn verdict(review: &SubjectAccessReview) -> Verdict {
    match &review.status {
        Some(status) if status.allowed => Verdict::Allowed,
        Some(status) => Verdict::Denied(status.reason.clone().unwrap_or_default()),
        None => Verdict::Denied(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        Access {
            verb: "list",
            group: "tracer.internal",
            version: "v1alpha1",
            resource: "findings",
            namespace: Some("shop".to_owned()),
            name: None,
        }
    }

    #[test]
    fn a_question_has_the_whole_user_and_the_whole_request() {
        let user = User {
            name: "jane".to_owned(),
            groups: vec!["dev".to_owned()],
            ..User::default()
        };
        let json = serde_json::to_value(question(&user, &access())).expect("JSON");
        assert_eq!(
            json["spec"],
            serde_json::json!({
                "user": "jane", "groups": ["dev"],
                "resourceAttributes": {"verb": "list", "group": "tracer.internal", "version": "v1alpha1",
                    "resource": "findings", "namespace": "shop"},
            })
        );
    }

    #[test]
    fn only_an_explicit_yes_allows() {
        for (status, allowed) in [
            (r#"{"allowed": true}"#, true),
            (r#"{"allowed": false, "denied": true}"#, false),
            (r#"{"allowed": false, "evaluationError": "webhook"}"#, false),
        ] {
            let review = format!(r#"{{"spec": {{}}, "status": {status}}}"#);
            let review = serde_json::from_str(&review).expect("a review");
            assert_eq!(verdict(&review) == Verdict::Allowed, allowed, "{status}");
        }
        assert_ne!(verdict(&SubjectAccessReview::default()), Verdict::Allowed);
    }
}
