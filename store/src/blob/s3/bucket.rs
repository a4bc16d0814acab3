//! Buckets: made, deleted, listed; versioning, tags, CORS and life-cycle rules.

use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, dto::*, s3_error};

use super::{
    Door, bucket_row,
    convert::{acl_in, grants_of, tags_in, tags_out, time, timestamp_seconds},
    grant,
    object::unsupported,
    owner,
};
use crate::{
    blob::{
        now_ms,
        refs::After,
        rows::{self, Versioning},
    },
    db::bytes::Next,
};

impl Door {
    pub(super) async fn make(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let grant = grant(&req)?;
        let input = req.input;
        unsupported(&[(
            "x-amz-bucket-object-lock-enabled",
            input.object_lock_enabled_for_bucket == Some(true),
        )])?;
        let acl = acl_in(
            input.acl.as_ref().map(BucketCannedACL::as_str),
            grants_of!(input) || input.grant_write.is_some(),
        )?;
        let name = input.bucket.clone();
        self.blobs
            .inner
            .db
            .write(move |t| -> S3Result<()> {
                if let Some(row) = t.bucket(&name)? {
                    // Made again by its owner, a bucket stays as it is, as in the region that we call ours.
                    return if row.namespace == grant.namespace {
                        Ok(())
                    } else {
                        Err(s3_error!(
                            BucketAlreadyExists,
                            "a bucket of this name belongs to somebody else"
                        ))
                    };
                }
                let row = rows::Bucket {
                    created: now_ms(),
                    namespace: grant.namespace.clone(),
                    acl,
                    ..rows::Bucket::default()
                };
                Ok(t.put_bucket(&name, &row)?)
            })
            .await?;
        Ok(S3Response::new(CreateBucketOutput {
            location: Some(format!("/{}", input.bucket)),
        }))
    }

    pub(super) async fn unmake(
        &self,
        req: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        let name = req.input.bucket;
        let (inner, bucket) = (self.blobs.inner.clone(), name.clone());
        let after = self
            .blobs
            .inner
            .db
            .write(move |t| -> S3Result<After> {
                bucket_row(t, &bucket)?;
                let mut empty = true;
                t.scan_from(&bucket, b"", 0, |_, _, _| {
                    empty = false;
                    Ok(Next::Stop)
                })?;
                if !empty || inner.has_files(&bucket) {
                    return Err(s3_error!(
                        BucketNotEmpty,
                        "the bucket holds objects, old versions or files: delete them first"
                    ));
                }
                let mut after = After::default();
                let mut uploads = Vec::new();
                t.uploads(&bucket, (b"", ""), |key, id, _| {
                    uploads.push((String::from_utf8_lossy(key).into_owned(), id.to_owned()));
                    true
                })?;
                for (key, id) in uploads {
                    super::multipart::drop_upload(t, &bucket, &key, &id, &mut after)?;
                }
                t.remove_bucket(&bucket)?;
                Ok(after)
            })
            .await?;
        self.blobs.inner.finish(after).await;
        self.blobs.inner.remove_empty_folders(&name).await;
        Ok(S3Response::new(DeleteBucketOutput {}))
    }

    pub(super) async fn buckets(
        &self,
        req: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let grant = grant(&req)?;
        let input = req.input;
        let all = self
            .blobs
            .inner
            .db
            .read(|t| t.buckets())
            .await
            .map_err(super::fault)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.continuation_token.clone().unwrap_or_default();
        let most = usize::try_from(input.max_buckets.unwrap_or(10_000)).unwrap_or(10_000);
        let mut mine = all.into_iter().filter(|(name, row)| {
            grant.lists(&row.namespace, name) && name.starts_with(&prefix) && *name > after
        });
        let buckets: Vec<Bucket> = mine
            .by_ref()
            .take(most)
            .map(|(name, row)| Bucket {
                name: Some(name),
                creation_date: Some(time(row.created)),
                ..Default::default()
            })
            .collect();
        Ok(S3Response::new(ListBucketsOutput {
            continuation_token: mine
                .next()
                .and_then(|_| buckets.last().and_then(|b| b.name.clone())),
            buckets: Some(buckets),
            owner: Some(owner(&grant.namespace)),
            prefix: input.prefix,
        }))
    }

