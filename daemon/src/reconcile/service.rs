//! The service room: ports of a Service that are others in its Pods. A Service's name leads to its Pods at once, so a
//! Pod must answer on the Service's port: a forwarder in its sandbox listens there, on the Pod's address, and takes
//! connections on to the port that is meant. Ports that are the same need nothing, and have nothing.
//!
//! A forwarder lives as long as this daemon holds its input: it needs no record and leaves nothing behind. It starts
//! when the Pod is ready: a port that a container has taken by then, or declares, stays the container's.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{PodSpec, ServiceSpec};
use kfbox_store::{
    Event, Kind, Object, Ref, Result, Selector,
    kinds::{
        core::{POD, PodStatus},
        service::{SERVICE, moved_ports, pod_port, serves},
    },
};
use kfbox_web::{ExecOptions, Output, Session};
use tokio::task::JoinHandle;

use super::{Ctx, pod};
use crate::{
    controller::{Action, Reconciler},
    events::{self, Level},
};

/// What runs in the sandbox.
const FORWARD: &str = include_str!("../assets/forward.pl");
/// Before a forwarder that ended is started again.
const AGAIN: Duration = Duration::from_secs(5);
/// Bytes of a forwarder's complaint that are told.
const COMPLAINT: usize = 512;

/// What a Service wants of one of its Pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    /// The Pod's address.
    ip: String,
    /// Port of the Service -> port of the Pod.
    ports: BTreeMap<u16, u16>,
    /// Ports that a container of the Pod declares as its own.
    taken: Vec<u16>,
}

struct Forwarder {
    wanted: Wanted,
    task: Option<JoinHandle<()>>,
}

impl Forwarder {
    fn works(&self) -> bool {
        self.task.as_ref().is_none_or(|task| !task.is_finished())
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// By the uid of the Pod.
type Forwarders = HashMap<String, Forwarder>;

/// The room.
pub struct Services {
    ctx: Ctx,
    /// Every Service that has such ports.
    running: Mutex<HashMap<Ref, Forwarders>>,
}

#[async_trait]
impl Reconciler for Services {
    fn name(&self) -> &'static str {
        "service"
    }

    fn kinds(&self) -> Vec<&'static Kind> {
        vec![&SERVICE]
    }

    fn concerns(&self, event: &Event, wake: &mut dyn FnMut(Ref)) {
        let object = &event.object;
        let meta = &object.metadata;
        if object.kind == SERVICE.kind && object.api_version == SERVICE.api_version() {
            wake(Ref::new(&SERVICE, &meta.namespace, &meta.name));
        } else if object.kind == POD.kind {
            let running = self.running();
            let near = running.keys().filter(|s| s.namespace == meta.namespace);
            near.for_each(|service| wake(service.clone()));
        }
    }

    async fn reconcile(&self, key: &Ref) -> Result<Action> {
        let service = self.ctx.store.get(key).await?.filter(|s| !s.deleting());
        let spec = match &service {
            Some(service) => service.spec::<ServiceSpec>()?,
            None => ServiceSpec::default(),
        };
        let Some(service) = service.filter(|_| moved_ports(&spec).next().is_some()) else {
            self.running().remove(key);
            return Ok(Action::Wait);
        };
        // Known before the Pods are read: a Pod that changes meanwhile wakes it again.
        self.running().entry(key.clone()).or_default();
        let pods = self
            .ctx
            .store
            .list(&POD, Selector::namespace(&key.namespace))
            .await?;
        let wanted: Vec<(&Object, Wanted)> = pods
            .items
            .iter()
            .filter_map(|pod| Some((pod, wanted(&spec, pod)?)))
            .collect();
        let mut taken = Vec::new();
        {
            let mut running = self.running();
            let forwarders = running.entry(key.clone()).or_default();
            forwarders.retain(|uid, forwarder| {
                forwarder.works()
                    && wanted
                        .iter()
                        .any(|(pod, w)| pod.metadata.uid == *uid && *w == forwarder.wanted)
            });
            for (pod, wanted) in &wanted {
                if forwarders.contains_key(&pod.metadata.uid) {
                    continue;
                }
                taken.extend(
                    wanted
                        .taken
                        .iter()
                        .map(|port| (pod.metadata.name.as_str(), *port)),
                );
                let work = hold(
                    self.ctx.clone(),
                    service.clone(),
                    (*pod).clone(),
                    wanted.clone(),
                );
                let forwarder = Forwarder {
                    wanted: wanted.clone(),
                    task: (!wanted.ports.is_empty()).then(|| tokio::spawn(work)),
                };
                forwarders.insert(pod.metadata.uid.clone(), forwarder);
            }
        }
        for (pod, port) in taken {
            let message = format!(
                "spec.ports: a container of Pod \"{pod}\" has port {port} itself, and answers there: give the Service another port, or targetPort {port}"
            );
            events::record(
                &self.ctx.store,
                &service,
                Level::Warning,
                "PortTaken",
                &message,
            )
            .await;
        }
        Ok(match wanted.is_empty() {
            true => Action::Wait,
            false => Action::After(AGAIN),
        })
    }
}

