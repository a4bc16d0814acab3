//! The one function that builds what Docker is asked to create, from an allow-list. Whatever is not written
//! here cannot reach the engine: no privileges, no host namespaces, no devices, no engine socket, no user's
//! host paths, no driver options.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, HostConfigLogConfig, Mount,
    MountBindOptions, MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType,
    NetworkingConfig, ResourcesUlimits,
};

use crate::driver::{
    BOX_LABEL, CONTAINER_LABEL, NAMESPACE_LABEL, POD_LABEL, PodId, ROLE_LABEL, SANDBOX_ROLE,
    SandboxWant, UID_LABEL, Want,
};

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
/// What a container may ask for besides: what engines and clusters give by default. None reaches the host without a
/// capability that is not among them.
const ON_REQUEST: &[&str] = &[
    "AUDIT_WRITE",
    "FSETID",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETPCAP",
    "SYS_CHROOT",
];
const PIDS: i64 = 4096;

/// Bytes of memory of a sandbox, which sleeps and perhaps forwards a Service's ports. Shared memory counts against
/// whoever writes it.
const SANDBOX_MEMORY: i64 = 32 << 20;
const SANDBOX_PIDS: i64 = 16;

fn labels(box_id: &str, pod: &PodId, last: (&str, &str)) -> HashMap<String, String> {
    let labels = [
        (BOX_LABEL, box_id),
        (NAMESPACE_LABEL, &pod.namespace),
        (POD_LABEL, &pod.name),
        (UID_LABEL, &pod.uid),
        last,
    ];
    labels.map(|(k, v)| (k.to_string(), v.to_string())).into()
}

/// The engine's create request for a container.
pub(super) fn create_body(want: &Want, box_id: &str) -> ContainerCreateBody {
    let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let text = |s: &str| (!s.is_empty()).then(|| s.to_string());
    ContainerCreateBody {
        user: text(&want.user),
        env: Some(want.env.iter().map(|(k, v)| format!("{k}={v}")).collect()),
        image: Some(want.image.clone()),
        entrypoint: some(&want.command),
        cmd: some(&want.args),
        working_dir: text(&want.working_dir),
        labels: Some(labels(
            box_id,
            &want.pod,
            (CONTAINER_LABEL, &want.container),
        )),
        tty: Some(want.tty),
        open_stdin: Some(want.stdin),
        stdin_once: Some(want.stdin_once),
        host_config: Some(host_config(want)),
        ..Default::default()
    }
}

