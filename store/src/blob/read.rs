//! Reading by URI, for the other dialects: an object's bytes as an open file, or a folder's entries.

use std::{collections::BTreeMap, path::Path};

use super::{Blobs, Inner, disk, list, remote::Remote, split};
use crate::{Error, Result};

/// One entry of a folder.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Bytes; 0 for folders.
    pub size: u64,
    /// Whether it is a folder.
    pub dir: bool,
}

/// What a URI points at.
#[derive(Debug)]
pub enum Found {
    /// A file, open for reading, with its size in bytes.
    File(std::fs::File, u64),
    /// A folder's entries, by name.
    Folder(Vec<Entry>),
}

impl Blobs {
    /// Opens what a URI points at, be it an object or a file that a step is still writing.
    ///
    /// # Errors
    /// As [`Blobs::path`]; `NotFound` when nothing is there or it is reached through a link out of the store.
    pub async fn read(&self, uri: &str) -> Result<Found> {
        let path = self.path(uri)?;
        let (bucket, key) = split(uri)?;
        if let Some(remote) = self.remote(bucket)? {
            return self.read_remote(&remote, uri, bucket, key).await;
        }
        let (inner, bucket, key) = (self.inner.clone(), bucket.to_owned(), key.to_owned());
        let uri = uri.to_owned();
        tokio::task::spawn_blocking(move || {
            inner.show(&bucket, &key)?;
            inner.read(&uri, &path, &bucket, &key)
        })
        .await
        .map_err(Error::internal)?
    }
}

impl Blobs {
    /// The same of a bucket on another server: the object is brought here, a folder is listed there.
    async fn read_remote(
        &self,
        remote: &Remote,
        uri: &str,
        bucket: &str,
        key: &str,
    ) -> Result<Found> {
        if self.look_there(remote, bucket, key).await?.is_some() {
            self.present(uri).await?;
            let (inner, path, uri) = (self.inner.clone(), self.path(uri)?, uri.to_owned());
            let (bucket, key) = (bucket.to_owned(), key.to_owned());
            let read = tokio::task::spawn_blocking(move || inner.read(&uri, &path, &bucket, &key));
            return read.await.map_err(Error::internal)?;
        }
        let prefix = match key.trim_end_matches('/') {
            "" => String::new(),
            key => format!("{key}/"),
        };
        let wanted = list::Wanted {
            bucket,
            prefix: &prefix,
            delimiter: "/",
            after: None,
            max: usize::MAX,
        };
        let page = remote.page(&wanted).await?;
        if page.items.is_empty() && !key.is_empty() {
            return Err(Error::not_found(format!("no artifact at {uri}")));
        }
        Ok(Found::Folder(
            entries(page, &prefix).into_values().collect(),
        ))
    }
}

/// A page of a list as a folder's entries.
fn entries(page: list::Page, prefix: &str) -> BTreeMap<String, Entry> {
    let mut entries = BTreeMap::new();
    for item in page.items {
        let (full, size, dir) = match item {
            list::Item::Key(key, version) => (key, version.size, false),
            list::Item::Prefix(prefix) => (prefix, 0, true),
        };
        let name = full[prefix.len()..].trim_end_matches('/').to_owned();
        entries.insert(name.clone(), Entry { name, size, dir });
    }
    entries
}

impl Inner {
    fn read(&self, uri: &str, path: &Path, bucket: &str, key: &str) -> Result<Found> {
        let missing = || Error::not_found(format!("no artifact at {uri}"));
        // Steps write here: resolve links first, then look at the very file that was resolved.
        let real = path.canonicalize().ok();
        if real.as_ref().is_some_and(|r| !r.starts_with(&self.tree)) {
            return Err(missing());
        }
        let real = real.and_then(|r| r.metadata().ok().map(|m| (r, m)));
        if let Some((real, meta)) = &real
            && !meta.is_dir()
        {
            if !meta.is_file() {
                return Err(missing());
            }
            let file = std::fs::File::open(real).map_err(|e| disk(real, &e))?;
            return Ok(Found::File(file, meta.len()));
        }
        let mut entries = self.entries_in_index(bucket, key)?;
        if let Some((real, _)) = &real {
            entries_on_disk(real, &mut entries)?;
        } else if entries.is_empty() {
            return Err(missing());
        }
        Ok(Found::Folder(entries.into_values().collect()))
    }

    fn entries_in_index(&self, bucket: &str, key: &str) -> Result<BTreeMap<String, Entry>> {
        let prefix = if key.is_empty() {
            String::new()
        } else {
            format!("{}/", key.trim_end_matches('/'))
        };
        let page = self.db.read_now(|t| {
            let wanted = list::Wanted {
                bucket,
                prefix: &prefix,
                delimiter: "/",
                after: None,
                max: usize::MAX,
            };
            list::current(t, &wanted)
        })?;
        Ok(entries(page, &prefix))
    }
}

fn entries_on_disk(folder: &Path, entries: &mut BTreeMap<String, Entry>) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(|e| disk(folder, &e))? {
        let entry = entry.map_err(|e| disk(folder, &e))?;
        let meta = entry.metadata().map_err(|e| disk(folder, &e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let size = if meta.is_file() { meta.len() } else { 0 };
        entries.insert(
            name.clone(),
            Entry {
                name,
                size,
                dir: meta.is_dir(),
            },
        );
    }
    Ok(())
}
