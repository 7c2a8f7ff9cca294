//! Health and metrics over HTTP: `/livez`, `/readyz`, `/metrics`.
//!
//! Owns the listener, its limits and the answers. Input: a [`Health`] that the agent keeps up to date, and
//! the [`Metrics`]. Never touches the pipeline: a slow scraper delays only itself. Connections beyond
//! the limit wait; a request that is too slow or too large ends its connection.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

mod health;
#[cfg(test)]
mod tests;

pub use self::health::{Health, STALLED_AFTER};
use super::metrics::{CONTENT_TYPE, Metrics};

/// The default address.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:9095";
/// Connections at a time, at most: Prometheus, the kubelet and a person with curl need a handful.
pub const MAX_CONNECTIONS: usize = 64;
/// Time for the header of each request on a connection.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Size limit of a request's header, which limits the memory of a connection.
const HEADER_BYTES: usize = 16 * 1024;
/// Pause after a failure to accept a connection, usually for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Missing items that `/readyz` lists, at most.
const MAX_LISTED: usize = 20;

/// The address cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for health and metrics: {source}. Set another address with --http, or turn both off with \
     --http none"
)]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// The cause.
    pub source: std::io::Error,
}

/// Listens on an address.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ListenError { address, source })
}

/// The sources of the answers.
#[derive(Clone, Debug)]
struct Sources {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

/// The paths and their answers.
pub fn router(health: Arc<Health>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .route("/", get(contents))
        .with_state(Sources { health, metrics })
}

/// Serves until the future is dropped.
pub async fn serve(listener: TcpListener, router: Router) -> Infallible {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // First a permit, then a connection: waiting connections stay in the kernel's queue, which has its
        // own limit.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            // The semaphore is never closed.
            return std::future::pending().await;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for health or metrics");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(HEADER_BYTES)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection for health or metrics failed");
            }
            drop(permit);
        });
    }
}

async fn contents() -> &'static str {
    "tracer agent\n/livez    the pipeline advances\n/readyz   it traces and knows the cluster\n/metrics  OpenMetrics\n"
}

async fn livez(State(sources): State<Sources>) -> Response {
    verdict(match sources.health.stalled(Instant::now()) {
        None => Ok("ok\n".to_owned()),
        Some(since) => Err(format!(
            "the pipeline has not advanced for {} s\n",
            since.as_secs()
        )),
    })
}

async fn readyz(State(sources): State<Sources>) -> Response {
    let missing = sources.health.missing();
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

async fn scrape(State(sources): State<Sources>) -> Response {
    match sources.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot encode the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
