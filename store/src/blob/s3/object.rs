//! Writing objects: put, copy, tags; and which version a request means.

use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, dto::*, s3_error};

use super::{
    Door, bucket_row, check_key,
    convert::{
        Claims, Conditions, about_of, acl_in, announced, checksum_in, checksum_out, etag,
        grants_of, hasher, number, tags_in, tags_out, time,
    },
};
use crate::{
    blob::{
        now_ms,
        refs::{self, After},
        rows::{NULL, Segment, Version, Versioning},
    },
    db::bytes::Tables,
};

/// No object is larger, in one piece or in parts.
const LARGEST_PUT: u64 = 5 << 30;

/// The version that a request means.
fn find(t: &Tables, bucket: &str, key: &str, id: Option<&str>) -> S3Result<(u64, Version)> {
    bucket_row(t, bucket)?;
    let Some(id) = id.filter(|id| !id.is_empty()) else {
        return t
            .latest(bucket, key)?
            .ok_or_else(|| s3_error!(NoSuchKey, "there is no such object"));
    };
    check_version_id(id)?;
    t.version(bucket, key, id)?
        .ok_or_else(|| s3_error!(NoSuchVersion, "there is no such version of this object"))
}

pub(super) fn check_version_id(id: &str) -> S3Result<()> {
    if id == NULL || (id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())) {
        Ok(())
    } else {
        Err(s3_error!(InvalidArgument, "Invalid version id specified"))
    }
}

/// The version id as an answer tells it: not at all in a bucket that never had versions.
pub(super) fn shown_id(t: &Tables, bucket: &str, version: &Version) -> S3Result<Option<String>> {
    let versioning = t.bucket(bucket)?.map_or(Versioning::Off, |b| b.versioning);
    Ok((versioning != Versioning::Off).then(|| version.id.clone()))
}

impl Door {
    /// As [`Door::look`], with the bytes here: for copies.
    pub(super) async fn look_whole(
        &self,
        bucket: &str,
        key: &str,
        id: Option<&str>,
    ) -> S3Result<Version> {
        if self.blobs.remote(bucket)?.is_some() {
            self.blobs.present(&format!("s3://{bucket}/{key}")).await?;
        }
        self.look(bucket, key, id).await
    }

    /// Finds a version to read. Files that a step wrote, or wrote to since, are taken in first.
    pub(super) async fn look(
        &self,
        bucket: &str,
        key: &str,
        id: Option<&str>,
    ) -> S3Result<Version> {
        if let Some(remote) = self.blobs.remote(bucket)? {
            if id.is_some_and(|id| id != NULL) {
                return Err(s3_error!(NoSuchVersion));
            }
            let found = self.blobs.look_there(&remote, bucket, key).await?;
            return found.ok_or_else(|| s3_error!(NoSuchKey));
        }
        let (inner, b, k, id) = (
            self.blobs.inner.clone(),
            bucket.to_owned(),
            key.to_owned(),
            id.map(str::to_owned),
        );
        let current_only = id.is_none();
        let look = move |t: &Tables| -> S3Result<(Result<Version, S3Error>, bool)> {
            let found = find(t, &b, &k, id.as_deref()).map(|(_, v)| v);
            let stale = match &found {
                Ok(version) => inner.changed_in_tree(t, version)?,
                Err(e) => *e.code() == S3ErrorCode::NoSuchKey && inner.has_file(&b, &k),
            };
            Ok((found, stale))
        };
        let look = std::sync::Arc::new(look);
        let first = look.clone();
        let (found, stale) = self.blobs.inner.db.read(move |t| first(t)).await?;
        if !(stale && current_only) {
            return found;
        }
        let (inner, b, k) = (self.blobs.inner.clone(), bucket.to_owned(), key.to_owned());
        let after: S3Result<After> = self
            .blobs
            .inner
            .db
            .write(move |t| {
                let mut after = After::default();
                inner.adopt_file(t, &b, &k, &mut after)?;
                Ok(after)
            })
            .await;
        self.blobs.inner.finish(after?).await;
        self.blobs.inner.db.read(move |t| look(t)).await?.0
    }

