//! What a Pod of a job is told about the others: one builder per framework. Variables are appended after the
//! user's own, so they win, as upstream.

mod mpi;
mod paddle;
mod server;
mod torch;

use kfbox_store::kinds::train::{Framework, ReplicaSpec, Special};
use serde_json::{Value, json};

pub use mpi::config_map;

/// A job as its Pods see it.
pub struct View<'a> {
    /// How this kind differs.
    pub framework: &'static Framework,
    /// The job's name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its replicas, in the order of the framework's types.
    pub replicas: &'a [(&'static str, ReplicaSpec)],
    /// What only its kind has.
    pub special: &'a Special,
}

/// Which Pod of the job it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its replica type.
    pub role: &'static str,
    /// Which of them.
    pub index: i32,
}

impl View<'_> {
    /// The replicas of a type, if there are any.
    pub fn role(&self, role: &str) -> Option<&ReplicaSpec> {
        let found = self.replicas.iter().find(|(r, _)| *r == role);
        found.map(|(_, spec)| spec)
    }

    /// How many Pods a type has.
    pub fn count(&self, role: &str) -> i32 {
        self.role(role).map_or(0, |s| s.replicas.unwrap_or(1))
    }

    /// How many Pods the job has.
    pub fn total(&self) -> i32 {
        self.replicas.iter().map(|(r, _)| self.count(r)).sum()
    }

    /// The name of a Pod.
    pub fn host(&self, role: &str, index: i32) -> String {
        self.framework.pod_name(self.name, role, index)
    }

    /// The names of a type's Pods.
    pub fn hosts(&self, role: &str) -> Vec<String> {
        (0..self.count(role)).map(|i| self.host(role, i)).collect()
    }

    /// The port at which a type's Pods listen.
    pub fn port(&self, role: &str) -> i32 {
        let (name, usual) = self.framework.port.unwrap_or_default();
        let main = self.framework.main(self.special);
        let containers = self
            .role(role)
            .and_then(|s| s.template.spec.as_ref())
            .map(|s| s.containers.as_slice());
        let ports = containers
            .unwrap_or_default()
            .iter()
            .find(|c| c.name == main)
            .and_then(|c| c.ports.as_deref())
            .unwrap_or_default();
        ports
            .iter()
            .find(|p| p.name.as_deref() == Some(name))
            .map_or(usual, |p| p.container_port)
    }

    /// A number for each Pod: the leader is 0, the workers follow.
    fn rank(&self, place: Place) -> i32 {
        match place.role {
            "Worker" => self.count("Master") + place.index,
            _ => place.index,
        }
    }
}

/// Variables in the order in which they are written.
type Vars = Vec<(&'static str, String)>;

/// Completes a Pod's spec with what its framework expects.
pub fn complete(view: &View<'_>, place: Place, spec: &mut Value) {
    let all = |vars: Vars, spec: &mut Value| add(spec, None, &vars);
    match view.framework.kind.kind {
        "TFJob" => add(
            spec,
            Some(view.framework.container),
            &server::tensorflow(view, place),
        ),
        "MXJob" => all(server::mxnet(view, place), spec),
        "PyTorchJob" => {
            all(torch::pytorch(view, place), spec);
            if place.role == "Worker" && view.role("Master").is_some() {
                torch::wait_for_master(view, spec);
            }
        }
        "XGBoostJob" => all(torch::xgboost(view, place), spec),
        "JAXJob" => all(torch::jax(view, place), spec),
        "Caffe2Job" => all(server::caffe2(view, place), spec),
        "PaddleJob" => paddle::complete(view, place, spec),
        _ => mpi::complete(view, place, spec),
    }
}

/// Appends variables to the containers of this name, or to all.
fn add(spec: &mut Value, only: Option<&str>, vars: &[(&'static str, String)]) {
    let vars = vars
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}));
    add_raw(spec, only, &vars.collect::<Vec<_>>());
}

fn add_raw(spec: &mut Value, only: Option<&str>, vars: &[Value]) {
    if vars.is_empty() {
        return;
    }
    for container in list(spec, "containers") {
        if only.is_none_or(|name| container["name"] == name) {
            list(container, "env").extend(vars.iter().cloned());
        }
    }
}

/// The list in a field, made when it is not there.
pub fn list<'a>(object: &'a mut Value, field: &str) -> &'a mut Vec<Value> {
    if !object.is_object() {
        *object = json!({});
    }
    let slot = &mut object[field];
    if !slot.is_array() {
        *slot = json!([]);
    }
    match slot {
        Value::Array(list) => list,
        _ => unreachable!("it was made an array"),
    }
}
