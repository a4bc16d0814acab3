//! The verbs: get, list, create, modify, delete, watch; and the one writer that makes them atomic.
//!
//! Deletion, as a contract:
//! - An object without finalizers goes at once, with all it owns, in the same transaction: there is no moment
//!   when the owner is gone and a child is not known to be doomed.
//! - An object with finalizers gets a deletionTimestamp and stays until the last finalizer is removed by the
//!   room that put it there; then it goes. Its children are deleted when the delete is asked for.
//! - Deleting twice is the same as deleting once.

use std::{collections::HashMap, path::Path, sync::Arc};

use tokio::sync::{mpsc, oneshot};

use crate::{
    Code, Error, Kind, Object, Ref, Result, Selector,
    db::{Db, WriteTxn},
    log::{Event, EventType, Ring, Watch},
    now,
};

/// Writes that wait while the writer is busy; more callers wait for a place.
const QUEUE: usize = 1024;
/// Closures in one commit.
const BATCH: usize = 256;

/// The metadata store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    db: Db,
    ring: Arc<Ring>,
    queue: mpsc::Sender<Job>,
}

/// A list and the version it was taken at, to watch from.
#[derive(Debug, Default)]
pub struct List {
    /// In order of namespace and name.
    pub items: Vec<Object>,
    /// The snapshot's version.
    pub version: u64,
}

/// What becomes of the objects that a deleted object owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted with it.
    #[default]
    Cascade,
    /// They stay, without that owner.
    Orphan,
}

type Job = Box<dyn Run>;

/// One caller's closure with its answer channel.
trait Run: Send {
    /// Runs the closure; when it fails, what it wrote is dropped.
    fn run(&mut self, txn: &mut Txn<'_>);
    /// Tells the caller the outcome of the commit.
    fn done(self: Box<Self>, commit: Result<()>);
}

struct Closure<T, F> {
    f: Option<F>,
    out: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T: Send, F: FnOnce(&mut Txn<'_>) -> Result<T> + Send> Run for Closure<T, F> {
    fn run(&mut self, txn: &mut Txn<'_>) {
        if let Some(f) = self.f.take() {
            let out = f(txn);
            if out.is_err() || txn.discarded {
                txn.abandon();
            }
            self.out = Some(out);
        }
    }

    fn done(self: Box<Self>, commit: Result<()>) {
        let out = match (self.out, commit) {
            (Some(Err(e)), _) | (_, Err(e)) => Err(e),
            (Some(Ok(v)), Ok(())) => Ok(v),
            (None, Ok(())) => Err(Error::internal("a write was not run")),
        };
        // The caller may have gone away; its write stands all the same.
        let _ = self.reply.send(out);
    }
}

impl Store {
    /// Opens or creates the store in this file and starts its writer thread.
    ///
    /// # Errors
    /// When the file cannot be opened, is open elsewhere, is damaged, or has a format this build cannot read.
    pub fn open(path: &Path) -> Result<Self> {
        let db = Db::open(path)?;
        let version = db.read(|s| s.version())?;
        let ring = Arc::new(Ring::new(version));
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (writer_db, writer_ring) = (db.clone(), ring.clone());
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || write_loop(&writer_db, &writer_ring, jobs))
            .map_err(Error::internal)?;
        Ok(Self { db, ring, queue })
    }

    /// The version of the last committed change.
    pub fn version(&self) -> u64 {
        self.ring.version()
    }

    /// Follows all changes after `version`.
    pub fn watch(&self, version: u64) -> Watch {
        Watch::new(self.ring.clone(), self.db.clone(), version)
    }

    /// One object.
    ///
    /// # Errors
    /// When the store cannot be read or the row is damaged.
    pub async fn get(&self, r: &Ref) -> Result<Option<Object>> {
        let (db, r) = (self.db.clone(), r.clone());
        blocking(move || db.read(|s| s.get(&r))).await
    }

    /// One object that must be there.
    ///
    /// # Errors
    /// `NotFound`, or as [`Store::get`].
    pub async fn fetch(&self, r: &Ref) -> Result<Object> {
        self.get(r).await?.ok_or_else(|| missing(r))
    }

    /// All objects of a kind that the selector wants.
    ///
    /// # Errors
    /// When the store cannot be read or a row is damaged.
    pub async fn list(&self, kind: &'static Kind, selector: Selector) -> Result<List> {
        self.list_page(kind, selector, None, usize::MAX)
            .await
            .map(|(l, _)| l)
    }

