//! The store's promises: versions, atomic closures, deletion as a contract, lists plus watches that miss
//! nothing, and a log that survives a restart.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use kfbox_store::{
    Code, Error, EventType, Object, Ref, Selector, Store,
    kinds::{
        access::TokenUse,
        core::POD,
        pipeline::{EXPERIMENT, RUN},
    },
    mint_token,
};
use serde_json::json;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("meta.redb")).unwrap();
    (dir, store)
}

fn experiment(name: &str) -> Object {
    Object::new(&EXPERIMENT, "kubeflow", name)
        .with_spec(&json!({"displayName": name}))
        .unwrap()
}

fn at(name: &str) -> Ref {
    Ref::new(&EXPERIMENT, "kubeflow", name)
}

#[tokio::test]
async fn versions_grow_and_generation_counts_desired_changes_only() {
    let (_dir, store) = store();
    let one = store.create(experiment("one")).await.unwrap();
    assert_eq!(one.metadata.generation, 1);
    let two = store
        .modify(&at("one"), |o| o.set("status", &json!({"x": 1})))
        .await
        .unwrap();
    assert!(two.metadata.resource_version > one.metadata.resource_version);
    assert_eq!(two.metadata.generation, 1);
    let three = store
        .modify(&at("one"), |o| {
            o.set("spec", &json!({"displayName": "uno", "mine": [1]}))
        })
        .await
        .unwrap();
    assert_eq!(three.metadata.generation, 2);
    let same = store.modify(&at("one"), |_| Ok(())).await.unwrap();
    assert_eq!(same, three, "a closure that changes nothing writes nothing");
    assert_eq!(
        store.create(experiment("one")).await.unwrap_err().code,
        Code::AlreadyExists
    );
    assert_eq!(
        store.fetch(&at("none")).await.unwrap_err().code,
        Code::NotFound
    );
    let bad = store
        .modify(&at("one"), |o| o.set("spec", &json!({"displayName": ""})))
        .await;
    assert!(bad.unwrap_err().message.contains("display_name"));
    assert_eq!(
        store.fetch(&at("one")).await.unwrap().body["spec"]["mine"],
        json!([1])
    );
}

