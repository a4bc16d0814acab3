//! Environment: values with `$(VAR)`, values from fields, Secrets and ConfigMaps.

use std::collections::{BTreeMap, HashMap};

use base64::Engine;
use k8s_openapi::api::core::v1::{Container, EnvVarSource, PodSpec, ResourceFieldSelector};
use kfbox_store::{
    Code, Error, Kind, Object, Ref, Result,
    kinds::cluster::{CONFIG_MAP, SECRET},
};

use super::resources;
use crate::reconcile::Ctx;

/// Where workloads find the Kubernetes-shaped API.
const KUBERNETES: &[(&str, &str)] = &[
    ("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc"),
    ("KUBERNETES_SERVICE_PORT", "6443"),
    ("KUBERNETES_SERVICE_PORT_HTTPS", "6443"),
];

/// Not there yet: the Pod waits for it.
pub(super) fn waiting(message: String) -> Error {
    Error::new(Code::Precondition, message)
}

/// A container's environment. Later ones win, as in Kubernetes.
pub(super) async fn variables(
    ctx: &Ctx,
    pod: &Object,
    spec: &PodSpec,
    container: &Container,
) -> Result<Vec<(String, String)>> {
    let ns = &pod.metadata.namespace;
    let mut env: Vec<(String, String)> = KUBERNETES
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let data = if let Some(map) = &from.config_map_ref {
            source(ctx, &CONFIG_MAP, ns, &map.name, map.optional).await?
        } else if let Some(secret) = &from.secret_ref {
            source(ctx, &SECRET, ns, &secret.name, secret.optional).await?
        } else {
            None
        };
        for (key, value) in data.unwrap_or_default() {
            set(&mut env, format!("{prefix}{key}"), text(value));
        }
    }
    for var in container.env.iter().flatten() {
        let value = match &var.value_from {
            Some(from) => value_from(ctx, pod, spec, container, &var.name, from).await?,
            None => Some(expand(var.value.as_deref().unwrap_or_default(), &env)),
        };
        if let Some(value) = value {
            set(&mut env, var.name.clone(), value);
        }
    }
    Ok(env)
}

fn set(env: &mut Vec<(String, String)>, name: String, value: String) {
    env.retain(|(n, _)| *n != name);
    env.push((name, value));
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn value_from(
    ctx: &Ctx,
    pod: &Object,
    spec: &PodSpec,
    container: &Container,
    name: &str,
    from: &EnvVarSource,
) -> Result<Option<String>> {
    let ns = &pod.metadata.namespace;
    let (kind, object, key, optional) = if let Some(f) = &from.field_ref {
        return field(pod, spec, &f.field_path).map(Some);
    } else if let Some(f) = &from.resource_field_ref {
        return resource(ctx, spec, container, f).map(Some);
    } else if let Some(s) = &from.secret_key_ref {
        (&SECRET, &s.name, &s.key, s.optional)
    } else if let Some(s) = &from.config_map_key_ref {
        (&CONFIG_MAP, &s.name, &s.key, s.optional)
    } else {
        return Err(Error::invalid(format!(
            "env[{name}].valueFrom: needs fieldRef, resourceFieldRef, secretKeyRef or configMapKeyRef"
        )));
    };
    let data = source(ctx, kind, ns, object, optional).await?;
    match data.and_then(|mut data| data.remove(key)) {
        Some(value) => Ok(Some(text(value))),
        None if optional == Some(true) => Ok(None),
        None => Err(waiting(format!(
            "couldn't find key {key} in {} {ns}/{object}",
            kind.kind
        ))),
    }
}

/// What a Secret or ConfigMap holds; `None` when it is absent and may be.
pub(super) async fn source(
    ctx: &Ctx,
    kind: &'static Kind,
    namespace: &str,
    name: &str,
    optional: Option<bool>,
) -> Result<Option<BTreeMap<String, Vec<u8>>>> {
    match ctx.store.get(&Ref::new(kind, namespace, name)).await? {
        Some(object) => Ok(Some(contents(&object))),
        None if optional == Some(true) => Ok(None),
        None => Err(waiting(format!(
            "{} \"{name}\" not found in namespace \"{namespace}\"",
            kind.kind.to_lowercase()
        ))),
    }
}

/// The entries of a Secret or ConfigMap. A Secret's value that is not base64 is taken as it is: KServe's SDK
/// stores such.
fn contents(object: &Object) -> BTreeMap<String, Vec<u8>> {
    let secret = object.kind == SECRET.kind;
    let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text.trim());
    let mut out = BTreeMap::new();
    for (field, encoded) in [("data", secret), ("binaryData", true)] {
        let Some(map) = object.body.get(field).and_then(|d| d.as_object()) else {
            continue;
        };
        for (key, value) in map {
            let text = value.as_str().unwrap_or_default();
            let plain = || text.as_bytes().to_vec();
            let bytes = match encoded {
                true => decode(text).unwrap_or_else(|_| plain()),
                false => plain(),
            };
            out.insert(key.clone(), bytes);
        }
    }
    out
}

