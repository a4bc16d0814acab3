//! Uploads in parts. A part is a blob of its own; completing an upload is one transaction that names the parts
//! in order, so nothing is copied however large the object.

use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, dto::*, s3_error};

use super::{
    Door,
    assemble::{assemble, choose, etag_of, tag_of},
    bucket_row, check_key,
    convert::{
        Claims, Conditions, about_of, acl_in, announced, checksum_in, checksum_out, etag,
        grants_of, hasher, number, page_size, time,
    },
    grant,
    object::{quota, slice, source, unsupported},
};
use crate::{
    blob::{
        files::new_id,
        list::fold,
        now_ms,
        refs::{self, After},
        rows::{self, Upload},
    },
    db::bytes::Tables,
};

const LARGEST: u64 = 5 << 30;

fn upload_row(t: &Tables, bucket: &str, key: &str, id: &str) -> S3Result<Upload> {
    bucket_row(t, bucket)?;
    t.upload(bucket, key, id)?.ok_or_else(|| {
        s3_error!(
            NoSuchUpload,
            "there is no such upload: it was completed, aborted or never begun"
        )
    })
}

fn part_number(n: i32) -> S3Result<u32> {
    u32::try_from(n)
        .ok()
        .filter(|n| (1..=10_000).contains(n))
        .ok_or_else(|| {
            s3_error!(
                InvalidArgument,
                "Part number must be an integer between 1 and 10000, inclusive"
            )
        })
}

