//! Who may: keys, and what a key opens. Runs before a request is decoded.
//!
//! An access key's id is `<name>.<namespace>` of its AccessKey object; its secret is derived from the object's
//! uid and the box's master key, so that no secret is stored and a key that is made anew has a new one. A key
//! opens the buckets of its namespace; those of [`SYSTEM_NAMESPACE`] open all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use s3s::{
    S3Result,
    access::{S3Access, S3AccessContext},
    auth::{S3Auth, SecretKey},
    dto::CopySource,
    s3_error,
};
use sha2::Sha256;

use super::super::Inner;
use crate::{
    Error, Object, Ref, Result, Store,
    kinds::access::{ACCESS_KEY, AccessKeySpec, BucketRule, Role},
};

/// Keys of this namespace open all buckets.
pub const SYSTEM_NAMESPACE: &str = "kubeflow-system";

/// What a key opens.
#[derive(Debug)]
pub(crate) struct Grant {
    /// Whose buckets: a namespace.
    pub namespace: String,
    /// Only these; empty = all of the namespace.
    rules: Vec<BucketRule>,
}

impl Grant {
    /// Whether it opens the buckets of all namespaces.
    pub(crate) fn whole_box(&self) -> bool {
        self.namespace == SYSTEM_NAMESPACE
    }

    /// Whether it opens a bucket of this namespace for keys that start with `prefix`.
    pub(crate) fn opens(&self, owner: &str, bucket: &str, prefix: &str, write: bool) -> bool {
        if !self.whole_box() && owner != self.namespace {
            return false;
        }
        self.rules.is_empty()
            || self.rules.iter().any(|rule| {
                rule.bucket == bucket
                    && prefix.starts_with(&rule.prefix)
                    && (!write || rule.role == Role::Edit)
            })
    }

    /// Whether some key in the bucket is opened: enough to ask for the bucket itself.
    fn sees(&self, owner: &str, bucket: &str) -> bool {
        (self.whole_box() || owner == self.namespace)
            && (self.rules.is_empty() || self.rules.iter().any(|r| r.bucket == bucket))
    }

    /// Whether a list of buckets shows this one.
    pub(crate) fn lists(&self, owner: &str, bucket: &str) -> bool {
        self.sees(owner, bucket)
    }

    /// Whether it opens whole buckets: they may be made, changed and listed.
    pub(crate) fn unbound(&self) -> bool {
        self.rules.is_empty()
    }
}

/// The keys of a box.
pub struct Keyring {
    store: Store,
    master: [u8; 32],
    /// What was looked up at this version of the store.
    cache: Mutex<Cache>,
}

/// The store's version, and by access key what it was then.
type Cache = (u64, HashMap<String, Option<Arc<Known>>>);

struct Known {
    secret: String,
    grant: Arc<Grant>,
}

/// The id of an AccessKey.
pub fn access_key_id(object: &Object) -> String {
    format!("{}.{}", object.metadata.name, object.metadata.namespace)
}

impl Keyring {
    /// The keys of this store, with the box's master key.
    pub fn new(store: Store, master: [u8; 32]) -> Self {
        Self {
            store,
            master,
            cache: Mutex::default(),
        }
    }

    /// The secret of an AccessKey.
    ///
    /// # Errors
    /// Never with a key of this length.
    pub fn secret(&self, object: &Object) -> Result<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.master).map_err(Error::internal)?;
        mac.update(b"s3:");
        mac.update(object.metadata.uid.as_bytes());
        let bytes = mac.finalize().into_bytes();
        Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&bytes[..30]))
    }

    async fn find(&self, id: &str) -> Result<Option<Arc<Known>>> {
        let version = self.store.version();
        {
            let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            if cache.0 == version
                && let Some(known) = cache.1.get(id)
            {
                return Ok(known.clone());
            }
        }
        let known = self.look_up(id).await?;
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.0 != version || cache.1.len() > 1024 {
            *cache = (version, HashMap::new());
        }
        cache.1.insert(id.into(), known.clone());
        Ok(known)
    }

    async fn look_up(&self, id: &str) -> Result<Option<Arc<Known>>> {
        let Some((name, namespace)) = id.rsplit_once('.') else {
            return Ok(None);
        };
        let Some(object) = self
            .store
            .get(&Ref::new(&ACCESS_KEY, namespace, name))
            .await?
        else {
            return Ok(None);
        };
        if object.deleting() {
            return Ok(None);
        }
        let spec: AccessKeySpec = object.spec()?;
        let expired = |at: &String| {
            at.parse::<jiff::Timestamp>()
                .is_ok_and(|at| at < jiff::Timestamp::now())
        };
        if spec.expires.as_ref().is_some_and(expired) {
            return Ok(None);
        }
        Ok(Some(Arc::new(Known {
            secret: self.secret(&object)?,
            grant: Arc::new(Grant {
                namespace: namespace.into(),
                rules: spec.rules,
            }),
        })))
    }
}

