//! Answers `web`'s questions for live bytes of containers: logs, commands, connections.

use std::{collections::HashSet, os::unix::fs::MetadataExt, path::Path, time::Duration};

use async_trait::async_trait;
use kfbox_store::{
    Code, Error, Object, Result,
    kinds::core::{DEFAULT_CONTAINER, PodStatus},
};
use kfbox_web::{
    DiskPart, DiskUse, Duplex, ExecOptions, LogOptions, LogStream, ReadyImage, Room, Runtime,
    Session, Share,
};
use tokio::net::TcpStream;

use crate::reconcile::{Ctx, pod};

/// How long a port of a Pod may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The daemon's side of the one bend in the data flow.
pub struct Live(pub Ctx);

#[async_trait]
impl Runtime for Live {
    async fn logs(&self, pod: &Object, options: LogOptions) -> Result<LogStream> {
        pod::logs(&self.0, pod, options).await
    }

    async fn exec(&self, pod: &Object, options: ExecOptions) -> Result<Session> {
        let id = running(pod, options.container.as_deref())?;
        self.0.driver.exec(&id, &options).await
    }

    async fn connect(&self, pod: &Object, port: u16) -> Result<Box<dyn Duplex>> {
        let status: PodStatus = pod.status()?;
        let name = &pod.metadata.name;
        let ip = status.pod_ip.filter(|_| !status.phase.terminal());
        let Some(ip) = ip else {
            return Err(Error::invalid(format!("pod \"{name}\" is not running")));
        };
        let refused = |why: String| {
            Error::new(
                Code::Unavailable,
                format!("pod \"{name}\" does not answer on port {port}: {why}"),
            )
        };
        let connect = TcpStream::connect(format!("{ip}:{port}"));
        let stream = tokio::time::timeout(PATIENCE, connect)
            .await
            .map_err(|_| refused("no answer".into()))?
            .map_err(|e| refused(e.to_string()))?;
        let _ = stream.set_nodelay(true);
        Ok(Box::new(stream))
    }

    async fn room(&self) -> Result<Room> {
        let (total, free) = self.0.leases.capacity_and_free();
        let disk = rustix::fs::statvfs(&self.0.data).map_err(Error::internal)?;
        Ok(Room {
            cpu: Share {
                total: total.cpu,
                free: free.cpu,
            },
            memory: Share {
                total: total.memory,
                free: free.memory,
            },
            disk: Share {
                total: disk.f_blocks * disk.f_frsize,
                free: disk.f_bavail * disk.f_frsize,
            },
        })
    }

    async fn ready_images(&self) -> Result<Vec<ReadyImage>> {
        self.0.driver.ready_images().await
    }

    async fn disk_use(&self) -> Result<DiskUse> {
        let data = self.0.data.clone();
        let walked = tokio::task::spawn_blocking(move || disk_use(&data)).await;
        let mut found = walked.map_err(Error::internal)??;
        // Without the engine the rest is still of use.
        found.images = self.0.driver.images_size().await.ok();
        Ok(found)
    }
}

/// What lies where in the data folder.
const PARTS: &[(&str, &str)] = &[
    (
        "artifacts/blobs",
        "objects that came in over S3 and commits of data sets",
    ),
    (
        "artifacts/buckets",
        "objects as files: what steps left, what they are shown",
    ),
    (
        "artifacts/index.redb",
        "small objects, and the index of all",
    ),
    ("artifacts/incoming", "uploads under way"),
    ("volumes", "volumes of Pods"),
    ("steps", "scratch space of steps"),
    ("pods", "scratch space of other Pods"),
    ("logs", "kept logs"),
    ("meta.redb", "the box's own records"),
];

/// Bytes on the disk below a path. Files that are seen again under another name count once.
fn size_of(path: &Path, seen: &mut HashSet<(u64, u64)>) -> u64 {
    let Ok(meta) = path.symlink_metadata() else {
        return 0;
    };
    if meta.nlink() > 1 && !meta.is_dir() && !seen.insert((meta.dev(), meta.ino())) {
        return 0;
    }
    let own = meta.blocks() * 512;
    if !meta.is_dir() {
        return own;
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    own + entries.map(|e| size_of(&e.path(), seen)).sum::<u64>()
}

fn disk_use(data: &Path) -> Result<DiskUse> {
    let stat = rustix::fs::statvfs(data).map_err(Error::internal)?;
    let mut seen = HashSet::new();
    let parts = PARTS.iter().map(|(path, about)| DiskPart {
        path: (*path).into(),
        about,
        bytes: size_of(&data.join(path), &mut seen),
    });
    Ok(DiskUse {
        total: stat.f_blocks * stat.f_frsize,
        free: stat.f_bavail * stat.f_frsize,
        parts: parts.collect(),
        images: None,
    })
}

/// The engine's id of a Pod's running container.
fn running(pod: &Object, wanted: Option<&str>) -> Result<String> {
    let status: PodStatus = pod.status()?;
    let name = &pod.metadata.name;
    let wanted = wanted
        .or(pod
            .metadata
            .annotations
            .get(DEFAULT_CONTAINER)
            .map(String::as_str))
        .or(status.container_statuses.first().map(|c| c.name.as_str()))
        .ok_or_else(|| Error::invalid(format!("pod \"{name}\" has no container yet")))?;
    let mut known = status
        .container_statuses
        .iter()
        .chain(&status.init_container_statuses);
    let Some(container) = known.find(|c| c.name == wanted) else {
        return Err(Error::invalid(format!(
            "container {wanted} is not valid for pod {name}"
        )));
    };
    let runs = container
        .state
        .as_ref()
        .is_some_and(|s| s.running.is_some());
    let id = container.container_id.as_deref().unwrap_or_default();
    match id.strip_prefix("docker://") {
        Some(id) if runs => Ok(id.into()),
        _ => Err(Error::invalid(format!(
            "container \"{wanted}\" of pod \"{name}\" is not running"
        ))),
    }
}
