//! What is to be done for a Pod and what its status is, from its spec, its last status and what the engine says:
//! pure, so that it can be printed and tested. The hands are in `containers`.
//!
//! The rules are Kubernetes': init containers one after the other (those with restartPolicy Always are sidecars
//! and stay), then all containers together; a container that ended is restarted by the Pod's restartPolicy after a
//! growing pause; when all containers have ended for good the sidecars are stopped and the Pod has ended.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, PodSpec};
use kfbox_store::{
    Object,
    kinds::core::{Phase, PodStatus, STOP, reason},
};

use super::{
    probe::Health,
    status::{self, Ended, between, ended, record, terminated, waiting},
};
use crate::{
    driver::{Exit, Observed, State},
    events::Level,
    reconcile::backoff,
};

/// What is known of a Pod.
pub struct View<'a> {
    /// The Pod.
    pub pod: &'a Object,
    /// Its spec.
    pub spec: &'a PodSpec,
    /// What was last written.
    pub status: &'a PodStatus,
    /// Its containers in the engine, by name, each at its current number of restarts.
    pub seen: &'a BTreeMap<String, Observed>,
    /// What probes say of containers that run; absent = they have none.
    pub health: &'a HashMap<String, Health>,
    /// Containers that cannot be made now: until when, and why.
    pub held: &'a HashMap<String, Hold>,
    /// Containers that this daemon stopped, and why.
    pub killed: &'a HashMap<String, String>,
    /// Restarts that no longer count, because the container ran well since.
    pub calm: &'a HashMap<String, i32>,
    /// Why the Pod must end, when the room knows more than the Pod says.
    pub doomed: Option<&'a (String, String)>,
    /// The sandbox's address.
    pub ip: Option<IpAddr>,
    /// The host's address in the Pod's network.
    pub host: Option<IpAddr>,
    /// The time.
    pub now: Timestamp,
    /// The pause before the second restart.
    pub backoff: Duration,
}

