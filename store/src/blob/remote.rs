//! Buckets that lie on another server: S3, Google Cloud Storage, Azure, HTTP and WebDAV, through `object_store`. They are
//! read only here; what is kept of them is in `kept.rs`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    Attribute, ClientOptions, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt,
    RetryConfig, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder,
    gcp::GoogleCloudStorageBuilder, http::HttpBuilder, path::Path as RemotePath,
    prefix::PrefixStore,
};
use s3s::StdError;
use url::Url;

use super::{
    list::{Item, Page, Wanted, fold},
    rows::{self, Version},
};
use crate::{Code, Error, Result};

/// How long what the server said of an object is believed.
const BELIEVED: Duration = Duration::from_secs(5);
/// Objects whose state is remembered.
const REMEMBERED: usize = 10_000;
/// Objects that a server without an order may have below one prefix.
const UNORDERED: usize = 100_000;

/// Where a bucket lies, and what opens it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RemotePlace {
    /// `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, `https://host/folder`.
    pub url: String,
    /// Another server than the cloud's own.
    pub endpoint: String,
    /// Of S3; "" = `us-east-1`.
    pub region: String,
    /// Credentials by the names that clients use, such as `AWS_ACCESS_KEY_ID`.
    pub secrets: BTreeMap<String, String>,
}

/// A bucket on another server.
pub struct Remote {
    store: Arc<dyn ObjectStore>,
    /// Whether its lists come in order of key.
    ordered: bool,
    pub(crate) seen: Mutex<HashMap<String, (Instant, Option<ObjectMeta>)>>,
}

/// By bucket; `None` = it is remote, and the way there is not known yet.
pub(crate) type Remotes = RwLock<HashMap<String, Option<Arc<Remote>>>>;

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Remote({})", self.store)
    }
}

fn translated(what: &str, error: &object_store::Error) -> Error {
    use object_store::Error as E;
    let (code, why) = match error {
        E::NotFound { .. } => (Code::NotFound, format!("the other server has no {what}")),
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => (
            Code::Forbidden,
            format!(
                "the other server does not open {what} with the credentials of the RemoteBucket"
            ),
        ),
        E::InvalidPath { .. } => (
            Code::Invalid,
            format!("{what} is no key that the other server can have"),
        ),
        E::NotSupported { .. } | E::NotImplemented { .. } => (
            Code::Unsupported,
            format!("the other server cannot do that for {what}"),
        ),
        _ => (
            Code::Unavailable,
            format!("the other server does not give {what}"),
        ),
    };
    Error::new(code, why).because(error.to_string())
}

