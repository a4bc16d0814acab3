//! Volumes: where they lie on the host, and the files that Secrets, ConfigMaps and the Pod's own fields become.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, KeyToPath, PodSpec, Volume, VolumeMount,
};
use kfbox_store::{
    Code, Error, Object, Ref, Result,
    kinds::{
        cluster::{CONFIG_MAP, PERSISTENT_VOLUME_CLAIM, SECRET},
        core::STORE_VOLUME,
    },
};

use super::{account, env, resources};
use crate::{driver::Mount, reconcile::Ctx};

/// A container's volumes, worked out.
#[derive(Default)]
pub(super) struct Volumes {
    pub mounts: Vec<Mount>,
    pub tmpfs: Vec<(String, u64)>,
    pub shm: Option<u64>,
}

/// A file to be found in a volume.
pub(super) struct File {
    path: String,
    bytes: Vec<u8>,
    mode: u32,
}

impl File {
    pub(super) fn new(path: &str, bytes: Vec<u8>) -> Self {
        Self {
            path: path.into(),
            bytes,
            mode: 0o644,
        }
    }
}

/// The folder of a Pod's own files; it goes with the Pod.
pub(super) fn pod_dir(ctx: &Ctx, pod: &Object) -> PathBuf {
    ctx.pod_dir(&pod.metadata.uid)
}

/// Where a claim's files lie: the uid keeps a claim of the same name from seeing them.
pub(in crate::reconcile) fn claim_dir(data: &Path, claim: &Object) -> PathBuf {
    let meta = &claim.metadata;
    let uid = meta.uid.get(..8).unwrap_or(&meta.uid);
    data.join("volumes")
        .join(&meta.namespace)
        .join(format!("{}-{uid}", meta.name))
}

pub(super) async fn volumes(
    ctx: &Ctx,
    pod: &Object,
    spec: &PodSpec,
    container: &Container,
    env: &[(String, String)],
    memory: u64,
) -> Result<Volumes> {
    let mut out = Volumes::default();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = spec.volumes.iter().flatten().find(|v| v.name == mount.name);
        let volume = volume.ok_or_else(|| {
            Error::invalid(format!(
                "volumeMounts: no volume named \"{}\" in spec.volumes",
                mount.name
            ))
        })?;
        let in_memory = volume
            .empty_dir
            .as_ref()
            .filter(|e| e.medium.as_deref() == Some("Memory"));
        if let Some(empty) = in_memory
            && users(spec, &volume.name) == 1
        {
            // Bounded by the container's own memory when no size is given.
            let size = match &empty.size_limit {
                Some(limit) => resources::parse_quantity(limit).map_err(|e| {
                    Error::invalid(format!(
                        "spec.volumes[{}].emptyDir.sizeLimit: {e}",
                        volume.name
                    ))
                })? as u64,
                None => memory,
            };
            if mount.mount_path == "/dev/shm" {
                out.shm = Some(size);
            } else {
                out.tmpfs.push((mount.mount_path.clone(), size));
            }
            continue;
        }
        let (folder, read_only) = folder(ctx, pod, spec, container, volume).await?;
        let host = sub_path(&folder, mount, env, &ctx.data)?;
        out.mounts.push(Mount {
            host,
            target: mount.mount_path.clone(),
            read_only: read_only || mount.read_only.unwrap_or(false),
        });
    }
    Ok(out)
}

/// How many containers mount a volume.
fn users(spec: &PodSpec, volume: &str) -> usize {
    let all = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    all.filter(|c| c.volume_mounts.iter().flatten().any(|m| m.name == volume))
        .count()
}

