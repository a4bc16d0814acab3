//! What tracking promises: names are unique, params are written once, points keep their order, filters find.

use std::collections::BTreeMap;

use super::*;
use crate::Code;

struct Thing(
    BTreeMap<&'static str, &'static str>,
    BTreeMap<&'static str, f64>,
);

impl Fields for Thing {
    fn texts(&self, _: Entity, key: &str) -> Vec<String> {
        self.0
            .get(key)
            .map(|t| (*t).to_owned())
            .into_iter()
            .collect()
    }
    fn number(&self, _: Entity, key: &str) -> Option<f64> {
        self.1.get(key).copied()
    }
}

const SCHEMA: Schema = Schema {
    entities: &[Entity::Metric, Entity::Param, Entity::Tag],
    attributes: &[("status", false), ("start_time", true)],
    registry: false,
};

const REGISTRY: Schema = Schema {
    entities: &[],
    attributes: &[("name", false)],
    registry: true,
};

#[test]
fn filters() {
    let thing = Thing(
        [
            ("kind", "Tree"),
            ("my tag", "x"),
            ("status", "FINISHED"),
            ("mlflow.user", "ada"),
        ]
        .into(),
        [("rmse", 0.5), ("start_time", 10.0)].into(),
    );
    for (text, passes) in [
        ("", true),
        ("metrics.rmse < 1 and params.kind = 'Tree'", true),
        ("metrics.rmse<0.5", false),
        ("metric.rmse >= 5e-1 AND attributes.start_time != 11", true),
        ("params.kind LIKE 'T%e'", true),
        ("params.kind LIKE 't%'", false),
        ("params.kind ILIKE 't__e'", true),
        ("tags.\"my tag\" = \"x\"", true),
        ("tags.`my tag` != 'x'", false),
        ("tags.mlflow.user = 'ada' and status = 'FINISHED'", true),
        ("status IN ('FAILED', 'FINISHED')", true),
        ("status NOT IN ('FAILED')", true),
        ("params.none = 'x'", false),
        ("params.none != 'x'", false),
        ("params.none IS NULL", true),
        ("params.kind IS NOT NULL", true),
        ("metrics.none IS NULL and created > 9", true),
    ] {
        let filter = Filter::parse(text, &SCHEMA).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(filter.lets(&thing), passes, "{text}");
    }
    for (text, passes) in [
        ("name = 'x' OR kind = 'Tree'", true),
        ("kind = 'Tree' OR rmse > 1", true),
        (
            "(rmse > 1 OR customProperties.rmse.double_value < 1) AND kind.string_value LIKE 'T%'",
            true,
        ),
        ("rmse > 1 OR status = 'FINISHED' AND kind = 'x'", false),
    ] {
        let filter = Filter::parse(text, &REGISTRY).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(filter.lets(&thing), passes, "{text}");
    }
    let deep = format!("{}name = 'x'{}", "(".repeat(9999), ")".repeat(9999));
    for bad in ["(name = 'x'", "name = 'x')", "name = 'x' OR", deep.as_str()] {
        assert_eq!(
            Filter::parse(bad, &REGISTRY).expect_err(bad).code,
            Code::Invalid
        );
    }
    for bad in [
        "metrics.rmse < 'a'",
        "metrics.rmse",
        "metrics.rmse <",
        "params.kind = Tree",
        "params.kind = 'Tree",
        "kind = 'x'",
        "thing.kind = 'x'",
        "params.a = 'b' or params.c = 'd'",
        "metrics.rmse LIKE '1'",
        "params.a > '1'",
        "status IN 'x'",
        "status IN ('x'",
        "datasets.name = 'x'",
        "= 1",
    ] {
        let error = Filter::parse(bad, &SCHEMA).expect_err(bad);
        assert_eq!(error.code, Code::Invalid, "{bad}");
    }
}

#[test]
fn orders() {
    let thing = |n: Option<f64>| {
        Thing(
            BTreeMap::new(),
            n.map(|n| ("rmse", n)).into_iter().collect(),
        )
    };
    let mut things = [
        thing(None),
        thing(Some(2.0)),
        thing(Some(f64::NAN)),
        thing(Some(1.0)),
    ];
    let shown = |things: &[Thing]| {
        let all = things
            .iter()
            .map(|t| t.1.get("rmse").copied().unwrap_or(f64::NAN));
        all.map(|n| n.to_string()).collect::<Vec<_>>()
    };
    let order = Order::parse(["metrics.rmse"], &SCHEMA).unwrap();
    things.sort_by(|a, b| order.compare(a, b));
    assert_eq!(shown(&things), ["1", "2", "NaN", "NaN"]);
    let order = Order::parse(["metrics.rmse DESC"], &SCHEMA).unwrap();
    things.sort_by(|a, b| order.compare(a, b));
    assert_eq!(shown(&things), ["2", "1", "NaN", "NaN"]);
    assert!(Order::parse(["metrics.rmse down"], &SCHEMA).is_err());
}

fn point(key: &str, step: i64, value: f64) -> Point {
    Point {
        key: key.into(),
        at: Metric {
            value,
            timestamp: 1000 + step,
            step,
            ..Metric::default()
        },
    }
}

