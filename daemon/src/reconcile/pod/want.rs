//! From a PodSpec to a [`Want`]: pure, and it refuses what it does not understand.

use std::{
    collections::BTreeMap,
    path::{Component, Path},
};

use k8s_openapi::{
    api::core::v1::{Container, PodSpec, ResourceRequirements, Volume},
    apimachinery::pkg::api::resource::Quantity,
};
use kfbox_store::{Error, Object, Result, kinds::core::STORE_VOLUME};

use crate::{
    driver::{Image, Mount, Network, PodId, SandboxWant, Want},
    reconcile::Ctx,
};

/// /dev/shm of a container that says nothing: PyTorch's data loaders need more than Docker's 64 MiB. It is a
/// limit, not a reservation, and counts against the container's memory.
const SHM: u64 = 1 << 30;

/// Names under which workloads find the box, as in a cluster.
pub const BOX_NAMES: &[&str] = &[
    "ml-pipeline.kubeflow",
    "ml-pipeline.kubeflow.svc",
    "ml-pipeline.kubeflow.svc.cluster.local",
];

/// Works out a Pod's sandbox, but for its name and image.
pub(super) fn sandbox(
    _ctx: &Ctx,
    pod: &Object,
    spec: &PodSpec,
    network: &Network,
) -> Result<SandboxWant> {
    let hostname = spec.hostname.as_ref().unwrap_or(&pod.metadata.name);
    Ok(SandboxWant {
        pod: pod_id(pod),
        hostname: hostname.chars().take(63).collect(),
        network: network.name.clone(),
        hosts: BOX_NAMES
            .iter()
            .map(|n| (n.to_string(), network.gateway))
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

/// Works out one container of a Pod.
pub(super) async fn container(
    ctx: &Ctx,
    pod: &Object,
    spec: &PodSpec,
    container: &Container,
    image: &Image,
    name: &str,
    sandbox: &str,
) -> Result<Want> {
    let limits = limits(container.resources.as_ref())?;
    let mut env = Vec::new();
    for var in container.env.iter().flatten() {
        if let Some(source) = &var.value_from {
            let path = source
                .field_ref
                .as_ref()
                .map(|f| f.field_path.as_str())
                .unwrap_or_default();
            env.push((var.name.clone(), field(pod, path).ok_or_else(|| {
                Error::invalid(format!(
                    "env[{}].valueFrom: only fieldRef to metadata.name, .namespace, .uid, .labels['x'] and .annotations['x'] is supported",
                    var.name
                ))
            })?));
        } else {
            env.push((var.name.clone(), var.value.clone().unwrap_or_default()));
        }
    }
    let security = container.security_context.as_ref();
    let pod_security = spec.security_context.as_ref();
    let user = security
        .and_then(|s| s.run_as_user)
        .or(pod_security.and_then(|s| s.run_as_user));
    let group = security
        .and_then(|s| s.run_as_group)
        .or(pod_security.and_then(|s| s.run_as_group));
    let user = match (user, group) {
        (Some(u), Some(g)) => format!("{u}:{g}"),
        (Some(u), None) => u.to_string(),
        _ => String::new(),
    };
    let non_root = security
        .and_then(|s| s.run_as_non_root)
        .or(pod_security.and_then(|s| s.run_as_non_root));
    if non_root == Some(true)
        && (user == "0" || user.starts_with("0:") || (user.is_empty() && image.root))
    {
        return Err(Error::invalid(format!(
            "securityContext.runAsNonRoot: image \"{}\" runs as root: set runAsUser to a user other than 0",
            image.name
        )));
    }
    let volumes = volumes(ctx, spec, container)?;
    Ok(Want {
        name: name.into(),
        image: image.name.clone(),
        command: container.command.clone().unwrap_or_default(),
        args: container.args.clone().unwrap_or_default(),
        env,
        working_dir: container.working_dir.clone().unwrap_or_default(),
        user,
        container: container.name.clone(),
        pod: pod_id(pod),
        memory: limits.memory.unwrap_or(ctx.metrics.default_memory),
        nano_cpus: limits.nano_cpus,
        shm: volumes.shm.unwrap_or(SHM),
        tmpfs: volumes.tmpfs,
        mounts: volumes.mounts,
        sandbox: sandbox.into(),
        ..Default::default()
    })
}

#[derive(Default)]
struct Limits {
    memory: Option<u64>,
    nano_cpus: u64,
}

fn limits(resources: Option<&ResourceRequirements>) -> Result<Limits> {
    let mut out = Limits::default();
    for (name, quantity) in resources
        .and_then(|r| r.limits.as_ref())
        .into_iter()
        .flatten()
    {
        let value = parse_quantity(quantity)
            .map_err(|e| Error::invalid(format!("resources.limits.{name}: {e}")))?;
        match name.as_str() {
            "memory" if value >= 6_291_456.0 => out.memory = Some(value as u64),
            "memory" => {
                return Err(Error::invalid(
                    "resources.limits.memory: at least 6Mi, the engine's minimum",
                ));
            }
            "cpu" => out.nano_cpus = (value * 1e9) as u64,
            "ephemeral-storage" => {}
            _ => {
                return Err(Error::invalid(format!(
                    "resources.limits.{name}: this box has no such resource"
                )));
            }
        }
    }
    Ok(out)
}

/// A container's own memory limit in bytes, if it has one.
pub(super) fn memory_limit(container: &Container) -> Option<u64> {
    limits(container.resources.as_ref()).ok()?.memory
}

/// What a Pod asks to be reserved: CPUs and bytes. As in Kubernetes: the sum of its containers and sidecars, or
/// what an init container needs beside the sidecars before it, if that is more.
pub fn requests(spec: &PodSpec) -> (f64, u64) {
    let (mut sidecars, mut peak) = ((0.0, 0), (0.0_f64, 0_u64));
    for init in spec.init_containers.iter().flatten() {
        let own = container_requests(init);
        let now = (sidecars.0 + own.0, sidecars.1 + own.1);
        peak = (peak.0.max(now.0), peak.1.max(now.1));
        if init.restart_policy.as_deref() == Some("Always") {
            sidecars = now;
        }
    }
    let all = spec.containers.iter().fold(sidecars, |sum, c| {
        let own = container_requests(c);
        (sum.0 + own.0, sum.1 + own.1)
    });
    (peak.0.max(all.0), peak.1.max(all.1))
}

/// Requests default to limits, as in Kubernetes.
fn container_requests(container: &Container) -> (f64, u64) {
    let empty = BTreeMap::new();
    let resources = container.resources.as_ref();
    let requests = resources
        .and_then(|r| r.requests.as_ref())
        .unwrap_or(&empty);
    let limits = resources.and_then(|r| r.limits.as_ref()).unwrap_or(&empty);
    let amount = |name: &str| {
        requests
            .get(name)
            .or_else(|| limits.get(name))
            .and_then(|q| parse_quantity(q).ok())
            .unwrap_or(0.0)
    };
    (amount("cpu"), amount("memory") as u64)
}

/// Kubernetes' quantity: a number with a binary (Ki, Mi, ...), decimal (m, k, M, ...) or exponent suffix.
pub fn parse_quantity(quantity: &Quantity) -> std::result::Result<f64, String> {
    let text = quantity.0.trim();
    let bad = || format!("\"{text}\" is not a quantity such as 500m, 2, 512Mi or 4G");
    let exponent = |rest: &str| rest.starts_with(|d: char| d.is_ascii_digit() || "+-".contains(d));
    let split = text
        .char_indices()
        .find(|(i, c)| match c {
            '0'..='9' | '.' | '+' | '-' => false,
            'e' | 'E' => !exponent(&text[i + 1..]),
            _ => true,
        })
        .map_or(text.len(), |(i, _)| i);
    let (number, suffix) = text.split_at(split);
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024_f64.powi(2),
        "Gi" => 1024_f64.powi(3),
        "Ti" => 1024_f64.powi(4),
        "Pi" => 1024_f64.powi(5),
        _ => return Err(bad()),
    };
    let value: f64 = number.parse().map_err(|_| bad())?;
    if value.is_finite() && value >= 0.0 {
        Ok(value * factor)
    } else {
        Err(bad())
    }
}

/// Bytes for people.
pub(super) fn human(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 30 => format!("{:.1} GiB", b as f64 / f64::from(1 << 30)),
        b => format!("{:.0} MiB", b as f64 / f64::from(1 << 20)),
    }
}

#[derive(Default)]
struct Volumes {
    mounts: Vec<Mount>,
    tmpfs: Vec<(String, u64)>,
    shm: Option<u64>,
}

fn volumes(ctx: &Ctx, spec: &PodSpec, container: &Container) -> Result<Volumes> {
    let mut out = Volumes::default();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = spec
            .volumes
            .iter()
            .flatten()
            .find(|v| v.name == mount.name)
            .ok_or_else(|| {
                Error::invalid(format!(
                    "volumeMounts: no volume named \"{}\" in spec.volumes",
                    mount.name
                ))
            })?;
        if let Some(empty) = volume
            .empty_dir
            .as_ref()
            .filter(|e| e.medium.as_deref() == Some("Memory"))
        {
            // Bounded by the container's own memory when no size is given.
            let size = match &empty.size_limit {
                Some(limit) => parse_quantity(limit).map_err(|e| {
                    Error::invalid(format!(
                        "spec.volumes[{}].emptyDir.sizeLimit: {e}",
                        volume.name
                    ))
                })? as u64,
                None => memory_limit(container).unwrap_or(ctx.metrics.default_memory),
            };
            if mount.mount_path == "/dev/shm" {
                out.shm = Some(size);
            } else {
                out.tmpfs.push((mount.mount_path.clone(), size));
            }
            continue;
        }
        let (path, volume_read_only) = store_path(volume)?;
        out.mounts.push(Mount {
            host: ctx.data.join(path),
            target: mount.mount_path.clone(),
            read_only: volume_read_only || mount.read_only.unwrap_or(false),
        });
    }
    Ok(out)
}

