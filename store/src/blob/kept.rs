//! What is kept here of a bucket on another server: an object that is read whole becomes one of the box until it is old,
//! so that it is a file for steps and fast the next time. Whether it is still current is asked of the server.

use std::{
    io,
    sync::{Arc, PoisonError},
};

use bytes::Bytes;
use futures::{SinkExt, StreamExt, channel::mpsc, future::try_join_all};
use s3s::checksum::ChecksumHasher;

use super::{
    Blobs,
    list::Wanted,
    now_ms,
    refs::After,
    remote::{Remote, version},
    rows::{self, Origin, Version},
};
use crate::{
    Code, Error, Result,
    db::bytes::{Next, Tables},
};

/// Larger objects are streamed through, and kept only when a step mounts them.
const KEPT: u64 = 64 << 20;
/// Objects fetched at the same time for one mount.
const AT_ONCE: usize = 4;

impl Blobs {
    /// Makes a bucket one of another server.
    ///
    /// # Errors
    /// `Conflict` when there is a bucket of this name that is not.
    pub async fn mount(&self, bucket: &str, namespace: &str, remote: Remote) -> Result<()> {
        let (name, owner) = (bucket.to_owned(), namespace.to_owned());
        let write = move |t: &Tables| {
            let row = match t.bucket(&name)? {
                Some(row) if !row.remote || row.namespace != owner => {
                    return Err(Error::new(
                        Code::Conflict,
                        format!("there is a bucket {name} already: choose another name"),
                    ));
                }
                Some(row) => row,
                None => rows::Bucket {
                    created: now_ms(),
                    namespace: owner,
                    remote: true,
                    ..rows::Bucket::default()
                },
            };
            t.put_bucket(&name, &row)
        };
        self.inner.db.write(write).await?;
        let mut remotes = self
            .inner
            .remotes
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        remotes.insert(bucket.to_owned(), Some(Arc::new(remote)));
        Ok(())
    }

