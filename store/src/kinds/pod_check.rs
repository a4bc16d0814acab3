//! The rules for a PodSpec and its defaults, for Pods and for the templates inside other kinds.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::{Map, Value, json};

use super::{core::STORE_VOLUME, pod_fields};
use crate::{Code, Error, Object, Result};

/// Capabilities a container may ask for: those that the engine gives anyway.
pub const CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Fills in what Kubernetes fills in. Run again it changes nothing.
pub(crate) fn defaults(spec: &mut Map<String, Value>) {
    let mut default = |key: &str, value: Value| {
        if spec.get(key).is_none_or(Value::is_null) {
            spec.insert(key.into(), value);
        }
    };
    default("restartPolicy", json!("Always"));
    default("terminationGracePeriodSeconds", json!(30));
    default("serviceAccountName", json!("default"));
    default("dnsPolicy", json!("ClusterFirst"));
}

/// Checks the PodSpec that stands at `at` in its object, such as `spec` or `spec.template.spec`.
///
/// # Errors
/// Names the field and the mend.
pub fn check_spec(value: &Value, at: &str) -> Result<()> {
    pod_fields::check_fields(value, at)?;
    let spec = pod_fields::typed(value, at)?;
    if spec.containers.is_empty() {
        return Err(Error::invalid(format!(
            "{at}.containers: at least one is required"
        )));
    }
    one_of(
        &format!("{at}.restartPolicy"),
        spec.restart_policy.as_deref(),
        &["Always", "OnFailure", "Never"],
    )?;
    let mut volumes = HashSet::new();
    for (i, volume) in spec.volumes.iter().flatten().enumerate() {
        let here = format!("{at}.volumes[{i}].name");
        label(&here, &volume.name)?;
        if !volumes.insert(volume.name.as_str()) {
            return Err(Error::invalid(format!(
                "{here}: \"{}\" is there twice",
                volume.name
            )));
        }
    }
    let mut names = HashSet::new();
    let inits = spec
        .init_containers
        .iter()
        .flatten()
        .map(|c| ("initContainers", c));
    let (mut list, mut i) = ("", 0);
    for (which, container) in inits.chain(spec.containers.iter().map(|c| ("containers", c))) {
        i = if which == list { i + 1 } else { 0 };
        list = which;
        let here = format!("{at}.{which}[{i}]");
        if !names.insert(container.name.as_str()) {
            return Err(Error::invalid(format!(
                "{here}.name: \"{}\" is there twice",
                container.name
            )));
        }
        check_container(container, &here, &volumes)?;
        if which == "containers" && container.restart_policy.is_some() {
            return Err(Error::invalid(format!(
                "{here}.restartPolicy: only init containers have one"
            )));
        }
    }
    Ok(())
}

fn check_container(c: &Container, at: &str, volumes: &HashSet<&str>) -> Result<()> {
    label(&format!("{at}.name"), &c.name)?;
    if c.image.as_deref().unwrap_or_default().trim().is_empty() {
        return Err(Error::invalid(format!("{at}.image: required")));
    }
    one_of(
        &format!("{at}.restartPolicy"),
        c.restart_policy.as_deref(),
        &["Always"],
    )?;
    one_of(
        &format!("{at}.imagePullPolicy"),
        c.image_pull_policy.as_deref(),
        &["Always", "IfNotPresent", "Never"],
    )?;
    for (i, port) in c.ports.iter().flatten().enumerate() {
        if !(1..=65535).contains(&port.container_port) {
            return Err(Error::invalid(format!(
                "{at}.ports[{i}].containerPort: must be 1 to 65535"
            )));
        }
    }
    for (i, var) in c.env.iter().flatten().enumerate() {
        if var.name.is_empty() || var.name.contains(['=', '\0']) {
            return Err(Error::invalid(format!(
                "{at}.env[{i}].name: required, without \"=\""
            )));
        }
        if var.value.as_deref().is_some_and(|v| !v.is_empty()) && var.value_from.is_some() {
            return Err(Error::invalid(format!(
                "{at}.env[{i}]: give value or valueFrom, not both"
            )));
        }
    }
    let mut paths = HashSet::new();
    for (i, mount) in c.volume_mounts.iter().flatten().enumerate() {
        let here = format!("{at}.volumeMounts[{i}]");
        if !volumes.contains(mount.name.as_str()) {
            return Err(Error::invalid(format!(
                "{here}.name: no volume \"{}\" in spec.volumes",
                mount.name
            )));
        }
        if !mount.mount_path.starts_with('/') {
            return Err(Error::invalid(format!(
                "{here}.mountPath: must start with \"/\""
            )));
        }
        if !paths.insert(mount.mount_path.as_str()) {
            return Err(Error::invalid(format!(
                "{here}.mountPath: \"{}\" is there twice",
                mount.mount_path
            )));
        }
        for (field, path) in [
            ("subPath", &mount.sub_path),
            ("subPathExpr", &mount.sub_path_expr),
        ] {
            let path = path.as_deref().unwrap_or_default();
            if path.starts_with('/') || path.split('/').any(|part| part == "..") {
                return Err(Error::invalid(format!(
                    "{here}.{field}: must stay inside the volume, without \"..\" and without a leading \"/\""
                )));
            }
        }
    }
    let added = c
        .security_context
        .as_ref()
        .and_then(|s| s.capabilities.as_ref())
        .and_then(|c| c.add.as_ref());
    for capability in added.into_iter().flatten() {
        let plain = capability.strip_prefix("CAP_").unwrap_or(capability);
        if !CAPABILITIES.contains(&plain) {
            return Err(Error::new(
                Code::Unsupported,
                format!(
                    "{at}.securityContext.capabilities.add: {capability} reaches beyond the container: leave it out"
                ),
            ));
        }
    }
    Ok(())
}

