//! One loop for all rooms: woken by change and by time, never told what changed.
//!
//! Guarantees: a key is looked at after every change that concerns it and once at start; one key is never in
//! two hands at once; changes that come while it is being looked at lead to one more look; a failed look is
//! repeated with growing pauses. A room gets only the key and must read the world itself.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use kfbox_store::{Code, Event, EventType, Kind, Ref, Result, Selector, Store};
use tokio::{sync::Notify, time::Instant};
use tracing::Instrument;

/// The longest pause between two looks at a key that keeps failing.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// The first pause.
const MIN_BACKOFF: Duration = Duration::from_millis(50);

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// When something changes.
    Wait,
    /// After this long, or when something changes.
    After(Duration),
}

/// A room: makes the world match one key's desired state, a little at a time.
#[async_trait]
pub trait Reconciler: Send + Sync + 'static {
    /// For logs.
    fn name(&self) -> &'static str;
    /// The kinds whose objects are looked at once at start.
    fn kinds(&self) -> Vec<&'static Kind>;
    /// Which keys this change concerns. Must be quick: it runs for every change.
    fn concerns(&self, event: &Event, wake: &mut dyn FnMut(Ref));
    /// Looks at one key. Run twice in a row, the second does nothing.
    async fn reconcile(&self, key: &Ref) -> Result<Action>;
}

/// Wakes keys of one room from outside the change log: engine events, timers.
#[derive(Clone)]
pub struct Waker(Arc<Queue>);