    /// A bucket's row, for the operations that tell of it.
    pub(super) async fn row(&self, bucket: &str) -> S3Result<rows::Bucket> {
        let bucket = bucket.to_owned();
        self.blobs
            .inner
            .db
            .read(move |t| bucket_row(t, &bucket))
            .await
    }

    /// Changes a bucket's row.
    pub(super) async fn change(
        &self,
        bucket: &str,
        change: impl FnOnce(&mut rows::Bucket) + Send + 'static,
    ) -> S3Result<()> {
        let bucket = bucket.to_owned();
        self.blobs
            .inner
            .db
            .write(move |t| -> S3Result<()> {
                let mut row = bucket_row(t, &bucket)?;
                change(&mut row);
                Ok(t.put_bucket(&bucket, &row)?)
            })
            .await
    }
}

pub(super) fn versioning_in(configuration: &VersioningConfiguration) -> S3Result<Versioning> {
    if configuration
        .mfa_delete
        .as_ref()
        .is_some_and(|m| m.as_str() == "Enabled")
    {
        return Err(s3_error!(
            NotImplemented,
            "MfaDelete: this box does not do that"
        ));
    }
    match configuration
        .status
        .as_ref()
        .map(BucketVersioningStatus::as_str)
    {
        Some("Enabled") => Ok(Versioning::Enabled),
        Some("Suspended") => Ok(Versioning::Suspended),
        _ => Err(s3_error!(
            IllegalVersioningConfigurationException,
            "Status must be Enabled or Suspended"
        )),
    }
}

pub(super) fn versioning_out(versioning: Versioning) -> Option<BucketVersioningStatus> {
    match versioning {
        Versioning::Off => None,
        Versioning::Enabled => Some(BucketVersioningStatus::from_static(
            BucketVersioningStatus::ENABLED,
        )),
        Versioning::Suspended => Some(BucketVersioningStatus::from_static(
            BucketVersioningStatus::SUSPENDED,
        )),
    }
}

pub(super) fn cors_in(rules: Vec<CORSRule>) -> S3Result<Vec<rows::CorsRule>> {
    if rules.len() > 100 {
        return Err(s3_error!(
            InvalidRequest,
            "a bucket has at most 100 CORS rules"
        ));
    }
    rules
        .into_iter()
        .map(|rule| {
            if let Some(method) = rule
                .allowed_methods
                .iter()
                .find(|m| !["GET", "PUT", "POST", "DELETE", "HEAD"].contains(&m.as_str()))
            {
                return Err(S3Error::with_message(
                    S3ErrorCode::InvalidRequest,
                    format!("AllowedMethod \"{method}\": GET, PUT, POST, DELETE or HEAD"),
                ));
            }
            if rule
                .allowed_origins
                .iter()
                .any(|o| o.matches('*').count() > 1)
            {
                return Err(s3_error!(
                    InvalidRequest,
                    "an AllowedOrigin has at most one *"
                ));
            }
            Ok(rows::CorsRule {
                id: rule.id,
                origins: rule.allowed_origins,
                methods: rule.allowed_methods,
                headers: rule.allowed_headers.unwrap_or_default(),
                expose: rule.expose_headers.unwrap_or_default(),
                max_age: rule.max_age_seconds,
            })
        })
        .collect()
}

pub(super) fn cors_out(rules: Vec<rows::CorsRule>) -> Vec<CORSRule> {
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    rules
        .into_iter()
        .map(|rule| CORSRule {
            id: rule.id,
            allowed_origins: rule.origins,
            allowed_methods: rule.methods,
            allowed_headers: some(rule.headers),
            expose_headers: some(rule.expose),
            max_age_seconds: rule.max_age,
        })
        .collect()
}

