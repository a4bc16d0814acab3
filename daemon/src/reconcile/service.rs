//! The service room: ports of a Service that are others in its Pods. A Service's name leads to its Pods at once, so a
//! Pod must answer on the Service's port: a forwarder in its sandbox listens there, on the Pod's address, and takes
//! connections on to the port that is meant. Ports that are the same need nothing, and have nothing.
//!
//! A Pod has one forwarder for all Services; it starts anew when their ports change. It lives as long as this daemon
//! holds its input: it needs no record and leaves nothing behind. It starts when the Pod is ready: a port that a
//! container has taken by then, or declares, stays the container's.

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
        core::{NAMESPACE, POD, PodStatus},
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

/// What the Services of a namespace want of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    /// The Pod's address.
    ip: String,
    /// Port of the Service -> port of the Pod.
    ports: BTreeMap<u16, u16>,
    /// What cannot be done: the Service's place among all, and why.
    troubles: Vec<(usize, String)>,
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
    /// By namespace: those that have such ports.
    running: Mutex<HashMap<String, Forwarders>>,
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
        let ns = &object.metadata.namespace;
        let service = object.kind == SERVICE.kind && object.api_version == SERVICE.api_version();
        if service || object.kind == POD.kind && self.running().contains_key(ns) {
            wake(Ref::new(&NAMESPACE, "", ns));
        }
    }

    async fn reconcile(&self, key: &Ref) -> Result<Action> {
        let store = &self.ctx.store;
        let here = Selector::namespace(&key.name);
        let mut services = Vec::new();
        for service in store.list(&SERVICE, here.clone()).await?.items {
            let spec: ServiceSpec = service.spec()?;
            if moved_ports(&spec).next().is_some() && !service.deleting() {
                services.push((service, spec));
            }
        }
        if services.is_empty() {
            self.running().remove(&key.name);
            return Ok(Action::Wait);
        }
        // Known before the Pods are read: a Pod that changes meanwhile wakes it again.
        self.running().entry(key.name.clone()).or_default();
        let pods = store.list(&POD, here).await?.items;
        let wanted: Vec<(Object, Wanted)> = pods
            .into_iter()
            .filter_map(|pod| wanted(&services, &pod).map(|w| (pod, w)))
            .collect();
        let again = match wanted.is_empty() {
            true => Action::Wait,
            false => Action::After(AGAIN),
        };
        for (i, why) in self.follow(&key.name, wanted) {
            if let Some((service, _)) = services.get(i) {
                events::record(store, service, Level::Warning, "PortTaken", &why).await;
            }
        }
        Ok(again)
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

    /// Ends the forwarders that are not wanted and starts those that lack; returns the troubles of new ones.
    fn follow(&self, namespace: &str, wanted: Vec<(Object, Wanted)>) -> Vec<(usize, String)> {
        let mut running = self.running();
        let forwarders = running.entry(namespace.into()).or_default();
        forwarders.retain(|uid, forwarder| {
            let same =
                |(pod, w): &(Object, Wanted)| pod.metadata.uid == *uid && *w == forwarder.wanted;
            forwarder.works() && wanted.iter().any(same)
        });
        let mut troubles = Vec::new();
        for (pod, wanted) in wanted {
            let uid = pod.metadata.uid.clone();
            if forwarders.contains_key(&uid) {
                continue;
            }
            troubles.extend(wanted.troubles.iter().cloned());
            let work = hold(self.ctx.clone(), pod, wanted.clone());
            let task = (!wanted.ports.is_empty()).then(|| tokio::spawn(work));
            forwarders.insert(uid, Forwarder { wanted, task });
        }
        troubles
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, Forwarders>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the Services want of a Pod; nothing of one that stands behind none, or shares its sandbox in turn. Pure.
fn wanted(services: &[(Object, ServiceSpec)], pod: &Object) -> Option<Wanted> {
    let spec: PodSpec = pod.spec().ok()?;
    if pod::pooled(pod, &spec) {
        return None;
    }
    let status: PodStatus = pod.status().ok()?;
    let mut wanted = Wanted {
        ip: status.pod_ip?,
        ..Wanted::default()
    };
    let name = &pod.metadata.name;
    let own = |number: i32| {
        let mut ports = spec
            .containers
            .iter()
            .flat_map(|c| c.ports.iter().flatten());
        ports.any(|p| p.container_port == number)
    };
    for (i, (_, service)) in services.iter().enumerate() {
        if !serves(service, pod) {
            continue;
        }
        for port in moved_ports(service) {
            let (Ok(from), Some(to)) = (u16::try_from(port.port), pod_port(port, &spec)) else {
                continue;
            };
            if from == to {
                continue;
            }
            if own(port.port) {
                wanted.troubles.push((i, format!(
                    "spec.ports: a container of Pod \"{name}\" has port {from} itself, and answers there: give the Service another port, or targetPort {from}"
                )));
            } else if *wanted.ports.entry(from).or_insert(to) != to {
                wanted.troubles.push((i, format!(
                    "spec.ports: another Service leads port {from} of Pod \"{name}\" elsewhere: give one of them another port"
                )));
            }
        }
    }
    (!wanted.ports.is_empty() || !wanted.troubles.is_empty()).then_some(wanted)
}

/// Runs a forwarder until it ends, and tells why.
async fn hold(ctx: Ctx, pod: Object, wanted: Wanted) {
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
        let message = format!("a Service's port is not answered: {said}");
        events::record(&ctx.store, &pod, Level::Warning, "PortNotServed", &message).await;
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
        let service = |ports: Value| {
            let spec = json!({"selector": {"a": "b"}, "ports": ports});
            (
                Object::new(&SERVICE, "ann", "s"),
                serde_json::from_value(spec).unwrap(),
            )
        };
        let own = pod(json!([{"name": "web", "containerPort": 8080}]));
        let same = service(json!([{"port": 8080}, {"port": 8080, "targetPort": "web"}]));
        assert_eq!(wanted(&[same], &own), None);
        let two =
            service(json!([{"port": 80, "targetPort": "web"}, {"port": 81, "targetPort": 9000}]));
        let again = service(json!([{"port": 80, "targetPort": 8080}]));
        let found = wanted(&[two.clone(), again.clone()], &own).unwrap();
        assert_eq!(found.ports, BTreeMap::from([(80, 8080), (81, 9000)]));
        assert!(found.troubles.is_empty(), "both mean the same");
        let other = service(json!([{"port": 80, "targetPort": 9000}]));
        let found = wanted(&[again.clone(), other], &own).unwrap();
        assert_eq!((found.ports[&80], found.troubles[0].0), (8080, 1));
        let clash = pod(json!([{"containerPort": 80}, {"containerPort": 8080}]));
        let found = wanted(&[again], &clash).unwrap();
        assert!(found.ports.is_empty() && found.troubles[0].1.contains("port 80 itself"));
        let mut gone = own.clone();
        gone.set("status", &json!({"phase": "Running", "podIP": "10.0.0.2"}))
            .unwrap();
        assert_eq!(wanted(&[two], &gone), None, "not ready");
    }
}
