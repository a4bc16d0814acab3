//! Reads a TrainJob and its runtime as JobSet would: the sets of Pods that the training is made of, with all
//! patches applied. What does not fit together is refused here, in words that name the field.

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, PersistentVolumeClaim, PersistentVolumeClaimVolumeSource,
    PodSpec, PodTemplateSpec, ResourceRequirements, SecretEnvSource, Volume,
};
use kfbox_store::{
    Error, Object, Result,
    kinds::trainer::{
        DependsOn, InitializerSource, SuccessPolicy, TrainJobSpec, TrainingRuntimeSpec,
    },
};

use super::{patch, policy};

/// On a replicated job of a runtime: which part of the training it is.
pub const ANCESTOR: &str = "trainer.kubeflow.org/trainjob-ancestor-step";
/// The container that trains, in the sets that train.
pub const NODE: &str = "node";
/// The set that starts an MPI training.
pub const LAUNCHER: &str = "launcher";
/// The port of rank 0.
pub const PORT: i32 = 29500;

/// The sets of Pods that a training is made of.
pub struct JobSet {
    /// In the runtime's order.
    pub sets: Vec<Set>,
    /// The name under which the Pods are found.
    pub subdomain: String,
    /// When it has succeeded.
    pub success: SuccessPolicy,
    /// Times that all Pods start over after a failure.
    pub max_restarts: i32,
    /// Seconds after the end until the Pods are removed.
    pub ttl: Option<i32>,
    /// Claims that all sets share, and whether they go with the TrainJob.
    pub claims: Vec<(PersistentVolumeClaim, bool)>,
    /// The hostfile, for MPI.
    pub hostfile: Option<String>,
}

/// Some Pods of one kind.
pub struct Set {
    /// Its name.
    pub name: String,
    /// Which part of the training it is; "" = none.
    pub ancestor: String,
    /// How many Pods.
    pub count: i32,
    /// Failures that are borne.
    pub backoff_limit: i32,
    /// What must have happened before.
    pub depends_on: Vec<DependsOn>,
    /// The Pods.
    pub template: PodTemplateSpec,
}

impl Set {
    /// The Pod's spec.
    pub fn pod(&mut self) -> &mut PodSpec {
        self.template.spec.get_or_insert_default()
    }

    /// A container by its name, also one that runs before the others.
    pub fn container(&mut self, name: &str) -> Option<&mut Container> {
        let pod = self.pod();
        let inits = pod.init_containers.iter_mut().flatten();
        pod.containers
            .iter_mut()
            .chain(inits)
            .find(|c| c.name == name)
    }
}

/// A TrainJob as the policies see it.
pub struct Training<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it wants.
    pub spec: &'a TrainJobSpec,
    /// Its runtime.
    pub runtime: &'a TrainingRuntimeSpec,
}

impl Training<'_> {
    /// Pods that train together.
    pub fn nodes(&self) -> i32 {
        let wanted = self.spec.trainer.as_ref().and_then(|t| t.num_nodes);
        let policy = self.runtime.ml_policy.as_ref().and_then(|p| p.num_nodes);
        wanted.or(policy).unwrap_or(1)
    }

    /// Processes in each of them, when the TrainJob says so.
    pub fn processes(&self) -> Option<i32> {
        self.spec.trainer.as_ref()?.num_proc_per_node
    }

    /// Where the first Pod of the set `node` is found.
    pub fn first_node(&self, set: &JobSet) -> String {
        format!("{}-{NODE}-0-0.{}", self.name, set.subdomain)
    }
}

