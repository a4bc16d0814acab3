//! Reading objects: get, head, attributes.

use s3s::{S3Request, S3Response, S3Result, dto::*, s3_error};

use super::{
    Door,
    convert::{
        Conditions, checksum_out, etag, fit_for_headers, kind, metadata_out, number, page_size,
        time,
    },
    object::shown_id,
};
use crate::blob::rows::{self, About, Version};

/// What is said of an object, as this request wants it told.
macro_rules! told {
    ($input:expr, $about:expr) => {{
        let about = $about;
        let kind = $input.response_content_type.or(about.content_type);
        fit_for_headers(About {
            content_type: kind.or_else(|| Some("binary/octet-stream".into())),
            content_encoding: $input.response_content_encoding.or(about.content_encoding),
            content_disposition: $input
                .response_content_disposition
                .or(about.content_disposition),
            content_language: $input.response_content_language.or(about.content_language),
            cache_control: $input.response_cache_control.or(about.cache_control),
            ..about
        })?
    }};
}

struct Looked {
    version: Version,
    shown: Option<String>,
    /// Bytes that are asked for: where they start and how many.
    start: u64,
    length: u64,
    range: Option<String>,
}

impl Door {
    async fn read(
        &self,
        bucket: &str,
        key: &str,
        id: Option<&str>,
        conditions: Conditions<'_>,
        range: Option<Range>,
        part: Option<i32>,
    ) -> S3Result<Looked> {
        let version = self.look(bucket, key, id).await?;
        let (b, v) = (bucket.to_owned(), version.clone());
        let shown = self
            .blobs
            .inner
            .db
            .read(move |t| shown_id(t, &b, &v))
            .await?;
        if version.marker {
            let mut error = if id.is_some() {
                s3_error!(MethodNotAllowed, "this version is a delete marker")
            } else {
                s3_error!(NoSuchKey)
            };
            let mut headers = hyper::HeaderMap::new();
            headers.insert(
                "x-amz-delete-marker",
                hyper::header::HeaderValue::from_static("true"),
            );
            if let Some(id) = shown.and_then(|id| id.parse().ok()) {
                headers.insert("x-amz-version-id", id);
            }
            error.set_headers(headers);
            return Err(error);
        }
        conditions.check_read(&version)?;
        let size = version.size;
        let (start, end) = match (range, part) {
            (Some(_), Some(_)) => {
                return Err(s3_error!(
                    InvalidRequest,
                    "ask for a range or for a part, not both"
                ));
            }
            (Some(range), None) => match range.check(size) {
                Ok(r) => (r.start, r.end),
                Err(_) => {
                    return Err(s3_error!(
                        InvalidRange,
                        "the range lies outside of the object"
                    ));
                }
            },
            (None, Some(number)) => part_range(&version, number)?,
            (None, None) => (0, size),
        };
        let partial = range.is_some() || (part.is_some() && !version.parts.is_empty());
        let range = partial.then(|| format!("bytes {start}-{}/{size}", end.saturating_sub(1)));
        Ok(Looked {
            version,
            shown,
            start,
            length: end - start,
            range,
        })
    }

