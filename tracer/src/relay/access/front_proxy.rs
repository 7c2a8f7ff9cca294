//! The API server as a front proxy: its certificate, and the headers in which it names the user.
//!
//! Owns what ConfigMap `kube-system/extension-apiserver-authentication` says, read again every
//! [`READ_EVERY`]: the authority that issues the API server's client certificate, the names that the
//! certificate may have (any, if the list is empty), and the names of the headers. Headers count only on a
//! connection with such a certificate.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use parking_lot::RwLock;
use percent_encoding::percent_decode_str;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use tracer_core::model::error_chain::error_chain;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::User;

/// The ConfigMap and its namespace.
const CONFIG_MAP: (&str, &str) = ("kube-system", "extension-apiserver-authentication");
/// How often it is read.
pub const READ_EVERY: Duration = Duration::from_secs(30);
/// How often, as long as it has not been read.
const RETRY_EVERY: Duration = Duration::from_secs(2);
/// How long an answer may take.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Why a request is not authenticated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// The ConfigMap has not been read yet.
    #[error("the relay has not read the API server's request-header configuration yet")]
    NotConfigured,
    /// The API server has no front-proxy authority.
    #[error("the API server has no --requestheader-client-ca-file, so it cannot name its users")]
    NoAuthority,
    /// The client has no certificate.
    #[error("only the API server's aggregation layer is served: no client certificate")]
    NoCertificate,
    /// Another authority issued it, it has expired, or it is not for clients.
    #[error("only the API server's aggregation layer is served: {0}")]
    Issuer(String),
    /// Its name is not one of the allowed.
    #[error(
        "the client certificate's name {0:?} is not one of the API server's --requestheader-allowed-names"
    )]
    Name(String),
    /// No header names the user.
    #[error("no header names the user")]
    NoUser,
}

/// What the ConfigMap says.
#[derive(Debug)]
struct Settings {
    /// `None` if it names no authority.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    allowed_names: Vec<String>,
    user_headers: Vec<String>,
    uid_headers: Vec<String>,
    group_headers: Vec<String>,
    extra_prefixes: Vec<String>,
}

/// A ConfigMap that cannot be used.
#[derive(Debug, thiserror::Error)]
enum SettingsError {
    #[error("{key} is not a list of names: {source}")]
    List {
        key: &'static str,
        source: serde_json::Error,
    },
    #[error("requestheader-client-ca-file is not PEM: {0}")]
    Pem(rustls::pki_types::pem::Error),
    #[error("requestheader-client-ca-file: {0}")]
    Authority(String),
}

/// Authenticates requests of the API server.
#[derive(Debug, Default)]
pub struct FrontProxy {
    settings: RwLock<Option<Arc<Settings>>>,
}

impl FrontProxy {
    /// Whether the ConfigMap has been read.
    pub fn is_configured(&self) -> bool {
        self.settings.read().is_some()
    }

