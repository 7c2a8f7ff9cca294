//! Makes certificates, and decides when. Pure, apart from random keys.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// How long an authority and a certificate are valid. Each is replaced when a third of this is left.
const AUTHORITY_DAYS: u64 = 3 * 365;
const CERTIFICATE_DAYS: u64 = 90;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A certificate is valid from this long ago: clocks differ.
const EARLIER: Duration = Duration::from_secs(60 * 60);

/// A certificate and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub certificate: String,
    pub key: String,
}

/// All that the relays share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pki {
    /// The trusted authorities, PEM: the current one first, then the one before.
    pub authorities: String,
    /// The current authority's key.
    pub authority_key: String,
    /// The relays' certificate.
    pub serving: Pair,
}

/// What replaces `known` now; `None` if it can stay.
pub(super) fn renewed(
    known: Option<&Pki>,
    names: &[String],
    now: SystemTime,
) -> Result<Option<Pki>, rcgen::Error> {
    let authorities: Vec<String> = known
        .map(|known| split(&known.authorities))
        .unwrap_or_default();
    let current = authorities
        .first()
        .filter(|authority| is_fresh(authority, AUTHORITY_DAYS, now));
    let (authority, key) = match (current, known) {
        (Some(authority), Some(known)) if KeyPair::from_pem(&known.authority_key).is_ok() => {
            (authority.clone(), known.authority_key.clone())
        }
        _ => authority(now)?,
    };
    let same_authority = authorities.first() == Some(&authority);
    if let Some(known) = known {
        let serving = &known.serving;
        if same_authority
            && is_fresh(&serving.certificate, CERTIFICATE_DAYS, now)
            && is_for(&serving.certificate, names)
        {
            return Ok(None);
        }
    }
    let issuer = Issuer::from_ca_cert_pem(&authority, KeyPair::from_pem(&key)?)?;
    let serving = certificate(names, &issuer, now)?;
    let previous = authorities
        .iter()
        .filter(|other| **other != authority && left(other, now).is_some())
        .take(1);
    let trusted: Vec<&str> = std::iter::once(&authority)
        .chain(previous)
        .map(String::as_str)
        .collect();
    Ok(Some(Pki {
        authorities: trusted.concat(),
        authority_key: key,
        serving,
    }))
}

fn authority(now: SystemTime) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(Vec::new())?;
    // The time distinguishes an authority from the one before.
    parameters.distinguished_name = name(&format!("tracer relay authority {}", unix_seconds(now)));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    valid(&mut parameters, AUTHORITY_DAYS, now);
    let certificate = parameters.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn certificate(
    names: &[String],
    issuer: &Issuer<'_, KeyPair>,
    now: SystemTime,
) -> Result<Pair, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(names.to_vec())?;
    parameters.distinguished_name = name("tracer relay");
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    valid(&mut parameters, CERTIFICATE_DAYS, now);
    let certificate = parameters.signed_by(&key, issuer)?;
    Ok(Pair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn valid(parameters: &mut CertificateParams, days: u64, now: SystemTime) {
    parameters.not_before = (now - EARLIER).into();
    parameters.not_after = (now + DAY * u32::try_from(days).unwrap_or(u32::MAX)).into();
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map(|since| since.as_secs())
        .unwrap_or_default()
}

/// More than a third of its time is left.
fn is_fresh(certificate: &str, days: u64, now: SystemTime) -> bool {
    left(certificate, now).is_some_and(|left| left.as_secs() > DAY.as_secs() * days / 3)
}

/// How long a certificate is still valid.
fn left(certificate: &str, now: SystemTime) -> Option<Duration> {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
    let end = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(end);
    end.duration_since(now).ok().filter(|left| !left.is_zero())
}

fn is_for(certificate: &str, names: &[String]) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(certificate.as_bytes()) else {
        return false;
    };
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(&der) else {
        return false;
    };
    let Ok(Some(alternatives)) = parsed.subject_alternative_name() else {
        return false;
    };
    let general = &alternatives.value.general_names;
    names.iter().all(|name| {
        general.iter().any(|known| {
            matches!(known, x509_parser::extensions::GeneralName::DNSName(known) if known == name)
        })
    })
}