/// The sets of Pods of this TrainJob.
///
/// # Errors
/// `Invalid` when it and its runtime do not fit together.
pub fn read(job: &Object, spec: &TrainJobSpec, runtime: &TrainingRuntimeSpec) -> Result<JobSet> {
    let name = job.metadata.name.as_str();
    let mut template = runtime.template.spec.clone();
    patch::apply(spec, &mut template)?;
    let training = Training {
        name,
        spec,
        runtime,
    };
    let network = template.network.clone().unwrap_or_default();
    let claims = template.volume_claim_policies.iter().flat_map(|p| {
        let policy = p.retention_policy.as_ref();
        let keep = policy.and_then(|r| r.when_deleted.as_deref()) == Some("Retain");
        p.templates.iter().map(move |t| (t.clone(), !keep))
    });
    let mut jobset = JobSet {
        subdomain: network.subdomain.unwrap_or_else(|| name.into()),
        success: template.success_policy.clone().unwrap_or_default(),
        max_restarts: template
            .failure_policy
            .as_ref()
            .map_or(0, |f| f.max_restarts),
        ttl: template.ttl_seconds_after_finished,
        claims: claims.collect(),
        hostfile: None,
        sets: template.replicated_jobs.into_iter().map(set).collect(),
    };
    let common = runtime
        .template
        .metadata
        .as_ref()
        .and_then(|m| m.labels.clone());
    for set in &mut jobset.sets {
        let labels = set
            .template
            .metadata
            .get_or_insert_default()
            .labels
            .get_or_insert_default();
        for (key, value) in common.iter().flatten() {
            labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    initialize(spec, &mut jobset)?;
    train(&training, &mut jobset)?;
    policy::apply(&training, &mut jobset)?;
    mount_claims(name, &mut jobset);
    Ok(jobset)
}

fn set(job: kfbox_store::kinds::trainer::ReplicatedJob) -> Set {
    let labels = job
        .template
        .metadata
        .and_then(|m| m.labels)
        .unwrap_or_default();
    let spec = job.template.spec.unwrap_or_default();
    let mut template = spec.template;
    let own = template.metadata.get_or_insert_default();
    let mut merged = labels.clone();
    merged.extend(own.labels.take().unwrap_or_default());
    own.labels = Some(merged);
    let pod = template.spec.get_or_insert_default();
    pod.restart_policy.get_or_insert("OnFailure".into());
    Set {
        name: job.name,
        ancestor: labels.get(ANCESTOR).cloned().unwrap_or_default(),
        count: spec.parallelism.unwrap_or(1),
        backoff_limit: spec.backoff_limit.unwrap_or(6),
        depends_on: job.depends_on,
        template,
    }
}

/// What the TrainJob says of its data and its model.
fn initialize(spec: &TrainJobSpec, jobset: &mut JobSet) -> Result<()> {
    let Some(initializer) = &spec.initializer else {
        return Ok(());
    };
    for (name, source) in [
        ("dataset-initializer", &initializer.dataset),
        ("model-initializer", &initializer.model),
    ] {
        let Some(source) = source else { continue };
        let found = jobset.sets.iter_mut().find(|s| s.ancestor == name);
        let container = found.and_then(|s| s.container(name)).ok_or_else(|| {
            Error::invalid(format!(
                "spec.runtimeRef: the runtime must have a replicatedJob and a container \"{name}\" for spec.initializer"
            ))
        })?;
        fetch(container, source);
    }
    Ok(())
}

fn fetch(container: &mut Container, source: &InitializerSource) {
    if let Some(uri) = &source.storage_uri {
        set_env(container, value("STORAGE_URI", uri));
    }
    for env in &source.env {
        set_env(container, env.clone());
    }
    if let Some(secret) = &source.secret_ref {
        container
            .env_from
            .get_or_insert_default()
            .push(EnvFromSource {
                secret_ref: Some(SecretEnvSource {
                    name: secret.name.clone(),
                    ..SecretEnvSource::default()
                }),
                ..EnvFromSource::default()
            });
    }
}

/// What the TrainJob says of its trainer.
fn train(training: &Training<'_>, jobset: &mut JobSet) -> Result<()> {
    let nodes = training.nodes();
    let mpi = training
        .runtime
        .ml_policy
        .as_ref()
        .and_then(|p| p.mpi.as_ref());
    let trainer = training.spec.trainer.clone().unwrap_or_default();
    for set in &mut jobset.sets {
        let trains = set.ancestor == "trainer";
        if trains && mpi.is_none() {
            set.count = nodes;
        }
        let computes =
            mpi.is_some_and(|m| m.run_launcher_as_node == Some(true)) && set.name == NODE;
        if !trains && !computes {
            continue;
        }
        let Some(container) = set.container(NODE) else {
            continue;
        };
        if let Some(wanted) = &trainer.resources_per_node {
            let own = container.resources.get_or_insert_default();
            for (from, to) in [
                (&wanted.limits, &mut own.limits),
                (&wanted.requests, &mut own.requests),
            ] {
                let given = from.clone().unwrap_or_default();
                to.get_or_insert_default().extend(given);
            }
        }
        for env in &trainer.env {
            set_env(container, env.clone());
        }
        if !trains {
            continue;
        }
        if let Some(image) = &trainer.image {
            container.image = Some(image.clone());
        }
        if let Some(command) = &trainer.command {
            container.command = Some(command.clone());
        }
        if let Some(args) = &trainer.args {
            container.args = Some(args.clone());
        }
    }
    if jobset.sets.iter().all(|s| s.ancestor != "trainer") {
        return Err(Error::invalid(format!(
            "spec.runtimeRef: the runtime has no replicatedJob labelled {ANCESTOR}: trainer"
        )));
    }
    Ok(())
}

/// Gives the shared claims to the Pods that mount them.
fn mount_claims(job: &str, jobset: &mut JobSet) {
    let names: Vec<String> = jobset
        .claims
        .iter()
        .filter_map(|(c, _)| c.metadata.name.clone())
        .collect();
    for set in &mut jobset.sets {
        let pod = set.pod();
        for name in &names {
            let inits = pod.init_containers.iter().flatten();
            let mut mounts = pod
                .containers
                .iter()
                .chain(inits)
                .flat_map(|c| c.volume_mounts.iter().flatten());
            let volumes = pod.volumes.get_or_insert_default();
            if mounts.any(|m| m.name == *name) && volumes.iter().all(|v| v.name != *name) {
                volumes.push(Volume {
                    name: name.clone(),
                    persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                        claim_name: format!("{name}-{job}"),
                        ..Default::default()
                    }),
                    ..Volume::default()
                });
            }
        }
    }
}

