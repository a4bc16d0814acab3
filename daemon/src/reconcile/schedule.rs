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
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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

/// Who holds what of the box, as far as is known: live Pods as the change log tells them, rebuilt from the store at
/// start, and those that are just being made.
pub struct Leases {
    capacity: Lease,
    pods: Mutex<BTreeMap<(String, String), Entry>>,
}

impl Leases {
    /// For a box of this size.
    pub fn new(capacity: Lease) -> Self {
        Self {
            capacity,
            pods: Mutex::default(),
        }
    }

    fn pods(&self) -> MutexGuard<'_, BTreeMap<(String, String), Entry>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Binds a Pod that is about to be stored, when nobody waits and it fits: the usual case then costs no second
    /// write. True means that its share is held: [`Leases::give_back`] it if the Pod is not stored after all.
    ///
    /// # Errors
    /// When the Pod's status cannot be read.
    pub fn bind_at_once(&self, pod: &mut Object) -> Result<bool> {
        let (key, entry) = entry(pod, u64::MAX)?;
        let mut pods = self.pods();
        if entry.gang.is_some() || pods.contains_key(&key) || pods.values().any(|e| !e.bound) {
            return Ok(false);
        }
        let mut held = Held::default();
        pods.values().for_each(|e| held.add(e.lease));
        if held.take(self.capacity, entry.lease).is_err() {
            return Ok(false);
        }
        bind_to_node(pod)?;
        pods.insert(
            key,
            Entry {
                bound: true,
                ..entry
            },
        );
        Ok(true)
    }

    /// What there is, and what nobody has asked for.
    pub fn capacity_and_free(&self) -> (Lease, Lease) {
        let mut held = Held::default();
        self.pods().values().for_each(|e| held.add(e.lease));
        let free = Lease {
            cpu: (self.capacity.cpu - held.lease.cpu).max(0.0),
            memory: self.capacity.memory.saturating_sub(held.lease.memory),
        };
        (self.capacity, free)
    }

    /// Frees the share of a Pod that was not stored after all.
    pub fn give_back(&self, namespace: &str, name: &str) {
        self.pods().remove(&(namespace.to_owned(), name.to_owned()));
    }
}

/// A Pod's place in the queue.
fn entry(pod: &Object, since: u64) -> Result<((String, String), Entry)> {
    let spec: PodSpec = pod.spec()?;
    let (cpu, memory) = pod_requests(&spec);
    let entry = Entry {
        lease: Lease { cpu, memory },
        bound: spec.node_name.is_some(),
        since,
        gang: gang(pod),
        reported: String::new(),
    };
    let key = (pod.metadata.namespace.clone(), pod.metadata.name.clone());
    Ok((key, entry))
}

/// The room.
pub struct Schedule {
    store: Store,
    leases: Arc<Leases>,
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
    /// The room, for these Leases.
    pub fn new(store: Store, leases: Arc<Leases>) -> Self {
        Self { store, leases }
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
        let live = !event.deleted() && !terminal(pod);
        let mut pods = self.leases.pods();
        if !live {
            let key = (pod.metadata.namespace.clone(), pod.metadata.name.clone());
            if pods.remove(&key).is_some() {
                wake(Ref::new(&POD, "", ""));
            }
            return;
        }
        let Ok((key, entry)) = entry(pod, event.version) else {
            return;
        };
        let bound = entry.bound;
        pods.entry(key)
            .and_modify(|e| e.bound = bound)
            .or_insert(entry);
        if !bound {
            wake(Ref::new(&POD, "", ""));
        }
    }

    async fn reconcile(&self, _key: &Ref) -> Result<Action> {
        let plan = plan(self.leases.capacity, &self.leases.pods());
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
            let mut pods = self.leases.pods();
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asking(cpu: f64, bound: bool, since: u64) -> Entry {
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
    fn a_pod_is_bound_as_it_is_made_when_it_fits_and_nobody_waits() {
        let leases = Leases::new(Lease {
            cpu: 2.0,
            memory: 1 << 30,
        });
        let pod = |name: &str, cpu: &str| {
            let requests = serde_json::json!({"requests": {"cpu": cpu}});
            let main = serde_json::json!({"name": "main", "resources": requests});
            Object::new(&POD, "kubeflow", name)
                .with_spec(&serde_json::json!({"containers": [main]}))
                .unwrap()
        };
        let mut first = pod("first", "1");
        assert!(leases.bind_at_once(&mut first).unwrap());
        assert_eq!(first.spec::<PodSpec>().unwrap().node_name.unwrap(), NODE);
        assert!(!leases.bind_at_once(&mut pod("large", "1.5")).unwrap());
        assert!(leases.bind_at_once(&mut pod("second", "1")).unwrap());
        assert!(!leases.bind_at_once(&mut pod("third", "1")).unwrap());
        leases.give_back("kubeflow", "first");
        assert!(leases.bind_at_once(&mut pod("third", "1")).unwrap());

        // Whoever waits comes first, even when only this one would fit.
        leases.give_back("kubeflow", "third");
        let waits = entry(&pod("waits", "2"), 1).unwrap();
        leases.pods().insert(waits.0, waits.1);
        assert!(!leases.bind_at_once(&mut pod("fourth", "1")).unwrap());
    }

    #[test]
    fn a_gang_is_bound_whole_or_not_at_all() {
        let capacity = Lease {
            cpu: 2.0,
            memory: 1 << 30,
        };
        let member = |size, since| Entry {
            gang: Some(("kubeflow/uid/2".into(), size)),
            ..asking(1.0, false, since)
        };
        let mut pods = BTreeMap::from([
            (key("held"), asking(1.0, true, 1)),
            (key("one"), member(2, 2)),
            (key("small"), asking(1.0, false, 4)),
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
            (key("held"), asking(1.0, true, 1)),
            (key("young"), asking(1.0, false, 9)),
            (key("old"), asking(1.0, false, 5)),
            (key("huge"), asking(64.0, false, 3)),
            (key("free"), asking(0.0, false, 10)),
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
