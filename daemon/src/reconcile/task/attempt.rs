//! One attempt of a container task: the cache, the environment, the Pod with its folders, and the outputs.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use k8s_openapi::{
    api::core::v1::{
        CSIVolumeSource, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource,
        ObjectFieldSelector, PodSpec, ResourceRequirements, SecurityContext, Volume, VolumeMount,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use kfbox_store::{
    Code, Error, Object, Propagation, Ref, Result,
    blob::SCHEMES,
    kinds::{
        core::STORE_VOLUME,
        environment::{ENVIRONMENT, EnvironmentPhase, EnvironmentStatus},
        ir::{ContainerSpec, KubernetesConfig},
        pipeline::{Attempt, CACHE_ENTRY, CacheEntrySpec, RUN_ID, TaskState, TaskStatus, Values},
    },
    now_micros,
};

use sha2::{Digest, Sha256};

use super::{Step, Tasks};
use crate::{
    controller::Action,
    driver::Image,
    pipeline::{
        cache,
        container::{ContainerPlan, Places, TaskId, plan_container},
        outputs::{self, HostPaths},
        paths::{self, OUTPUT_DIR},
        pip::PipSetup,
        resolve,
    },
    reconcile::{
        environment::{environment, note_use},
        pod::new_pod,
    },
};

/// Folders that upstream gives every step to write to, beside the schemes' own.
const SCRATCH: &[&str] = &[".local", ".cache", ".config"];

impl Tasks {
    /// From "known" to "has a Pod": the cache first, then the image, then its environment, then the Pod.
    pub(super) async fn begin(&self, step: &mut Step<'_>) -> Result<Action> {
        let attempt = step.status.attempts.len();
        let plan = match self.plan(step, attempt) {
            Ok(plan) => plan,
            Err(e) => {
                let status = step.status.clone();
                return self
                    .end(step.key, status, TaskState::Failed, &e.message)
                    .await;
            }
        };
        if attempt == 0
            && let Some(fingerprint) = fingerprint(step)
        {
            if let Some(hit) = self.cached(step, &fingerprint).await? {
                let mut status = step.status.clone();
                status.fingerprint = fingerprint;
                status.outputs = hit.outputs;
                status.cached_from = Some(hit.from);
                return self.end(step.key, status, TaskState::Cached, "").await;
            }
            step.status.fingerprint = fingerprint;
        }
        let image = match self.ctx.images.resolve(&plan.image).await {
            Ok(image) => image,
            Err(e) if e.code == Code::NotFound => {
                tracing::warn!(task = step.spec.path, context = e.context, "{e}");
                let status = step.status.clone();
                return self
                    .end(step.key, status, TaskState::Failed, &e.message)
                    .await;
            }
            Err(e) => return Err(e),
        };
        // By the name it was asked for.
        let named = |image: Image| Image {
            name: plan.image.clone(),
            ..image
        };
        let (image, command) = match &plan.setup {
            None => (named(image), plan.command.clone()),
            Some(setup) => match self.environment(step, &image, setup).await? {
                Built::Ready(image) => (image, setup.command.clone()),
                Built::Wait(message) => {
                    if step.status.message != message {
                        return self.note(step, TaskState::Pending, &message).await;
                    }
                    return Ok(Action::Wait);
                }
                Built::Failed(message) => {
                    let status = step.status.clone();
                    return self
                        .end(step.key, status, TaskState::Failed, &message)
                        .await;
                }
            },
        };
        self.launch(step, &plan, image, command, attempt).await
    }

    fn plan(&self, step: &Step<'_>, attempt: usize) -> Result<ContainerPlan> {
        let container = container(step)?;
        let dag_path = step
            .spec
            .path
            .rsplit_once('/')
            .map_or("root", |(dag, _)| dag);
        let uuid = resolve::task_uuid(&step.job, dag_path, &step.spec.name);
        let task = TaskId {
            name: &step.spec.name,
            uuid: &uuid,
        };
        let inputs = &step.spec.inputs;
        plan_container(
            step.at.component,
            container,
            inputs,
            &self.places(step, attempt),
            task,
            &step.job,
        )
        .map_err(|e| Error::invalid(e.to_string()))
    }

    fn places(&self, step: &Step<'_>, attempt: usize) -> Places {
        // The Task's uid: a retried Task is a new one and never writes where the old one did.
        let uid = step.task.metadata.uid.get(..8).unwrap_or_default();
        Places::new(&step.job, &step.spec.name, &format!("{uid}-{attempt}"))
    }

    async fn cached(&self, step: &Step<'_>, fingerprint: &str) -> Result<Option<CacheEntrySpec>> {
        let at = Ref::new(&CACHE_ENTRY, &step.key.namespace, fingerprint);
        match self.ctx.store.get(&at).await? {
            Some(entry) => Ok(Some(entry.spec()?)),
            None => Ok(None),
        }
    }

    /// The image in which a set-up script has been run, once for all who ask for the same.
    async fn environment(&self, step: &Step<'_>, image: &Image, setup: &PipSetup) -> Result<Built> {
        let wanted = environment(&step.key.namespace, image, setup)?;
        let key = Ref::new(&ENVIRONMENT, &step.key.namespace, &wanted.metadata.name);
        // Registered before looking: a change after the look wakes the Task.
        self.waiting()
            .entry(key.clone())
            .or_default()
            .insert(step.key.clone());
        let since = step
            .task
            .metadata
            .creation_timestamp
            .clone()
            .unwrap_or_default();
        let at = key.clone();
        let current = self
            .ctx
            .store
            .write(move |txn| {
                if let Some(existing) = txn.get(&at)? {
                    let status: EnvironmentStatus = existing.status()?;
                    let stale = status.phase == EnvironmentPhase::Failed
                        && status.finish_time.as_ref().is_some_and(|t| *t < since);
                    if !stale {
                        return txn.modify(&at, note_use);
                    }
                    txn.delete(&at, Propagation::Cascade)?;
                }
                txn.create(wanted)
            })
            .await?;
        let status: EnvironmentStatus = current.status()?;
        Ok(match status.phase {
            EnvironmentPhase::Building => Built::Wait(format!(
                "installs its packages once, for all steps that ask for the same (environment {})",
                key.name
            )),
            EnvironmentPhase::Failed => Built::Failed(format!(
                "its packages cannot be installed in \"{}\": {} (log: pod {})",
                image.name, status.message, status.pod_name
            )),
            EnvironmentPhase::Ready => match self.ctx.images.resolve(&status.image).await {
                Ok(image) => Built::Ready(Image {
                    name: status.image,
                    ..image
                }),
                Err(e) if e.code == Code::NotFound => {
                    // Somebody removed the image: build it again.
                    self.ctx.store.delete(&key).await?;
                    return Err(Error::new(
                        Code::Conflict,
                        "its environment's image is gone",
                    ));
                }
                Err(e) => return Err(e),
            },
        })
    }

    /// Makes the folders, then Pod and status in one transaction.
    async fn launch(
        &self,
        step: &mut Step<'_>,
        plan: &ContainerPlan,
        image: Image,
        command: Vec<String>,
        attempt: usize,
    ) -> Result<Action> {
        let pod_name = pod_name(step.task, &step.spec.name, attempt);
        let label = step
            .at
            .component
            .executor_label
            .as_deref()
            .unwrap_or_default();
        let settings = step
            .pipeline
            .kubernetes(label)
            .map_err(|e| Error::invalid(e.to_string()))?;
        let task_root = self.places(step, attempt).task_root_uri;
        for (uri, _) in &plan.input_artifact_paths {
            // What came in through S3 is shown as files; what lies elsewhere has nothing to show.
            if self.ctx.blobs.path(uri).is_ok() {
                self.ctx.blobs.present(uri).await?;
            }
        }
        let volumes = Volumes::of(self, plan, &settings, &task_root, &pod_name)?;
        let folders = volumes.make.clone();
        tokio::task::spawn_blocking(move || folders.iter().try_for_each(|f| make_open(f)))
            .await
            .map_err(Error::internal)??;
        let pod_spec = pod_spec(plan, &settings, image.name, command, attempt, volumes);
        let ready_at = if attempt == 0 {
            step.spec.ready_at.clone()
        } else {
            now_micros()
        };
        // Waiting for packages is not the box's own delay.
        let ready_at = if step.status.message.is_empty() {
            ready_at
        } else {
            now_micros()
        };
        let mut pod = new_pod(
            &step.key.namespace,
            &pod_name,
            &pod_spec,
            step.task,
            &ready_at,
        )?;
        pod.metadata
            .labels
            .insert(RUN_ID.into(), step.spec.run_id.clone());
        pod.metadata
            .labels
            .extend(settings.pod_metadata.labels.clone());
        pod.metadata
            .annotations
            .extend(settings.pod_metadata.annotations.clone());
        let mut status = step.status.clone();
        status.pod_name.clone_from(&pod_name);
        status.message.clear();
        status.retry_at = None;
        status.attempts.push(Attempt {
            pod_name,
            image: plan.image.clone(),
            image_id: image.id,
            ..Attempt::default()
        });
        let (key, uid) = (step.key.clone(), step.task.metadata.uid.clone());
        let (leases, name) = (&self.ctx.leases, pod.metadata.name.clone());
        let bound = leases.bind_at_once(&mut pod)?;
        let stored = self
            .ctx
            .store
            .write(move |txn| {
                let task = txn.fetch(&key)?;
                let current: TaskStatus = task.status()?;
                if task.metadata.uid != uid || current.attempts.len() != attempt {
                    return Err(Error::new(Code::Conflict, "the Task has changed"));
                }
                txn.create(pod)?;
                txn.modify(&key, |o| o.set("status", &status)).map(|_| ())
            })
            .await;
        if bound && stored.is_err() {
            leases.give_back(&step.key.namespace, &name);
        }
        stored.map(|()| Action::Wait)
    }

    /// Reads what a successful attempt left.
    pub(super) async fn collect(&self, step: &Step<'_>) -> Result<Values> {
        let attempt = step.status.attempts.len().saturating_sub(1);
        let plan = self.plan(step, attempt)?;
        let root = self
            .ctx
            .blobs
            .path(&self.places(step, attempt).task_root_uri)?;
        let host = HostPaths {
            outputs_dir: self.ctx.step_dir(&step.status.pod_name).join("outputs"),
            metadata_file: root.join("output_metadata.json"),
            metadata_root: root,
        };
        let values: Values = tokio::task::spawn_blocking(move || {
            outputs::collect(&plan, &host).map_err(|e| Error::invalid(e.to_string()))
        })
        .await
        .map_err(Error::internal)??;
        for artifact in values.artifacts.values().flatten() {
            // The files become objects where they lie; artifacts of elsewhere are not ours.
            if self.ctx.blobs.path(&artifact.uri).is_ok() {
                let namespace = &step.task.metadata.namespace;
                self.ctx.blobs.adopt(&artifact.uri, namespace).await?;
            }
        }
        Ok(values)
    }
}

/// The executor of a step, as its component names it.
fn container<'a>(step: &Step<'a>) -> Result<&'a ContainerSpec> {
    let label = step
        .at
        .component
        .executor_label
        .as_deref()
        .unwrap_or_default();
    step.pipeline
        .spec
        .deployment_spec
        .executors
        .get(label)
        .and_then(|e| e.container.as_ref())
        .ok_or_else(|| Error::invalid(format!("executor \"{label}\" is not a container")))
}