pub(super) fn lifecycle_in(rules: Vec<LifecycleRule>) -> S3Result<Vec<rows::LifecycleRule>> {
    let wrong = |text: &'static str| S3Error::with_message(S3ErrorCode::InvalidArgument, text);
    let mut out: Vec<rows::LifecycleRule> = Vec::new();
    for rule in rules {
        if rule.transitions.is_some() || rule.noncurrent_version_transitions.is_some() {
            return Err(s3_error!(
                NotImplemented,
                "Transition: this box has one storage class"
            ));
        }
        let (mut prefix, mut tags) = (rule.prefix.unwrap_or_default(), Vec::new());
        if let Some(filter) = rule.filter {
            if filter.object_size_greater_than.is_some() || filter.object_size_less_than.is_some() {
                return Err(s3_error!(
                    NotImplemented,
                    "a life-cycle rule's filter by size"
                ));
            }
            prefix = filter.prefix.unwrap_or(prefix);
            let mut set: Vec<Tag> = filter.tag.into_iter().collect();
            if let Some(and) = filter.and {
                prefix = and.prefix.unwrap_or(prefix);
                set.extend(and.tags.unwrap_or_default());
            }
            tags = tags_in(&set, 10)?;
        }
        let id = match rule.id.filter(|id| !id.is_empty()) {
            Some(id) if id.len() > 255 => {
                return Err(wrong("a rule's ID has at most 255 characters"));
            }
            Some(id) => id,
            None => crate::blob::files::new_id(),
        };
        if out.iter().any(|r| r.id == id) {
            return Err(wrong("two rules have the same ID"));
        }
        let expiration = rule.expiration;
        let days = expiration.as_ref().and_then(|e| e.days);
        let noncurrent_days = rule
            .noncurrent_version_expiration
            .as_ref()
            .and_then(|e| e.noncurrent_days);
        let abort_days = rule
            .abort_incomplete_multipart_upload
            .and_then(|a| a.days_after_initiation);
        if [days, noncurrent_days, abort_days]
            .iter()
            .flatten()
            .any(|d| *d < 1)
        {
            return Err(wrong("Days must be a positive number"));
        }
        let date = expiration
            .as_ref()
            .and_then(|e| e.date.as_ref())
            .map(|d| timestamp_seconds(d) * 1000);
        if date.is_some_and(|d| d % 86_400_000 != 0) {
            return Err(wrong("Date must be a day, at midnight UTC"));
        }
        let expired_marker = expiration
            .and_then(|e| e.expired_object_delete_marker)
            .unwrap_or_default();
        let enabled = match rule.status.as_str() {
            "Enabled" => true,
            "Disabled" => false,
            _ => {
                return Err(s3_error!(
                    MalformedXML,
                    "Status must be Enabled or Disabled"
                ));
            }
        };
        out.push(rows::LifecycleRule {
            id,
            enabled,
            prefix,
            tags,
            days,
            date,
            noncurrent_days,
            expired_marker,
            abort_days,
        });
    }
    Ok(out)
}

pub(super) fn lifecycle_out(rules: Vec<rows::LifecycleRule>) -> Vec<LifecycleRule> {
    rules
        .into_iter()
        .map(|rule| {
            let filter = if rule.tags.is_empty() {
                LifecycleRuleFilter {
                    prefix: Some(rule.prefix),
                    ..Default::default()
                }
            } else {
                LifecycleRuleFilter {
                    and: Some(LifecycleRuleAndOperator {
                        prefix: Some(rule.prefix),
                        tags: Some(tags_out(&rule.tags)),
                        ..Default::default()
                    }),
                    ..Default::default()
                }
            };
            let expires = rule.days.is_some() || rule.date.is_some() || rule.expired_marker;
            LifecycleRule {
                id: Some(rule.id),
                status: ExpirationStatus::from_static(if rule.enabled {
                    ExpirationStatus::ENABLED
                } else {
                    ExpirationStatus::DISABLED
                }),
                filter: Some(filter),
                expiration: expires.then(|| LifecycleExpiration {
                    days: rule.days,
                    date: rule.date.map(time),
                    expired_object_delete_marker: rule.expired_marker.then_some(true),
                }),
                noncurrent_version_expiration: rule.noncurrent_days.map(|days| {
                    NoncurrentVersionExpiration {
                        noncurrent_days: Some(days),
                        ..Default::default()
                    }
                }),
                abort_incomplete_multipart_upload: rule.abort_days.map(|days| {
                    AbortIncompleteMultipartUpload {
                        days_after_initiation: Some(days),
                    }
                }),
                noncurrent_version_transitions: None,
                prefix: None,
                transitions: None,
            }
        })
        .collect()
}
