//! Who uses which blob: rows that gain or lose a version gain or lose its blobs in the same transaction, and a
//! blob that nobody uses goes.

use super::{
    Inner,
    rows::{Place, Segment, Version},
};
use crate::{Result, db::bytes::Tables};

/// What is to be done on the disk once a transaction is durable.
#[derive(Default)]
pub(crate) struct After {
    /// Ids of blobs whose files nobody needs any more.
    files: Vec<String>,
    /// (bucket, key) whose file in the tree may differ from the store now.
    touched: Vec<(String, String)>,
}

impl After {
    /// Notes that a key changed.
    pub(crate) fn touch(&mut self, bucket: &str, key: &str) {
        self.touched.push((bucket.into(), key.into()));
    }
}

/// Counts one more use of each segment's blob.
pub(crate) fn acquire(t: &Tables, segments: &[Segment]) -> Result<()> {
    for segment in segments {
        if let Some(mut blob) = t.blob(&segment.blob)? {
            blob.refs += 1;
            t.put_blob(&segment.blob, &blob)?;
        }
    }
    Ok(())
}

/// Counts one use less of each segment's blob.
pub(crate) fn release(t: &Tables, segments: &[Segment], after: &mut After) -> Result<()> {
    for segment in segments {
        let Some(mut blob) = t.blob(&segment.blob)? else {
            continue;
        };
        blob.refs = blob.refs.saturating_sub(1);
        if blob.refs > 0 {
            t.put_blob(&segment.blob, &blob)?;
            continue;
        }
        t.remove_blob(&segment.blob)?;
        if blob.place != Place::Inline {
            after.files.push(segment.blob.clone());
        }
    }
    Ok(())
}

impl Inner {
    /// Called before a key's file in the tree is replaced or removed: bytes that lie there and are needed by
    /// others, or by the version itself when it stays, get a name of their own first.
    pub(crate) fn rescue(&self, t: &Tables, version: &Version, stays: bool) -> Result<()> {
        for segment in &version.segments {
            let Some(mut blob) = t.blob(&segment.blob)? else {
                continue;
            };
            let Place::Tree { path, .. } = &blob.place else {
                continue;
            };
            if !stays && blob.refs < 2 {
                continue;
            }
            let (from, to) = (self.tree.join(path), self.file(&segment.blob));
            match std::fs::hard_link(&from, &to) {
                Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(super::disk(&from, &e));
                }
                _ => {}
            }
            blob.place = Place::File;
            t.put_blob(&segment.blob, &blob)?;
        }
        Ok(())
    }

    /// Brings the disk in line with what was committed. Blocking. What fails here, a sweep does later.
    pub(crate) fn clean_up(&self, after: &After) {
        for id in &after.files {
            let _ = std::fs::remove_file(self.file(id));
        }
        for (bucket, key) in &after.touched {
            if let Err(e) = self.refresh(bucket, key) {
                tracing::warn!(
                    context = e.context,
                    bucket,
                    key,
                    "the mounted file differs: {e}"
                );
            }
        }
    }
}