/// What decides a step's outputs, when caching is on: apart per pipeline name, as upstream.
fn fingerprint(step: &Step<'_>) -> Option<String> {
    let inputs = &step.spec.inputs;
    let own = cache::fingerprint(
        step.at.task,
        step.at.component,
        container(step).ok()?,
        inputs,
    )?;
    let digest = Sha256::digest(format!("{}\0{own}", step.job.pipeline_name));
    Some(hex::encode(digest))
}

enum Built {
    Ready(Image),
    Wait(String),
    Failed(String),
}

/// Unique for ever: it carries the Task's uid, and a retried Task is a new one.
fn pod_name(task: &Object, name: &str, attempt: usize) -> String {
    let run: String = task.metadata.name.chars().take(8).collect();
    let slug: String = name
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(30)
        .collect();
    let uid = task.metadata.uid.get(..5).unwrap_or_default();
    format!("{run}-{}-{uid}-{attempt}", slug.trim_matches('-'))
}

struct Volumes {
    volumes: Vec<Volume>,
    mounts: Vec<VolumeMount>,
    /// Folders to make, writable for whoever the step runs as.
    make: Vec<PathBuf>,
}

impl Volumes {
    fn of(
        room: &Tasks,
        plan: &ContainerPlan,
        settings: &KubernetesConfig,
        task_root: &str,
        pod_name: &str,
    ) -> Result<Self> {
        let mut out = Self {
            volumes: Vec::new(),
            mounts: Vec::new(),
            make: Vec::new(),
        };
        let data = &room.ctx.data;
        let scratch = room.ctx.step_dir(pod_name);
        out.make.push(scratch.clone());
        let roots = SCHEMES.iter().map(|(_, folder)| *folder);
        for folder in roots.chain(SCRATCH.iter().copied()) {
            let host = scratch.join(folder.trim_start_matches('.'));
            out.make.push(host.clone());
            out.add(data, &host, &format!("/{folder}"), false)?;
        }
        let outputs = scratch.join("outputs");
        out.make.push(outputs.clone());
        out.add(data, &outputs, OUTPUT_DIR, false)?;
        for volume in &settings.empty_dir_mounts {
            if volume.medium.as_deref() == Some("Memory") {
                let size = volume.size_limit.clone().filter(|s| !s.is_empty());
                out.memory(&volume.mount_path, size);
            } else {
                let host = scratch.join(format!("empty-{}", paths::segment(&volume.volume_name)));
                out.make.push(host.clone());
                out.add(data, &host, &volume.mount_path, false)?;
            }
        }
        if let Some(shared) = &settings.enabled_shared_memory {
            out.memory(
                "/dev/shm",
                Some(shared.size.clone()).filter(|s| !s.is_empty()),
            );
        }
        let root = room.ctx.blobs.path(task_root)?;
        out.make.push(root.clone());
        let inside = paths::local_path(task_root).unwrap_or_default();
        out.add(data, &root, &inside, false)?;
        for (uri, path) in &plan.input_artifact_paths {
            // An artifact that its maker never wrote, or that lies elsewhere, has nothing to mount.
            let Ok(host) = room.ctx.blobs.path(uri) else {
                continue;
            };
            if host.exists() && !out.mounts.iter().any(|m| m.mount_path == *path) {
                out.add(data, &host, path, true)?;
            }
        }
        Ok(out)
    }

