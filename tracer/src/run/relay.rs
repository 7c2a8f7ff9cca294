//! `tracer relay`: the agents of a cluster as a Kubernetes API, until SIGINT or SIGTERM.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::signals::Signals;
use crate::config::{RelayConfig, TlsPair};
use crate::export::http;
use crate::export::metrics::{Build, RelayMetrics, RelayState};
use crate::relay::agents::Agents;
use crate::relay::api;
use crate::relay::certificate::{Keeper, Place, Serving};
use crate::relay::tokens::Tokens;
use crate::relay::uplinks::Uplinks;

/// The APIService, as in deploy/.
const API_SERVICE: &str = "v1alpha1.tracer.internal";
/// How often files of a certificate are read.
const REREAD: Duration = Duration::from_secs(60);

/// Serves until it is stopped.
pub fn relay(config: &RelayConfig) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("tracer-relay")
        .enable_all()
        .build()
        .context("cannot start the threads of the relay")?;
    let served = runtime.block_on(serve(config));
    runtime.shutdown_timeout(Duration::from_millis(100));
    served
}

async fn serve(config: &RelayConfig) -> Result<()> {
    let mut signals = Signals::listen()?;
    let client = config.source.client().await?;
    let namespace = config
        .namespace
        .clone()
        .unwrap_or_else(|| client.default_namespace().to_owned());
    let agents_listener = listen("--agents", config.agents).await?;
    let api_listener = listen("--listen", config.listen).await?;
    let serving = Arc::new(Serving::default());
    let place = Place {
        service: config.service.clone(),
        namespace: namespace.clone(),
        api_service: API_SERVICE.to_owned(),
    };
    let keeper = Keeper::new(client.clone(), place, Arc::clone(&serving));
    let certificate = match &config.tls {
        None => tokio::spawn(keeper.run(|| tracing::info!("the certificate is ready"))),
        Some(files) => {
            // At the start a mistake is an error; later the certificate in use stays.
            use_files(files, &keeper, &serving).await?;
            tokio::spawn(reread(files.clone(), keeper, Arc::clone(&serving)))
        }
    };
    let agents = Arc::new(Agents::default());
    let metrics = Arc::new(RelayMetrics::new(
        &Build::of_this_program(),
        jiff::Timestamp::now(),
    ));
    let account = &config.agent_account;
    let tokens = Tokens::new(client.clone(), &namespace, account, Arc::clone(&metrics));
    let uplinks = Uplinks::new(
        Arc::clone(&agents),
        tokens,
        serving.clone(),
        Arc::clone(&metrics),
    )
    .context("cannot set up TLS for agents")?;
    let uplinks = tokio::spawn(uplinks.serve(agents_listener));
    tracing::info!(
        "serving {API_SERVICE} on https://{}, and agents on {}",
        config.listen,
        config.agents
    );
    let (shutdown, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async {
        let _ = stopped.await;
    };
    let settings = api::Settings::default();
    let api = api::Server::new(agents, client, settings, Arc::clone(&metrics));
    let scrapes = serve_metrics(config.http, metrics, &api, &serving).await?;
    let mut api = tokio::spawn(api.serve(api_listener, serving, stopped));
    tokio::select! {
        _ = signals.next() => {}
        ended = &mut api => anyhow::bail!("the API ended: {ended:?}"),
    }
    tracing::info!("stopping");
    let _ = shutdown.send(());
    let _ = tokio::time::timeout(Duration::from_secs(5), api).await;
    for task in [uplinks, certificate].into_iter().chain(scrapes) {
        task.abort();
    }
    Ok(())
}

/// Serves the metrics on this address, if there is one.
async fn serve_metrics(
    address: Option<SocketAddr>,
    metrics: Arc<RelayMetrics>,
    api: &Arc<api::Server>,
    serving: &Arc<Serving>,
) -> Result<Option<JoinHandle<()>>> {
    let Some(address) = address else {
        return Ok(None);
    };
    let (api, serving) = (Arc::clone(api), Arc::clone(serving));
    metrics.read_from(move || {
        let certificate_expires = serving.expires();
        let state = api.state();
        RelayState {
            // Without a certificate no request arrives.
            ready: state.ready && certificate_expires.is_some(),
            certificate_expires,
            ..state
        }
    });
    let listener = listen("--http", address).await?;
    tracing::info!("metrics on http://{address}");
    Ok(Some(tokio::spawn(http::serve(
        listener,
        http::relay_router(metrics),
    ))))
}

async fn listen(option: &str, address: SocketAddr) -> Result<TcpListener> {
    let mut bound = TcpListener::bind(address).await;
    if bound.is_err() && address.ip() == Ipv6Addr::UNSPECIFIED {
        // A node without IPv6.
        bound = TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await;
    }
    bound.with_context(|| format!("cannot listen on {address} ({option})"))
}

/// Uses the certificate in these files, and publishes its authority for agents.
async fn use_files(files: &TlsPair, keeper: &Keeper, serving: &Serving) -> Result<()> {
    let read = |path: &Path| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let authorities = String::from_utf8(read(&files.authorities)?)
        .with_context(|| format!("{} is not PEM", files.authorities.display()))?;
    let certificate = read(&files.certificate)?;
    let key = read(&files.key)?;
    keeper.publish_for_agents(&authorities).await?;
    serving.set(&certificate, &key).with_context(|| {
        format!(
            "{} and {}",
            files.certificate.display(),
            files.key.display()
        )
    })
}

async fn reread(files: TlsPair, keeper: Keeper, serving: Arc<Serving>) {
    loop {
        tokio::time::sleep(REREAD).await;
        if let Err(error) = use_files(&files, &keeper, &serving).await {
            tracing::error!("{error:#}; the certificate in use stays");
        }
    }
}
