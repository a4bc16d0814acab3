//! Lists of objects (version 1 and 2) and of their versions.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use s3s::{S3Request, S3Response, S3Result, dto::*, s3_error};

use super::{
    Door, bucket_row,
    convert::{etag, kind, number, page_size, time},
    grant,
};
use crate::{
    blob::{
        list::{self, Item, Page, Wanted, after_prefix, fold},
        rows::Version,
        tree::after_key,
    },
    db::bytes::{Next, Tables},
};

/// With `encoding-type=url` names are percent-encoded, but for what needs no encoding in a path.
fn encoded(text: &str, encoding: Option<&EncodingType>) -> String {
    if encoding.is_none() {
        return text.into();
    }
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' | b'*' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn check_encoding(encoding: Option<&EncodingType>) -> S3Result<()> {
    match encoding {
        Some(e) if e.as_str() != "url" => {
            Err(s3_error!(InvalidArgument, "encoding-type must be url"))
        }
        _ => Ok(()),
    }
}

/// What a page shows, apart from who asks how.
struct Shown {
    contents: Vec<Object>,
    prefixes: Vec<CommonPrefix>,
    truncated: bool,
    last: Option<String>,
}

impl Door {
    async fn page<T>(
        &self,
        req: &S3Request<T>,
        bucket: &str,
        prefix: Option<&str>,
        delimiter: Option<&str>,
        after: Option<&str>,
        max: usize,
    ) -> S3Result<(Page, String)> {
        let (grant, bucket) = (grant(req)?, bucket.to_owned());
        let prefix = prefix.unwrap_or_default().to_owned();
        let delimiter = delimiter.unwrap_or_default().to_owned();
        let after = after.filter(|a| !a.is_empty()).map(str::to_owned);
        let remote = self.blobs.remote(&bucket)?;
        let there = remote.is_some();
        let found = self
            .blobs
            .inner
            .db
            .read({
                let (bucket, prefix) = (bucket.clone(), prefix.clone());
                let (delimiter, after) = (delimiter.clone(), after.clone());
                move |t| -> S3Result<_> {
                    let row = bucket_row(t, &bucket)?;
                    if !grant.may(&row, &bucket, &prefix, false) {
                        return Err(s3_error!(
                            AccessDenied,
                            "this access key lists only the prefixes of its rules"
                        ));
                    }
                    if there {
                        return Ok((
                            Page {
                                items: Vec::new(),
                                truncated: false,
                            },
                            row.namespace,
                        ));
                    }
                    let wanted = Wanted {
                        bucket: &bucket,
                        prefix: &prefix,
                        delimiter: &delimiter,
                        after: after.as_deref(),
                        max,
                    };
                    Ok((list::current(t, &wanted)?, row.namespace))
                }
            })
            .await?;
        let Some(remote) = remote else {
            return Ok(found);
        };
        let wanted = Wanted {
            bucket: &bucket,
            prefix: &prefix,
            delimiter: &delimiter,
            after: after.as_deref(),
            max,
        };
        Ok((remote.page(&wanted).await?, found.1))
    }

    pub(super) async fn list_v1(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let input = &req.input;
        check_encoding(input.encoding_type.as_ref())?;
        let max = page_size(input.max_keys, "max-keys")?;
        let (page, namespace) = self
            .page(
                &req,
                &input.bucket,
                input.prefix.as_deref(),
                input.delimiter.as_deref(),
                input.marker.as_deref(),
                max,
            )
            .await?;
        let encoding = input.encoding_type.as_ref();
        let shown = show(page, Some(&namespace), encoding);
        let input = req.input;
        let encoding = input.encoding_type.as_ref();
        Ok(S3Response::new(ListObjectsOutput {
            next_marker: shown
                .last
                .filter(|_| shown.truncated && input.delimiter.is_some())
                .map(|l| encoded(&l, encoding)),
            name: Some(input.bucket),
            // boto3 asks for encoded names and decodes all but this one.
            prefix: Some(input.prefix.unwrap_or_default()),
            marker: Some(encoded(
                input.marker.as_deref().unwrap_or_default(),
                encoding,
            )),
            delimiter: input
                .delimiter
                .as_deref()
                .filter(|d| !d.is_empty())
                .map(|d| encoded(d, encoding)),
            max_keys: i32::try_from(max).ok(),
            is_truncated: Some(shown.truncated),
            contents: Some(shown.contents),
            common_prefixes: Some(shown.prefixes),
            encoding_type: input.encoding_type,
            ..Default::default()
        }))
    }

