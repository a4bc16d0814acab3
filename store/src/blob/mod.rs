//! Where the bytes of artifacts lie. A step's artifacts are never copied: the folder of the store that holds
//! `minio://bucket/key` is bind-mounted into the step at `/minio/bucket/key`.
//!
//! Keys come from users and steps: [`Blobs::path`] is the one function that turns a URI into a host path, and
//! reads never follow a link out of the root.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use crate::{Code, Error, Result};

/// The URI schemes that the box stores itself, with the folder each is mounted at inside steps.
pub const SCHEMES: &[(&str, &str)] = &[("minio", "minio"), ("s3", "s3"), ("gs", "gcs")];

/// The artifact folder of a box.
#[derive(Clone, Debug)]
pub struct Blobs {
    root: PathBuf,
}

/// One entry of a folder.
#[derive(Debug, serde::Serialize)]
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
    /// The store in this folder, which is made when missing.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(root: &Path) -> Result<Self> {
        std::fs::create_dir_all(root).map_err(|e| unreadable(root, &e))?;
        let root = root.canonicalize().map_err(|e| unreadable(root, &e))?;
        Ok(Self { root })
    }

    /// The host path of `scheme://bucket/key`.
    ///
    /// # Errors
    /// `Invalid` for a scheme the box does not store, an empty key, or a key with `..` and the like.
    pub fn path(&self, uri: &str) -> Result<PathBuf> {
        let (scheme, rest) = uri.split_once("://").ok_or_else(|| {
            Error::invalid(format!(
                "artifact URI \"{uri}\": must be scheme://bucket/key"
            ))
        })?;
        if !SCHEMES.iter().any(|(s, _)| *s == scheme) {
            return Err(Error::invalid(format!(
                "artifact URI \"{uri}\": the box stores minio://, s3:// and gs:// only"
            )));
        }
        let plain = Path::new(rest)
            .components()
            .all(|c| matches!(c, Component::Normal(_)));
        if rest.is_empty() || !plain || rest.contains('\0') || rest.contains('\\') {
            return Err(Error::invalid(format!(
                "artifact URI \"{uri}\": the key must be a plain path, without \"..\""
            )));
        }
        Ok(self.root.join(scheme).join(rest))
    }

    /// Opens what a URI points at. Blocking: call it off the async runtime.
    ///
    /// # Errors
    /// As [`Blobs::path`]; `NotFound` when nothing is there or it is reached through a link out of the store.
    pub fn read(&self, uri: &str) -> Result<Found> {
        let path = self.path(uri)?;
        let missing = || Error::not_found(format!("no artifact at {uri}"));
        // Steps write here: resolve links first, then look at the very file that was resolved.
        let real = path.canonicalize().map_err(|_| missing())?;
        if !real.starts_with(&self.root) {
            return Err(missing());
        }
        let meta = std::fs::metadata(&real).map_err(|_| missing())?;
        if meta.is_dir() {
            let mut entries = Vec::new();
            for entry in std::fs::read_dir(&real).map_err(|e| unreadable(&real, &e))? {
                let entry = entry.map_err(|e| unreadable(&real, &e))?;
                let meta = entry.metadata().map_err(|e| unreadable(&real, &e))?;
                entries.push(Entry {
                    name: entry.file_name().to_string_lossy().into_owned(),
                    size: if meta.is_file() { meta.len() } else { 0 },
                    dir: meta.is_dir(),
                });
            }
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            return Ok(Found::Folder(entries));
        }
        if !meta.is_file() {
            return Err(missing());
        }
        let file = std::fs::File::open(&real).map_err(|e| unreadable(&real, &e))?;
        Ok(Found::File(file, meta.len()))
    }

    /// Removes every folder named like this run, wherever its pipeline root put it. Blocking.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove_run(&self, run_id: &str) -> Result<()> {
        let mut level = vec![self.root.clone()];
        // scheme, bucket, up to four folders of a pipeline root, pipeline, run
        for _ in 0..8 {
            let mut next = Vec::new();
            for folder in level {
                for entry in std::fs::read_dir(&folder)
                    .map_err(|e| unreadable(&folder, &e))?
                    .flatten()
                {
                    // Links are what a step left: never followed.
                    if !entry.file_type().is_ok_and(|t| t.is_dir()) {
                        continue;
                    }
                    let path = entry.path();
                    if entry.file_name().to_str() == Some(run_id) {
                        std::fs::remove_dir_all(&path).map_err(|e| unreadable(&path, &e))?;
                    } else {
                        next.push(path);
                    }
                }
            }
            level = next;
        }
        Ok(())
    }
}

fn unreadable(path: &Path, e: &io::Error) -> Error {
    let code = if e.kind() == io::ErrorKind::StorageFull {
        Code::StorageFull
    } else {
        Code::Unavailable
    };
    Error::new(
        code,
        "the box cannot use its artifact folder now; its log has the cause",
    )
    .because(format!("{}: {e}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hostile_uris_never_leave_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(&dir.path().join("artifacts")).unwrap();
        for uri in [
            "minio://../x",
            "minio://b/../../x",
            "minio:///etc/passwd",
            "minio://b/./x",
            "file:///etc/passwd",
            "minio://",
            "b/x",
            "minio://b/\0",
            "minio://b\\..\\x",
        ] {
            assert!(blobs.path(uri).is_err() || !uri.contains(".."), "{uri}");
            assert!(blobs.read(uri).is_err(), "{uri}");
        }
        std::fs::write(dir.path().join("secret"), "s").unwrap();
        let bucket = blobs.path("minio://b/x").unwrap();
        std::fs::create_dir_all(bucket.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), &bucket).unwrap();
        assert_eq!(blobs.read("minio://b/x").unwrap_err().code, Code::NotFound);
    }
}
