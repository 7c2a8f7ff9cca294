use std::collections::BTreeMap;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

use super::*;

/// An authority, and what it issues.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("signed").pem();
        Authority {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> Vec<CertificateDer<'static>> {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        vec![certificate.der().clone()]
    }
}

/// As kube-apiserver 1.36 writes it.
fn config_map(authority: &str, names: &str) -> ConfigMap {
    let data = [
        ("requestheader-allowed-names", names),
        ("requestheader-client-ca-file", authority),
        (
            "requestheader-extra-headers-prefix",
            r#"["X-Remote-Extra-"]"#,
        ),
        ("requestheader-group-headers", r#"["X-Remote-Group"]"#),
        ("requestheader-uid-headers", r#"["X-Remote-Uid"]"#),
        ("requestheader-username-headers", r#"["X-Remote-User"]"#),
    ];
    let data = data.map(|(key, value)| (key.to_owned(), value.to_owned()));
    ConfigMap {
        data: Some(BTreeMap::from(data)),
        ..ConfigMap::default()
    }
}

fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in all {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn proxy(map: &ConfigMap) -> FrontProxy {
    let proxy = FrontProxy::default();
    proxy.configure(map).expect("usable");
    proxy
}

#[test]
fn the_user_is_the_one_that_the_api_server_names() {
    let authority = Authority::new();
    let proxy = proxy(&config_map(&authority.pem, r#"["front-proxy-client"]"#));
    let chain = authority.issue("front-proxy-client", ExtendedKeyUsagePurpose::ClientAuth);
    let user = proxy.authenticate(
        &chain,
        &headers(&[
            ("x-remote-user", "jane"),
            ("x-remote-uid", "42"),
            ("x-remote-group", "dev"),
            ("x-remote-group", "system:authenticated"),
            ("x-remote-extra-example.com%2fscopes", "a"),
            ("x-remote-extra-example.com%2fscopes", "b"),
            ("x-other", "ignored"),
        ]),
    );
    let scopes = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(
        user,
        Ok(User {
            name: "jane".to_owned(),
            uid: Some("42".to_owned()),
            groups: vec!["dev".to_owned(), "system:authenticated".to_owned()],
            extra: BTreeMap::from([("example.com/scopes".to_owned(), scopes)]),
        })
    );
}

#[test]
fn every_user_is_in_one_of_the_two_groups_of_all() {
    let authority = Authority::new();
    let proxy = proxy(&config_map(&authority.pem, "[]"));
    let chain = authority.issue("x", ExtendedKeyUsagePurpose::ClientAuth);
    let groups = |all: &[(&'static str, &'static str)]| {
        let user = proxy.authenticate(&chain, &headers(all)).expect("a user");
        user.groups.join(" ")
    };
    assert_eq!(
        groups(&[("x-remote-user", "system:aggregator")]),
        "system:authenticated"
    );
    let anonymous = [
        ("x-remote-user", "system:anonymous"),
        ("x-remote-group", "system:unauthenticated"),
    ];
    assert_eq!(groups(&anonymous), "system:unauthenticated");
}

#[test]
fn headers_of_any_other_client_count_for_nothing() {
    let authority = Authority::new();
    let other = Authority::new();
    let jane = headers(&[("x-remote-user", "system:admin")]);
    let client = ExtendedKeyUsagePurpose::ClientAuth;
    let proxy = proxy(&config_map(&authority.pem, r#"["front-proxy-client"]"#));
    let error = |chain: &[CertificateDer<'_>]| {
        let refused = proxy.authenticate(chain, &jane);
        refused.expect_err("refused")
    };
    assert_eq!(error(&[]), Unauthenticated::NoCertificate);
    let forged = other.issue("front-proxy-client", client.clone());
    assert!(matches!(error(&forged), Unauthenticated::Issuer(_)));
    // A pod's serving certificate of the same authority.
    let server = authority.issue("front-proxy-client", ExtendedKeyUsagePurpose::ServerAuth);
    assert!(matches!(error(&server), Unauthenticated::Issuer(_)));
    let name = authority.issue("someone", client.clone());
    assert_eq!(error(&name), Unauthenticated::Name("someone".to_owned()));
    let right = authority.issue("front-proxy-client", client);
    assert!(proxy.authenticate(&right, &jane).is_ok());
    assert_eq!(
        proxy.authenticate(&right, &HeaderMap::new()),
        Err(Unauthenticated::NoUser)
    );
}

#[test]
fn an_empty_list_of_names_allows_any_and_a_new_authority_replaces_the_old() {
    let (old, new) = (Authority::new(), Authority::new());
    let jane = headers(&[("x-remote-user", "jane")]);
    let proxy = FrontProxy::default();
    let chain = old.issue("any", ExtendedKeyUsagePurpose::ClientAuth);
    assert_eq!(
        proxy.authenticate(&chain, &jane),
        Err(Unauthenticated::NotConfigured)
    );
    proxy
        .configure(&config_map(&old.pem, "[]"))
        .expect("usable");
    assert!(proxy.authenticate(&chain, &jane).is_ok());
    // While both are valid, and after.
    let both = format!("{}{}", old.pem, new.pem);
    proxy.configure(&config_map(&both, "")).expect("usable");
    assert!(proxy.authenticate(&chain, &jane).is_ok());
    proxy
        .configure(&config_map(&new.pem, "[]"))
        .expect("usable");
    assert!(proxy.authenticate(&chain, &jane).is_err());
    // One that cannot be read changes nothing.
    assert!(proxy.configure(&config_map("junk", "{}")).is_err());
    let chain = new.issue("any", ExtendedKeyUsagePurpose::ClientAuth);
    assert!(proxy.authenticate(&chain, &jane).is_ok());
    proxy.configure(&config_map("", "[]")).expect("usable");
    assert_eq!(
        proxy.authenticate(&chain, &jane),
        Err(Unauthenticated::NoAuthority)
    );
}
