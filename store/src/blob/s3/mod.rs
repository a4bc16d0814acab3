//! The S3 door: [`s3s`] speaks the protocol, this gives it our storage. What is not here answers NotImplemented.

mod access;
mod assemble;
mod bucket;
mod convert;
mod cors;
mod delete;
mod get;
mod listing;
pub(crate) mod multipart;
mod object;

use std::sync::Arc;

use s3s::{
    S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    dto::*,
    s3_error,
    service::{S3Service, S3ServiceBuilder},
};

pub use access::{Keyring, Pass, SYSTEM_NAMESPACE, access_key_id};
pub use cors::Cors;

use super::{Blobs, rows};
use crate::{Code, Error, db::bytes::Tables};

/// The implementation of the operations.
struct Door {
    blobs: Blobs,
}

/// The service that answers S3 requests for these bytes and keys.
pub fn service(blobs: Blobs, keys: Arc<Keyring>) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Door {
        blobs: blobs.clone(),
    });
    builder.set_auth(access::Auth(keys.clone()));
    builder.set_access(access::Gate {
        keys,
        inner: blobs.inner.clone(),
    });
    builder.build()
}

/// An error of the store in the protocol's words.
pub(crate) fn fault(e: Error) -> S3Error {
    e.into()
}

impl From<Error> for S3Error {
    fn from(e: Error) -> Self {
        let (code, status) = match e.code {
            Code::Invalid | Code::Unprocessable => (S3ErrorCode::InvalidRequest, None),
            Code::NotFound => (S3ErrorCode::NoSuchKey, None),
            Code::Forbidden => (S3ErrorCode::AccessDenied, None),
            // Clients repeat a 503 at once, and a full disk stays full.
            Code::StorageFull => (
                S3ErrorCode::from_bytes(b"InsufficientStorage")
                    .unwrap_or(S3ErrorCode::ServiceUnavailable),
                Some(hyper::StatusCode::INSUFFICIENT_STORAGE),
            ),
            Code::Unavailable => (S3ErrorCode::ServiceUnavailable, None),
            _ => (S3ErrorCode::InternalError, None),
        };
        if let Some(context) = &e.context {
            tracing::warn!(context, "an S3 request failed: {e}");
        }
        let mut error = Self::with_message(code, e.message);
        if let Some(status) = status {
            error.set_status_code(status);
        }
        error
    }
}

/// What the request's key opens.
fn grant<T>(req: &S3Request<T>) -> S3Result<Arc<access::Grant>> {
    req.extensions
        .get::<Arc<access::Grant>>()
        .cloned()
        .ok_or_else(|| s3_error!(AccessDenied, "a signature is required"))
}

/// A bucket's owner: the namespace, under its own name.
fn owner(namespace: &str) -> Owner {
    Owner {
        display_name: Some(namespace.into()),
        id: Some(namespace.into()),
    }
}

fn bucket_row(t: &Tables, name: &str) -> S3Result<rows::Bucket> {
    t.bucket(name)?.ok_or_else(|| {
        S3Error::with_message(
            S3ErrorCode::NoSuchBucket,
            format!("there is no bucket \"{name}\""),
        )
    })
}

/// Keys have 1 to 1024 bytes, and no NUL, which nothing else in the box could name.
fn check_key(key: &str) -> S3Result<()> {
    if key.is_empty() || key.len() > 1024 {
        return Err(s3_error!(KeyTooLongError, "a key has 1 to 1024 bytes"));
    }
    if key.contains('\0') {
        return Err(s3_error!(InvalidArgument, "a key cannot hold NUL"));
    }
    Ok(())
}

