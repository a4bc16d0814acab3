//! The only folder that names redb: files, rows, and here the tables of objects: one write transaction, short
//! read snapshots. [`bytes`] has the tables of the byte store, which are a file of their own.
//!
//! A row is one byte of format version, eight bytes of xxh3 over the rest, then JSON. redb does not verify its
//! checksums on ordinary reads, so each row carries its own and damage is seen when it is read.

pub(crate) mod bytes;
pub(crate) mod key;

use std::{
    cell::Cell,
    path::Path,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use redb::{
    Builder, Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    TableDefinition, WriteTransaction,
};
use serde::{Serialize, de::DeserializeOwned};
use xxhash_rust::xxh3::xxh3_64;

use crate::{Code, Error, Kind, Object, Ref, Result, log::Event};

/// The format of rows and tables this build writes.
pub const FORMAT: u64 = 1;
/// The oldest format this build can still read.
pub const MIN_FORMAT: u64 = 1;

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// (resource, namespace, name)
type ObjectKey = (&'static str, &'static str, &'static str);
/// Address -> row of the object.
const OBJECTS: TableDefinition<(&str, &str, &str), &[u8]> = TableDefinition::new("objects");
/// (owner uid, resource, namespace, name): what goes when the owner goes.
const OWNED: TableDefinition<(&str, &str, &str, &str), ()> = TableDefinition::new("owned");
/// resourceVersion -> row of the event.
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");

/// Events kept for watchers that come back after a while; older ones answer 410 Gone.
const LOG_KEPT: u64 = 20_000;
/// Bytes of pages redb may cache: the box's metadata is small, its promise of memory is too.
const CACHE_BYTES: usize = 16 << 20;
/// Sorts after every name that the envelope's check lets in.
const LAST: &str = "\u{10ffff}";

/// An open database file. Cheap to clone; the handle inside can be replaced after an I/O error.
#[derive(Clone)]
pub(crate) struct File {
    inner: Arc<RwLock<Option<Database>>>,
    path: Arc<Path>,
}

impl File {
    fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            inner: Arc::new(RwLock::new(Some(Self::database(path)?))),
            path: path.into(),
        })
    }

    fn database(path: &Path) -> Result<Database> {
        Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(storage)
    }

    /// After an I/O error redb refuses all further use of a handle: waits for readers, opens the file anew.
    pub(crate) fn reopen(&self) -> Result<()> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        *inner = None;
        *inner = Some(Self::database(&self.path)?);
        Ok(())
    }

    fn handle(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `f` on a snapshot, and keeps the file from being reopened meanwhile.
    fn read<T>(&self, f: impl FnOnce(ReadTransaction) -> Result<T>) -> Result<T> {
        let guard = self.handle();
        let database = guard.as_ref().ok_or_else(closed)?;
        f(database.begin_read().map_err(storage)?)
    }

    /// Runs `f` in a write transaction and commits durably what it gives back; rolls back when it fails, and when
    /// it gives back nothing as nothing has changed: a commit costs an fsync.
    fn write<T>(
        &self,
        f: impl FnOnce(WriteTransaction) -> Result<(T, Option<WriteTransaction>)>,
    ) -> Result<T> {
        let guard = self.handle();
        let database = guard.as_ref().ok_or_else(closed)?;
        match f(database.begin_write().map_err(storage)?)? {
            (out, Some(txn)) => txn.commit().map_err(storage).map(|()| out),
            (out, None) => Ok(out),
        }
    }
}

/// The open database of objects. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Db {
    file: File,
}

pub(crate) fn storage(e: impl Into<redb::Error>) -> Error {
    let e: redb::Error = e.into();
    match &e {
        redb::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => Error::new(
            Code::StorageFull,
            "the disk of the box is full: nothing was changed; free some space and try again",
        )
        .because(e),
        redb::Error::DatabaseAlreadyOpen => Error::new(
            Code::Unavailable,
            "another kfbox daemon has this data folder open",
        )
        .because(e),
        _ => Error::new(
            Code::Unavailable,
            "the box cannot reach its metadata now; its log has the cause",
        )
        .because(e),
    }
}

/// Notes the format of a new file, refuses one that this build cannot read.
fn check_format(write: &WriteTransaction) -> Result<()> {
    let mut meta = write.open_table(META).map_err(storage)?;
    let format = meta.get("format").map_err(storage)?.map(|v| v.value());
    match format {
        None => {
            meta.insert("format", FORMAT).map_err(storage)?;
            Ok(())
        }
        Some(f) if (MIN_FORMAT..=FORMAT).contains(&f) => Ok(()),
        Some(f) => Err(Error::new(
            Code::Unsupported,
            format!(
                "this data folder has format {f}, this kfbox reads {MIN_FORMAT} to {FORMAT}: use the kfbox that wrote it, or a newer one"
            ),
        )),
    }
}

