//! PodDefault: what Pods with certain labels get beside what they ask for: environment, volumes, sidecars. It is put
//! into a Pod when the Pod is made, by the rules of Kubeflow's admission webhook.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Container, EnvFromSource, EnvVar, LocalObjectReference, PodSpec, Toleration, Volume,
        VolumeMount,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use serde::{Deserialize, Serialize};

use super::{
    NoStatus,
    core::{COMMIT_IMAGE, OOM_AT, READY_AT},
    pod_check::{check_spec, check_user_spec},
    schema_of,
};
use crate::{Code, Column, Error, Kind, Object, Result, Txn, Verbs};

/// On a Pod with the value `true`: no PodDefault is for it.
const EXCLUDE: &str = "poddefault.admission.kubeflow.org/exclude";
/// On a Pod, with a PodDefault's name behind it: the version of it that the Pod got.
const APPLIED: &str = "poddefault.admission.kubeflow.org/poddefault-";

/// Presets for Pods with certain labels.
pub static POD_DEFAULT: Kind = Kind {
    group: "kubeflow.org",
    version: "v1alpha1",
    kind: "PodDefault",
    plural: "poddefaults",
    verbs: Verbs::All,
    schema: Some(schema_of::<PodDefaultSpec, NoStatus>),
    validate: check,
    columns: &[
        Column::path("Description", ".spec.desc"),
        Column::path("Selector", ".spec.selector.matchLabels"),
    ],
    ..Kind::BASE
};

pub(crate) const KINDS: &[&Kind] = &[&POD_DEFAULT];

/// What is put into which Pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodDefaultSpec {
    /// A word on what it does, shown in the form of a new notebook.
    pub desc: String,
    /// The Pods that get it.
    pub selector: LabelSelector,
    /// Variables of each container.
    pub env: Vec<EnvVar>,
    /// Variables of each container, from Secrets and ConfigMaps.
    pub env_from: Vec<EnvFromSource>,
    /// Volumes of the Pod.
    pub volumes: Vec<Volume>,
    /// Mounts of each container.
    pub volume_mounts: Vec<VolumeMount>,
    /// Containers that run before the Pod's own.
    pub init_containers: Vec<Container>,
    /// Containers that run beside the Pod's own.
    pub sidecars: Vec<Container>,
    /// Taints that it bears. There are none on a box.
    pub tolerations: Vec<Toleration>,
    /// Names of Secrets for registries.
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Labels of the Pod.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Pod.
    pub annotations: BTreeMap<String, String>,
    /// The command of each container that names none.
    pub command: Vec<String>,
    /// The arguments of each container that names none.
    pub args: Vec<String>,
    /// As whom the Pod speaks to the box.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Whether it gets a token for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automount_service_account_token: Option<bool>,
}

/// It must be such that a Pod could have asked for it.
fn check(object: &Object) -> Result<()> {
    let spec: PodDefaultSpec = object.spec()?;
    let expressions = spec.selector.match_expressions.iter().flatten();
    if let Some(other) = expressions
        .map(|e| e.operator.as_str())
        .find(|o| !["In", "NotIn", "Exists", "DoesNotExist"].contains(o))
    {
        return Err(Error::invalid(format!(
            "spec.selector.matchExpressions: \"{other}\" must be In, NotIn, Exists or DoesNotExist"
        )));
    }
    if let Some(key) = [COMMIT_IMAGE, OOM_AT, READY_AT]
        .into_iter()
        .find(|k| spec.annotations.contains_key(*k))
    {
        return Err(Error::invalid(format!(
            "spec.annotations[{key}]: only the box sets it: leave it out"
        )));
    }
    let mut containers = vec![Container {
        name: "each-container".into(),
        image: Some("any".into()),
        env: Some(spec.env),
        env_from: Some(spec.env_from),
        volume_mounts: Some(spec.volume_mounts),
        ..Container::default()
    }];
    // A Pod may bring volumes that the mounts name; here they must be there, or nothing says where they come from.
    containers.extend(spec.sidecars);
    let pod = PodSpec {
        containers,
        init_containers: Some(spec.init_containers),
        volumes: Some(spec.volumes),
        ..PodSpec::default()
    };
    check_user_spec(&pod, "spec")?;
    let value = serde_json::to_value(pod).map_err(Error::internal)?;
    check_spec(&value, "spec")
}

/// Puts the PodDefaults of its namespace into a new Pod.
///
/// # Errors
/// `Conflict` naming what two of them, or one and the Pod, say differently.
pub(crate) fn admit(txn: &Txn<'_>, pod: &mut Object) -> Result<()> {
    let mut found = txn.list(&POD_DEFAULT, Some(&pod.metadata.namespace), |_| true)?;
    found.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    apply(&found, pod)
}

