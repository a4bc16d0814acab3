//! What the Pods of a TrainJob lean on: a headless Service that names them, MPI's keys and hostfile, and the
//! address at which a training tells how far it is.

use k8s_openapi::{
    ByteString,
    api::core::v1::{EnvVar, ServiceSpec},
};
use kfbox_store::{
    Error, Object, Result,
    kinds::{
        cluster::{CONFIG_MAP, SECRET},
        service::SERVICE,
    },
};
use serde_json::json;
use ssh_key::{Algorithm, EcdsaCurve, LineEnding, PrivateKey, rand_core::OsRng};

use super::{
    jobset::value,
    policy::{HOSTFILE_SUFFIX, SSH_SUFFIX},
};

/// The nodes make their host keys when they start: nobody can know them before.
const SSH_CONFIG: &str = "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n";
/// Where Pods find what they need to speak to the box.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The headless Service under whose name the Pods are found.
pub fn service(job: &Object, subdomain: &str) -> Result<Object> {
    let selector = [(
        "jobset.sigs.k8s.io/jobset-name".to_string(),
        job.metadata.name.clone(),
    )];
    let spec = ServiceSpec {
        cluster_ip: Some("None".into()),
        publish_not_ready_addresses: Some(true),
        selector: Some(selector.into_iter().collect()),
        ..ServiceSpec::default()
    };
    Ok(Object::new(&SERVICE, &job.metadata.namespace, subdomain)
        .with_spec(&spec)?
        .owned_by(job))
}

/// The name of the Secret with MPI's keys.
pub fn secret_name(job: &Object) -> String {
    format!("{}{SSH_SUFFIX}", job.metadata.name)
}

/// MPI's keys.
pub fn secret(job: &Object, keys: &dyn Fn() -> Result<(String, String)>) -> Result<Object> {
    let (private, public) = keys()?;
    let mut secret = Object::new(&SECRET, &job.metadata.namespace, &secret_name(job)).owned_by(job);
    secret.set("type", &"kubernetes.io/ssh-auth")?;
    secret.set("immutable", &true)?;
    secret.set(
        "data",
        &json!({
            "ssh-privatekey": ByteString(private.into_bytes()),
            "ssh-publickey": ByteString(public.into_bytes()),
            "ssh-config": ByteString(SSH_CONFIG.as_bytes().to_vec()),
        }),
    )?;
    Ok(secret)
}

/// A new key pair, as OpenSSH writes them: private and public.
pub fn new_keys() -> Result<(String, String)> {
    let curve = EcdsaCurve::NistP521;
    let key =
        PrivateKey::random(&mut OsRng, Algorithm::Ecdsa { curve }).map_err(Error::internal)?;
    let private = key.to_openssh(LineEnding::LF).map_err(Error::internal)?;
    let public = key.public_key().to_openssh().map_err(Error::internal)?;
    Ok((private.to_string(), format!("{public}\n")))
}

/// The names of MPI's nodes.
pub fn hostfile(job: &Object, text: &str) -> Result<Object> {
    let name = format!("{}{HOSTFILE_SUFFIX}", job.metadata.name);
    let mut map = Object::new(&CONFIG_MAP, &job.metadata.namespace, &name).owned_by(job);
    map.set("data", &json!({"hostfile": text}))?;
    Ok(map)
}

/// Where a training tells how far it is.
pub fn status_door(job: &Object) -> [EnvVar; 3] {
    let meta = &job.metadata;
    let url = format!(
        "https://$(KUBERNETES_SERVICE_HOST):$(KUBERNETES_SERVICE_PORT)/apis/{}/namespaces/{}/trainjobs/{}/status",
        job.api_version, meta.namespace, meta.name
    );
    [
        value("KUBEFLOW_TRAINER_SERVER_URL", &url),
        value(
            "KUBEFLOW_TRAINER_SERVER_CA_CERT",
            &format!("{ACCOUNT}/ca.crt"),
        ),
        value("KUBEFLOW_TRAINER_SERVER_TOKEN", &format!("{ACCOUNT}/token")),
    ]
}
