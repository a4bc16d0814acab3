//! Between the rows and what the protocol says: times, checksums, headers, conditions, tags.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use s3s::{
    S3Error, S3ErrorCode, S3Result, TrailingHeaders, checksum::ChecksumHasher, dto, s3_error,
};

use crate::blob::{
    files::Draft,
    rows::{About, Acl, Checksum, Version},
};

/// Milliseconds since 1970 as the protocol's time. S3 tells times to the second in headers.
pub(super) fn time(ms: i64) -> dto::Timestamp {
    let at = std::time::UNIX_EPOCH
        + std::time::Duration::from_millis(u64::try_from(ms).unwrap_or_default());
    dto::Timestamp::from(at)
}

fn seconds(ms: i64) -> i64 {
    ms.div_euclid(1000)
}

pub(super) fn timestamp_seconds(t: &dto::Timestamp) -> i64 {
    let at: std::time::SystemTime = time::OffsetDateTime::from(t.clone()).into();
    match at.duration_since(std::time::UNIX_EPOCH) {
        Ok(d) => i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
        Err(_) => 0,
    }
}

/// An ETag of these characters.
pub(super) fn etag(text: &str) -> dto::ETag {
    dto::ETag::Strong(text.into())
}

pub(super) fn number<T: TryFrom<u64>>(n: u64) -> Option<T> {
    T::try_from(n).ok()
}

/// Page sizes: at most 1000, at least 0.
pub(super) fn page_size(asked: Option<i32>, name: &str) -> S3Result<usize> {
    match asked {
        None => Ok(1000),
        Some(n) => usize::try_from(n).map(|n| n.min(1000)).map_err(|_| {
            S3Error::with_message(
                S3ErrorCode::InvalidArgument,
                format!("{name} must not be negative"),
            )
        }),
    }
}

/// The conditions of a request on an object that is there.
#[derive(Default)]
pub(super) struct Conditions<'a> {
    pub if_match: Option<&'a dto::ETagCondition>,
    pub if_none_match: Option<&'a dto::ETagCondition>,
    pub modified_since: Option<&'a dto::Timestamp>,
    pub unmodified_since: Option<&'a dto::Timestamp>,
}

fn fits(condition: &dto::ETagCondition, version: &Version) -> bool {
    match condition {
        dto::ETagCondition::Any => true,
        dto::ETagCondition::ETag(tag) => tag.value() == version.etag,
    }
}

impl Conditions<'_> {
    /// For reading: 304 or 412 (RFC 9110, section 13.2.2).
    pub(super) fn check_read(&self, version: &Version) -> S3Result<()> {
        let at = seconds(version.at);
        let matched = self.if_match.map(|c| fits(c, version));
        if matched == Some(false) {
            return Err(failed());
        }
        if matched.is_none()
            && self
                .unmodified_since
                .is_some_and(|t| at > timestamp_seconds(t))
        {
            return Err(failed());
        }
        let none_matched = self.if_none_match.map(|c| fits(c, version));
        let unchanged = none_matched == Some(true)
            || (none_matched.is_none()
                && self
                    .modified_since
                    .is_some_and(|t| at <= timestamp_seconds(t)));
        if unchanged {
            Err(not_modified(version))
        } else {
            Ok(())
        }
    }

    /// For copying from: 412 in all cases.
    pub(super) fn check_copy(&self, version: &Version) -> S3Result<()> {
        self.check_read(version).map_err(|_| failed())
    }

    /// For writing, against what is there: under the writer's lock, so that of racing writers one wins.
    pub(super) fn check_write(&self, current: Option<&Version>) -> S3Result<()> {
        if let Some(condition) = self.if_match {
            match current {
                None => return Err(s3_error!(NoSuchKey, "If-Match: there is no such object")),
                Some(version) if !fits(condition, version) => return Err(failed()),
                Some(_) => {}
            }
        }
        if let Some(condition) = self.if_none_match
            && current.is_some_and(|version| fits(condition, version))
        {
            return Err(failed());
        }
        Ok(())
    }
}

/// 304 tells what the client has.
fn not_modified(version: &Version) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    let mut headers = hyper::HeaderMap::new();
    if let Ok(tag) = format!("\"{}\"", version.etag).parse() {
        headers.insert(hyper::header::ETAG, tag);
    }
    error.set_headers(headers);
    error
}

pub(super) fn failed() -> S3Error {
    s3_error!(
        PreconditionFailed,
        "At least one of the pre-conditions you specified did not hold"
    )
}