/// A volume's folder on the host, made when missing, and whether it is read-only for all.
async fn folder(
    ctx: &Ctx,
    pod: &Object,
    spec: &PodSpec,
    container: &Container,
    volume: &Volume,
) -> Result<(PathBuf, bool)> {
    let group = spec.security_context.as_ref().and_then(|s| s.fs_group);
    let own = pod_dir(ctx, pod).join("volumes").join(&volume.name);
    if let Some(empty) = &volume.empty_dir {
        let folder = match empty.medium.as_deref() {
            // One folder in memory for several containers: the engine has none of its own to share.
            Some("Memory") => memory_dir(&ctx.box_id, &pod.metadata.uid).join(&volume.name),
            _ => own,
        };
        open_folder(&folder, group)?;
        return Ok((folder, false));
    }
    if let Some(source) = &volume.persistent_volume_claim {
        let key = Ref::new(
            &PERSISTENT_VOLUME_CLAIM,
            &pod.metadata.namespace,
            &source.claim_name,
        );
        let claim = ctx.store.get(&key).await?.filter(|c| !c.deleting());
        let claim = claim.ok_or_else(|| {
            env::waiting(format!(
                "persistentvolumeclaim \"{}\" not found",
                source.claim_name
            ))
        })?;
        let folder = claim_dir(&ctx.data, &claim);
        open_folder(&folder, group)?;
        return Ok((folder, source.read_only.unwrap_or(false)));
    }
    if volume.csi.is_some() {
        let (path, read_only) = store_path(volume)?;
        return Ok((ctx.data.join(path), read_only));
    }
    // Written once per Pod: its containers all see the same.
    if !tokio::fs::try_exists(&own).await.unwrap_or(false) {
        let files = files(ctx, pod, spec, container, volume).await?;
        write_folder(&own, files, group).await?;
    }
    Ok((own, true))
}

/// A Pod's folder in memory.
pub(in crate::reconcile) fn memory_dir(box_id: &str, uid: &str) -> PathBuf {
    Path::new("/dev/shm")
        .join(format!("kfbox-{box_id}"))
        .join(uid)
}

/// The files of a Secret, ConfigMap, downwardAPI or projected volume.
async fn files(
    ctx: &Ctx,
    pod: &Object,
    spec: &PodSpec,
    container: &Container,
    volume: &Volume,
) -> Result<Vec<File>> {
    let ns = &pod.metadata.namespace;
    let mut out = Vec::new();
    if let Some(s) = &volume.secret {
        let name = s.secret_name.as_deref().unwrap_or_default();
        let data = env::source(ctx, &SECRET, ns, name, s.optional).await?;
        pick(data, &s.items, s.default_mode, s.optional, name, &mut out)?;
    } else if let Some(c) = &volume.config_map {
        let data = env::source(ctx, &CONFIG_MAP, ns, &c.name, c.optional).await?;
        pick(
            data,
            &c.items,
            c.default_mode,
            c.optional,
            &c.name,
            &mut out,
        )?;
    } else if let Some(d) = &volume.downward_api {
        downward(
            ctx,
            pod,
            spec,
            container,
            &d.items,
            d.default_mode,
            &mut out,
        )?;
    } else if let Some(p) = &volume.projected {
        for source in p.sources.iter().flatten() {
            let mode = p.default_mode;
            if let Some(s) = &source.secret {
                let data = env::source(ctx, &SECRET, ns, &s.name, s.optional).await?;
                pick(data, &s.items, mode, s.optional, &s.name, &mut out)?;
            } else if let Some(c) = &source.config_map {
                let data = env::source(ctx, &CONFIG_MAP, ns, &c.name, c.optional).await?;
                pick(data, &c.items, mode, c.optional, &c.name, &mut out)?;
            } else if let Some(d) = &source.downward_api {
                downward(ctx, pod, spec, container, &d.items, mode, &mut out)?;
            } else if let Some(token) = &source.service_account_token {
                let secret = account::token(ctx, pod, spec).await?;
                out.push(File::new(inside(&token.path)?, secret.into_bytes()));
            } else {
                return Err(unknown(volume));
            }
        }
    } else {
        return Err(unknown(volume));
    }
    Ok(out)
}

fn unknown(volume: &Volume) -> Error {
    Error::new(
        Code::Unsupported,
        format!(
            "spec.volumes[{}]: not offered on this box: use emptyDir, persistentVolumeClaim, configMap, secret, downwardAPI or projected",
            volume.name
        ),
    )
}

fn mode(own: Option<i32>, default: Option<i32>) -> u32 {
    own.or(default)
        .and_then(|m| u32::try_from(m).ok())
        .unwrap_or(0o644)
        & 0o777
}