/// The engine's create request for a sandbox.
pub(super) fn sandbox_body(want: &SandboxWant, box_id: &str) -> ContainerCreateBody {
    let shared = want.shm > 0;
    let host_config = HostConfig {
        network_mode: Some(want.network.clone()),
        dns: Some(want.dns.iter().map(ToString::to_string).collect()),
        dns_search: Some(want.search.clone()),
        extra_hosts: Some(
            want.hosts
                .iter()
                .map(|(n, ip)| format!("{n}:{ip}"))
                .collect(),
        ),
        memory: Some(SANDBOX_MEMORY),
        memory_swap: Some(SANDBOX_MEMORY),
        pids_limit: Some(SANDBOX_PIDS),
        readonly_rootfs: Some(true),
        ipc_mode: shared.then(|| "shareable".into()),
        shm_size: shared.then(|| i64::try_from(want.shm).unwrap_or(i64::MAX)),
        cap_drop: Some(vec!["ALL".into()]),
        security_opt: Some(vec!["no-new-privileges".into()]),
        init: Some(true),
        log_config: Some(HostConfigLogConfig {
            typ: Some("none".into()),
            config: None,
        }),
        ..Default::default()
    };
    ContainerCreateBody {
        hostname: Some(want.hostname.clone()),
        user: Some("65534:65534".into()),
        image: Some(want.image.clone()),
        entrypoint: Some(vec!["sleep".into(), "infinity".into()]),
        labels: Some(labels(box_id, &want.pod, (ROLE_LABEL, SANDBOX_ROLE))),
        host_config: Some(host_config),
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
    let sandbox = format!("container:{}", want.sandbox);
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
        network_mode: Some(sandbox.clone()),
        ipc_mode: (want.shm == 0).then(|| sandbox.clone()),
        pid_mode: want.share_pid.then_some(sandbox),
        group_add: (!want.groups.is_empty()).then(|| want.groups.clone()),
        readonly_rootfs: want.read_only_root.then_some(true),
        mounts: Some(mounts.chain(tmpfs).collect()),
        memory: Some(memory),
        // Swap equal to memory means no swap: a step that is too big ends, it does not slow the box down.
        memory_swap: Some(memory),
        nano_cpus: (want.nano_cpus > 0).then(|| i64::try_from(want.nano_cpus).unwrap_or(i64::MAX)),
        pids_limit: Some(PIDS),
        shm_size: (want.shm > 0).then(|| i64::try_from(want.shm).unwrap_or(i64::MAX)),
        cap_drop: Some(vec!["ALL".into()]),
        cap_add: Some(capabilities(want)),
        security_opt: Some(vec!["no-new-privileges".into()]),
        ulimits: Some(vec![ResourcesUlimits {
            name: Some("core".into()),
            soft: Some(0),
            hard: Some(0),
        }]),
        // A first process that reaps children and passes signals on.
        init: Some(!want.share_pid),
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

/// What root keeps: the usual without what is dropped, and what is added of the harmless.
fn capabilities(want: &Want) -> Vec<String> {
    let has = |list: &[String], name: &str| {
        list.iter()
            .any(|c| c.strip_prefix("CAP_").unwrap_or(c) == name)
    };
    let dropped =
        |name: &str| has(&want.drop_capabilities, "ALL") || has(&want.drop_capabilities, name);
    let usual = CAPABILITIES.iter();
    usual
        .filter(|c| !dropped(c) || has(&want.add_capabilities, c))
        .chain(ON_REQUEST.iter().filter(|c| has(&want.add_capabilities, c)))
        .map(ToString::to_string)
        .collect()
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
            sandbox: "s".into(),
            shm: 1 << 20,
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
        assert_eq!(host.network_mode.as_deref(), Some("container:s"));
        // Everything else stays as the engine's own safe default.
        assert!(host.privileged.is_none() && host.devices.is_none() && host.binds.is_none());
        assert!(host.pid_mode.is_none() && host.ipc_mode.is_none() && host.userns_mode.is_none());
        assert!(host.volumes_from.is_none() && host.sysctls.is_none() && host.runtime.is_none());
    }

    #[test]
    fn capabilities_are_as_asked_within_bounds() {
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let got = |add: &[&str], drop: &[&str]| {
            capabilities(&Want {
                add_capabilities: list(add),
                drop_capabilities: list(drop),
                ..Default::default()
            })
            .join(" ")
        };
        assert_eq!(
            got(&["CAP_SYS_CHROOT", "CHOWN"], &["ALL"]),
            "CHOWN SYS_CHROOT"
        );
        assert_eq!(got(&["SYS_ADMIN", "ALL"], &[]), CAPABILITIES.join(" "));
        let less = got(&[], &["KILL", "NET_RAW"]);
        assert_eq!(less, "CHOWN DAC_OVERRIDE FOWNER SETGID SETUID");
    }

    #[test]
    fn a_sandbox_can_do_nothing_but_sleep() {
        let want = SandboxWant {
            network: "kfbox-b-ns".into(),
            ..Default::default()
        };
        let body = sandbox_body(&want, "b");
        assert_eq!(body.user.as_deref(), Some("65534:65534"));
        let host = body.host_config.unwrap();
        assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
        assert_eq!(host.readonly_rootfs, Some(true));
        assert!(host.cap_add.is_none() && host.mounts.is_none() && host.privileged.is_none());
    }
}