/// The five checksums in the protocol's own shape, by the algorithm's name.
macro_rules! checksums {
    ($($name:literal $field:ident $header:literal),*) => {
        /// The first checksum in these fields.
        pub(super) fn checksum_in(sums: &dto::Checksum) -> Option<(&'static str, String)> {
            $(if let Some(value) = &sums.$field { return Some(($name, value.clone())); })*
            None
        }

        /// Fields with this checksum.
        pub(super) fn checksum_out(sum: Option<&Checksum>) -> dto::Checksum {
            let mut out = dto::Checksum::default();
            if let Some(sum) = sum {
                match sum.algorithm.as_str() {
                    $($name => out.$field = Some(sum.value.clone()),)*
                    _ => {}
                }
                out.checksum_type = Some(kind(sum));
            }
            out
        }

        fn in_trailer(headers: &hyper::HeaderMap) -> Option<(&'static str, String)> {
            $(if let Some(value) = headers.get($header).and_then(|v| v.to_str().ok()) {
                return Some(($name, value.to_owned()));
            })*
            None
        }

        /// The algorithm that `x-amz-trailer` announces.
        pub(super) fn announced(headers: &hyper::HeaderMap) -> Option<&'static str> {
            let names = headers.get("x-amz-trailer")?.to_str().ok()?;
            $(if names.split(',').any(|n| n.trim().eq_ignore_ascii_case($header)) { return Some($name); })*
            None
        }
    };
}

checksums!(
    "CRC32" checksum_crc32 "x-amz-checksum-crc32",
    "CRC32C" checksum_crc32c "x-amz-checksum-crc32c",
    "CRC64NVME" checksum_crc64nvme "x-amz-checksum-crc64nvme",
    "SHA1" checksum_sha1 "x-amz-checksum-sha1",
    "SHA256" checksum_sha256 "x-amz-checksum-sha256"
);

pub(super) fn kind(sum: &Checksum) -> dto::ChecksumType {
    dto::ChecksumType::from_static(if sum.composite {
        dto::ChecksumType::COMPOSITE
    } else {
        dto::ChecksumType::FULL_OBJECT
    })
}

/// A hasher for one algorithm, or none.
pub(super) fn hasher(algorithm: Option<&str>) -> S3Result<ChecksumHasher> {
    let mut hasher = ChecksumHasher::default();
    match algorithm {
        None => {}
        Some("CRC32") => hasher.crc32 = Some(s3s::crypto::Checksum::new()),
        Some("CRC32C") => hasher.crc32c = Some(s3s::crypto::Checksum::new()),
        Some("CRC64NVME") => hasher.crc64nvme = Some(s3s::crypto::Checksum::new()),
        Some("SHA1") => hasher.sha1 = Some(s3s::crypto::Checksum::new()),
        Some("SHA256") => hasher.sha256 = Some(s3s::crypto::Checksum::new()),
        Some(other) => {
            return Err(S3Error::with_message(
                S3ErrorCode::InvalidArgument,
                format!(
                    "no checksum algorithm \"{other}\": CRC32, CRC32C, CRC64NVME, SHA1 or SHA256"
                ),
            ));
        }
    }
    Ok(hasher)
}

/// What a client says of a body's digests, in headers or in the trailer.
#[derive(Default)]
pub(super) struct Claims {
    pub md5: Option<String>,
    pub sums: dto::Checksum,
    pub algorithm: Option<&'static str>,
    pub trailer: Option<TrailingHeaders>,
}

impl Claims {
    /// The algorithm to compute while the body comes in.
    pub(super) fn wanted(&self, asked: Option<&str>) -> Option<String> {
        let named = checksum_in(&self.sums)
            .map(|(name, _)| name)
            .or(self.algorithm);
        named.or(asked).map(str::to_owned)
    }

    /// Compares what came in with what was claimed; what was computed is what is stored.
    pub(super) fn check(&self, draft: &Draft) -> S3Result<Option<Checksum>> {
        if let Some(md5) = &self.md5 {
            let claimed = STANDARD.decode(md5).ok().filter(|m| m.len() == 16);
            let claimed = claimed.ok_or_else(|| {
                s3_error!(InvalidDigest, "Content-MD5 must be 16 bytes in Base64")
            })?;
            if hex::encode(claimed) != draft.md5 {
                return Err(s3_error!(BadDigest, "the body does not fit Content-MD5"));
            }
        }
        let trailer = self
            .trailer
            .as_ref()
            .and_then(|t| t.read(in_trailer))
            .flatten();
        let claimed = checksum_in(&self.sums).or(trailer);
        let computed = checksum_in(&draft.sums);
        if let Some((name, value)) = &claimed
            && computed.as_ref() != Some(&(*name, value.clone()))
        {
            return Err(S3Error::with_message(
                S3ErrorCode::BadDigest,
                format!(
                    "the body does not fit x-amz-checksum-{}",
                    name.to_lowercase()
                ),
            ));
        }
        Ok(computed.map(|(algorithm, value)| Checksum {
            algorithm: algorithm.into(),
            value,
            composite: false,
        }))
    }
}

/// A canned ACL by its name. Grants to single users are not had: keys have rules for that.
pub(super) fn acl_in(name: Option<&str>, grants: bool) -> S3Result<Acl> {
    if grants {
        return Err(s3_error!(
            NotImplemented,
            "grants to single users: give them an access key with a rule instead"
        ));
    }
    match name {
        None | Some("" | "private" | "bucket-owner-read" | "bucket-owner-full-control") => {
            Ok(Acl::Private)
        }
        Some("authenticated-read") => Ok(Acl::AuthenticatedRead),
        Some("public-read") => Ok(Acl::PublicRead),
        Some("public-read-write") => Ok(Acl::PublicReadWrite),
        Some(_) => Err(s3_error!(
            InvalidArgument,
            "x-amz-acl: private, public-read, public-read-write or authenticated-read"
        )),
    }
}

