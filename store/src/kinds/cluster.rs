//! Kubernetes' kinds that Pods lean on: Secret, ConfigMap, PersistentVolumeClaim, ServiceAccount, Node.

use k8s_openapi::api::core::v1 as core;
use schemars::schema_for;

use serde_json::{Map, Value, json};

use crate::{Code, Column, Error, Kind, Object, Result, Verbs};

/// On a claim: a Pod that lives may use its files.
pub const PVC_FINALIZER: &str = "kubernetes.io/pvc-protection";
/// On a claim: how many bytes lie in it, as last counted.
pub const USED_BYTES: &str = "kfbox.dev/used-bytes";

/// Values that are not shown.
pub static SECRET: Kind = Kind {
    kind: "Secret",
    plural: "secrets",
    verbs: Verbs::All,
    builtin: true,
    schema: Some(|| schema_for!(core::Secret)),
    prepare: prepare_secret,
    validate: check_secret,
    columns: &[
        Column::path("Type", ".type"),
        Column::of("Data", |o| entries(o).to_string()),
    ],
    ..Kind::BASE
};

/// Values and files for Pods.
pub static CONFIG_MAP: Kind = Kind {
    kind: "ConfigMap",
    plural: "configmaps",
    short: &["cm"],
    verbs: Verbs::All,
    builtin: true,
    schema: Some(|| schema_for!(core::ConfigMap)),
    validate: check_config_map,
    columns: &[Column::of("Data", |o| entries(o).to_string())],
    ..Kind::BASE
};

/// A volume: a folder of the box with a size.
pub static PERSISTENT_VOLUME_CLAIM: Kind = Kind {
    kind: "PersistentVolumeClaim",
    plural: "persistentvolumeclaims",
    short: &["pvc"],
    verbs: Verbs::All,
    builtin: true,
    schema: Some(|| schema_for!(core::PersistentVolumeClaim)),
    prepare: prepare_claim,
    validate: check_claim,
    columns: &[
        Column::path("Status", ".status.phase"),
        Column::path("Volume", ".spec.volumeName"),
        Column::path("Capacity", ".status.capacity.storage"),
        Column::of("Access Modes", access_modes),
        Column::path("StorageClass", ".spec.storageClassName"),
    ],
    ..Kind::BASE
};

/// As whom a Pod speaks to the box.
pub static SERVICE_ACCOUNT: Kind = Kind {
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    short: &["sa"],
    verbs: Verbs::All,
    builtin: true,
    schema: Some(|| schema_for!(core::ServiceAccount)),
    columns: &[Column::of("Secrets", |o| {
        let list = o.body.get("secrets").and_then(Value::as_array);
        list.map_or(0, Vec::len).to_string()
    })],
    ..Kind::BASE
};

/// The machine. There is one.
pub static NODE: Kind = Kind {
    kind: "Node",
    plural: "nodes",
    short: &["no"],
    namespaced: false,
    builtin: true,
    schema: Some(|| schema_for!(core::Node)),
    columns: &[
        Column::of("Status", node_status),
        Column::of("Roles", |_| "control-plane".into()),
        Column::path("Version", ".status.nodeInfo.kubeletVersion"),
    ],
    ..Kind::BASE
};

pub(crate) const KINDS: &[&Kind] = &[
    &super::service::SERVICE,
    &SECRET,
    &CONFIG_MAP,
    &PERSISTENT_VOLUME_CLAIM,
    &SERVICE_ACCOUNT,
    &NODE,
];

/// The spec as a map; an absent one is made. A spec of another shape is refused by the envelope's own check.
pub(super) fn spec(object: &mut Object) -> Option<&mut Map<String, Value>> {
    let spec = object.body.entry("spec").or_insert_with(|| json!({}));
    spec.as_object_mut()
}

pub(super) fn absent(map: &Map<String, Value>, key: &str) -> bool {
    map.get(key).is_none_or(Value::is_null)
}

fn entries(object: &Object) -> usize {
    let count = |field| {
        object
            .body
            .get(field)
            .and_then(Value::as_object)
            .map_or(0, Map::len)
    };
    count("data") + count("binaryData")
}

/// `stringData` is a way to write `data`.
fn prepare_secret(secret: &mut Object) -> Result<()> {
    if absent(&secret.body, "type") || secret.body.get("type") == Some(&json!("")) {
        secret.body.insert("type".into(), json!("Opaque"));
    }
    if let Some(Value::Object(plain)) = secret.body.remove("stringData") {
        let data = secret.body.entry("data").or_insert_with(|| json!({}));
        if data.is_null() {
            *data = json!({});
        }
        let Value::Object(data) = data else {
            return Err(Error::invalid("data: must be an object"));
        };
        for (key, value) in plain {
            let Value::String(text) = value else {
                return Err(Error::invalid(format!("stringData[{key}]: must be text")));
            };
            data.insert(key, Value::String(base64(text.as_bytes())));
        }
    }
    Ok(())
}

fn base64(bytes: &[u8]) -> String {
    // ByteString is Kubernetes' own encoding of bytes in JSON.
    match serde_json::to_value(k8s_openapi::ByteString(bytes.to_vec())) {
        Ok(Value::String(text)) => text,
        _ => String::new(),
    }
}