/// A field of the Pod by its path.
pub(super) fn field(pod: &Object, spec: &PodSpec, path: &str) -> Result<String> {
    let meta = &pod.metadata;
    let lines = |map: &BTreeMap<String, String>| {
        let lines: Vec<_> = map.iter().map(|(k, v)| format!("{k}={v:?}")).collect();
        lines.join("\n")
    };
    let entry = |map: &BTreeMap<String, String>, rest: &str| {
        let key = rest.strip_prefix("['")?.strip_suffix("']")?;
        Some(map.get(key).cloned().unwrap_or_default())
    };
    let status = |key: &str| {
        let value = pod.body.get("status").and_then(|s| s.get(key));
        let value = value.and_then(|v| v.as_str()).filter(|v| !v.is_empty());
        value
            .map(Into::into)
            .ok_or_else(|| waiting(format!("status.{key} is not known yet")))
    };
    let found = match path {
        "metadata.name" => Some(meta.name.clone()),
        "metadata.namespace" => Some(meta.namespace.clone()),
        "metadata.uid" => Some(meta.uid.clone()),
        "metadata.labels" => Some(lines(&meta.labels)),
        "metadata.annotations" => Some(lines(&meta.annotations)),
        "spec.nodeName" => Some(spec.node_name.clone().unwrap_or_else(|| "kfbox".into())),
        "spec.serviceAccountName" => {
            let name = spec.service_account_name.clone();
            Some(name.unwrap_or_else(|| "default".into()))
        }
        "status.podIP" | "status.podIPs" => Some(status("podIP")?),
        "status.hostIP" | "status.hostIPs" => Some(status("hostIP")?),
        _ => path
            .strip_prefix("metadata.labels")
            .and_then(|rest| entry(&meta.labels, rest))
            .or_else(|| {
                let rest = path.strip_prefix("metadata.annotations")?;
                entry(&meta.annotations, rest)
            }),
    };
    found.ok_or_else(|| {
        Error::invalid(format!(
            "fieldRef.fieldPath: \"{path}\" is not one of metadata.name, .namespace, .uid, .labels['x'], .annotations['x'], spec.nodeName, spec.serviceAccountName, status.podIP, status.hostIP"
        ))
    })
}

/// A container's own limits and requests.
pub(super) fn resource(
    ctx: &Ctx,
    spec: &PodSpec,
    container: &Container,
    selector: &ResourceFieldSelector,
) -> Result<String> {
    let of = match selector.container_name.as_deref() {
        None | Some("") => container,
        Some(name) => spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
            .find(|c| c.name == name)
            .ok_or_else(|| {
                Error::invalid(format!(
                    "resourceFieldRef.containerName: no container \"{name}\""
                ))
            })?,
    };
    let divisor = match &selector.divisor {
        Some(q) => resources::parse_quantity(q)
            .map_err(|e| Error::invalid(format!("resourceFieldRef.divisor: {e}")))?,
        None => 1.0,
    };
    let divisor = if divisor == 0.0 { 1.0 } else { divisor };
    let resources = of.resources.as_ref();
    let (map, name) = match selector.resource.split_once('.') {
        Some(("limits", name)) => (resources.and_then(|r| r.limits.as_ref()), name),
        Some(("requests", name)) => (resources.and_then(|r| r.requests.as_ref()), name),
        _ => {
            return Err(Error::invalid(format!(
                "resourceFieldRef.resource: \"{}\" must be limits.<name> or requests.<name>",
                selector.resource
            )));
        }
    };
    let given = map
        .and_then(|m| m.get(name))
        .and_then(|q| resources::parse_quantity(q).ok());
    // Without a limit, what there is to use.
    let value = given.unwrap_or_else(|| match name {
        "memory" => ctx.metrics.default_memory as f64,
        "cpu" => std::thread::available_parallelism().map_or(1, usize::from) as f64,
        _ => 0.0,
    });
    Ok(format!("{}", (value / divisor).ceil()))
}

/// Kubernetes' expansion: `$(NAME)` of a known name is replaced, an unknown one stays, `$$` is one `$`.
pub(super) fn expand(text: &str, env: &[(String, String)]) -> String {
    if !text.contains('$') {
        return text.into();
    }
    let known: HashMap<&str, &str> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            match known.get(name) {
                Some(value) => out.push_str(value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn expansion_is_kubernetes_own() {
        let env = vec![
            ("A".to_string(), "1".to_string()),
            ("B".into(), "$(A)".into()),
        ];
        for (text, expanded) in [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(NO)", "$(NO)"),
            ("$(A", "$(A"),
            ("$A $", "$A $"),
            ("$(B)", "$(A)"),
        ] {
            assert_eq!(expand(text, &env), expanded, "{text}");
        }
    }

    #[test]
    fn a_secret_is_base64_or_raw() {
        let mut secret = Object::new(&SECRET, "default", "s");
        secret
            .body
            .insert("data".into(), json!({"a": "Yg==", "raw": "not base64!"}));
        let data = contents(&secret);
        assert_eq!(data["a"], b"b");
        assert_eq!(data["raw"], b"not base64!");
    }
}
