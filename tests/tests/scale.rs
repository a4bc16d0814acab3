//! Many steps, little memory.
#![allow(clippy::unwrap_used, missing_docs)]

use anyhow::Result;
use kfbox_tests::{
    TestBox,
    pipeline::{Step, pipeline},
    seconds, text,
};

const MIB: u64 = 1 << 20;

#[test]
fn two_hundred_steps_side_by_side() -> Result<()> {
    let b = TestBox::start()?;
    // Without the pages of the program itself: an unoptimised build's are many times those of a release.
    let program = b.memory("RssFile")?;
    let idle = b.memory("VmRSS")? - program;
    assert!(idle < 30 * MIB, "{} MiB idle on a fresh box", idle / MIB);
    let steps: Vec<_> = (0..200)
        .map(|i| Step::sh(&format!("step-{i}"), "true"))
        .collect();
    let began = std::time::Instant::now();
    let run = b.run(&pipeline("fan-out", &steps))?;
    b.succeeded(&run, seconds(240))?;
    let tasks = b.tasks(&run)?;
    assert_eq!(tasks.len(), 200);
    assert!(
        tasks
            .iter()
            .all(|t| text(t, "/status/state") == "SUCCEEDED")
    );
    let peak = b.memory("VmHWM")?.saturating_sub(program);
    println!(
        "idle {} MiB, peak {} MiB, {:?}",
        idle / MIB,
        peak / MIB,
        began.elapsed()
    );
    assert!(peak < 80 * MIB, "{} MiB at the highest", peak / MIB);
    b.no_containers()
}
