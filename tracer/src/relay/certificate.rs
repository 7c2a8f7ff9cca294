//! The relay's certificate and its authority, made and renewed by the relays themselves.
//!
//! Both are in a Secret that the relays share. Which of them makes it is decided by the API server: a change of an older
//! version of the Secret fails, and the relay reads what another one wrote. The authority's certificates are published
//! for agents in a ConfigMap, and for the API server in the APIService. When an authority is replaced both are trusted
//! until the old one ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use parking_lot::RwLock;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde_json::json;
use tracer_core::model::error_chain::error_chain;

use self::issue::{Pair, Pki};
use crate::stream::relays::AUTHORITY_KEY;

mod issue;

/// How often the Secret is read: a certificate that another relay renewed is used after this.
const CHECK: Duration = Duration::from_secs(60);
/// The wait after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// The keys of the Secret's data.
const KEYS: [&str; 4] = [AUTHORITY_KEY, "ca.key", "tls.crt", "tls.key"];

/// What a certificate is for, and where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The relays' Service.
    pub service: String,
    /// Its namespace.
    pub namespace: String,
    /// The APIService.
    pub api_service: String,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The API server refuses, or does not answer.
    #[error("cannot {operation} {object}: {}", error_chain(source))]
    Api {
        /// What was tried.
        operation: &'static str,
        /// On what.
        object: String,
        /// The answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// The key and the certificates cannot be used.
    #[error("cannot use the certificate of {0}")]
    Unusable(String),
}

/// The certificate in use. It can change at any time.
#[derive(Debug, Default)]
pub struct Serving {
    key: RwLock<Option<Arc<CertifiedKey>>>,
}

impl Serving {
    /// Uses this certificate from now on.
    ///
    /// # Errors
    /// If the PEM texts are no certificate with its key.
    pub fn set(&self, certificates: &[u8], key: &[u8]) -> Result<(), CertificateError> {
        let chain = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| CertificateError::Unusable(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| CertificateError::Unusable(error.to_string()))?;
        let provider = rustls::crypto::ring::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider)
            .map_err(|error| CertificateError::Unusable(error.to_string()))?;
        *self.key.write() = Some(Arc::new(certified));
        Ok(())
    }

    /// When the certificate in use ends, in seconds since 1970; `None` before there is one.
    pub fn expires(&self) -> Option<i64> {
        let key = self.key.read();
        let (_, parsed) = x509_parser::parse_x509_certificate(key.as_ref()?.cert.first()?).ok()?;
        Some(parsed.validity().not_after.timestamp())
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.key.read().clone()
    }
}

/// Keeps the certificate in use valid, and its authority published.
#[derive(Clone)]
pub struct Keeper {
    client: Client,
    place: Place,
    serving: Arc<Serving>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Keeper").field(&self.place).finish()
    }
}

impl Keeper {
    /// Keeps the certificate in `serving`.
    pub fn new(client: Client, place: Place, serving: Arc<Serving>) -> Keeper {
        Keeper {
            client,
            place,
            serving,
        }
    }

