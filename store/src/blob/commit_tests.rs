//! What commits promise: they never change, equal bytes are kept once, a diff tells what differs, and what is taken
//! away frees its bytes.

use super::*;
use crate::blob::Found;
use std::io::Read;

fn about(parent: &str, message: &str) -> About {
    About {
        parent: parent.into(),
        author: "ada".into(),
        message: message.into(),
        at: "2027-01-01T00:00:00Z".into(),
    }
}

/// Writes a file as a step does.
fn write(root: &std::path::Path, path: &str, text: &str) {
    let path = root.join("buckets").join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

async fn text(blobs: &Blobs, uri: &str) -> String {
    let Ok(Found::File(mut file, _)) = blobs.read(uri).await else {
        panic!("no file at {uri}");
    };
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

async fn count_blobs(blobs: &Blobs) -> u64 {
    blobs.inner.db.read(|t| t.count_blobs()).await.unwrap()
}

#[tokio::test]
async fn commits_do_not_change_and_share_their_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path()).unwrap();
    blobs
        .set_branches("ds", "ada", Some(vec!["main".into()]))
        .await
        .unwrap();
    let long = "x".repeat(100_000);
    write(dir.path(), "ds/main/a.txt", "one");
    write(dir.path(), "ds/main/deep/b.txt", &long);
    write(dir.path(), "ds/main/deep/same.txt", &long);
    let first = blobs
        .commit("ds", "main", "c1", about("", "first"))
        .await
        .unwrap();
    assert_eq!((first.objects, first.bytes), (3, 200_003));
    assert_eq!(
        first.changes,
        Changes {
            added: 3,
            ..Changes::default()
        }
    );
    // Asked again, it is the same: nothing is done twice.
    assert_eq!(
        blobs
            .commit("ds", "main", "c1", about("", "other"))
            .await
            .unwrap(),
        first
    );
    // "one", and one copy of the long text, in the branch and in the commit.
    assert_eq!(count_blobs(&blobs).await, 2);

    // In place, by whoever has the folder mounted.
    let file = dir.path().join("buckets/ds/main/a.txt");
    std::fs::remove_file(&file).unwrap();
    write(dir.path(), "ds/main/a.txt", "two!");
    std::fs::remove_file(dir.path().join("buckets/ds/main/deep/b.txt")).unwrap();
    blobs.remove("ds", "main/deep/b.txt").await.unwrap();
    write(dir.path(), "ds/main/new.txt", "new");
    let second = blobs
        .commit("ds", "main", "c2", about(&first.id, "second"))
        .await
        .unwrap();
    assert_eq!(
        second.changes,
        Changes {
            added: 1,
            changed: 1,
            removed: 1
        }
    );
    assert_ne!(first.id, second.id);
    let uri = |id: &str, path: &str| format!("s3://ds/{}/{path}", folder(id));
    assert_eq!(text(&blobs, &uri(&first.id, "a.txt")).await, "one");
    assert_eq!(text(&blobs, &uri(&first.id, "deep/b.txt")).await, long);
    assert_eq!(text(&blobs, &uri(&second.id, "a.txt")).await, "two!");

    let (changes, more) = blobs
        .diff("ds", Some(&first.id), &second.id, None, 2)
        .await
        .unwrap();
    assert!(more);
    let (rest, more) = blobs
        .diff(
            "ds",
            Some(&first.id),
            &second.id,
            Some(changes[1].path.clone()),
            10,
        )
        .await
        .unwrap();
    assert!(!more);
    let all: Vec<_> = changes
        .iter()
        .chain(&rest)
        .map(|c| (c.path.as_str(), c.before, c.after))
        .collect();
    assert_eq!(
        all,
        [
            ("a.txt", Some(3), Some(4)),
            ("deep/b.txt", Some(100_000), None),
            ("new.txt", None, Some(3))
        ]
    );

    // Nothing has changed since.
    let third = blobs
        .commit("ds", "main", "c3", about(&second.id, "third"))
        .await
        .unwrap();
    assert!(third.unchanged);
    assert_eq!(third.id, second.id);

    // Commits cannot be written to, branches can.
    assert!(
        blobs
            .writable(&format!("s3://ds/{}", folder(&first.id)))
            .await
            .is_err()
    );
    assert!(blobs.writable("s3://ds/elsewhere/x").await.is_err());
    blobs.writable("s3://ds/main").await.unwrap();
    blobs.writable("s3://ds/main/deep").await.unwrap();

    // Back to the first, on a branch of its own.
    let both = Some(vec!["main".into(), "back".into()]);
    blobs.set_branches("ds", "ada", both).await.unwrap();
    blobs.branch_off("ds", &first.id, "back").await.unwrap();
    assert_eq!(text(&blobs, "s3://ds/back/a.txt").await, "one");
    assert_eq!(
        blobs
            .diff("ds", Some(&first.id), "back", None, 10)
            .await
            .unwrap()
            .0,
        []
    );
    assert_eq!(
        blobs
            .branch_off("ds", &first.id, "back")
            .await
            .unwrap_err()
            .code,
        Code::Conflict
    );
    let none = blobs
        .branch_off("ds", "0123456789ab", "other")
        .await
        .unwrap_err();
    assert_eq!(none.code, Code::NotFound);

    // A commit that goes takes along what nobody else needs.
    blobs.remove("ds", "back").await.unwrap();
    let before = count_blobs(&blobs).await;
    blobs.uncommit("ds", "c1", Some(&first.id)).await.unwrap();
    assert!(blobs.read(&uri(&first.id, "a.txt")).await.is_err());
    // "one"; the long text is still that of same.txt.
    assert_eq!(count_blobs(&blobs).await, before - 1);
    assert_eq!(text(&blobs, &uri(&second.id, "deep/same.txt")).await, long);
}

#[tokio::test]
async fn a_file_that_is_changed_in_place_changes_no_commit() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path()).unwrap();
    blobs
        .set_branches("ds", "ada", Some(vec!["main".into()]))
        .await
        .unwrap();
    write(dir.path(), "ds/main/a.txt", "before");
    // The step that made the file still has it open.
    let mut open = std::fs::OpenOptions::new()
        .write(true)
        .open(dir.path().join("buckets/ds/main/a.txt"))
        .unwrap();
    let first = blobs
        .commit("ds", "main", "c1", about("", ""))
        .await
        .unwrap();
    std::io::Write::write_all(&mut open, b"after!").unwrap();
    drop(open);
    assert_eq!(
        text(&blobs, &format!("s3://ds/{}/a.txt", folder(&first.id))).await,
        "before"
    );
}

#[tokio::test]
async fn the_name_of_anothers_bucket_is_no_data_set() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path()).unwrap();
    blobs.ensure_bucket("taken", "bob").await.unwrap();
    let refused = blobs
        .set_branches("taken", "ada", Some(vec!["main".into()]))
        .await;
    assert_eq!(refused.unwrap_err().code, Code::Conflict);
}