fn tag(key: &str, value: &str) -> Tag {
    Tag {
        key: key.into(),
        value: value.into(),
    }
}

#[tokio::test]
async fn runs_keep_what_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path()).unwrap();
    let track = blobs.tracking();
    let e = track
        .create_experiment("ada", "first", "", Tags::new())
        .await
        .unwrap();
    assert_eq!(
        (e.id.as_str(), e.artifact_location.as_str()),
        ("1", "mlflow-artifacts:/1")
    );
    let taken = track
        .create_experiment("ada", "first", "", Tags::new())
        .await;
    assert_eq!(taken.unwrap_err().code, Code::AlreadyExists);
    // The same name in another namespace is another experiment.
    track
        .create_experiment("bob", "first", "", Tags::new())
        .await
        .unwrap();
    assert_eq!(track.experiments("ada").await.unwrap().len(), 2);

    let wanted = NewRun {
        experiment_id: "1".into(),
        start: 5,
        ..NewRun::default()
    };
    let run = track.create_run("ada", wanted.clone()).await.unwrap();
    assert_eq!(
        run.artifact_uri,
        format!("mlflow-artifacts:/1/{}/artifacts", run.id)
    );
    assert_eq!(
        track.run("bob", &run.id).await.unwrap_err().code,
        Code::NotFound
    );
    let batch = Batch {
        metrics: vec![
            point("loss", 2, 0.2),
            point("loss", -1, 9.0),
            point("loss", 1, f64::NAN),
            point("loss", 1, 0.1 + 0.2),
            point("loss", 2, 0.2),
        ],
        params: vec![tag("lr", "0.1")],
        tags: vec![tag("mlflow.runName", "named")],
    };
    track.log("ada", &run.id, batch).await.unwrap();
    let known = track.run("ada", &run.id).await.unwrap();
    assert_eq!(
        (known.name.as_str(), known.metrics["loss"].value),
        ("named", 0.2)
    );
    // A changed parameter is refused with all that came with it.
    let batch = Batch {
        params: vec![tag("lr", "0.2"), tag("new", "1")],
        ..Batch::default()
    };
    let refused = track.log("ada", &run.id, batch).await.unwrap_err();
    assert_eq!(refused.code, Code::Invalid);
    assert_eq!(track.run("ada", &run.id).await.unwrap(), known);

    // Points come in pages, in order, each once.
    let mut steps = Vec::new();
    let mut after = None;
    loop {
        let page = track
            .history("ada", &run.id, "loss", after, 2)
            .await
            .unwrap();
        steps.extend(page.points.iter().map(|p| (p.step, p.value.to_string())));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let wanted_steps = [
        (-1, "9"),
        (1, "0.30000000000000004"),
        (1, "NaN"),
        (2, "0.2"),
    ];
    assert_eq!(steps, wanted_steps.map(|(s, v)| (s, v.to_owned())));

    // The last started comes first; what is put away can be taken back, and is purged for good later.
    let later = track
        .create_run("ada", NewRun { start: 6, ..wanted })
        .await
        .unwrap();
    let list = || async {
        let (send, seen) = std::sync::mpsc::channel();
        track
            .runs("ada", "1", move |run| send.send(run.id).is_ok())
            .await
            .unwrap();
        seen.iter().collect::<Vec<_>>()
    };
    assert_eq!(list().await, [later.id.clone(), run.id.clone()]);
    track.put_away("ada", &run.id, true).await.unwrap();
    let refused = track
        .log(
            "ada",
            &run.id,
            Batch {
                tags: vec![tag("a", "b")],
                ..Batch::default()
            },
        )
        .await;
    assert_eq!(refused.unwrap_err().code, Code::Invalid);
    assert_eq!(blobs.purge_runs(0).await.unwrap(), 0);
    assert_eq!(blobs.purge_runs(i64::MAX).await.unwrap(), 1);
    assert_eq!(list().await, std::slice::from_ref(&later.id));
    assert_eq!(
        track.run("ada", &run.id).await.unwrap_err().code,
        Code::NotFound
    );
}

#[tokio::test]
async fn bad_batches_are_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let track = Blobs::open(dir.path()).unwrap().tracking();
    let run = track.create_run("ada", NewRun::default()).await.unwrap();
    let many = (0..1001).map(|i| point("m", i, 0.0)).collect();
    let long = "x".repeat(6001);
    for (why, batch) in [
        (
            "1001 metrics",
            Batch {
                metrics: many,
                ..Batch::default()
            },
        ),
        (
            "a key with ..",
            Batch {
                params: vec![tag("../up", "1")],
                ..Batch::default()
            },
        ),
        (
            "an empty key",
            Batch {
                tags: vec![tag("", "1")],
                ..Batch::default()
            },
        ),
        (
            "a long value",
            Batch {
                params: vec![tag("p", &long)],
                ..Batch::default()
            },
        ),
        (
            "a NUL",
            Batch {
                metrics: vec![point("a\0b", 0, 0.0)],
                ..Batch::default()
            },
        ),
    ] {
        let refused = track.log("ada", &run.id, batch).await;
        assert_eq!(refused.expect_err(why).code, Code::Invalid, "{why}");
    }
    assert_eq!(track.run("ada", &run.id).await.unwrap(), run);
}