    fn memory(&mut self, target: &str, size: Option<String>) {
        let name = format!("v{}", self.volumes.len());
        self.volumes.push(Volume {
            name: name.clone(),
            empty_dir: Some(EmptyDirVolumeSource {
                medium: Some("Memory".into()),
                size_limit: size.map(Quantity),
            }),
            ..Default::default()
        });
        self.mounts.push(VolumeMount {
            name,
            mount_path: target.into(),
            ..Default::default()
        });
    }

    fn add(&mut self, data: &Path, host: &Path, target: &str, read_only: bool) -> Result<()> {
        let path = host
            .strip_prefix(data)
            .map_err(Error::internal)?
            .to_string_lossy()
            .into_owned();
        let name = format!("v{}", self.volumes.len());
        self.volumes.push(Volume {
            name: name.clone(),
            csi: Some(CSIVolumeSource {
                driver: STORE_VOLUME.into(),
                read_only: Some(read_only),
                volume_attributes: Some(BTreeMap::from([("path".into(), path)])),
                ..Default::default()
            }),
            ..Default::default()
        });
        self.mounts.push(VolumeMount {
            name,
            mount_path: target.into(),
            read_only: Some(read_only),
            ..Default::default()
        });
        Ok(())
    }
}

fn make_open(folder: &Path) -> Result<()> {
    let io = |e: std::io::Error| {
        let code = if e.kind() == std::io::ErrorKind::StorageFull {
            Code::StorageFull
        } else {
            Code::Unavailable
        };
        Error::new(code, "the step's folders cannot be made")
            .because(format!("{}: {e}", folder.display()))
    };
    std::fs::create_dir_all(folder).map_err(io)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o1777)).map_err(io)
}

