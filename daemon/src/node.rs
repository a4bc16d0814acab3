//! The Node object: what the machine has, what Pods may ask of it, and whether the engine answers.

use kfbox_store::{Code, Object, Ref, Result, Store, kinds::cluster::NODE, now};
use serde_json::{Value, json};

use crate::reconcile::schedule::{Lease, MAX_PODS, NODE as NAME};

/// What the machine has.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// CPUs and memory that Pods may have.
    pub capacity: Lease,
    /// GPUs that the driver library tells of. Pods cannot have them yet: none is allocatable.
    pub gpus: usize,
}

impl Machine {
    /// Takes stock. Blocking: the driver library may be slow.
    pub fn look(capacity: Lease) -> Self {
        Self {
            capacity,
            gpus: kfbox_gpu::inventory().map_or(0, |devices| devices.len()),
        }
    }
}

/// Writes what is true of the machine now; a Node that says so already is left alone.
///
/// # Errors
/// When the store cannot be read or written.
pub async fn report(store: &Store, machine: Machine, ready: bool) -> Result<()> {
    let at = Ref::new(&NODE, "", NAME);
    if store.get(&at).await?.is_none() {
        let mut node = Object::new(&NODE, "", NAME)
            .with_label("kubernetes.io/hostname", NAME)
            .with_label("kubernetes.io/os", "linux")
            .with_label("kubernetes.io/arch", arch())
            .with_label("node-role.kubernetes.io/control-plane", "");
        node.set("spec", &json!({}))?;
        match store.create(node).await {
            Err(e) if e.code != Code::AlreadyExists => return Err(e),
            _ => {}
        }
    }
    store
        .modify(&at, move |node| {
            let before = node.body.get("status").cloned().unwrap_or_default();
            node.set("status", &status(&before, machine, ready))
        })
        .await?;
    Ok(())
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn status(before: &Value, machine: Machine, ready: bool) -> Value {
    let (word, reason, message) = if ready {
        ("True", "Ready", "the container engine answers")
    } else {
        (
            "False",
            "NotReady",
            "the container engine does not answer: is Docker running?",
        )
    };
    let old = &before["conditions"][0];
    let since = match old["lastTransitionTime"].as_str() {
        Some(at) if old["status"] == word => at.to_string(),
        _ => now(),
    };
    let Lease { cpu, memory } = machine.capacity;
    let mut capacity = json!({
        "cpu": cpu.to_string(), "memory": format!("{}Ki", memory >> 10), "pods": MAX_PODS.to_string(),
    });
    let mut allocatable = capacity.clone();
    if machine.gpus > 0 {
        capacity["nvidia.com/gpu"] = machine.gpus.to_string().into();
        allocatable["nvidia.com/gpu"] = "0".into();
    }
    json!({
        "capacity": capacity, "allocatable": allocatable,
        "conditions": [{"type": "Ready", "status": word, "reason": reason, "message": message,
                        "lastHeartbeatTime": since, "lastTransitionTime": since}],
        "addresses": [{"type": "Hostname", "address": NAME}],
        "nodeInfo": {
            "kubeletVersion": concat!("v1.33.0+kfbox-", env!("CARGO_PKG_VERSION")), "kubeProxyVersion": "",
            "containerRuntimeVersion": "docker://", "operatingSystem": "linux", "architecture": arch(),
            "osImage": "", "kernelVersion": "", "machineID": "", "systemUUID": "", "bootID": "",
        },
    })
}
