//! Housekeeping of the bytes: files that no row names, objects whose time is over, room on the disk. Each works in
//! short steps, so that nobody waits for it.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::StreamExt;
use md5::{Digest, Md5};
use s3s::{S3Result, checksum::ChecksumHasher, dto};

use super::{
    Blobs, Inner, disk, now_ms,
    refs::After,
    rows::{LifecycleRule, Segment, Version},
    tree,
};
use crate::{Code, Error, Result, db::bytes::Next};

/// A file that no row names is left alone for this long: its row may be on its way.
const GRACE: Duration = Duration::from_secs(3600);
/// Milliseconds.
const DAY: i64 = 86_400_000;
/// Versions looked at in one transaction.
const STEP: usize = 512;
/// Bytes of the disk that uploads leave free, for the box's own writes: a twentieth, at most this.
const FLOOR: u64 = 1 << 30;

impl Blobs {
    /// Removes files that no row names. Returns how many.
    ///
    /// # Errors
    /// When the disk or the index cannot be read.
    pub async fn sweep(&self) -> Result<usize> {
        let inner = self.inner.clone();
        tokio::task::spawn_blocking(move || inner.sweep())
            .await
            .map_err(Error::internal)?
    }

    /// Applies the life-cycle rules of all buckets. Returns how many versions and uploads went.
    ///
    /// # Errors
    /// When the index cannot be read or written.
    pub async fn expire(&self) -> Result<usize> {
        let buckets = self.inner.db.read(|t| t.buckets()).await?;
        let mut gone = 0;
        for (name, row) in buckets {
            let rules: Vec<LifecycleRule> =
                row.lifecycle.into_iter().filter(|r| r.enabled).collect();
            if !rules.is_empty() {
                gone += self.expire_versions(&name, &rules).await?
                    + self.expire_uploads(&name, &rules).await?;
            }
        }
        Ok(gone)
    }

    async fn expire_versions(&self, bucket: &str, rules: &[LifecycleRule]) -> Result<usize> {
        let (mut gone, mut from) = (0, Vec::new());
        loop {
            let (inner, bucket, rules) = (self.inner.clone(), bucket.to_owned(), rules.to_vec());
            let start = from.clone();
            let (count, next, after) = self
                .inner
                .db
                .write(move |t| {
                    let now = now_ms();
                    // Whole keys, newest version first.
                    let mut keys: Vec<(String, Vec<(u64, Version)>)> = Vec::new();
                    let mut next = None;
                    t.scan_from(&bucket, &start, 0, |key, age, version| {
                        let text = String::from_utf8_lossy(key).into_owned();
                        if keys.last().is_none_or(|(last, _)| *last != text) {
                            if keys.len() == STEP {
                                next = Some(key.to_vec());
                                return Ok(Next::Stop);
                            }
                            keys.push((text, Vec::new()));
                        }
                        if let Some((_, versions)) = keys.last_mut() {
                            versions.push((age, version));
                        }
                        Ok(Next::On)
                    })?;
                    let row = t.bucket(&bucket)?.unwrap_or_default();
                    let versioned = row.versioning != super::Versioning::Off;
                    let (mut count, mut after) = (0, After::default());
                    for (key, versions) in keys {
                        if row.is_closed(&key) {
                            continue;
                        }
                        for (index, act) in judge(&rules, &key, &versions, now) {
                            let (age, version) = &versions[index];
                            count += 1;
                            match act {
                                Act::Drop => inner
                                    .drop_version(t, &bucket, &key, *age, version, &mut after)?,
                                Act::Expire if versioned => {
                                    let marker = Version {
                                        at: now,
                                        marker: true,
                                        ..Version::default()
                                    };
                                    inner.put_version(t, &bucket, &key, marker, &mut after)?;
                                }
                                Act::Expire => inner
                                    .drop_version(t, &bucket, &key, *age, version, &mut after)?,
                            }
                        }
                    }
                    Result::Ok((count, next, after))
                })
                .await?;
            self.inner.finish(after).await;
            gone += count;
            match next {
                Some(next) => from = next,
                None => return Ok(gone),
            }
        }
    }

    async fn expire_uploads(&self, bucket: &str, rules: &[LifecycleRule]) -> Result<usize> {
        let (bucket, rules) = (bucket.to_owned(), rules.to_vec());
        let (count, after) = self
            .inner
            .db
            .write(move |t| {
                let (now, mut doomed, mut after) = (now_ms(), Vec::new(), After::default());
                t.uploads(&bucket, (b"", ""), |key, id, upload| {
                    let key = String::from_utf8_lossy(key).into_owned();
                    let old = |r: &LifecycleRule| {
                        key.starts_with(&r.prefix)
                            && r.abort_days
                                .is_some_and(|d| upload.at + i64::from(d) * DAY <= now)
                    };
                    if rules.iter().any(old) {
                        doomed.push((key, id.to_owned()));
                    }
                    true
                })?;
                for (key, id) in &doomed {
                    super::s3::multipart::drop_upload(t, &bucket, key, id, &mut after)?;
                }
                Result::Ok((doomed.len(), after))
            })
            .await?;
        self.inner.finish(after).await;
        Ok(count)
    }
}

