//! Whose token it is: asks the API server, and accepts only agents.
//!
//! An agent may speak for its own node only. The node is in the token since Kubernetes 1.30; before, it is that of
//! the pod that the token is bound to.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, Client};
use serde::Deserialize;
use tracer_core::model::error_chain::error_chain;

use crate::export::metrics::RelayMetrics;

/// The audience that an agent's token must be for.
pub const AUDIENCE: &str = crate::stream::relays::AUDIENCE;
/// The node in a token's claims, and the pod that it is bound to.
const NODE: &str = "authentication.kubernetes.io/node-name";
const POD: &str = "authentication.kubernetes.io/pod-name";
/// The reason where the API server does not say.
const API_SERVER: &str = "api-server";
/// A token is not used for longer than this, whatever it says.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// An agent whose token is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The agent's node.
    pub node: Arc<str>,
    /// How long the token is valid.
    pub valid_for: Duration,
}

/// Why an agent is not accepted, for the agent's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refused {
    /// In a word, for metrics: api-server, token, account or node.
    pub reason: &'static str,
    /// In a sentence.
    pub why: String,
}

impl Refused {
    /// Refused because of this.
    pub fn new(reason: &'static str, why: impl Into<String>) -> Refused {
        let why = why.into();
        Refused { reason, why }
    }
}

/// Reviews the tokens of agents.
#[derive(Clone)]
pub struct Tokens {
    client: Client,
    /// Where agents run.
    namespace: String,
    /// Their service account, as the API server names users.
    user: String,
    metrics: Arc<RelayMetrics>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tokens").field(&self.user).finish()
    }
}

impl Tokens {
    /// Accepts this service account of this namespace.
    pub fn new(
        client: Client,
        namespace: &str,
        service_account: &str,
        metrics: Arc<RelayMetrics>,
    ) -> Tokens {
        Tokens {
            metrics,
            client,
            namespace: namespace.to_owned(),
            user: format!("system:serviceaccount:{namespace}:{service_account}"),
        }
    }

    /// Asks the API server whose token it is.
    ///
    /// # Errors
    /// If it is not an agent's, or the API server does not answer.
    pub async fn review(&self, token: &str) -> Result<Accepted, Refused> {
        let reviewed = self.ask(token).await;
        let result = match &reviewed {
            Ok(_) => "allowed",
            Err(refused) if refused.reason == API_SERVER => "failed",
            Err(_) => "denied",
        };
        self.metrics.reviewed("token", result);
        reviewed
    }

    async fn ask(&self, token: &str) -> Result<Accepted, Refused> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                audiences: Some(vec![AUDIENCE.to_owned()]),
                token: token.to_owned(),
            },
            ..TokenReview::default()
        };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let answer = reviews
            .create(&PostParams::default(), &review)
            .await
            .map_err(|error| {
                let why = format!("cannot review the token: {}", error_chain(&error));
                Refused::new(API_SERVER, why)
            })?;
        let status = answer.status.unwrap_or_default();
        let for_us = status
            .audiences
            .is_some_and(|audiences| audiences.iter().any(|audience| audience == AUDIENCE));
        let user = match status.user {
            Some(user) if status.authenticated == Some(true) && for_us => user,
            _ => {
                let why = status.error.unwrap_or_default();
                let why = format!("the token is not valid for the audience {AUDIENCE} {why}");
                return Err(Refused::new("token", why));
            }
        };
        if user.username.as_deref() != Some(&*self.user) {
            let user = user.username.unwrap_or_default();
            let why = format!("the token is {user}'s; agents use {}", self.user);
            return Err(Refused::new("account", why));
        }
        let node = self.node(&user).await?;
        let valid_for = valid_for(token, SystemTime::now())
            .ok_or_else(|| Refused::new("token", "the token has expired"))?;
        Ok(Accepted { node, valid_for })
    }

    async fn node(&self, user: &UserInfo) -> Result<Arc<str>, Refused> {
        let claim = |name: &str| {
            let values = user.extra.as_ref()?.get(name)?;
            values.first().filter(|value| !value.is_empty()).cloned()
        };
        if let Some(node) = claim(NODE) {
            return Ok(node.into());
        }
        let unbound = || {
            Refused::new(
                "token",
                "the token is not bound to a pod, so its node is unknown",
            )
        };
        let name = claim(POD).ok_or_else(unbound)?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let pod = pods.get(&name).await.map_err(|error| {
            let why = format!(
                "cannot read the agent's pod {name} to find its node: {}",
                error_chain(&error)
            );
            Refused::new(API_SERVER, why)
        })?;
        let node = pod.spec.and_then(|spec| spec.node_name);
        node.map(Arc::from).ok_or_else(unbound)
    }
}

/// How long a token that the API server accepted is valid; `None` if it has expired. A token that does not say is used
/// for the longest time.
fn valid_for(token: &str, now: SystemTime) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Claims {
        exp: u64,
    }
    let expires = token
        .split('.')
        .nth(1)
        .and_then(|claims| BASE64_URL_SAFE_NO_PAD.decode(claims).ok())
        .and_then(|claims| serde_json::from_slice::<Claims>(&claims).ok());
    let Some(Claims { exp }) = expires else {
        return Some(MAX_AGE);
    };
    let left = (UNIX_EPOCH + Duration::from_secs(exp)).duration_since(now);
    left.ok().map(|left| left.min(MAX_AGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_how_long_it_is_valid() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let token = |claims: &str| format!("e30.{}.s", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let seconds = |token: &str| valid_for(token, now).map(|left| left.as_secs());
        assert_eq!(seconds(&token(r#"{"exp":1600,"iss":"x"}"#)), Some(600));
        assert_eq!(seconds(&token(r#"{"exp":900}"#)), None);
        assert_eq!(seconds(&token(r#"{"exp":900000}"#)), Some(3600));
        assert_eq!(seconds("opaque"), Some(3600));
        assert_eq!(seconds(&token("[]")), Some(3600));
    }
}
