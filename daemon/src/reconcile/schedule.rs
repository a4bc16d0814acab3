//! Who runs now: a Pending Pod gets a Lease, a share of the box, when one is free, and is bound. First come,
//! first served, but a Pod that does not fit now does not hold up smaller ones behind it.
//!
//! A Lease is held from the binding until the Pod is terminal. It is not stored: it is what the bound Pods ask
//! for, so it cannot disagree with them.
//!
//! Pods of one gang ([`GANG`]) are bound together when all of them are there and fit, or none is: half of a
//! distributed job would only wait for the other half.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::PodSpec;
use kfbox_store::{
    Event, Kind, Object, Ref, Result, Store,
    kinds::core::{GANG, POD, PodStatus},
};

use super::pod_requests;
use crate::controller::{Action, Reconciler};

/// The one machine's name.
pub const NODE: &str = "kfbox";
/// Pods with a Lease at once, as a Kubernetes node has it.
pub const MAX_PODS: usize = 110;

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
    /// Its gang, if it has one, and the gang's size.
    gang: Option<(String, usize)>,
    /// What was last said of why it waits.
    reported: String,
}

/// The gang that a Pod belongs to: gangs of different namespaces are different gangs.
fn gang(pod: &Object) -> Option<(String, usize)> {
    let text = pod.metadata.annotations.get(GANG)?;
    let size = text.rsplit_once('/')?.1.parse().ok()?;
    Some((format!("{}/{text}", pod.metadata.namespace), size))
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

/// What is held of the box.
#[derive(Clone, Copy, Default)]
struct Held {
    lease: Lease,
    pods: usize,
}

impl Held {
    fn add(&mut self, want: Lease) {
        self.lease.cpu += want.cpu;
        self.lease.memory += want.memory;
        self.pods += 1;
    }

    /// Takes a share, or says why there is none.
    fn take(&mut self, capacity: Lease, want: Lease) -> std::result::Result<(), String> {
        let held = self.lease;
        if want.cpu > capacity.cpu || want.memory > capacity.memory {
            return Err(format!(
                "asks for {} CPUs and {} MiB; this box has {} CPUs and {} MiB: ask for less",
                want.cpu,
                want.memory >> 20,
                capacity.cpu,
                capacity.memory >> 20
            ));
        }
        if self.pods >= MAX_PODS {
            return Err(format!("{MAX_PODS} Pods run already"));
        }
        if held.cpu + want.cpu > capacity.cpu + 1e-9 {
            return Err(format!(
                "needs {} CPUs, {:.1} of {} are held",
                want.cpu, held.cpu, capacity.cpu
            ));
        }
        if held.memory + want.memory > capacity.memory {
            return Err(format!(
                "needs {} MiB, {} of {} MiB are held",
                want.memory >> 20,
                held.memory >> 20,
                capacity.memory >> 20
            ));
        }
        self.add(want);
        Ok(())
    }
}

fn plan(capacity: Lease, pods: &BTreeMap<(String, String), Entry>) -> Plan {
    let mut held = Held::default();
    let mut gangs: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in pods.values() {
        if entry.bound {
            held.add(entry.lease);
        }
        if let Some((gang, _)) = &entry.gang {
            *gangs.entry(gang).or_default() += 1;
        }
    }
    let mut waiting: Vec<_> = pods.iter().filter(|(_, e)| !e.bound).collect();
    waiting.sort_by_key(|(_, e)| e.since);
    let mut plan = Plan::default();
    let mut judged = BTreeSet::new();
    for (key, entry) in &waiting {
        let Some((gang, size)) = &entry.gang else {
            match held.take(capacity, entry.lease) {
                Ok(()) => plan.bind.push((*key).clone()),
                Err(why) => plan.wait.push(((*key).clone(), why)),
            }
            continue;
        };
        if !judged.insert(gang) {
            continue;
        }
        let members: Vec<_> = waiting
            .iter()
            .filter(|(_, e)| e.gang.as_ref().is_some_and(|(g, _)| g == gang))
            .collect();
        let there = gangs.get(gang.as_str()).copied().unwrap_or_default();
        let mut after = held;
        let verdict = if there < *size {
            Err(format!("{there} of the {size} pods of its gang are there"))
        } else {
            members
                .iter()
                .try_for_each(|(_, e)| after.take(capacity, e.lease))
                .map_err(|why| {
                    format!("its gang of {size} pods starts together or not at all: one {why}")
                })
        };
        let keys = members.iter().map(|(key, _)| (*key).clone());
        match verdict {
            Ok(()) => {
                held = after;
                plan.bind.extend(keys);
            }
            Err(why) => plan.wait.extend(keys.map(|key| (key, why.clone()))),
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
            gang: gang(pod),
            reported: String::new(),
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
                .filter(|(key, why)| {
                    // What is held changes all the time; the kind of reason is news.
                    pods.get_mut(key).is_some_and(|e| {
                        let news = e.reported.is_empty() || e.gang.is_some() && e.reported != *why;
                        e.reported.clone_from(why);
                        news
                    })
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
                    let message = status.message.clone();
                    status.condition("PodScheduled", false, "Unschedulable", &message);
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
    status.condition("PodScheduled", true, "", "");
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
            gang: None,
            reported: String::new(),
        }
    }

    #[test]
    fn a_gang_is_bound_whole_or_not_at_all() {
        let capacity = Lease {
            cpu: 2.0,
            memory: 1 << 30,
        };
        let member = |size, since| Entry {
            gang: Some(("kubeflow/uid/2".into(), size)),
            ..entry(1.0, false, since)
        };
        let mut pods = BTreeMap::from([
            (key("held"), entry(1.0, true, 1)),
            (key("one"), member(2, 2)),
            (key("small"), entry(1.0, false, 4)),
        ]);
        let early = plan(capacity, &pods);
        assert_eq!(early.bind, [key("small")], "the gang is not complete");
        assert!(early.wait[0].1.contains("1 of the 2"), "{:?}", early.wait);
        pods.remove(&key("small"));
        pods.insert(key("two"), member(2, 3));
        let full = plan(capacity, &pods);
        assert!(full.bind.is_empty() && full.wait.len() == 2, "{full:?}");
        pods.remove(&key("held"));
        assert_eq!(plan(capacity, &pods).bind, [key("one"), key("two")]);
        // One that was bound before a crash counts as there.
        pods.insert(
            key("one"),
            Entry {
                bound: true,
                ..member(2, 2)
            },
        );
        assert_eq!(plan(capacity, &pods).bind, [key("two")]);
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