/// A canned ACL, spelled out: its owner's full control, and what a group may.
fn grants_out(namespace: &str, acl: rows::Acl) -> Vec<Grant> {
    let owner = owner(namespace);
    let mut grants = vec![Grant {
        grantee: Some(Grantee {
            display_name: owner.display_name,
            id: owner.id,
            type_: Type::from_static(Type::CANONICAL_USER),
            email_address: None,
            uri: None,
        }),
        permission: Some(Permission::from_static(Permission::FULL_CONTROL)),
    }];
    let (group, permissions): (_, &[&'static str]) = match acl {
        rows::Acl::Private => return grants,
        rows::Acl::AuthenticatedRead => ("AuthenticatedUsers", &[Permission::READ]),
        rows::Acl::PublicRead => ("AllUsers", &[Permission::READ]),
        rows::Acl::PublicReadWrite => ("AllUsers", &[Permission::READ, Permission::WRITE]),
    };
    grants.extend(permissions.iter().map(|permission| Grant {
        grantee: Some(Grantee {
            display_name: None,
            id: None,
            type_: Type::from_static(Type::GROUP),
            email_address: None,
            uri: Some(format!("http://acs.amazonaws.com/groups/global/{group}")),
        }),
        permission: Some(Permission::from_static(permission)),
    }));
    grants
}

type Answer<T> = S3Result<S3Response<T>>;

#[async_trait::async_trait]
impl S3 for Door {
    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> Answer<CreateBucketOutput> {
        self.make(req).await
    }

    async fn delete_bucket(&self, req: S3Request<DeleteBucketInput>) -> Answer<DeleteBucketOutput> {
        self.unmake(req).await
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        self.row(&req.input.bucket).await?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn list_buckets(&self, req: S3Request<ListBucketsInput>) -> Answer<ListBucketsOutput> {
        self.buckets(req).await
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> Answer<GetBucketLocationOutput> {
        self.row(&req.input.bucket).await?;
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    async fn get_bucket_acl(
        &self,
        req: S3Request<GetBucketAclInput>,
    ) -> Answer<GetBucketAclOutput> {
        let row = self.row(&req.input.bucket).await?;
        Ok(S3Response::new(GetBucketAclOutput {
            grants: Some(grants_out(&row.namespace, row.acl)),
            owner: Some(owner(&row.namespace)),
        }))
    }

    async fn put_bucket_acl(
        &self,
        req: S3Request<PutBucketAclInput>,
    ) -> Answer<PutBucketAclOutput> {
        let input = req.input;
        let grants = convert::grants_of!(input)
            || input.grant_write.is_some()
            || input.access_control_policy.is_some();
        let acl = convert::acl_in(input.acl.as_ref().map(BucketCannedACL::as_str), grants)?;
        self.change(&input.bucket, move |row| row.acl = acl).await?;
        Ok(S3Response::new(PutBucketAclOutput {}))
    }

    async fn get_object_acl(
        &self,
        req: S3Request<GetObjectAclInput>,
    ) -> Answer<GetObjectAclOutput> {
        let input = req.input;
        let row = self.row(&input.bucket).await?;
        let version = self
            .look(&input.bucket, &input.key, input.version_id.as_deref())
            .await?;
        Ok(S3Response::new(GetObjectAclOutput {
            grants: Some(grants_out(&row.namespace, version.acl)),
            owner: Some(owner(&row.namespace)),
            ..Default::default()
        }))
    }

    async fn put_object_acl(
        &self,
        req: S3Request<PutObjectAclInput>,
    ) -> Answer<PutObjectAclOutput> {
        let input = req.input;
        let grants = convert::grants_of!(input)
            || input.grant_write.is_some()
            || input.access_control_policy.is_some();
        let acl = convert::acl_in(input.acl.as_ref().map(ObjectCannedACL::as_str), grants)?;
        self.revise(input.bucket, input.key, input.version_id, move |version| {
            version.acl = acl;
        })
        .await?;
        Ok(S3Response::new(PutObjectAclOutput::default()))
    }

    async fn get_bucket_versioning(
        &self,
        req: S3Request<GetBucketVersioningInput>,
    ) -> Answer<GetBucketVersioningOutput> {
        let row = self.row(&req.input.bucket).await?;
        Ok(S3Response::new(GetBucketVersioningOutput {
            status: bucket::versioning_out(row.versioning),
            ..Default::default()
        }))
    }

    async fn put_bucket_versioning(
        &self,
        req: S3Request<PutBucketVersioningInput>,
    ) -> Answer<PutBucketVersioningOutput> {
        let versioning = bucket::versioning_in(&req.input.versioning_configuration)?;
        self.change(&req.input.bucket, move |row| row.versioning = versioning)
            .await?;
        Ok(S3Response::new(PutBucketVersioningOutput {}))
    }

    async fn get_bucket_tagging(
        &self,
        req: S3Request<GetBucketTaggingInput>,
    ) -> Answer<GetBucketTaggingOutput> {
        let row = self.row(&req.input.bucket).await?;
        if row.tags.is_empty() {
            return Err(s3_error!(NoSuchTagSet, "the bucket has no tags"));
        }
        Ok(S3Response::new(GetBucketTaggingOutput {
            tag_set: convert::tags_out(&row.tags),
        }))
    }

    async fn put_bucket_tagging(
        &self,
        req: S3Request<PutBucketTaggingInput>,
    ) -> Answer<PutBucketTaggingOutput> {
        let tags = convert::tags_in(&req.input.tagging.tag_set, 50)?;
        self.change(&req.input.bucket, move |row| row.tags = tags)
            .await?;
        Ok(S3Response::new(PutBucketTaggingOutput {}))
    }

    async fn delete_bucket_tagging(
        &self,
        req: S3Request<DeleteBucketTaggingInput>,
    ) -> Answer<DeleteBucketTaggingOutput> {
        self.change(&req.input.bucket, |row| row.tags.clear())
            .await?;
        Ok(S3Response::new(DeleteBucketTaggingOutput {}))
    }

    async fn get_bucket_cors(
        &self,
        req: S3Request<GetBucketCorsInput>,
    ) -> Answer<GetBucketCorsOutput> {
        let row = self.row(&req.input.bucket).await?;
        if row.cors.is_empty() {
            return Err(s3_error!(
                NoSuchCORSConfiguration,
                "the bucket has no CORS rules"
            ));
        }
        Ok(S3Response::new(GetBucketCorsOutput {
            cors_rules: Some(bucket::cors_out(row.cors)),
        }))
    }

    async fn put_bucket_cors(
        &self,
        req: S3Request<PutBucketCorsInput>,
    ) -> Answer<PutBucketCorsOutput> {
        let rules = bucket::cors_in(req.input.cors_configuration.cors_rules)?;
        self.change(&req.input.bucket, move |row| row.cors = rules)
            .await?;
        Ok(S3Response::new(PutBucketCorsOutput {}))
    }

    async fn delete_bucket_cors(
        &self,
        req: S3Request<DeleteBucketCorsInput>,
    ) -> Answer<DeleteBucketCorsOutput> {
        self.change(&req.input.bucket, |row| row.cors.clear())
            .await?;
        Ok(S3Response::new(DeleteBucketCorsOutput {}))
    }

    async fn get_bucket_lifecycle_configuration(
        &self,
        req: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> Answer<GetBucketLifecycleConfigurationOutput> {
        let row = self.row(&req.input.bucket).await?;
        if row.lifecycle.is_empty() {
            return Err(s3_error!(
                NoSuchLifecycleConfiguration,
                "the bucket has no life-cycle rules"
            ));
        }
        Ok(S3Response::new(GetBucketLifecycleConfigurationOutput {
            rules: Some(bucket::lifecycle_out(row.lifecycle)),
            ..Default::default()
        }))
    }

    async fn put_bucket_lifecycle_configuration(
        &self,
        req: S3Request<PutBucketLifecycleConfigurationInput>,
    ) -> Answer<PutBucketLifecycleConfigurationOutput> {
        let rules = req
            .input
            .lifecycle_configuration
            .map(|c| c.rules)
            .unwrap_or_default();
        let rules = bucket::lifecycle_in(rules)?;
        self.change(&req.input.bucket, move |row| row.lifecycle = rules)
            .await?;
        Ok(S3Response::new(
            PutBucketLifecycleConfigurationOutput::default(),
        ))
    }

    async fn delete_bucket_lifecycle(
        &self,
        req: S3Request<DeleteBucketLifecycleInput>,
    ) -> Answer<DeleteBucketLifecycleOutput> {
        self.change(&req.input.bucket, |row| row.lifecycle.clear())
            .await?;
        Ok(S3Response::new(DeleteBucketLifecycleOutput {}))
    }

    async fn list_objects(&self, req: S3Request<ListObjectsInput>) -> Answer<ListObjectsOutput> {
        self.list_v1(req).await
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> Answer<ListObjectsV2Output> {
        self.list_v2(req).await
    }

    async fn list_object_versions(
        &self,
        req: S3Request<ListObjectVersionsInput>,
    ) -> Answer<ListObjectVersionsOutput> {
        self.list_versions(req).await
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        self.get(req).await
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        self.head(req).await
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        self.put(req).await
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
        self.copy(req).await
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
        self.delete(req).await
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> Answer<DeleteObjectsOutput> {
        self.delete_many(req).await
    }

    async fn get_object_attributes(
        &self,
        req: S3Request<GetObjectAttributesInput>,
    ) -> Answer<GetObjectAttributesOutput> {
        self.attributes(req).await
    }

    async fn get_object_tagging(
        &self,
        req: S3Request<GetObjectTaggingInput>,
    ) -> Answer<GetObjectTaggingOutput> {
        self.tags(req).await
    }

    async fn put_object_tagging(
        &self,
        req: S3Request<PutObjectTaggingInput>,
    ) -> Answer<PutObjectTaggingOutput> {
        let input = req.input;
        let version_id = self
            .set_tags(
                input.bucket,
                input.key,
                input.version_id,
                input.tagging.tag_set,
            )
            .await?;
        Ok(S3Response::new(PutObjectTaggingOutput { version_id }))
    }

    async fn delete_object_tagging(
        &self,
        req: S3Request<DeleteObjectTaggingInput>,
    ) -> Answer<DeleteObjectTaggingOutput> {
        let input = req.input;
        let version_id = self
            .set_tags(input.bucket, input.key, input.version_id, Vec::new())
            .await?;
        let mut response = S3Response::new(DeleteObjectTaggingOutput { version_id });
        response.status = Some(hyper::StatusCode::NO_CONTENT);
        Ok(response)
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        self.begin(req).await
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
        self.part(req).await
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> Answer<UploadPartCopyOutput> {
        self.part_copy(req).await
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        self.complete(req).await
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        self.abort(req).await
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> Answer<ListPartsOutput> {
        self.parts(req).await
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> Answer<ListMultipartUploadsOutput> {
        self.uploads(req).await
    }
}
