//! The same bytes as files: the folder of buckets that is bind-mounted into steps.
//!
//! A step writes plain files; when it has ended, [`Blobs::adopt`] makes objects of them where they lie, without
//! copying. An object that came in through S3 is shown as a file when a step is to read it ([`Blobs::present`]):
//! a hard link to the blob. Overwriting or deleting an object that is shown changes the file as well, and a file
//! that was changed through a mount is taken in anew when it is next read.

use std::{
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use super::{
    Blobs, Inner, disk,
    files::{damaged, new_id},
    refs::After,
    rows::{Blob, Place, Segment, Version},
};
use crate::{
    Error, Result,
    db::bytes::{Next, Tables},
};

/// Files made into objects in one commit.
const BATCH: usize = 128;

/// Where a key's file lies below the folder of buckets; `None` for keys that no path can stand for, such as
/// `a//b`, `../a` or `a/`.
pub(crate) fn path(bucket: &str, key: &str) -> Option<PathBuf> {
    let plain = |name: &str| {
        !matches!(name, "" | "." | "..") && name.len() <= 255 && !name.contains(['\0', '/'])
    };
    (plain(bucket) && key.len() <= 1024 && key.split('/').all(plain))
        .then(|| Path::new(bucket).join(key))
}

fn mtime(meta: &Metadata) -> i128 {
    i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec())
}

impl Blobs {
    /// Makes objects of the files at this URI: one file, or all below a folder. Files that are objects already
    /// stay as they are. A bucket that is not there yet is made for this namespace.
    ///
    /// # Errors
    /// As [`Blobs::path`], or when the disk refuses.
    pub async fn adopt(&self, uri: &str, namespace: &str) -> Result<()> {
        let at = self.path(uri)?;
        let (bucket, _) = super::split(uri)?;
        let (inner, bucket) = (self.inner.clone(), bucket.to_owned());
        let root = inner.tree.join(&bucket);
        self.ensure_bucket(&bucket, namespace).await?;
        self.writable(uri).await?;
        let files = tokio::task::spawn_blocking(move || walk(&root, at)).await;
        let files = files.map_err(Error::internal)??;
        for batch in files.chunks(BATCH) {
            let (inner, bucket, batch) = (inner.clone(), bucket.clone(), batch.to_vec());
            let after = self.inner.db.write(move |t| {
                let mut after = After::default();
                for key in &batch {
                    inner.adopt_file(t, &bucket, key, &mut after)?;
                }
                Result::Ok(after)
            });
            self.inner.finish(after.await?).await;
        }
        Ok(())
    }

    /// Whether a folder can be written to.
    ///
    /// # Errors
    /// `Invalid` for a place in a commit, which never changes.
    pub async fn writable(&self, uri: &str) -> Result<()> {
        let (bucket, key) = super::split(uri)?;
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let row = self.inner.db.read({
            let bucket = bucket.clone();
            move |t| t.bucket(&bucket)
        });
        // The folder itself, as well as what is in it.
        let below = format!("{key}/x");
        match row.await? {
            Some(row) if row.is_closed(&below) => Err(Error::invalid(format!(
                "s3://{bucket}/{key}: {}",
                row.why_closed()
            ))),
            _ => Ok(()),
        }
    }

    /// Sees to it that the objects at this URI (the one of that key, and all below it) lie as files in the tree.
    ///
    /// # Errors
    /// As [`Blobs::path`], or when a key cannot be a file because another one is in its way.
    pub async fn present(&self, uri: &str) -> Result<()> {
        self.path(uri)?;
        let inner = self.inner.clone();
        let (bucket, key) = super::split(uri)?;
        if let Some(remote) = self.remote(bucket)? {
            self.keep_below(&remote, bucket, key).await?;
        }
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        tokio::task::spawn_blocking(move || inner.present(&bucket, &key))
            .await
            .map_err(Error::internal)?
    }
}

/// The keys of all files at or below `at`, without following links.
fn walk(bucket: &Path, at: PathBuf) -> Result<Vec<String>> {
    let (mut found, mut open) = (Vec::new(), vec![at]);
    while let Some(path) = open.pop() {
        let meta = match path.symlink_metadata() {
            Ok(meta) => meta,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(disk(&path, &e)),
        };
        if meta.is_dir() {
            let entries = std::fs::read_dir(&path).map_err(|e| disk(&path, &e))?;
            for entry in entries {
                open.push(entry.map_err(|e| disk(&path, &e))?.path());
            }
        } else if meta.is_file()
            && let Ok(key) = path.strip_prefix(bucket)
            && let Some(key) = key.to_str()
        {
            found.push(key.to_owned());
        } else if meta.is_file() {
            tracing::warn!(path = %path.display(), "a file whose name is not UTF-8 is no object");
        }
    }
    found.sort();
    Ok(found)
}

