//! Deleting objects, one or many.

use s3s::{S3Request, S3Response, S3Result, dto::*, s3_error};

use super::{
    Door, bucket_row,
    convert::{Conditions, number},
    object::check_version_id,
};
use crate::{
    blob::{
        Inner, now_ms,
        refs::After,
        rows::{Version, Versioning},
    },
    db::bytes::Tables,
};

/// What is to be deleted, and on which conditions.
struct Doomed {
    id: Option<String>,
    if_match: Option<ETagCondition>,
    size: Option<i64>,
    modified: Option<Timestamp>,
}

struct Gone {
    /// Of the version that was deleted, or of the marker that was made.
    id: Option<String>,
    /// Whether a delete marker was made, or was what was deleted.
    marker: bool,
}

impl Door {
    pub(super) async fn delete(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = req.input;
        let (inner, bucket, key) = (self.blobs.inner.clone(), input.bucket, input.key);
        let wanted = Doomed {
            id: input.version_id,
            if_match: input.if_match,
            size: input.if_match_size,
            modified: input.if_match_last_modified_time,
        };
        let (gone, after) = self
            .blobs
            .inner
            .db
            .write(move |t| -> S3Result<_> {
                let mut after = After::default();
                let gone = remove(&inner, t, &bucket, &key, &wanted, &mut after)?;
                Ok((gone, after))
            })
            .await?;
        self.blobs.inner.finish(after).await;
        Ok(S3Response::new(DeleteObjectOutput {
            delete_marker: gone.marker.then_some(true),
            version_id: gone.id,
            ..Default::default()
        }))
    }

    pub(super) async fn delete_many(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let grant = super::grant(&req)?;
        let input = req.input;
        if input.delete.objects.len() > 1000 {
            return Err(s3_error!(
                MalformedXML,
                "at most 1000 objects are deleted by one request"
            ));
        }
        let quiet = input.delete.quiet.unwrap_or_default();
        let (inner, bucket) = (self.blobs.inner.clone(), input.bucket);
        let (deleted, errors, after) = self
            .blobs
            .inner
            .db
            .write(move |t| -> S3Result<_> {
                let row = bucket_row(t, &bucket)?;
                let (mut deleted, mut errors, mut after) =
                    (Vec::new(), Vec::new(), After::default());
                for object in input.delete.objects {
                    let wanted = Doomed {
                        id: object.version_id.clone(),
                        if_match: object.e_tag.map(ETagCondition::ETag),
                        size: object.size,
                        modified: object.last_modified_time,
                    };
                    let gone = if grant.may(&row, &bucket, &object.key, true) {
                        remove(&inner, t, &bucket, &object.key, &wanted, &mut after)
                    } else {
                        Err(s3_error!(
                            AccessDenied,
                            "this access key does not open that"
                        ))
                    };
                    match gone {
                        Ok(gone) => deleted.push(DeletedObject {
                            key: Some(object.key),
                            version_id: object.version_id,
                            delete_marker: gone.marker.then_some(true),
                            delete_marker_version_id: gone.id.filter(|_| gone.marker),
                        }),
                        Err(e) => errors.push(s3s::dto::Error {
                            code: Some(e.code().as_str().to_owned()),
                            message: e.message().map(str::to_owned),
                            key: Some(object.key),
                            version_id: object.version_id,
                        }),
                    }
                }
                Ok((deleted, errors, after))
            })
            .await?;
        self.blobs.inner.finish(after).await;
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: (!quiet).then_some(deleted),
            errors: (!errors.is_empty()).then_some(errors),
            ..Default::default()
        }))
    }
}

fn remove(
    inner: &Inner,
    t: &Tables,
    bucket: &str,
    key: &str,
    wanted: &Doomed,
    after: &mut After,
) -> S3Result<Gone> {
    let row = bucket_row(t, bucket)?;
    let found = match wanted.id.as_deref().filter(|id| !id.is_empty()) {
        Some(id) => {
            check_version_id(id)?;
            t.version(bucket, key, id)?
        }
        None => t.latest(bucket, key)?,
    };
    let there = found
        .as_ref()
        .map(|(_, v)| v)
        .filter(|v| !v.marker || wanted.id.is_some());
    if wanted.if_match.is_some() || wanted.size.is_some() || wanted.modified.is_some() {
        let Some(version) = there else {
            return Err(s3_error!(NoSuchKey, "there is no such object"));
        };
        let conditions = Conditions {
            if_match: wanted.if_match.as_ref(),
            ..Conditions::default()
        };
        conditions.check_write(Some(version))?;
        let other_size = wanted
            .size
            .is_some_and(|s| number::<i64>(version.size) != Some(s));
        let at = version.at.div_euclid(1000);
        let other_time = wanted
            .modified
            .as_ref()
            .is_some_and(|m| super::convert::timestamp_seconds(m) != at);
        if other_size || other_time {
            return Err(super::convert::failed());
        }
    }
    if let Some(id) = &wanted.id.as_ref().filter(|id| !id.is_empty()) {
        let marker = found.as_ref().is_some_and(|(_, v)| v.marker);
        if let Some((age, version)) = &found {
            inner.drop_version(t, bucket, key, *age, version, after)?;
        }
        return Ok(Gone {
            id: Some((*id).clone()),
            marker,
        });
    }
    if row.versioning == Versioning::Off {
        match &found {
            Some((age, version)) => inner.drop_version(t, bucket, key, *age, version, after)?,
            // Not an object yet, but a file that a step left.
            None if inner.has_file(bucket, key) => after.touch(bucket, key),
            None => {}
        }
        return Ok(Gone {
            id: None,
            marker: false,
        });
    }
    let marker = Version {
        at: now_ms(),
        marker: true,
        ..Version::default()
    };
    let marker = inner.put_version(t, bucket, key, marker, after)?;
    Ok(Gone {
        id: Some(marker.id),
        marker: true,
    })
}
