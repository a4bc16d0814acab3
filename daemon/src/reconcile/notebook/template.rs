//! The Pod of a Notebook: its own template, with what Kubeflow's controller puts in, and with what signs its user in to the
//! box's services.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        ContainerPort, EnvVar, EnvVarSource, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
        SecretKeySelector, TCPSocketAction,
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use kfbox_store::{
    Object, Result,
    kinds::notebook::{NOTEBOOK_LABEL, NOTEBOOK_PORT, NotebookSpec, STOPPED},
};
use serde_json::json;
use sha2::{Digest, Sha256};

/// The working folder of Kubeflow's images.
const HOME: &str = "/home/jovyan";
/// The group of the volumes' files, which Kubeflow's images run with.
const GROUP: i64 = 100;
/// The token of the Pod's service account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// The Secret with the namespace's key to the S3 endpoint.
const STORE_KEY: &str = "mlpipeline-minio-artifact";

/// The port that its server listens on.
pub(super) fn port(spec: &PodSpec) -> i32 {
    let first = spec.containers.first();
    let mut ports = first.and_then(|c| c.ports.as_ref()).into_iter().flatten();
    ports.next().map_or(NOTEBOOK_PORT, |p| p.container_port)
}

/// The annotations that its Pod gets too. As upstream's controller has it: not those that are about the notebook.
fn annotations(notebook: &Object) -> BTreeMap<String, String> {
    let about = |key: &str| {
        key.contains("kubectl")
            || key.contains("notebook")
            || key == STOPPED
            || key.starts_with("kfbox.dev/")
    };
    let all = notebook.metadata.annotations.iter();
    all.filter(|(key, _)| !about(key))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

/// Names what of the Notebook its Pod depends on.
pub(super) fn inputs(notebook: &Object) -> Result<String> {
    let all = json!([
        notebook.body.get("spec"),
        notebook.metadata.labels,
        annotations(notebook)
    ]);
    let digest = Sha256::digest(all.to_string().as_bytes());
    Ok(hex::encode(&digest[..8]))
}

/// Its Pod's template. `ui` is the box's address in a browser, for the links that clients print.
pub(super) fn pod(notebook: &Object, ui: &str) -> Result<PodTemplateSpec> {
    let (name, ns) = (&notebook.metadata.name, &notebook.metadata.namespace);
    let spec: NotebookSpec = notebook.spec()?;
    let mut spec = spec.template.spec;
    let port = port(&spec);
    let security = spec
        .security_context
        .get_or_insert_with(|| PodSecurityContext {
            fs_group: Some(GROUP),
            ..PodSecurityContext::default()
        });
    // Root's files on a new volume, and a server that is not root: without a group it could write nothing.
    security.fs_group.get_or_insert(GROUP);
    if let Some(server) = spec.containers.first_mut() {
        server.working_dir.get_or_insert_with(|| HOME.into());
        let ports = server.ports.get_or_insert_default();
        if ports.is_empty() {
            ports.push(ContainerPort {
                container_port: port,
                name: Some("notebook-port".into()),
                protocol: Some("TCP".into()),
                ..ContainerPort::default()
            });
        }
        let env = server.env.get_or_insert_default();
        env.retain(|e| e.name != "NB_PREFIX");
        env.push(plain("NB_PREFIX", &format!("/notebook/{ns}/{name}")));
        for var in signed_in(ns, ui) {
            if !env.iter().any(|e| e.name == var.name) {
                env.push(var);
            }
        }
        // So that it is ready when its server listens, not when its process starts.
        server.readiness_probe.get_or_insert_with(|| Probe {
            tcp_socket: Some(TCPSocketAction {
                port: IntOrString::Int(port),
                host: None,
            }),
            period_seconds: Some(1),
            failure_threshold: Some(10),
            ..Probe::default()
        });
    }
    let own = [("statefulset", name), (NOTEBOOK_LABEL, name)];
    let mut labels = notebook.metadata.labels.clone();
    labels.extend(own.map(|(k, v)| (k.to_string(), v.clone())));
    Ok(PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations(notebook)),
            ..ObjectMeta::default()
        }),
        spec: Some(spec),
    })
}

fn plain(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.into(),
        value: Some(value.into()),
        value_from: None,
    }
}

/// Variables by which clients find the box and are let in: `kfp.Client()`, Kale, boto3, s3fs, pandas, MLflow. Those of
/// Kubernetes find the service account's folder by themselves. `kfp` is not told an address, or it would send no token:
/// it knows the one that Kubeflow has, which the box answers to.
fn signed_in(ns: &str, ui: &str) -> Vec<EnvVar> {
    let key = |name: &str, key: &str| EnvVar {
        name: name.into(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: STORE_KEY.into(),
                key: key.into(),
                optional: Some(true),
            }),
            ..EnvVarSource::default()
        }),
    };
    let s3 = "http://minio-service.kubeflow:9000";
    vec![
        plain("KF_PIPELINES_UI_ENDPOINT", ui),
        plain("KF_PIPELINES_SA_TOKEN_PATH", TOKEN),
        plain("KALE_KFP_NAMESPACE", ns),
        plain("AWS_ENDPOINT_URL", s3),
        plain("AWS_DEFAULT_REGION", "us-east-1"),
        key("AWS_ACCESS_KEY_ID", "accesskey"),
        key("AWS_SECRET_ACCESS_KEY", "secretkey"),
        plain(
            "MLFLOW_TRACKING_URI",
            &format!("http://ml-pipeline.kubeflow:8888/mlflow/{ns}"),
        ),
    ]
}
