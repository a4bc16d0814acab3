//! What a job must be to be let in: upstream's admission rules. Each error names the field and the mend.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Framework, ReplicaSpec, RunPolicy, Special, run_policy, special};
use crate::{Error, Object, Result, kinds::core::POD};

/// Reads a value; an error names the field.
pub(super) fn parse<T: DeserializeOwned>(value: &Value, path: &str) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(|e| {
        let inner = e.path().to_string();
        match inner.as_str() {
            "." => Error::invalid(format!("{path}: {}", e.inner())),
            inner => Error::invalid(format!("{path}.{inner}: {}", e.inner())),
        }
    })
}

fn wrong<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::invalid(message))
}

/// Checks a job.
pub(super) fn check(job: &Object) -> Result<()> {
    let Some(framework) = Framework::of(&job.api_version, &job.kind) else {
        return Ok(());
    };
    check_name(&job.metadata.name)?;
    let field = framework.field;
    let spec = job.body.get("spec").unwrap_or(&Value::Null);
    let Some(map) = spec.get(field).and_then(Value::as_object) else {
        return wrong(format!(
            "spec.{field}: required: a map of replica types ({})",
            framework.types.join(", ")
        ));
    };
    if map.is_empty() {
        return wrong(format!(
            "spec.{field}: at least one replica type is required ({})",
            framework.types.join(", ")
        ));
    }
    if let Some(other) = map.keys().find(|k| !framework.types.contains(&k.as_str())) {
        return wrong(format!(
            "spec.{field}.{other}: no such replica type; {} has {}",
            framework.kind.kind,
            framework.types.join(", ")
        ));
    }
    let special = special(job)?;
    let replicas = framework.replicas(job)?;
    for (role, replica) in &replicas {
        check_replica(framework, job, &special, role, replica)?;
    }
    check_leaders(framework, &replicas)?;
    check_special(framework, &special, &replicas)?;
    check_run_policy(&run_policy(job)?)
}

/// A Service bears the job's name, so it is a DNS label (RFC 1035).
fn check_name(name: &str) -> Result<()> {
    let starts = name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    let ends = name.as_bytes().last().is_some_and(|c| *c != b'-');
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if starts && ends && name.bytes().all(inner) && name.len() <= 63 {
        return Ok(());
    }
    wrong(format!(
        "metadata.name: \"{name}\" must be a DNS-1035 label: lower-case letters, digits and '-', starting with a letter, at most 63 characters"
    ))
}

fn check_replica(
    framework: &Framework,
    job: &Object,
    special: &Special,
    role: &str,
    replica: &ReplicaSpec,
) -> Result<()> {
    let path = format!("spec.{}.{role}", framework.field);
    let count = replica.replicas.unwrap_or(1);
    if count < 0 {
        return wrong(format!("{path}.replicas: must be 0 or more"));
    }
    let longest = framework.pod_name(&job.metadata.name, role, (count - 1).max(0));
    if longest.len() > 63 {
        return wrong(format!(
            "metadata.name: too long: the Pod \"{longest}\" would have more than 63 characters"
        ));
    }
    one_of(
        &format!("{path}.restartPolicy"),
        replica.restart_policy.as_deref(),
        &["Always", "OnFailure", "Never", "ExitCode"],
    )?;
    let containers = replica.template.spec.as_ref().map(|s| &s.containers);
    let containers = containers.map(Vec::as_slice).unwrap_or_default();
    let at = format!("{path}.template.spec.containers");
    if containers.is_empty() {
        return wrong(format!("{at}: at least one is required"));
    }
    for (i, container) in containers.iter().enumerate() {
        if container.image.as_deref().unwrap_or_default().is_empty() {
            return wrong(format!("{at}[{i}].image: required"));
        }
    }
    let main = framework.main(special);
    if !containers.iter().any(|c| c.name == main) {
        return wrong(format!(
            "{at}: one container must be named \"{main}\", for {} runs the training in it",
            framework.kind.kind
        ));
    }
    // What the box would refuse of a Pod, it refuses of the job.
    let pod = Object::new(&POD, "", "").with_spec(&replica.template.spec)?;
    (POD.validate)(&pod).map_err(|mut e| {
        e.message = format!("{path}.template.{}", e.message);
        e
    })
}

