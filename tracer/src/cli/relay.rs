//! `tracer relay`: its options, and the configuration that they resolve to.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use super::Exit;
use super::cluster::KubeArgs;
use super::export::HttpAddress;
use super::logs::LogArgs;
use crate::cluster::ClusterSource;
use crate::config::{RelayConfig, TlsPair};
use crate::export::http;
use crate::run;

/// Arguments of `tracer relay`.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = HELP)]
pub struct RelayArgs {
    /// Serve the Kubernetes API on this address, with TLS
    #[arg(long, value_name = "ADDR:PORT", default_value_t = any(8443))]
    listen: SocketAddr,

    /// Accept agents on this address, with TLS
    #[arg(long, value_name = "ADDR:PORT", default_value_t = any(8444))]
    agents: SocketAddr,

    /// Serve /metrics on this address; none disables it
    #[arg(long, value_name = "ADDR:PORT", default_value = http::DEFAULT_RELAY_ADDRESS)]
    http: HttpAddress,

    /// The relays' Service, whose name is in their certificate
    #[arg(long, value_name = "NAME", default_value = "tracer-relay")]
    service: String,

    /// The agents' service account
    #[arg(long, value_name = "NAME", default_value = "tracer-agent")]
    agent_account: String,

    /// The namespace of relays and agents [default: this pod's]
    #[arg(long, value_name = "NAME")]
    relay_namespace: Option<String>,

    /// Use this certificate, PEM, instead of making one
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert, PEM
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    tls_key: Option<PathBuf>,

    /// The CA of --tls-cert, PEM, which is published for the agents
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    tls_ca: Option<PathBuf>,

    #[command(flatten)]
    log: LogArgs,

    #[command(flatten)]
    kube: KubeArgs,
}

const fn any(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)
}

const HELP: &str = "\
Operation:
  Serves what the agents of a cluster see as a Kubernetes API, so that
  kubectl, RBAC and audit logs work as for any other object:

    kubectl get findings -A
    kubectl get findings -n shop --watch
    kubectl get traces -n shop
    kubectl get tracernodes

  Kubernetes' API server authenticates users and forwards their requests
  (APIService v1alpha1.tracer.internal). Agents connect to every relay; a relay
  asks an agent for events only while a user wants them, and keeps the
  findings of all agents.
  It runs in the cluster as the Deployment in deploy/, without capabilities.

Certificate:
  The relays make a CA and a certificate in the Secret SERVICE-tls, renew them,
  and publish the CA in the ConfigMap SERVICE-ca and in the APIService. With
  --tls-cert, --tls-key and --tls-ca they use files, such as those of
  cert-manager, and read them again once a minute; the caBundle of the
  APIService is then left alone.

Exit codes:
  0  the relay was stopped
  2  it could not run: no API server, or an address is in use";

impl RelayArgs {
    fn resolve(&self) -> anyhow::Result<RelayConfig> {
        let tls = match (&self.tls_cert, &self.tls_key, &self.tls_ca) {
            (None, None, None) => None,
            (Some(certificate), Some(key), Some(authorities)) => Some(TlsPair {
                certificate: certificate.clone(),
                key: key.clone(),
                authorities: authorities.clone(),
            }),
            _ => bail!("--tls-cert, --tls-key and --tls-ca are used together: give all three"),
        };
        let source = match (&self.kube.kubeconfig, &self.kube.context) {
            (None, None) => ClusterSource::InCluster,
            (file, context) if cfg!(feature = "kubeconfig") => ClusterSource::Kubeconfig {
                file: file.clone(),
                context: context.clone(),
            },
            _ => bail!(
                "this build reads no kubeconfig, because a relay in a cluster must not: leave out --kubeconfig and --context"
            ),
        };
        Ok(RelayConfig {
            listen: self.listen,
            agents: self.agents,
            http: self.http.0,
            service: self.service.clone(),
            agent_account: self.agent_account.clone(),
            namespace: self.relay_namespace.clone(),
            tls,
            source,
        })
    }

    pub(super) fn run(&self) -> anyhow::Result<Exit> {
        let config = self.resolve()?;
        // The filter of the log does not change while the relay runs.
        let _set_log = self.log.install();
        run::relay(&config)?;
        Ok(Exit::Fine)
    }
}