/// A container that could not be made.
#[derive(Clone, Debug)]
pub struct Hold {
    /// When to try again.
    pub until: Timestamp,
    /// How often it was tried.
    pub times: u32,
    /// As in `state.waiting.reason`.
    pub reason: String,
    /// As in `state.waiting.message`.
    pub message: String,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hand {
    /// Make and start this container, at the number of restarts of the new status.
    Run(String),
    /// The container has ended and will be run again: keep its output, before the new status is written.
    Keep(String),
    /// Stop this container; the reason, when it is not the Pod's end.
    Stop(String, Option<String>),
}

/// What follows from a [`View`].
#[derive(Debug, Default)]
pub struct Plan {
    /// In order.
    pub hands: Vec<Hand>,
    /// The new status.
    pub status: PodStatus,
    /// When to look again without being told.
    pub again: Option<Duration>,
    /// Worth an Event.
    pub news: Vec<(Level, &'static str, String)>,
    /// Containers that have run long enough to forget their restarts.
    pub calmed: Vec<(String, i32)>,
}

impl Plan {
    fn look_in(&mut self, pause: Duration) {
        self.again = Some(self.again.map_or(pause, |old| old.min(pause)));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Init,
    Sidecar,
    Main,
}

enum Run {
    /// Not in the engine; may be made.
    No,
    /// Cannot be made before a pause is over.
    Held,
    /// Made, not started.
    Made,
    Live {
        started: bool,
    },
    /// Will be restarted.
    Again,
    Over(Ended),
}

struct Slot<'a> {
    role: Role,
    spec: &'a Container,
    run: Run,
    status: ContainerStatus,
}

/// Seconds a Pod's containers have to end.
pub fn grace(spec: &PodSpec) -> u32 {
    let seconds = spec.termination_grace_period_seconds.unwrap_or(30);
    u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
}

/// What is to be done now.
pub fn plan(view: &View<'_>) -> Plan {
    let mut plan = Plan {
        status: view.status.clone(),
        ..Plan::default()
    };
    let never = view.spec.restart_policy.as_deref() == Some("Never");
    let init = view.spec.init_containers.iter().flatten();
    let mut slots: Vec<Slot<'_>> = init
        .map(|c| match c.restart_policy.as_deref() {
            Some("Always") => (Role::Sidecar, c),
            _ => (Role::Init, c),
        })
        .chain(view.spec.containers.iter().map(|c| (Role::Main, c)))
        .map(|(role, c)| slot(view, role, c))
        .collect();
    let starts = slots.iter().filter_map(|s| started_at(&s.status)).min();
    if plan.status.start_time.is_none() {
        plan.status.start_time = starts;
    }
    let mut ending = ending(view, &plan.status, &slots);
    if ending.is_none() && never {
        ending = slots.iter().find_map(|s| match &s.run {
            Run::Over(e) if s.role == Role::Init && !e.ok() => {
                let what = format!("init container \"{}\" {}", s.spec.name, e.message);
                Some((e.reason.clone(), what))
            }
            Run::Over(e) if e.reason == reason::INTERRUPTED && s.role == Role::Main => {
                Some(said(view, &s.spec.name, e))
            }
            _ => None,
        });
    }
    match ending {
        Some((why, message)) => end(&mut plan, &slots, &why, &message),
        None => go_on(view, &mut plan, &mut slots),
    }
    write(view, &mut plan, slots);
    plan
}

/// A container's failure as the Pod's.
fn said(view: &View<'_>, name: &str, e: &Ended) -> (String, String) {
    let alone = view.spec.containers.len() == 1;
    let message = if alone {
        e.message.clone()
    } else {
        format!("container \"{name}\" {}", e.message)
    };
    (e.reason.clone(), message)
}

fn started_at(status: &ContainerStatus) -> Option<String> {
    let state = status.state.as_ref()?;
    let running = state.running.as_ref().and_then(|r| r.started_at.as_ref());
    let ended = state.terminated.as_ref();
    let at = running.or_else(|| ended?.started_at.as_ref())?;
    Some(at.0.to_string())
}

fn slot<'a>(view: &View<'_>, role: Role, spec: &'a Container) -> Slot<'a> {
    let old = view.status.container(&spec.name);
    let mut status = old.cloned().unwrap_or_else(|| ContainerStatus {
        name: spec.name.clone(),
        image: spec.image.clone().unwrap_or_default(),
        started: Some(false),
        ..Default::default()
    });
    let seen = view.seen.get(&spec.name);
    if let Some(seen) = seen {
        record(&mut status, seen);
    }
    let state = status.state.clone().unwrap_or_default();
    let run = match seen.map(|s| &s.state) {
        Some(State::Running(since)) => {
            let health = view.health.get(&spec.name);
            let started = health.is_none_or(|h| h.started);
            status.state = Some(status::running(since));
            status.started = Some(started);
            status.ready = started && health.is_none_or(|h| h.ready);
            Run::Live { started }
        }
        Some(State::Created) => Run::Made,
        Some(State::Exited(exit)) => Run::Over(ended(spec, exit, view.killed.get(&spec.name))),
        None => match (state.running, state.terminated) {
            (_, Some(t)) => Run::Over(Ended::from(&t)),
            (Some(running), _) => {
                let lost = Exit {
                    code: 137,
                    interrupted: true,
                    started_at: running
                        .started_at
                        .map(|t| t.0.to_string())
                        .unwrap_or_default(),
                    finished_at: view.now.to_string(),
                    ..Exit::default()
                };
                let mut e = ended(spec, &lost, None);
                e.message = "its container is gone from the engine: somebody removed it, or the engine lost it".into();
                Run::Over(e)
            }
            _ => match view.held.get(&spec.name) {
                Some(hold) if hold.until > view.now => {
                    status.state = Some(waiting(&hold.reason, &hold.message));
                    Run::Held
                }
                _ => Run::No,
            },
        },
    };
    if let Run::Over(e) = &run {
        status.ready = false;
        status.started = Some(false);
        let id = status.container_id.clone();
        status.state = Some(terminated(e, id));
    }
    Slot {
        role,
        spec,
        run,
        status,
    }
}

/// Why the Pod must end before its containers do.
fn ending(view: &View<'_>, status: &PodStatus, slots: &[Slot<'_>]) -> Option<(String, String)> {
    if let Some((why, message)) = view.doomed {
        return Some((why.clone(), message.clone()));
    }
    if let Some(message) = view.pod.metadata.annotations.get(STOP) {
        return Some((reason::STOPPED.into(), message.clone()));
    }
    let limit = u64::try_from(view.spec.active_deadline_seconds?).ok()?;
    let mains = || slots.iter().filter(|s| s.role == Role::Main);
    let over: Option<Vec<&Ended>> = mains()
        .map(|s| match &s.run {
            Run::Over(e) => Some(e),
            _ => None,
        })
        .collect();
    let now = view.now.to_string();
    let until = match &over {
        Some(over) if over.iter().all(|e| e.ok()) => return None,
        Some(over) => over.iter().map(|e| e.finished_at.as_str()).max()?,
        None => &now,
    };
    let ran = between(status.start_time.as_deref()?, until);
    (ran >= Duration::from_secs(limit)).then(|| {
        let message = format!("ran longer than its limit of {limit} s and was stopped");
        (reason::DEADLINE.into(), message)
    })
}

fn end(plan: &mut Plan, slots: &[Slot<'_>], why: &str, message: &str) {
    for slot in slots {
        if matches!(slot.run, Run::Live { .. }) {
            plan.hands.push(Hand::Stop(slot.spec.name.clone(), None));
        }
    }
    if plan.hands.is_empty() {
        plan.status.phase = Phase::Failed;
        plan.status.reason = why.into();
        plan.status.message = message.into();
    }
}

fn go_on(view: &View<'_>, plan: &mut Plan, slots: &mut [Slot<'_>]) {
    plan.status.reason.clear();
    plan.status.message.clear();
    let mains = slots.iter_mut().filter(|s| s.role == Role::Main);
    for slot in mains {
        restart(view, plan, slot);
    }
    let over = |s: &Slot<'_>| s.role != Role::Main || matches!(s.run, Run::Over(_));
    let served = slots.iter().all(over);
    for slot in slots.iter_mut() {
        if slot.role == Role::Init || slot.role == Role::Sidecar && !served {
            restart(view, plan, slot);
        }
        if let Run::Live { .. } = slot.run
            && let Some(why) = view
                .health
                .get(&slot.spec.name)
                .and_then(|h| h.unhealthy.clone())
        {
            plan.news.push((Level::Warning, "Unhealthy", why.clone()));
            plan.hands
                .push(Hand::Stop(slot.spec.name.clone(), Some(why)));
        }
        if let Some(hold) = view.held.get(&slot.spec.name)
            && matches!(slot.run, Run::Held)
        {
            plan.look_in(until(view.now, hold.until));
        }
    }
    let mut initialized = view.status.holds("Initialized");
    let mut passed = true;
    for slot in slots.iter_mut().filter(|s| s.role != Role::Main) {
        if !passed {
            wait(slot, "PodInitializing");
            continue;
        }
        match &slot.run {
            Run::No | Run::Made if slot.role == Role::Sidecar || !initialized => {
                wait(slot, "PodInitializing");
                plan.hands.push(Hand::Run(slot.spec.name.clone()));
                passed = initialized;
            }
            Run::Over(e) if slot.role == Role::Init && e.ok() => slot.status.ready = true,
            Run::Live { started: true } if slot.role == Role::Sidecar => {}
            _ => passed = initialized,
        }
    }
    initialized |= passed;
    plan.status.condition(
        "Initialized",
        initialized,
        if initialized {
            ""
        } else {
            "ContainersNotInitialized"
        },
        "",
    );
    for slot in slots.iter_mut().filter(|s| s.role == Role::Main) {
        if !initialized {
            wait(slot, "PodInitializing");
        } else if matches!(slot.run, Run::No | Run::Made) {
            wait(slot, "ContainerCreating");
            plan.hands.push(Hand::Run(slot.spec.name.clone()));
        }
    }
    finish(view, plan, slots, initialized);
}

fn wait(slot: &mut Slot<'_>, why: &str) {
    if matches!(slot.run, Run::No | Run::Made) {
        slot.status.state = Some(waiting(why, ""));
        slot.status.ready = false;
    }
}

fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}