impl Db {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        file.write(|txn| {
            check_format(&txn)?;
            txn.open_table(OBJECTS).map_err(storage)?;
            txn.open_table(OWNED).map_err(storage)?;
            txn.open_table(LOG).map_err(storage)?;
            Ok(((), Some(txn)))
        })?;
        Ok(Self { file })
    }

    pub(crate) fn reopen(&self) -> Result<()> {
        self.file.reopen()
    }

    /// Runs `f` on a snapshot. Keep it short: a held snapshot pins pages.
    pub(crate) fn read<T>(&self, f: impl FnOnce(&Snapshot) -> Result<T>) -> Result<T> {
        self.file.read(|txn| f(&Snapshot { txn }))
    }

    /// Runs `f` in a write transaction and commits durably; rolls back when `f` fails.
    pub(crate) fn write<T>(&self, f: impl FnOnce(&WriteTxn) -> Result<T>) -> Result<T> {
        self.file.write(|txn| {
            let write = WriteTxn {
                txn,
                changed: Cell::new(false),
            };
            let out = f(&write)?;
            Ok((out, write.changed.get().then_some(write.txn)))
        })
    }
}

fn closed() -> Error {
    Error::new(Code::Unavailable, "the metadata store is not open")
}

fn row(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = vec![0_u8; 9];
    serde_json::to_writer(&mut bytes, value).map_err(Error::internal)?;
    let digest = xxh3_64(&bytes[9..]);
    bytes[0] = FORMAT as u8;
    bytes[1..9].copy_from_slice(&digest.to_le_bytes());
    Ok(bytes)
}

fn parse<T: DeserializeOwned>(what: impl FnOnce() -> String, bytes: &[u8]) -> Result<T> {
    let damaged =
        |why: &str| Error::internal(format!("the stored row of {} is damaged: {why}", what()));
    let digest: [u8; 8] = match bytes.get(1..9).map(TryInto::try_into) {
        Some(Ok(d)) => d,
        _ => return Err(damaged("too short")),
    };
    let body = &bytes[9..];
    if xxh3_64(body) != u64::from_le_bytes(digest) {
        return Err(damaged("its digest differs"));
    }
    serde_json::from_slice(body).map_err(|e| damaged(&e.to_string()))
}

fn parse_object(key: (&str, &str, &str), bytes: &[u8]) -> Result<Object> {
    parse(|| format!("{}/{}/{}", key.0, key.1, key.2), bytes)
}

/// A consistent view for reading.
pub(crate) struct Snapshot {
    txn: ReadTransaction,
}

impl Snapshot {
    fn objects(&self) -> Result<ReadOnlyTable<ObjectKey, &'static [u8]>> {
        self.txn.open_table(OBJECTS).map_err(storage)
    }

    pub(crate) fn version(&self) -> Result<u64> {
        let meta = self.txn.open_table(META).map_err(storage)?;
        Ok(meta.get("rv").map_err(storage)?.map_or(0, |v| v.value()))
    }

    pub(crate) fn get(&self, r: &Ref) -> Result<Option<Object>> {
        let resource = r.kind.resource();
        let key = (resource.as_str(), r.namespace.as_str(), r.name.as_str());
        match self.objects()?.get(key).map_err(storage)? {
            Some(bytes) => Ok(Some(parse_object(key, bytes.value())?)),
            None => Ok(None),
        }
    }

    /// Visits the objects of a kind in order of namespace and name; `visit` returns false to stop.
    pub(crate) fn scan(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        after: Option<(&str, &str)>,
        mut visit: impl FnMut(Object) -> bool,
    ) -> Result<()> {
        let resource = kind.resource();
        let low = after.unwrap_or((namespace.unwrap_or(""), ""));
        let high = namespace.unwrap_or(LAST);
        let table = self.objects()?;
        let range = table
            .range((resource.as_str(), low.0, low.1)..=(resource.as_str(), high, LAST))
            .map_err(storage)?;
        for entry in range {
            let (key, bytes) = entry.map_err(storage)?;
            let key = key.value();
            if after == Some((key.1, key.2)) {
                continue;
            }
            if !visit(parse_object(key, bytes.value())?) {
                break;
            }
        }
        Ok(())
    }

    /// The objects of a kind owned by this uid, by way of the owner index.
    pub(crate) fn owned(&self, uid: &str, kind: &'static Kind) -> Result<Vec<Object>> {
        let index = self.txn.open_table(OWNED).map_err(storage)?;
        let resource = kind.resource();
        let range = index
            .range((uid, resource.as_str(), "", "")..=(uid, resource.as_str(), LAST, LAST))
            .map_err(storage)?;
        let mut found = Vec::new();
        for entry in range {
            let (key, _) = entry.map_err(storage)?;
            let (_, _, ns, name) = key.value();
            found.extend(self.get(&Ref::new(kind, ns, name))?);
        }
        Ok(found)
    }

    /// The first version that the log still holds, or the next one to come when it is empty.
    pub(crate) fn log_start(&self) -> Result<u64> {
        let log = self.txn.open_table(LOG).map_err(storage)?;
        match log.first().map_err(storage)? {
            Some((version, _)) => Ok(version.value()),
            None => Ok(self.version()? + 1),
        }
    }

    pub(crate) fn events(&self, from: u64, max: usize) -> Result<Vec<Event>> {
        let log = self.txn.open_table(LOG).map_err(storage)?;
        let mut events = Vec::new();
        for entry in log.range(from..).map_err(storage)?.take(max) {
            let (version, bytes) = entry.map_err(storage)?;
            events.push(parse(
                || format!("change {}", version.value()),
                bytes.value(),
            )?);
        }
        Ok(events)
    }
}

