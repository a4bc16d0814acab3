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
    S3Error, S3ErrorCode, S3Result,
    access::{S3Access, S3AccessContext},
    auth::{S3Auth, SecretKey},
    dto::CopySource,
    s3_error,
};
use sha2::Sha256;

use super::super::{Inner, rows::Bucket};
use crate::{
    Error, Object, Ref, Result, Store,
    db::bytes::Tables,
    kinds::access::{ACCESS_KEY, AccessKeySpec, BucketRule, Role},
};

/// Keys of this namespace open all buckets.
pub const SYSTEM_NAMESPACE: &str = "kubeflow-system";

/// What a key opens.
#[derive(Debug, Default)]
pub(crate) struct Grant {
    /// Whose buckets: a namespace. "" = nobody's key: what is open to everybody.
    pub namespace: String,
    /// Only these; empty = all of the namespace.
    rules: Vec<BucketRule>,
    /// Whether it only reads.
    view: bool,
}

/// Lets a request in that is not signed: whoever puts it into the request's extensions knows who asks.
#[derive(Clone, Debug)]
pub struct Pass(Arc<Grant>);

impl Pass {
    /// To the buckets of a namespace; those of [`SYSTEM_NAMESPACE`] are all.
    pub fn new(namespace: &str, role: Role) -> Self {
        Self(Arc::new(Grant {
            namespace: namespace.into(),
            view: role == Role::View,
            ..Grant::default()
        }))
    }
}

impl Grant {
    /// Whether it opens the buckets of all namespaces.
    pub(crate) fn whole_box(&self) -> bool {
        self.namespace == SYSTEM_NAMESPACE
    }

    /// Whether the request was signed.
    fn has_key(&self) -> bool {
        !self.namespace.is_empty()
    }

    /// Whether it opens keys of this bucket that start with `prefix`, by itself or by the bucket's ACL.
    pub(crate) fn may(&self, row: &Bucket, bucket: &str, prefix: &str, write: bool) -> bool {
        !(write && row.is_closed(prefix))
            && (self.opens(&row.namespace, bucket, prefix, write)
                || row.acl.allows(write, self.has_key()))
    }

    /// Whether it opens a bucket of this namespace for keys that start with `prefix`.
    pub(crate) fn opens(&self, owner: &str, bucket: &str, prefix: &str, write: bool) -> bool {
        if !self.has_key() || (!self.whole_box() && owner != self.namespace) || (write && self.view)
        {
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
        self.has_key()
            && (self.whole_box() || owner == self.namespace)
            && (self.rules.is_empty() || self.rules.iter().any(|r| r.bucket == bucket))
    }

    /// Whether a list of buckets shows this one.
    pub(crate) fn lists(&self, owner: &str, bucket: &str) -> bool {
        self.sees(owner, bucket)
    }

    /// Whether it opens whole buckets, with what is set for them; to make and change them as well when writing.
    pub(crate) fn unbound(&self, write: bool) -> bool {
        self.has_key() && self.rules.is_empty() && !(write && self.view)
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
        self.sign("s3", &object.metadata.uid)
    }

    /// A word that only this box can make of a text; for each purpose another one.
    ///
    /// # Errors
    /// Never with a key of this length.
    pub fn sign(&self, purpose: &str, text: &str) -> Result<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.master).map_err(Error::internal)?;
        mac.update(purpose.as_bytes());
        mac.update(b":");
        mac.update(text.as_bytes());
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
                view: false,
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
        let pass = cx.extensions_mut().get::<Pass>().cloned();
        let grant = match (pass, cx.credentials()) {
            (Some(Pass(grant)), _) => grant,
            (None, Some(credentials)) => {
                all_headers_are_signed(cx)?;
                lives_a_week_at_most(cx)?;
                let known = self.keys.find(&credentials.access_key).await?;
                let known = known.ok_or_else(|| s3_error!(InvalidAccessKeyId))?;
                known.grant.clone()
            }
            (None, None) => Arc::default(),
        };
        let operation = cx.s3_op().name().to_owned();
        match cx.s3_path().get_bucket_name().map(str::to_owned) {
            Some(bucket) => {
                let key = cx.s3_path().get_object_key().map(str::to_owned);
                let owner = header(cx, "x-amz-expected-bucket-owner")?;
                self.bucket(&grant, &operation, bucket, key, owner).await?;
            }
            None if !grant.has_key() => return Err(denied()),
            None => {}
        }
        if let Some(source) = header(cx, "x-amz-copy-source")? {
            let wrong = |_| s3_error!(InvalidArgument, "x-amz-copy-source must be bucket/key");
            let CopySource::Bucket { bucket, key, .. } =
                CopySource::parse(&source).map_err(wrong)?
            else {
                return Err(s3_error!(
                    NotImplemented,
                    "only buckets of this box can be copied from"
                ));
            };
            let owner = header(cx, "x-amz-source-expected-bucket-owner")?;
            self.bucket(&grant, "GetObject", bucket.into(), Some(key.into()), owner)
                .await?;
        }
        cx.extensions_mut().insert(grant);
        Ok(())
    }
}