#[derive(Debug, PartialEq)]
enum Act {
    /// The current version goes, or is hidden by a delete marker.
    Expire,
    /// A version goes for good.
    Drop,
}

/// Which of a key's versions (newest first) the rules let go.
fn judge(
    rules: &[LifecycleRule],
    key: &str,
    versions: &[(u64, Version)],
    now: i64,
) -> Vec<(usize, Act)> {
    let mut acts = Vec::new();
    let fits = |rule: &&LifecycleRule, version: &Version| {
        key.starts_with(&rule.prefix)
            && rule.tags.iter().all(|tag| version.about.tags.contains(tag))
    };
    for (i, (_, version)) in versions.iter().enumerate() {
        let mut rules = rules.iter().filter(|r| fits(r, version));
        let over = if i > 0 {
            // A version's time as an old one starts when the next newer one came.
            let since = versions[i - 1].1.at;
            rules.any(|r| {
                r.noncurrent_days
                    .is_some_and(|d| since + i64::from(d) * DAY <= now)
            })
        } else if version.marker {
            versions.len() == 1 && rules.any(|r| r.expired_marker)
        } else {
            rules.any(|r| {
                r.days
                    .is_some_and(|d| version.at + i64::from(d) * DAY <= now)
                    || r.date.is_some_and(|d| d <= now)
            })
        };
        if over {
            let hides = i == 0 && !version.marker;
            acts.push((i, if hides { Act::Expire } else { Act::Drop }));
        }
    }
    acts
}

impl Inner {
    fn sweep(&self) -> Result<usize> {
        let mut removed = 0;
        let folders = std::fs::read_dir(&self.files).map_err(|e| disk(&self.files, &e))?;
        for folder in folders.flatten() {
            let Ok(entries) = std::fs::read_dir(folder.path()) else {
                continue;
            };
            for entry in entries.flatten() {
                let Some(id) = entry.file_name().to_str().map(str::to_owned) else {
                    continue;
                };
                let old = entry.metadata().and_then(|m| m.modified()).is_ok_and(|t| {
                    SystemTime::now()
                        .duration_since(t)
                        .is_ok_and(|age| age > GRACE)
                });
                if old && self.db.read_now(|t| t.blob(&id))?.is_none() {
                    tracing::info!(blob = id, "removing bytes that nothing names");
                    std::fs::remove_file(entry.path()).map_err(|e| disk(&entry.path(), &e))?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// MD5 in hex and checksums of these segments.
    pub(crate) async fn digests(
        &self,
        segments: &[Segment],
        size: u64,
        mut sums: ChecksumHasher,
    ) -> S3Result<(String, dto::Checksum)> {
        let mut bytes = self.send_out(segments, 0, size).await?;
        let mut md5 = Md5::new();
        while let Some(chunk) = bytes.next().await {
            let chunk: Bytes = chunk.map_err(Error::internal)?;
            md5.update(&chunk);
            sums.update(&chunk);
        }
        Ok((hex::encode(md5.finalize()), sums.finalize()))
    }

    /// Refuses an upload that would fill the disk: damage is easier to avoid than to mend.
    pub(crate) fn room_for(&self, bytes: u64) -> Result<()> {
        let full = |context: String| {
            Error::new(
                Code::StorageFull,
                "the disk of the box is full: nothing was changed; free some space and try again",
            )
            .because(context)
        };
        let stat = rustix::fs::statvfs(&self.files).map_err(|e| disk(&self.files, &e.into()))?;
        let (free, all) = (stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize);
        let floor = FLOOR.min(all / 20);
        if free < bytes.saturating_add(floor) {
            return Err(full(format!(
                "{free} bytes are free, {bytes} are to come, {floor} stay free"
            )));
        }
        Ok(())
    }

    /// Whether a file lies where this key's would.
    pub(crate) fn has_file(&self, bucket: &str, key: &str) -> bool {
        tree::path(bucket, key).is_some_and(|p| {
            self.tree
                .join(p)
                .symlink_metadata()
                .is_ok_and(|m| m.is_file())
        })
    }

    /// Whether any file lies in the bucket's folder.
    pub(crate) fn has_files(&self, bucket: &str) -> bool {
        fn any(folder: &Path) -> bool {
            std::fs::read_dir(folder).is_ok_and(|entries| {
                entries.flatten().any(|e| match e.file_type() {
                    Ok(t) if t.is_dir() => any(&e.path()),
                    _ => true,
                })
            })
        }
        tree::path(bucket, "x").is_some() && any(&self.tree.join(bucket))
    }

    /// Removes a deleted bucket's folder, as far as it is empty.
    pub(crate) async fn remove_empty_folders(&self, bucket: &str) {
        fn prune(folder: &Path) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    prune(&entry.path());
                }
            }
            let _ = std::fs::remove_dir(folder);
        }
        if tree::path(bucket, "x").is_some() {
            let folder = self.tree.join(bucket);
            let _ = tokio::task::spawn_blocking(move || prune(&folder)).await;
        }
    }
}
