//! Who runs now: a Pending Pod gets a Lease, a share of the box, when one is free, and is bound. First come,
//! first served, but a Pod that does not fit now does not hold up smaller ones behind it.
//!
//! A Lease is held from the binding until the Pod is terminal. It is not stored: it is what the bound Pods ask
//! for, so it cannot disagree with them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::PodSpec;
use kfbox_store::{
    Event, Kind, Object, Ref, Result, Store,
    kinds::core::{POD, PodStatus},
};

use super::pod_requests;
use crate::controller::{Action, Reconciler};

/// The one machine's name.
pub const NODE: &str = "kfbox";
/// Pods with a Lease at once, as a Kubernetes node has it.
const MAX_PODS: usize = 110;

/// A share of the box.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lease {
    /// CPUs.
    pub cpu: f64,
    /// Bytes.
    pub memory: u64,
}

/// The room.
pub struct Schedule {
    store: Store,
    capacity: Lease,
    /// Live Pods as the change log tells them; rebuilt from the store at start.
    pods: Mutex<BTreeMap<(String, String), Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    lease: Lease,
    bound: bool,
    /// Creation order.
    since: u64,
    reported: bool,
}

impl Schedule {
    /// For a box of this size.
    pub fn new(store: Store, capacity: Lease) -> Self {
        Self {
            store,
            capacity,
            pods: Mutex::default(),
        }
    }

    fn pods(&self) -> MutexGuard<'_, BTreeMap<(String, String), Entry>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a pass decides: pure, so that it can be printed and tested.
#[derive(Debug, Default, PartialEq)]
struct Plan {
    bind: Vec<(String, String)>,
    wait: Vec<((String, String), String)>,
}

fn plan(capacity: Lease, pods: &BTreeMap<(String, String), Entry>) -> Plan {
    let mut held = Lease::default();
    let mut count = 0;
    for entry in pods.values().filter(|e| e.bound) {
        held.cpu += entry.lease.cpu;
        held.memory += entry.lease.memory;
        count += 1;
    }
    let mut waiting: Vec<_> = pods.iter().filter(|(_, e)| !e.bound).collect();
    waiting.sort_by_key(|(_, e)| e.since);
    let mut plan = Plan::default();
    for (key, entry) in waiting {
        let want = entry.lease;
        let why = if want.cpu > capacity.cpu || want.memory > capacity.memory {
            Some(format!(
                "asks for {} CPUs and {} MiB; this box has {} CPUs and {} MiB: ask for less",
                want.cpu,
                want.memory >> 20,
                capacity.cpu,
                capacity.memory >> 20
            ))
        } else if count >= MAX_PODS {
            Some(format!("{MAX_PODS} Pods run already"))
        } else if held.cpu + want.cpu > capacity.cpu + 1e-9 {
            Some(format!(
                "needs {} CPUs, {:.1} of {} are held",
                want.cpu, held.cpu, capacity.cpu
            ))
        } else if held.memory + want.memory > capacity.memory {
            Some(format!(
                "needs {} MiB, {} of {} MiB are held",
                want.memory >> 20,
                held.memory >> 20,
                capacity.memory >> 20
            ))
        } else {
            None
        };
        match why {
            Some(why) => plan.wait.push((key.clone(), why)),
            None => {
                held.cpu += want.cpu;
                held.memory += want.memory;
                count += 1;
                plan.bind.push(key.clone());
            }
        }
    }
    plan
}

#[async_trait]
impl Reconciler for Schedule {
    fn name(&self) -> &'static str {
        "schedule"
    }

