//! The identities of a cluster: its own certificate authority, a certificate for each component, kubeconfig
//! files that carry them. Each cluster makes its own, below its directory.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use data_encoding::BASE64;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// A cluster's certificate authority.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    directory: PathBuf,
}

impl Authority {
    /// Makes an authority. Its files and those that it signs go to the directory.
    pub(super) fn new(directory: &Path) -> Result<Authority> {
        fs::create_dir_all(directory)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "tracer-cluster");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let certificate = params.self_signed(&key)?.pem();
        write(&directory.join("ca.crt"), &certificate)?;
        write(&directory.join("ca.key"), &key.serialize_pem())?;
        Ok(Authority {
            issuer: Issuer::new(params, key),
            certificate,
            directory: directory.to_owned(),
        })
    }

    /// Where its files are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A certificate for `NAME.crt` and `NAME.key`: its user and group, and the names that it serves.
    pub(super) fn sign(
        &self,
        name: &str,
        user: &str,
        group: Option<&str>,
        serves: &[&str],
    ) -> Result<()> {
        let (certificate, key) = self.signed(user, group, serves)?;
        write(&self.directory.join(format!("{name}.crt")), &certificate)?;
        write(&self.directory.join(format!("{name}.key")), &key)
    }

    /// A pair of keys without a certificate, `NAME.key` and `NAME.pub`: with it the API server signs the
    /// tokens of service accounts.
    pub(super) fn key(&self, name: &str) -> Result<()> {
        let key = KeyPair::generate()?;
        write(
            &self.directory.join(format!("{name}.key")),
            &key.serialize_pem(),
        )?;
        write(
            &self.directory.join(format!("{name}.pub")),
            &key.public_key_pem(),
        )
    }

    /// A kubeconfig file that contains its own certificate.
    pub(super) fn kubeconfig(
        &self,
        name: &str,
        server: &str,
        user: &str,
        group: Option<&str>,
    ) -> Result<PathBuf> {
        let (certificate, key) = self.signed(user, group, &[])?;
        let path = self.directory.join(format!("{name}.kubeconfig"));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {CONTEXT}\ncontexts:\n- name: {CONTEXT}\n  context:\n    \
             cluster: {CONTEXT}\n    user: {name}\nclusters:\n- name: {CONTEXT}\n  cluster:\n    server: {server}\n    \
             certificate-authority-data: {}\nusers:\n- name: {name}\n  user:\n    client-certificate-data: {}\n    \
             client-key-data: {}\n",
            BASE64.encode(self.certificate.as_bytes()),
            BASE64.encode(certificate.as_bytes()),
            BASE64.encode(key.as_bytes()),
        );
        write(&path, &text)?;
        Ok(path)
    }

    fn signed(&self, user: &str, group: Option<&str>, serves: &[&str]) -> Result<(String, String)> {
        let key = KeyPair::generate()?;
        let names: Vec<String> = serves.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params
                .distinguished_name
                .push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !serves.is_empty() {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

const CONTEXT: &str = "tracer-cluster";

/// Only root may read keys.
fn write(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}
