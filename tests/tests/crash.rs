//! Kill -9 the daemon at any moment: after the next start the run goes on to the same end, no step is started
//! twice, no container is left.
//!
//! `KFBOX_TEST_MOMENTS` sets how many moments are tried, `KFBOX_TEST_SEED` repeats a failure.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{thread::sleep, time::Duration};

use anyhow::{Context, Result};
use kfbox_tests::{
    TestBox, Value,
    engine::Starts,
    pipeline::{Step, pipeline},
    seconds, text, until,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// A wide and a narrow part, so that a kill may find zero, one or two steps in flight.
fn steps() -> Vec<Step> {
    let nap = "sleep 1";
    vec![
        Step::sh("first", nap),
        Step::sh("left", nap).after("first"),
        Step::sh("right", "sleep 0.5").after("first"),
        Step::sh("join", nap).after("left").after("right"),
        Step::sh("last", "true").after("join"),
    ]
}

fn random() -> StdRng {
    let seed = std::env::var("KFBOX_TEST_SEED")
        .ok()
        .and_then(|s| s.parse().ok());
    let seed = seed.unwrap_or_else(|| rand::rng().random());
    println!("KFBOX_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// The states of all tasks, to notice when anything changes.
fn picture(tasks: &[Value]) -> Vec<String> {
    let mut all: Vec<_> = tasks
        .iter()
        .map(|t| {
            format!(
                "{} {}",
                text(t, "/spec/path"),
                text(t, "/metadata/resourceVersion")
            )
        })
        .collect();
    all.sort();
    all
}

/// The run has ended well, and every step was started exactly once.
fn once_each(b: &TestBox, run: &str, starts: &mut Starts) -> Result<()> {
    b.succeeded(run, seconds(60))?;
    let tasks = b.tasks(run)?;
    assert_eq!(tasks.len(), steps().len());
    for task in &tasks {
        let attempts = task["status"]["attempts"].as_array().context("attempts")?;
        assert_eq!(attempts.len(), 1, "{task}");
        let pod = text(task, "/status/podName").to_string();
        let times = until("the engine tells of the start", seconds(10), || {
            Ok(starts.seen()?.get(&pod).copied())
        })?;
        assert_eq!(times, 1, "{pod} was started {times} times");
    }
    b.no_containers()
}

#[test]
fn a_kill_at_a_random_moment_changes_nothing() -> Result<()> {
    let moments = std::env::var("KFBOX_TEST_MOMENTS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(6);
    let mut random = random();
    let mut b = TestBox::start()?;
    let mut starts = b.engine.count_starts(&b.id)?;
    for moment in 0..moments {
        let run = b.run(&pipeline("crash", &steps()))?;
        if moment % 2 == 0 {
            let pause = random.random_range(0..5_000);
            println!("moment {moment}: {pause} ms after the run was made");
            sleep(Duration::from_millis(pause));
        } else {
            // Right behind a change, where the steps of a transition lie close together.
            let changes = random.random_range(1..14);
            let pause = random.random_range(0..60);
            println!("moment {moment}: {pause} ms after change {changes}");
            let (mut seen, mut last) = (0, Vec::new());
            until("the run changes so often", seconds(30), || {
                let now = picture(&b.tasks(&run)?);
                seen += u32::from(now != last);
                last = now;
                let over = text(&b.run_object(&run)?, "/status/state") == "SUCCEEDED";
                Ok((seen >= changes || over).then_some(()))
            })?;
            sleep(Duration::from_millis(pause));
        }
        b.kill9()?;
        b.up()?;
        once_each(&b, &run, &mut starts)?;
    }
    Ok(())
}

#[test]
fn killed_again_and_again_a_run_still_ends() -> Result<()> {
    let mut random = random();
    let mut b = TestBox::start()?;
    let mut starts = b.engine.count_starts(&b.id)?;
    let run = b.run(&pipeline("crash", &steps()))?;
    for _ in 0..8 {
        sleep(Duration::from_millis(random.random_range(50..900)));
        b.kill9()?;
        b.up()?;
    }
    once_each(&b, &run, &mut starts)
}

#[test]
fn the_box_ends_in_order_and_its_steps_go_on() -> Result<()> {
    let mut b = TestBox::start()?;
    let mut starts = b.engine.count_starts(&b.id)?;
    let run = b.run(&pipeline("crash", &steps()))?;
    until("a step runs", seconds(20), || {
        Ok((!starts.seen()?.is_empty()).then_some(()))
    })?;
    b.stop()?;
    assert!(
        !b.data.join("endpoints.json").exists(),
        "no box answers there any more"
    );
    assert_eq!(b.containers()?.len(), 1, "the step outlives the daemon");
    b.up()?;
    once_each(&b, &run, &mut starts)
}
