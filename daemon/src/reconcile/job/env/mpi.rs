//! MPI, and ChainerMN over it: a launcher that starts programs in the workers, not by ssh but through the box.

use kfbox_store::{Object, Result, kinds::cluster::CONFIG_MAP};
use serde_json::{Value, json};

use super::{Place, View, add, list};

/// Where the files below lie.
const FOLDER: &str = "/etc/mpi";
const VOLUME: &str = "mpi-job-config";
/// Speaks to the box's door where an image has no kubectl.
const KUBEXEC: &str = include_str!("../../../assets/kubexec.py");

/// Completes a worker or a launcher.
pub fn complete(view: &View<'_>, place: Place, spec: &mut Value) {
    let main = view.framework.main(view.special);
    let item = |key: &str, mode: i32| json!({"key": key, "path": key, "mode": mode});
    list(spec, "volumes").push(json!({"name": VOLUME, "configMap": {
        "name": config_name(view.name),
        "items": [item("hostfile", 0o444), item("discover_hosts.sh", 0o555),
                  item("kubexec.sh", 0o555), item("kubexec.py", 0o444)],
    }}));
    let mount = json!({"name": VOLUME, "mountPath": FOLDER});
    let worker = place.role == "Worker";
    for container in list(spec, "containers") {
        if container["name"] != main {
            continue;
        }
        list(container, "volumeMounts").push(mount.clone());
        if worker && list(container, "command").is_empty() {
            container["command"] = json!(["sleep"]);
            container["args"] = json!(["365d"]);
        }
    }
    if worker {
        return;
    }
    let agent = format!("{FOLDER}/kubexec.sh");
    let hosts = format!("{FOLDER}/hostfile");
    let mut vars = vec![
        ("OMPI_MCA_plm_rsh_agent", agent.clone()),
        ("OMPI_MCA_orte_default_hostfile", hosts.clone()),
        ("I_MPI_HYDRA_BOOTSTRAP", "rsh".into()),
        ("I_MPI_HYDRA_BOOTSTRAP_EXEC", agent.clone()),
        ("I_MPI_HYDRA_HOST_FILE", hosts.clone()),
        ("HYDRA_LAUNCHER", "rsh".into()),
        ("HYDRA_LAUNCHER_EXEC", agent),
        ("HYDRA_HOST_FILE", hosts),
    ];
    if computes(view) {
        vars.extend([
            ("OMPI_MCA_orte_keep_fqdn_hostnames", "t".into()),
            ("OMPI_MCA_btl_tcp_if_exclude", "lo,docker0".into()),
        ]);
    }
    let needs_gpu = list(spec, "containers").iter().any(|c| {
        let limits = c.pointer("/resources/limits").and_then(Value::as_object);
        limits.is_some_and(|l| l.keys().any(|k| k.ends_with("/gpu") || k.contains("/mig-")))
    });
    if !needs_gpu && !computes(view) {
        // Images of frameworks ask for all GPUs; a launcher has nothing to do with them.
        vars.push(("NVIDIA_VISIBLE_DEVICES", String::new()));
        vars.push(("NVIDIA_DRIVER_CAPABILITIES", String::new()));
    }
    add(spec, Some(main), &vars);
}

/// Whether the one that starts the programs runs one as well: ChainerMN's master does.
fn computes(view: &View<'_>) -> bool {
    view.framework.kind.kind == "ChainerJob"
}

fn config_name(job: &str) -> String {
    format!("{job}-config")
}

/// The files of `/etc/mpi`; `running` are the workers that run now.
pub fn config_map(view: &View<'_>, owner: &Object, running: &[String]) -> Result<Object> {
    let slots = view.special.slots_per_worker.unwrap_or(1);
    let main = view.framework.main(view.special);
    let leader = match computes(view) {
        true => view.hosts("Master"),
        false => vec![],
    };
    let hostfile: String = leader
        .iter()
        .chain(&view.hosts("Worker"))
        .map(|host| format!("{host} slots={slots}\n"))
        .collect();
    let found: String = running
        .iter()
        .map(|host| format!("echo {host}:{slots}\n"))
        .collect();
    let kubexec = format!(
        r#"#!/bin/sh
# Starts a program in a worker: kubexec.sh POD COMMAND...
pod=$1
shift
if command -v kubectl >/dev/null 2>&1; then
  exec kubectl exec "$pod" --container {main} -- /bin/sh -c "$*"
fi
exec python3 {FOLDER}/kubexec.py "$pod" --container {main} -- /bin/sh -c "$*"
"#
    );
    let mut config =
        Object::new(&CONFIG_MAP, view.namespace, &config_name(view.name)).owned_by(owner);
    config.set(
        "data",
        &json!({
            "hostfile": hostfile,
            "discover_hosts.sh": format!("#!/bin/sh\n{found}"),
            "kubexec.sh": kubexec,
            "kubexec.py": KUBEXEC,
        }),
    )?;
    Ok(config)
}