/// Keys become file names.
fn check_keys(object: &Object, field: &str) -> Result<()> {
    let Some(data) = object.body.get(field).filter(|d| !d.is_null()) else {
        return Ok(());
    };
    let Value::Object(data) = data else {
        return Err(Error::invalid(format!("{field}: must be an object")));
    };
    for (key, value) in data {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if key.is_empty()
            || key.len() > 253
            || key.starts_with("..")
            || key == "."
            || !key.chars().all(plain)
        {
            return Err(Error::invalid(format!(
                "{field}: the key \"{key}\" must be letters, digits, '-', '_' or '.'"
            )));
        }
        if !value.is_string() {
            return Err(Error::invalid(format!("{field}[{key}]: must be text")));
        }
    }
    Ok(())
}

/// Values that are not base64 are taken as they are: KServe's SDK stores such.
fn check_secret(secret: &Object) -> Result<()> {
    check_keys(secret, "data")
}

fn check_config_map(map: &Object) -> Result<()> {
    check_keys(map, "data")?;
    check_keys(map, "binaryData")
}

fn prepare_claim(claim: &mut Object) -> Result<()> {
    if claim.metadata.uid.is_empty() {
        let finalizers = &mut claim.metadata.finalizers;
        finalizers.retain(|f| f != PVC_FINALIZER);
        finalizers.push(PVC_FINALIZER.into());
        claim.set("status", &json!({"phase": "Pending"}))?;
    }
    let Some(spec) = spec(claim) else {
        return Ok(());
    };
    for (key, value) in [
        ("accessModes", json!(["ReadWriteOnce"])),
        ("volumeMode", json!("Filesystem")),
        ("storageClassName", json!("kfbox")),
    ] {
        if absent(spec, key) {
            spec.insert(key.into(), value);
        }
    }
    Ok(())
}

fn check_claim(claim: &Object) -> Result<()> {
    let spec: core::PersistentVolumeClaimSpec = claim.spec()?;
    let size = spec
        .resources
        .as_ref()
        .and_then(|r| r.requests.as_ref())
        .and_then(|r| r.get("storage"));
    if size.is_none_or(|q| q.0.trim().is_empty()) {
        return Err(Error::invalid(
            "spec.resources.requests.storage: required, such as 10Gi",
        ));
    }
    for mode in spec.access_modes.iter().flatten() {
        if ![
            "ReadWriteOnce",
            "ReadOnlyMany",
            "ReadWriteMany",
            "ReadWriteOncePod",
        ]
        .contains(&mode.as_str())
        {
            return Err(Error::invalid(format!(
                "spec.accessModes: \"{mode}\" is not an access mode"
            )));
        }
    }
    if spec.volume_mode.as_deref() == Some("Block") {
        return Err(Error::new(
            Code::Unsupported,
            "spec.volumeMode: this box has no block volumes: use Filesystem",
        ));
    }
    if spec.data_source.is_some() || spec.data_source_ref.is_some() {
        return Err(Error::new(
            Code::Unsupported,
            "spec.dataSource: claims start empty here: copy the files with a Pod",
        ));
    }
    Ok(())
}

fn access_modes(claim: &Object) -> String {
    let spec: core::PersistentVolumeClaimSpec = claim.spec().unwrap_or_default();
    let short = |mode: &str| match mode {
        "ReadWriteOnce" => "RWO".to_string(),
        "ReadOnlyMany" => "ROX".into(),
        "ReadWriteMany" => "RWX".into(),
        "ReadWriteOncePod" => "RWOP".into(),
        other => other.into(),
    };
    let modes: Vec<_> = spec
        .access_modes
        .iter()
        .flatten()
        .map(|m| short(m))
        .collect();
    modes.join(",")
}

fn node_status(node: &Object) -> String {
    let status: core::NodeStatus = node.status().unwrap_or_default();
    let ready = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "Ready");
    match ready.is_some_and(|c| c.status == "True") {
        true => "Ready".into(),
        false => "NotReady".into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(kind: &'static Kind, body: Value) -> Object {
        let mut object = Object::new(kind, "default", "x");
        object.body = body.as_object().cloned().unwrap();
        (kind.prepare)(&mut object).unwrap();
        let once = object.clone();
        object.metadata.uid = "u".into();
        (kind.prepare)(&mut object).unwrap();
        assert_eq!(once.body, object.body, "again it changes nothing");
        once
    }

    #[test]
    fn text_of_a_secret_becomes_data() {
        let secret = of(&SECRET, json!({"stringData": {"a": "b"}}));
        assert_eq!(secret.body["data"]["a"], "Yg==");
        assert_eq!(secret.body["type"], "Opaque");
        assert!(!secret.body.contains_key("stringData"));
        let bad = of(&SECRET, json!({"data": {"../x": "Yg=="}}));
        assert!(check_secret(&bad).is_err());
    }

    #[test]
    fn a_claim_needs_a_size() {
        let claim = of(&PERSISTENT_VOLUME_CLAIM, json!({"spec": {}}));
        assert!(
            check_claim(&claim)
                .unwrap_err()
                .message
                .starts_with("spec.resources.requests.storage")
        );
        let claim = of(
            &PERSISTENT_VOLUME_CLAIM,
            json!({"spec": {"resources": {"requests": {"storage": "1Gi"}}}}),
        );
        check_claim(&claim).unwrap();
        assert_eq!(access_modes(&claim), "RWO");
    }
}
