//! Who asks, and whether they may.
//!
//! The relay trusts one client to name the user: the API server, which proves itself with a TLS certificate
//! of the front-proxy authority ([`front_proxy`]). No other client is authenticated, and there are no tokens
//! or passwords here. Whether the user may, Kubernetes decides: a SubjectAccessReview per request
//! ([`review`]).

pub mod front_proxy;
pub mod review;
pub mod tls;

use std::collections::BTreeMap;

/// Kubernetes' group of all users who proved who they are.
const AUTHENTICATED: &str = "system:authenticated";
/// Kubernetes' group of all others, who can have permissions too.
const UNAUTHENTICATED: &str = "system:unauthenticated";

/// The user of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct User {
    /// The name.
    pub name: String,
    /// The UID, if the API server sends it.
    pub uid: Option<String>,
    /// The groups.
    pub groups: Vec<String>,
    /// What else an authenticator said about the user.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// Adds the group that the API server gives users itself, unless the user has one of the two.
    #[must_use]
    fn with_group(mut self) -> User {
        let has = |group: &str| self.groups.iter().any(|own| own == group);
        if !has(AUTHENTICATED) && !has(UNAUTHENTICATED) {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }
}