    pub(super) async fn list_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = &req.input;
        check_encoding(input.encoding_type.as_ref())?;
        let max = page_size(input.max_keys, "max-keys")?;
        let token = match input
            .continuation_token
            .as_deref()
            .filter(|t| !t.is_empty())
        {
            None => None,
            Some(token) => {
                let text = URL_SAFE_NO_PAD
                    .decode(token)
                    .ok()
                    .and_then(|b| String::from_utf8(b).ok());
                let wrong = || {
                    s3_error!(
                        InvalidArgument,
                        "The continuation token provided is incorrect"
                    )
                };
                Some(text.filter(|t| !t.is_empty()).ok_or_else(wrong)?)
            }
        };
        let after = token.as_deref().or(input.start_after.as_deref());
        let (page, namespace) = self
            .page(
                &req,
                &input.bucket,
                input.prefix.as_deref(),
                input.delimiter.as_deref(),
                after,
                max,
            )
            .await?;
        let owner = Some(namespace).filter(|_| input.fetch_owner == Some(true));
        let shown = show(page, owner.as_deref(), input.encoding_type.as_ref());
        let input = req.input;
        let encoding = input.encoding_type.as_ref();
        let count = shown.contents.len() + shown.prefixes.len();
        Ok(S3Response::new(ListObjectsV2Output {
            next_continuation_token: shown
                .last
                .filter(|_| shown.truncated)
                .map(|l| URL_SAFE_NO_PAD.encode(l)),
            name: Some(input.bucket),
            prefix: Some(encoded(
                input.prefix.as_deref().unwrap_or_default(),
                encoding,
            )),
            delimiter: input
                .delimiter
                .as_deref()
                .filter(|d| !d.is_empty())
                .map(|d| encoded(d, encoding)),
            start_after: input.start_after.as_deref().map(|s| encoded(s, encoding)),
            max_keys: i32::try_from(max).ok(),
            key_count: i32::try_from(count).ok(),
            continuation_token: input.continuation_token,
            is_truncated: Some(shown.truncated),
            contents: Some(shown.contents),
            common_prefixes: Some(shown.prefixes),
            encoding_type: input.encoding_type,
            ..Default::default()
        }))
    }

    pub(super) async fn list_versions(
        &self,
        req: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let grant = grant(&req)?;
        let input = req.input;
        check_encoding(input.encoding_type.as_ref())?;
        let max = page_size(input.max_keys, "max-keys")?;
        let encoding = input.encoding_type.clone();
        let (bucket, prefix, delimiter, key_marker, id_marker) = (
            input.bucket.clone(),
            input.prefix.clone().unwrap_or_default(),
            input.delimiter.clone().unwrap_or_default(),
            input.key_marker.clone().filter(|k| !k.is_empty()),
            input.version_id_marker.clone().filter(|k| !k.is_empty()),
        );
        let (lines, truncated, namespace) = self
            .blobs
            .inner
            .db
            .read(move |t| -> S3Result<_> {
                let row = bucket_row(t, &bucket)?;
                if !grant.may(&row, &bucket, &prefix, false) {
                    return Err(s3_error!(
                        AccessDenied,
                        "this access key lists only the prefixes of its rules"
                    ));
                }
                let wanted = Wanted {
                    bucket: &bucket,
                    prefix: &prefix,
                    delimiter: &delimiter,
                    after: key_marker.as_deref(),
                    max,
                };
                let (lines, truncated) = versions(t, &wanted, id_marker.as_deref())?;
                Ok((lines, truncated, row.namespace))
            })
            .await?;
        let owner = super::owner(&namespace);
        let encoding = encoding.as_ref();
        let (mut shown, mut markers, mut prefixes) = (Vec::new(), Vec::new(), Vec::new());
        let mut last = (None, None);
        for line in lines {
            match line {
                Line::Prefix(prefix) => {
                    last = (Some(prefix.clone()), None);
                    prefixes.push(CommonPrefix {
                        prefix: Some(encoded(&prefix, encoding)),
                    });
                }
                Line::Version {
                    key,
                    version,
                    latest,
                } => {
                    last = (Some(key.clone()), Some(version.id.clone()));
                    let key = Some(encoded(&key, encoding));
                    if version.marker {
                        markers.push(DeleteMarkerEntry {
                            key,
                            is_latest: Some(latest),
                            last_modified: Some(time(version.at)),
                            owner: Some(owner.clone()),
                            version_id: Some(version.id),
                        });
                    } else {
                        shown.push(ObjectVersion {
                            key,
                            is_latest: Some(latest),
                            last_modified: Some(time(version.at)),
                            owner: Some(owner.clone()),
                            e_tag: Some(etag(&version.etag)),
                            size: number(version.size),
                            storage_class: Some(ObjectVersionStorageClass::from_static(
                                ObjectVersionStorageClass::STANDARD,
                            )),
                            version_id: Some(version.id),
                            ..Default::default()
                        });
                    }
                }
            }
        }
        Ok(S3Response::new(ListObjectVersionsOutput {
            next_key_marker: last.0.filter(|_| truncated).map(|k| encoded(&k, encoding)),
            next_version_id_marker: last.1.filter(|_| truncated),
            common_prefixes: Some(prefixes),
            delete_markers: Some(markers),
            versions: Some(shown),
            is_truncated: Some(truncated),
            name: Some(input.bucket),
            prefix: Some(encoded(
                input.prefix.as_deref().unwrap_or_default(),
                encoding,
            )),
            delimiter: input
                .delimiter
                .as_deref()
                .filter(|d| !d.is_empty())
                .map(|d| encoded(d, encoding)),
            key_marker: Some(input.key_marker.unwrap_or_default()),
            version_id_marker: input.version_id_marker,
            max_keys: i32::try_from(max).ok(),
            encoding_type: input.encoding_type.clone(),
            ..Default::default()
        }))
    }
}

