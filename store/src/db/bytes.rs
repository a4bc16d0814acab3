//! The tables of the byte store, and its one writer: all that wait are committed together, with one fsync.

use std::{cell::Cell, path::Path};

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{mpsc, oneshot};
use xxhash_rust::xxh3::xxh3_64;

use super::{File, META, check_format, parse, row, storage};
use crate::{
    Error, Result,
    blob::rows::{Blob, Bucket, Part, Upload, Version},
};

/// Name -> bucket.
const BUCKETS: TableDefinition<&str, &[u8]> = TableDefinition::new("buckets");
/// (bucket, key, age) -> version. The age falls with every write, so that the newest version comes first.
const VERSIONS: TableDefinition<(&str, &[u8], u64), &[u8]> = TableDefinition::new("versions");
/// (bucket, key, upload id) -> upload.
const UPLOADS: TableDefinition<(&str, &[u8], &str), &[u8]> = TableDefinition::new("uploads");
/// (upload id, number) -> part.
const PARTS: TableDefinition<(&str, u32), &[u8]> = TableDefinition::new("parts");
/// Id -> blob.
const BLOBS: TableDefinition<&str, &[u8]> = TableDefinition::new("blobs");
/// Id -> xxh3 of the bytes, then the bytes of a small blob.
const INLINE: TableDefinition<&str, &[u8]> = TableDefinition::new("inline");
/// (room, key) -> a row of a room that keeps its own, such as the tracking of experiments. Keys: [`super::key`].
const RECORDS: TableDefinition<(&str, &[u8]), &[u8]> = TableDefinition::new("records");
/// Bucket -> bytes of all its versions and parts.
const USED: TableDefinition<&str, u64> = TableDefinition::new("used");

/// Writes that wait while the writer is busy; more callers wait for a place.
const QUEUE: usize = 1024;
/// Closures in one commit.
const BATCH: usize = 256;

/// What a scan does after a row.
pub(crate) enum Next {
    /// Goes on.
    On,
    /// Goes on at the first row of a key that is not less than this one.
    Seek(Vec<u8>),
    /// Ends.
    Stop,
}

/// The open database. Cheap to clone.
#[derive(Clone)]
pub(crate) struct BytesDb {
    file: File,
    queue: mpsc::Sender<Box<dyn Job>>,
}

trait Job: Send {
    /// Runs the closure. False when it wrote something and then failed: nothing of this commit may stay.
    fn run(&mut self, txn: &Tables) -> bool;
    fn done(self: Box<Self>, commit: Result<()>);
}

struct Closure<T, E, F> {
    f: Option<F>,
    out: Option<std::result::Result<T, E>>,
    reply: oneshot::Sender<std::result::Result<T, E>>,
}

impl<T, E, F> Job for Closure<T, E, F>
where
    T: Send,
    E: From<Error> + Send,
    F: FnOnce(&Tables) -> std::result::Result<T, E> + Send,
{
    fn run(&mut self, txn: &Tables) -> bool {
        let Some(f) = self.f.take() else { return true };
        txn.dirty.set(false);
        let out = f(txn);
        let clean = out.is_ok() || !txn.dirty.get();
        self.out = Some(out);
        clean
    }

    fn done(self: Box<Self>, commit: Result<()>) {
        let out = match (self.out, commit) {
            (Some(Err(e)), _) => Err(e),
            (_, Err(e)) => Err(e.into()),
            (Some(Ok(v)), Ok(())) => Ok(v),
            (None, Ok(())) => Err(Error::internal("a write was not run").into()),
        };
        // The caller may have gone away; its write stands all the same.
        let _ = self.reply.send(out);
    }
}

