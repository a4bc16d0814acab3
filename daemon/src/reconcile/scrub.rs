//! The scrub room: reads all stored bytes for each Scrub, and sees to it that there is one each week.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use async_trait::async_trait;
use kfbox_store::{
    Code, Event, Kind, Object, Ref, Result, Selector,
    kinds::storage::{SCRUB, ScrubStatus},
    now,
};

use super::Ctx;
use crate::controller::{Action, Reconciler};

/// Between two Scrubs that the box makes by itself, in days.
const EVERY: i64 = 7;
/// Scrubs of the past that are kept.
const KEPT: usize = 8;
/// How often it is told how far a Scrub is.
const PROGRESS: Duration = Duration::from_secs(2);

/// The room.
pub struct Scrubs(pub Ctx);

#[async_trait]
impl Reconciler for Scrubs {
    fn name(&self) -> &'static str {
        "scrub"
    }

    fn kinds(&self) -> Vec<&'static Kind> {
        vec![&SCRUB]
    }

    fn concerns(&self, event: &Event, wake: &mut dyn FnMut(Ref)) {
        let object = &event.object;
        if object.kind == SCRUB.kind && !event.deleted() {
            wake(Ref::new(&SCRUB, "", &object.metadata.name));
        }
    }

    async fn reconcile(&self, key: &Ref) -> Result<Action> {
        let Some(object) = self.0.store.get(key).await? else {
            return Ok(Action::Wait);
        };
        if object.status::<ScrubStatus>()?.finish_time.is_some() {
            return Ok(Action::Wait);
        }
        let (checked, total) = (AtomicU64::new(0), AtomicU64::new(0));
        let progress = |n, of| {
            checked.store(n, Relaxed);
            total.store(of, Relaxed);
        };
        let scrub = self.0.blobs.scrub(progress);
        tokio::pin!(scrub);
        let found = loop {
            tokio::select! {
                found = &mut scrub => break found,
                () = tokio::time::sleep(PROGRESS) => {
                    let (checked, total) = (checked.load(Relaxed), total.load(Relaxed));
                    let status = ScrubStatus { checked, total, ..ScrubStatus::default() };
                    if !self.tell(key, status).await? {
                        // Deleted: nobody waits for the rest.
                        return Ok(Action::Wait);
                    }
                }
            }
        };
        let mut status = ScrubStatus {
            checked: checked.load(Relaxed),
            total: total.load(Relaxed),
            finish_time: Some(now()),
            ..ScrubStatus::default()
        };
        match found {
            Ok(damaged) => status.damaged = damaged,
            Err(e) => {
                tracing::error!(context = e.context, "a scrub was not finished: {e}");
                status.message = e.message;
            }
        }
        self.tell(key, status).await?;
        Ok(Action::Wait)
    }
}

impl Scrubs {
    /// Writes the status; false when the Scrub is gone.
    async fn tell(&self, key: &Ref, status: ScrubStatus) -> Result<bool> {
        let told = self.0.store.modify(key, move |o| o.set("status", &status));
        match told.await {
            Ok(_) => Ok(true),
            Err(e) if e.code == Code::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// Makes this week's Scrub unless there is one, and removes those of long ago.
///
/// # Errors
/// When the store does not answer.
pub async fn weekly(ctx: &Ctx) -> Result<()> {
    let mut all = ctx.store.list(&SCRUB, Selector::default()).await?.items;
    all.sort_by(|a, b| {
        b.metadata
            .creation_timestamp
            .cmp(&a.metadata.creation_timestamp)
    });
    for old in all.iter().skip(KEPT) {
        if let Some(key) = old.reference() {
            ctx.store.delete(&key).await?;
        }
    }
    let newest = all
        .first()
        .and_then(|o| o.metadata.creation_timestamp.clone());
    let age = newest.and_then(|at| at.parse::<jiff::Timestamp>().ok());
    let age = age.map(|at| jiff::Timestamp::now().duration_since(at).as_hours() / 24);
    if age.is_some_and(|days| days < EVERY) {
        return Ok(());
    }
    let name = format!("weekly-{}", &now()[..10]);
    match ctx.store.create(Object::new(&SCRUB, "", &name)).await {
        Err(e) if e.code != Code::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}
