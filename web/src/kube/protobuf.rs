//! Protobuf request bodies, as kubectl sends them for a few core kinds: decoded to the JSON they mean. Answers are
//! always JSON.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_pb::{
    api::{authentication::v1 as authn, authorization::v1 as authz, core::v1 as core},
    apimachinery::pkg::{
        apis::meta::v1::{DeleteOptions, ObjectMeta},
        runtime::Unknown,
    },
};
use kfbox_store::{Code, Error};
use prost::Message;
use serde_json::{Map, Value, json};

/// How such a body begins.
pub(super) const MAGIC: &[u8] = b"k8s\0";
/// Its media type.
pub(super) const MEDIA: &str = "application/vnd.kubernetes.protobuf";

/// The JSON of a protobuf body.
///
/// # Errors
/// `Invalid` for bytes that are no such body, `Unsupported` for a kind that is only taken as JSON.
pub(super) fn decode(bytes: &[u8]) -> Result<Value, Error> {
    let broken = |e: prost::DecodeError| Error::invalid(format!("the body is not protobuf: {e}"));
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| {
        Error::invalid("the body is not Kubernetes' protobuf: no \"k8s\" at its start")
    })?;
    let envelope = Unknown::decode(rest).map_err(broken)?;
    let meta = envelope.type_meta.unwrap_or_default();
    let (version, kind) = (
        meta.api_version.unwrap_or_default(),
        meta.kind.unwrap_or_default(),
    );
    let raw = envelope.raw.unwrap_or_default();
    let raw = raw.as_slice();
    let mut value = match kind.as_str() {
        "Secret" => secret(core::Secret::decode(raw).map_err(broken)?),
        "ConfigMap" => config_map(core::ConfigMap::decode(raw).map_err(broken)?),
        "Namespace" => {
            let it = core::Namespace::decode(raw).map_err(broken)?;
            json!({"metadata": metadata(it.metadata)})
        }
        "ServiceAccount" => {
            let it = core::ServiceAccount::decode(raw).map_err(broken)?;
            json!({"metadata": metadata(it.metadata)})
        }
        "TokenRequest" => {
            let it = authn::TokenRequest::decode(raw).map_err(broken)?;
            let spec = it.spec.unwrap_or_default();
            json!({"metadata": metadata(it.metadata), "spec": {
                "audiences": spec.audiences, "expirationSeconds": spec.expiration_seconds,
            }})
        }
        "SelfSubjectReview" => json!({}),
        "SelfSubjectAccessReview" => {
            let it = authz::SelfSubjectAccessReview::decode(raw).map_err(broken)?;
            let spec = it.spec.unwrap_or_default();
            let resource = spec.resource_attributes.map(|a| {
                json!({"namespace": a.namespace, "verb": a.verb, "group": a.group, "version": a.version,
                       "resource": a.resource, "subresource": a.subresource, "name": a.name})
            });
            let path = spec
                .non_resource_attributes
                .map(|a| json!({"path": a.path, "verb": a.verb}));
            json!({"spec": {"resourceAttributes": resource, "nonResourceAttributes": path}})
        }
        "SelfSubjectRulesReview" => {
            let it = authz::SelfSubjectRulesReview::decode(raw).map_err(broken)?;
            json!({"spec": {"namespace": it.spec.unwrap_or_default().namespace}})
        }
        "DeleteOptions" => {
            let it = DeleteOptions::decode(raw).map_err(broken)?;
            json!({
                "propagationPolicy": it.propagation_policy, "gracePeriodSeconds": it.grace_period_seconds,
                "dryRun": it.dry_run,
                "preconditions": it.preconditions.map(|p| json!({"uid": p.uid, "resourceVersion": p.resource_version})),
            })
        }
        other => {
            return Err(Error::new(
                Code::Unsupported,
                format!("{version} {other} is taken as JSON or YAML only, not as protobuf"),
            ));
        }
    };
    value["apiVersion"] = version.into();
    value["kind"] = kind.into();
    Ok(prune(value))
}

fn metadata(meta: Option<ObjectMeta>) -> Value {
    let meta = meta.unwrap_or_default();
    json!({
        "name": meta.name, "generateName": meta.generate_name, "namespace": meta.namespace,
        "labels": meta.labels, "annotations": meta.annotations, "finalizers": meta.finalizers,
        "resourceVersion": meta.resource_version, "uid": meta.uid,
    })
}

fn encoded(data: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, String> {
    data.into_iter()
        .map(|(key, bytes)| (key, STANDARD.encode(bytes)))
        .collect()
}

fn secret(it: core::Secret) -> Value {
    json!({"metadata": metadata(it.metadata), "type": it.r#type, "immutable": it.immutable,
           "data": encoded(it.data), "stringData": it.string_data})
}

fn config_map(it: core::ConfigMap) -> Value {
    json!({"metadata": metadata(it.metadata), "immutable": it.immutable, "data": it.data,
           "binaryData": encoded(it.binary_data)})
}

/// Without what protobuf cannot tell from "not said": nulls, empty texts, lists and maps.
fn prune(value: Value) -> Value {
    fn empty(value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::String(s) => s.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        }
    }
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(k, v)| match k.as_str() {
                    // An empty value under a key of the user's is a value.
                    "data" | "stringData" | "binaryData" | "labels" | "annotations" => (k, v),
                    _ => (k, prune(v)),
                })
                .filter(|(_, v)| !empty(v))
                .collect::<Map<_, _>>(),
        ),
        other => other,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use k8s_pb::apimachinery::pkg::runtime::TypeMeta;

    #[test]
    fn a_secret_as_kubectl_sends_it() {
        let secret = core::Secret {
            metadata: Some(ObjectMeta {
                name: Some("s".into()),
                ..Default::default()
            }),
            data: BTreeMap::from([
                ("key".into(), b"value".to_vec()),
                ("empty".into(), Vec::new()),
            ]),
            r#type: Some("Opaque".into()),
            ..Default::default()
        };
        let envelope = Unknown {
            type_meta: Some(TypeMeta {
                api_version: Some("v1".into()),
                kind: Some("Secret".into()),
            }),
            raw: Some(secret.encode_to_vec()),
            ..Default::default()
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(envelope.encode_to_vec());
        assert_eq!(
            decode(&bytes).unwrap(),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "type": "Opaque",
                   "data": {"key": "dmFsdWU=", "empty": ""}})
        );
        for broken in [&b"k8s\0\xff\xff\xff"[..], b"k8s", b"", b"{}"] {
            assert!(decode(broken).is_err());
        }
    }
}
