//! The bytes: buckets of objects with versions, behind one Rust door (this) and one S3 door ([`s3`]).
//!
//! Six things, each in its place:
//! - *rows* ([`rows`], in `index.redb`): buckets, versions of objects, uploads, blobs. One writer, group commit.
//! - *blobs* ([`files`]): bytes that never change, under random ids: small ones in the database, others as files.
//! - *uses* ([`refs`]): a version names blobs and is counted at them; a blob that nobody names goes. So a copy
//!   of an object copies no bytes.
//! - *remote buckets* ([`remote`]): those of other servers, read through.
//! - *commits* ([`commit`]): folders of a data set that never change; rows over the same blobs.
//! - *the tree* ([`tree`]): the same bytes as plain files below `buckets/`, bind-mounted into steps.
//!
//! The order of writing makes an orphaned file possible (a sweep removes it) and a missing one impossible:
//! bytes, then their name, then the row, each durable before the next.

pub mod commit;
mod files;
mod kept;
mod list;
mod read;
pub(crate) mod refs;
pub mod remote;
pub(crate) mod rows;
pub mod s3;
mod scrub;
mod sweep;
mod tree;

use std::{
    io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

pub use read::{Entry, Found};

use crate::{
    Code, Error, Result,
    db::bytes::{BytesDb, Next, Tables},
};
use refs::After;
use rows::{NULL, Version, Versioning};

/// The URI schemes that the box stores itself, with the folder each is mounted at inside steps. They lead to
/// the same buckets.
pub const SCHEMES: &[(&str, &str)] = &[("minio", "minio"), ("s3", "s3"), ("gs", "gcs")];

/// The byte store of a box. Cheap to clone.
#[derive(Clone)]
pub struct Blobs {
    pub(crate) inner: Arc<Inner>,
}

/// Where things lie.
pub(crate) struct Inner {
    /// The folder of buckets.
    tree: PathBuf,
    /// Blobs as files.
    files: PathBuf,
    /// Files on their way in.
    temporary: PathBuf,
    pub(crate) db: BytesDb,
    /// Buckets that lie on other servers.
    pub(crate) remotes: remote::Remotes,
}

impl std::fmt::Debug for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blobs")
            .field("tree", &self.inner.tree)
            .finish_non_exhaustive()
    }
}

/// A bucket and what it holds.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BucketUse {
    /// Its name.
    pub name: String,
    /// Whose it is; "" = the whole box's.
    pub namespace: String,
    /// Bytes over all versions and parts of uploads. Copies count, though they share their bytes; commits do not.
    pub bytes: u64,
    /// How much it may hold; 0 = no limit.
    pub quota: u64,
    /// Whether it is a data set.
    pub dataset: bool,
    /// Whether it lies on another server; the bytes are then those that are kept here.
    pub remote: bool,
}

/// Scheme-less halves of `scheme://bucket/key`.
fn split(uri: &str) -> Result<(&str, &str)> {
    let (scheme, rest) = uri.split_once("://").ok_or_else(|| {
        Error::invalid(format!(
            "artifact URI \"{uri}\": must be scheme://bucket/key"
        ))
    })?;
    if !SCHEMES.iter().any(|(s, _)| *s == scheme) {
        return Err(Error::invalid(format!(
            "artifact URI \"{uri}\": the box stores minio://, s3:// and gs:// only"
        )));
    }
    Ok(rest.split_once('/').unwrap_or((rest, "")))
}

impl Blobs {
    /// The store in this folder, which is made when missing.
    ///
    /// # Errors
    /// When the folder or the index cannot be opened.
    pub fn open(root: &Path) -> Result<Self> {
        std::fs::create_dir_all(root).map_err(|e| disk(root, &e))?;
        let root = root.canonicalize().map_err(|e| disk(root, &e))?;
        let inner = Inner {
            tree: root.join("buckets"),
            files: root.join("blobs"),
            temporary: root.join("incoming"),
            db: BytesDb::open(&root.join("index.redb"))?,
            remotes: remote::Remotes::default(),
        };
        let rows = inner.db.read_now(|t| t.buckets())?;
        let remote = rows.into_iter().filter(|(_, row)| row.remote);
        if let Ok(mut remotes) = inner.remotes.write() {
            remotes.extend(remote.map(|(name, _)| (name, None)));
        }
        // What was on its way in when the box stopped was acknowledged to nobody.
        match std::fs::remove_dir_all(&inner.temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(disk(&inner.temporary, &e));
            }
            _ => {}
        }
        for folder in [&inner.tree, &inner.temporary] {
            std::fs::create_dir_all(folder).map_err(|e| disk(folder, &e))?;
        }
        for digit in 0..16 {
            let folder = inner.files.join(format!("{digit:x}"));
            std::fs::create_dir_all(&folder).map_err(|e| disk(&folder, &e))?;
        }
        let durable = std::fs::File::open(&inner.files).and_then(|f| f.sync_all());
        durable.map_err(|e| disk(&inner.files, &e))?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Makes a bucket for this namespace unless it is there.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub async fn ensure_bucket(&self, name: &str, namespace: &str) -> Result<()> {
        let (name, namespace) = (name.to_owned(), namespace.to_owned());
        let write = move |t: &Tables| {
            if t.bucket(&name)?.is_none() {
                let created = now_ms();
                t.put_bucket(
                    &name,
                    &rows::Bucket {
                        created,
                        namespace,
                        ..rows::Bucket::default()
                    },
                )?;
            }
            Result::Ok(())
        };
        self.inner.db.write(write).await
    }

