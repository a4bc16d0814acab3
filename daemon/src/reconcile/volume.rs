//! The claim room: each PersistentVolumeClaim gets a folder of the box, which lives as long as the claim. The
//! folder's name carries the claim's uid, so a claim made again under the same name starts empty. Its size is
//! watched, not enforced: an ordinary file system cannot.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolumeClaimSpec, PodSpec};
use kfbox_store::{
    Error, Event, Kind, Object, Ref, Result, Selector,
    kinds::{
        cluster::{PERSISTENT_VOLUME_CLAIM, PVC_FINALIZER, USED_BYTES},
        core::{POD, PodStatus},
    },
};
use serde_json::json;

use super::{
    Ctx,
    pod::{claim_dir, parse_quantity},
};
use crate::{
    controller::{Action, Reconciler},
    events::{self, Level},
};

/// Between two counts of what lies in a claim.
const COUNT: Duration = Duration::from_secs(600);

/// The room.
pub struct Volumes(pub Ctx);

#[async_trait]
impl Reconciler for Volumes {
    fn name(&self) -> &'static str {
        "volume"
    }

    fn kinds(&self) -> Vec<&'static Kind> {
        vec![&PERSISTENT_VOLUME_CLAIM]
    }

    fn concerns(&self, event: &Event, wake: &mut dyn FnMut(Ref)) {
        let object = &event.object;
        let ns = &object.metadata.namespace;
        if object.kind == PERSISTENT_VOLUME_CLAIM.kind && !event.deleted() {
            wake(Ref::new(
                &PERSISTENT_VOLUME_CLAIM,
                ns,
                &object.metadata.name,
            ));
        } else if object.kind == POD.kind && (event.deleted() || ended(object)) {
            // A claim that is to go waits for the Pods that use it.
            for name in claims(object) {
                wake(Ref::new(&PERSISTENT_VOLUME_CLAIM, ns, &name));
            }
        }
    }

    async fn reconcile(&self, key: &Ref) -> Result<Action> {
        let Some(claim) = self.0.store.get(key).await? else {
            return Ok(Action::Wait);
        };
        let folder = claim_dir(&self.0.data, &claim);
        if claim.deleting() {
            return self.take_away(key, &claim, folder).await;
        }
        let size = requested(&claim)?;
        if claim.body.get("status").and_then(|s| s.get("phase")) != Some(&json!("Bound")) {
            return self.bind(key, &claim, folder).await;
        }
        let used = count(folder).await?;
        if claim.metadata.annotations.get(USED_BYTES) != Some(&used.to_string()) {
            self.0
                .store
                .modify(key, move |c| {
                    c.metadata
                        .annotations
                        .insert(USED_BYTES.into(), used.to_string());
                    Ok(())
                })
                .await?;
        }
        if used as f64 > size {
            let message = "it holds more than spec.resources.requests.storage: remove files, or make a larger claim";
            events::record(
                &self.0.store,
                &claim,
                Level::Warning,
                "VolumeOverSize",
                message,
            )
            .await;
        }
        Ok(Action::After(COUNT))
    }
}

impl Volumes {
    async fn bind(&self, key: &Ref, claim: &Object, folder: PathBuf) -> Result<Action> {
        open(&folder)?;
        let name = format!("pvc-{}", claim.metadata.uid);
        self.0
            .store
            .modify(key, move |c| {
                let spec: PersistentVolumeClaimSpec = c.spec()?;
                let size = spec.resources.and_then(|r| r.requests);
                let status =
                    json!({"phase": "Bound", "accessModes": spec.access_modes, "capacity": size});
                if let Some(spec) = c.body.get_mut("spec").and_then(|s| s.as_object_mut()) {
                    spec.insert("volumeName".into(), json!(name));
                }
                c.set("status", &status)
            })
            .await?;
        Ok(Action::After(COUNT))
    }

    /// Removes the bytes, then lets the claim go; waits while a Pod that lives uses it.
    async fn take_away(&self, key: &Ref, claim: &Object, folder: PathBuf) -> Result<Action> {
        if !claim.metadata.finalizers.iter().any(|f| f == PVC_FINALIZER) {
            return Ok(Action::Wait);
        }
        let pods = Selector::namespace(&claim.metadata.namespace);
        let pods = self.0.store.list(&POD, pods).await?.items;
        if pods
            .iter()
            .any(|p| !ended(p) && claims(p).contains(&claim.metadata.name))
        {
            return Ok(Action::Wait);
        }
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(folder));
        match removed.await.map_err(Error::internal)? {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::internal(e)),
            _ => {}
        }
        self.0
            .store
            .modify(key, |c| {
                c.metadata.finalizers.retain(|f| f != PVC_FINALIZER);
                Ok(())
            })
            .await?;
        Ok(Action::Wait)
    }
}

fn requested(claim: &Object) -> Result<f64> {
    let spec: PersistentVolumeClaimSpec = claim.spec()?;
    let size = spec.resources.and_then(|r| r.requests).unwrap_or_default();
    let size = size.get("storage").map(parse_quantity).transpose();
    let size = size.map_err(|e| Error::invalid(format!("spec.resources.requests.storage: {e}")))?;
    Ok(size.unwrap_or_default())
}

/// Whether a Pod's containers are gone for good: it is terminal and its room has let go of it.
fn ended(pod: &Object) -> bool {
    pod.metadata.finalizers.is_empty()
        && pod.status::<PodStatus>().is_ok_and(|s| s.phase.terminal())
}

fn claims(pod: &Object) -> Vec<String> {
    let spec: PodSpec = pod.spec().unwrap_or_default();
    let volumes = spec.volumes.into_iter().flatten();
    volumes
        .filter_map(|v| v.persistent_volume_claim)
        .map(|c| c.claim_name)
        .collect()
}

fn open(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |e| Error::internal(format!("{}: {e}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).map_err(failed)
}

/// Bytes in a folder; links are not followed.
async fn count(folder: PathBuf) -> Result<u64> {
    let counted = tokio::task::spawn_blocking(move || {
        let (mut bytes, mut open) = (0, vec![folder]);
        while let Some(folder) = open.pop() {
            let Ok(entries) = std::fs::read_dir(folder) else {
                continue;
            };
            for entry in entries.flatten() {
                match entry.metadata() {
                    Ok(meta) if meta.is_dir() => open.push(entry.path()),
                    Ok(meta) => bytes += meta.len(),
                    Err(_) => {}
                }
            }
        }
        bytes
    });
    counted.await.map_err(Error::internal)
}
