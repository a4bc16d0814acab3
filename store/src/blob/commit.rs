//! Commits of a data set. A data set is a bucket whose top folders are *branches*, where everybody writes as ever,
//! and *commits*: folders, named by the commit's id, that never change. A commit's rows point at the same blobs as
//! the branch's did: committing copies no bytes, and equal bytes are kept once, found by their SHA-256.
//!
//! A commit is what the branch held at one instant: its rows are written in one transaction, which other writers
//! wait for (about a second for 100,000 objects).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    Blobs, Inner, list,
    refs::{self, After},
    rows::{self, NULL, Place, Segment, Version},
};
use crate::{
    Code, Error, Result,
    db::{
        bytes::{Next, Tables},
        key::Key,
    },
};

/// Records: (bucket, name of the commit's object) -> [`Frozen`].
const COMMIT: &str = "commit";
/// Records: SHA-256 -> segments that hold these bytes. May name blobs that are gone.
const DIGEST: &str = "digest";
/// Letters of a commit's id that name its folder.
const SHORT: usize = 12;
/// Objects looked up in one transaction while they are hashed.
const STEP: usize = 256;
/// How often we hash what came in meanwhile before we say that there is too much of it.
const TRIES: usize = 20;

/// What a commit says of itself, beside what it holds. Part of its id.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The id of the commit before it on its branch; "" = it is the first.
    pub parent: String,
    /// Who made it.
    pub author: String,
    /// Why.
    pub message: String,
    /// When: RFC 3339.
    pub at: String,
}

/// How a commit differs from its parent, in objects.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase", default)]
pub struct Changes {
    /// Objects that the parent does not have.
    pub added: u64,
    /// Objects with other bytes.
    pub changed: u64,
    /// Objects that only the parent has.
    pub removed: u64,
}

/// A commit as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Frozen {
    /// SHA-256 of the tree, the parent, the author, the time and the message, in hex. That of the parent, when
    /// nothing has changed since.
    pub id: String,
    /// SHA-256 of what it holds: equal trees hold equal objects.
    pub tree: String,
    /// Objects in it.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Beside the parent.
    pub changes: Changes,
    /// Whether it holds the same as its parent, so that there is no new folder.
    pub unchanged: bool,
}

