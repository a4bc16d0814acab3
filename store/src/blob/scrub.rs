//! Bits that flipped: reads what is stored and compares it with the digest of what came in. What is damaged is marked
//! and not served any more; found whole again, say from a backup, it loses the mark.

use std::{collections::HashMap, io::Read, time::Instant};

use md5::{Digest, Md5};

use super::{Blobs, Inner, disk, rows::Place};
use crate::{Error, Result, db::bytes::Next, kinds::storage::Damage};

/// Blobs looked up in one transaction.
const STEP: usize = 512;

impl Blobs {
    /// Reads every blob whose digest is known and compares it. Takes about half of the disk's time at most. Tells
    /// how many of how many blobs are read after each of them.
    ///
    /// # Errors
    /// When the index cannot be read or written.
    pub async fn scrub(&self, mut progress: impl FnMut(u64, u64) + Send) -> Result<Vec<Damage>> {
        let total = self.inner.db.read(|t| t.count_blobs()).await?;
        let (mut checked, mut damaged, mut after) = (0, HashMap::new(), String::new());
        loop {
            let from = after.clone();
            let step = self.inner.db.read(move |t| {
                let mut step = Vec::new();
                t.blobs(&from, |id, blob| {
                    step.push((id.to_owned(), blob));
                    step.len() < STEP
                })?;
                Result::Ok(step)
            });
            let step = step.await?;
            let Some((last, _)) = step.last() else {
                break;
            };
            after.clone_from(last);
            for (id, blob) in step {
                let began = Instant::now();
                let (inner, name, place) = (self.inner.clone(), id.clone(), blob.place);
                let read = tokio::task::spawn_blocking(move || inner.md5_of(&name, &place)).await;
                let wrong = match (read.map_err(Error::internal)?, blob.md5) {
                    (Ok(now), Some(then)) if now != then => Some("its bytes have changed".into()),
                    (Err(e), _) => Some(e.context.unwrap_or(e.message)),
                    _ => None,
                };
                // It may have been deleted while we read.
                let there = wrong == blob.damaged || self.mark(&id, wrong.clone()).await?;
                if let Some(wrong) = wrong.filter(|_| there) {
                    tracing::error!(blob = id, "stored bytes are damaged: {wrong}");
                    damaged.insert(id, wrong);
                }
                checked += 1;
                progress(checked, total.max(checked));
                tokio::time::sleep(began.elapsed()).await;
            }
        }
        self.users_of(damaged).await
    }

    /// Notes on a blob whether it is damaged. False when it was deleted meanwhile.
    async fn mark(&self, id: &str, wrong: Option<String>) -> Result<bool> {
        let id = id.to_owned();
        let write = move |t: &crate::db::bytes::Tables| {
            let Some(mut blob) = t.blob(&id)? else {
                return Ok(false);
            };
            blob.damaged = wrong;
            t.put_blob(&id, &blob).map(|()| true)
        };
        self.inner.db.write(write).await
    }

    /// The objects that these blobs belong to.
    async fn users_of(&self, damaged: HashMap<String, String>) -> Result<Vec<Damage>> {
        if damaged.is_empty() {
            return Ok(Vec::new());
        }
        let find = move |t: &crate::db::bytes::Tables| {
            let (mut found, mut unused) = (Vec::new(), damaged.clone());
            for (bucket, _) in t.buckets()? {
                t.scan_from(&bucket, b"", 0, |key, _, version| {
                    for segment in &version.segments {
                        if let Some(reason) = damaged.get(&segment.blob) {
                            unused.remove(&segment.blob);
                            found.push(Damage {
                                bucket: bucket.clone(),
                                key: String::from_utf8_lossy(key).into_owned(),
                                version: version.id.clone(),
                                reason: reason.clone(),
                            });
                        }
                    }
                    Ok(Next::On)
                })?;
            }
            for reason in unused.into_values() {
                found.push(Damage {
                    reason,
                    ..Damage::default()
                });
            }
            Result::Ok(found)
        };
        self.inner.db.read(find).await
    }
}

impl Inner {
    fn md5_of(&self, id: &str, place: &Place) -> Result<String> {
        let mut md5 = Md5::new();
        if *place == Place::Inline {
            let bytes = self.db.read_now(|t| t.inline(id))?;
            md5.update(bytes.ok_or_else(|| Error::internal("its bytes are missing"))?);
        } else {
            let file = self.open_blob(id, place)?;
            let (mut file, mut buffer) = (&*file, vec![0; 1 << 20]);
            loop {
                match file
                    .read(&mut buffer)
                    .map_err(|e| disk(&self.file(id), &e))?
                {
                    0 => break,
                    n => md5.update(&buffer[..n]),
                }
            }
        }
        Ok(hex::encode(md5.finalize()))
    }
}