#[tokio::test]
async fn a_closure_is_all_or_nothing() {
    let (_dir, store) = store();
    let failed: Result<(), Error> = store
        .write(|txn| {
            txn.create(experiment("a"))?;
            txn.create(experiment("b"))?;
            Err(Error::invalid("no"))
        })
        .await;
    assert!(failed.is_err());
    assert!(
        store
            .list(&EXPERIMENT, Selector::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test]
async fn owners_take_their_children_along_and_finalizers_hold_them() {
    let (_dir, store) = store();
    let parent = store.create(experiment("parent")).await.unwrap();
    let run = store
        .create(
            Object::new(&RUN, "kubeflow", "child")
                .with_spec(&json!({}))
                .unwrap()
                .owned_by(&parent),
        )
        .await
        .unwrap();
    let mut pod = Object::new(&POD, "kubeflow", "grandchild")
        .with_spec(&json!({"containers": [{"name": "main", "image": "x"}]}))
        .unwrap()
        .owned_by(&run);
    pod.metadata.finalizers.push("kfbox.dev/container".into());
    store.create(pod).await.unwrap();

    store.delete(&at("parent")).await.unwrap();
    assert!(store.get(&at("parent")).await.unwrap().is_none());
    assert!(
        store
            .get(&Ref::new(&RUN, "kubeflow", "child"))
            .await
            .unwrap()
            .is_none()
    );
    let pod_ref = Ref::new(&POD, "kubeflow", "grandchild");
    assert!(store.fetch(&pod_ref).await.unwrap().deleting());
    assert!(
        store.delete(&pod_ref).await.unwrap().is_some(),
        "deleting twice is deleting once"
    );
    store
        .modify(&pod_ref, |p| {
            p.metadata.finalizers.clear();
            Ok(())
        })
        .await
        .unwrap();
    assert!(store.get(&pod_ref).await.unwrap().is_none());
}

#[tokio::test]
async fn a_list_and_a_watch_miss_nothing_across_a_restart() {
    let (dir, store) = store();
    for i in 0..5 {
        store.create(experiment(&format!("e{i}"))).await.unwrap();
    }
    let list = store
        .list(&EXPERIMENT, Selector::namespace("kubeflow"))
        .await
        .unwrap();
    assert_eq!(list.items.len(), 5);
    store.delete(&at("e0")).await.unwrap();
    drop(store);

    let reopened = loop {
        // The writer thread of the dropped store closes the file when it sees that nobody can write any more.
        match Store::open(&dir.path().join("meta.redb")) {
            Ok(store) => break store,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    let mut watch = reopened.watch(list.version);
    let events = watch.next().await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].event_type, EventType::Deleted);
    assert_eq!(events[0].object.metadata.name, "e0");

    let waiting =
        tokio::spawn(async move { watch.next().await.unwrap()[0].object.metadata.name.clone() });
    reopened.create(experiment("late")).await.unwrap();
    assert_eq!(waiting.await.unwrap(), "late");
}

#[tokio::test]
async fn many_writers_share_commits_and_all_are_kept() {
    let (_dir, store) = store();
    let writers: Vec<_> = (0..500)
        .map(|i| {
            let store = store.clone();
            tokio::spawn(async move { store.create(experiment(&format!("w{i}"))).await.unwrap() })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let mut watch = store.watch(0);
    let mut seen = 0;
    let mut last = 0;
    while seen < 500 {
        for event in watch.next().await.unwrap() {
            assert!(event.version > last, "in order, none twice");
            last = event.version;
            seen += 1;
        }
    }
    assert_eq!(last, store.version());
}

#[tokio::test]
async fn pages_go_on_where_they_stopped() {
    let (_dir, store) = store();
    for i in 0..7 {
        store.create(experiment(&format!("p{i}"))).await.unwrap();
    }
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let (page, next) = store
            .list_page(&EXPERIMENT, Selector::default(), after, 3)
            .await
            .unwrap();
        names.extend(page.items.into_iter().map(|o| o.metadata.name));
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(names, ["p0", "p1", "p2", "p3", "p4", "p5", "p6"]);
}

#[tokio::test]
async fn a_second_daemon_on_the_same_folder_is_told_so() {
    let (dir, _store) = store();
    let error = Store::open(&dir.path().join("meta.redb")).err().unwrap();
    assert!(error.message.contains("another kfbox daemon"), "{error}");
}

#[tokio::test]
async fn tokens_work_until_revoked_and_login_tokens_once() {
    let (_dir, store) = store();
    let api = mint_token("s3cret".into(), "ada", TokenUse::Api, None, None, "").unwrap();
    let record = store.create(api.object).await.unwrap();
    assert!(!serde_json::to_string(&record).unwrap().contains("s3cret"));
    assert_eq!(
        store
            .authenticate("s3cret", TokenUse::Api)
            .await
            .unwrap()
            .user,
        "ada"
    );
    assert!(
        store
            .authenticate("s3cret", TokenUse::Session)
            .await
            .is_err()
    );
    assert!(store.authenticate("s3cret2", TokenUse::Api).await.is_err());
    store.delete(&record.reference().unwrap()).await.unwrap();
    assert!(store.authenticate("s3cret", TokenUse::Api).await.is_err());

    let login = mint_token("once".into(), "ada", TokenUse::Login, None, None, "").unwrap();
    store.create(login.object).await.unwrap();
    assert!(store.write(|t| t.redeem_login("once")).await.is_ok());
    assert!(store.write(|t| t.redeem_login("once")).await.is_err());

    let stale = mint_token(
        "old".into(),
        "ada",
        TokenUse::Api,
        Some(Duration::ZERO),
        None,
        "",
    )
    .unwrap();
    store.create(stale.object).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(
        store
            .authenticate("old", TokenUse::Api)
            .await
            .unwrap_err()
            .message
            .contains("expired")
    );
}