/// The folder of a commit.
pub fn folder(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

/// Whether a name of a folder could be taken for a commit's.
pub fn looks_like_commit(name: &str) -> bool {
    name.len() == SHORT && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// A difference between two folders of a data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The object, below the folder.
    pub path: String,
    /// Bytes before; absent = it was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Bytes after; absent = it is not there any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

impl rows::Bucket {
    /// Whether nobody may write a key: it lies in a commit, or on another server.
    pub(crate) fn is_closed(&self, key: &str) -> bool {
        if self.remote {
            return true;
        }
        let Some(branches) = &self.branches else {
            return false;
        };
        let (first, below) = key.split_once('/').unwrap_or((key, ""));
        below.is_empty() && !key.ends_with('/') || !branches.iter().any(|b| b == first)
    }
}

impl rows::Bucket {
    /// Why, for whoever wanted to write.
    pub(crate) fn why_closed(&self) -> String {
        match &self.branches {
            Some(branches) => format!(
                "this bucket is a data set: it is written to in its branches only ({}); commits never change",
                branches.join(", ")
            ),
            None => "this bucket lies on another server and is only read here".into(),
        }
    }
}

fn same(a: &Version, b: &Version) -> bool {
    match (&a.digest, &b.digest) {
        (Some(a), Some(b)) => a == b,
        _ => a.segments == b.segments && a.size == b.size,
    }
}

fn commit_key(bucket: &str, name: &str) -> Key {
    Key::new().text(bucket).text(name)
}

/// The objects of a folder: paths below it and current versions.
fn objects(t: &Tables, bucket: &str, folder: &str) -> Result<Vec<(String, Version)>> {
    let mut side = Side::new(bucket, folder, None);
    let mut all = Vec::new();
    while let Some(found) = side.next(t)? {
        all.push(found);
    }
    Ok(all)
}

/// A walk over a folder, in order, some rows at a time.
struct Side<'a> {
    bucket: &'a str,
    prefix: String,
    ahead: VecDeque<(String, Version)>,
    /// The key that the last stretch ended with; `None` = there is no more.
    after: Option<String>,
}

impl<'a> Side<'a> {
    fn new(bucket: &'a str, folder: &str, after: Option<&str>) -> Self {
        let prefix = format!("{folder}/");
        let after = Some(format!("{prefix}{}", after.unwrap_or_default()));
        Self {
            bucket,
            prefix,
            ahead: VecDeque::new(),
            after,
        }
    }

    fn peek(&mut self, t: &Tables) -> Result<Option<&(String, Version)>> {
        if self.ahead.is_empty()
            && let Some(after) = self.after.take()
        {
            let wanted = list::Wanted {
                bucket: self.bucket,
                prefix: &self.prefix,
                delimiter: "",
                after: Some(&after),
                max: 1000,
            };
            let page = list::current(t, &wanted)?;
            if page.truncated {
                self.after = page.items.last().map(|i| i.name().to_owned());
            }
            for item in page.items {
                if let list::Item::Key(key, version) = item {
                    let path = key[self.prefix.len()..].to_owned();
                    self.ahead.push_back((path, *version));
                }
            }
        }
        Ok(self.ahead.front())
    }

    fn next(&mut self, t: &Tables) -> Result<Option<(String, Version)>> {
        self.peek(t)?;
        Ok(self.ahead.pop_front())
    }
}

/// Walks two folders side by side and tells what differs, until `visit` returns false.
fn differences(
    t: &Tables,
    mut from: Option<Side<'_>>,
    mut to: Side<'_>,
    mut visit: impl FnMut(Change) -> bool,
) -> Result<()> {
    loop {
        let a = match &mut from {
            Some(side) => side.peek(t)?.map(|(path, _)| path.clone()),
            None => None,
        };
        let b = to.peek(t)?.map(|(path, _)| path.clone());
        let take_a = a.is_some() && (b.is_none() || a <= b);
        let take_b = b.is_some() && (a.is_none() || b <= a);
        let before = match &mut from {
            Some(side) if take_a => side.next(t)?,
            _ => None,
        };
        let after = if take_b { to.next(t)? } else { None };
        let change = match (before, after) {
            (None, None) => return Ok(()),
            (Some((_, a)), Some((_, b))) if same(&a, &b) => continue,
            (Some((path, a)), b) => Change {
                path,
                before: Some(a.size),
                after: b.map(|(_, b)| b.size),
            },
            (None, Some((path, b))) => Change {
                path,
                before: None,
                after: Some(b.size),
            },
        };
        if !visit(change) {
            return Ok(());
        }
    }
}

impl Blobs {
    /// Makes a bucket a data set with these branches, or gives it others; the bucket is made when missing.
    ///
    /// # Errors
    /// `Conflict` when another namespace has a bucket of this name, `Invalid` for one that versions its objects.
    pub async fn set_branches(
        &self,
        bucket: &str,
        namespace: &str,
        branches: Option<Vec<String>>,
    ) -> Result<()> {
        if branches.is_some() {
            self.ensure_bucket(bucket, namespace).await?;
        }
        let (bucket, namespace) = (bucket.to_owned(), namespace.to_owned());
        let write = move |t: &Tables| {
            let Some(mut row) = t.bucket(&bucket)? else {
                return Ok(());
            };
            if row.namespace != namespace {
                return Err(Error::new(
                    Code::Conflict,
                    format!(
                        "the name {bucket} is taken by a bucket of another namespace: choose another"
                    ),
                ));
            }
            if row.branches == branches {
                return Ok(());
            }
            row.branches = branches;
            t.put_bucket(&bucket, &row)
        };
        self.inner.db.write(write).await
    }

    /// Commits what a branch holds, under the name of the commit's object. Done once, it is not done again.
    ///
    /// # Errors
    /// When the bytes cannot be read, or when the branch changes faster than it is read.
    pub async fn commit(
        &self,
        bucket: &str,
        branch: &str,
        name: &str,
        about: About,
    ) -> Result<Frozen> {
        let key = commit_key(bucket, name);
        let done = {
            let key = key.clone();
            self.inner.db.read(move |t| t.record(COMMIT, key.bytes()))
        };
        if let Some(done) = done.await? {
            return Ok(done);
        }
        let namespace = self.owner(bucket).await?.unwrap_or_default();
        for _ in 0..TRIES {
            self.adopt(&format!("s3://{bucket}/{branch}"), &namespace)
                .await?;
            self.hash_all(bucket, branch).await?;
            let (bucket, branch, about) = (bucket.to_owned(), branch.to_owned(), about.clone());
            let key = key.clone();
            let write = move |t: &Tables| freeze(t, &bucket, &branch, key.bytes(), &about);
            if let Some(frozen) = self.inner.db.write(write).await? {
                return Ok(frozen);
            }
        }
        Err(Error::new(
            Code::Conflict,
            format!(
                "the branch {branch} is being written to all the time: commit when the writers are done"
            ),
        ))
    }

    /// Takes a commit's folder away, with the bytes that nobody else needs. `id` is its own; one that had changed
    /// nothing has none.
    ///
    /// # Errors
    /// When the index cannot be written; the next call goes on.
    pub async fn uncommit(&self, bucket: &str, name: &str, id: Option<&str>) -> Result<()> {
        if let Some(id) = id {
            loop {
                let (bucket, prefix) = (bucket.to_owned(), format!("{}/", folder(id)));
                let inner = self.inner.clone();
                let write = move |t: &Tables| {
                    let (mut doomed, mut more) = (Vec::new(), false);
                    t.scan_from(&bucket, prefix.as_bytes(), 0, |key, age, version| {
                        if !key.starts_with(prefix.as_bytes()) {
                            return Ok(Next::Stop);
                        }
                        more = doomed.len() == 4 * STEP;
                        if more {
                            return Ok(Next::Stop);
                        }
                        doomed.push((String::from_utf8_lossy(key).into_owned(), age, version));
                        Ok(Next::On)
                    })?;
                    let mut after = After::default();
                    for (key, age, version) in doomed {
                        inner.rescue(t, &version, false)?;
                        t.remove_version(&bucket, &key, age)?;
                        refs::release(t, &version.segments, &mut after)?;
                        after.touch(&bucket, &key);
                    }
                    Result::Ok((after, more))
                };
                let (after, more) = self.inner.db.write(write).await?;
                self.inner.finish(after).await;
                if !more {
                    break;
                }
            }
        }
        let key = commit_key(bucket, name);
        let write = move |t: &Tables| t.remove_record(COMMIT, key.bytes());
        self.inner.db.write(write).await
    }

    /// Fills an empty branch with what a commit or another branch holds. No bytes are copied.
    ///
    /// # Errors
    /// `Conflict` when the branch holds something already, `NotFound` when the other folder holds nothing.
    pub async fn branch_off(&self, bucket: &str, from: &str, to: &str) -> Result<()> {
        let (inner, bucket) = (self.inner.clone(), bucket.to_owned());
        let (from, to) = (folder(from).to_owned(), to.to_owned());
        let write = move |t: &Tables| {
            if Side::new(&bucket, &to, None).peek(t)?.is_some() {
                return Err(Error::new(
                    Code::Conflict,
                    format!(
                        "the folder {to} holds objects already: choose another name, or empty it"
                    ),
                ));
            }
            let all = objects(t, &bucket, &from)?;
            if all.is_empty() {
                return Err(Error::not_found(format!(
                    "there is nothing in {from}: name a commit or a branch"
                )));
            }
            let mut after = After::default();
            for (path, version) in all {
                refs::acquire(t, &version.segments)?;
                inner.put_version(t, &bucket, &format!("{to}/{path}"), version, &mut after)?;
            }
            Result::Ok(after)
        };
        let after = self.inner.db.write(write).await?;
        self.inner.finish(after).await;
        Ok(())
    }

    /// What differs between two folders of a data set (commits by their id, or branches), in order, at most `max`
    /// after the path `after`; and whether there is more. Without `from`, all that is in `to`.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub async fn diff(
        &self,
        bucket: &str,
        from: Option<&str>,
        to: &str,
        after: Option<String>,
        max: usize,
    ) -> Result<(Vec<Change>, bool)> {
        let bucket = bucket.to_owned();
        let (from, to) = (from.map(|f| folder(f).to_owned()), folder(to).to_owned());
        let read = move |t: &Tables| {
            let (mut found, mut more) = (Vec::new(), false);
            let side = |name: &str| Side::new(&bucket, name, after.as_deref());
            differences(t, from.as_deref().map(side), side(&to), |change| {
                more = found.len() == max;
                if !more {
                    found.push(change);
                }
                !more
            })?;
            Result::Ok((found, more))
        };
        self.inner.db.read(read).await
    }

    /// Gives every object of a branch its digest; equal bytes become one. Files that a step left get bytes of their
    /// own, which nothing but the store writes to.
    async fn hash_all(&self, bucket: &str, branch: &str) -> Result<()> {
        let prefix = format!("{branch}/");
        let mut from = prefix.clone().into_bytes();
        loop {
            let (in_bucket, below, start) = (bucket.to_owned(), prefix.clone(), from.clone());
            let step = self.inner.db.read(move |t| {
                let mut step = Vec::new();
                t.scan_from(&in_bucket, &start, 0, |key, _, version| {
                    if !key.starts_with(below.as_bytes()) || step.len() == STEP {
                        return Ok(Next::Stop);
                    }
                    if version.digest.is_none() && !version.marker {
                        step.push((String::from_utf8_lossy(key).into_owned(), version));
                    }
                    Ok(Next::Seek(super::tree::after_key(key)))
                })?;
                Result::Ok(step)
            });
            let step = step.await?;
            let Some((last, _)) = step.last() else {
                return Ok(());
            };
            from = super::tree::after_key(last.as_bytes());
            for (key, version) in step {
                match self.inner.hash_one(bucket, &key, version).await {
                    // Overwritten or deleted while we read: the next round sees what is there then.
                    Err(e) if e.code == Code::NotFound => {}
                    other => other?,
                }
            }
        }
    }
}