impl Door {
    pub(super) async fn begin(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = req.input;
        check_key(&input.key)?;
        unsupported(&[(
            "x-amz-server-side-encryption",
            input.server_side_encryption.is_some(),
        )])?;
        let algorithm = input
            .checksum_algorithm
            .as_ref()
            .map(|a| a.as_str().to_owned());
        hasher(algorithm.as_deref())?;
        let asked = input.checksum_type.as_ref().map(ChecksumType::as_str);
        let checksum = match (algorithm, asked) {
            (None, Some(_)) => {
                return Err(s3_error!(
                    InvalidRequest,
                    "x-amz-checksum-type needs x-amz-checksum-algorithm"
                ));
            }
            (None, None) => None,
            (Some(a), Some("FULL_OBJECT")) if a.starts_with("SHA") => {
                return Err(s3_error!(
                    InvalidRequest,
                    "SHA checksums of parts cannot be made into one of the whole: ask for COMPOSITE"
                ));
            }
            (Some(a), Some("COMPOSITE")) if a == "CRC64NVME" => {
                return Err(s3_error!(
                    InvalidRequest,
                    "CRC64NVME is always of the whole object: ask for FULL_OBJECT"
                ));
            }
            (Some(a), asked) => {
                let composite = asked.map_or(a != "CRC64NVME", |t| t == "COMPOSITE");
                Some((a, composite))
            }
        };
        let upload = Upload {
            at: now_ms(),
            about: about_of!(input),
            acl: acl_in(
                input.acl.as_ref().map(ObjectCannedACL::as_str),
                grants_of!(input),
            )?,
            checksum: checksum.clone(),
        };
        let id = new_id();
        let (bucket, key, upload_id) = (input.bucket.clone(), input.key.clone(), id.clone());
        self.blobs
            .inner
            .db
            .write(move |t| -> S3Result<()> {
                bucket_row(t, &bucket)?;
                Ok(t.put_upload(&bucket, &key, &upload_id, &upload)?)
            })
            .await?;
        let (algorithm, composite) = checksum.unzip();
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            checksum_algorithm: algorithm.map(ChecksumAlgorithm::from),
            checksum_type: composite.map(|c| {
                ChecksumType::from_static(if c {
                    ChecksumType::COMPOSITE
                } else {
                    ChecksumType::FULL_OBJECT
                })
            }),
            ..Default::default()
        }))
    }

    pub(super) async fn part(
        &self,
        req: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let mut input = req.input;
        let number = part_number(input.part_number)?;
        let length = input
            .content_length
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or_default();
        if length > LARGEST {
            return Err(s3_error!(EntityTooLarge, "a part has at most 5 GiB"));
        }
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
        let (bucket, key, id) = (
            input.bucket.clone(),
            input.key.clone(),
            input.upload_id.clone(),
        );
        let upload = self
            .blobs
            .inner
            .db
            .read(move |t| -> S3Result<Upload> {
                let upload = upload_row(t, &bucket, &key, &id)?;
                let row = bucket_row(t, &bucket)?;
                quota(t, &bucket, row.quota, length)?;
                Ok(upload)
            })
            .await?;
        self.blobs.inner.room_for(length)?;
        let asked = upload.checksum.as_ref().map(|(a, _)| a.as_str());
        let hasher = hasher(claims.wanted(asked).as_deref())?;
        let body = input
            .body
            .take()
            .ok_or_else(|| s3_error!(IncompleteBody, "a part needs a body"))?;
        let draft = self.blobs.inner.take_in(body, hasher).await?;
        let checksum = claims.check(&draft)?;
        let draft = draft.settle(&self.blobs.inner).await?;
        let sums = checksum_out(checksum.as_ref());
        let tag = etag(&draft.md5);
        let (bucket, key, id) = (input.bucket, input.key, input.upload_id);
        let after = self
            .blobs
            .inner
            .db
            .write(move |t| -> S3Result<After> {
                upload_row(t, &bucket, &key, &id)?;
                let part = rows::Part {
                    at: now_ms(),
                    size: draft.size,
                    etag: draft.md5.clone(),
                    checksum,
                    segments: draft.keep(t)?,
                };
                Ok(replace_part(t, &bucket, &id, number, &part)?)
            })
            .await?;
        self.blobs.inner.finish(after).await;
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(tag),
            checksum_crc32: sums.checksum_crc32,
            checksum_crc32c: sums.checksum_crc32c,
            checksum_crc64nvme: sums.checksum_crc64nvme,
            checksum_sha1: sums.checksum_sha1,
            checksum_sha256: sums.checksum_sha256,
            ..Default::default()
        }))
    }

    pub(super) async fn part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = req.input;
        let number = part_number(input.part_number)?;
        let (source_bucket, source_key, source_id) = source(&input.copy_source)?;
        let original = self
            .look_whole(&source_bucket, &source_key, source_id.as_deref())
            .await?;
        if original.marker {
            return Err(s3_error!(NoSuchKey));
        }
        let conditions = Conditions {
            if_match: input.copy_source_if_match.as_ref(),
            if_none_match: input.copy_source_if_none_match.as_ref(),
            modified_since: input.copy_source_if_modified_since.as_ref(),
            unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
        };
        conditions.check_copy(&original)?;
        let (start, end) = match input.copy_source_range.as_deref() {
            None => (0, original.size),
            Some(text) => copy_range(text, original.size)?,
        };
        if end - start > LARGEST {
            return Err(s3_error!(InvalidRequest, "a part has at most 5 GiB"));
        }
        let (bucket, key, id) = (
            input.bucket.clone(),
            input.key.clone(),
            input.upload_id.clone(),
        );
        let upload = self
            .blobs
            .inner
            .db
            .read(move |t| upload_row(t, &bucket, &key, &id))
            .await?;
        let segments = slice(&original, start, end - start);
        // An ETag is an MD5 of the bytes, so they are read once; they are shared, not written again.
        let asked = upload.checksum.as_ref().map(|(a, _)| a.as_str());
        let (md5, sums) = self
            .blobs
            .inner
            .digests(&segments, end - start, hasher(asked)?)
            .await?;
        let checksum = checksum_in(&sums).map(|(algorithm, value)| rows::Checksum {
            algorithm: algorithm.into(),
            value,
            composite: false,
        });
        let part = rows::Part {
            at: now_ms(),
            size: end - start,
            etag: md5.clone(),
            segments,
            checksum,
        };
        let at = part.at;
        let (bucket, key, id) = (input.bucket, input.key, input.upload_id);
        let after = self
            .blobs
            .inner
            .db
            .write(move |t| -> S3Result<After> {
                upload_row(t, &bucket, &key, &id)?;
                let row = bucket_row(t, &bucket)?;
                quota(t, &bucket, row.quota, part.size)?;
                if part
                    .segments
                    .iter()
                    .any(|s| !matches!(t.blob(&s.blob), Ok(Some(_))))
                {
                    return Err(s3_error!(NoSuchKey, "the source was deleted meanwhile"));
                }
                refs::acquire(t, &part.segments)?;
                Ok(replace_part(t, &bucket, &id, number, &part)?)
            })
            .await?;
        self.blobs.inner.finish(after).await;
        Ok(S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(CopyPartResult {
                e_tag: Some(etag(&md5)),
                last_modified: Some(time(at)),
                ..Default::default()
            }),
            copy_source_version_id: source_id,
            ..Default::default()
        }))
    }

    pub(super) async fn abort(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let (bucket, key, id) = (req.input.bucket, req.input.key, req.input.upload_id);
        let after = self
            .blobs
            .inner
            .db
            .write(move |t| -> S3Result<After> {
                upload_row(t, &bucket, &key, &id)?;
                let mut after = After::default();
                drop_upload(t, &bucket, &key, &id, &mut after)?;
                Ok(after)
            })
            .await?;
        self.blobs.inner.finish(after).await;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    pub(super) async fn complete(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        let named = input
            .multipart_upload
            .and_then(|u| u.parts)
            .unwrap_or_default();
        if named.is_empty() {
            return Err(s3_error!(
                MalformedXML,
                "CompleteMultipartUpload must name the parts"
            ));
        }
        let claimed = Checksum {
            checksum_crc32: input.checksum_crc32,
            checksum_crc32c: input.checksum_crc32c,
            checksum_crc64nvme: input.checksum_crc64nvme,
            checksum_sha1: input.checksum_sha1,
            checksum_sha256: input.checksum_sha256,
            checksum_type: None,
        };
        let claimed = checksum_in(&claimed).map(|(_, value)| value);
        let (if_match, if_none_match) = (input.if_match, input.if_none_match);
        let (inner, bucket, key, id) = (
            self.blobs.inner.clone(),
            input.bucket.clone(),
            input.key.clone(),
            input.upload_id,
        );
        let size = input.mpu_object_size;
        let (version, shown, after) = self
            .blobs
            .inner
            .db
            .write(move |t| -> S3Result<_> {
                let upload = match upload_row(t, &bucket, &key, &id) {
                    // A client that did not hear the answer asks again.
                    Err(e) if *e.code() == S3ErrorCode::NoSuchUpload => {
                        let done = t.latest(&bucket, &key)?.map(|(_, v)| v);
                        let done = done.filter(|v| {
                            v.etag == etag_of(named.iter().filter_map(tag_of), named.len())
                        });
                        return match done {
                            Some(version) => Ok((version, None, After::default())),
                            None => Err(e),
                        };
                    }
                    found => found?,
                };
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
                let chosen = choose(t, &id, &named)?;
                let version = assemble(&upload, &chosen)?;
                if size.is_some_and(|s| number::<i64>(version.size) != Some(s)) {
                    return Err(s3_error!(
                        InvalidRequest,
                        "x-amz-mp-object-size is not the sum of the parts' sizes"
                    ));
                }
                let computed = version.checksum.as_ref().map(|c| &c.value);
                if claimed.is_some() && upload.checksum.is_some() && claimed.as_ref() != computed {
                    return Err(s3_error!(
                        BadDigest,
                        "the checksum of the whole does not fit its parts"
                    ));
                }
                // The parts' uses pass to the object: count them there before the upload lets them go.
                refs::acquire(t, &version.segments)?;
                let mut after = After::default();
                drop_upload(t, &bucket, &key, &id, &mut after)?;
                let version = inner.put_version(t, &bucket, &key, version, &mut after)?;
                let shown = Some(version.id.clone()).filter(|id| id != rows::NULL);
                Ok((version, shown, after))
            })
            .await?;
        self.blobs.inner.finish(after).await;
        let sums = checksum_out(version.checksum.as_ref());
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
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

    pub(super) async fn parts(
        &self,
        req: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let owner = grant(&req)?.namespace.clone();
        let input = req.input;
        let most = page_size(input.max_parts, "max-parts")?;
        let (bucket, key, id) = (
            input.bucket.clone(),
            input.key.clone(),
            input.upload_id.clone(),
        );
        let (upload, parts) = self
            .blobs
            .inner
            .db
            .read(move |t| -> S3Result<_> {
                Ok((upload_row(t, &bucket, &key, &id)?, t.parts(&id)?))
            })
            .await?;
        let marker = input
            .part_number_marker
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or_default();
        let mut rest = parts.into_iter().filter(|(n, _)| *n > marker);
        let shown: Vec<Part> = rest
            .by_ref()
            .take(most)
            .map(|(n, part)| {
                let sums = checksum_out(part.checksum.as_ref());
                Part {
                    part_number: i32::try_from(n).ok(),
                    e_tag: Some(etag(&part.etag)),
                    last_modified: Some(time(part.at)),
                    size: number(part.size),
                    checksum_crc32: sums.checksum_crc32,
                    checksum_crc32c: sums.checksum_crc32c,
                    checksum_crc64nvme: sums.checksum_crc64nvme,
                    checksum_sha1: sums.checksum_sha1,
                    checksum_sha256: sums.checksum_sha256,
                }
            })
            .collect();
        let owner = super::owner(&owner);
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            is_truncated: Some(rest.next().is_some()),
            max_parts: i32::try_from(most).ok(),
            next_part_number_marker: shown.last().and_then(|p| p.part_number),
            part_number_marker: input.part_number_marker,
            parts: Some(shown),
            initiator: Some(Initiator {
                display_name: owner.display_name.clone(),
                id: owner.id.clone(),
            }),
            owner: Some(owner),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            checksum_algorithm: upload
                .checksum
                .as_ref()
                .map(|(a, _)| ChecksumAlgorithm::from(a.clone())),
            checksum_type: upload.checksum.map(|(_, c)| {
                ChecksumType::from_static(if c {
                    ChecksumType::COMPOSITE
                } else {
                    ChecksumType::FULL_OBJECT
                })
            }),
            ..Default::default()
        }))
    }

    pub(super) async fn uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let owner = super::owner(&grant(&req)?.namespace);
        let input = req.input;
        let most = page_size(input.max_uploads, "max-uploads")?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let delimiter = input.delimiter.clone().unwrap_or_default();
        let (bucket, start) = (
            input.bucket.clone(),
            input.key_marker.clone().unwrap_or_default(),
        );
        // Without an upload's id the marker's key is done with.
        let start_id = input
            .upload_id_marker
            .clone()
            .unwrap_or_else(|| "\u{10ffff}".into());
        let mut uploads: Vec<MultipartUpload> = Vec::new();
        let mut folded: Vec<String> = Vec::new();
        let mut truncated = false;
        let (p, d) = (prefix.clone(), delimiter.clone());
        let (uploads, folded, truncated) = self
            .blobs
            .inner
            .db
            .read(move |t| -> S3Result<_> {
                bucket_row(t, &bucket)?;
                t.uploads(&bucket, (start.as_bytes(), &start_id), |key, id, upload| {
                    let Ok(key) = std::str::from_utf8(key) else {
                        return true;
                    };
                    if !key.starts_with(&p) {
                        return true;
                    }
                    let fold = fold(key, &p, &d).map(str::to_owned);
                    if fold.is_some() && folded.last() == fold.as_ref() {
                        return true;
                    }
                    if uploads.len() + folded.len() == most {
                        truncated = true;
                        return false;
                    }
                    match fold {
                        Some(fold) => folded.push(fold),
                        None => uploads.push(MultipartUpload {
                            key: Some(key.to_owned()),
                            upload_id: Some(id.to_owned()),
                            initiated: Some(time(upload.at)),
                            initiator: Some(Initiator {
                                display_name: owner.display_name.clone(),
                                id: owner.id.clone(),
                            }),
                            owner: Some(owner.clone()),
                            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
                            ..Default::default()
                        }),
                    }
                    true
                })?;
                Ok((uploads, folded, truncated))
            })
            .await?;
        let last = uploads.last();
        Ok(S3Response::new(ListMultipartUploadsOutput {
            next_key_marker: last
                .and_then(|u| u.key.clone())
                .or_else(|| folded.last().cloned()),
            next_upload_id_marker: last.and_then(|u| u.upload_id.clone()),
            bucket: Some(input.bucket),
            prefix: input.prefix,
            delimiter: input.delimiter,
            key_marker: input.key_marker,
            upload_id_marker: input.upload_id_marker,
            max_uploads: i32::try_from(most).ok(),
            is_truncated: Some(truncated),
            common_prefixes: Some(
                folded
                    .into_iter()
                    .map(|p| CommonPrefix { prefix: Some(p) })
                    .collect(),
            ),
            uploads: Some(uploads),
            ..Default::default()
        }))
    }
}

