//! The relays of a cluster, asked through its API server.
//!
//! Owns the requests to it: which path stands for which question, and what an error of it means. The API server
//! authenticates the user, and decides what the user may see.

use std::io;
use std::pin::Pin;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures::io::{AsyncRead, AsyncReadExt as _};
use http::Request;
use prost::Message as _;
use tracer_core::model::error_chain::error_chain;

use super::{ClientError, Options};
use crate::cluster::kubeconfig::{self, explain};
use crate::stream::proto;

/// The API that relays serve.
const API: &str = "/apis/tracer.internal/v1alpha1";
/// The form of the answers: frames of a length in 4 bytes, network byte order, and a message.
const FRAMES: &str = "application/vnd.tracer.v1+protobuf";
/// Size limit of a message. An event is at most some tens of KiB.
const MAX_FRAME: usize = 16 << 20;
/// The kubelet sets this variable in every container.
const POD_VARIABLE: &str = "KUBERNETES_SERVICE_HOST";

/// A cluster, and how users refer to it.
#[derive(Clone)]
pub(super) struct Cluster {
    client: kube::Client,
    /// The context in the kubeconfig, if one was asked for.
    pub(super) context: Option<String>,
}

/// What is asked of the relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// Events.
    Traces,
    /// Findings alone: more users may see them.
    Findings,
}

impl Cluster {
    /// The cluster of every context that is asked for.
    pub(super) async fn find_all(options: &Options) -> Result<Vec<Cluster>, ClientError> {
        let mut clusters = Vec::new();
        for context in &options.contexts {
            clusters.push(Cluster::find(options, Some(context)).await?);
        }
        if clusters.is_empty() {
            clusters.push(Cluster::find(options, None).await?);
        }
        Ok(clusters)
    }

    /// The cluster's relays, as the subject of a sentence.
    pub(super) fn relay(&self) -> String {
        match &self.context {
            Some(context) => format!("the relay of {context}"),
            None => "the relay".to_owned(),
        }
    }

    /// Finds the cluster as kubectl does, else the one that this process runs in.
    async fn find(options: &Options, context: Option<&str>) -> Result<Cluster, ClientError> {
        let no_cluster = |reason| ClientError::NoCluster { reason };
        let config = config(options, context).await.map_err(no_cluster)?;
        let client = kube::Client::try_from(config).map_err(|error| no_cluster(explain(&error)))?;
        Ok(Cluster {
            client,
            context: context.map(str::to_owned),
        })
    }

    /// Starts a stream of `RelayedResponse`s.
    pub(super) async fn observe(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        nodes: &str,
        request: &proto::ObserveRequest,
    ) -> Result<Frames, Refusal> {
        let resource = resource.name();
        let place = match namespace {
            Some(namespace) => format!("namespaces/{namespace}/{resource}"),
            None => resource.to_owned(),
        };
        self.get(&format!("{API}/{place}?{}", query(nodes, request)))
            .await
    }

    /// The status of every agent.
    pub(super) async fn statuses(&self) -> Result<proto::NodeStatuses, Refusal> {
        let mut answer = self.get(&format!("{API}/tracernodes")).await?;
        let mut encoded = Vec::new();
        let read = answer.0.read_to_end(&mut encoded).await;
        read.map_err(Refusal::failed)?;
        proto::NodeStatuses::decode(&*encoded)
            .map_err(|error| Refusal::failed(io::Error::other(error)))
    }

    async fn get(&self, path: &str) -> Result<Frames, Refusal> {
        let request = Request::get(path)
            .header(http::header::ACCEPT, FRAMES)
            .body(Vec::new())
            .map_err(|error| Refusal::Failed(error.to_string()))?;
        match self.client.request_stream(request).await {
            Ok(answer) => Ok(Frames(Box::pin(answer))),
            Err(error) => Err(Refusal::from_error(&error)),
        }
    }
}