    /// Forgets a bucket of another server, with what was kept of it.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub async fn unmount(&self, bucket: &str, namespace: &str) -> Result<()> {
        let ours = {
            let (bucket, namespace) = (bucket.to_owned(), namespace.to_owned());
            let read = move |t: &Tables| {
                let row = t.bucket(&bucket)?;
                Result::Ok(row.is_some_and(|r| r.remote && r.namespace == namespace))
            };
            self.inner.db.read(read).await?
        };
        if !ours {
            return Ok(());
        }
        self.remove_below(bucket, "").await?;
        let name = bucket.to_owned();
        self.inner.db.write(move |t| t.remove_bucket(&name)).await?;
        let mut remotes = self
            .inner
            .remotes
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        remotes.remove(bucket);
        Ok(())
    }

    /// The way to a bucket's server; `None` = it lies here.
    pub(crate) fn remote(&self, bucket: &str) -> Result<Option<Arc<Remote>>> {
        let remotes = self
            .inner
            .remotes
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        match remotes.get(bucket) {
            None => Ok(None),
            Some(Some(remote)) => Ok(Some(remote.clone())),
            Some(None) => Err(Error::new(
                Code::Unavailable,
                format!(
                    "the bucket {bucket} lies on another server, to which there is no way yet: see the status of its RemoteBucket"
                ),
            )),
        }
    }

    /// The current object of a remote bucket: the one that is kept here when it is still current, else what its server
    /// says of it.
    pub(crate) async fn look_there(
        &self,
        remote: &Remote,
        bucket: &str,
        key: &str,
    ) -> Result<Option<Version>> {
        let (b, k) = (bucket.to_owned(), key.to_owned());
        let kept = self.inner.db.read(move |t| t.latest(&b, &k)).await?;
        let Some(meta) = remote.meta(key).await? else {
            if let Some((age, old)) = kept {
                self.let_go(bucket, vec![(key.to_owned(), age, old)])
                    .await?;
            }
            return Ok(None);
        };
        let there = version(&meta);
        Ok(Some(match kept {
            Some((_, kept)) if kept.origin.as_ref().is_some_and(|o| o.etag == there.etag) => kept,
            _ => there,
        }))
    }

    /// The bytes of an object that is not kept here; a small one that is read whole is kept from now on.
    pub(crate) async fn read_there(
        &self,
        remote: &Remote,
        bucket: &str,
        key: &str,
        version: &Version,
        start: u64,
        length: u64,
    ) -> Result<mpsc::Receiver<io::Result<Bytes>>> {
        let bytes = if length == version.size && version.size <= KEPT {
            let kept = self.keep(remote, bucket, key, version).await?;
            self.inner
                .send_out(&kept.segments, start, length)
                .await?
                .boxed()
        } else {
            remote.bytes(key, Some((start, start + length))).await?.1
        };
        // The protocol layer wants a stream that threads may share.
        let (mut to, from) = mpsc::channel(2);
        tokio::spawn(async move {
            let mut bytes = bytes;
            while let Some(chunk) = bytes.next().await {
                if to.send(chunk.map_err(io::Error::other)).await.is_err() {
                    // The client has gone.
                    break;
                }
            }
        });
        Ok(from)
    }

    /// Brings an object here.
    async fn keep(
        &self,
        remote: &Remote,
        bucket: &str,
        key: &str,
        there: &Version,
    ) -> Result<Version> {
        self.inner.room_for(there.size)?;
        let (kind, bytes) = remote.bytes(key, None).await?;
        let taken = self.inner.take_in(bytes, ChecksumHasher::default()).await;
        let draft = taken.map_err(|e| {
            Error::new(
                Code::Unavailable,
                format!("{key}: the other server broke off"),
            )
            .because(e.to_string())
        })?;
        if draft.size != there.size {
            return Err(Error::new(
                Code::Unavailable,
                format!(
                    "{key}: the object changed on the other server while it was read: try again"
                ),
            ));
        }
        let draft = draft.settle(&self.inner).await?;
        let (inner, bucket, key) = (self.inner.clone(), bucket.to_owned(), key.to_owned());
        let mut version = there.clone();
        version.about.content_type = kind;
        version.origin = Some(Origin {
            etag: there.etag.clone(),
            kept: now_ms(),
        });
        let write = move |t: &Tables| {
            let mut after = After::default();
            version.segments = draft.keep(t)?;
            let made = inner.put_version(t, &bucket, &key, version, &mut after)?;
            Result::Ok((made, after))
        };
        let (made, after) = self.inner.db.write(write).await?;
        self.inner.finish(after).await;
        Ok(made)
    }

    /// Brings the object of this key and all below it here, for a step that is to read them as files.
    pub(crate) async fn keep_below(&self, remote: &Remote, bucket: &str, key: &str) -> Result<()> {
        let mut keys = vec![key.to_owned()];
        let prefix = format!("{}/", key.trim_end_matches('/'));
        let mut after: Option<String> = None;
        loop {
            let wanted = Wanted {
                bucket,
                prefix: if key.is_empty() { "" } else { &prefix },
                delimiter: "",
                after: after.as_deref(),
                max: 1000,
            };
            let page = remote.page(&wanted).await?;
            keys.extend(page.items.iter().map(|i| i.name().to_owned()));
            if !page.truncated {
                break;
            }
            after = page.items.last().map(|i| i.name().to_owned());
        }
        keys.retain(|k| !k.is_empty());
        for some in keys.chunks(AT_ONCE) {
            try_join_all(some.iter().map(|key| self.keep_one(remote, bucket, key))).await?;
        }
        Ok(())
    }

    /// Brings an object here unless it is here, or is none.
    async fn keep_one(&self, remote: &Remote, bucket: &str, key: &str) -> Result<()> {
        match self.look_there(remote, bucket, key).await? {
            Some(there) if there.origin.is_none() => {
                self.keep(remote, bucket, key, &there).await.map(|_| ())
            }
            _ => Ok(()),
        }
    }

    /// Lets go of what was kept of other servers before this time (milliseconds since 1970). Returns how much.
    ///
    /// # Errors
    /// When the index cannot be read or written.
    pub async fn forget_kept(&self, before: i64) -> Result<usize> {
        let buckets = self.inner.db.read(|t| t.buckets()).await?;
        let mut gone = 0;
        for (bucket, _) in buckets.into_iter().filter(|(_, row)| row.remote) {
            let name = bucket.clone();
            let old = self.inner.db.read(move |t| {
                let mut old = Vec::new();
                t.scan_from(&name, b"", 0, |key, age, version| {
                    if version.origin.as_ref().is_some_and(|o| o.kept < before) {
                        old.push((String::from_utf8_lossy(key).into_owned(), age, version));
                    }
                    Ok(Next::On)
                })?;
                Result::Ok(old)
            });
            let old = old.await?;
            gone += old.len();
            for some in old.chunks(500) {
                self.let_go(&bucket, some.to_vec()).await?;
            }
        }
        Ok(gone)
    }

    async fn let_go(&self, bucket: &str, old: Vec<(String, u64, Version)>) -> Result<()> {
        let (inner, bucket) = (self.inner.clone(), bucket.to_owned());
        let write = move |t: &Tables| {
            let mut after = After::default();
            for (key, age, version) in &old {
                inner.drop_version(t, &bucket, key, *age, version, &mut after)?;
            }
            Result::Ok(after)
        };
        let after = self.inner.db.write(write).await?;
        self.inner.finish(after).await;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;
    use object_store::{ObjectStoreExt, PutPayload, memory::InMemory, path::Path as RemotePath};

    async fn lab(keys: &[&str]) -> (tempfile::TempDir, Blobs, Arc<InMemory>) {
        let there = Arc::new(InMemory::new());
        for key in keys {
            let bytes = PutPayload::from(key.as_bytes().to_vec());
            there.put(&RemotePath::from(*key), bytes).await.unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path()).unwrap();
        let remote = Remote::of(there.clone(), true);
        blobs.mount("r", "ada", remote).await.unwrap();
        (dir, blobs, there)
    }

    async fn names(
        blobs: &Blobs,
        prefix: &str,
        delimiter: &str,
        after: Option<&str>,
        max: usize,
    ) -> (Vec<String>, bool) {
        let remote = blobs.remote("r").unwrap().unwrap();
        let wanted = Wanted {
            bucket: "r",
            prefix,
            delimiter,
            after,
            max,
        };
        let page = remote.page(&wanted).await.unwrap();
        (
            page.items.iter().map(|i| i.name().to_owned()).collect(),
            page.truncated,
        )
    }

    #[tokio::test]
    async fn lists_are_as_those_of_our_own() {
        let (_dir, blobs, _) = lab(&["a", "d/1", "d/2", "d/x/3", "e"]).await;
        let all = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            names(&blobs, "", "", None, 10).await,
            (all(&["a", "d/1", "d/2", "d/x/3", "e"]), false)
        );
        assert_eq!(
            names(&blobs, "", "/", None, 10).await,
            (all(&["a", "d/", "e"]), false)
        );
        assert_eq!(
            names(&blobs, "", "/", None, 2).await,
            (all(&["a", "d/"]), true)
        );
        assert_eq!(
            names(&blobs, "", "/", Some("d/"), 2).await,
            (all(&["e"]), false)
        );
        assert_eq!(
            names(&blobs, "d/", "/", None, 10).await,
            (all(&["d/1", "d/2", "d/x/"]), false)
        );
        assert_eq!(
            names(&blobs, "d/", "", Some("d/1"), 1).await,
            (all(&["d/2"]), true)
        );
        assert_eq!(names(&blobs, "d", "", None, 10).await.0.len(), 3);
        assert_eq!(
            names(&blobs, "nothing/", "/", None, 10).await,
            (Vec::new(), false)
        );
    }

    #[tokio::test]
    async fn what_is_kept_is_asked_for_again_and_forgotten() {
        let (dir, blobs, there) = lab(&["d/1", "d/2"]).await;
        let remote = blobs.remote("r").unwrap().unwrap();
        assert!(
            blobs
                .look_there(&remote, "r", "d/1")
                .await
                .unwrap()
                .unwrap()
                .origin
                .is_none()
        );
        blobs.present("s3://r/d").await.unwrap();
        let file = dir.path().join("buckets/r/d/1");
        assert_eq!(std::fs::read(&file).unwrap(), b"d/1");
        assert!(
            blobs
                .look_there(&remote, "r", "d/1")
                .await
                .unwrap()
                .unwrap()
                .origin
                .is_some()
        );

        there
            .put(
                &RemotePath::from("d/1"),
                PutPayload::from("changed".as_bytes().to_vec()),
            )
            .await
            .unwrap();
        remote.seen.lock().unwrap().clear();
        blobs.present("s3://r/d").await.unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"changed");

        there.delete(&RemotePath::from("d/2")).await.unwrap();
        remote.seen.lock().unwrap().clear();
        assert!(
            blobs
                .look_there(&remote, "r", "d/2")
                .await
                .unwrap()
                .is_none()
        );
        assert!(!dir.path().join("buckets/r/d/2").exists());

        assert_eq!(blobs.forget_kept(0).await.unwrap(), 0);
        assert_eq!(blobs.forget_kept(i64::MAX).await.unwrap(), 1);
        assert!(!file.exists());
        assert!(blobs.writable("s3://r/d").await.is_err());

        // After a restart there is no way until it is mounted again.
        drop((blobs, remote));
        // Its writer ends when it hears that nobody is left.
        let again = async {
            loop {
                match Blobs::open(dir.path()) {
                    Ok(blobs) => break blobs,
                    Err(e) => assert_eq!(e.code, Code::Unavailable, "{e}"),
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let limit = Duration::from_secs(10);
        let blobs = tokio::time::timeout(limit, again).await.unwrap();
        assert_eq!(blobs.remote("r").unwrap_err().code, Code::Unavailable);
        assert!(blobs.remote("other").unwrap().is_none());
        blobs.unmount("r", "ada").await.unwrap();
        assert!(blobs.remote("r").unwrap().is_none());
    }
}