fn pick(
    data: Option<std::collections::BTreeMap<String, Vec<u8>>>,
    items: &Option<Vec<KeyToPath>>,
    default: Option<i32>,
    optional: Option<bool>,
    name: &str,
    out: &mut Vec<File>,
) -> Result<()> {
    let Some(data) = data else {
        return Ok(());
    };
    let Some(items) = items.as_ref().filter(|i| !i.is_empty()) else {
        for (key, bytes) in data {
            let path = inside(&key)?.to_string();
            out.push(File {
                path,
                bytes,
                mode: mode(None, default),
            });
        }
        return Ok(());
    };
    for item in items {
        // One key may become several files.
        match data.get(&item.key) {
            Some(bytes) => out.push(File {
                path: inside(&item.path)?.into(),
                bytes: bytes.clone(),
                mode: mode(item.mode, default),
            }),
            None if optional == Some(true) => {}
            None => {
                return Err(env::waiting(format!(
                    "references non-existent key \"{}\" in \"{name}\"",
                    item.key
                )));
            }
        }
    }
    Ok(())
}

fn downward(
    ctx: &Ctx,
    pod: &Object,
    spec: &PodSpec,
    container: &Container,
    items: &Option<Vec<DownwardAPIVolumeFile>>,
    default: Option<i32>,
    out: &mut Vec<File>,
) -> Result<()> {
    for item in items.iter().flatten() {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(f), _) => env::field(pod, spec, &f.field_path)?,
            (None, Some(r)) => env::resource(ctx, spec, container, r)?,
            (None, None) => {
                return Err(Error::invalid(
                    "downwardAPI.items: needs fieldRef or resourceFieldRef",
                ));
            }
        };
        out.push(File {
            path: inside(&item.path)?.into(),
            bytes: text.into_bytes(),
            mode: mode(item.mode, default),
        });
    }
    Ok(())
}

/// A path that stays in its volume.
fn inside(path: &str) -> Result<&str> {
    let plain = Path::new(path)
        .components()
        .all(|c| matches!(c, Component::Normal(_)));
    if plain && !path.is_empty() {
        return Ok(path);
    }
    Err(Error::invalid(format!(
        "\"{path}\": must be a path inside the volume, without \"..\""
    )))
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |e| Error::internal(format!("{}: {e}", path.display()))
}

/// Writes a whole folder or nothing: it is made beside its place and moved there. The group of fsGroup may read it.
pub(super) async fn write_folder(
    folder: &Path,
    files: Vec<File>,
    group: Option<i64>,
) -> Result<()> {
    let group = group.and_then(|g| u32::try_from(g).ok());
    let folder = folder.to_path_buf();
    tokio::task::spawn_blocking(move || {
        let parent = folder.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(parent).map_err(failed(parent))?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let half = parent.join(format!(".{name}.{:08x}", rand::random::<u32>()));
        let shut = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
                .map_err(failed(path))
        };
        std::fs::create_dir(&half).map_err(failed(&half))?;
        shut(&half, 0o755)?;
        for file in files {
            let path = half.join(&file.path);
            let above = path.parent().unwrap_or(&half);
            std::fs::create_dir_all(above).map_err(failed(above))?;
            std::fs::write(&path, file.bytes).map_err(failed(&path))?;
            shut(&path, shared_mode(&path, file.mode, group))?;
        }
        match std::fs::rename(&half, &folder) {
            // Another container of the Pod was first.
            Err(_) if folder.is_dir() => std::fs::remove_dir_all(&half).map_err(failed(&half)),
            other => other.map_err(failed(&folder)),
        }
    })
    .await
    .map_err(Error::internal)?
}

/// A file's mode once it is the group's as well.
fn shared_mode(path: &Path, mode: u32, group: Option<u32>) -> u32 {
    match group {
        None => mode,
        Some(g) if std::os::unix::fs::chown(path, None, Some(g)).is_ok() => mode | 0o440,
        // A box that does not run as root may not give files away; only this Pod mounts them.
        Some(_) => mode | 0o444,
    }
}

/// A folder that any user of the Pod may write to; with fsGroup it is the group's as well.
fn open_folder(folder: &Path, group: Option<i64>) -> Result<()> {
    if !folder.is_dir() {
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
    }
    let mut mode = 0o777;
    if let Some(group) = group.and_then(|g| u32::try_from(g).ok()) {
        // A box that does not run as root may not give folders away: the open mode serves as well.
        if std::os::unix::fs::chown(folder, None, Some(group)).is_ok() {
            mode = 0o2777;
        }
    }
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).map_err(failed(folder))
}

