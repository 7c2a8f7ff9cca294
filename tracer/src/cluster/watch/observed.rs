//! Observes the API server's responses: a watch that is established again shows here, as a quiet one has no
//! events.
//!
//! Also honours `Retry-After`: passes the response on only after that time, so the caller cannot retry
//! earlier.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode, Uri};
use kube::client::Body;
use tower::{Layer, Service};

use super::sync::ClusterSync;
use tracer_core::model::cluster::Kind;

/// Limit for `Retry-After`: a longer wait is cut short.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub(super) struct ObservedLayer {
    sync: ClusterSync,
}

impl ObservedLayer {
    pub fn new(sync: ClusterSync) -> ObservedLayer {
        ObservedLayer { sync }
    }
}

impl<S> Layer<S> for ObservedLayer {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed {
            inner,
            sync: self.sync.clone(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Observed<S> {
    inner: S,
    sync: ClusterSync,
}

impl<S, B> Service<Request<Body>> for Observed<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let watched = watched(request.uri());
        let sync = self.sync.clone();
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await?;
            let status = response.status();
            if let Some(kind) = watched.filter(|_| status.is_success()) {
                sync.watching(kind);
            }
            if matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
            ) && let Some(wait) = retry_after(&response)
            {
                tokio::time::sleep(wait).await;
            }
            Ok(response)
        })
    }
}

/// The kind that a request watches.
fn watched(uri: &Uri) -> Option<Kind> {
    let resource = uri.path().rsplit('/').next()?;
    let watch = uri.query()?.split('&').any(|option| option == "watch=true");
    let mut kinds = Kind::ALL.into_iter();
    kinds.find(|kind| watch && kind.resource() == resource)
}

fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    let seconds = seconds.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_distinguished_from_a_list_and_other_requests() {
        let kind = |uri: &'static str| watched(&Uri::from_static(uri));
        assert_eq!(
            kind("/api/v1/pods?&watch=true&allowWatchBookmarks=true"),
            Some(Kind::Pod)
        );
        assert_eq!(
            kind("/apis/discovery.k8s.io/v1/endpointslices?watch=true"),
            Some(Kind::EndpointSlice)
        );
        assert_eq!(kind("/api/v1/pods?limit=250"), None);
        assert_eq!(kind("/api/v1/secrets?watch=true"), None);
    }
}
