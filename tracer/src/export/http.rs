//! Health and metrics over HTTP: `/livez`, `/readyz`, `/metrics`.
//!
//! Owns the listeners, their limits and the answers. Input: a [`Health`] that the agent keeps up to date, and
//! the [`Metrics`]. Never touches the pipeline: a slow scraper delays only itself. The kubelet's probes have
//! a listener of their own, so that clients of `/metrics` cannot take their places. A connection carries one
//! request; one that is too slow or too large ends its connection.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::StreamExt as _;
use hyper::service::Service as _;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

mod health;
#[cfg(test)]
mod tests;

pub use self::health::{Health, STALLED_AFTER};
use super::metrics::{CONTENT_TYPE, Metrics, RelayMetrics};
use crate::connections::{Connections, Limits};

/// The default address of metrics.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:9095";
/// The default address of the kubelet's probes.
pub const DEFAULT_PROBE_ADDRESS: &str = "127.0.0.1:9096";
/// The default address of a relay's metrics: on a node's network it is beside an agent.
pub const DEFAULT_RELAY_ADDRESS: &str = "127.0.0.1:9097";
/// The limits of each listener: a pair of Prometheus servers, the kubelet and a person with curl need a
/// handful of connections.
pub const LIMITS: Limits = Limits {
    total: 32,
    per_peer: 8,
    first_request: Duration::from_secs(5),
    unread: Duration::from_secs(5),
};
/// From the connection to the last byte of the answer. Prometheus gives up after 10 s by default.
pub const WHOLE_REQUEST: Duration = Duration::from_secs(15);
/// Size limit of a request's header, which limits the memory of a connection.
const HEADER_BYTES: usize = 16 * 1024;
/// Missing items that `/readyz` lists, at most.
const MAX_LISTED: usize = 20;

/// The address cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {source}. Set another address with {option}, or turn it off with {option} none"
)]
pub struct ListenError {
    /// The option that sets the address.
    pub option: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// The cause.
    pub source: std::io::Error,
}

/// Listens on the address that `option` sets.
pub async fn listen(option: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ListenError {
            option,
            address,
            source,
        })
}

/// The paths of the kubelet's probes.
pub fn probe_router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(health)
}

/// The paths of metrics, and those of health for other clients.
pub fn router(health: Arc<Health>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/", get(contents))
        .with_state(metrics)
        .merge(probe_router(health))
}

/// The path of a relay's metrics. Its health is on the port of its API, which is what matters.
pub fn relay_router(metrics: Arc<RelayMetrics>) -> Router {
    Router::new()
        .route(
            "/metrics",
            get(|State(metrics): State<Arc<RelayMetrics>>| async move { text(metrics.encode()) }),
        )
        .route("/", get("tracer relay\n/metrics  OpenMetrics\n"))
        .with_state(metrics)
}

/// Serves until the future is dropped.
pub async fn serve(listener: TcpListener, router: Router) {
    let mut accepted = Connections::new(LIMITS).accept(listener);
    while let Some(Ok(connection)) = accepted.next().await {
        let activity = connection.activity();
        let service = TowerToHyperService::new(router.clone());
        // The connection has one request, and is busy until it ends.
        let answering = OnceLock::new();
        let service = hyper::service::service_fn(move |request| {
            answering.get_or_init(|| activity.answer());
            service.call(request)
        });
        tokio::spawn(async move {
            let serving = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .max_buf_size(HEADER_BYTES)
                .serve_connection(TokioIo::new(connection), service);
            match tokio::time::timeout(WHOLE_REQUEST, serving).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a connection for metrics failed"),
                Err(_) => tracing::debug!("a client of metrics did not read the answer in time"),
            }
        });
    }
}

async fn contents() -> &'static str {
    "tracer agent\n/livez    the pipeline advances\n/readyz   it traces and knows the cluster\n/metrics  OpenMetrics\n"
}

async fn livez(State(health): State<Arc<Health>>) -> Response {
    verdict(match health.stalled(Instant::now()) {
        None => Ok("ok\n".to_owned()),
        Some(since) => Err(format!(
            "the pipeline has not advanced for {} s\n",
            since.as_secs()
        )),
    })
}

async fn readyz(State(health): State<Arc<Health>>) -> Response {
    let missing = health.missing();
    verdict(if missing.is_empty() {
        Ok("ok\n".to_owned())
    } else {
        let mut body = String::new();
        for line in missing.iter().take(MAX_LISTED) {
            body.push_str(line);
            body.push('\n');
        }
        if let Some(more) = missing
            .len()
            .checked_sub(MAX_LISTED)
            .filter(|more| *more > 0)
        {
            body.push_str(&format!("and {more} more\n"));
        }
        Err(body)
    })
}

fn verdict(verdict: Result<String, String>) -> Response {
    let (status, body) = match verdict {
        Ok(body) => (StatusCode::OK, body),
        Err(body) => (StatusCode::SERVICE_UNAVAILABLE, body),
    };
    (status, [(header::CACHE_CONTROL, "no-store")], body).into_response()
}

async fn scrape(State(metrics): State<Arc<Metrics>>) -> Response {
    text(metrics.encode())
}

fn text(encoded: Result<String, std::fmt::Error>) -> Response {
    match encoded {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot encode the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
