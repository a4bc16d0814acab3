//! The one function that builds what Docker is asked to create, from an allow-list. Whatever is not written
//! here cannot reach the engine: no privileges, no host namespaces, no devices, no engine socket, no user's
//! host paths, no driver options.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, HostConfigLogConfig, Mount,
    MountBindOptions, MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType,
    NetworkingConfig, ResourcesUlimits,
};

use crate::driver::{BOX_LABEL, NAMESPACE_LABEL, POD_LABEL, UID_LABEL, Want};

/// What root keeps inside a container: enough for `apt`, `pip` and `chown` in its own file system, nothing on
/// the host. A container that runs as another user gains nothing from them.
const CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "SETGID",
    "SETUID",
    "KILL",
];
const PIDS: i64 = 4096;

/// The engine's create request for a container.
pub(super) fn create_body(want: &Want, box_id: &str) -> ContainerCreateBody {
    let labels = [
        (BOX_LABEL, box_id),
        (NAMESPACE_LABEL, &want.pod.namespace),
        (POD_LABEL, &want.pod.name),
        (UID_LABEL, &want.pod.uid),
    ];
    let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let text = |s: &str| (!s.is_empty()).then(|| s.to_string());
    ContainerCreateBody {
        hostname: text(&want.hostname),
        user: text(&want.user),
        env: Some(want.env.iter().map(|(k, v)| format!("{k}={v}")).collect()),
        image: Some(want.image.clone()),
        entrypoint: some(&want.command),
        cmd: some(&want.args),
        working_dir: text(&want.working_dir),
        labels: Some(labels.map(|(k, v)| (k.to_string(), v.to_string())).into()),
        host_config: Some(host_config(want)),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(
                want.network.clone(),
                EndpointSettings::default(),
            )])),
        }),
        ..Default::default()
    }
}

fn host_config(want: &Want) -> HostConfig {
    let memory = i64::try_from(want.memory).unwrap_or(i64::MAX);
    let mounts = want.mounts.iter().map(|m| Mount {
        target: Some(m.target.clone()),
        source: Some(m.host.to_string_lossy().into_owned()),
        typ: Some(MountType::BIND),
        read_only: Some(m.read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..Default::default()
        }),
        ..Default::default()
    });
    let tmpfs = want.tmpfs.iter().map(|(target, size)| Mount {
        target: Some(target.clone()),
        typ: Some(MountType::TMPFS),
        tmpfs_options: Some(MountTmpfsOptions {
            size_bytes: Some(i64::try_from(*size).unwrap_or(i64::MAX)),
            mode: Some(0o1777),
            ..Default::default()
        }),
        ..Default::default()
    });
    HostConfig {
        network_mode: Some(want.network.clone()),
        extra_hosts: Some(
            want.hosts
                .iter()
                .map(|(n, ip)| format!("{n}:{ip}"))
                .collect(),
        ),
        mounts: Some(mounts.chain(tmpfs).collect()),
        memory: Some(memory),
        // Swap equal to memory means no swap: a step that is too big ends, it does not slow the box down.
        memory_swap: Some(memory),
        nano_cpus: (want.nano_cpus > 0).then(|| i64::try_from(want.nano_cpus).unwrap_or(i64::MAX)),
        pids_limit: Some(PIDS),
        shm_size: Some(i64::try_from(want.shm).unwrap_or(i64::MAX)),
        cap_drop: Some(vec!["ALL".into()]),
        cap_add: Some(CAPABILITIES.iter().map(ToString::to_string).collect()),
        security_opt: Some(vec!["no-new-privileges".into()]),
        ulimits: Some(vec![ResourcesUlimits {
            name: Some("core".into()),
            soft: Some(0),
            hard: Some(0),
        }]),
        // A first process that reaps children and passes signals on.
        init: Some(true),
        log_config: Some(HostConfigLogConfig {
            typ: Some("local".into()),
            config: Some(HashMap::from([
                ("max-size".into(), "32m".into()),
                ("max-file".into(), "4".into()),
            ])),
        }),
        ..Default::default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hardened_whatever_is_wanted() {
        let want = Want {
            name: "n".into(),
            image: "i".into(),
            memory: 1 << 30,
            network: "kfbox-b-ns".into(),
            ..Default::default()
        };
        let host = create_body(&want, "b").host_config.unwrap();
        assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
        assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
        assert_eq!(host.pids_limit, Some(PIDS));
        assert_eq!(
            (host.memory, host.memory_swap),
            (Some(1 << 30), Some(1 << 30))
        );
        assert_eq!(host.network_mode.as_deref(), Some("kfbox-b-ns"));
        // Everything else stays as the engine's own safe default.
        assert!(host.privileged.is_none() && host.devices.is_none() && host.binds.is_none());
        assert!(host.pid_mode.is_none() && host.ipc_mode.is_none() && host.userns_mode.is_none());
        assert!(host.volumes_from.is_none() && host.sysctls.is_none() && host.runtime.is_none());
    }
}