/// The certificates of a PEM text.
fn split(pem: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    pem.split_inclusive(END)
        .filter(|part| part.contains(END))
        .map(|part| format!("{}\n", part.trim_start().trim_end()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["tracer-relay.tracer.svc".to_owned()]
    }

    /// Whether a client that trusts `authorities` accepts the certificate at that time, by rustls.
    fn is_accepted(pki: &Pki, authorities: &str, at: SystemTime) -> bool {
        use rustls::client::WebPkiServerVerifier;
        use rustls::client::danger::ServerCertVerifier as _;
        use rustls::pki_types::{ServerName, UnixTime};
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
            roots.add(certificate.expect("PEM")).expect("an authority");
        }
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
            .build()
            .expect("a verifier");
        let certificate =
            CertificateDer::from_pem_slice(pki.serving.certificate.as_bytes()).expect("PEM");
        let name = ServerName::try_from("tracer-relay.tracer.svc").expect("a name");
        let since = at.duration_since(SystemTime::UNIX_EPOCH).expect("later");
        verifier
            .verify_server_cert(
                &certificate,
                &[],
                &name,
                &[],
                UnixTime::since_unix_epoch(since),
            )
            .is_ok()
    }

    #[test]
    fn five_years_of_renewals_are_always_trusted_by_who_knew_the_state_a_month_before() {
        let start = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let mut pki = renewed(None, &names(), start).expect("made").expect("new");
        let mut known_then = Vec::new();
        let mut changes = 0;
        let mut authorities = 1;
        for day in 0..5 * 365 {
            let now = start + DAY * day;
            if let Some(next) = renewed(Some(&pki), &names(), now).expect("made") {
                changes += 1;
                authorities += u32::from(next.authority_key != pki.authority_key);
                pki = next;
            }
            assert!(is_accepted(&pki, &pki.authorities, now), "day {day}");
            known_then.push(pki.authorities.clone());
        }
        // Every 60 of 90 days, and every 2 of 3 years.
        assert!((28..=34).contains(&changes), "{changes}");
        assert_eq!(authorities, 3);
    }

    #[test]
    fn a_new_authority_leaves_the_old_one_trusted() {
        let start = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let old = renewed(None, &names(), start).expect("made").expect("new");
        let later = start + DAY * 2 * 365 + DAY;
        let new = renewed(Some(&old), &names(), later)
            .expect("made")
            .expect("new");
        assert_ne!(new.authority_key, old.authority_key);
        // The old certificate, for a relay that has not read the new one yet.
        let old_certificate = Pki {
            serving: renewed(
                Some(&Pki {
                    serving: Pair {
                        certificate: String::new(),
                        ..old.serving.clone()
                    },
                    ..old.clone()
                }),
                &names(),
                start + DAY * 600,
            )
            .expect("made")
            .expect("new")
            .serving,
            ..new.clone()
        };
        let at = start + DAY * 620;
        assert!(is_accepted(&old_certificate, &new.authorities, at));
        assert!(!is_accepted(&new, &old.authorities, later));
    }

    #[test]
    fn damaged_state_and_another_name_are_replaced() {
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let good = renewed(None, &names(), now).expect("made").expect("new");
        assert_eq!(renewed(Some(&good), &names(), now).expect("checked"), None);
        let other = vec!["other.tracer.svc".to_owned()];
        let for_other = renewed(Some(&good), &other, now)
            .expect("made")
            .expect("new");
        assert_eq!(for_other.authorities, good.authorities);
        let damaged = Pki {
            authority_key: "no key".to_owned(),
            ..good
        };
        let repaired = renewed(Some(&damaged), &names(), now)
            .expect("made")
            .expect("new");
        assert!(is_accepted(&repaired, &repaired.authorities, now));
    }
}
