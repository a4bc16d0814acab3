//! The bytes as objects and as files: what one side does, the other sees; nothing goes that is needed, and nothing
//! stays that is not.

use std::os::unix::fs::MetadataExt;

use s3s::checksum::ChecksumHasher;

use super::*;
use crate::db::bytes::Tables;
use list::{Item, Wanted};
use rows::{Bucket, LifecycleRule, Place, Segment};

const LARGE: usize = 100_000;

struct Lab {
    folder: tempfile::TempDir,
    blobs: Blobs,
}

impl Lab {
    async fn new(versioning: Versioning) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(&folder.path().join("artifacts")).unwrap();
        let lab = Self { folder, blobs };
        let bucket = Bucket {
            versioning,
            ..Bucket::default()
        };
        lab.write(move |t| t.put_bucket("b", &bucket)).await;
        lab
    }

    async fn write<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Tables) -> Result<T> + Send + 'static,
    ) -> T {
        self.blobs.inner.db.write(f).await.unwrap()
    }

    /// Stores an object as an upload does.
    async fn put(&self, key: &str, bytes: &[u8]) -> Version {
        let inner = self.blobs.inner.clone();
        let body = futures::stream::iter([Ok(bytes::Bytes::copy_from_slice(bytes))]);
        let draft = inner
            .take_in(body, ChecksumHasher::default())
            .await
            .unwrap();
        let draft = draft.settle(&inner).await.unwrap();
        let (of, key) = (inner.clone(), key.to_owned());
        let (version, after) = self
            .write(move |t| {
                let mut after = After::default();
                let version = Version {
                    at: now_ms(),
                    size: draft.size,
                    etag: draft.md5.clone(),
                    segments: draft.keep(t)?,
                    ..Version::default()
                };
                let version = of.put_version(t, "b", &key, version, &mut after)?;
                Ok((version, after))
            })
            .await;
        inner.finish(after).await;
        version
    }

    /// A second object of the same bytes.
    async fn copy(&self, version: &Version, key: &str) -> Version {
        let (inner, version, key) = (self.blobs.inner.clone(), version.clone(), key.to_owned());
        self.write(move |t| {
            refs::acquire(t, &version.segments)?;
            inner.put_version(t, "b", &key, version, &mut After::default())
        })
        .await
    }

    async fn bytes(&self, version: &Version) -> Vec<u8> {
        use futures::TryStreamExt;
        let inner = &self.blobs.inner;
        let sent = inner
            .send_out(&version.segments, 0, version.size)
            .await
            .unwrap();
        let chunks: Vec<bytes::Bytes> = sent.try_collect().await.unwrap();
        chunks.concat()
    }

    fn latest(&self, key: &str) -> Option<Version> {
        let found = self
            .blobs
            .inner
            .db
            .read_now(|t| t.latest("b", key))
            .unwrap();
        found.map(|(_, v)| v)
    }

    fn file(&self, key: &str) -> PathBuf {
        self.blobs.path(&format!("s3://b/{key}")).unwrap()
    }

    fn step_writes(&self, key: &str, bytes: &[u8]) {
        let path = self.file(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Files that lie in the store under names of their own.
    fn stored_files(&self) -> usize {
        let folders = std::fs::read_dir(&self.blobs.inner.files)
            .unwrap()
            .flatten();
        folders
            .map(|f| std::fs::read_dir(f.path()).unwrap().count())
            .sum()
    }
}

#[tokio::test]
async fn what_a_step_leaves_is_an_object_where_it_lies() {
    let lab = Lab::new(Versioning::Off).await;
    lab.step_writes("run/out/model", &[7; LARGE]);
    lab.step_writes("run/out/empty", b"");
    lab.blobs.adopt("minio://b/run", "kubeflow").await.unwrap();
    let model = lab.latest("run/out/model").unwrap();
    assert_eq!(lab.bytes(&model).await, [7; LARGE]);
    assert_eq!(lab.latest("run/out/empty").unwrap().size, 0);
    assert_eq!(lab.stored_files(), 0, "nothing is copied");

    lab.blobs.adopt("minio://b/run", "kubeflow").await.unwrap();
    assert_eq!(
        lab.latest("run/out/model").unwrap().etag,
        model.etag,
        "again, it is the same"
    );

    std::os::unix::fs::symlink("/etc/passwd", lab.file("run/out/link")).unwrap();
    lab.blobs.adopt("minio://b/run", "kubeflow").await.unwrap();
    assert!(
        lab.latest("run/out/link").is_none(),
        "links are not followed"
    );
}

#[tokio::test]
async fn what_comes_in_is_shown_to_steps_without_a_copy() {
    let lab = Lab::new(Versioning::Off).await;
    let large = lab.put("in/large", &[1; LARGE]).await;
    lab.put("in/small", b"small").await;
    lab.put("in/../x", b"no path").await;
    lab.blobs.present("s3://b/in").await.unwrap();
    assert_eq!(std::fs::read(lab.file("in/small")).unwrap(), b"small");
    let inode = |p: PathBuf| p.metadata().unwrap().ino();
    assert_eq!(
        inode(lab.file("in/large")),
        inode(lab.blobs.inner.file(&large.segments[0].blob))
    );

    lab.put("in/large", &[2; LARGE]).await;
    assert_eq!(
        std::fs::read(lab.file("in/large")).unwrap(),
        [2; LARGE],
        "overwritten, it is shown anew"
    );
    lab.blobs.remove_below("b", "in/").await.unwrap();
    assert!(!lab.file("in/large").exists() && !lab.file("in/small").exists());
    assert_eq!(lab.stored_files(), 0);
}

#[tokio::test]
async fn a_key_that_is_another_ones_folder_is_named_when_a_step_wants_it() {
    let lab = Lab::new(Versioning::Off).await;
    lab.put("a", b"1").await;
    lab.put("a/b", b"2").await;
    let refused = lab.blobs.present("s3://b/a").await.unwrap_err();
    assert!(refused.message.contains("rename one"), "{refused}");
}

#[tokio::test]
async fn old_versions_keep_what_a_step_wrote() {
    let lab = Lab::new(Versioning::Enabled).await;
    lab.step_writes("k", &[1; LARGE]);
    lab.blobs.adopt("s3://b/k", "kubeflow").await.unwrap();
    let first = lab.latest("k").unwrap();
    lab.put("k", &[2; LARGE]).await;
    assert_eq!(lab.bytes(&first).await, [1; LARGE]);
    assert_eq!(std::fs::read(lab.file("k")).unwrap(), [2; LARGE]);
}

#[tokio::test]
async fn a_copy_outlives_its_original() {
    let lab = Lab::new(Versioning::Off).await;
    lab.step_writes("one", &[9; LARGE]);
    lab.blobs.adopt("s3://b/one", "kubeflow").await.unwrap();
    let copy = lab.copy(&lab.latest("one").unwrap(), "two").await;
    lab.blobs.remove_below("b", "one").await.unwrap();
    assert!(!lab.file("one").exists());
    assert_eq!(lab.bytes(&copy).await, [9; LARGE]);
    lab.blobs.remove_below("b", "two").await.unwrap();
    assert_eq!(lab.stored_files(), 0, "nobody needs the bytes any more");
    let used = lab.blobs.inner.db.read_now(|t| t.used("b")).unwrap();
    assert_eq!(used, 0);
}

#[tokio::test]
async fn a_sweep_takes_only_what_nothing_names_and_is_old() {
    let lab = Lab::new(Versioning::Off).await;
    let kept = lab.put("k", &[1; LARGE]).await;
    let file = |id: &str| lab.blobs.inner.file(id);
    let hours_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    let age = |path: &Path| {
        std::fs::File::open(path)
            .unwrap()
            .set_modified(hours_ago)
            .unwrap()
    };
    let (orphan, young) = (files::new_id(), files::new_id());
    for id in [&orphan, &young] {
        std::fs::write(file(id), "x").unwrap();
    }
    age(&file(&orphan));
    age(&file(&kept.segments[0].blob));
    assert_eq!(lab.blobs.sweep().await.unwrap(), 1);
    assert!(!file(&orphan).exists() && file(&young).exists());
    assert_eq!(lab.bytes(&kept).await, [1; LARGE]);
}

#[tokio::test]
async fn a_scrub_finds_every_flipped_bit_and_what_is_damaged_is_not_served() {
    let lab = Lab::new(Versioning::Off).await;
    lab.put("inline", b"small").await;
    let mut damaged = vec!["missing".to_owned()];
    for i in 0..8_u8 {
        let key = format!("k{i}");
        let id = lab.put(&key, &vec![i; LARGE]).await.segments[0]
            .blob
            .clone();
        overwrite(&lab, &id, |bytes| bytes[usize::from(i) * 9_999] ^= 1 << i);
        damaged.push(key);
    }
    let whole = lab.put("whole", &[5; LARGE]).await;
    let missing = lab.put("missing", &[6; LARGE]).await;
    std::fs::remove_file(lab.blobs.inner.file(&missing.segments[0].blob)).unwrap();
    damaged.sort();

    let mut told = Vec::new();
    let found = lab.blobs.scrub(|n, of| told.push((n, of))).await.unwrap();
    let mut keys: Vec<String> = found.iter().map(|d| d.key.clone()).collect();
    keys.sort();
    assert_eq!(keys, damaged);
    assert!(
        found
            .iter()
            .all(|d| d.bucket == "b" && d.version == NULL && !d.reason.is_empty())
    );
    assert_eq!(told, (1..=11).map(|n| (n, 11)).collect::<Vec<_>>());

    let inner = &lab.blobs.inner;
    let k3 = lab.latest("k3").unwrap();
    let refused = inner
        .send_out(&k3.segments, 0, k3.size)
        .await
        .err()
        .unwrap();
    assert!(refused.message.contains("damaged"), "{refused}");
    assert!(lab.blobs.present("s3://b/k3").await.is_err());
    assert_eq!(lab.bytes(&whole).await, [5; LARGE]);
    // Brought back as it was, it is served again.
    overwrite(&lab, &k3.segments[0].blob, |bytes| bytes.fill(3));
    assert_eq!(lab.blobs.scrub(|_, _| ()).await.unwrap().len(), 8);
    assert_eq!(lab.bytes(&k3).await, [3; LARGE]);
}

/// Changes a blob's file behind the store's back.
fn overwrite(lab: &Lab, id: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = lab.blobs.inner.file(id);
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
}

#[tokio::test]
async fn what_came_halfway_is_gone_after_a_restart_and_at_a_failure() {
    let lab = Lab::new(Versioning::Off).await;
    let broken = [
        Ok(bytes::Bytes::from(vec![0; LARGE])),
        Err("cut off".into()),
    ];
    let inner = lab.blobs.inner.clone();
    let refused = inner
        .take_in(futures::stream::iter(broken), ChecksumHasher::default())
        .await;
    assert!(refused.is_err());
    let left = |lab: &Lab| {
        std::fs::read_dir(&lab.blobs.inner.temporary)
            .unwrap()
            .count()
    };
    assert_eq!(left(&lab), 0);
    std::fs::write(inner.temporary.join("half"), "x").unwrap();
    drop(inner);
    let Lab { folder, blobs } = lab;
    drop(blobs);
    // Its writer ends when it hears that nobody is left.
    let again = async {
        loop {
            match Blobs::open(&folder.path().join("artifacts")) {
                Ok(blobs) => break blobs,
                Err(e) => assert_eq!(e.code, Code::Unavailable, "{e}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let blobs = tokio::time::timeout(std::time::Duration::from_secs(10), again);
    let blobs = blobs.await.unwrap();
    assert_eq!(left(&Lab { folder, blobs }), 0);
}

#[test]
fn a_stretch_is_a_slice_of_the_whole() {
    let segment = |blob: &str, start, size| Segment {
        blob: blob.into(),
        start,
        size,
    };
    let segments = [segment("a", 2, 3), segment("b", 0, 1), segment("c", 5, 4)];
    let spell = |list: &[Segment]| -> Vec<(String, u64)> {
        list.iter()
            .flat_map(|s| (s.start..s.start + s.size).map(|at| (s.blob.clone(), at)))
            .collect()
    };
    let whole = spell(&segments);
    for start in 0..=whole.len() {
        for length in 0..=whole.len() - start {
            let got = spell(&files::stretch(&segments, start as u64, length as u64));
            assert_eq!(got, whole[start..start + length], "{start}+{length}");
        }
    }
}

/// Against the definition: fold each key, drop repetitions, cut into pages.
#[tokio::test]
async fn lists_are_as_their_definition_says_however_they_are_paged() {
    let lab = Lab::new(Versioning::Enabled).await;
    let mut keys: Vec<String> = [
        "a",
        "a/",
        "a//b",
        "a/b",
        "a/b/c",
        "a0",
        "ab",
        "b/",
        "b/c",
        "b/c/d",
        "c",
        "ä/ö",
        "\u{10ffff}",
    ]
    .map(str::to_owned)
    .to_vec();
    for key in &keys {
        lab.put(key, b"1").await;
        lab.put(key, b"2").await;
    }
    let (inner, gone) = (lab.blobs.inner.clone(), "ab".to_owned());
    lab.write(move |t| {
        let marker = Version {
            marker: true,
            ..Version::default()
        };
        inner.put_version(t, "b", &gone, marker, &mut After::default())
    })
    .await;
    keys.retain(|k| k != "ab");
    keys.sort();
    for prefix in ["", "a", "a/", "b/", "x"] {
        for delimiter in ["", "/", "b"] {
            let mut expected: Vec<String> = Vec::new();
            for key in keys.iter().filter(|k| k.starts_with(prefix)) {
                let line = list::fold(key, prefix, delimiter).unwrap_or(key).to_owned();
                if expected.last() != Some(&line) {
                    expected.push(line);
                }
            }
            for max in 1..=expected.len() + 1 {
                let (mut got, mut after) = (Vec::new(), None::<String>);
                loop {
                    let page = lab.blobs.inner.db.read_now(|t| {
                        list::current(
                            t,
                            &Wanted {
                                bucket: "b",
                                prefix,
                                delimiter,
                                after: after.as_deref(),
                                max,
                            },
                        )
                    });
                    let page = page.unwrap();
                    assert!(page.items.len() <= max);
                    got.extend(page.items.iter().map(|i| i.name().to_owned()));
                    after = page.items.last().map(Item::name).map(str::to_owned);
                    if !page.truncated {
                        break;
                    }
                }
                assert_eq!(
                    got, expected,
                    "prefix {prefix:?} delimiter {delimiter:?} max {max}"
                );
            }
        }
    }
}

#[tokio::test]
async fn objects_expire_by_their_rules() {
    const DAY: i64 = 86_400_000;
    let lab = Lab::new(Versioning::Off).await;
    let now = now_ms();
    for (key, days, tag) in [
        ("tmp/old", 3, ""),
        ("tmp/new", 1, ""),
        ("keep/old", 3, ""),
        ("tagged", 3, "yes"),
        ("untagged", 3, ""),
    ] {
        let mut version = lab.put(key, b"x").await;
        version.at = now - days * DAY;
        version.about.tags = [("expire".to_owned(), tag.to_owned())].to_vec();
        let key = key.to_owned();
        lab.write(move |t| {
            let age = t.latest("b", &key)?.map_or(0, |(age, _)| age);
            t.put_version("b", &key, age, &version)
        })
        .await;
    }
    let rule = |prefix: &str, enabled| LifecycleRule {
        prefix: prefix.into(),
        enabled,
        days: Some(2),
        ..LifecycleRule::default()
    };
    let tagged = LifecycleRule {
        tags: vec![("expire".into(), "yes".into())],
        ..rule("", true)
    };
    let bucket = Bucket {
        lifecycle: vec![rule("tmp/", true), rule("keep/", false), tagged],
        ..Bucket::default()
    };
    lab.write(move |t| t.put_bucket("b", &bucket)).await;
    assert_eq!(lab.blobs.expire().await.unwrap(), 2);
    let left =
        ["tmp/old", "tmp/new", "keep/old", "tagged", "untagged"].map(|k| lab.latest(k).is_some());
    assert_eq!(left, [false, true, true, false, true]);
}

#[tokio::test]
async fn small_bytes_lie_in_the_index_and_large_ones_in_files() {
    let lab = Lab::new(Versioning::Off).await;
    let small = lab.put("small", &[1; 16 << 10]).await;
    let large = lab.put("large", &[1; (16 << 10) + 1]).await;
    let place = |v: &Version| {
        let id = v.segments[0].blob.clone();
        lab.blobs
            .inner
            .db
            .read_now(|t| t.blob(&id))
            .unwrap()
            .unwrap()
            .place
    };
    assert_eq!((place(&small), place(&large)), (Place::Inline, Place::File));
    assert_eq!(lab.stored_files(), 1);
    let mode = lab
        .blobs
        .inner
        .file(&large.segments[0].blob)
        .metadata()
        .unwrap()
        .mode();
    assert_eq!(mode & 0o777, 0o444);
}

#[tokio::test]
async fn hostile_uris_never_leave_the_root() {
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
        assert!(blobs.read(uri).await.is_err(), "{uri}");
    }
    std::fs::write(dir.path().join("secret"), "s").unwrap();
    let bucket = blobs.path("minio://b/x").unwrap();
    std::fs::create_dir_all(bucket.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(dir.path().join("secret"), &bucket).unwrap();
    assert_eq!(
        blobs.read("minio://b/x").await.unwrap_err().code,
        Code::NotFound
    );
}
