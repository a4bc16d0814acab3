//! batch/v1 Job: Pods that run to their end.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1 as batch;
use schemars::schema_for;
use serde_json::{Value, json};

use super::{
    check_length, check_template, containers, default, images, number, refuse, selector, spec_mut,
};
use crate::{Column, Error, Kind, Object, Result, Verbs};

/// Pods that run to their end.
pub static JOB: Kind = Kind {
    group: "batch",
    kind: "Job",
    plural: "jobs",
    categories: &["all"],
    verbs: Verbs::All,
    builtin: true,
    schema: Some(|| schema_for!(batch::Job)),
    prepare,
    fixed: &[("/spec/managedBy", "field is immutable")],
    validate,
    columns: &[
        Column::of("Status", state),
        Column::of("Completions", completions),
        Column::of("Duration", duration),
        Column::of("Containers", containers).wide(),
        Column::of("Images", images).wide(),
        Column::of("Selector", selector).wide(),
    ],
    ..Kind::BASE
};

fn prepare(job: &mut Object) -> Result<()> {
    let name = job.metadata.name.clone();
    let Some(spec) = spec_mut(job) else {
        return Ok(());
    };
    let given = |field: &str| spec.get(field).is_some_and(|v| !v.is_null());
    // Neither given: one Pod, once. Only parallelism given: a work queue, which ends with its first success.
    if !given("completions") && !given("parallelism") {
        spec.insert("completions".into(), json!(1));
    }
    default(spec, "parallelism", json!(1));
    default(spec, "backoffLimit", json!(6));
    default(spec, "completionMode", json!("NonIndexed"));
    default(spec, "suspend", json!(false));
    default(spec, "podReplacementPolicy", json!("TerminatingOrFailed"));
    // Upstream selects by the Job's uid, which a Job has only once it is stored.
    default(
        spec,
        "selector",
        json!({"matchLabels": {"batch.kubernetes.io/job-name": name}}),
    );
    Ok(())
}

fn validate(job: &Object) -> Result<()> {
    let spec: batch::JobSpec = job.spec()?;
    check_length(job, 57)?;
    check_template(&spec.template, &["Never", "OnFailure"])?;
    for (field, value) in [
        ("parallelism", spec.parallelism),
        ("completions", spec.completions),
        ("backoffLimit", spec.backoff_limit),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished),
    ] {
        if value.is_some_and(|v| v < 0) {
            return Err(Error::invalid(format!("spec.{field}: must be 0 or more")));
        }
    }
    if spec.active_deadline_seconds.is_some_and(|v| v < 0) {
        return Err(Error::invalid(
            "spec.activeDeadlineSeconds: must be 0 or more",
        ));
    }
    match spec.completion_mode.as_deref() {
        Some("Indexed") if spec.completions.is_none() => {
            return Err(Error::invalid(
                "spec.completions: required when completionMode is Indexed",
            ));
        }
        None | Some("NonIndexed" | "Indexed") => {}
        Some(other) => {
            return Err(Error::invalid(format!(
                "spec.completionMode: \"{other}\" must be NonIndexed or Indexed"
            )));
        }
    }
    if spec.manual_selector == Some(true) {
        return Err(refuse(
            "spec.manualSelector",
            "leave it and spec.selector out",
        ));
    }
    if spec.success_policy.is_some() {
        return Err(refuse(
            "spec.successPolicy",
            "a Job succeeds by its completions",
        ));
    }
    if spec.backoff_limit_per_index.is_some() || spec.max_failed_indexes.is_some() {
        return Err(refuse(
            "spec.backoffLimitPerIndex and spec.maxFailedIndexes",
            "use spec.backoffLimit",
        ));
    }
    check_failure_policy(&spec)
}

fn check_failure_policy(spec: &batch::JobSpec) -> Result<()> {
    let Some(policy) = &spec.pod_failure_policy else {
        return Ok(());
    };
    let restart = spec
        .template
        .spec
        .as_ref()
        .and_then(|s| s.restart_policy.as_deref());
    if restart != Some("Never") {
        return Err(Error::invalid(
            "spec.podFailurePolicy: needs spec.template.spec.restartPolicy Never",
        ));
    }
    for (i, rule) in policy.rules.iter().enumerate() {
        let at = format!("spec.podFailurePolicy.rules[{i}]");
        if !["FailJob", "Ignore", "Count"].contains(&rule.action.as_str()) {
            return Err(refuse(
                &format!("{at}.action \"{}\"", rule.action),
                "use FailJob, Ignore or Count",
            ));
        }
        let Some(codes) = &rule.on_exit_codes else {
            return Err(refuse(
                &format!("{at}.onPodConditions"),
                "use onExitCodes (a Pod lost with its engine is run again without counting)",
            ));
        };
        if !["In", "NotIn"].contains(&codes.operator.as_str()) || codes.values.is_empty() {
            return Err(Error::invalid(format!(
                "{at}.onExitCodes: operator must be In or NotIn, with at least one value"
            )));
        }
    }
    Ok(())
}