/// Sets a variable, in place of one of that name.
pub fn set_env(container: &mut Container, env: EnvVar) {
    let list = container.env.get_or_insert_default();
    match list.iter_mut().find(|e| e.name == env.name) {
        Some(old) => *old = env,
        None => list.push(env),
    }
}

/// A variable with a value.
pub fn value(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.into(),
        value: Some(value.into()),
        ..EnvVar::default()
    }
}

/// GPUs that a container gets.
pub fn gpus(resources: Option<&ResourceRequirements>) -> i32 {
    let lists = resources.into_iter().flat_map(|r| [&r.limits, &r.requests]);
    let gpus = lists
        .flatten()
        .flatten()
        .filter(|(k, _)| k.contains("nvidia.com/"));
    gpus.filter_map(|(_, v)| v.0.parse().ok())
        .max()
        .unwrap_or(0)
}

/// Whole CPUs that a container gets; what it requests counts before its limit.
pub fn cpus(resources: Option<&ResourceRequirements>) -> i32 {
    let Some(r) = resources else { return 0 };
    let read = |list: &Option<std::collections::BTreeMap<String, _>>| {
        let quantity: &k8s_openapi::apimachinery::pkg::api::resource::Quantity =
            list.as_ref()?.get("cpu")?;
        match quantity.0.strip_suffix('m') {
            Some(milli) => milli
                .parse::<f64>()
                .ok()
                .map(|m| (m / 1000.0).ceil() as i32),
            None => quantity.0.parse::<f64>().ok().map(|c| c.ceil() as i32),
        }
    };
    read(&r.requests)
        .filter(|c| *c > 0)
        .or_else(|| read(&r.limits))
        .unwrap_or(0)
}