impl Inner {
    /// Makes the file of a key its current version, unless it is that already. False when there is no file.
    pub(crate) fn adopt_file(
        &self,
        t: &Tables,
        bucket: &str,
        key: &str,
        after: &mut After,
    ) -> Result<bool> {
        let Some(relative) = path(bucket, key) else {
            return Ok(false);
        };
        let at = self.tree.join(&relative);
        let meta = match at.symlink_metadata() {
            Ok(meta) if meta.is_file() => meta,
            _ => return Ok(false),
        };
        let current = t.latest(bucket, key)?.map(|(_, v)| v);
        if let Some(version) = &current
            && self.shows(t, version, &meta)?
        {
            return Ok(true);
        }
        let id = new_id();
        let size = meta.len();
        let segments = if size == 0 {
            Vec::new()
        } else {
            let place = Place::Tree {
                path: relative.to_string_lossy().into_owned(),
                mtime: mtime(&meta),
            };
            t.put_blob(
                &id,
                &Blob {
                    place,
                    size,
                    refs: 1,
                    md5: None,
                    damaged: None,
                },
            )?;
            vec![Segment {
                blob: id,
                start: 0,
                size,
            }]
        };
        let version = Version {
            at: i64::try_from(mtime(&meta) / 1_000_000).unwrap_or_default(),
            size,
            // Not an MD5 (nobody has read the bytes): the dash tells clients so, as for an object made of parts.
            etag: format!("{:016x}{:016x}-1", mtime(&meta), size),
            segments,
            ..Version::default()
        };
        self.put_version(t, bucket, key, version, after)?;
        Ok(true)
    }

    /// Whether the file in the tree holds this version.
    fn shows(&self, t: &Tables, version: &Version, meta: &Metadata) -> Result<bool> {
        if version.marker || version.size != meta.len() {
            return Ok(false);
        }
        if version.size == 0 {
            return Ok(true);
        }
        if let [segment] = version.segments.as_slice()
            && let Some(blob) = t.blob(&segment.blob)?
        {
            match blob.place {
                Place::Tree { mtime: then, .. } => return Ok(then == mtime(meta)),
                Place::File if segment.start == 0 && segment.size == blob.size => {
                    let file = self.file(&segment.blob).metadata();
                    return Ok(file.is_ok_and(|m| (m.dev(), m.ino()) == (meta.dev(), meta.ino())));
                }
                _ => {}
            }
        }
        // Copied out of the store, with the version's time.
        Ok(mtime(meta) == i128::from(version.at) * 1_000_000)
    }

    /// Whether a version's bytes lie in the tree and were changed there since.
    pub(crate) fn changed_in_tree(&self, t: &Tables, version: &Version) -> Result<bool> {
        let [segment] = version.segments.as_slice() else {
            return Ok(false);
        };
        let Some(Blob {
            place: Place::Tree { path, mtime: then },
            size,
            ..
        }) = t.blob(&segment.blob)?
        else {
            return Ok(false);
        };
        Ok(self
            .tree
            .join(path)
            .symlink_metadata()
            .is_ok_and(|m| m.is_file() && (mtime(&m), m.len()) != (then, size)))
    }

    pub(crate) fn present(&self, bucket: &str, key: &str) -> Result<()> {
        self.show(bucket, key)?;
        let below = format!("{key}/");
        let mut keys = Vec::new();
        let mut from = below.clone().into_bytes();
        loop {
            // In short snapshots: a folder may hold very many.
            keys.clear();
            self.db.read_now(|t| {
                t.scan_from(bucket, &from, 0, |at, _, version| {
                    if !at.starts_with(below.as_bytes()) || keys.len() == BATCH {
                        return Ok(Next::Stop);
                    }
                    if !version.marker {
                        keys.extend(std::str::from_utf8(at).map(str::to_owned));
                    }
                    Ok(Next::Seek(after_key(at)))
                })
            })?;
            for key in &keys {
                self.show(bucket, key)?;
            }
            match keys.last() {
                Some(last) if keys.len() == BATCH => from = after_key(last.as_bytes()),
                _ => return Ok(()),
            }
        }
    }

    /// After a change of a key that is shown: shows the new bytes, or nothing.
    pub(crate) fn refresh(&self, bucket: &str, key: &str) -> Result<()> {
        let Some(at) = path(bucket, key).map(|p| self.tree.join(p)) else {
            return Ok(());
        };
        if !at.symlink_metadata().is_ok_and(|m| m.is_file()) {
            return Ok(());
        }
        let current = self.db.read_now(|t| t.latest(bucket, key))?;
        if current.is_some_and(|(_, v)| !v.marker) {
            return self.show(bucket, key);
        }
        std::fs::remove_file(&at).map_err(|e| disk(&at, &e))
    }