fn check_leaders(framework: &Framework, replicas: &[(&str, ReplicaSpec)]) -> Result<()> {
    let field = framework.field;
    let has = |role: &str| replicas.iter().any(|(r, _)| *r == role);
    if !framework.required.is_empty() && !has(framework.required) {
        return wrong(format!("spec.{field}.{}: required", framework.required));
    }
    if !framework.one_leader {
        return Ok(());
    }
    let leaders: Vec<_> = replicas
        .iter()
        .filter(|(r, _)| framework.leads(r))
        .collect();
    if leaders.len() > 1 {
        return wrong(format!(
            "spec.{field}: only one of {} may be there",
            framework.leaders.join(", ")
        ));
    }
    match leaders.first() {
        Some((role, spec)) if spec.replicas.unwrap_or(1) != 1 => {
            wrong(format!("spec.{field}.{role}.replicas: must be 1"))
        }
        _ => Ok(()),
    }
}

fn check_special(
    framework: &Framework,
    special: &Special,
    replicas: &[(&str, ReplicaSpec)],
) -> Result<()> {
    match framework.kind.kind {
        "TFJob" => one_of(
            "spec.successPolicy",
            special.success_policy.as_deref(),
            &["", "AllWorkers"],
        )?,
        "MXJob" => one_of(
            "spec.jobMode",
            special.job_mode.as_deref(),
            &["MXTrain", "MXTune"],
        )?,
        "MPIJob" | "ChainerJob" if special.slots_per_worker.is_some_and(|s| s < 1) => {
            return wrong("spec.slotsPerWorker: must be 1 or more");
        }
        "PyTorchJob" => {
            let nproc = special.nproc_per_node.as_deref().unwrap_or("auto");
            let number = nproc.parse::<u32>().is_ok_and(|n| n > 0);
            if !number && !["auto", "cpu", "gpu"].contains(&nproc) {
                return wrong("spec.nprocPerNode: must be auto, cpu, gpu or a number");
            }
        }
        _ => {}
    }
    let Some(elastic) = &special.elastic_policy else {
        return Ok(());
    };
    if !["PyTorchJob", "PaddleJob"].contains(&framework.kind.kind) {
        return Ok(());
    }
    let Some((_, workers)) = replicas.iter().find(|(r, _)| *r == "Worker") else {
        return wrong(format!(
            "spec.{}.Worker: required by spec.elasticPolicy",
            framework.field
        ));
    };
    let count = workers.replicas.unwrap_or(1);
    let (min, max) = (
        elastic.min_replicas.unwrap_or(count),
        elastic.max_replicas.unwrap_or(count),
    );
    if min < 1 || max < min {
        return wrong("spec.elasticPolicy.minReplicas: must be at least 1 and at most maxReplicas");
    }
    if elastic.standalone == Some(true)
        && (elastic.rdzv_host.is_some() || elastic.rdzv_port.is_some())
    {
        return wrong(
            "spec.elasticPolicy.standalone: takes no rdzvHost and rdzvPort; leave out one of them",
        );
    }
    Ok(())
}

fn check_run_policy(policy: &RunPolicy) -> Result<()> {
    one_of(
        "spec.runPolicy.cleanPodPolicy",
        policy.clean_pod_policy.as_deref(),
        &["None", "Running", "All"],
    )?;
    one_of(
        "spec.runPolicy.managedBy",
        policy.managed_by.as_deref(),
        &["", super::MANAGER, "kueue.x-k8s.io/multikueue"],
    )?;
    let at_least = |field: &str, value: Option<i64>, least: i64| match value {
        Some(v) if v < least => wrong(format!("spec.runPolicy.{field}: must be {least} or more")),
        _ => Ok(()),
    };
    let min = policy
        .scheduling_policy
        .as_ref()
        .and_then(|s| s.min_available);
    at_least("backoffLimit", policy.backoff_limit.map(i64::from), 0)?;
    at_least("activeDeadlineSeconds", policy.active_deadline_seconds, 1)?;
    let ttl = policy.ttl_seconds_after_finished.map(i64::from);
    at_least("ttlSecondsAfterFinished", ttl, 0)?;
    at_least("schedulingPolicy.minAvailable", min.map(i64::from), 0)
}

fn one_of(field: &str, value: Option<&str>, allowed: &[&str]) -> Result<()> {
    match value {
        Some(v) if !allowed.contains(&v) => {
            let list: Vec<_> = allowed.iter().map(|a| format!("\"{a}\"")).collect();
            wrong(format!(
                "{field}: \"{v}\" must be one of {}",
                list.join(", ")
            ))
        }
        _ => Ok(()),
    }
}