    fn kinds(&self) -> Vec<&'static Kind> {
        vec![&POD]
    }

    fn concerns(&self, event: &Event, wake: &mut dyn FnMut(Ref)) {
        let pod = &event.object;
        if pod.kind != POD.kind {
            return;
        }
        let key = (pod.metadata.namespace.clone(), pod.metadata.name.clone());
        let live = !event.deleted() && !terminal(pod);
        let mut pods = self.pods();
        if !live {
            if pods.remove(&key).is_some() {
                wake(Ref::new(&POD, "", ""));
            }
            return;
        }
        let spec: PodSpec = match pod.spec() {
            Ok(spec) => spec,
            Err(_) => return,
        };
        let bound = spec.node_name.is_some();
        let (cpu, memory) = pod_requests(&spec);
        let entry = Entry {
            lease: Lease { cpu, memory },
            bound,
            since: event.version,
            reported: false,
        };
        pods.entry(key)
            .and_modify(|e| e.bound = bound)
            .or_insert(entry);
        if !bound {
            wake(Ref::new(&POD, "", ""));
        }
    }

    async fn reconcile(&self, _key: &Ref) -> Result<Action> {
        let plan = plan(self.capacity, &self.pods());
        if !plan.bind.is_empty() {
            let bind = plan.bind.clone();
            self.store
                .write(move |txn| {
                    for (ns, name) in &bind {
                        let r = Ref::new(&POD, ns, name);
                        // Gone meanwhile: its deletion is in the log and will be seen.
                        if txn.get(&r)?.is_some() {
                            txn.modify(&r, bind_to_node)?;
                        }
                    }
                    Ok(())
                })
                .await?;
        }
        let news: Vec<_> = {
            let mut pods = self.pods();
            for key in &plan.bind {
                if let Some(entry) = pods.get_mut(key) {
                    entry.bound = true;
                }
            }
            plan.wait
                .into_iter()
                .filter(|(key, _)| {
                    pods.get_mut(key)
                        .is_some_and(|e| !std::mem::replace(&mut e.reported, true))
                })
                .collect()
        };
        for ((ns, name), why) in news {
            let told = self
                .store
                .modify(&Ref::new(&POD, &ns, &name), move |pod| {
                    let mut status: PodStatus = pod.status()?;
                    status.reason = "Unschedulable".into();
                    status.message = format!("waits: {why}");
                    pod.set("status", &status)
                })
                .await;
            if let Err(e) = told {
                tracing::debug!(pod = name, "cannot say why it waits: {e}");
            }
        }
        Ok(Action::Wait)
    }
}

fn bind_to_node(pod: &mut Object) -> Result<()> {
    if let Some(serde_json::Value::Object(spec)) = pod.body.get_mut("spec") {
        spec.insert("nodeName".into(), NODE.into());
    }
    let mut status: PodStatus = pod.status()?;
    status.reason.clear();
    status.message.clear();
    pod.set("status", &status)
}

fn terminal(pod: &Object) -> bool {
    pod.status::<PodStatus>().is_ok_and(|s| s.phase.terminal())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(cpu: f64, bound: bool, since: u64) -> Entry {
        Entry {
            lease: Lease {
                cpu,
                memory: 1 << 20,
            },
            bound,
            since,
            reported: false,
        }
    }

    fn key(name: &str) -> (String, String) {
        ("kubeflow".into(), name.into())
    }

    #[test]
    fn oldest_first_never_more_than_there_is_and_a_reason_for_each_that_waits() {
        let capacity = Lease {
            cpu: 2.0,
            memory: 1 << 30,
        };
        let pods = BTreeMap::from([
            (key("held"), entry(1.0, true, 1)),
            (key("young"), entry(1.0, false, 9)),
            (key("old"), entry(1.0, false, 5)),
            (key("huge"), entry(64.0, false, 3)),
            (key("free"), entry(0.0, false, 10)),
        ]);
        let plan = plan(capacity, &pods);
        assert_eq!(plan.bind, [key("old"), key("free")]);
        let reasons: Vec<_> = plan
            .wait
            .iter()
            .map(|(k, why)| (k.1.as_str(), why.as_str()))
            .collect();
        assert!(
            reasons[0].0 == "huge" && reasons[0].1.contains("ask for less"),
            "{reasons:?}"
        );
        assert!(
            reasons[1].0 == "young" && reasons[1].1.contains("held"),
            "{reasons:?}"
        );
    }
}