fn show(page: Page, owner: Option<&str>, encoding: Option<&EncodingType>) -> Shown {
    let last = page.items.last().map(|item| item.name().to_owned());
    let (mut contents, mut prefixes) = (Vec::new(), Vec::new());
    for item in page.items {
        match item {
            Item::Prefix(prefix) => prefixes.push(CommonPrefix {
                prefix: Some(encoded(&prefix, encoding)),
            }),
            Item::Key(key, version) => contents.push(Object {
                key: Some(encoded(&key, encoding)),
                e_tag: Some(etag(&version.etag)),
                last_modified: Some(time(version.at)),
                size: number(version.size),
                owner: owner.map(super::owner),
                storage_class: Some(ObjectStorageClass::from_static(
                    ObjectStorageClass::STANDARD,
                )),
                checksum_algorithm: version
                    .checksum
                    .as_ref()
                    .map(|c| vec![ChecksumAlgorithm::from(c.algorithm.clone())]),
                checksum_type: version.checksum.as_ref().map(kind),
                ..Default::default()
            }),
        }
    }
    Shown {
        contents,
        prefixes,
        truncated: page.truncated,
        last,
    }
}

enum Line {
    Version {
        key: String,
        version: Box<Version>,
        latest: bool,
    },
    Prefix(String),
}

fn versions(
    t: &Tables,
    wanted: &Wanted<'_>,
    id_marker: Option<&str>,
) -> S3Result<(Vec<Line>, bool)> {
    let (mut lines, mut truncated) = (Vec::new(), false);
    if wanted.max == 0 {
        return Ok((lines, false));
    }
    // With a version's id the walk goes on in the middle of a key.
    let (mut from, mut age, mut last): (Cow<'_, [u8]>, u64, Option<Vec<u8>>) =
        (list::start(wanted).into(), 0, None);
    if let (Some(key), Some(id)) = (wanted.after, id_marker) {
        match t.version(wanted.bucket, key, id)? {
            Some((at, _)) => {
                (from, age, last) = (key.as_bytes().into(), at + 1, Some(key.as_bytes().to_vec()));
            }
            None => from = after_key(key.as_bytes()).into(),
        }
    }
    t.scan_from(wanted.bucket, &from, age, |key, _, version| {
        if !key.starts_with(wanted.prefix.as_bytes()) {
            return Ok(Next::Stop);
        }
        let Ok(text) = std::str::from_utf8(key) else {
            return Ok(Next::On);
        };
        if lines.len() == wanted.max {
            truncated = true;
            return Ok(Next::Stop);
        }
        if let Some(prefix) = fold(text, wanted.prefix, wanted.delimiter) {
            lines.push(Line::Prefix(prefix.to_owned()));
            return Ok(Next::Seek(after_prefix(prefix)));
        }
        let latest = last.as_deref() != Some(key);
        last = Some(key.to_vec());
        lines.push(Line::Version {
            key: text.to_owned(),
            version: Box::new(version),
            latest,
        });
        Ok(Next::On)
    })?;
    Ok((lines, truncated))
}