impl Remote {
    /// The way to a place. Nothing is asked of it yet.
    ///
    /// # Errors
    /// `Invalid`, naming what is wrong with the address or the credentials.
    pub fn open(place: &RemotePlace) -> Result<Self> {
        // The HTTP client takes the process's; a second one is refused, and the first is as good.
        _ = rustls::crypto::ring::default_provider().install_default();
        let wrong = |e: object_store::Error| {
            Error::invalid(format!("spec.url: \"{}\" cannot be used: {e}", place.url))
        };
        let url = Url::parse(&place.url)
            .map_err(|e| Error::invalid(format!("spec.url: \"{}\": {e}", place.url)))?;
        let secret = |name: &str| place.secrets.get(name).cloned();
        let plain = place.endpoint.starts_with("http://") || url.scheme() == "http";
        let options = ClientOptions::new()
            .with_allow_http(plain)
            .with_connect_timeout(Duration::from_secs(5))
            .with_timeout(Duration::from_secs(3600));
        let retry = RetryConfig {
            max_retries: 2,
            retry_timeout: Duration::from_secs(20),
            ..RetryConfig::default()
        };
        let name = url.host_str().unwrap_or_default().to_owned();
        let inner: Arc<dyn ObjectStore> = match url.scheme() {
            "s3" | "minio" => {
                let mut builder = AmazonS3Builder::new()
                    .with_bucket_name(name)
                    .with_region(if place.region.is_empty() {
                        "us-east-1"
                    } else {
                        &place.region
                    })
                    .with_client_options(options)
                    .with_allow_http(plain)
                    .with_retry(retry);
                if !place.endpoint.is_empty() {
                    builder = builder.with_endpoint(&place.endpoint);
                }
                builder = match (secret("AWS_ACCESS_KEY_ID"), secret("AWS_SECRET_ACCESS_KEY")) {
                    (Some(id), Some(key)) => {
                        builder.with_access_key_id(id).with_secret_access_key(key)
                    }
                    _ => builder.with_skip_signature(true),
                };
                if let Some(token) = secret("AWS_SESSION_TOKEN") {
                    builder = builder.with_token(token);
                }
                Arc::new(builder.build().map_err(wrong)?)
            }
            "gs" => {
                let mut builder = GoogleCloudStorageBuilder::new()
                    .with_bucket_name(name)
                    .with_client_options(options)
                    .with_retry(retry);
                if !place.endpoint.is_empty() {
                    builder = builder.with_base_url(&place.endpoint);
                }
                builder = match secret("GOOGLE_SERVICE_ACCOUNT") {
                    Some(account) => builder.with_service_account_key(account),
                    None => builder.with_skip_signature(true),
                };
                Arc::new(builder.build().map_err(wrong)?)
            }
            "az" => {
                let mut builder = MicrosoftAzureBuilder::new()
                    .with_container_name(name)
                    .with_client_options(options)
                    .with_allow_http(plain)
                    .with_retry(retry);
                let Some(account) = secret("AZURE_STORAGE_ACCOUNT") else {
                    return Err(Error::invalid(
                        "spec.secretName: the Secret needs AZURE_STORAGE_ACCOUNT",
                    ));
                };
                if !place.endpoint.is_empty() {
                    builder = builder.with_endpoint(place.endpoint.clone());
                }
                builder = builder.with_account(account);
                builder = match secret("AZURE_STORAGE_KEY") {
                    Some(key) => builder.with_access_key(key),
                    None => builder.with_skip_signature(true),
                };
                Arc::new(builder.build().map_err(wrong)?)
            }
            "http" | "https" => {
                let mut url = url.clone();
                if let (Some(user), Some(password)) = (secret("username"), secret("password")) {
                    _ = url.set_username(&user);
                    _ = url.set_password(Some(&password));
                }
                let builder = HttpBuilder::new()
                    .with_url(url)
                    .with_client_options(options)
                    .with_retry(retry);
                Arc::new(builder.build().map_err(wrong)?)
            }
            other => {
                return Err(Error::invalid(format!(
                    "spec.url: {other}:// is not a place for a bucket; s3://, gs://, az://, https:// and http:// are"
                )));
            }
        };
        let ordered = !url.scheme().starts_with("http");
        let prefix = url.path().trim_matches('/');
        let store: Arc<dyn ObjectStore> = if prefix.is_empty() || !ordered {
            inner
        } else {
            Arc::new(PrefixStore::new(inner, prefix))
        };
        Ok(Self::of(store, ordered))
    }

    pub(crate) fn of(store: Arc<dyn ObjectStore>, ordered: bool) -> Self {
        Self {
            store,
            ordered,
            seen: Mutex::default(),
        }
    }

    /// Whether the place answers.
    ///
    /// # Errors
    /// What it says, in words that help.
    pub async fn check(&self) -> Result<()> {
        match self.store.list_with_delimiter(None).await {
            Ok(_) => Ok(()),
            Err(e) => Err(translated("the list of its objects", &e)),
        }
    }

    fn path(key: &str) -> Result<RemotePath> {
        RemotePath::parse(key).map_err(|_| {
            Error::not_found(format!("\"{key}\": the other server can have no such key"))
        })
    }