/// The keyring as s3s asks for it.
pub(super) struct Auth(pub Arc<Keyring>);

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.find(access_key).await? {
            Some(known) => Ok(SecretKey::from(known.secret.clone())),
            None => Err(s3_error!(
                InvalidAccessKeyId,
                "no such access key, or it has expired: make one with `kfbox s3 key create`"
            )),
        }
    }
}

/// The gate before all operations.
pub(super) struct Gate {
    pub keys: Arc<Keyring>,
    pub inner: Arc<Inner>,
}

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = cx.credentials() else {
            return Err(s3_error!(AccessDenied, "a signature is required"));
        };
        all_headers_are_signed(cx)?;
        let known = self.keys.find(&credentials.access_key).await?;
        let Some(grant) = known.map(|k| k.grant.clone()) else {
            return Err(s3_error!(InvalidAccessKeyId));
        };
        let name = cx.s3_op().name().to_owned();
        let write = !["Get", "Head", "List", "Select"]
            .iter()
            .any(|verb| name.starts_with(verb));
        if let Some(bucket) = cx.s3_path().get_bucket_name().map(str::to_owned) {
            let key = cx.s3_path().get_object_key().map(str::to_owned);
            self.bucket(&grant, &name, bucket, key, write).await?;
        }
        if let Some(source) = cx.headers().get("x-amz-copy-source") {
            let source = source
                .to_str()
                .map_err(|_| s3_error!(InvalidArgument, "x-amz-copy-source"))?;
            let source = CopySource::parse(source)
                .map_err(|_| s3_error!(InvalidArgument, "x-amz-copy-source"))?;
            let CopySource::Bucket { bucket, key, .. } = source else {
                return Err(s3_error!(
                    NotImplemented,
                    "only buckets of this box can be copied from"
                ));
            };
            self.bucket(&grant, "GetObject", bucket.into(), Some(key.into()), false)
                .await?;
        }
        cx.extensions_mut().insert(grant);
        Ok(())
    }
}

impl Gate {
    async fn bucket(
        &self,
        grant: &Grant,
        operation: &str,
        bucket: String,
        key: Option<String>,
        write: bool,
    ) -> S3Result<()> {
        let denied = || {
            Err(s3_error!(
                AccessDenied,
                "this access key does not open that"
            ))
        };
        let name = bucket.clone();
        let row = self
            .inner
            .db
            .read(move |t| t.bucket(&bucket))
            .await
            .map_err(super::fault)?;
        let Some(row) = row else {
            // The operation says that there is none; who may not make buckets learns no more.
            let may = grant.unbound() || operation != "CreateBucket";
            return if may { Ok(()) } else { denied() };
        };
        let open = match (key, operation) {
            (Some(key), _) => grant.opens(&row.namespace, &name, &key, write),
            // The operation says that the name is taken.
            (None, "CreateBucket") => grant.unbound(),
            // Keys and prefixes stand in the body or the query: the operation looks at each.
            (
                None,
                "DeleteObjects"
                | "PostObject"
                | "HeadBucket"
                | "GetBucketLocation"
                | "GetBucketVersioning",
            )
            | (
                None,
                "ListObjects" | "ListObjectsV2" | "ListObjectVersions" | "ListMultipartUploads",
            ) => grant.sees(&row.namespace, &name),
            (None, _) => grant.unbound() && grant.sees(&row.namespace, &name),
        };
        if open { Ok(()) } else { denied() }
    }
}

/// s3s verifies the signature over the headers that the client lists as signed. Unless all `x-amz-*` headers are
/// among them, whoever holds a presigned URL could add, say, `x-amz-copy-source` and read what the signer can.
fn all_headers_are_signed(cx: &S3AccessContext<'_>) -> S3Result<()> {
    let from_header = || {
        let value = cx.headers().get("authorization")?.to_str().ok()?;
        let (_, rest) = value.split_once("SignedHeaders=")?;
        Some(rest.split(',').next().unwrap_or_default().trim().to_owned())
    };
    let from_query = || {
        url::form_urlencoded::parse(cx.uri().query()?.as_bytes())
            .find(|(name, _)| name.eq_ignore_ascii_case("X-Amz-SignedHeaders"))
            .map(|(_, value)| value.into_owned())
    };
    let Some(signed) = from_query().or_else(from_header) else {
        // Version 2 signs all x-amz-* headers; a form's policy names all its fields.
        return Ok(());
    };
    let signed: Vec<&str> = signed.split(';').collect();
    for name in cx.headers().keys() {
        let name = name.as_str();
        if name.starts_with("x-amz-") && name != "x-amz-content-sha256" && !signed.contains(&name) {
            return Err(s3_error!(
                AccessDenied,
                "a header is not signed: all x-amz-* headers must be"
            ));
        }
    }
    Ok(())
}