    pub(super) async fn get(
        &self,
        req: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let conditions = Conditions {
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            modified_since: input.if_modified_since.as_ref(),
            unmodified_since: input.if_unmodified_since.as_ref(),
        };
        let id = input.version_id.as_deref();
        let looked = self
            .read(
                &input.bucket,
                &input.key,
                id,
                conditions,
                input.range,
                input.part_number,
            )
            .await?;
        let Looked {
            version,
            shown,
            start,
            length,
            range,
        } = looked;
        let remote = self.blobs.remote(&input.bucket)?;
        let body = match remote.filter(|_| version.origin.is_none()) {
            Some(remote) => {
                let (bucket, key) = (&input.bucket, &input.key);
                let bytes = self
                    .blobs
                    .read_there(&remote, bucket, key, &version, start, length)
                    .await?;
                StreamingBlob::wrap(bytes)
            }
            None => StreamingBlob::new(
                self.blobs
                    .inner
                    .send_out(&version.segments, start, length)
                    .await?,
            ),
        };
        let sums = if input.checksum_mode.is_some() {
            sums(&version, input.part_number, length)
        } else {
            Checksum::default()
        };
        let about = told!(input, version.about.clone());
        let output = GetObjectOutput {
            accept_ranges: Some("bytes".into()),
            body: Some(body),
            content_length: number(length),
            content_range: range,
            e_tag: Some(etag(&version.etag)),
            last_modified: Some(time(version.at)),
            metadata: metadata_out(&about),
            version_id: shown,
            tag_count: (!about.tags.is_empty())
                .then(|| i32::try_from(about.tags.len()).unwrap_or(i32::MAX)),
            parts_count: parts_count(&version, input.part_number),
            content_type: about.content_type,
            content_encoding: about.content_encoding,
            content_disposition: about.content_disposition,
            content_language: about.content_language,
            cache_control: about.cache_control,
            expires: input
                .response_expires
                .or_else(|| about.expires.map(|s| time(s * 1000))),
            website_redirect_location: about.redirect,
            checksum_crc32: sums.checksum_crc32,
            checksum_crc32c: sums.checksum_crc32c,
            checksum_crc64nvme: sums.checksum_crc64nvme,
            checksum_sha1: sums.checksum_sha1,
            checksum_sha256: sums.checksum_sha256,
            checksum_type: sums.checksum_type,
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    pub(super) async fn head(
        &self,
        req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        let conditions = Conditions {
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            modified_since: input.if_modified_since.as_ref(),
            unmodified_since: input.if_unmodified_since.as_ref(),
        };
        let id = input.version_id.as_deref();
        let looked = self
            .read(
                &input.bucket,
                &input.key,
                id,
                conditions,
                input.range,
                input.part_number,
            )
            .await?;
        let Looked {
            version,
            shown,
            length,
            range,
            ..
        } = looked;
        let sums = if input.checksum_mode.is_some() {
            sums(&version, input.part_number, length)
        } else {
            Checksum::default()
        };
        let about = told!(input, version.about.clone());
        let (partial, tags) = (range.is_some(), about.tags.len());
        let output = HeadObjectOutput {
            accept_ranges: Some("bytes".into()),
            content_length: number(length),
            content_range: range,
            e_tag: Some(etag(&version.etag)),
            last_modified: Some(time(version.at)),
            metadata: metadata_out(&about),
            version_id: shown,
            parts_count: parts_count(&version, input.part_number),
            content_type: about.content_type,
            content_encoding: about.content_encoding,
            content_disposition: about.content_disposition,
            content_language: about.content_language,
            cache_control: about.cache_control,
            expires: input
                .response_expires
                .or_else(|| about.expires.map(|s| time(s * 1000))),
            website_redirect_location: about.redirect,
            checksum_crc32: sums.checksum_crc32,
            checksum_crc32c: sums.checksum_crc32c,
            checksum_crc64nvme: sums.checksum_crc64nvme,
            checksum_sha1: sums.checksum_sha1,
            checksum_sha256: sums.checksum_sha256,
            checksum_type: sums.checksum_type,
            ..Default::default()
        };
        let mut response = S3Response::new(output);
        if tags > 0 {
            response.headers.insert(
                "x-amz-tagging-count",
                hyper::header::HeaderValue::from(tags),
            );
        }
        if partial {
            response.status = Some(hyper::StatusCode::PARTIAL_CONTENT);
        }
        Ok(response)
    }

    pub(super) async fn attributes(
        &self,
        req: S3Request<GetObjectAttributesInput>,
    ) -> S3Result<S3Response<GetObjectAttributesOutput>> {
        let input = req.input;
        let version = self
            .look(&input.bucket, &input.key, input.version_id.as_deref())
            .await?;
        if version.marker {
            return Err(s3_error!(NoSuchKey));
        }
        // Some clients send them in one header, some in several.
        let asked = input
            .object_attributes
            .iter()
            .flat_map(|a| a.as_str().split(','));
        let wants = |name: &str| asked.clone().any(|a| a.trim() == name);
        let (bucket, v) = (input.bucket.clone(), version.clone());
        let shown = self
            .blobs
            .inner
            .db
            .read(move |t| shown_id(t, &bucket, &v))
            .await?;
        let parts = (wants("ObjectParts") && !version.parts.is_empty()).then(|| {
            let marker = input.part_number_marker.unwrap_or_default();
            let most = page_size(input.max_parts, "x-amz-max-parts").unwrap_or(1000);
            let mut rest = version.parts.iter().filter(|p| p.number > marker);
            let shown: Vec<ObjectPart> = rest.by_ref().take(most).map(attribute_part).collect();
            GetObjectAttributesParts {
                is_truncated: Some(rest.next().is_some()),
                max_parts: i32::try_from(most).ok(),
                next_part_number_marker: shown.last().and_then(|p| p.part_number),
                part_number_marker: Some(marker),
                total_parts_count: i32::try_from(version.parts.len()).ok(),
                // S3 tells single parts only of objects that have checksums of them.
                parts: version.checksum.is_some().then_some(shown),
            }
        });
        let checksum = version.checksum.as_ref().filter(|_| wants("Checksum"));
        Ok(S3Response::new(GetObjectAttributesOutput {
            checksum: checksum.map(|c| checksum_out(Some(c))),
            e_tag: wants("ETag").then(|| etag(&version.etag)),
            last_modified: Some(time(version.at)),
            object_parts: parts,
            object_size: number(version.size).filter(|_| wants("ObjectSize")),
            storage_class: wants("StorageClass")
                .then(|| StorageClass::from_static(StorageClass::STANDARD)),
            version_id: shown,
            ..Default::default()
        }))
    }
}

fn parts_count(version: &Version, asked: Option<i32>) -> Option<i32> {
    asked.filter(|_| !version.parts.is_empty())?;
    i32::try_from(version.parts.len()).ok()
}

/// The checksum of what is sent, where one is known: of the whole, or of one part.
fn sums(version: &Version, part: Option<i32>, length: u64) -> Checksum {
    let index = part.and_then(|n| usize::try_from(n - 1).ok());
    let of_part = index.and_then(|i| version.parts.get(i));
    let mut sums = match of_part {
        Some(part) => checksum_out(part.checksum.as_ref()),
        None => checksum_out(version.checksum.as_ref().filter(|_| length == version.size)),
    };
    // The type is always the object's.
    if sums.checksum_type.is_some() {
        sums.checksum_type = version.checksum.as_ref().map(kind);
    }
    sums
}

fn part_range(version: &Version, number: i32) -> S3Result<(u64, u64)> {
    let missing = || s3_error!(InvalidPart, "the object has no part of that number");
    if version.parts.is_empty() {
        return if number == 1 {
            Ok((0, version.size))
        } else {
            Err(missing())
        };
    }
    let mut start = 0;
    for (i, part) in version.parts.iter().enumerate() {
        // Parts of an object are counted from one, whatever numbers the client gave them.
        if i32::try_from(i + 1) == Ok(number) {
            return Ok((start, start + part.size));
        }
        start += part.size;
    }
    Err(missing())
}

fn attribute_part(part: &rows::ObjectPart) -> ObjectPart {
    let sums = checksum_out(part.checksum.as_ref());
    ObjectPart {
        part_number: Some(part.number),
        size: number(part.size),
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
    }
}