/// The part of a volume that is mounted. Links inside the volume are followed only while they stay in it.
fn sub_path(
    folder: &Path,
    mount: &VolumeMount,
    env: &[(String, String)],
    data: &Path,
) -> Result<PathBuf> {
    let (field, wanted) = match (mount.sub_path.as_deref(), mount.sub_path_expr.as_deref()) {
        (Some(path), _) if !path.is_empty() => ("subPath", path.to_string()),
        (_, Some(path)) if !path.is_empty() => ("subPathExpr", env::expand(path, env)),
        _ => return Ok(folder.to_path_buf()),
    };
    let outside = || {
        Error::invalid(format!(
            "volumeMounts[{}].{field}: \"{wanted}\" leads out of the volume",
            mount.name
        ))
    };
    inside(&wanted).map_err(|_| outside())?;
    let root = folder.canonicalize().map_err(failed(data))?;
    let mut path = root.clone();
    for part in Path::new(&wanted).components() {
        let next = path.join(part);
        if std::fs::symlink_metadata(&next).is_err() {
            std::fs::create_dir(&next).map_err(failed(&next))?;
            std::fs::set_permissions(&next, std::fs::Permissions::from_mode(0o777))
                .map_err(failed(&next))?;
        }
        path = next.canonicalize().map_err(|_| outside())?;
        if !path.starts_with(&root) {
            return Err(outside());
        }
    }
    Ok(path)
}

fn store_path(volume: &Volume) -> Result<(String, bool)> {
    let wrong = || {
        Error::invalid(format!(
            "spec.volumes[{}].csi: not a folder of the box",
            volume.name
        ))
    };
    let csi = volume
        .csi
        .as_ref()
        .filter(|c| c.driver == STORE_VOLUME)
        .ok_or_else(wrong)?;
    let attributes = csi.volume_attributes.clone().unwrap_or_default();
    let path = attributes.get("path").cloned().unwrap_or_default();
    inside(&path).map_err(|_| wrong())?;
    Ok((path, csi.read_only.unwrap_or(false)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_path_stays_in_its_volume() {
        let home = tempfile::tempdir().unwrap();
        let volume = home.path().join("v");
        std::fs::create_dir_all(volume.join("real")).unwrap();
        std::os::unix::fs::symlink("real", volume.join("near")).unwrap();
        std::os::unix::fs::symlink("/etc", volume.join("far")).unwrap();
        std::os::unix::fs::symlink("../..", volume.join("up")).unwrap();
        let at = |path: &str| {
            let mount = VolumeMount {
                name: "v".into(),
                sub_path_expr: Some(path.into()),
                ..Default::default()
            };
            sub_path(&volume, &mount, &[("A".into(), "../x".into())], home.path())
        };
        assert!(at("near/new").unwrap().ends_with("v/real/new"));
        for bad in ["far", "far/passwd", "up", "../v", "/etc", "$(A)"] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_folder_is_written_whole() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a/b");
        write_folder(&folder, vec![File::new("x/y", b"1".to_vec())], None)
            .await
            .unwrap();
        write_folder(&folder, vec![File::new("x/y", b"2".to_vec())], None)
            .await
            .unwrap();
        assert_eq!(std::fs::read(folder.join("x/y")).unwrap(), b"1");
        assert_eq!(std::fs::read_dir(home.path().join("a")).unwrap().count(), 1);
    }
    #[tokio::test]
    async fn a_secret_file_is_the_groups_as_well() {
        use std::os::unix::fs::MetadataExt;
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("keys");
        // Its own group: any user may give a file to that.
        let group = std::fs::metadata(home.path()).unwrap().gid();
        let item = KeyToPath {
            key: "k".into(),
            path: "id_rsa".into(),
            mode: Some(0o400),
        };
        let twice = KeyToPath {
            path: "copy".into(),
            mode: None,
            ..item.clone()
        };
        let data = Some([("k".to_string(), b"1".to_vec())].into());
        let mut files = Vec::new();
        let items = Some(vec![item, twice]);
        pick(data, &items, None, None, "s", &mut files).unwrap();
        write_folder(&folder, files, Some(i64::from(group)))
            .await
            .unwrap();
        let mode = |name: &str| {
            let found = std::fs::metadata(folder.join(name)).unwrap();
            found.permissions().mode() & 0o777
        };
        assert_eq!(mode("id_rsa"), 0o440);
        assert_eq!(mode("copy"), 0o644);
    }
}