    /// Keeps the settings up to date, until the future is dropped. A failure is logged and tried again; the
    /// settings stay.
    pub async fn follow(&self, client: Client) {
        let (namespace, name) = CONFIG_MAP;
        let maps: Api<ConfigMap> = Api::namespaced(client, namespace);
        let mut failing = false;
        loop {
            let read = tokio::time::timeout(READ_WITHIN, maps.get(name)).await;
            let failure = match read {
                Ok(Ok(map)) => self.configure(&map).err(),
                Ok(Err(error)) => Some(error_chain(&error)),
                Err(_) => Some("no answer".to_owned()),
            };
            match &failure {
                Some(error) if !failing => tracing::warn!(
                    error,
                    "cannot read ConfigMap {namespace}/{name}: bind Role extension-apiserver-authentication-reader \
                     to the relay's service account; trying again"
                ),
                _ => {}
            }
            failing = failure.is_some();
            let wait = match self.is_configured() {
                true => READ_EVERY,
                false => RETRY_EVERY,
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes over what the ConfigMap says.
    ///
    /// # Errors
    /// In words, if it cannot be used; the settings stay.
    pub fn configure(&self, map: &ConfigMap) -> Result<(), String> {
        let settings = Settings::read(map).map_err(|error| error.to_string())?;
        *self.settings.write() = Some(Arc::new(settings));
        Ok(())
    }

    /// The user of a request, on a connection with this chain of certificates.
    ///
    /// # Errors
    /// If the client is not the API server, or names no user.
    pub fn authenticate(
        &self,
        chain: &[CertificateDer<'_>],
        headers: &HeaderMap,
    ) -> Result<User, Unauthenticated> {
        let settings = self.settings.read().clone();
        let settings = settings.ok_or(Unauthenticated::NotConfigured)?;
        settings.verify(chain)?;
        settings.user(headers)
    }
}

impl Settings {
    fn read(map: &ConfigMap) -> Result<Settings, SettingsError> {
        let text = |key: &str| {
            let data = map.data.as_ref();
            data.and_then(|data| data.get(key)).map(String::as_str)
        };
        let list = |key: &'static str| match text(key) {
            None | Some("") => Ok(Vec::new()),
            Some(text) => serde_json::from_str::<Vec<String>>(text)
                .map_err(|source| SettingsError::List { key, source }),
        };
        Ok(Settings {
            verifier: text("requestheader-client-ca-file")
                .filter(|pem| !pem.trim().is_empty())
                .map(verifier)
                .transpose()?,
            allowed_names: list("requestheader-allowed-names")?,
            user_headers: list("requestheader-username-headers")?,
            uid_headers: list("requestheader-uid-headers")?,
            group_headers: list("requestheader-group-headers")?,
            extra_prefixes: list("requestheader-extra-headers-prefix")?
                .into_iter()
                .map(|prefix| prefix.to_ascii_lowercase())
                .collect(),
        })
    }

    fn verify(&self, chain: &[CertificateDer<'_>]) -> Result<(), Unauthenticated> {
        let (own, intermediates) = chain.split_first().ok_or(Unauthenticated::NoCertificate)?;
        let verifier = self.verifier.as_ref().ok_or(Unauthenticated::NoAuthority)?;
        verifier
            .verify_client_cert(own, intermediates, UnixTime::now())
            .map_err(|error| Unauthenticated::Issuer(error.to_string()))?;
        if self.allowed_names.is_empty() {
            return Ok(());
        }
        let name = common_name(own).unwrap_or_default();
        match self.allowed_names.contains(&name) {
            true => Ok(()),
            false => Err(Unauthenticated::Name(name)),
        }
    }

    fn user(&self, headers: &HeaderMap) -> Result<User, Unauthenticated> {
        let first = |names: &[String]| {
            let values = names.iter().filter_map(|name| headers.get(name));
            let mut texts = values.filter_map(text_of);
            texts.find(|text| !text.is_empty()).map(str::to_owned)
        };
        let name = first(&self.user_headers).ok_or(Unauthenticated::NoUser)?;
        let groups = self
            .group_headers
            .iter()
            .flat_map(|name| headers.get_all(name))
            .filter_map(text_of)
            .filter(|group| !group.is_empty())
            .map(str::to_owned)
            .collect();
        let mut user = User {
            name,
            uid: first(&self.uid_headers),
            groups,
            ..User::default()
        };
        for (header, value) in headers {
            let prefix = self
                .extra_prefixes
                .iter()
                .find_map(|prefix| header.as_str().strip_prefix(prefix.as_str()));
            if let (Some(key), Some(value)) = (prefix, text_of(value)) {
                // Keys can have characters that header names cannot.
                let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
                let values = user.extra.entry(key).or_default();
                values.push(value.to_owned());
            }
        }
        Ok(user.with_group())
    }
}

/// Names can have characters beyond ASCII.
fn text_of(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

fn verifier(pem: &str) -> Result<Arc<dyn ClientCertVerifier>, SettingsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(SettingsError::Pem)?;
        roots
            .add(certificate)
            .map_err(|error| SettingsError::Authority(error.to_string()))?;
    }
    let provider = Arc::new(ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| SettingsError::Authority(error.to_string()))
}

/// The common name of a certificate's subject.
fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut names = certificate.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests;