/// Whether a request grants anything to single users.
macro_rules! grants_of {
    ($input:expr) => {
        $input.grant_full_control.is_some()
            || $input.grant_read.is_some()
            || $input.grant_read_acp.is_some()
            || $input.grant_write_acp.is_some()
    };
}
pub(super) use grants_of;

/// Tags as they stand in a header: `a=1&b=2`.
pub(super) fn tags_in_header(header: Option<&str>) -> S3Result<Vec<(String, String)>> {
    let Some(header) = header else {
        return Ok(Vec::new());
    };
    let tags = url::form_urlencoded::parse(header.as_bytes())
        .into_owned()
        .collect();
    let mut tags = check_tags(tags, 10)?;
    tags.sort();
    Ok(tags)
}

/// Tags as they stand in a body.
pub(super) fn tags_in(set: &[dto::Tag], most: usize) -> S3Result<Vec<(String, String)>> {
    let tags = set
        .iter()
        .map(|t| {
            (
                t.key.clone().unwrap_or_default(),
                t.value.clone().unwrap_or_default(),
            )
        })
        .collect();
    check_tags(tags, most)
}

fn check_tags(tags: Vec<(String, String)>, most: usize) -> S3Result<Vec<(String, String)>> {
    if tags.len() > most {
        return Err(S3Error::with_message(
            S3ErrorCode::InvalidTag,
            format!("there can be at most {most} tags"),
        ));
    }
    for (i, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(s3_error!(
                InvalidTag,
                "a tag's key has 1 to 128 characters, its value at most 256"
            ));
        }
        if tags[..i].iter().any(|(other, _)| other == key) {
            return Err(s3_error!(InvalidTag, "two tags have the same key"));
        }
    }
    Ok(tags)
}

pub(super) fn tags_out(tags: &[(String, String)]) -> Vec<dto::Tag> {
    tags.iter()
        .map(|(key, value)| dto::Tag {
            key: Some(key.clone()),
            value: Some(value.clone()),
        })
        .collect()
}

/// What a client said of an object, from any input that has these fields.
macro_rules! about_of {
    ($input:expr) => {
        $crate::blob::s3::convert::fit_for_headers($crate::blob::rows::About {
            content_type: $input.content_type.clone(),
            content_encoding: $input
                .content_encoding
                .as_deref()
                .and_then($crate::blob::s3::convert::encoding),
            content_disposition: $input.content_disposition.clone(),
            content_language: $input.content_language.clone(),
            cache_control: $input.cache_control.clone(),
            expires: $input
                .expires
                .as_ref()
                .map($crate::blob::s3::convert::timestamp_seconds),
            redirect: $input.website_redirect_location.clone(),
            metadata: $crate::blob::s3::convert::metadata_in($input.metadata.as_ref())?,
            tags: $crate::blob::s3::convert::tags_in_header($input.tagging.as_deref())?,
        })?
    };
}
pub(super) use about_of;

/// Refuses what could not be told again as a header, such as a line break that came in through a form or a URL.
pub(super) fn fit_for_headers(about: About) -> S3Result<About> {
    let lines = [
        &about.content_type,
        &about.content_encoding,
        &about.content_disposition,
        &about.content_language,
        &about.cache_control,
        &about.redirect,
    ];
    let value = |v: &String| hyper::header::HeaderValue::from_str(v).is_ok();
    let name = |n: &String| hyper::header::HeaderName::from_bytes(n.as_bytes()).is_ok();
    let fits = lines.into_iter().flatten().all(value)
        && about.metadata.values().all(value)
        && about.metadata.keys().all(name);
    if fits {
        return Ok(about);
    }
    Err(s3_error!(
        InvalidArgument,
        "a header's value, or the name of metadata, holds characters that no header can"
    ))
}

/// `aws-chunked` tells of the transfer, not of the object.
pub(super) fn encoding(value: &str) -> Option<String> {
    let kept: Vec<&str> = value
        .split(',')
        .map(str::trim)
        .filter(|e| *e != "aws-chunked" && !e.is_empty())
        .collect();
    (!kept.is_empty()).then(|| kept.join(", "))
}

/// S3 allows 2 KiB of user metadata.
pub(super) fn metadata_in(metadata: Option<&dto::Metadata>) -> S3Result<BTreeMap<String, String>> {
    let metadata: BTreeMap<String, String> = metadata
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let size: usize = metadata.iter().map(|(k, v)| k.len() + v.len()).sum();
    if size > 2048 {
        return Err(s3_error!(
            MetadataTooLarge,
            "all x-amz-meta-* headers together may have 2 KiB"
        ));
    }
    Ok(metadata)
}

pub(super) fn metadata_out(about: &About) -> Option<dto::Metadata> {
    (!about.metadata.is_empty()).then(|| about.metadata.clone().into_iter().collect())
}