    pub(super) async fn put(
        &self,
        req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let grant = super::grant(&req)?;
        let mut input = req.input;
        check_key(&input.key)?;
        unsupported(&[
            (
                "x-amz-server-side-encryption",
                input.server_side_encryption.is_some(),
            ),
            (
                "x-amz-server-side-encryption-customer-algorithm",
                input.sse_customer_algorithm.is_some(),
            ),
            (
                "x-amz-object-lock-mode",
                input.object_lock_mode.is_some() || input.object_lock_legal_hold_status.is_some(),
            ),
            (
                "x-amz-write-offset-bytes",
                input.write_offset_bytes.is_some(),
            ),
        ])?;
        if input
            .content_length
            .is_some_and(|n| number::<i64>(LARGEST_PUT).is_some_and(|most| n > most))
        {
            return Err(s3_error!(
                EntityTooLarge,
                "one PUT takes up to 5 GiB: send larger objects in parts"
            ));
        }
        let about = about_of!(input);
        let claims = Claims {
            md5: input.content_md5.take(),
            sums: Checksum {
                checksum_crc32: input.checksum_crc32.take(),
                checksum_crc32c: input.checksum_crc32c.take(),
                checksum_crc64nvme: input.checksum_crc64nvme.take(),
                checksum_sha1: input.checksum_sha1.take(),
                checksum_sha256: input.checksum_sha256.take(),
                checksum_type: None,
            },
            algorithm: announced(&req.headers),
            trailer: req.trailing_headers,
        };
        // Refused before the body is read where that is already known.
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        let (if_match, if_none_match) = (input.if_match.clone(), input.if_none_match.clone());
        let length = input
            .content_length
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or_default();
        let acl = acl_in(
            input.acl.as_ref().map(ObjectCannedACL::as_str),
            grants_of!(input),
        )?;
        let may = move |t: &Tables| -> S3Result<()> {
            let row = bucket_row(t, &bucket)?;
            // The gate has not seen the key of a form.
            if !grant.may(&row, &bucket, &key, true) {
                return Err(s3_error!(
                    AccessDenied,
                    "this access key does not open that"
                ));
            }
            let current = t
                .latest(&bucket, &key)?
                .map(|(_, v)| v)
                .filter(|v| !v.marker);
            let conditions = Conditions {
                if_match: if_match.as_ref(),
                if_none_match: if_none_match.as_ref(),
                ..Conditions::default()
            };
            conditions.check_write(current.as_ref())?;
            quota(t, &bucket, row.quota, length)
        };
        let may = std::sync::Arc::new(may);
        let early = may.clone();
        self.blobs.inner.db.read(move |t| early(t)).await?;
        self.blobs.inner.room_for(length)?;
        let asked = input
            .checksum_algorithm
            .as_ref()
            .map(ChecksumAlgorithm::as_str);
        let hasher = hasher(claims.wanted(asked).as_deref())?;
        let draft = match input.body.take() {
            Some(body) => self.blobs.inner.take_in(body, hasher).await?,
            None => {
                let nothing = futures::stream::empty::<Result<bytes::Bytes, s3s::StdError>>();
                self.blobs.inner.take_in(nothing, hasher).await?
            }
        };
        let checksum = claims.check(&draft)?;
        let draft = draft.settle(&self.blobs.inner).await?;
        let (inner, bucket, key) = (self.blobs.inner.clone(), input.bucket, input.key);
        let (version, shown, after) = self
            .blobs
            .inner
            .db
            .write(move |t| -> S3Result<_> {
                may(t)?;
                let mut after = After::default();
                let version = Version {
                    at: now_ms(),
                    size: draft.size,
                    etag: draft.md5.clone(),
                    segments: draft.keep(t)?,
                    about,
                    checksum,
                    acl,
                    ..Version::default()
                };
                let version = inner.put_version(t, &bucket, &key, version, &mut after)?;
                let shown = Some(version.id.clone()).filter(|id| id != NULL);
                Ok((version, shown, after))
            })
            .await?;
        self.blobs.inner.finish(after).await;
        let sums = checksum_out(version.checksum.as_ref());
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(etag(&version.etag)),
            version_id: shown,
            checksum_crc32: sums.checksum_crc32,
            checksum_crc32c: sums.checksum_crc32c,
            checksum_crc64nvme: sums.checksum_crc64nvme,
            checksum_sha1: sums.checksum_sha1,
            checksum_sha256: sums.checksum_sha256,
            checksum_type: sums.checksum_type,
            ..Default::default()
        }))
    }

    pub(super) async fn copy(
        &self,
        req: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = req.input;
        check_key(&input.key)?;
        unsupported(&[(
            "x-amz-server-side-encryption",
            input.server_side_encryption.is_some(),
        )])?;
        let (source_bucket, source_key, source_id) = source(&input.copy_source)?;
        let conditions = Conditions {
            if_match: input.copy_source_if_match.as_ref(),
            if_none_match: input.copy_source_if_none_match.as_ref(),
            modified_since: input.copy_source_if_modified_since.as_ref(),
            unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
        };
        let original = self
            .look_whole(&source_bucket, &source_key, source_id.as_deref())
            .await?;
        if original.marker {
            return Err(if source_id.is_some() {
                s3_error!(InvalidRequest, "the source is a delete marker")
            } else {
                s3_error!(NoSuchKey)
            });
        }
        conditions.check_copy(&original)?;
        if original.size > LARGEST_PUT {
            return Err(s3_error!(
                InvalidRequest,
                "one copy takes up to 5 GiB: copy larger objects in parts"
            ));
        }
        let acl = acl_in(
            input.acl.as_ref().map(ObjectCannedACL::as_str),
            grants_of!(input),
        )?;
        let replaces = |d: Option<&str>| d == Some("REPLACE");
        let new_about = replaces(
            input
                .metadata_directive
                .as_ref()
                .map(MetadataDirective::as_str),
        );
        let new_tags = replaces(
            input
                .tagging_directive
                .as_ref()
                .map(TaggingDirective::as_str),
        );
        let same = source_bucket == input.bucket && source_key == input.key;
        if same && !new_about && !new_tags && source_id.is_none() {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes."
            ));
        }
        let given = about_of!(input);
        let mut about = if new_about {
            given.clone()
        } else {
            original.about.clone()
        };
        about.tags = if new_tags {
            given.tags
        } else {
            original.about.tags.clone()
        };
        // The bytes are shared; a checksum of another kind is computed by reading them once.
        let asked = input
            .checksum_algorithm
            .as_ref()
            .map(|a| a.as_str().to_owned());
        let mut checksum = original.checksum.clone();
        if let Some(algorithm) = asked.filter(|a| {
            checksum
                .as_ref()
                .is_none_or(|c| c.algorithm != *a || c.composite)
        }) {
            let (_, sums) = self
                .blobs
                .inner
                .digests(&original.segments, original.size, hasher(Some(&algorithm))?)
                .await?;
            checksum = checksum_in(&sums).map(|(algorithm, value)| crate::blob::rows::Checksum {
                algorithm: algorithm.into(),
                value,
                composite: false,
            });
        }
        let (inner, bucket, key) = (self.blobs.inner.clone(), input.bucket, input.key);
        let from = source_id.clone();
        let (version, shown, after) = self
            .blobs
            .inner
            .db
            .write(move |t| -> S3Result<_> {
                let row = bucket_row(t, &bucket)?;
                let original = find(t, &source_bucket, &source_key, from.as_deref())?.1;
                quota(t, &bucket, row.quota, original.size)?;
                refs::acquire(t, &original.segments)?;
                let mut after = After::default();
                let version = Version {
                    at: now_ms(),
                    size: original.size,
                    etag: original.etag,
                    segments: original.segments,
                    about,
                    checksum,
                    acl,
                    ..Version::default()
                };
                let version = inner.put_version(t, &bucket, &key, version, &mut after)?;
                let shown = Some(version.id.clone()).filter(|id| id != NULL);
                Ok((version, shown, after))
            })
            .await?;
        self.blobs.inner.finish(after).await;
        let sums = checksum_out(version.checksum.as_ref());
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(CopyObjectResult {
                e_tag: Some(etag(&version.etag)),
                last_modified: Some(time(version.at)),
                checksum_crc32: sums.checksum_crc32,
                checksum_crc32c: sums.checksum_crc32c,
                checksum_crc64nvme: sums.checksum_crc64nvme,
                checksum_sha1: sums.checksum_sha1,
                checksum_sha256: sums.checksum_sha256,
                checksum_type: sums.checksum_type,
            }),
            copy_source_version_id: source_id,
            version_id: shown,
            ..Default::default()
        }))
    }

    pub(super) async fn tags(
        &self,
        req: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        let input = req.input;
        let version = self
            .look(&input.bucket, &input.key, input.version_id.as_deref())
            .await?;
        if version.marker {
            return Err(s3_error!(NoSuchKey));
        }
        Ok(S3Response::new(GetObjectTaggingOutput {
            tag_set: tags_out(&version.about.tags),
            version_id: Some(version.id).filter(|id| id != NULL),
        }))
    }

    /// Replaces the tags of a version; returns its id.
    pub(super) async fn set_tags(
        &self,
        bucket: String,
        key: String,
        id: Option<String>,
        set: Vec<Tag>,
    ) -> S3Result<Option<String>> {
        let tags = tags_in(&set, 10)?;
        self.revise(bucket, key, id, move |version| version.about.tags = tags)
            .await
    }

    /// Changes what is said of a version, not its bytes; returns its id.
    pub(super) async fn revise(
        &self,
        bucket: String,
        key: String,
        id: Option<String>,
        change: impl FnOnce(&mut Version) + Send + 'static,
    ) -> S3Result<Option<String>> {
        self.look(&bucket, &key, id.as_deref()).await?;
        self.blobs
            .inner
            .db
            .write(move |t| -> S3Result<_> {
                let (age, mut version) = find(t, &bucket, &key, id.as_deref())?;
                if version.marker {
                    return Err(s3_error!(
                        MethodNotAllowed,
                        "a delete marker has neither tags nor an ACL"
                    ));
                }
                change(&mut version);
                t.put_version(&bucket, &key, age, &version)?;
                Ok(Some(version.id).filter(|id| id != NULL))
            })
            .await
    }
}