impl Waker {
    /// A room's queue, before the room runs.
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// Looks at this key soon.
    pub fn wake(&self, key: Ref) {
        self.0.add(key);
    }
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Ref>,
    /// In `ready`, or running and to be looked at again.
    dirty: HashSet<Ref>,
    running: HashSet<Ref>,
    timers: BTreeMap<(Instant, u64), Ref>,
    due: HashMap<Ref, (Instant, u64)>,
    failures: HashMap<Ref, u32>,
    counter: u64,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, key: Ref) {
        let mut state = self.lock();
        if state.dirty.insert(key.clone()) && !state.running.contains(&key) {
            state.ready.push_back(key);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// The next key, waiting for one.
    async fn next(&self) -> Ref {
        loop {
            let due = {
                let mut state = self.lock();
                state.ripen(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.dirty.remove(&key);
                    state.running.insert(key.clone());
                    if !state.ready.is_empty() {
                        self.changed.notify_one();
                    }
                    return key;
                }
                state.timers.keys().next().map(|(at, _)| *at)
            };
            match due {
                Some(at) => tokio::select! {
                    () = self.changed.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    fn done(&self, key: Ref, result: &Result<Action>) {
        let mut state = self.lock();
        state.running.remove(&key);
        let pause = match result {
            Ok(action) => {
                state.failures.remove(&key);
                match action {
                    Action::Wait => None,
                    Action::After(pause) => Some(*pause),
                }
            }
            Err(_) => {
                let failures = state.failures.entry(key.clone()).or_default();
                *failures += 1;
                let factor = 2_u32.saturating_pow((*failures - 1).min(16));
                Some(MIN_BACKOFF.saturating_mul(factor).min(MAX_BACKOFF))
            }
        };
        if let Some(old) = state.due.remove(&key) {
            state.timers.remove(&old);
        }
        if let Some(pause) = pause {
            state.counter += 1;
            let at = (Instant::now() + pause, state.counter);
            state.timers.insert(at, key.clone());
            state.due.insert(key.clone(), at);
        }
        if state.dirty.contains(&key) {
            state.ready.push_back(key);
        }
        drop(state);
        self.changed.notify_one();
    }
}

impl State {
    fn ripen(&mut self, now: Instant) {
        while let Some((&at, _)) = self.timers.first_key_value() {
            if at.0 > now {
                break;
            }
            if let Some(key) = self.timers.remove(&at) {
                self.due.remove(&key);
                if self.dirty.insert(key.clone()) && !self.running.contains(&key) {
                    self.ready.push_back(key);
                }
            }
        }
    }
}

/// A room with its queue and how many of its keys may be in hand at once.
pub struct Room {
    /// The room.
    pub reconciler: Arc<dyn Reconciler>,
    /// Its queue.
    pub waker: Waker,
    /// Keys in hand at once.
    pub workers: usize,
}

/// Runs all rooms until the store closes: seeds them with what is there, then follows the change log.
///
/// # Errors
/// When the store cannot be read.
pub async fn run(store: Store, rooms: Vec<Room>) -> Result<()> {
    let rooms = Arc::new(rooms);
    let mut watch = seed(&store, &rooms).await?;
    for room in rooms.iter() {
        for _ in 0..room.workers {
            tokio::spawn(work(room.reconciler.clone(), room.waker.0.clone()));
        }
    }
    loop {
        match watch.next().await {
            Ok(events) => {
                for event in events {
                    dispatch(&rooms, &event);
                }
            }
            Err(e) if e.code == Code::Gone => watch = seed(&store, &rooms).await?,
            Err(e) => return Err(e),
        }
    }
}

fn dispatch(rooms: &[Room], event: &Event) {
    for room in rooms {
        room.reconciler
            .concerns(event, &mut |key| room.waker.wake(key));
    }
}

async fn seed(store: &Store, rooms: &[Room]) -> Result<kfbox_store::Watch> {
    let from = store.version();
    for room in rooms {
        for kind in room.reconciler.kinds() {
            for object in store.list(kind, Selector::default()).await?.items {
                let event = Event {
                    version: object.metadata.resource_version,
                    event_type: EventType::Added,
                    object,
                    old_labels: None,
                };
                room.reconciler
                    .concerns(&event, &mut |key| room.waker.wake(key));
            }
        }
    }
    // Changes made while listing are looked at once more: harmless, by the rooms' own contract.
    Ok(store.watch(from))
}

async fn work(room: Arc<dyn Reconciler>, queue: Arc<Queue>) {
    loop {
        let key = queue.next().await;
        let span = tracing::debug_span!("reconcile", room = room.name(), object = %key);
        let result = room.reconcile(&key).instrument(span).await;
        if let Err(e) = &result {
            // Conflict and absence are the normal noise of a level-triggered loop.
            if e.retryable() && e.code != Code::Conflict {
                tracing::warn!(room = room.name(), object = %key, context = e.context, "will try again: {e}");
            } else {
                tracing::debug!(room = room.name(), object = %key, context = e.context, "will try again: {e}");
            }
        }
        queue.done(key, &result);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use kfbox_store::kinds::core::POD;

    fn key(name: &str) -> Ref {
        Ref::new(&POD, "kubeflow", name)
    }

    #[tokio::test(start_paused = true)]
    async fn one_key_in_one_hand_and_no_wake_is_lost() {
        let queue = Queue::default();
        queue.add(key("a"));
        queue.add(key("a"));
        let a = queue.next().await;
        queue.add(key("a"));
        queue.add(key("b"));
        assert_eq!(queue.next().await, key("b"), "a is in hand");
        queue.done(a, &Ok(Action::Wait));
        assert_eq!(queue.next().await, key("a"), "woken while in hand");
        queue.done(key("a"), &Ok(Action::After(Duration::from_secs(5))));
        let before = Instant::now();
        assert_eq!(queue.next().await, key("a"));
        assert_eq!(before.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_and_success_forgets_them() {
        let queue = Queue::default();
        queue.add(key("a"));
        let mut pauses = Vec::new();
        let mut k = queue.next().await;
        for _ in 0..12 {
            let before = Instant::now();
            queue.done(k, &Err(kfbox_store::Error::internal("x")));
            k = queue.next().await;
            pauses.push(before.elapsed());
        }
        assert!(pauses.is_sorted());
        assert!(pauses[0] < Duration::from_millis(60) && pauses[11] >= MAX_BACKOFF);
        queue.done(k, &Ok(Action::Wait));
        assert!(queue.lock().failures.is_empty());
    }
}