    /// At most `limit` objects after a position; also returns the position to go on from, when there are more.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub async fn list_page(
        &self,
        kind: &'static Kind,
        selector: Selector,
        after: Option<(String, String)>,
        limit: usize,
    ) -> Result<(List, Option<(String, String)>)> {
        let db = self.db.clone();
        blocking(move || {
            db.read(|s| {
                let mut list = List {
                    items: Vec::new(),
                    version: s.version()?,
                };
                let mut more = false;
                let after = after
                    .as_ref()
                    .map(|(ns, name)| (ns.as_str(), name.as_str()));
                s.scan(kind, selector.namespace.as_deref(), after, |object| {
                    if selector.matches(&object) {
                        if list.items.len() == limit {
                            more = true;
                            return false;
                        }
                        list.items.push(object);
                    }
                    true
                })?;
                let next = match list.items.last() {
                    Some(o) if more => {
                        Some((o.metadata.namespace.clone(), o.metadata.name.clone()))
                    }
                    _ => None,
                };
                Ok((list, next))
            })
        })
        .await
    }

    /// The objects of a kind that this owner owns, without looking at any other object.
    ///
    /// # Errors
    /// When the store cannot be read or a row is damaged.
    pub async fn owned(&self, uid: &str, kind: &'static Kind) -> Result<Vec<Object>> {
        let (db, uid) = (self.db.clone(), uid.to_string());
        blocking(move || db.read(|s| s.owned(&uid, kind))).await
    }

    /// Creates an object; the answer has uid, version and times.
    ///
    /// # Errors
    /// `Invalid`, `AlreadyExists`, or a storage error.
    pub async fn create(&self, object: Object) -> Result<Object> {
        self.write(move |txn| txn.create(object)).await
    }

    /// Reads, changes and writes one object atomically. A closure that changes nothing writes nothing.
    ///
    /// # Errors
    /// `NotFound`, whatever the closure returns, `Invalid`, or a storage error.
    pub async fn modify(
        &self,
        r: &Ref,
        f: impl FnOnce(&mut Object) -> Result<()> + Send + 'static,
    ) -> Result<Object> {
        let r = r.clone();
        self.write(move |txn| txn.modify(&r, f)).await
    }

    /// Deletes an object as the contract above says; `None` when it was not there.
    ///
    /// # Errors
    /// A storage error.
    pub async fn delete(&self, r: &Ref) -> Result<Option<Object>> {
        let r = r.clone();
        self.write(move |txn| txn.delete(&r, Propagation::Cascade))
            .await
    }

    /// Runs a closure over the store: all it writes is committed together, or nothing when it fails.
    /// It runs on the writer thread: keep it short, no I/O.
    ///
    /// # Errors
    /// Whatever the closure returns, or a storage error.
    pub async fn write<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Txn<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let job = Closure {
            f: Some(f),
            out: None,
            reply,
        };
        let stopped = || Error::new(Code::Unavailable, "the store has closed");
        self.queue
            .send(Box::new(job))
            .await
            .map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

async fn blocking<T: Send + 'static>(f: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(f)
        .await
        .map_err(Error::internal)?
}

fn missing(r: &Ref) -> Error {
    Error::not_found(format!("{} \"{}\" not found", r.kind.resource(), r.name))
}

fn write_loop(db: &Db, ring: &Ring, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH {
            match jobs.try_recv() {
                Ok(job) => batch.push(job),
                Err(_) => break,
            }
        }
        let committed = db.write(|write| {
            let mut version = write.version()?;
            let mut events = Vec::new();
            for job in &mut batch {
                let mut txn = Txn::new(write, version);
                job.run(&mut txn);
                let (new, before) = txn.take();
                write.apply(&new, &before)?;
                version += new.len() as u64;
                events.extend(new);
            }
            if !events.is_empty() {
                write.finish(version)?;
            }
            Ok(events)
        });
        let outcome = match committed {
            Ok(events) => {
                ring.publish(events);
                Ok(())
            }
            Err(error) => {
                tracing::error!(context = error.context, "metadata commit failed: {error}");
                if let Err(again) = db.reopen() {
                    tracing::error!(
                        context = again.context,
                        "metadata store cannot be reopened: {again}"
                    );
                }
                Err(error)
            }
        };
        for job in batch {
            job.done(outcome.clone());
        }
    }
}

/// One closure's view of the store: reads see its own writes; nothing is visible to others before the commit.
pub struct Txn<'a> {
    write: &'a WriteTxn,
    version: u64,
    events: Vec<Event>,
    before: Vec<Option<Object>>,
    overlay: HashMap<Ref, Option<Object>>,
    discarded: bool,
}