fn sha256() -> s3s::checksum::ChecksumHasher {
    s3s::checksum::ChecksumHasher {
        sha256: Some(Default::default()),
        ..Default::default()
    }
}

/// The digest that was asked for by [`sha256`], in hex.
fn digest_of(sums: &s3s::dto::Checksum) -> Result<String> {
    use base64::Engine;
    let text = sums.checksum_sha256.as_deref().unwrap_or_default();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    Ok(hex::encode(bytes.map_err(Error::internal)?))
}

impl Inner {
    /// Hashes one version and notes the digest, unless it is no longer the current one.
    async fn hash_one(
        self: &std::sync::Arc<Self>,
        bucket: &str,
        key: &str,
        version: Version,
    ) -> Result<()> {
        let wrong = |e: s3s::S3Error| Error::internal(e);
        let ids: Vec<String> = version.segments.iter().map(|s| s.blob.clone()).collect();
        let in_tree = self.db.read(move |t| {
            let mut in_tree = false;
            for id in &ids {
                in_tree |= matches!(t.blob(id)?, Some(b) if matches!(b.place, Place::Tree { .. }));
            }
            Result::Ok(in_tree)
        });
        let (digest, draft) = if in_tree.await? {
            let bytes = self.send_out(&version.segments, 0, version.size).await?;
            let draft = self.take_in(bytes, sha256()).await.map_err(wrong)?;
            (digest_of(&draft.sums)?, Some(draft.settle(self).await?))
        } else {
            let sums = self.digests(&version.segments, version.size, sha256());
            (digest_of(&sums.await.map_err(wrong)?.1)?, None)
        };
        let (inner, bucket, key) = (self.clone(), bucket.to_owned(), key.to_owned());
        let write = move |t: &Tables| {
            let mut after = After::default();
            let Some((age, mut current)) = t.latest(&bucket, &key)? else {
                return Ok(after);
            };
            if current.segments != version.segments || inner.changed_in_tree(t, &current)? {
                return Ok(after);
            }
            let at = Key::new().text(&digest);
            let known = t.record::<Vec<Segment>>(DIGEST, at.bytes())?;
            let known = known.filter(|known| {
                known.iter().map(|s| s.size).sum::<u64>() == current.size
                    && known.iter().all(|s| {
                        t.blob(&s.blob)
                            .is_ok_and(|b| b.is_some_and(|b| b.damaged.is_none()))
                    })
            });
            let segments = match (known, draft) {
                (Some(known), _) => {
                    refs::acquire(t, &known)?;
                    known
                }
                (None, Some(draft)) => draft.keep(t)?,
                (None, None) => {
                    refs::acquire(t, &current.segments)?;
                    current.segments.clone()
                }
            };
            if segments != current.segments {
                after.touch(&bucket, &key);
            }
            refs::release(t, &current.segments, &mut after)?;
            t.put_record(DIGEST, at.bytes(), &segments)?;
            current.segments = segments;
            current.digest = Some(digest);
            t.put_version(&bucket, &key, age, &current)?;
            Result::Ok(after)
        };
        let after = self.db.write(write).await?;
        self.finish(after).await;
        Ok(())
    }
}