fn store_path(volume: &Volume) -> Result<(String, bool)> {
    let csi = volume
        .csi
        .as_ref()
        .filter(|c| c.driver == STORE_VOLUME)
        .ok_or_else(|| {
            Error::invalid(format!(
                "spec.volumes[{}]: this version mounts the box's own folders only",
                volume.name
            ))
        })?;
    let attributes = csi.volume_attributes.clone().unwrap_or_default();
    let path = attributes.get("path").cloned().unwrap_or_default();
    let plain = Path::new(&path)
        .components()
        .all(|c| matches!(c, Component::Normal(_)));
    if path.is_empty() || !plain {
        return Err(Error::invalid(format!(
            "spec.volumes[{}].csi: not a folder of the box",
            volume.name
        )));
    }
    Ok((path, csi.read_only.unwrap_or(false)))
}

fn field(pod: &Object, path: &str) -> Option<String> {
    let meta = &pod.metadata;
    let entry = |map: &BTreeMap<String, String>, rest: &str| {
        let key = rest.strip_prefix("['")?.strip_suffix("']")?;
        Some(map.get(key).cloned().unwrap_or_default())
    };
    match path {
        "metadata.name" => Some(meta.name.clone()),
        "metadata.namespace" => Some(meta.namespace.clone()),
        "metadata.uid" => Some(meta.uid.clone()),
        "spec.nodeName" => Some("kfbox".into()),
        _ => path
            .strip_prefix("metadata.labels")
            .and_then(|rest| entry(&meta.labels, rest))
            .or_else(|| {
                path.strip_prefix("metadata.annotations")
                    .and_then(|rest| entry(&meta.annotations, rest))
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (text, value) in [
            ("500m", 0.5),
            ("2", 2.0),
            ("1.5", 1.5),
            ("512Mi", 536_870_912.0),
            ("1G", 1e9),
            ("1e3", 1000.0),
            ("1E", 1e18),
        ] {
            assert_eq!(parse_quantity(&Quantity(text.into())), Ok(value), "{text}");
        }
        for text in ["", "x", "1X", "-1", "1 Gi", "NaN"] {
            assert!(parse_quantity(&Quantity(text.into())).is_err(), "{text}");
        }
    }
}