impl BytesDb {
    /// Opens or makes the file and starts the writer's thread.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        file.write(|txn| {
            check_format(&txn)?;
            txn.open_table(BUCKETS).map_err(storage)?;
            txn.open_table(VERSIONS).map_err(storage)?;
            txn.open_table(UPLOADS).map_err(storage)?;
            txn.open_table(PARTS).map_err(storage)?;
            txn.open_table(BLOBS).map_err(storage)?;
            txn.open_table(INLINE).map_err(storage)?;
            txn.open_table(USED).map_err(storage)?;
            txn.open_table(RECORDS).map_err(storage)?;
            Ok(((), Some(txn)))
        })?;
        let (queue, jobs) = mpsc::channel(QUEUE);
        let writer = file.clone();
        std::thread::Builder::new()
            .name("bytes-writer".into())
            .spawn(move || write_loop(&writer, jobs))
            .map_err(Error::internal)?;
        Ok(Self { file, queue })
    }

    /// Runs `f` on a snapshot. Blocking; keep it short: a held snapshot pins pages.
    pub(crate) fn read_now<T, E: From<Error>>(
        &self,
        f: impl FnOnce(&Tables) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let out = self.file.read(|txn| Ok(f(&Tables::new(Txn::Read(txn)))));
        out?
    }

    /// Runs `f` on a snapshot, off the async runtime.
    pub(crate) async fn read<T: Send + 'static, E: From<Error> + Send + 'static>(
        &self,
        f: impl FnOnce(&Tables) -> std::result::Result<T, E> + Send + 'static,
    ) -> std::result::Result<T, E> {
        let db = self.clone();
        let out = tokio::task::spawn_blocking(move || db.read_now(f)).await;
        out.map_err(Error::internal)?
    }

    /// Runs `f` in the writer's next commit, and answers when that is on the disk. `f` refuses before it writes.
    pub(crate) async fn write<T: Send + 'static, E: From<Error> + Send + 'static>(
        &self,
        f: impl FnOnce(&Tables) -> std::result::Result<T, E> + Send + 'static,
    ) -> std::result::Result<T, E> {
        let (reply, answer) = oneshot::channel();
        let job = Closure {
            f: Some(f),
            out: None,
            reply,
        };
        let stopped = || Error::internal("the writer of the byte store has stopped");
        if self.queue.send(Box::new(job)).await.is_err() {
            return Err(stopped().into());
        }
        answer.await.unwrap_or_else(|_| Err(stopped().into()))
    }
}

fn write_loop(file: &File, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
    while let Some(first) = jobs.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(job) = jobs.try_recv()
        {
            batch.push(job);
        }
        let commit = file.write(|txn| {
            let tables = Tables::new(Txn::Write(Box::new(txn)));
            let mut changed = false;
            for job in &mut batch {
                let whole = job.run(&tables);
                changed |= tables.dirty.get();
                if !whole {
                    return Err(Error::internal(
                        "a write failed half-way: its commit was dropped",
                    ));
                }
            }
            tables.into_write().map(|txn| ((), changed.then_some(txn)))
        });
        if let Err(e) = &commit {
            tracing::error!(context = e.context, "the byte store could not write: {e}");
            if let Err(e) = file.reopen() {
                tracing::error!(context = e.context, "the byte store stays closed: {e}");
            }
        }
        for job in batch {
            job.done(commit.clone());
        }
    }
}

enum Txn {
    Read(ReadTransaction),
    Write(Box<WriteTransaction>),
}

/// The tables, in a snapshot or in the writer's transaction.
pub(crate) struct Tables {
    txn: Txn,
    dirty: Cell<bool>,
}

/// Opens a table for reading in either kind of transaction.
macro_rules! look {
    ($self:ident, $table:expr, $t:ident => $do:expr) => {
        match &$self.txn {
            Txn::Read(txn) => {
                let $t = txn.open_table($table).map_err(storage)?;
                $do
            }
            Txn::Write(txn) => {
                let $t = txn.open_table($table).map_err(storage)?;
                $do
            }
        }
    };
}

/// A row by its key, when it is there.
macro_rules! fetch {
    ($self:ident, $table:expr, $key:expr, $what:expr) => {
        look!($self, $table, t => match t.get($key).map_err(storage)? {
            Some(bytes) => parse($what, bytes.value()).map(Some),
            None => Ok(None),
        })
    };
}

