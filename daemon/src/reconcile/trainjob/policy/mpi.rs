//! MPI: a launcher that reaches its nodes by real ssh, with keys from a Secret and names from a hostfile.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, KeyToPath, SecretVolumeSource, Volume, VolumeMount,
};
use kfbox_store::kinds::trainer::MpiPolicy;

use super::super::jobset::{JobSet, LAUNCHER, NODE, Training, gpus, set_env, value};

/// The Secret with the keys is `{job}` and this.
pub const SSH_SUFFIX: &str = "-mpi-ssh-auth";
/// The ConfigMap with the hostfile is `{job}` and this.
pub const HOSTFILE_SUFFIX: &str = "-mpi-hostfile";
/// Where the launcher finds the hostfile.
const HOSTFILE_DIR: &str = "/etc/mpi";

pub fn apply(training: &Training<'_>, policy: &MpiPolicy, jobset: &mut JobSet) {
    let launcher_computes = policy.run_launcher_as_node == Some(true);
    let nodes = match launcher_computes {
        // One of the nodes is the launcher.
        true => (training.nodes() - 1).max(1),
        false => training.nodes(),
    };
    let slots = slots(training, policy, jobset);
    let ssh = format!("{}{SSH_SUFFIX}", training.name);
    let hosts = format!("{}{HOSTFILE_SUFFIX}", training.name);
    let mount_path = policy.ssh_auth_mount_path.clone();
    let mount_path = mount_path.unwrap_or_else(|| "/root/.ssh".into());
    let mut hostfile = String::new();
    let subdomain = jobset.subdomain.clone();
    for set in &mut jobset.sets {
        let launches = set.name == LAUNCHER;
        if set.name == NODE {
            set.count = nodes;
        } else if !launches {
            continue;
        }
        if !launches || launcher_computes {
            for i in 0..set.count {
                let host = format!("{}-{}-0-{i}.{subdomain}", training.name, set.name);
                hostfile.push_str(&format!("{host} slots={slots}\n"));
            }
        }
        let volumes = set.pod().volumes.get_or_insert_default();
        volumes.push(keys(&ssh, mount_path.starts_with("/root")));
        if launches {
            volumes.push(Volume {
                name: "mpi-hostfile".into(),
                config_map: Some(ConfigMapVolumeSource {
                    name: hosts.clone(),
                    items: Some(vec![item("hostfile", "hostfile", 0o444)]),
                    ..ConfigMapVolumeSource::default()
                }),
                ..Volume::default()
            });
        }
        let Some(container) = set.container(NODE) else {
            continue;
        };
        let mounts = container.volume_mounts.get_or_insert_default();
        mounts.push(mount("mpi-ssh-auth", &mount_path));
        if launches {
            mounts.push(mount("mpi-hostfile", HOSTFILE_DIR));
            for (name, text) in [
                (
                    "OMPI_MCA_orte_default_hostfile",
                    format!("{HOSTFILE_DIR}/hostfile"),
                ),
                ("OMPI_MCA_orte_keep_fqdn_hostnames", "true".into()),
                ("OMPI_MCA_orte_set_default_slots", slots.to_string()),
                ("OMPI_MCA_plm_rsh_args", "-o ConnectionAttempts=10".into()),
            ] {
                set_env(container, value(name, &text));
            }
        }
    }
    jobset.hostfile = Some(hostfile);
}

/// Processes on each node: as told, else one for each GPU, else one.
fn slots(training: &Training<'_>, policy: &MpiPolicy, jobset: &mut JobSet) -> i32 {
    let written = policy.num_proc_per_node.unwrap_or(1);
    if let Some(told) = training.processes() {
        return told;
    }
    let node = jobset.sets.iter_mut().find(|s| s.name == NODE);
    let gpus = node
        .and_then(|s| s.container(NODE))
        .map_or(0, |c| gpus(c.resources.as_ref()));
    if written == 1 { gpus.max(1) } else { written }
}

fn keys(secret: &str, for_root: bool) -> Volume {
    // ssh refuses a key that others than its owner may read. Root owns it; any other user reads it by way of the
    // group that fsGroup gives.
    let private = if for_root { 0o600 } else { 0o640 };

    Volume {
        name: "mpi-ssh-auth".into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.into()),
            default_mode: Some(0o400),
            items: Some(vec![
                item("ssh-privatekey", "id_rsa", private),
                item("ssh-publickey", "id_rsa.pub", 0o644),
                item("ssh-publickey", "authorized_keys", 0o644),
                item("ssh-config", "config", 0o644),
            ]),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn item(key: &str, path: &str, mode: i32) -> KeyToPath {
    KeyToPath {
        key: key.into(),
        path: path.into(),
        mode: Some(mode),
    }
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        ..VolumeMount::default()
    }
}