/// Puts those of these PodDefaults that are for it into a Pod.
///
/// # Errors
/// `Conflict` naming what two of them, or one and the Pod, say differently.
pub fn apply(defaults: &[Object], pod: &mut Object) -> Result<()> {
    let excluded = pod.metadata.annotations.get(EXCLUDE);
    if excluded.is_some_and(|v| v == "true") {
        return Ok(());
    }
    let mut wanted = Vec::new();
    for object in defaults {
        let spec: PodDefaultSpec = object.spec()?;
        let key = format!("{APPLIED}{}", object.metadata.name);
        if !pod.metadata.annotations.contains_key(&key)
            && selects(&spec.selector, &pod.metadata.labels)
        {
            wanted.push((object, spec));
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let mut spec: PodSpec = pod.spec()?;
    for (object, preset) in &wanted {
        let merged = merge(&mut spec, pod, preset);
        merged.map_err(|what| {
            Error::new(
                Code::Conflict,
                format!(
                    "PodDefault \"{}\": {what} is set otherwise already: change one of them, or the labels that choose it",
                    object.metadata.name
                ),
            )
        })?;
    }
    for (object, _) in &wanted {
        let meta = &object.metadata;
        pod.metadata.annotations.insert(
            format!("{APPLIED}{}", meta.name),
            meta.resource_version.to_string(),
        );
    }
    pod.set("spec", &spec)
}

/// Merges one preset. The error is what it says differently.
fn merge(
    spec: &mut PodSpec,
    pod: &mut Object,
    preset: &PodDefaultSpec,
) -> std::result::Result<(), String> {
    for container in &mut spec.containers {
        let name = container.name.clone();
        let env = container.env.get_or_insert_default();
        join(env, &preset.env, |e| &e.name)
            .map_err(|v| format!("the variable {v} of the container {name}"))?;
        let from = container.env_from.get_or_insert_default();
        from.extend(preset.env_from.iter().cloned());
        let mounts = container.volume_mounts.get_or_insert_default();
        join(mounts, &preset.volume_mounts, |m| &m.mount_path)
            .map_err(|m| format!("the mount at {m} of the container {name}"))?;
        for (own, given) in [
            (&mut container.command, &preset.command),
            (&mut container.args, &preset.args),
        ] {
            if own.as_ref().is_none_or(Vec::is_empty) && !given.is_empty() {
                *own = Some(given.clone());
            }
        }
    }
    join(spec.volumes.get_or_insert_default(), &preset.volumes, |v| {
        &v.name
    })
    .map_err(|v| format!("the volume {v}"))?;
    join(
        spec.init_containers.get_or_insert_default(),
        &preset.init_containers,
        |c| &c.name,
    )
    .map_err(|c| format!("the init container {c}"))?;
    join(&mut spec.containers, &preset.sidecars, |c| &c.name)
        .map_err(|c| format!("the container {c}"))?;
    let secrets = spec.image_pull_secrets.get_or_insert_default();
    join(secrets, &preset.image_pull_secrets, |s| &s.name)
        .map_err(|s| format!("the Secret {s}"))?;
    let tolerations = spec.tolerations.get_or_insert_default();
    let new = |t: &&Toleration| !tolerations.contains(t);
    let more: Vec<_> = preset.tolerations.iter().filter(new).cloned().collect();
    tolerations.extend(more);
    for (what, own, given) in [
        ("label", &mut pod.metadata.labels, &preset.labels),
        (
            "annotation",
            &mut pod.metadata.annotations,
            &preset.annotations,
        ),
    ] {
        for (key, value) in given {
            if own.get(key).is_some_and(|v| v != value) {
                return Err(format!("the {what} {key}"));
            }
            own.insert(key.clone(), value.clone());
        }
    }
    if let Some(account) = &preset.service_account_name {
        spec.service_account_name = Some(account.clone());
    }
    if let Some(mounts) = preset.automount_service_account_token {
        spec.automount_service_account_token = Some(mounts);
    }
    Ok(())
}

/// Adds what is not there. The error is the key of what is there and is another.
fn join<T: Clone + PartialEq, K: ToString>(
    there: &mut Vec<T>,
    given: &[T],
    key: impl Fn(&T) -> &K,
) -> std::result::Result<(), String> {
    for item in given {
        let name = key(item).to_string();
        match there.iter().find(|t| key(t).to_string() == name) {
            Some(same) if same == item => {}
            Some(_) => return Err(name),
            None => there.push(item.clone()),
        }
    }
    Ok(())
}

/// Whether a selector chooses these labels. An empty one chooses all.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let mut equal = selector.match_labels.iter().flatten();
    let mut expressions = selector.match_expressions.iter().flatten();
    equal.all(|(k, v)| labels.get(k) == Some(v))
        && expressions.all(|e| {
            let value = labels.get(&e.key);
            let listed = value.is_some_and(|v| e.values.iter().flatten().any(|x| x == v));
            match e.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                _ => value.is_none(),
            }
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kinds::core::POD;

    fn preset(name: &str, spec: Value) -> Object {
        Object::new(&POD_DEFAULT, "kubeflow", name)
            .with_spec(&spec)
            .unwrap()
    }

    fn pod() -> Object {
        Object::new(&POD, "kubeflow", "p")
            .with_label("gpu", "yes")
            .with_spec(&json!({"containers": [{"name": "main", "image": "x", "env": [{"name": "A", "value": "1"}]}]}))
            .unwrap()
    }

    #[test]
    fn those_that_choose_it_are_merged() {
        let presets = [
            preset(
                "mine",
                json!({
                    "selector": {"matchLabels": {"gpu": "yes"}}, "desc": "d",
                    "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                    "volumes": [{"name": "v", "emptyDir": {}}], "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                    "sidecars": [{"name": "side", "image": "y"}], "labels": {"l": "1"}, "annotations": {"n": "1"},
                    "command": ["c"], "serviceAccountName": "default-editor",
                }),
            ),
            preset(
                "other",
                json!({"selector": {"matchLabels": {"gpu": "no"}}, "env": [{"name": "C", "value": "3"}]}),
            ),
        ];
        let mut made = pod();
        apply(&presets, &mut made).unwrap();
        let spec: PodSpec = made.spec().unwrap();
        let main = &spec.containers[0];
        let env: Vec<_> = main.env.iter().flatten().map(|e| e.name.as_str()).collect();
        assert_eq!(env, ["A", "B"]);
        assert_eq!(main.command.as_deref(), Some(&["c".to_string()][..]));
        assert_eq!(main.volume_mounts.as_ref().unwrap()[0].mount_path, "/v");
        assert_eq!(spec.containers[1].name, "side");
        assert!(spec.containers[1].env.is_none());
        assert_eq!(made.label("l"), "1");
        assert!(
            made.metadata
                .annotations
                .contains_key(&format!("{APPLIED}mine"))
        );
        assert!(
            !made
                .metadata
                .annotations
                .contains_key(&format!("{APPLIED}other"))
        );
        // Once more changes nothing.
        let before = made.clone();
        apply(&presets, &mut made).unwrap();
        assert_eq!(made, before);

        let mut left = pod();
        left.metadata
            .annotations
            .insert(EXCLUDE.into(), "true".into());
        let before = left.clone();
        apply(&presets, &mut left).unwrap();
        assert_eq!(left, before);
    }

    #[test]
    fn contradictions_are_named() {
        let mut made = pod();
        let other = preset("other", json!({"env": [{"name": "A", "value": "2"}]}));
        let error = apply(&[other], &mut made).unwrap_err();
        assert_eq!(error.code, Code::Conflict);
        assert!(
            error.message.contains("\"other\"") && error.message.contains("variable A"),
            "{error}"
        );
    }

    #[test]
    fn what_no_pod_may_have_it_may_not_either() {
        let ok = json!({"selector": {}, "env": [{"name": "A", "value": "1"}]});
        POD_DEFAULT.check(&preset("a", ok)).unwrap();
        for (spec, field) in [
            (
                json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
                "hostPath",
            ),
            (
                json!({"volumes": [{"name": "v", "csi": {"driver": "store.kfbox.dev"}}]}),
                "csi",
            ),
            (
                json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}),
                "volumeMounts[0]",
            ),
            (
                json!({"sidecars": [{"name": "s", "image": "x", "securityContext": {"privileged": true}}]}),
                "privileged",
            ),
            (json!({"annotations": {COMMIT_IMAGE: "x"}}), COMMIT_IMAGE),
            (
                json!({"selector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}),
                "Near",
            ),
        ] {
            let error = POD_DEFAULT.check(&preset("a", spec.clone())).unwrap_err();
            assert!(error.message.contains(field), "{spec}: {error}");
        }
    }

    #[test]
    fn selectors_with_expressions() {
        let labels = BTreeMap::from([("a".to_string(), "1".to_string())]);
        let chosen = |key: &str, operator: &str, values: &[&str]| {
            let selector: LabelSelector = serde_json::from_value(
                json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]}),
            )
            .unwrap();
            selects(&selector, &labels)
        };
        assert!(chosen("a", "In", &["1", "2"]) && !chosen("a", "In", &["2"]));
        assert!(chosen("a", "NotIn", &["2"]) && chosen("b", "NotIn", &["2"]));
        assert!(chosen("a", "Exists", &[]) && !chosen("b", "Exists", &[]));
        assert!(chosen("b", "DoesNotExist", &[]) && !chosen("a", "DoesNotExist", &[]));
    }
}
