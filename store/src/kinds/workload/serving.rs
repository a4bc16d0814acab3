//! apps/v1 Deployment and StatefulSet: Pods that go on.

use k8s_openapi::{
    api::apps::v1 as apps,
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use schemars::schema_for;
use serde_json::{Map, Value, json};

use super::{
    check_length, check_template, containers, default, images, number, refuse, selector, spec_mut,
};
use crate::{Column, Error, Kind, Object, Result, Scale, Verbs};

/// Pods that are all alike and go on.
pub static DEPLOYMENT: Kind = Kind {
    group: "apps",
    kind: "Deployment",
    plural: "deployments",
    short: &["deploy"],
    categories: &["all"],
    verbs: Verbs::All,
    scale: Some(SCALE),
    builtin: true,
    schema: Some(|| schema_for!(apps::Deployment)),
    prepare: prepare_deployment,
    validate: check_deployment,
    columns: &[
        Column::of("Ready", ready),
        Column::of("Up-to-date", |o| {
            number(o, "status", "/updatedReplicas").to_string()
        }),
        Column::of("Available", |o| {
            number(o, "status", "/availableReplicas").to_string()
        }),
        Column::of("Containers", containers).wide(),
        Column::of("Images", images).wide(),
        Column::of("Selector", selector).wide(),
    ],
    ..Kind::BASE
};

/// Pods with names and volumes of their own that go on.
pub static STATEFUL_SET: Kind = Kind {
    group: "apps",
    kind: "StatefulSet",
    plural: "statefulsets",
    short: &["sts"],
    categories: &["all"],
    verbs: Verbs::All,
    scale: Some(SCALE),
    builtin: true,
    schema: Some(|| schema_for!(apps::StatefulSet)),
    prepare: prepare_stateful_set,
    validate: check_stateful_set,
    columns: &[
        Column::of("Ready", ready),
        Column::of("Containers", containers).wide(),
        Column::of("Images", images).wide(),
    ],
    ..Kind::BASE
};

const SCALE: Scale = Scale {
    spec: "/spec/replicas",
    status: "/status/replicas",
    selector: "",
};

fn ready(object: &Object) -> String {
    let ready = number(object, "status", "/readyReplicas");
    format!("{ready}/{}", number(object, "spec", "/replicas"))
}

/// Pods that go on are started again whenever they end.
fn restart_always(spec: &mut Map<String, Value>) {
    if let Some(pod) = spec
        .get_mut("template")
        .and_then(|t| t.get_mut("spec"))
        .and_then(Value::as_object_mut)
    {
        default(pod, "restartPolicy", json!("Always"));
    }
}

fn prepare_deployment(deployment: &mut Object) -> Result<()> {
    let Some(spec) = spec_mut(deployment) else {
        return Ok(());
    };
    restart_always(spec);
    default(spec, "replicas", json!(1));
    default(spec, "revisionHistoryLimit", json!(10));
    default(spec, "progressDeadlineSeconds", json!(600));
    default(spec, "strategy", json!({}));
    if let Some(strategy) = spec.get_mut("strategy").and_then(Value::as_object_mut) {
        default(strategy, "type", json!("RollingUpdate"));
        if strategy["type"] == "RollingUpdate" {
            default(strategy, "rollingUpdate", json!({}));
            if let Some(rolling) = strategy
                .get_mut("rollingUpdate")
                .and_then(Value::as_object_mut)
            {
                default(rolling, "maxUnavailable", json!("25%"));
                default(rolling, "maxSurge", json!("25%"));
            }
        }
    }
    Ok(())
}

fn check_deployment(deployment: &Object) -> Result<()> {
    let spec: apps::DeploymentSpec = deployment.spec()?;
    check_template(&spec.template, &["Always"])?;
    check_selector(&spec.selector, &spec.template)?;
    check_replicas(spec.replicas)?;
    let strategy = spec.strategy.unwrap_or_default();
    match strategy.type_.as_deref() {
        Some("Recreate") if strategy.rolling_update.is_some() => Err(Error::invalid(
            "spec.strategy.rollingUpdate: only for type RollingUpdate",
        )),
        Some("RollingUpdate") => {
            let rolling = strategy.rolling_update.unwrap_or_default();
            let most = |field: &str, value: Option<IntOrString>| {
                share(value.as_ref(), 100, false).ok_or_else(|| {
                    Error::invalid(format!(
                        "spec.strategy.rollingUpdate.{field}: must be a number or a percentage such as 25%"
                    ))
                })
            };
            let unavailable = most("maxUnavailable", rolling.max_unavailable)?;
            if unavailable == 0 && most("maxSurge", rolling.max_surge)? == 0 {
                return Err(Error::invalid(
                    "spec.strategy.rollingUpdate.maxUnavailable: must not be 0 when maxSurge is 0",
                ));
            }
            Ok(())
        }
        None | Some("Recreate") => Ok(()),
        Some(other) => Err(Error::invalid(format!(
            "spec.strategy.type: \"{other}\" must be RollingUpdate or Recreate"
        ))),
    }
}

fn prepare_stateful_set(set: &mut Object) -> Result<()> {
    let Some(spec) = spec_mut(set) else {
        return Ok(());
    };
    restart_always(spec);
    default(spec, "replicas", json!(1));
    default(spec, "revisionHistoryLimit", json!(10));
    default(spec, "podManagementPolicy", json!("OrderedReady"));
    default(spec, "serviceName", json!(""));
    default(spec, "updateStrategy", json!({}));
    if let Some(strategy) = spec
        .get_mut("updateStrategy")
        .and_then(Value::as_object_mut)
    {
        default(strategy, "type", json!("RollingUpdate"));
        if strategy["type"] == "RollingUpdate" {
            default(strategy, "rollingUpdate", json!({"partition": 0}));
        }
    }
    default(
        spec,
        "persistentVolumeClaimRetentionPolicy",
        json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
    );
    Ok(())
}

fn check_stateful_set(set: &Object) -> Result<()> {
    let spec: apps::StatefulSetSpec = set.spec()?;
    check_length(set, 52)?;
    check_template(&spec.template, &["Always"])?;
    check_selector(&spec.selector, &spec.template)?;
    check_replicas(spec.replicas)?;
    let strategy = spec.update_strategy.unwrap_or_default();
    if let Some(other) = strategy
        .type_
        .filter(|t| !["RollingUpdate", "OnDelete"].contains(&t.as_str()))
    {
        return Err(Error::invalid(format!(
            "spec.updateStrategy.type: \"{other}\" must be RollingUpdate or OnDelete"
        )));
    }
    if let Some(other) = spec
        .pod_management_policy
        .filter(|p| !["OrderedReady", "Parallel"].contains(&p.as_str()))
    {
        return Err(Error::invalid(format!(
            "spec.podManagementPolicy: \"{other}\" must be OrderedReady or Parallel"
        )));
    }
    let retention = spec
        .persistent_volume_claim_retention_policy
        .unwrap_or_default();
    if retention.when_scaled.as_deref() == Some("Delete") {
        return Err(refuse(
            "spec.persistentVolumeClaimRetentionPolicy.whenScaled Delete",
            "delete the claims of the Pods that are no more",
        ));
    }
    for (i, claim) in spec.volume_claim_templates.iter().flatten().enumerate() {
        if claim
            .metadata
            .name
            .as_deref()
            .unwrap_or_default()
            .is_empty()
        {
            return Err(Error::invalid(format!(
                "spec.volumeClaimTemplates[{i}].metadata.name: required"
            )));
        }
    }
    Ok(())
}

fn check_replicas(replicas: Option<i32>) -> Result<()> {
    match replicas {
        Some(..0) => Err(Error::invalid("spec.replicas: must be 0 or more")),
        _ => Ok(()),
    }
}

fn check_selector(
    selector: &LabelSelector,
    template: &k8s_openapi::api::core::v1::PodTemplateSpec,
) -> Result<()> {
    if selector
        .match_expressions
        .as_ref()
        .is_some_and(|e| !e.is_empty())
    {
        return Err(refuse("spec.selector.matchExpressions", "use matchLabels"));
    }
    let wanted = selector.match_labels.clone().unwrap_or_default();
    if wanted.is_empty() {
        return Err(Error::invalid("spec.selector.matchLabels: required"));
    }
    let labels = template
        .metadata
        .as_ref()
        .and_then(|m| m.labels.clone())
        .unwrap_or_default();
    if wanted.iter().any(|(k, v)| labels.get(k) != Some(v)) {
        return Err(Error::invalid(
            "spec.template.metadata.labels: must hold all of spec.selector.matchLabels",
        ));
    }
    Ok(())
}

/// A number, or a share of `whole` in percent, rounded as told; absent = 25 %. `None` when it is neither.
pub fn share(value: Option<&IntOrString>, whole: i32, up: bool) -> Option<i32> {
    let percent = match value {
        Some(IntOrString::Int(n)) => return (*n >= 0).then_some(*n),
        Some(IntOrString::String(s)) => s
            .strip_suffix('%')?
            .parse::<i32>()
            .ok()
            .filter(|p| *p >= 0)?,
        None => 25,
    };
    let product = i64::from(percent) * i64::from(whole);
    let rounded = if up {
        (product + 99) / 100
    } else {
        product / 100
    };
    i32::try_from(rounded).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn made(kind: &'static Kind, extra: Value) -> Object {
        let mut spec = json!({
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "main", "image": "x"}]}},
        });
        crate::json_merge(&mut spec, &extra);
        let mut object = Object::new(kind, "kubeflow", "a").with_spec(&spec).unwrap();
        (kind.prepare)(&mut object).unwrap();
        object
    }

    #[test]
    fn defaults_and_rules() {
        for kind in [&DEPLOYMENT, &STATEFUL_SET] {
            let mut object = made(kind, json!({}));
            (kind.validate)(&object).unwrap();
            let before = object.clone();
            (kind.prepare)(&mut object).unwrap();
            assert_eq!(object, before);
            assert_eq!(ready(&object), "0/1");
            for (extra, field) in [
                (json!({"replicas": -1}), "replicas"),
                (json!({"selector": {"matchLabels": {"app": "b"}}}), "labels"),
                (json!({"selector": null}), "matchLabels"),
                (
                    json!({"template": {"spec": {"restartPolicy": "Never"}}}),
                    "restartPolicy",
                ),
            ] {
                let message = (kind.validate)(&made(kind, extra)).unwrap_err().message;
                assert!(message.contains(field), "{message}");
            }
        }
        let both = json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}});
        assert!(check_deployment(&made(&DEPLOYMENT, both)).is_err());
        let scaled = json!({"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}});
        assert!(check_stateful_set(&made(&STATEFUL_SET, scaled)).is_err());
    }

    #[test]
    fn shares_round_as_told() {
        let percent = |p: &str| Some(IntOrString::String(p.into()));
        assert_eq!(share(None, 3, true), Some(1));
        assert_eq!(share(None, 3, false), Some(0));
        assert_eq!(share(percent("50%").as_ref(), 3, true), Some(2));
        assert_eq!(share(Some(&IntOrString::Int(2)), 3, true), Some(2));
        assert_eq!(share(percent("half").as_ref(), 3, true), None);
    }
}