fn replace_part(
    t: &Tables,
    bucket: &str,
    id: &str,
    number: u32,
    part: &rows::Part,
) -> crate::Result<After> {
    let mut after = After::default();
    let old = t.part(id, number)?;
    t.count(bucket, part.size, old.as_ref().map_or(0, |p| p.size))?;
    if let Some(old) = old {
        refs::release(t, &old.segments, &mut after)?;
    }
    t.put_part(id, number, part)?;
    Ok(after)
}

/// Removes an upload with all its parts.
pub(crate) fn drop_upload(
    t: &Tables,
    bucket: &str,
    key: &str,
    id: &str,
    after: &mut After,
) -> crate::Result<()> {
    for (number, part) in t.parts(id)? {
        t.count(bucket, 0, part.size)?;
        refs::release(t, &part.segments, after)?;
        t.remove_part(id, number)?;
    }
    t.remove_upload(bucket, key, id)
}

/// `bytes=first-last`, both told and inside of the source.
fn copy_range(text: &str, size: u64) -> S3Result<(u64, u64)> {
    let wrong = || {
        s3_error!(
            InvalidArgument,
            "x-amz-copy-source-range must be bytes=first-last"
        )
    };
    let (first, last) = text
        .strip_prefix("bytes=")
        .and_then(|r| r.split_once('-'))
        .ok_or_else(wrong)?;
    let (first, last): (u64, u64) = (
        first.parse().map_err(|_| wrong())?,
        last.parse().map_err(|_| wrong())?,
    );
    if first > last {
        return Err(wrong());
    }
    if last >= size {
        return Err(s3_error!(
            InvalidRange,
            "x-amz-copy-source-range lies outside of the source"
        ));
    }
    Ok((first, last + 1))
}