/// One write transaction of the writer thread.
pub(crate) struct WriteTxn {
    txn: WriteTransaction,
    changed: Cell<bool>,
}

impl WriteTxn {
    pub(crate) fn version(&self) -> Result<u64> {
        let meta = self.txn.open_table(META).map_err(storage)?;
        Ok(meta.get("rv").map_err(storage)?.map_or(0, |v| v.value()))
    }

    pub(crate) fn get(&self, r: &Ref) -> Result<Option<Object>> {
        let resource = r.kind.resource();
        let key = (resource.as_str(), r.namespace.as_str(), r.name.as_str());
        let table = self.txn.open_table(OBJECTS).map_err(storage)?;
        match table.get(key).map_err(storage)? {
            Some(bytes) => Ok(Some(parse_object(key, bytes.value())?)),
            None => Ok(None),
        }
    }

    pub(crate) fn scan(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        mut visit: impl FnMut(Object) -> bool,
    ) -> Result<()> {
        let resource = kind.resource();
        let table = self.txn.open_table(OBJECTS).map_err(storage)?;
        let range = table
            .range(
                (resource.as_str(), namespace.unwrap_or(""), "")
                    ..=(resource.as_str(), namespace.unwrap_or(LAST), LAST),
            )
            .map_err(storage)?;
        for entry in range {
            let (key, bytes) = entry.map_err(storage)?;
            if !visit(parse_object(key.value(), bytes.value())?) {
                break;
            }
        }
        Ok(())
    }

    /// What this owner owns, as (resource, namespace, name).
    pub(crate) fn owned(&self, uid: &str) -> Result<Vec<(String, String, String)>> {
        let table = self.txn.open_table(OWNED).map_err(storage)?;
        let mut found = Vec::new();
        for entry in table
            .range((uid, "", "", "")..=(uid, LAST, LAST, LAST))
            .map_err(storage)?
        {
            let (key, ()) = entry.map(|(k, v)| (k, v.value())).map_err(storage)?;
            let (_, resource, ns, name) = key.value();
            found.push((resource.into(), ns.into(), name.into()));
        }
        Ok(found)
    }

    /// Applies the events of one closure: rows, owner index, log.
    pub(crate) fn apply(&self, events: &[Event], before: &[Option<Object>]) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        self.changed.set(true);
        let mut objects = self.txn.open_table(OBJECTS).map_err(storage)?;
        let mut owned = self.txn.open_table(OWNED).map_err(storage)?;
        let mut log = self.txn.open_table(LOG).map_err(storage)?;
        for (event, before) in events.iter().zip(before) {
            let object = &event.object;
            let meta = &object.metadata;
            let Some(at) = object.reference() else {
                return Err(Error::internal(format!(
                    "no kind {} {}",
                    object.api_version, object.kind
                )));
            };
            let resource = at.kind.resource();
            let key = (resource.as_str(), at.namespace.as_str(), at.name.as_str());
            for owner in before.iter().flat_map(|b| &b.metadata.owner_references) {
                owned
                    .remove((owner.uid.as_str(), key.0, key.1, key.2))
                    .map_err(storage)?;
            }
            if event.deleted() {
                objects.remove(key).map_err(storage)?;
            } else {
                objects
                    .insert(key, row(object)?.as_slice())
                    .map_err(storage)?;
                for owner in &meta.owner_references {
                    owned
                        .insert((owner.uid.as_str(), key.0, key.1, key.2), ())
                        .map_err(storage)?;
                }
            }
            log.insert(event.version, row(event)?.as_slice())
                .map_err(storage)?;
        }
        Ok(())
    }

    /// Notes the last version given out and drops what the log need not keep.
    pub(crate) fn finish(&self, version: u64) -> Result<()> {
        let mut meta = self.txn.open_table(META).map_err(storage)?;
        meta.insert("rv", version).map_err(storage)?;
        let mut log = self.txn.open_table(LOG).map_err(storage)?;
        let floor = version.saturating_sub(LOG_KEPT);
        let mut old = Vec::new();
        for entry in log.range(..floor).map_err(storage)?.take(1024) {
            old.push(entry.map_err(storage)?.0.value());
        }
        for version in old {
            log.remove(version).map_err(storage)?;
        }
        Ok(())
    }
}