/// The parameters of a request.
fn query(nodes: &str, request: &proto::ObserveRequest) -> String {
    let encoded = BASE64_URL_SAFE_NO_PAD.encode(request.encode_to_vec());
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("request", &encoded);
    if request.follow {
        query.append_pair("watch", "true");
    }
    if !nodes.is_empty() {
        query.append_pair("nodes", nodes);
    }
    query.finish()
}

impl Resource {
    pub(super) fn name(self) -> &'static str {
        match self {
            Resource::Traces => "traces",
            Resource::Findings => "findings",
        }
    }
}

/// An answer that is a sequence of messages.
pub(super) struct Frames(Pin<Box<dyn AsyncRead + Send>>);

impl Frames {
    /// The next message; `None` at the end.
    pub(super) async fn next<M: prost::Message + Default>(&mut self) -> io::Result<Option<M>> {
        let mut length = [0; 4];
        // The end is only between two messages.
        match self.0.read(&mut length).await? {
            0 => return Ok(None),
            read => {
                let rest = length.get_mut(read..).unwrap_or_default();
                self.0.read_exact(rest).await?;
            }
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_FRAME {
            return Err(io::Error::other("the relay answered in another form"));
        }
        let mut encoded = vec![0; length];
        self.0.read_exact(&mut encoded).await?;
        M::decode(&*encoded).map(Some).map_err(io::Error::other)
    }
}

/// Why relays do not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The cluster has no relay.
    Absent,
    /// The user may not see this; the API server's words.
    Forbidden(String),
    /// The request is wrong; the relay's words.
    Invalid(String),
    /// Anything else, which may pass.
    Failed(String),
}

impl Refusal {
    fn from_error(error: &kube::Error) -> Refusal {
        match error {
            kube::Error::Api(status) => match status.code {
                404 => Refusal::Absent,
                401 | 403 => Refusal::Forbidden(status.message.clone()),
                400 | 422 => Refusal::Invalid(status.message.clone()),
                503 => Refusal::Failed(format!(
                    "no relay is ready ({}): see `kubectl -n tracer get pods -l app.kubernetes.io/component=relay`",
                    status.message.trim()
                )),
                _ => Refusal::Failed(status.message.clone()),
            },
            error => Refusal::Failed(explain(error)),
        }
    }

    fn failed(error: io::Error) -> Refusal {
        Refusal::Failed(error_chain(&error))
    }

    /// Why, as a sentence.
    pub(super) fn reason(&self) -> &str {
        match self {
            Refusal::Absent => "the cluster has no API tracer.internal",
            Refusal::Forbidden(reason) | Refusal::Invalid(reason) | Refusal::Failed(reason) => {
                reason
            }
        }
    }

    /// The error of a command that needs an answer.
    pub(super) fn into_error(self, resource: &'static str) -> ClientError {
        match self {
            Refusal::Absent => ClientError::NoRelay,
            Refusal::Forbidden(reason) => ClientError::Forbidden { resource, reason },
            Refusal::Invalid(reason) | Refusal::Failed(reason) => ClientError::NoneReached {
                reasons: vec![format!("the relay: {reason}")],
            },
        }
    }
}

/// A client for the objects of the cluster that these options select: the first one, if several.
pub async fn connect(options: &Options) -> Result<kube::Client, ClientError> {
    let context = options.contexts.first().map(String::as_str);
    Ok(Cluster::find(options, context).await?.client)
}

async fn config(options: &Options, context: Option<&str>) -> Result<kube::Config, String> {
    let file = options.kubeconfig.as_deref();
    let problem = match kubeconfig::config(file, context).await {
        Ok(config) => return Ok(config),
        Err(problem) => problem,
    };
    // Outside a pod, leave out the error that this is not a pod.
    if file.is_some() || context.is_some() || std::env::var_os(POD_VARIABLE).is_none() {
        return Err(error_chain(&problem));
    }
    kube::Config::incluster()
        .map_err(|error| format!("{}; {}", error_chain(&problem), error_chain(&error)))
}