impl Tables {
    fn new(txn: Txn) -> Self {
        Self {
            txn,
            dirty: Cell::new(false),
        }
    }

    fn into_write(self) -> Result<WriteTransaction> {
        match self.txn {
            Txn::Write(txn) => Ok(*txn),
            Txn::Read(_) => Err(Error::internal("a snapshot cannot be committed")),
        }
    }

    fn writing(&self) -> Result<&WriteTransaction> {
        match &self.txn {
            Txn::Write(txn) => {
                self.dirty.set(true);
                Ok(txn)
            }
            Txn::Read(_) => Err(Error::internal("a snapshot cannot be written to")),
        }
    }

    fn put<K: redb::Key + 'static>(
        &self,
        table: TableDefinition<'_, K, &'static [u8]>,
        key: K::SelfType<'_>,
        value: &impl Serialize,
    ) -> Result<()> {
        let mut table = self.writing()?.open_table(table).map_err(storage)?;
        table.insert(key, row(value)?.as_slice()).map_err(storage)?;
        Ok(())
    }

    fn remove<K: redb::Key + 'static>(
        &self,
        table: TableDefinition<'_, K, &'static [u8]>,
        key: K::SelfType<'_>,
    ) -> Result<()> {
        let mut table = self.writing()?.open_table(table).map_err(storage)?;
        table.remove(key).map_err(storage)?;
        Ok(())
    }

    /// A number that was never given out before.
    pub(crate) fn next_number(&self) -> Result<u64> {
        let mut meta = self.writing()?.open_table(META).map_err(storage)?;
        let next = meta
            .get("number")
            .map_err(storage)?
            .map_or(0, |n| n.value())
            + 1;
        meta.insert("number", next).map_err(storage)?;
        Ok(next)
    }

    pub(crate) fn bucket(&self, name: &str) -> Result<Option<Bucket>> {
        fetch!(self, BUCKETS, name, || format!("bucket {name}"))
    }

    pub(crate) fn put_bucket(&self, name: &str, bucket: &Bucket) -> Result<()> {
        self.put(BUCKETS, name, bucket)
    }

    pub(crate) fn remove_bucket(&self, name: &str) -> Result<()> {
        self.remove(BUCKETS, name)
    }

    /// All buckets, by name.
    pub(crate) fn buckets(&self) -> Result<Vec<(String, Bucket)>> {
        look!(self, BUCKETS, t => {
            let mut all = Vec::new();
            for entry in t.iter().map_err(storage)? {
                let (name, bytes) = entry.map_err(storage)?;
                let name = name.value().to_owned();
                let bucket = parse(|| format!("bucket {name}"), bytes.value())?;
                all.push((name, bucket));
            }
            Ok(all)
        })
    }

    /// Bytes that a bucket holds, over all versions and parts.
    pub(crate) fn used(&self, bucket: &str) -> Result<u64> {
        look!(self, USED, t => Ok(t.get(bucket).map_err(storage)?.map_or(0, |n| n.value())))
    }

    /// Counts bytes to and from a bucket.
    pub(crate) fn count(&self, bucket: &str, more: u64, less: u64) -> Result<()> {
        let mut used = self.writing()?.open_table(USED).map_err(storage)?;
        let now = used.get(bucket).map_err(storage)?.map_or(0, |n| n.value());
        used.insert(bucket, now.saturating_add(more).saturating_sub(less))
            .map_err(storage)?;
        Ok(())
    }

    /// The newest version of a key.
    pub(crate) fn latest(&self, bucket: &str, key: &str) -> Result<Option<(u64, Version)>> {
        let mut found = None;
        self.scan_from(bucket, key.as_bytes(), 0, |at, age, version| {
            if at == key.as_bytes() {
                found = Some((age, version));
            }
            Ok(Next::Stop)
        })?;
        Ok(found)
    }

    /// One version of a key by its id.
    pub(crate) fn version(
        &self,
        bucket: &str,
        key: &str,
        id: &str,
    ) -> Result<Option<(u64, Version)>> {
        if let Some(age) = id.get(..16).and_then(|a| u64::from_str_radix(a, 16).ok()) {
            let found: Option<Version> =
                fetch!(self, VERSIONS, (bucket, key.as_bytes(), age), || {
                    format!("object {bucket}/{key}")
                })?;
            return Ok(found.filter(|v| v.id == id).map(|v| (age, v)));
        }
        let mut found = None;
        self.scan_from(bucket, key.as_bytes(), 0, |at, age, version| {
            if at != key.as_bytes() {
                return Ok(Next::Stop);
            }
            if version.id != id {
                return Ok(Next::On);
            }
            found = Some((age, version));
            Ok(Next::Stop)
        })?;
        Ok(found)
    }

    /// Visits versions in order of key, the newest of a key first, from this key and age on.
    pub(crate) fn scan_from(
        &self,
        bucket: &str,
        key: &[u8],
        age: u64,
        mut visit: impl FnMut(&[u8], u64, Version) -> Result<Next>,
    ) -> Result<()> {
        look!(self, VERSIONS, t => {
            let mut from = (key.to_vec(), age);
            'seek: loop {
                let range = t.range((bucket, from.0.as_slice(), from.1)..).map_err(storage)?;
                for entry in range {
                    let (at, bytes) = entry.map_err(storage)?;
                    let (in_bucket, key, age) = at.value();
                    if in_bucket != bucket {
                        break 'seek;
                    }
                    let what = || format!("object {bucket}/{}", String::from_utf8_lossy(key));
                    match visit(key, age, parse(what, bytes.value())?)? {
                        Next::On => {}
                        Next::Seek(to) => {
                            from = (to, 0);
                            continue 'seek;
                        }
                        Next::Stop => break 'seek,
                    }
                }
                break;
            }
            Ok(())
        })
    }

    pub(crate) fn put_version(&self, bucket: &str, key: &str, age: u64, v: &Version) -> Result<()> {
        self.put(VERSIONS, (bucket, key.as_bytes(), age), v)
    }

    pub(crate) fn remove_version(&self, bucket: &str, key: &str, age: u64) -> Result<()> {
        self.remove(VERSIONS, (bucket, key.as_bytes(), age))
    }

    pub(crate) fn upload(&self, bucket: &str, key: &str, id: &str) -> Result<Option<Upload>> {
        fetch!(self, UPLOADS, (bucket, key.as_bytes(), id), || format!(
            "upload {id}"
        ))
    }

    pub(crate) fn put_upload(&self, bucket: &str, key: &str, id: &str, u: &Upload) -> Result<()> {
        self.put(UPLOADS, (bucket, key.as_bytes(), id), u)
    }

    pub(crate) fn remove_upload(&self, bucket: &str, key: &str, id: &str) -> Result<()> {
        self.remove(UPLOADS, (bucket, key.as_bytes(), id))
    }

    /// A bucket's uploads in order of key and id, from after this one on; `visit` returns false to stop.
    pub(crate) fn uploads(
        &self,
        bucket: &str,
        after: (&[u8], &str),
        mut visit: impl FnMut(&[u8], &str, Upload) -> bool,
    ) -> Result<()> {
        look!(self, UPLOADS, t => {
            for entry in t.range((bucket, after.0, after.1)..).map_err(storage)? {
                let (at, bytes) = entry.map_err(storage)?;
                let (in_bucket, key, id) = at.value();
                if in_bucket != bucket {
                    break;
                }
                if (key, id) == after {
                    continue;
                }
                if !visit(key, id, parse(|| format!("upload {id}"), bytes.value())?) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// An upload's parts, by number.
    pub(crate) fn parts(&self, upload: &str) -> Result<Vec<(u32, Part)>> {
        look!(self, PARTS, t => {
            let mut all = Vec::new();
            for entry in t.range((upload, 0)..=(upload, u32::MAX)).map_err(storage)? {
                let (at, bytes) = entry.map_err(storage)?;
                let number = at.value().1;
                all.push((number, parse(|| format!("part {number} of {upload}"), bytes.value())?));
            }
            Ok(all)
        })
    }

    pub(crate) fn part(&self, upload: &str, number: u32) -> Result<Option<Part>> {
        fetch!(self, PARTS, (upload, number), || format!(
            "part {number} of {upload}"
        ))
    }

    pub(crate) fn put_part(&self, upload: &str, number: u32, part: &Part) -> Result<()> {
        self.put(PARTS, (upload, number), part)
    }

    pub(crate) fn remove_part(&self, upload: &str, number: u32) -> Result<()> {
        self.remove(PARTS, (upload, number))
    }

    pub(crate) fn blob(&self, id: &str) -> Result<Option<Blob>> {
        fetch!(self, BLOBS, id, || format!("blob {id}"))
    }

    pub(crate) fn put_blob(&self, id: &str, blob: &Blob) -> Result<()> {
        self.put(BLOBS, id, blob)
    }

    pub(crate) fn remove_blob(&self, id: &str) -> Result<()> {
        self.remove(BLOBS, id)?;
        self.remove(INLINE, id)
    }

    /// How many blobs there are.
    pub(crate) fn count_blobs(&self) -> Result<u64> {
        look!(self, BLOBS, t => redb::ReadableTableMetadata::len(&t).map_err(storage))
    }

    /// Visits blobs by id, from after this one on; `visit` returns false to stop.
    pub(crate) fn blobs(
        &self,
        after: &str,
        mut visit: impl FnMut(&str, Blob) -> bool,
    ) -> Result<()> {
        look!(self, BLOBS, t => {
            for entry in t.range(after..).map_err(storage)? {
                let (at, bytes) = entry.map_err(storage)?;
                let id = at.value();
                if id != after && !visit(id, parse(|| format!("blob {id}"), bytes.value())?) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// A small blob's bytes.
    pub(crate) fn inline(&self, id: &str) -> Result<Option<Vec<u8>>> {
        look!(self, INLINE, t => match t.get(id).map_err(storage)? {
            None => Ok(None),
            Some(stored) => match stored.value().split_at_checked(8) {
                Some((digest, bytes)) if digest == xxh3_64(bytes).to_le_bytes() => Ok(Some(bytes.to_vec())),
                _ => Err(Error::internal(format!("the stored bytes of blob {id} are damaged"))),
            },
        })
    }

    pub(crate) fn put_inline(&self, id: &str, bytes: &[u8]) -> Result<()> {
        let mut stored = xxh3_64(bytes).to_le_bytes().to_vec();
        stored.extend_from_slice(bytes);
        let mut table = self.writing()?.open_table(INLINE).map_err(storage)?;
        table.insert(id, stored.as_slice()).map_err(storage)?;
        Ok(())
    }

    /// A record by its key.
    pub(crate) fn record<T: DeserializeOwned>(&self, room: &str, key: &[u8]) -> Result<Option<T>> {
        fetch!(self, RECORDS, (room, key), || format!("record of {room}"))
    }

    pub(crate) fn put_record(&self, room: &str, key: &[u8], value: &impl Serialize) -> Result<()> {
        self.put(RECORDS, (room, key), value)
    }

    pub(crate) fn remove_record(&self, room: &str, key: &[u8]) -> Result<()> {
        self.remove(RECORDS, (room, key))
    }

    /// Visits a room's records whose keys start with this prefix, in order, from after `after` on; `visit` returns
    /// false to stop.
    pub(crate) fn records<T: DeserializeOwned>(
        &self,
        room: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        mut visit: impl FnMut(&[u8], T) -> bool,
    ) -> Result<()> {
        look!(self, RECORDS, t => {
            let from = after.unwrap_or(prefix);
            for entry in t.range((room, from)..).map_err(storage)? {
                let (at, bytes) = entry.map_err(storage)?;
                let (in_room, key) = at.value();
                if in_room != room || !key.starts_with(prefix) {
                    break;
                }
                if Some(key) != after
                    && !visit(key, parse(|| format!("record of {room}"), bytes.value())?)
                {
                    break;
                }
            }
            Ok(())
        })
    }
}