impl<'a> Txn<'a> {
    fn new(write: &'a WriteTxn, version: u64) -> Self {
        Self {
            write,
            version,
            events: Vec::new(),
            before: Vec::new(),
            overlay: HashMap::new(),
            discarded: false,
        }
    }

    /// A dry run: the closure's answer counts, what it writes does not.
    pub fn discard(&mut self) {
        self.discarded = true;
    }

    /// The version that the next write gets: a number that no other write of this box has.
    pub fn next_version(&self) -> u64 {
        self.version + 1
    }

    fn abandon(&mut self) {
        self.events.clear();
        self.before.clear();
    }

    fn take(self) -> (Vec<Event>, Vec<Option<Object>>) {
        (self.events, self.before)
    }

    /// One object.
    ///
    /// # Errors
    /// When the row cannot be read.
    pub fn get(&self, r: &Ref) -> Result<Option<Object>> {
        match self.overlay.get(r) {
            Some(object) => Ok(object.clone()),
            None => self.write.get(r),
        }
    }

    /// One object that must be there.
    ///
    /// # Errors
    /// `NotFound`, or when the row cannot be read.
    pub fn fetch(&self, r: &Ref) -> Result<Object> {
        self.get(r)?.ok_or_else(|| missing(r))
    }

    /// Whether an object of the kind fits; sees committed rows and those of this closure.
    ///
    /// # Errors
    /// When a row cannot be read.
    pub fn find(
        &self,
        kind: &'static Kind,
        namespace: Option<&str>,
        wanted: impl Fn(&Object) -> bool,
    ) -> Result<Option<Object>> {
        let fresh = self.overlay.iter().find_map(|(r, o)| {
            o.as_ref().filter(|o| {
                r.kind.resource() == kind.resource()
                    && namespace.is_none_or(|ns| ns == r.namespace)
                    && wanted(o)
            })
        });
        if let Some(object) = fresh {
            return Ok(Some(object.clone()));
        }
        let mut found = None;
        self.write.scan(kind, namespace, |object| {
            let hidden = object
                .reference()
                .is_some_and(|r| self.overlay.contains_key(&r));
            if !hidden && wanted(&object) {
                found = Some(object);
            }
            found.is_none()
        })?;
        Ok(found)
    }

    /// All objects of the kind that fit, as [`Txn::find`] sees them; in no certain order.
    ///
    /// # Errors
    /// When a row cannot be read.
    pub fn list(
        &self,
        kind: &'static Kind,
        namespace: Option<&str>,
        wanted: impl Fn(&Object) -> bool,
    ) -> Result<Vec<Object>> {
        let mine = |r: &Ref| {
            r.kind.resource() == kind.resource() && namespace.is_none_or(|ns| ns == r.namespace)
        };
        let mut found: Vec<Object> = self
            .overlay
            .iter()
            .filter(|(r, _)| mine(r))
            .filter_map(|(_, o)| o.as_ref())
            .filter(|o| wanted(o))
            .cloned()
            .collect();
        self.write.scan(kind, namespace, |object| {
            let hidden = object
                .reference()
                .is_some_and(|r| self.overlay.contains_key(&r));
            if !hidden && wanted(&object) {
                found.push(object);
            }
            true
        })?;
        Ok(found)
    }

    fn record(
        &mut self,
        r: &Ref,
        event_type: EventType,
        mut object: Object,
        before: Option<Object>,
    ) -> Object {
        self.version += 1;
        object.metadata.resource_version = self.version;
        let old_labels = before
            .as_ref()
            .filter(|b| b.metadata.labels != object.metadata.labels)
            .map(|b| b.metadata.labels.clone());
        self.events.push(Event {
            version: self.version,
            event_type,
            object: object.clone(),
            old_labels,
        });
        self.before.push(before);
        let kept = (event_type != EventType::Deleted).then(|| object.clone());
        self.overlay.insert(r.clone(), kept);
        object
    }