/// Writes a commit's rows. `None` = something in the branch has no digest yet.
fn freeze(
    t: &Tables,
    bucket: &str,
    branch: &str,
    key: &[u8],
    about: &About,
) -> Result<Option<Frozen>> {
    let all = objects(t, bucket, branch)?;
    let mut tree = Sha256::new();
    let mut frozen = Frozen {
        objects: all.len() as u64,
        ..Frozen::default()
    };
    for (path, version) in &all {
        let Some(digest) = &version.digest else {
            return Ok(None);
        };
        tree.update(format!("{path}\0{digest}\0{}\n", version.size));
        frozen.bytes += version.size;
    }
    frozen.tree = hex::encode(tree.finalize());
    let parent = (!about.parent.is_empty()).then(|| Side::new(bucket, folder(&about.parent), None));
    let has_parent = parent.is_some();
    let changes = &mut frozen.changes;
    differences(t, parent, Side::new(bucket, branch, None), |change| {
        match (change.before, change.after) {
            (None, _) => changes.added += 1,
            (_, None) => changes.removed += 1,
            _ => changes.changed += 1,
        }
        true
    })?;
    frozen.unchanged = has_parent && frozen.changes == Changes::default();
    if frozen.unchanged {
        frozen.id.clone_from(&about.parent);
    } else {
        let About {
            parent,
            author,
            message,
            at,
        } = about;
        let tree = &frozen.tree;
        let said = format!("tree {tree}\nparent {parent}\nauthor {author}\ntime {at}\n\n{message}");
        frozen.id = hex::encode(Sha256::digest(said));
        let to = folder(&frozen.id);
        if Side::new(bucket, to, None).peek(t)?.is_some() {
            return Err(Error::internal(format!("the folder {to} is there already")));
        }
        for (path, version) in all {
            refs::acquire(t, &version.segments)?;
            let row = Version {
                id: NULL.into(),
                acl: rows::Acl::default(),
                ..version
            };
            // Not counted for a quota: the bytes are the branch's.
            let age = u64::MAX - t.next_number()?;
            t.put_version(bucket, &format!("{to}/{path}"), age, &row)?;
        }
    }
    t.put_record(COMMIT, key, &frozen)?;
    Ok(Some(frozen))
}

#[cfg(test)]
#[path = "commit_tests.rs"]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
