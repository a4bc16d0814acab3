//! The Docker engine goes away in the middle of a run and comes back: the run ends as it would have, steps that had
//! finished are not run again. The engine is the test's own; the machine's is left alone.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{collections::BTreeMap, thread::sleep, time::Duration};

use anyhow::{Context, Result};
use kfbox_tests::{
    Options, TestBox,
    engine::{Engine, OwnEngine},
    pipeline::{Step, pipeline, quick_start},
    seconds, text, until,
};
use rand::Rng;
use serde_json::json;

fn chain() -> Vec<Step> {
    let nap = "sleep 1.5";
    vec![
        Step::sh("one", nap),
        Step::sh("two", nap).after("one"),
        Step::sh("beside", nap).after("one"),
        Step::sh("three", nap).after("two"),
    ]
}

/// Attempts of the tasks that have succeeded, by name.
fn finished(b: &TestBox, run: &str) -> Result<BTreeMap<String, String>> {
    let tasks = b.tasks(run)?;
    let done = tasks
        .iter()
        .filter(|t| text(t, "/status/state") == "SUCCEEDED");
    Ok(done
        .map(|t| {
            (
                text(t, "/spec/name").to_string(),
                t["status"]["attempts"].to_string(),
            )
        })
        .collect())
}

/// Takes the engine away after a random while, and brings it back. Returns what had finished before.
fn outage(
    b: &TestBox,
    own: &mut OwnEngine,
    signal: &str,
    run: &str,
) -> Result<BTreeMap<String, String>> {
    let pause = rand::rng().random_range(200..5_000);
    println!("{signal} {pause} ms after the run was made, or after the last outage");
    sleep(Duration::from_millis(pause));
    let before = finished(b, run)?;
    own.down(signal)?;
    // The box itself answers, and says that it waits.
    assert_eq!(b.client.get("/apis/v2beta1/healthz")?.status, 200);
    let state = text(&b.run_object(run)?, "/status/state").to_string();
    assert!(
        ["PENDING", "RUNNING", "SUCCEEDED"].contains(&&*state),
        "{state}"
    );
    own.up()?;
    Ok(before)
}

/// The run ends well, and no step that had finished has run again.
fn ends_well(
    b: &TestBox,
    run: &str,
    steps: usize,
    before: impl IntoIterator<Item = (String, String)>,
) -> Result<()> {
    b.succeeded(run, seconds(180))?;
    let after = finished(b, run)?;
    assert_eq!(after.len(), steps);
    for (name, attempts) in before {
        assert_eq!(after.get(&name), Some(&attempts), "{name} had finished");
    }
    b.no_containers()
}

fn outages(signal: &str) -> Result<()> {
    let mut own = OwnEngine::start()?;
    own.take_images(&Engine::default(), &["kfbox/base:1", "kfbox/busybox:1"])?;
    let b = TestBox::with(Options {
        engine: own.engine(),
        ..Options::default()
    })?;
    for _ in 0..2 {
        let run = b.run(&pipeline("outage", &chain()))?;
        let before = outage(&b, &mut own, signal, &run)?;
        ends_well(&b, &run, chain().len(), before)?;
    }
    drop(b);
    Ok(())
}

/// The engine goes away several times, and comes back.
#[test]
fn the_quick_start_ends_as_it_would_have() -> Result<()> {
    let spec = quick_start()?;
    // The test's own engine has no way to a package index: a box on the machine's installs the packages.
    let first = TestBox::start()?;
    first.succeeded(&first.run(&spec)?, seconds(240))?;
    let images = format!("kfbox/env-{}", first.id);
    let image =
        first
            .engine
            .output(&["images", "--format", "{{.Repository}}:{{.Tag}}", &images])?;
    let mut own = OwnEngine::start()?;
    own.take_images(&first.engine, &[&image, "kfbox/busybox:1"])?;
    drop(first);
    let b = TestBox::with(Options {
        engine: own.engine(),
        config: format!("[[image_rules]]\npattern = \"python:3.11\"\nimage = \"{image}\"\n"),
        ..Options::default()
    })?;
    let run = b.run(&spec)?;
    let mut before = Vec::new();
    for signal in ["TERM", "KILL", "KILL"] {
        before.extend(outage(&b, &mut own, signal, &run)?);
    }
    ends_well(&b, &run, 8, before)?;
    drop(b);
    Ok(())
}

#[test]
fn stopped_in_order() -> Result<()> {
    outages("TERM")
}

#[test]
fn killed() -> Result<()> {
    outages("KILL")
}

/// Two workers that need each other for some seconds: both go down with the engine, and both are run again.
#[test]
fn a_training_job_of_two_ends_as_it_would_have() -> Result<()> {
    const JOBS: &str = "/apis/kubeflow.org/v1/namespaces/kubeflow/pytorchjobs";
    let mut own = OwnEngine::start()?;
    own.take_images(&Engine::default(), &["kfbox/base:1", "kfbox/busybox:1"])?;
    let b = TestBox::with(Options {
        engine: own.engine(),
        ..Options::default()
    })?;
    let replica = json!({"replicas": 1, "restartPolicy": "OnFailure", "template": {"spec": {"containers": [{
        "name": "pytorch", "image": "kfbox/base:1", "command": ["sh", "-c", "echo rank $RANK; sleep 6"],
    }]}}});
    let job = json!({"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": {"name": "pair"},
        "spec": {"pytorchReplicaSpecs": {"Master": replica, "Worker": replica}}});
    b.client.post(JOBS, &job)?.ok()?;
    let holds = |wanted: &str| -> Result<Option<()>> {
        let job = b.client.get(&format!("{JOBS}/pair"))?.ok()?;
        let conditions = job["status"]["conditions"].as_array().cloned();
        let found = conditions.unwrap_or_default();
        if found
            .iter()
            .any(|c| c["type"] == "Failed" && c["status"] == "True")
        {
            anyhow::bail!("the job failed: {found:?}");
        }
        let held = found
            .iter()
            .any(|c| c["type"] == wanted && c["status"] == "True");
        Ok(held.then_some(()))
    };
    until("both run", seconds(60), || {
        let pods = b.client.get("/api/v1/namespaces/kubeflow/pods")?.ok()?;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let running = pods
            .iter()
            .filter(|p| text(p, "/status/phase") == "Running");
        Ok((running.count() == 2).then_some(()))
    })?;
    own.down("KILL")?;
    own.up()?;
    until("the job has succeeded", seconds(120), || holds("Succeeded"))?;
    drop(b);
    Ok(())
}

#[test]
fn a_box_that_starts_before_its_engine_waits_for_it() -> Result<()> {
    let mut own = OwnEngine::start()?;
    own.take_images(&Engine::default(), &["kfbox/base:1", "kfbox/busybox:1"])?;
    own.down("TERM")?;
    let b = TestBox::with(Options {
        engine: own.engine(),
        ..Options::default()
    })
    .context("no engine yet")?;
    let run = b.run(&pipeline("early", &[Step::sh("only", "true")]))?;
    until("the run is taken up", seconds(20), || {
        Ok((text(&b.run_object(&run)?, "/status/state") == "RUNNING").then_some(()))
    })?;
    own.up()?;
    b.succeeded(&run, seconds(60))?;
    drop(b);
    Ok(())
}
