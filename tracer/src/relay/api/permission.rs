//! Whether the user may: asked before every answer, and again while a watch runs.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use tokio::time::Instant;

use super::kinds::GROUP;
use super::request::Asked;
use super::status::Failure;
use crate::relay::access::User;
use crate::relay::access::review::{Reviewer, Verdict};

/// After a question that was not answered.
const RETRY: Duration = Duration::from_secs(15);
/// A watch ends if no question is answered for this long.
const UNANSWERED: Duration = Duration::from_secs(300);

/// Asks whether the user may have this answer.
///
/// # Errors
/// 403 if not, 503 if Kubernetes does not say.
pub async fn authorize(reviewer: &Reviewer, user: &User, asked: &Asked) -> Result<(), Failure> {
    match reviewer.review(user, &asked.access()).await {
        Ok(Verdict::Allowed) => Ok(()),
        Ok(Verdict::Denied(reason)) => Err(forbidden(user, asked, &reason)),
        Err(why) => {
            tracing::warn!(why, "cannot check a user's permission");
            Err(Failure::new(503, "ServiceUnavailable", why))
        }
    }
}

/// Waits until the user may no longer have what a watch sends, and returns why. Asks again after `every`, and up to half
/// of it more: watches that began together ask one after another.
pub async fn withdrawn(
    reviewer: Arc<Reviewer>,
    user: User,
    asked: Asked,
    every: Duration,
) -> Failure {
    let mut answered = Instant::now();
    let mut wait = every;
    loop {
        let share = rand::rng().random_range(1.0..1.5);
        tokio::time::sleep(wait.mul_f64(share)).await;
        match authorize(&reviewer, &user, &asked).await {
            Ok(()) => (answered, wait) = (Instant::now(), every),
            Err(failure) if failure.code == 503 && answered.elapsed() < UNANSWERED => wait = RETRY,
            Err(failure) => return failure,
        }
    }
}

/// 403, in the words of the API server.
fn forbidden(user: &User, asked: &Asked, reason: &str) -> Failure {
    let access = asked.access();
    let kind = asked.objects.kind;
    let place = match &access.namespace {
        Some(namespace) => format!("in the namespace \"{namespace}\""),
        None => "at the cluster scope".to_owned(),
    };
    let object = match &access.name {
        Some(name) => format!("{}.{GROUP} \"{name}\"", kind.plural),
        None => format!("{}.{GROUP}", kind.plural),
    };
    let mut message = format!(
        "{object} is forbidden: User \"{}\" cannot {} resource \"{}\" in API group \"{GROUP}\" {place}",
        user.name, access.verb, kind.plural,
    );
    if !reason.is_empty() {
        message = format!("{message}: {reason}");
    }
    Failure::forbidden(message, kind, access.name.as_deref())
}