/// Restarts a container that has ended, if its policy says so and its pause is over.
fn restart(view: &View<'_>, plan: &mut Plan, slot: &mut Slot<'_>) {
    let Run::Over(e) = &slot.run else { return };
    let policy = view.spec.restart_policy.as_deref().unwrap_or("Always");
    let wanted = match (slot.role, policy) {
        (Role::Sidecar, _) => true,
        (_, "Never") => false,
        (Role::Main, "Always") => true,
        _ => !e.ok(),
    };
    if !wanted {
        return;
    }
    let name = &slot.spec.name;
    let calm = view.calm.get(name).copied().unwrap_or(0);
    let pause = if between(&e.started_at, &e.finished_at) >= backoff::CALM {
        plan.calmed.push((name.clone(), slot.status.restart_count));
        Duration::ZERO
    } else {
        backoff::pause(view.backoff, slot.status.restart_count - calm)
    };
    let left = pause.saturating_sub(between(&e.finished_at, &view.now.to_string()));
    slot.status.last_state = slot.status.state.take();
    if left.is_zero() {
        plan.hands.push(Hand::Keep(name.clone()));
        plan.hands.push(Hand::Run(name.clone()));
        slot.status.restart_count += 1;
        slot.status.container_id = None;
        let why = if slot.role == Role::Main {
            "ContainerCreating"
        } else {
            "PodInitializing"
        };
        slot.status.state = Some(waiting(why, ""));
    } else {
        plan.look_in(left);
        let message = format!(
            "back-off {}s restarting failed container={name} pod={}",
            pause.as_secs(),
            view.pod.metadata.name
        );
        slot.status.state = Some(waiting("CrashLoopBackOff", &message));
        let old = view.status.container(name).and_then(|c| c.state.as_ref());
        let told = old
            .and_then(|s| s.waiting.as_ref())
            .and_then(|w| w.reason.as_deref());
        if told != Some("CrashLoopBackOff") {
            plan.news.push((
                Level::Warning,
                "BackOff",
                format!("Back-off restarting failed container {name}"),
            ));
        }
    }
    slot.run = Run::Again;
}