    /// The namespace that a bucket belongs to; `None` = there is no such bucket.
    ///
    /// # Errors
    /// When the row cannot be read.
    pub async fn owner(&self, bucket: &str) -> Result<Option<String>> {
        let bucket = bucket.to_owned();
        let row = self.inner.db.read(move |t| t.bucket(&bucket)).await?;
        Ok(row.map(|b| b.namespace))
    }

    /// All buckets with what they hold.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub async fn buckets(&self) -> Result<Vec<BucketUse>> {
        let read = |t: &Tables| {
            let rows = t.buckets()?.into_iter();
            rows.map(|(name, row)| {
                Ok(BucketUse {
                    bytes: t.used(&name)?,
                    namespace: row.namespace,
                    quota: row.quota,
                    dataset: row.branches.is_some(),
                    remote: row.remote,
                    name,
                })
            })
            .collect::<Result<Vec<_>>>()
        };
        self.inner.db.read(read).await
    }

    /// Says how much a bucket may hold; 0 = no limit. What is over it stays, and nothing more comes in over S3.
    ///
    /// # Errors
    /// `NotFound` when the namespace has no such bucket.
    pub async fn set_quota(&self, bucket: &str, namespace: &str, bytes: u64) -> Result<()> {
        let (bucket, namespace) = (bucket.to_owned(), namespace.to_owned());
        let write = move |t: &Tables| match t.bucket(&bucket)? {
            Some(mut row) if row.namespace == namespace => {
                row.quota = bytes;
                t.put_bucket(&bucket, &row)
            }
            _ => Err(Error::not_found(format!(
                "the namespace {namespace} has no bucket {bucket}"
            ))),
        };
        self.inner.db.write(write).await
    }

    /// Removes an object and all that is below it as a folder, in all versions.
    ///
    /// # Errors
    /// `Invalid` for a key that is no plain path, or when the disk refuses.
    pub async fn remove(&self, bucket: &str, key: &str) -> Result<()> {
        self.path(&format!("s3://{bucket}/{key}"))?;
        self.remove_below(bucket, &format!("{key}/")).await?;
        let (inner, bucket, key) = (self.inner.clone(), bucket.to_owned(), key.to_owned());
        let write = move |t: &Tables| {
            let mut doomed = Vec::new();
            t.scan_from(&bucket, key.as_bytes(), 0, |at, age, version| {
                if at != key.as_bytes() {
                    return Ok(Next::Stop);
                }
                doomed.push((age, version));
                Ok(Next::On)
            })?;
            let mut after = After::default();
            for (age, version) in &doomed {
                inner.drop_version(t, &bucket, &key, *age, version, &mut after)?;
            }
            Result::Ok(after)
        };
        let after = self.inner.db.write(write).await?;
        self.inner.finish(after).await;
        Ok(())
    }

    /// The host path of `scheme://bucket/key`.
    ///
    /// # Errors
    /// `Invalid` for a scheme the box does not store, an empty key, or a key with `..` and the like.
    pub fn path(&self, uri: &str) -> Result<PathBuf> {
        let (bucket, _) = split(uri)?;
        let rest = uri.split_once("://").map_or("", |(_, rest)| rest);
        let plain = Path::new(rest)
            .components()
            .all(|c| matches!(c, Component::Normal(_)));
        if bucket.is_empty() || !plain || rest.contains('\0') || rest.contains('\\') {
            return Err(Error::invalid(format!(
                "artifact URI \"{uri}\": the key must be a plain path, without \"..\""
            )));
        }
        Ok(self.inner.tree.join(rest))
    }

    /// Removes the objects and files of this run, wherever its pipeline root put them: every folder that is
    /// named like it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn remove_run(&self, run_id: &str) -> Result<()> {
        let (inner, run_id) = (self.inner.clone(), run_id.to_owned());
        let tree = inner.tree.clone();
        let folders = tokio::task::spawn_blocking(move || find_folders(&tree, &run_id)).await;
        for folder in folders.map_err(Error::internal)?? {
            let below = folder.strip_prefix(&inner.tree).ok().and_then(Path::to_str);
            if let Some((bucket, key)) = below.and_then(|b| b.split_once('/')) {
                self.remove_below(bucket, &format!("{key}/")).await?;
            }
            match tokio::fs::remove_dir_all(&folder).await {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(disk(&folder, &e)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes all versions of all objects with this prefix, in short transactions.
    pub(crate) async fn remove_below(&self, bucket: &str, prefix: &str) -> Result<()> {
        loop {
            let (inner, bucket, prefix) =
                (self.inner.clone(), bucket.to_owned(), prefix.to_owned());
            let (after, more) = self
                .inner
                .db
                .write(move |t| {
                    let mut doomed = Vec::new();
                    t.scan_from(&bucket, prefix.as_bytes(), 0, |key, age, version| {
                        if !key.starts_with(prefix.as_bytes()) || doomed.len() == 256 {
                            return Ok(Next::Stop);
                        }
                        doomed.push((String::from_utf8_lossy(key).into_owned(), age, version));
                        Ok(Next::On)
                    })?;
                    let mut after = After::default();
                    for (key, age, version) in &doomed {
                        inner.drop_version(t, &bucket, key, *age, version, &mut after)?;
                    }
                    Ok((after, doomed.len() == 256))
                })
                .await?;
            self.inner.finish(after).await;
            if !more {
                return Ok(());
            }
        }
    }
}

/// Folders of this name below the buckets: up to four folders of a pipeline root and the pipeline's name deep.
fn find_folders(tree: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let (mut found, mut level) = (Vec::new(), vec![tree.to_owned()]);
    for _ in 0..7 {
        let mut next = Vec::new();
        for folder in level {
            let entries = std::fs::read_dir(&folder).map_err(|e| disk(&folder, &e))?;
            for entry in entries.flatten() {
                // Links are what a step left: never followed.
                if !entry.file_type().is_ok_and(|t| t.is_dir()) {
                    continue;
                }
                if entry.file_name().to_str() == Some(name) {
                    found.push(entry.path());
                } else {
                    next.push(entry.path());
                }
            }
        }
        level = next;
    }
    Ok(found)
}

impl Inner {
    /// Makes this the current version of a key: gives it its id, retires or replaces the one before. Returns the
    /// version as it was stored.
    pub(crate) fn put_version(
        &self,
        t: &Tables,
        bucket: &str,
        key: &str,
        mut version: Version,
        after: &mut After,
    ) -> Result<Version> {
        let versioning = t.bucket(bucket)?.map_or(Versioning::Off, |b| b.versioning);
        let age = u64::MAX - t.next_number()?;
        let current = t.latest(bucket, key)?;
        let keeps = versioning == Versioning::Enabled;
        if keeps {
            version.id = format!("{age:016x}{}", &files::new_id()[..16]);
        } else {
            version.id = NULL.into();
        }
        if let Some((_, old)) = &current {
            self.rescue(t, old, keeps || old.id != NULL)?;
        }
        if !keeps {
            // At most one version has no id of its own.
            let replaced = match versioning {
                Versioning::Off => current,
                _ => t.version(bucket, key, NULL)?,
            };
            if let Some((age, old)) = replaced {
                t.remove_version(bucket, key, age)?;
                t.count(bucket, 0, old.size)?;
                refs::release(t, &old.segments, after)?;
            }
        }
        t.count(bucket, version.size, 0)?;
        t.put_version(bucket, key, age, &version)?;
        after.touch(bucket, key);
        Ok(version)
    }

    /// Removes one version for good.
    pub(crate) fn drop_version(
        &self,
        t: &Tables,
        bucket: &str,
        key: &str,
        age: u64,
        version: &Version,
        after: &mut After,
    ) -> Result<()> {
        self.rescue(t, version, false)?;
        t.remove_version(bucket, key, age)?;
        t.count(bucket, 0, version.size)?;
        refs::release(t, &version.segments, after)?;
        after.touch(bucket, key);
        Ok(())
    }

    /// Does on the disk what a durable transaction left to do.
    pub(crate) async fn finish(self: &Arc<Self>, after: After) {
        let inner = self.clone();
        if tokio::task::spawn_blocking(move || inner.clean_up(&after))
            .await
            .is_err()
        {
            tracing::error!("cleaning up after a write failed");
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn disk(path: &Path, e: &io::Error) -> Error {
    let (code, text) = if e.kind() == io::ErrorKind::StorageFull {
        (
            Code::StorageFull,
            "the disk of the box is full: nothing was changed; free some space and try again",
        )
    } else {
        (
            Code::Unavailable,
            "the box cannot use its artifact folder now; its log has the cause",
        )
    };
    Error::new(code, text).because(format!("{}: {e}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