fn denied() -> S3Error {
    s3_error!(
        AccessDenied,
        "this access key does not open that, or the request is not signed"
    )
}

fn header(cx: &S3AccessContext<'_>, name: &'static str) -> S3Result<Option<String>> {
    let text = |v: &hyper::header::HeaderValue| v.to_str().map(str::to_owned);
    cx.headers().get(name).map(text).transpose().map_err(|_| {
        S3Error::with_message(
            S3ErrorCode::InvalidArgument,
            format!("{name} holds what is no text"),
        )
    })
}

/// Operations that look into the bucket's rows by themselves: the keys stand in the query or in the body.
const LOOK_THEMSELVES: &[&str] = &[
    "DeleteObjects",
    "PostObject",
    "ListObjects",
    "ListObjectsV2",
    "ListObjectVersions",
    "ListMultipartUploads",
];

impl Gate {
    async fn bucket(
        &self,
        grant: &Arc<Grant>,
        operation: &str,
        bucket: String,
        key: Option<String>,
        expected_owner: Option<String>,
    ) -> S3Result<()> {
        let (grant, operation) = (grant.clone(), operation.to_owned());
        let read = move |t: &Tables| -> S3Result<bool> {
            let Some(row) = t.bucket(&bucket)? else {
                // The operation says that there is none.
                return Ok(operation != "CreateBucket" || grant.unbound(true));
            };
            if expected_owner.is_some_and(|owner| owner != row.namespace) {
                return Ok(false);
            }
            let verb = |verbs: &[&str]| verbs.iter().any(|v| operation.starts_with(v));
            let write = !verb(&["Get", "Head", "List", "Select"]);
            let Some(key) = key else {
                if row.remote && operation == "DeleteBucket" {
                    return Err(s3_error!(
                        AccessDenied,
                        "this bucket lies on another server: who administers the box deletes its RemoteBucket"
                    ));
                }
                let open = match operation.as_str() {
                    // The operation says whose the name is.
                    "CreateBucket" => grant.unbound(true),
                    "HeadBucket" | "GetBucketLocation" | "GetBucketVersioning" => {
                        grant.sees(&row.namespace, &bucket)
                            || row.acl.allows(false, grant.has_key())
                    }
                    name if LOOK_THEMSELVES.contains(&name) => true,
                    _ => grant.unbound(write) && grant.sees(&row.namespace, &bucket),
                };
                return Ok(open);
            };
            if write && row.is_closed(&key) {
                return Err(S3Error::with_message(
                    S3ErrorCode::AccessDenied,
                    row.why_closed(),
                ));
            }
            if grant.opens(&row.namespace, &bucket, &key, write) {
                return Ok(true);
            }
            Ok(match operation.as_str() {
                "GetObject" | "HeadObject" => match t.latest(&bucket, &key)? {
                    Some((_, version)) => version.acl.allows(false, grant.has_key()),
                    // Who may list may know that there is none.
                    None => row.acl.allows(false, grant.has_key()),
                },
                "PutObject" | "DeleteObject" => row.acl.allows(true, grant.has_key()),
                _ => false,
            })
        };
        if self.inner.db.read(read).await? {
            Ok(())
        } else {
            Err(denied())
        }
    }
}

/// A presigned URL is good for seven days at most.
fn lives_a_week_at_most(cx: &S3AccessContext<'_>) -> S3Result<()> {
    let query = cx.uri().query().unwrap_or_default();
    let expires = url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "X-Amz-Expires")
        .and_then(|(_, value)| value.parse::<u64>().ok());
    if expires.is_some_and(|seconds| seconds > 7 * 86_400) {
        return Err(s3_error!(
            AccessDenied,
            "X-Amz-Expires: at most 604800 seconds, which is a week"
        ));
    }
    Ok(())
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
