//! Defaults and rules of TrainJob and its runtimes. What needs both (does the patched container exist?) is
//! checked when the runtime is read, and told as an event and a condition.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{TrainJobSpec, TrainingRuntimeSpec};
use crate::{Code, Error, Object, Result};

/// Environment variables that the policies set; a TrainJob must not.
pub const RESERVED_ENV: &[&str] = &[
    "PET_NNODES",
    "PET_NPROC_PER_NODE",
    "PET_NODE_RANK",
    "PET_MASTER_ADDR",
    "PET_MASTER_PORT",
    "OMPI_MCA_orte_default_hostfile",
    "OMPI_MCA_plm_rsh_args",
    "OMPI_MCA_orte_keep_fqdn_hostnames",
    "OMPI_MCA_orte_set_default_slots",
    "DMLC_TRACKER_URI",
    "DMLC_TRACKER_PORT",
    "DMLC_TASK_ID",
    "DMLC_NUM_WORKER",
    "JAX_NUM_PROCESSES",
    "JAX_PROCESS_ID",
    "JAX_COORDINATOR_ADDRESS",
];

/// The longest name: the names of its Pods, which are labels of host names, are longer.
const MAX_NAME: usize = 40;

pub(super) fn prepare_job(job: &mut Object) -> Result<()> {
    let Some(spec) = job
        .body
        .entry("spec")
        .or_insert_with(|| json!({}))
        .as_object_mut()
    else {
        return Ok(());
    };
    let set = |map: &mut serde_json::Map<String, Value>, field: &str, value: Value| {
        let slot = map.entry(field).or_insert(Value::Null);
        if slot.is_null() {
            *slot = value;
        }
    };
    set(spec, "suspend", json!(false));
    set(
        spec,
        "managedBy",
        json!("trainer.kubeflow.org/trainjob-controller"),
    );
    if let Some(runtime) = spec.get_mut("runtimeRef").and_then(Value::as_object_mut) {
        set(runtime, "apiGroup", json!("trainer.kubeflow.org"));
        set(runtime, "kind", json!("ClusterTrainingRuntime"));
    }
    Ok(())
}

pub(super) fn check_job(job: &Object) -> Result<()> {
    let name = &job.metadata.name;
    let first = name.bytes().next().is_some_and(|c| c.is_ascii_lowercase());
    if name.len() > MAX_NAME || name.contains('.') || !first {
        return Err(Error::invalid(format!(
            "metadata.name: \"{name}\" must be at most {MAX_NAME} letters, digits or '-', and start with a letter: its Pods' host names begin with it"
        )));
    }
    let spec: TrainJobSpec = job.spec()?;
    if spec.runtime_ref.name.is_empty() {
        return Err(Error::invalid("spec.runtimeRef.name: required"));
    }
    match spec.runtime_ref.kind.as_deref() {
        None | Some("ClusterTrainingRuntime" | "TrainingRuntime") => {}
        Some(other) => {
            return Err(Error::invalid(format!(
                "spec.runtimeRef.kind: \"{other}\" must be ClusterTrainingRuntime or TrainingRuntime"
            )));
        }
    }
    if spec.active_deadline_seconds.is_some_and(|s| s < 0) {
        return Err(Error::invalid(
            "spec.activeDeadlineSeconds: must be 0 or more",
        ));
    }
    let trainer = spec.trainer.unwrap_or_default();
    for (field, value) in [
        ("numNodes", trainer.num_nodes),
        ("numProcPerNode", trainer.num_proc_per_node),
    ] {
        if value.is_some_and(|v| v < 1) {
            return Err(Error::invalid(format!(
                "spec.trainer.{field}: must be 1 or more"
            )));
        }
    }
    let reserved: Vec<_> = trainer
        .env
        .iter()
        .map(|e| e.name.as_str())
        .filter(|n| RESERVED_ENV.contains(n))
        .collect();
    if !reserved.is_empty() {
        return Err(Error::invalid(format!(
            "spec.trainer.env: must not have reserved envs, invalid envs configured: {reserved:?}"
        )));
    }
    for (i, patch) in spec.runtime_patches.iter().enumerate() {
        if !patch.manager.contains('/') {
            return Err(Error::invalid(format!(
                "spec.runtimePatches[{i}].manager: must be a domain and a path, such as example.com/controller"
            )));
        }
    }
    Ok(())
}

