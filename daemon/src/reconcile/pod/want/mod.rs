//! From a PodSpec to a [`Want`]: everything a container asks of its surroundings. It refuses what it does not
//! understand; what is not there yet is told with `Precondition`, and looked for again.

mod account;
mod env;
mod resources;
mod security;
mod volumes;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use kfbox_store::{Error, Object, Result, kinds::core::PodStatus};
use kfbox_web::KUBE_NAMES;

use super::sandbox::Sandbox;
use crate::{
    driver::{Image, Mount, Network, PodId, SandboxWant, Want},
    reconcile::Ctx,
};
pub(super) use resources::{human, memory_limit};
pub use resources::{parse_quantity, requests};
pub(in crate::reconcile) use volumes::{claim_dir, memory_dir};

/// /dev/shm of a container that says nothing: PyTorch's data loaders need more than Docker's 64 MiB. It is a
/// limit, not a reservation, and counts against the container's memory.
const SHM: u64 = 1 << 30;

/// Names under which workloads find the box, as in a cluster.
pub const BOX_NAMES: &[&str] = &[
    "ml-pipeline.kubeflow",
    "ml-pipeline.kubeflow.svc",
    "ml-pipeline.kubeflow.svc.cluster.local",
    "minio-service.kubeflow",
    "minio-service.kubeflow.svc",
    "minio-service.kubeflow.svc.cluster.local",
    "seaweedfs.kubeflow",
    "seaweedfs.kubeflow.svc",
    "seaweedfs.kubeflow.svc.cluster.local",
];

/// Works out a Pod's sandbox, but for its name and image.
///
/// # Errors
/// `Invalid` for host aliases that are no addresses.
pub(super) fn sandbox(
    ctx: &Ctx,
    pod: &Object,
    spec: &PodSpec,
    network: &Network,
) -> Result<SandboxWant> {
    let ns = &pod.metadata.namespace;
    let hostname = spec.hostname.as_ref().unwrap_or(&pod.metadata.name);
    Ok(SandboxWant {
        pod: pod_id(pod),
        hostname: hostname.chars().take(63).collect(),
        network: network.name.clone(),
        // The box's own first; the host's stand in while the daemon is away.
        dns: std::iter::once(network.gateway)
            .chain(ctx.resolvers.iter().copied())
            .collect(),
        search: vec![
            format!("{ns}.svc.cluster.local"),
            "svc.cluster.local".into(),
            "cluster.local".into(),
        ],
        hosts: BOX_NAMES
            .iter()
            .chain(KUBE_NAMES)
            .map(|n| (n.to_string(), network.gateway))
            .chain(host_aliases(spec)?)
            .collect(),
        ..Default::default()
    })
}

fn pod_id(pod: &Object) -> PodId {
    PodId {
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
    }
}

/// Works out one container of a Pod, which joins this sandbox.
///
/// # Errors
/// `Precondition` when something it names is not there yet, `Invalid` when it cannot be had.
pub(super) async fn container(
    ctx: &Ctx,
    pod: &Object,
    spec: &PodSpec,
    container: &Container,
    image: &Image,
    name: &str,
    sandbox: &Sandbox,
) -> Result<Want> {
    let mut pod = pod.clone();
    if let Some(ip) = sandbox.ip {
        // Known before it is written: a variable may ask for it.
        let mut status: PodStatus = pod.status()?;
        status.pod_ip = Some(ip.to_string());
        pod.set("status", &status)?;
    }
    let settled = settle(ctx, &pod, spec, container, image).await?;
    let (add_capabilities, drop_capabilities) = security::capabilities(container);
    Ok(Want {
        add_capabilities,
        drop_capabilities,
        name: name.into(),
        image: image.name.clone(),
        command: settled.command,
        args: settled.args,
        env: settled.env,
        working_dir: container.working_dir.clone().unwrap_or_default(),
        user: settled.user,
        groups: settled.groups,
        read_only_root: settled.read_only_root,
        tty: container.tty.unwrap_or(false),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        share_pid: spec.share_process_namespace.unwrap_or(false),
        container: container.name.clone(),
        pod: pod_id(&pod),
        memory: settled.memory,
        nano_cpus: settled.nano_cpus,
        shm: settled.shm.unwrap_or(SHM),
        tmpfs: settled.tmpfs,
        mounts: settled.mounts,
        sandbox: sandbox.id.clone(),
    })
}

/// What a container asks of its surroundings, worked out.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub user: String,
    pub groups: Vec<String>,
    pub read_only_root: bool,
    pub memory: u64,
    pub nano_cpus: u64,
    /// Bytes of a /dev/shm that the container asked for by a volume.
    pub shm: Option<u64>,
    pub tmpfs: Vec<(String, u64)>,
    pub mounts: Vec<Mount>,
}

/// Works out what a container asks of its surroundings, and writes the files it is to find.
///
/// # Errors
/// `Precondition` when something it names is not there yet, `Invalid` when it cannot be had.
pub(super) async fn settle(
    ctx: &Ctx,
    pod: &Object,
    spec: &PodSpec,
    container: &Container,
    image: &Image,
) -> Result<Settled> {
    let limits = resources::limits(container.resources.as_ref())?;
    let memory = limits.memory.unwrap_or(ctx.metrics.default_memory);
    let env = env::variables(ctx, pod, spec, container).await?;
    let expand = |list: &Option<Vec<String>>| -> Vec<String> {
        let list = list.iter().flatten();
        list.map(|text| env::expand(text, &env)).collect()
    };
    let (command, args) = (expand(&container.command), expand(&container.args));
    let mut volumes = volumes::volumes(ctx, pod, spec, container, &env, memory).await?;
    if let Some(mount) = account::mount(ctx, pod, spec, container).await? {
        volumes.mounts.push(mount);
    }
    Ok(Settled {
        command,
        args,
        user: security::user(spec, container, image)?,
        groups: security::groups(spec),
        read_only_root: security::read_only_root(container),
        env,
        memory,
        nano_cpus: limits.nano_cpus,
        shm: volumes.shm,
        tmpfs: volumes.tmpfs,
        mounts: volumes.mounts,
    })
}

/// The Pod's own lines of /etc/hosts.
fn host_aliases(spec: &PodSpec) -> Result<Vec<(String, std::net::IpAddr)>> {
    let mut out = Vec::new();
    for alias in spec.host_aliases.iter().flatten() {
        let ip = alias.ip.parse().map_err(|_| {
            Error::invalid(format!(
                "spec.hostAliases: \"{}\" is not an address",
                alias.ip
            ))
        })?;
        let names = alias.hostnames.iter().flatten();
        out.extend(names.map(|name| (name.clone(), ip)));
    }
    Ok(out)
}