    /// Creates an object.
    ///
    /// # Errors
    /// `Invalid` or `AlreadyExists`.
    pub fn create(&mut self, mut object: Object) -> Result<Object> {
        let kind = Kind::of(&object.api_version, &object.kind).ok_or_else(|| {
            Error::not_found(format!(
                "no kind \"{}\" in \"{}\" on this box",
                object.kind, object.api_version
            ))
        })?;
        let meta = &mut object.metadata;
        if meta.name.is_empty() {
            match &meta.generate_name {
                Some(prefix) if !prefix.is_empty() => {
                    let random = uuid::Uuid::new_v4().simple().to_string();
                    meta.name = format!("{prefix}{}", &random[..5]);
                }
                _ => {
                    return Err(Error::invalid(
                        "metadata.name: required (or metadata.generateName)",
                    ));
                }
            }
        }
        meta.uid.clear();
        meta.creation_timestamp = None;
        meta.deletion_timestamp = None;
        // An object without uid is a new one: kinds that start with a state of their own give it here.
        (kind.prepare)(&mut object)?;
        (kind.admit)(self, &mut object)?;
        let meta = &mut object.metadata;
        meta.uid = uuid::Uuid::new_v4().to_string();
        meta.generation = 1;
        meta.creation_timestamp = Some(now());
        kind.check(&object)?;
        let r = Ref::new(kind, &object.metadata.namespace, &object.metadata.name);
        if self.get(&r)?.is_some() {
            return Err(Error::new(
                Code::AlreadyExists,
                format!("{} \"{}\" already exists", kind.resource(), r.name),
            ));
        }
        Ok(self.record(&r, EventType::Added, object, None))
    }

    /// Reads, changes and writes one object. Identity fields cannot be changed; a changed `spec` (or any other
    /// field but metadata and status) raises the generation; the last finalizer gone completes a deletion.
    ///
    /// # Errors
    /// `NotFound`, whatever the closure returns, or `Invalid`.
    pub fn modify(&mut self, r: &Ref, f: impl FnOnce(&mut Object) -> Result<()>) -> Result<Object> {
        let before = self.fetch(r)?;
        let mut object = before.clone();
        f(&mut object)?;
        object.api_version.clone_from(&before.api_version);
        object.kind.clone_from(&before.kind);
        let (meta, old) = (&mut object.metadata, &before.metadata);
        meta.name.clone_from(&old.name);
        meta.namespace.clone_from(&old.namespace);
        meta.uid.clone_from(&old.uid);
        meta.creation_timestamp.clone_from(&old.creation_timestamp);
        meta.deletion_timestamp.clone_from(&old.deletion_timestamp);
        meta.generation = old.generation;
        meta.resource_version = old.resource_version;
        if object == before {
            return Ok(before);
        }
        if desired_changed(&before, &object) {
            (r.kind.prepare)(&mut object)?;
            object.metadata.generation += 1;
            r.kind.check(&object)?;
        }
        if object.deleting() && object.metadata.finalizers.is_empty() {
            return Ok(self.record(r, EventType::Deleted, object, Some(before)));
        }
        Ok(self.record(r, EventType::Modified, object, Some(before)))
    }

    /// Deletes an object; `None` when it was not there.
    ///
    /// # Errors
    /// When a row cannot be read.
    pub fn delete(&mut self, r: &Ref, propagation: Propagation) -> Result<Option<Object>> {
        let Some(before) = self.get(r)? else {
            return Ok(None);
        };
        let mut object = before.clone();
        let gone = if object.metadata.finalizers.is_empty() {
            self.record(r, EventType::Deleted, object, Some(before))
        } else if object.deleting() {
            return Ok(Some(object));
        } else {
            object.metadata.deletion_timestamp = Some(now());
            self.record(r, EventType::Modified, object, Some(before))
        };
        for child in self.children(&gone.metadata.uid)? {
            match propagation {
                Propagation::Cascade => {
                    self.delete(&child, propagation)?;
                }
                Propagation::Orphan => {
                    let uid = gone.metadata.uid.clone();
                    self.modify(&child, move |c| {
                        c.metadata.owner_references.retain(|o| o.uid != uid);
                        Ok(())
                    })?;
                }
            }
        }
        Ok(Some(gone))
    }

    fn children(&self, uid: &str) -> Result<Vec<Ref>> {
        let mut children: Vec<Ref> = Vec::new();
        for (resource, ns, name) in self.write.owned(uid)? {
            if let Some(kind) = Kind::all().find(|k| k.resource() == resource) {
                children.push(Ref::new(kind, &ns, &name));
            }
        }
        for (r, object) in &self.overlay {
            let owned = object
                .as_ref()
                .is_some_and(|o| o.metadata.owner_references.iter().any(|x| x.uid == uid));
            if owned && !children.contains(r) {
                children.push(r.clone());
            }
        }
        Ok(children)
    }
}

fn desired_changed(before: &Object, after: &Object) -> bool {
    let desired = |o: &Object| {
        let mut body = o.body.clone();
        body.remove("status");
        body
    };
    desired(before) != desired(after)
}