fn pod_spec(
    plan: &ContainerPlan,
    settings: &KubernetesConfig,
    image: String,
    command: Vec<String>,
    attempt: usize,
    volumes: Volumes,
) -> PodSpec {
    let field = |path: &str| EnvVarSource {
        field_ref: Some(ObjectFieldSelector {
            field_path: path.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let value = |name: &str, value: String| EnvVar {
        name: name.into(),
        value: Some(value),
        ..Default::default()
    };
    let from = |name: &str, path: &str| EnvVar {
        name: name.into(),
        value_from: Some(field(path)),
        ..Default::default()
    };
    let mut env = vec![
        from("KFP_POD_NAME", "metadata.name"),
        from("KFP_POD_UID", "metadata.uid"),
        value("KFP_RETRY_INDEX", attempt.to_string()),
    ];
    env.extend(plan.env.iter().map(|(k, v)| value(k, v.clone())));
    env.extend(
        settings
            .field_path_as_env
            .iter()
            .map(|f| from(&f.name, &f.field_path)),
    );
    let quantities = |cpu: &Option<String>, memory: &Option<String>| {
        let amounts = [("cpu", cpu), ("memory", memory)];
        let map: BTreeMap<_, _> = amounts
            .into_iter()
            .filter_map(|(name, amount)| Some((name.to_string(), Quantity(amount.clone()?))))
            .collect();
        (!map.is_empty()).then_some(map)
    };
    let asked = &plan.resources;
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    PodSpec {
        containers: vec![Container {
            name: "main".into(),
            image: Some(image),
            command: some(command),
            args: some(plan.args.clone()),
            env: Some(env),
            resources: Some(ResourceRequirements {
                limits: quantities(&asked.cpu_limit, &asked.memory_limit),
                requests: quantities(&asked.cpu_request, &asked.memory_request),
                ..Default::default()
            }),
            security_context: settings.security_context.as_ref().map(|s| SecurityContext {
                run_as_user: s.user().map(i64::from),
                run_as_group: s.group().map(i64::from),
                run_as_non_root: s.run_as_non_root,
                ..Default::default()
            }),
            volume_mounts: Some(volumes.mounts),
            ..Default::default()
        }],
        volumes: Some(volumes.volumes),
        active_deadline_seconds: settings.active_deadline_seconds.map(|s| s as i64),
        restart_policy: Some("Never".into()),
        termination_grace_period_seconds: Some(10),
        ..Default::default()
    }
}