/// A source of a copy, in this box.
pub(super) fn source(source: &CopySource) -> S3Result<(String, String, Option<String>)> {
    match source {
        CopySource::Bucket {
            bucket,
            key,
            version_id,
        } => Ok((
            bucket.to_string(),
            key.to_string(),
            version_id.as_deref().map(str::to_owned),
        )),
        _ => Err(s3_error!(
            NotImplemented,
            "only buckets of this box can be copied from"
        )),
    }
}

/// Refuses what would otherwise be ignored.
pub(super) fn unsupported(asked: &[(&str, bool)]) -> S3Result<()> {
    match asked.iter().find(|(_, asked)| *asked) {
        Some((name, _)) => Err(S3Error::with_message(
            S3ErrorCode::NotImplemented,
            format!("{name}: this box does not do that; leave the header out"),
        )),
        None => Ok(()),
    }
}

/// Refuses what would go over a bucket's quota.
pub(super) fn quota(t: &Tables, bucket: &str, quota: u64, more: u64) -> S3Result<()> {
    if quota == 0 || t.used(bucket)?.saturating_add(more) <= quota {
        return Ok(());
    }
    let mut error = S3Error::with_message(
        S3ErrorCode::from_bytes(b"QuotaExceeded").unwrap_or(S3ErrorCode::AccessDenied),
        format!(
            "bucket \"{bucket}\" may hold {quota} bytes and this would be more: delete something, or raise its quota"
        ),
    );
    error.set_status_code(hyper::StatusCode::FORBIDDEN);
    Err(error)
}

/// The bytes of a version between two offsets, as segments that may be used once more.
pub(super) fn slice(version: &Version, start: u64, length: u64) -> Vec<Segment> {
    crate::blob::files::stretch(&version.segments, start, length)
}