/// The phase, and the end of a Pod whose containers have all ended.
fn finish(view: &View<'_>, plan: &mut Plan, slots: &[Slot<'_>], initialized: bool) {
    let mains: Vec<_> = slots.iter().filter(|s| s.role == Role::Main).collect();
    let over: Vec<(&str, &Ended)> = mains
        .iter()
        .filter_map(|s| match &s.run {
            Run::Over(e) => Some((s.spec.name.as_str(), e)),
            _ => None,
        })
        .collect();
    if over.len() < mains.len() {
        let waits = |s: &&Slot<'_>| {
            matches!(s.run, Run::No | Run::Made | Run::Held) && s.status.last_state.is_none()
        };
        plan.status.phase = if initialized && !mains.iter().any(waits) {
            Phase::Running
        } else {
            Phase::Pending
        };
        if let Some(limit) = view.spec.active_deadline_seconds
            && let Some(start) = &plan.status.start_time
        {
            let limit = Duration::from_secs(u64::try_from(limit).unwrap_or_default());
            let ran = between(start, &view.now.to_string());
            plan.look_in(limit.saturating_sub(ran));
        }
        return;
    }
    // Sidecars end after the containers they serve, and their end decides nothing.
    plan.hands.clear();
    plan.again = None;
    for slot in slots.iter().filter(|s| s.role != Role::Main) {
        if matches!(slot.run, Run::Live { .. }) {
            plan.hands.push(Hand::Stop(slot.spec.name.clone(), None));
        }
    }
    if !plan.hands.is_empty() {
        return;
    }
    match over.iter().find(|(_, e)| !e.ok()) {
        None => plan.status.phase = Phase::Succeeded,
        Some((name, e)) => {
            let (why, message) = said(view, name, e);
            plan.status.phase = Phase::Failed;
            plan.status.reason = why;
            plan.status.message = message;
        }
    }
}

/// Conditions, addresses and the containers' records.
fn write(view: &View<'_>, plan: &mut Plan, slots: Vec<Slot<'_>>) {
    let status = &mut plan.status;
    let terminal = status.phase.terminal();
    let mut unready = Vec::new();
    status.init_container_statuses.clear();
    status.container_statuses.clear();
    for mut slot in slots {
        slot.status.ready &= !terminal || slot.role == Role::Init;
        if !slot.status.ready && slot.role != Role::Init {
            unready.push(slot.spec.name.clone());
        }
        if slot.role == Role::Main {
            status.container_statuses.push(slot.status);
        } else {
            status.init_container_statuses.push(slot.status);
        }
    }
    let (why, message) = match (status.phase, unready.is_empty()) {
        (Phase::Succeeded, _) => ("PodCompleted", String::new()),
        (Phase::Failed, _) => ("PodFailed", String::new()),
        (_, true) => ("", String::new()),
        _ => (
            "ContainersNotReady",
            format!("containers with unready status: [{}]", unready.join(" ")),
        ),
    };
    let ready = why.is_empty();
    status.condition("ContainersReady", ready, why, &message);
    status.condition("Ready", ready, why, &message);
    if view.spec.node_name.is_some() {
        status.condition("PodScheduled", true, "", "");
    }
    if let Some(ip) = view.ip {
        status.pod_ip = Some(ip.to_string());
        status.pod_ips = vec![k8s_openapi::api::core::v1::PodIP { ip: ip.to_string() }];
        status.host_ip = view.host.map(|h| h.to_string());
    }
}
