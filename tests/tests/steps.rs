//! What a step meets inside its container, and what is said when it fails.
#![allow(clippy::unwrap_used, missing_docs)]

use anyhow::{Context, Result};
use kfbox_tests::{
    TestBox, json,
    pipeline::{Step, pipeline},
    seconds, text,
};

/// Runs one step that must succeed; returns its log.
fn log_of(b: &TestBox, step: Step) -> Result<String> {
    let run = b.run(&pipeline("one-step", &[step]))?;
    b.succeeded(&run, seconds(60))?;
    b.no_containers()?;
    b.logs(&run, "step")
}

/// Runs one step that must fail; returns its message, which the run repeats.
fn failure_of(b: &TestBox, step: Step) -> Result<(String, kfbox_tests::Value)> {
    let run = b.run(&pipeline("one-step", &[step]))?;
    let ended = b.ended(&run, seconds(90))?;
    assert_eq!(text(&ended, "/status/state"), "FAILED");
    let task = b.task(&run, "step")?;
    let message = text(&task, "/status/message").to_string();
    let said = text(&ended, "/status/message");
    assert!(
        said.contains("step") && said.contains(&message),
        "the run says: {said}"
    );
    b.no_containers()?;
    Ok((message, task))
}

#[test]
fn a_step_that_needs_more_memory_than_its_limit_is_told_so() -> Result<()> {
    let b = TestBox::start()?;
    // tail keeps what has no line end.
    let step =
        Step::sh("step", "head -c 300000000 /dev/zero | tail -n 1 >/dev/null").memory("48Mi");
    let (message, task) = failure_of(&b, step)?;
    assert_eq!(text(&task, "/status/attempts/0/reason"), "OOMKilled");
    assert!(
        message.contains("48 MiB") && message.contains("memory"),
        "{message}"
    );
    Ok(())
}

#[test]
fn a_missing_image_fails_the_step_and_names_the_mend() -> Result<()> {
    let b = TestBox::start()?;
    let image = "registry.invalid/team/no-such-image:7";
    let (message, _) = failure_of(&b, Step::sh("step", "true").image(image))?;
    assert!(message.contains(image), "{message}");
    assert!(
        message.contains("docker ") || message.contains("image_rules"),
        "no mend: {message}"
    );
    let after = b.run(&pipeline("after", &[Step::sh("step", "true")]))?;
    b.succeeded(&after, seconds(60))?;
    Ok(())
}

#[test]
fn an_exit_code_fails_the_step() -> Result<()> {
    let b = TestBox::start()?;
    let (message, task) = failure_of(&b, Step::sh("step", "echo why >&2; exit 7"))?;
    assert_eq!(task["status"]["attempts"][0]["exitCode"], 7);
    assert!(message.contains('7'), "{message}");
    Ok(())
}

#[test]
fn retries_count_and_end() -> Result<()> {
    let b = TestBox::start()?;
    let flaky = Step::sh("step", "test \"$KFP_RETRY_INDEX\" = 2").retries(3);
    let run = b.run(&pipeline(
        "retry",
        &[flaky, Step::sh("next", "true").after("step")],
    ))?;
    b.succeeded(&run, seconds(60))?;
    let codes: Vec<_> = b.task(&run, "step")?["status"]["attempts"]
        .as_array()
        .context("attempts")?
        .iter()
        .map(|a| a["exitCode"].clone())
        .collect();
    assert_eq!(codes, [json!(1), json!(1), json!(0)]);
    let hopeless = b.run(&pipeline("retry", &[Step::sh("step", "false").retries(1)]))?;
    assert_eq!(
        text(&b.ended(&hopeless, seconds(60))?, "/status/state"),
        "FAILED"
    );
    assert_eq!(
        b.task(&hopeless, "step")?["status"]["attempts"]
            .as_array()
            .context("attempts")?
            .len(),
        2
    );
    b.no_containers()
}

#[test]
fn a_step_that_is_not_root_may_write_where_the_sdk_writes() -> Result<()> {
    let b = TestBox::start()?;
    let script = "id -u; id -g; for d in /minio /s3 /gcs /.local /.cache /.config /tmp /tmp/kfp/outputs; \
                  do mkdir $d/mine && echo x >$d/mine/file; done; grep CapEff /proc/self/status; echo done";
    let log = log_of(&b, Step::sh("step", script).user(65534, 65534))?;
    assert_eq!(
        log.lines().collect::<Vec<_>>(),
        ["65534", "65534", "CapEff:\t0000000000000000", "done"]
    );
    Ok(())
}

#[test]
fn hardened_as_seen_from_inside() -> Result<()> {
    let b = TestBox::start()?;
    let script = "cat /proc/self/status /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null || true; \
                  echo core $(ulimit -c); \
                  for f in /var/run/docker.sock /run/docker.sock /dev/sda /dev/kmsg; do test ! -e $f || echo found $f; done; \
                  echo devices $(ls /dev); echo processes $(ls -d /proc/[0-9]* | wc -l)";
    let log = log_of(&b, Step::sh("step", script))?;
    let field = |name: &str| {
        let line = log.lines().find_map(|l| l.strip_prefix(name));
        line.map(|l| l.trim_start_matches(':').trim().to_string())
            .with_context(|| format!("{name} in {log}"))
    };
    // CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID: what root needs in its own file system, no more.
    let allowed = 0b1110_1011_u64;
    for set in ["CapEff", "CapPrm", "CapBnd", "CapInh"] {
        let has = u64::from_str_radix(&field(set)?, 16)?;
        assert_eq!(has & !allowed, 0, "{set} {has:x}");
    }
    assert_eq!(field("NoNewPrivs")?, "1");
    assert_eq!(field("Seccomp")?, "2", "a filter");
    assert_eq!(field("core")?, "0");
    assert!(
        log.lines().any(|l| l == "4096"),
        "a limit of processes: {log}"
    );
    assert!(!log.contains("found "), "{log}");
    assert!(
        field("processes")?.parse::<u32>()? < 10,
        "the host's processes are out of sight"
    );
    Ok(())
}

#[test]
fn a_step_finds_the_box_by_the_name_it_has_in_a_cluster() -> Result<()> {
    let b = TestBox::start()?;
    let script = "for host in ml-pipeline.kubeflow ml-pipeline.kubeflow.svc.cluster.local; do \
                  curl -s -o /dev/null -w '%{http_code} ' http://$host:8888/apis/v2beta1/healthz; \
                  curl -s -o /dev/null -w '%{http_code}\\n' http://$host:8888/apis/v2beta1/runs; done";
    let log = log_of(&b, Step::sh("step", script))?;
    assert_eq!(log.lines().collect::<Vec<_>>(), ["200 401", "200 401"]);
    Ok(())
}

#[test]
fn a_run_that_is_stopped_leaves_nothing_running() -> Result<()> {
    let b = TestBox::start()?;
    let steps = [
        Step::sh("step", "sleep 600"),
        Step::sh("never", "true").after("step"),
    ];
    let run = b.run(&pipeline("stop", &steps))?;
    kfbox_tests::until("the step runs", seconds(30), || {
        Ok((!b.containers()?.is_empty()).then_some(()))
    })?;
    b.client
        .post(&format!("/apis/v2beta1/runs/{run}:terminate"), &json!({}))?
        .ok()?;
    assert_eq!(
        text(&b.ended(&run, seconds(60))?, "/status/state"),
        "CANCELED"
    );
    b.no_containers()
}