    /// Reads or makes the certificate, for ever. `ready` is called once it can be used.
    pub async fn run(self, ready: impl FnOnce()) {
        let mut ready = Some(ready);
        let mut reported = None;
        loop {
            let wait = match self.once().await {
                Ok(published) => {
                    reported = None;
                    if let Some(ready) = ready.take() {
                        ready();
                    }
                    if published { CHECK } else { RETRY }
                }
                Err(error) => {
                    let error = error.to_string();
                    if reported.as_ref() != Some(&error) {
                        tracing::error!("{error}; trying again");
                        reported = Some(error);
                    }
                    RETRY
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Reads the certificate, renews it if it is time, uses it and publishes its authority. Returns whether all that
    /// has to know the authority does.
    async fn once(&self) -> Result<bool, CertificateError> {
        let pki = self.shared().await?;
        // Agents and the API server must know the authority before its certificate is used.
        let published = self.publish(&pki).await?;
        let (certificate, key) = (&pki.serving.certificate, &pki.serving.key);
        self.serving.set(certificate.as_bytes(), key.as_bytes())?;
        Ok(published)
    }

    fn secret(&self) -> String {
        format!("{}-tls", self.place.service)
    }

    /// What is in the Secret, after its renewal.
    async fn shared(&self) -> Result<Pki, CertificateError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.place.namespace);
        let name = self.secret();
        let object = || format!("Secret {}/{name}", self.place.namespace);
        let api = |operation| {
            let object = object();
            move |source| CertificateError::Api {
                operation,
                object,
                source: Box::new(source),
            }
        };
        // Twice: another relay can be faster.
        for _ in 0..2 {
            let found = secrets.get_opt(&name).await.map_err(api("read"))?;
            let known = found.as_ref().and_then(read);
            let service = &self.place.service;
            let names = [
                format!("{service}.{}.svc", self.place.namespace),
                format!("{service}.{}", self.place.namespace),
            ];
            let pki = match issue::renewed(known.as_ref(), &names, SystemTime::now())? {
                None => return known.ok_or_else(|| CertificateError::Unusable(object())),
                Some(pki) => pki,
            };
            let mut secret = Secret {
                metadata: ObjectMeta {
                    name: Some(name.clone()),
                    labels: Some(labels()),
                    ..ObjectMeta::default()
                },
                type_: Some("Opaque".to_owned()),
                data: Some(written(&pki)),
                ..Secret::default()
            };
            let stored = match found {
                None => secrets.create(&PostParams::default(), &secret).await,
                Some(found) => {
                    secret.metadata.resource_version = found.resource_version();
                    secrets
                        .replace(&name, &PostParams::default(), &secret)
                        .await
                }
            };
            match stored {
                Ok(_) => {
                    tracing::info!("made a certificate and wrote it to {}", object());
                    return Ok(pki);
                }
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(api("write")(error)),
            }
        }
        Err(CertificateError::Unusable(format!(
            "{}, which other relays keep changing",
            object()
        )))
    }

    /// Publishes the authority's certificates, where they are not yet.
    async fn publish(&self, pki: &Pki) -> Result<bool, CertificateError> {
        self.publish_for_agents(&pki.authorities).await?;
        self.publish_for_api_server(&pki.authorities).await
    }

    /// The ConfigMap for agents.
    ///
    /// # Errors
    /// What the API server answers.
    pub async fn publish_for_agents(&self, authorities: &str) -> Result<(), CertificateError> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.place.namespace);
        let name = format!("{}-ca", self.place.service);
        let api = |operation| {
            let object = format!("ConfigMap {}/{name}", self.place.namespace);
            move |source| CertificateError::Api {
                operation,
                object,
                source: Box::new(source),
            }
        };
        let found = maps.get_opt(&name).await.map_err(api("read"))?;
        let published = found
            .as_ref()
            .and_then(|map| map.data.as_ref()?.get(AUTHORITY_KEY));
        if published.map(String::as_str) == Some(authorities) {
            return Ok(());
        }
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some(labels()),
                resource_version: found.as_ref().and_then(|map| map.resource_version()),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(
                AUTHORITY_KEY.to_owned(),
                authorities.to_owned(),
            )])),
            ..ConfigMap::default()
        };
        let stored = match found {
            None => maps.create(&PostParams::default(), &map).await,
            Some(_) => maps.replace(&name, &PostParams::default(), &map).await,
        };
        match stored {
            Ok(_) => Ok(()),
            // Another relay published the same.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(api("write")(error)),
        }
    }

    /// Whether there is an APIService to publish for.
    async fn publish_for_api_server(&self, authorities: &str) -> Result<bool, CertificateError> {
        let services: Api<APIService> = Api::all(self.client.clone());
        let name = &self.place.api_service;
        let api = |operation| {
            let object = format!("APIService {name}");
            move |source| CertificateError::Api {
                operation,
                object,
                source: Box::new(source),
            }
        };
        let Some(found) = services.get_opt(name).await.map_err(api("read"))? else {
            // It may come later; until then there is nothing to serve.
            tracing::debug!("APIService {name} does not exist, so kubectl cannot reach this relay");
            return Ok(false);
        };
        let published = found.spec.and_then(|spec| spec.ca_bundle);
        if published.is_some_and(|bundle| bundle.0 == authorities.as_bytes()) {
            return Ok(true);
        }
        let bundle = BASE64_STANDARD.encode(authorities);
        let patch = json!({"spec": {"caBundle": bundle}});
        services
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map(|_| true)
            .map_err(api("write the caBundle of"))
    }
}

fn labels() -> BTreeMap<String, String> {
    let label = |key: &str, value: &str| (format!("app.kubernetes.io/{key}"), value.to_owned());
    BTreeMap::from([
        label("name", "tracer"),
        label("component", "relay"),
        label("managed-by", "tracer-relay"),
    ])
}

/// What is in a Secret; `None` if something is missing.
fn read(secret: &Secret) -> Option<Pki> {
    let data = secret.data.as_ref()?;
    let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
    let [authority, authority_key, certificate, key] = KEYS.map(text);
    Some(Pki {
        authorities: authority?,
        authority_key: authority_key?,
        serving: Pair {
            certificate: certificate?,
            key: key?,
        },
    })
}

fn written(pki: &Pki) -> BTreeMap<String, ByteString> {
    let values = [
        &pki.authorities,
        &pki.authority_key,
        &pki.serving.certificate,
        &pki.serving.key,
    ];
    KEYS.iter()
        .zip(values)
        .map(|(key, value)| ((*key).to_owned(), ByteString(value.clone().into_bytes())))
        .collect()
}