/// What kubectl's Status column says.
fn state(job: &Object) -> String {
    let conditions: Vec<BTreeMap<String, Value>> = job
        .body
        .get("status")
        .and_then(|s| s.get("conditions"))
        .and_then(|c| serde_json::from_value(c.clone()).ok())
        .unwrap_or_default();
    let holds = |wanted: &str| {
        conditions.iter().any(|c| {
            c.get("type").is_some_and(|t| t == wanted)
                && c.get("status").is_some_and(|s| s == "True")
        })
    };
    for kind in ["Complete", "Failed"] {
        if holds(kind) {
            return kind.into();
        }
    }
    if job.deleting() {
        return "Terminating".into();
    }
    for kind in ["Suspended", "FailureTarget", "SuccessCriteriaMet"] {
        if holds(kind) {
            return kind.into();
        }
    }
    "Running".into()
}

fn completions(job: &Object) -> String {
    let done = number(job, "status", "/succeeded");
    let spec = job.body.get("spec");
    let wanted = spec
        .and_then(|s| s.get("completions"))
        .and_then(Value::as_i64);
    match (wanted, number(job, "spec", "/parallelism")) {
        (Some(n), _) => format!("{done}/{n}"),
        (None, p) if p > 1 => format!("{done}/1 of {p}"),
        (None, _) => format!("{done}/1"),
    }
}

fn duration(job: &Object) -> String {
    let time = |field: &str| {
        let text = job.body.get("status")?.get(field)?.as_str()?;
        text.parse::<jiff::Timestamp>().ok()
    };
    let Some(start) = time("startTime") else {
        return String::new();
    };
    let end = time("completionTime").unwrap_or_else(jiff::Timestamp::now);
    human(end.duration_since(start).as_secs().max(0))
}

/// Seconds as kubectl writes them: at most two units.
fn human(seconds: i64) -> String {
    let (m, h, d) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |a: i64, unit: &str, b: i64, small: &str| match b {
        0 => format!("{a}{unit}"),
        b => format!("{a}{unit}{b}{small}"),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => pair(m, "m", seconds % 60, "s"),
        600..10_800 => format!("{m}m"),
        10_800..28_800 => pair(h, "h", m % 60, "m"),
        28_800..172_800 => format!("{h}h"),
        172_800..691_200 => pair(d, "d", h % 24, "h"),
        _ => format!("{d}d"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn job(spec: Value) -> Object {
        let mut job = Object::new(&JOB, "kubeflow", "j").with_spec(&spec).unwrap();
        prepare(&mut job).unwrap();
        job
    }

    fn with(extra: Value) -> Object {
        let mut spec = json!({"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}],
        }}});
        crate::json_merge(&mut spec, &extra);
        job(spec)
    }

    #[test]
    fn defaults_are_upstreams_and_are_given_once() {
        let mut job = with(json!({}));
        let spec = job.body["spec"].clone();
        assert_eq!(spec["completions"], 1);
        assert_eq!(spec["backoffLimit"], 6);
        assert_eq!(spec["completionMode"], "NonIndexed");
        prepare(&mut job).unwrap();
        assert_eq!(job.body["spec"], spec);
        assert!(
            with(json!({"parallelism": 3})).body["spec"]
                .get("completions")
                .is_none()
        );
    }

    #[test]
    fn what_is_wrong_or_not_done_is_named() {
        assert!(validate(&with(json!({}))).is_ok());
        for (extra, field) in [
            (json!({"parallelism": -1}), "parallelism"),
            (json!({"completionMode": "Twice"}), "completionMode"),
            (
                json!({"completionMode": "Indexed", "completions": null, "parallelism": 1}),
                "completions",
            ),
            (
                json!({"successPolicy": {"rules": [{"succeededCount": 1}]}}),
                "successPolicy",
            ),
            (json!({"backoffLimitPerIndex": 1}), "backoffLimitPerIndex"),
            (
                json!({"template": {"spec": {"restartPolicy": "Always"}}}),
                "restartPolicy",
            ),
            (
                json!({"template": {"spec": {"containers": [{"name": "a"}]}}}),
                "image",
            ),
            (
                json!({"podFailurePolicy": {"rules": [{"action": "FailIndex"}]}}),
                "FailIndex",
            ),
            (
                json!({"podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "X", "status": "True"}]}]}}),
                "onPodConditions",
            ),
        ] {
            let message = validate(&with(extra)).unwrap_err().message;
            assert!(message.contains(field), "{field}: {message}");
        }
    }

    #[test]
    fn columns_read_as_kubectl_prints_them() {
        let mut job = with(json!({"completions": 3}));
        job.set("status", &json!({
            "succeeded": 2, "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:02:05Z",
            "conditions": [{"type": "Suspended", "status": "False"}, {"type": "Complete", "status": "True"}],
        })).unwrap();
        assert_eq!(
            (state(&job), completions(&job), duration(&job)),
            ("Complete".into(), "2/3".into(), "2m5s".into())
        );
        assert_eq!(containers(&job), "main");
        assert_eq!(human(3 * 3600 + 120), "3h2m");
    }
}