/// What only the box itself may ask for: to be called where a Pod or a template comes from a client.
///
/// # Errors
/// `Forbidden`, naming the field.
pub fn check_user_spec(spec: &PodSpec, at: &str) -> Result<()> {
    for (i, volume) in spec.volumes.iter().flatten().enumerate() {
        if volume.csi.is_some() {
            return Err(Error::new(
                Code::Forbidden,
                format!(
                    "{at}.volumes[{i}].csi: {STORE_VOLUME} is for the box's own Pods, and there is no other driver: use a PersistentVolumeClaim"
                ),
            ));
        }
    }
    if spec.node_name.as_deref().is_some_and(|n| !n.is_empty()) {
        return Err(Error::new(
            Code::Forbidden,
            format!("{at}.nodeName: the box's scheduler sets it: leave it out"),
        ));
    }
    Ok(())
}

/// As [`check_user_spec`], for a Pod; also refuses the box's own marks on it.
///
/// # Errors
/// `Forbidden` or `Invalid`, naming the field.
pub fn check_user_pod(pod: &Object) -> Result<()> {
    if let Some(key) = [
        super::core::COMMIT_IMAGE,
        super::core::READY_AT,
        super::core::OOM_AT,
    ]
    .into_iter()
    .find(|k| pod.metadata.annotations.contains_key(*k))
    {
        return Err(Error::new(
            Code::Forbidden,
            format!("metadata.annotations[{key}]: only the box sets it: leave it out"),
        ));
    }
    check_user_spec(&pod.spec()?, "spec")
}

fn one_of(field: &str, value: Option<&str>, allowed: &[&str]) -> Result<()> {
    match value {
        Some(v) if !v.is_empty() && !allowed.contains(&v) => Err(Error::invalid(format!(
            "{field}: \"{v}\" must be one of {}",
            allowed.join(", ")
        ))),
        _ => Ok(()),
    }
}

/// A DNS label (RFC 1123).
pub(crate) fn label(field: &str, name: &str) -> Result<()> {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = name.as_bytes();
    let good = (1..=63).contains(&bytes.len())
        && bytes.iter().all(|c| plain(*c) || *c == b'-')
        && bytes.first().copied().is_some_and(plain)
        && bytes.last().copied().is_some_and(plain);
    if good {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{field}: \"{name}\" must be 1 to 63 lower-case letters, digits or '-', and start and end with a letter or digit"
    )))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_pod_is_told_the_field() {
        let pod = |change: Value| {
            let mut spec = json!({"containers": [{"name": "a", "image": "x"}]});
            crate::json_merge(&mut spec, &change);
            check_spec(&spec, "spec")
        };
        pod(json!({})).unwrap();
        pod(json!({"initContainers": [{"name": "b", "image": "x", "restartPolicy": "Always"}]}))
            .unwrap();
        for (change, field) in [
            (json!({"containers": []}), "spec.containers:"),
            (json!({"restartPolicy": "Maybe"}), "spec.restartPolicy:"),
            (
                json!({"containers": [{"name": "A", "image": "x"}]}),
                "spec.containers[0].name:",
            ),
            (
                json!({"containers": [{"name": "a"}]}),
                "spec.containers[0].image:",
            ),
            (
                json!({"initContainers": [{"name": "a", "image": "x"}]}),
                "spec.containers[0].name:",
            ),
            (
                json!({"containers": [{"name": "a", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}),
                "spec.containers[0].volumeMounts[0].name:",
            ),
            (
                json!({"volumes": [{"name": "v", "emptyDir": {}}], "containers": [{"name": "a", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "a/../../b"}]}]}),
                "spec.containers[0].volumeMounts[0].subPath:",
            ),
            (
                json!({"containers": [{"name": "a", "image": "x", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]}),
                "spec.containers[0].securityContext.capabilities.add:",
            ),
            (
                json!({"containers": [{"name": "a", "image": 5}]}),
                "spec.containers[0].image:",
            ),
        ] {
            let e = pod(change).unwrap_err();
            assert!(e.message.starts_with(field), "{field} in {e}");
        }
    }
}