pub(super) fn prepare_runtime(runtime: &mut Object) -> Result<()> {
    let mpi = runtime
        .body
        .get_mut("spec")
        .and_then(|s| s.get_mut("mlPolicy"))
        .and_then(|p| p.get_mut("mpi"))
        .and_then(Value::as_object_mut);
    if let Some(mpi) = mpi {
        for (field, value) in [
            ("numProcPerNode", json!(1)),
            ("mpiImplementation", json!("OpenMPI")),
            ("sshAuthMountPath", json!("/root/.ssh")),
            ("runLauncherAsNode", json!(false)),
        ] {
            mpi.entry(field).or_insert(value);
        }
    }
    Ok(())
}

pub(super) fn check_runtime(runtime: &Object) -> Result<()> {
    let spec: TrainingRuntimeSpec = runtime.spec()?;
    let unsupported = |text: String| Err(Error::new(Code::Unsupported, text));
    let policy = spec.ml_policy.unwrap_or_default();
    if policy.flux.is_some() {
        return unsupported("spec.mlPolicy.flux: not done by this box; use mpi".into());
    }
    let chosen = [
        policy.torch.is_some(),
        policy.mpi.is_some(),
        policy.jax.is_some(),
        policy.xgboost.is_some(),
    ];
    if chosen.iter().filter(|c| **c).count() > 1 {
        return Err(Error::invalid(
            "spec.mlPolicy: only one of the policies can be configured",
        ));
    }
    if policy.num_nodes.is_some_and(|n| n < 1) {
        return Err(Error::invalid("spec.mlPolicy.numNodes: must be 1 or more"));
    }
    if let Some(other) = policy
        .mpi
        .and_then(|m| m.mpi_implementation)
        .filter(|m| m != "OpenMPI")
    {
        return unsupported(format!(
            "spec.mlPolicy.mpi.mpiImplementation \"{other}\": not done by this box; use OpenMPI"
        ));
    }
    let set = &spec.template.spec;
    let at = "spec.template.spec";
    if set.replicated_jobs.is_empty() {
        return Err(Error::invalid(format!(
            "{at}.replicatedJobs: at least one is required"
        )));
    }
    let mut names = BTreeSet::new();
    for (i, job) in set.replicated_jobs.iter().enumerate() {
        let at = format!("{at}.replicatedJobs[{i}]");
        if job.replicas.is_some_and(|r| r != 1) {
            return unsupported(format!("{at}.replicas: must be 1, as upstream's"));
        }
        for (j, before) in job.depends_on.iter().enumerate() {
            // A set depends on sets before it: so no circle can be.
            if !names.contains(before.name.as_str()) {
                return Err(Error::invalid(format!(
                    "{at}.dependsOn[{j}].name: \"{}\" must be a replicatedJob before this one",
                    before.name
                )));
            }
            if !["Ready", "Complete"].contains(&before.status.as_str()) {
                return Err(Error::invalid(format!(
                    "{at}.dependsOn[{j}].status: must be Ready or Complete"
                )));
            }
        }
        if job.name.is_empty() || !names.insert(job.name.as_str()) {
            return Err(Error::invalid(format!("{at}.name: required, and unique")));
        }
        let pod = job
            .template
            .spec
            .as_ref()
            .and_then(|s| s.template.spec.as_ref());
        if pod.is_none_or(|p| p.containers.is_empty()) {
            return Err(Error::invalid(format!(
                "{at}.template.spec.template.spec.containers: at least one is required"
            )));
        }
    }
    if set
        .failure_policy
        .as_ref()
        .is_some_and(|p| !p.rules.is_empty())
    {
        return unsupported(format!(
            "{at}.failurePolicy.rules: not done by this box; use maxRestarts"
        ));
    }
    if set
        .startup_policy
        .as_ref()
        .is_some_and(|p| p.startup_policy_order == "InOrder")
    {
        return unsupported(format!(
            "{at}.startupPolicy: use dependsOn, which says the same"
        ));
    }
    if let Some(policy) = &set.success_policy {
        if !["All", "Any"].contains(&policy.operator.as_str()) {
            return Err(Error::invalid(format!(
                "{at}.successPolicy.operator: must be All or Any"
            )));
        }
        if let Some(other) = policy
            .target_replicated_jobs
            .iter()
            .find(|t| !names.contains(t.as_str()))
        {
            return Err(Error::invalid(format!(
                "{at}.successPolicy.targetReplicatedJobs: \"{other}\" is not a replicatedJob"
            )));
        }
    }
    Ok(())
}