    /// Shows the current version of a key as a file. Nothing happens when there is none, or when no path can
    /// stand for the key.
    pub(crate) fn show(&self, bucket: &str, key: &str) -> Result<()> {
        let Some(at) = path(bucket, key).map(|p| self.tree.join(p)) else {
            return Ok(());
        };
        enum Bytes {
            Shown,
            Inline(Vec<u8>),
            Parts(Vec<(Segment, Place)>),
        }
        let meta = at.symlink_metadata().ok().filter(Metadata::is_file);
        let found = self.db.read_now(|t| {
            let Some((_, version)) = t.latest(bucket, key)?.filter(|(_, v)| !v.marker) else {
                return Ok(None);
            };
            if let Some(meta) = &meta
                && self.shows(t, &version, meta)?
            {
                return Ok(Some((version, Bytes::Shown)));
            }
            if let [segment] = version.segments.as_slice()
                && let Some(bytes) = t.inline(&segment.blob)?
            {
                return Ok(Some((version, Bytes::Inline(bytes))));
            }
            let mut parts = Vec::new();
            for segment in &version.segments {
                if let Some(blob) = t.blob(&segment.blob)? {
                    if let Some(reason) = blob.damaged {
                        return Err(damaged(&segment.blob, &reason));
                    }
                    parts.push((segment.clone(), blob.place));
                }
            }
            Ok(Some((version, Bytes::Parts(parts))))
        })?;
        let (version, bytes) = match found {
            None | Some((_, Bytes::Shown)) => return Ok(()),
            Some(found) => found,
        };
        let temporary = self.temporary.join(new_id());
        let made = match &bytes {
            Bytes::Parts(parts) => match parts.as_slice() {
                [(segment, place)]
                    if *place == Place::File
                        && segment.size == version.size
                        && segment.start == 0 =>
                {
                    std::fs::hard_link(self.file(&segment.blob), &temporary)
                }
                parts => self.join(parts, &temporary, version.at),
            },
            Bytes::Inline(bytes) => write_at(&temporary, version.at, |mut file| {
                io::Write::write_all(&mut file, bytes)
            }),
            Bytes::Shown => Ok(()),
        };
        let placed = made.and_then(|()| {
            if let Some(folder) = at.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::rename(&temporary, &at)
        });
        placed.map_err(|e| {
            let _ = std::fs::remove_file(&temporary);
            match e.kind() {
                io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists | io::ErrorKind::IsADirectory => {
                    Error::invalid(format!(
                        "the object {bucket}/{key} cannot be a file for a step: another object's key is a folder of it, or it of another's; rename one"
                    ))
                }
                _ => disk(&at, &e),
            }
        })
    }

    /// Copies the parts of an object behind each other; the kernel shares the blocks where the file system can.
    fn join(&self, parts: &[(Segment, Place)], to: &Path, at: i64) -> io::Result<()> {
        write_at(to, at, |mut out| {
            for (segment, place) in parts {
                let wrong = |e: Error| io::Error::other(e.context.unwrap_or(e.message));
                if *place == Place::Inline {
                    let bytes = self
                        .db
                        .read_now(|t| t.inline(&segment.blob))
                        .map_err(wrong)?;
                    let bytes = bytes.unwrap_or_default();
                    let range = segment.start as usize..(segment.start + segment.size) as usize;
                    let bytes = bytes.get(range).ok_or(io::ErrorKind::UnexpectedEof)?;
                    io::Write::write_all(&mut out, bytes)?;
                    continue;
                }
                let file = self.open_blob(&segment.blob, place).map_err(wrong)?;
                let mut input: &std::fs::File = &file;
                io::Seek::seek(&mut input, io::SeekFrom::Start(segment.start))?;
                let copied = io::copy(&mut io::Read::take(input, segment.size), &mut out)?;
                if copied != segment.size {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Ok(())
        })
    }
}

/// Writes a read-only file that bears an object's time.
fn write_at(
    path: &Path,
    at: i64,
    f: impl FnOnce(&std::fs::File) -> io::Result<()>,
) -> io::Result<()> {
    let file = std::fs::File::create_new(path)?;
    f(&file)?;
    let time = UNIX_EPOCH + Duration::from_millis(u64::try_from(at).unwrap_or_default());
    file.set_modified(time)?;
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o444))
}

/// The first key that sorts after this one.
pub(crate) fn after_key(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}
