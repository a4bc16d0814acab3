//! Follows the engine's events, survives its restarts, and remembers what tells an interrupted container from
//! one that failed by itself.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bollard::{models::EventMessageTypeEnum, query_parameters as query};
use futures::{
    StreamExt,
    stream::{BoxStream, Stream},
};

use super::{address::Address, pod_of};
use crate::driver::Change;

/// Signals and outages kept in memory.
const KEPT: usize = 4096;
/// Exit codes of SIGKILL and SIGTERM, and what the engine writes when it lost a container.
const SIGNAL_CODES: [i32; 3] = [137, 143, 255];
/// Between two looks at an engine that does not answer.
const KNOCK: Duration = Duration::from_millis(300);
/// How much earlier than its last answer an engine may have begun to stop its containers.
const STOPPING: Duration = Duration::from_secs(20);

/// What was seen of the engine that a later inspect does not show.
///
/// A container counts as interrupted when somebody else than this daemon signalled it, when it ended badly while
/// the engine was away, or when it ended with a signal's exit code while nobody watched. A signal's exit code
/// alone proves nothing: a step may kill itself, and would be run again for ever. The pod room overrides this
/// for containers it stopped itself.
#[derive(Default)]
pub(super) struct Witness {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Since when signals are seen.
    since: Option<jiff::Timestamp>,
    signalled: VecDeque<String>,
    oom: VecDeque<String>,
    outages: VecDeque<(jiff::Timestamp, jiff::Timestamp)>,
}

impl Witness {
    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signalled(&self, id: &str) {
        keep(&mut self.lock().signalled, id);
    }

    /// A container went past its memory limit. The engine may record its end first and then forget to say so.
    fn out_of_memory(&self, id: &str) {
        keep(&mut self.lock().oom, id);
    }

    pub(super) fn oom(&self, id: &str) -> bool {
        self.lock().oom.iter().any(|s| s == id)
    }

    /// Whether there is an explanation for its end by SIGKILL.
    pub(super) fn knows_why(&self, id: &str) -> bool {
        let seen = self.lock();
        let mut known = seen.oom.iter().chain(&seen.signalled);
        known.any(|s| s == id)
    }

    fn outage(&self, from: jiff::Timestamp, to: jiff::Timestamp) {
        let mut seen = self.lock();
        if seen.outages.len() == KEPT {
            seen.outages.pop_front();
        }
        seen.outages.push_back((from, to));
    }

    pub(super) fn interrupted(&self, id: &str, code: i32, finished_at: &str) -> bool {
        let seen = self.lock();
        if seen.signalled.iter().any(|s| s == id) {
            return true;
        }
        let Ok(at) = finished_at.parse::<jiff::Timestamp>() else {
            return SIGNAL_CODES.contains(&code);
        };
        let unwatched = seen.since.is_none_or(|since| at < since);
        SIGNAL_CODES.contains(&code) && unwatched
            || code != 0
                && seen
                    .outages
                    .iter()
                    .any(|(from, to)| (*from..=*to).contains(&at))
    }

    fn watching(&self) {
        self.lock().since.get_or_insert_with(jiff::Timestamp::now);
    }
}

fn keep(ids: &mut VecDeque<String>, id: &str) {
    if ids.len() == KEPT {
        ids.pop_front();
    }
    ids.push_back(id.into());
}

/// All changes for as long as anybody listens.
pub(super) fn follow(
    address: Address,
    filters: HashMap<String, Vec<String>>,
    witness: std::sync::Arc<Witness>,
) -> BoxStream<'static, Change> {
    let (tx, rx) = tokio::sync::mpsc::channel(1024);
    tokio::spawn(async move {
        let mut down_since = None;
        while !tx.is_closed() {
            if let Ok(docker) = address.client()
                && tokio::time::timeout(Duration::from_secs(5), docker.ping())
                    .await
                    .is_ok_and(|pong| pong.is_ok())
            {
                // Listen first, then tell that everything may have changed: nothing falls between.
                let options = query::EventsOptionsBuilder::default()
                    .filters(&filters)
                    .build();
                let mut events = docker.events(Some(options));
                witness.watching();
                if let Some(from) = down_since.take() {
                    witness.outage(from, jiff::Timestamp::now());
                    tracing::info!("the container engine answers again");
                }
                if tx.send(Change::Up).await.is_err() {
                    return;
                }
                pump(&mut events, &tx, &witness).await;
            }
            if down_since.is_none() {
                let now = jiff::Timestamp::now();
                down_since = Some(now.checked_sub(STOPPING).unwrap_or(now));
                tracing::warn!("the container engine does not answer");
                if tx.send(Change::Down).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(KNOCK).await;
        }
    });
    received(rx).boxed()
}

fn received<T>(rx: tokio::sync::mpsc::Receiver<T>) -> impl Stream<Item = T> {
    futures::stream::unfold(rx, |mut rx| async move {
        rx.recv().await.map(|item| (item, rx))
    })
}

async fn pump(
    events: &mut (
             impl Stream<Item = Result<bollard::models::EventMessage, bollard::errors::Error>> + Unpin
         ),
    tx: &tokio::sync::mpsc::Sender<Change>,
    witness: &Witness,
) {
    while let Some(Ok(event)) = events.next().await {
        if event.typ != Some(EventMessageTypeEnum::CONTAINER) {
            continue;
        }
        let actor = event.actor.unwrap_or_default();
        match event.action.as_deref() {
            Some("oom") => {
                witness.out_of_memory(&actor.id.unwrap_or_default());
                let pod = pod_of(&actor.attributes.unwrap_or_default());
                if tx.send(Change::Oom(pod)).await.is_err() {
                    return;
                }
            }
            Some("kill") => witness.signalled(&actor.id.unwrap_or_default()),
            Some("die" | "start" | "destroy") => {
                let pod = pod_of(&actor.attributes.unwrap_or_default());
                if tx.send(Change::Pod(pod)).await.is_err() {
                    return;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_interrupted() {
        let witness = Witness::default();
        let at = "2026-01-01T00:00:10Z";
        assert!(!witness.interrupted("a", 0, at));
        assert!(!witness.interrupted("a", 1, at));
        assert!(
            witness.interrupted("a", 137, at),
            "killed while nobody watched"
        );
        witness.watching();
        assert!(witness.interrupted("a", 137, at), "killed before");
        assert!(
            !witness.interrupted("a", 137, "2999-01-01T00:00:00Z"),
            "killed, and nobody outside did it"
        );
        witness.signalled("a");
        assert!(
            witness.interrupted("a", 0, at),
            "ended early because it was told to"
        );
        let second = |s: i64| jiff::Timestamp::from_second(1_767_225_600 + s).unwrap_or_default();
        witness.outage(second(5), second(15));
        assert!(
            witness.interrupted("b", 1, at),
            "failed while the engine went away"
        );
        assert!(!witness.interrupted("b", 1, "2026-01-01T00:00:20Z"));
        assert!(!witness.interrupted("b", 0, at), "finished in time");
    }
}