    /// What the server has under this key.
    pub(crate) async fn meta(&self, key: &str) -> Result<Option<ObjectMeta>> {
        let path = match Self::path(key) {
            Ok(path) if path.as_ref() == key => path,
            _ => return Ok(None),
        };
        {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, meta)) = seen.get(key)
                && at.elapsed() < BELIEVED
            {
                return Ok(meta.clone());
            }
        }
        let meta = match self.store.head(&path).await {
            Ok(meta) => Some(meta),
            Err(object_store::Error::NotFound { .. }) => None,
            Err(e) => return Err(translated(key, &e)),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBERED {
            seen.clear();
        }
        seen.insert(key.to_owned(), (Instant::now(), meta.clone()));
        Ok(meta)
    }

    /// Bytes from `start` to `end`.
    pub(crate) async fn bytes(
        &self,
        key: &str,
        range: Option<(u64, u64)>,
    ) -> Result<(
        Option<String>,
        BoxStream<'static, std::result::Result<Bytes, StdError>>,
    )> {
        let options = GetOptions {
            range: range.map(|(start, end)| GetRange::Bounded(start..end)),
            ..GetOptions::default()
        };
        let found = self.store.get_opts(&Self::path(key)?, options).await;
        let found = found.map_err(|e| translated(key, &e))?;
        let kind = found
            .attributes
            .get(&Attribute::ContentType)
            .map(|v| v.as_ref().to_owned());
        Ok((
            kind,
            found
                .into_stream()
                .map_err(|e| Box::new(e) as StdError)
                .boxed(),
        ))
    }

    /// A page of its list.
    pub(crate) async fn page(&self, wanted: &Wanted<'_>) -> Result<Page> {
        let folder = wanted
            .prefix
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        let folder = match folder {
            "" => None,
            folder => match Self::path(folder) {
                Ok(path) => Some(path),
                // Nothing can be below it.
                Err(_) => {
                    return Ok(Page {
                        items: Vec::new(),
                        truncated: false,
                    });
                }
            },
        };
        let what = "the list of its objects";
        let mut found: BTreeMap<String, Item> = BTreeMap::new();
        let asked = |item: &Item| {
            let later = wanted.after.is_none_or(|after| item.name() > after);
            item.name().starts_with(wanted.prefix) && later
        };
        if wanted.delimiter == "/" {
            let list = self.store.list_with_delimiter(folder.as_ref()).await;
            let list = list.map_err(|e| translated(what, &e))?;
            let prefixes = list
                .common_prefixes
                .iter()
                .map(|p| Item::Prefix(format!("{p}/")));
            let objects = list
                .objects
                .iter()
                .map(|m| Item::Key(m.location.to_string(), Box::new(version(m))));
            let all = prefixes.chain(objects).filter(asked);
            found.extend(all.map(|item| (item.name().to_owned(), item)));
        } else {
            let offset = wanted
                .after
                .filter(|_| self.ordered)
                .and_then(|a| RemotePath::parse(a).ok());
            let mut list = match &offset {
                Some(offset) => self.store.list_with_offset(folder.as_ref(), offset),
                None => self.store.list(folder.as_ref()),
            };
            let mut walked = 0;
            while let Some(meta) = list.next().await {
                let meta = meta.map_err(|e| translated(what, &e))?;
                let key = meta.location.as_ref();
                let item = match fold(key, wanted.prefix, wanted.delimiter) {
                    Some(prefix) => Item::Prefix(prefix.to_owned()),
                    None => Item::Key(key.to_owned(), Box::new(version(&meta))),
                };
                if asked(&item) {
                    found.insert(item.name().to_owned(), item);
                }
                walked += 1;
                if self.ordered && found.len() > wanted.max {
                    break;
                }
                if !self.ordered && walked > UNORDERED {
                    return Err(Error::new(
                        Code::Unsupported,
                        format!(
                            "the other server has more than {UNORDERED} objects here: list with the delimiter /"
                        ),
                    ));
                }
            }
        }
        let truncated = found.len() > wanted.max;
        let items = found.into_values().take(wanted.max).collect();
        Ok(Page {
            items,
            truncated: truncated && wanted.max > 0,
        })
    }
}

/// What the server says of an object, as we say it of ours; without its bytes.
pub(crate) fn version(meta: &ObjectMeta) -> Version {
    let at = meta.last_modified.timestamp_millis();
    let etag = meta.e_tag.as_deref().unwrap_or_default();
    let etag = etag.trim_start_matches("W/").trim_matches('"');
    Version {
        id: rows::NULL.into(),
        at,
        size: meta.size,
        etag: if etag.is_empty() {
            format!("{at:x}-{:x}", meta.size)
        } else {
            etag.to_owned()
        },
        ..Version::default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn places_are_checked() {
        let open = |url: &str, secrets: &[(&str, &str)]| {
            let secrets = secrets
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect();
            Remote::open(&RemotePlace {
                url: url.into(),
                secrets,
                ..RemotePlace::default()
            })
        };
        assert!(open("s3://bucket/some/prefix", &[]).is_ok());
        assert!(open("gs://bucket", &[]).is_ok());
        assert!(
            open(
                "https://host/folder",
                &[("username", "a"), ("password", "b")]
            )
            .is_ok()
        );
        assert!(open("az://container", &[("AZURE_STORAGE_ACCOUNT", "a")]).is_ok());
        for (bad, why) in [
            ("az://container", "AZURE_STORAGE_ACCOUNT"),
            ("ftp://x", "ftp"),
            ("nonsense", "spec.url"),
        ] {
            let error = open(bad, &[]).unwrap_err();
            assert!(error.message.contains(why), "{bad}: {error}");
        }
    }
}
