//! The change log: every write is an event with the next version. Watchers first read what they missed from
//! disk, then follow a bounded ring in memory; a watcher too slow for the ring falls back to disk, and one too
//! old for the disk is told to list again. The writer never waits for a watcher.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{Code, Error, Object, Result, db::Db};

/// What happened to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EventType {
    /// Created.
    Added,
    /// Changed.
    Modified,
    /// Gone; the event holds its last state.
    Deleted,
}

/// One change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// The object's resourceVersion after the change; unique and growing over the whole store.
    pub version: u64,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// The object after the change.
    pub object: Object,
    /// Its labels before, when they differ: a watch with a selector must say DELETED when an object leaves its view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_labels: Option<BTreeMap<String, String>>,
}

impl Event {
    /// Whether the object is gone.
    pub fn deleted(&self) -> bool {
        self.event_type == EventType::Deleted
    }
}

/// Events kept in memory.
const RING_EVENTS: usize = 1024;
/// Read from disk at a time by a watcher that fell behind.
const CHUNK: usize = 256;

/// The newest events, shared by the writer and all watchers.
pub(crate) struct Ring {
    events: Mutex<VecDeque<Arc<Event>>>,
    version: watch::Sender<u64>,
}

impl Ring {
    pub(crate) fn new(version: u64) -> Self {
        Self {
            events: Mutex::new(VecDeque::new()),
            version: watch::Sender::new(version),
        }
    }

    pub(crate) fn version(&self) -> u64 {
        *self.version.borrow()
    }

    /// Called by the writer after the commit, in order.
    pub(crate) fn publish(&self, new: Vec<Event>) {
        let Some(last) = new.last().map(|e| e.version) else {
            return;
        };
        {
            let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
            events.extend(new.into_iter().map(Arc::new));
            let excess = events.len().saturating_sub(RING_EVENTS);
            events.drain(..excess);
        }
        self.version.send_replace(last);
    }

    /// The events after `version`, when the ring still holds all of them.
    fn after(&self, version: u64) -> Option<Vec<Arc<Event>>> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let first = events.front()?.version;
        if first > version + 1 {
            return None;
        }
        let skip = events.partition_point(|e| e.version <= version);
        Some(events.iter().skip(skip).take(CHUNK).cloned().collect())
    }
}

/// A position in the change log that moves forward.
pub struct Watch {
    ring: Arc<Ring>,
    db: Db,
    wake: watch::Receiver<u64>,
    /// The last version seen.
    version: u64,
}

impl Watch {
    pub(crate) fn new(ring: Arc<Ring>, db: Db, version: u64) -> Self {
        Self {
            wake: ring.version.subscribe(),
            ring,
            db,
            version,
        }
    }

    /// The last version this watch has returned, or started from.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Waits for changes and returns some of them, in order, at least one. Safe to drop at any await.
    ///
    /// # Errors
    /// `Gone` when changes after this position left the log: list again. `Unavailable` when the store closed.
    pub async fn next(&mut self) -> Result<Vec<Arc<Event>>> {
        loop {
            let known = *self.wake.borrow_and_update();
            if known > self.version {
                let events = match self.ring.after(self.version) {
                    Some(events) => events,
                    None => self.read_disk().await?,
                };
                if let Some(last) = events.last() {
                    self.version = last.version;
                    return Ok(events);
                }
                self.version = known;
            }
            if self.wake.changed().await.is_err() {
                return Err(Error::new(Code::Unavailable, "the store has closed"));
            }
        }
    }

    async fn read_disk(&self) -> Result<Vec<Arc<Event>>> {
        let (db, from) = (self.db.clone(), self.version + 1);
        tokio::task::spawn_blocking(move || {
            db.read(|snapshot| {
                if snapshot.log_start()? > from {
                    return Err(Error::new(
                        Code::Gone,
                        format!("resourceVersion {} is too old: list again", from - 1),
                    ));
                }
                Ok(snapshot
                    .events(from, CHUNK)?
                    .into_iter()
                    .map(Arc::new)
                    .collect())
            })
        })
        .await
        .map_err(Error::internal)?
    }
}