impl Services {
    /// The room.
    pub fn new(ctx: Ctx) -> Self {
        Self {
            ctx,
            running: Mutex::default(),
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Ref, Forwarders>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a Service wants of a Pod; nothing of one that does not stand behind it, or shares its sandbox in turn. Pure.
fn wanted(service: &ServiceSpec, pod: &Object) -> Option<Wanted> {
    let spec: PodSpec = pod.spec().ok()?;
    if !serves(service, pod) || pod::pooled(pod, &spec) {
        return None;
    }
    let status: PodStatus = pod.status().ok()?;
    let mut wanted = Wanted {
        ip: status.pod_ip?,
        ..Wanted::default()
    };
    let own = |number: u16| {
        let mut ports = spec
            .containers
            .iter()
            .flat_map(|c| c.ports.iter().flatten());
        ports.any(|p| p.container_port == i32::from(number))
    };
    for port in moved_ports(service) {
        let (Ok(from), Some(to)) = (u16::try_from(port.port), pod_port(port, &spec)) else {
            continue;
        };
        if from == to {
            continue;
        }
        match own(from) {
            true => wanted.taken.push(from),
            false => {
                wanted.ports.insert(from, to);
            }
        }
    }
    (!wanted.ports.is_empty() || !wanted.taken.is_empty()).then_some(wanted)
}

/// Runs a forwarder until it ends, and tells why.
async fn hold(ctx: Ctx, service: Object, pod: Object, wanted: Wanted) {
    let mut command = vec!["perl".into(), "-e".into(), FORWARD.into(), wanted.ip];
    command.extend(wanted.ports.iter().map(|(from, to)| format!("{from}:{to}")));
    let options = ExecOptions {
        command,
        stdin: true,
        stdout: true,
        stderr: true,
        ..ExecOptions::default()
    };
    let sandbox = pod::sandbox_name(&ctx.box_id, &pod);
    let said = match ctx.driver.exec(&sandbox, &options).await {
        Ok(Session {
            input, mut output, ..
        }) => {
            let mut said = Vec::new();
            while let Some(Ok(Output::Stdout(piece) | Output::Stderr(piece))) = output.next().await
            {
                said.extend(piece.iter().take(COMPLAINT.saturating_sub(said.len())));
            }
            drop(input);
            String::from_utf8_lossy(&said).trim().to_string()
        }
        Err(e) => e.message,
    };
    if !said.is_empty() {
        let name = &pod.metadata.name;
        let message = format!("spec.ports: not answered in Pod \"{name}\": {said}");
        events::record(
            &ctx.store,
            &service,
            Level::Warning,
            "PortNotServed",
            &message,
        )
        .await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(ports: Value) -> Object {
        let spec = json!({"containers": [{"name": "c", "image": "i", "ports": ports}]});
        let mut pod = Object::new(&POD, "ann", "p")
            .with_label("a", "b")
            .with_spec(&spec)
            .unwrap();
        let status = json!({"phase": "Running", "podIP": "10.0.0.2",
            "conditions": [{"type": "Ready", "status": "True"}]});
        pod.set("status", &status).unwrap();
        pod
    }

    #[test]
    fn only_ports_that_are_others_are_forwarded() {
        let service = |ports: Value| -> ServiceSpec {
            serde_json::from_value(json!({"selector": {"a": "b"}, "ports": ports})).unwrap()
        };
        let own = pod(json!([{"name": "web", "containerPort": 8080}]));
        assert_eq!(wanted(&service(json!([{"port": 8080}])), &own), None);
        let named = service(json!([{"port": 8080, "targetPort": "web"}]));
        assert_eq!(wanted(&named, &own), None, "it is the same");
        let two =
            service(json!([{"port": 80, "targetPort": "web"}, {"port": 81, "targetPort": 9000}]));
        let found = wanted(&two, &own).unwrap();
        assert_eq!(found.ports, BTreeMap::from([(80, 8080), (81, 9000)]));
        let clash = pod(json!([{"containerPort": 80}, {"containerPort": 8080}]));
        let found = wanted(&service(json!([{"port": 80, "targetPort": 8080}])), &clash).unwrap();
        assert_eq!((found.ports.len(), found.taken), (0, vec![80]));
        let mut gone = own.clone();
        gone.set("status", &json!({"phase": "Running", "podIP": "10.0.0.2"}))
            .unwrap();
        assert_eq!(wanted(&two, &gone), None, "not ready");
    }
}
