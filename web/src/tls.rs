//! The box's own certificates: a private CA, made once and kept in the data folder, and a certificate for the
//! Kubernetes-shaped door, made anew at each start. kubectl sends no credentials over plain HTTP.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc};

use kfbox_store::{Error, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// Names under which clients call the door, beside the machine's own.
pub const NAMES: &[&str] = &[
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];
const LOCAL: &[&str] = &["localhost", "127.0.0.1", "::1"];

/// A door's certificate, and the CA that vouches for it.
#[derive(Clone)]
pub struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    /// The CA's certificate, PEM.
    pub ca: String,
}

fn params(name: &str, names: Vec<String>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names).map_err(Error::internal)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2050, 1, 1);
    Ok(params)
}

fn ca_params() -> Result<CertificateParams> {
    let mut params = params("kfbox", Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

impl Tls {
    /// Reads or makes the CA in `folder` (`ca.crt`, and `ca.key` for the owner only), and makes the certificate.
    /// `host` is the machine's name.
    ///
    /// # Errors
    /// When the files cannot be read or written, or are not what this wrote.
    pub fn open(folder: &Path, host: &str) -> Result<Self> {
        let (key_file, ca_file) = (folder.join("ca.key"), folder.join("ca.crt"));
        let key = match fs::read_to_string(&key_file) {
            Ok(pem) => KeyPair::from_pem(&pem).map_err(|e| {
                Error::invalid(format!(
                    "{} is damaged: restore it from a backup, or remove it and ca.crt (kubeconfigs must be made again)",
                    key_file.display()
                ))
                .because(e)
            })?,
            Err(_) => {
                let key = KeyPair::generate().map_err(Error::internal)?;
                write_private(&key_file, &key.serialize_pem())?;
                // It vouched for another key.
                let _ = fs::remove_file(&ca_file);
                key
            }
        };
        let ca = match fs::read_to_string(&ca_file) {
            Ok(pem) => pem,
            Err(_) => {
                let pem = ca_params()?
                    .self_signed(&key)
                    .map_err(Error::internal)?
                    .pem();
                write_whole(&ca_file, &pem)?;
                pem
            }
        };
        let issuer = Issuer::new(ca_params()?, key);
        let names = NAMES.iter().chain(LOCAL).map(ToString::to_string);
        let host = host.to_ascii_lowercase();
        let plain = !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
        let names = names.chain(plain.then_some(host)).collect();
        let mut leaf = params("kfbox kube", names)?;
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.use_authority_key_identifier_extension = true;
        let leaf_key = KeyPair::generate().map_err(Error::internal)?;
        let certificate = leaf
            .signed_by(&leaf_key, &issuer)
            .map_err(Error::internal)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Error::internal)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .map_err(Error::internal)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            ca,
        })
    }
}

fn write_private(file: &Path, text: &str) -> Result<()> {
    let part = file.with_extension("part");
    let _ = fs::remove_file(&part);
    let mut out = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)
        .map_err(Error::internal)?;
    out.write_all(text.as_bytes()).map_err(Error::internal)?;
    out.sync_all().map_err(Error::internal)?;
    fs::rename(&part, file).map_err(Error::internal)
}

fn write_whole(file: &Path, text: &str) -> Result<()> {
    let part = file.with_extension("part");
    fs::write(&part, text).map_err(Error::internal)?;
    fs::rename(&part, file).map_err(Error::internal)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_ca_is_made_once_and_its_key_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let first = Tls::open(folder.path(), "Lab_1").unwrap();
        let second = Tls::open(folder.path(), "lab-1").unwrap();
        assert_eq!(first.ca, second.ca);
        let mode = fs::metadata(folder.path().join("ca.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(folder.path().join("ca.key"), "nonsense").unwrap();
        assert!(Tls::open(folder.path(), "").is_err());
    }
}
