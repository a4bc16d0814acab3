//! The command line, as people and scripts use it.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, process::Output};

use anyhow::{Context, Result};
use kfbox_tests::{
    TestBox, Value, json,
    pipeline::{Step, pipeline},
    seconds, text,
};

/// What a command printed that must succeed.
fn said(out: &Output) -> String {
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{}: {err}", out.status);
    String::from_utf8_lossy(&out.stdout).trim().to_string()
}

fn as_json(out: &Output) -> Result<Value> {
    Ok(serde_json::from_str(&said(out))?)
}

/// What a command complained of that must fail, with its exit code.
fn complaint(out: &Output) -> (Option<i32>, String) {
    assert!(
        !out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stdout)
    );
    (
        out.status.code(),
        String::from_utf8_lossy(&out.stderr).trim().to_string(),
    )
}

#[test]
fn a_run_from_the_command_line() -> Result<()> {
    let b = TestBox::start()?;
    let file = b.scratch().join("p.json");
    let steps = [
        Step::sh("hello", "echo hello from the step; sleep 1"),
        Step::sh("again", "echo hello again").after("hello"),
    ];
    fs::write(&file, pipeline("greet", &steps).to_string())?;
    let out = said(&b.cli(["run".as_ref(), file.as_os_str(), "--follow".as_ref()])?);
    assert!(
        out.lines()
            .last()
            .is_some_and(|l| l.starts_with("SUCCEEDED")),
        "{out}"
    );
    // A step as short as the second may end before it was seen to run.
    for shown in ["RUNNING    hello", "SUCCEEDED  hello", "SUCCEEDED  again"] {
        assert!(out.contains(shown), "no \"{shown}\" in: {out}");
    }
    let runs = as_json(&b.cli(["runs", "--output", "json"])?)?;
    let id = text(&runs, "/runs/0/run_id").to_string();
    assert!(said(&b.cli(["runs"])?).contains(&id));
    assert!(said(&b.cli(["runs", &id])?).contains("SUCCEEDED"));
    assert_eq!(
        as_json(&b.cli(["runs", &id, "--output", "json"])?)?["state"],
        "SUCCEEDED"
    );
    assert_eq!(said(&b.cli(["logs", &id, "hello"])?), "hello from the step");
    let all = said(&b.cli(["logs", &id])?);
    assert!(
        all.contains("==> root/again <==") && all.contains("hello again"),
        "{all}"
    );
    // Programs get the run's end as JSON, and its exit code.
    let end = b.cli([
        "run".as_ref(),
        file.as_os_str(),
        "--follow".as_ref(),
        "--output".as_ref(),
        "json".as_ref(),
    ])?;
    assert_eq!(as_json(&end)?["state"], "SUCCEEDED");
    fs::write(
        &file,
        pipeline("fail", &[Step::sh("bad", "exit 3")]).to_string(),
    )?;
    let out = b.cli(["run".as_ref(), file.as_os_str(), "--follow".as_ref()])?;
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stdout).contains("bad"));
    Ok(())
}

#[test]
fn mistakes_are_named() -> Result<()> {
    let b = TestBox::start()?;
    let file = b.scratch().join("p.yaml");
    let run = |args: &[&str]| {
        let file = file.to_str().context("UTF-8")?;
        Ok::<_, anyhow::Error>(complaint(&b.cli([&["run", file], args].concat())?))
    };
    fs::write(&file, "a: [1")?;
    assert!(run(&[])?.1.contains("p.yaml"));
    fs::write(&file, pipeline("p", &[Step::sh("s", "true")]).to_string())?;
    assert!(run(&["-p", "size=1"])?.1.contains("size"));
    assert!(run(&["-p", "size"])?.1.contains("NAME=VALUE"));
    let none = complaint(&b.cli(["logs", "no-such-run"])?);
    assert!(none.1.contains("no-such-run"), "{none:?}");
    let elsewhere = complaint(&b.cli(["status", "--data-dir", "/nonexistent"])?);
    assert_eq!(elsewhere.0, Some(1));
    assert!(
        elsewhere.1.contains("/nonexistent") && elsewhere.1.contains("kfbox serve"),
        "{elsewhere:?}"
    );
    assert_eq!(complaint(&b.cli(["frobnicate"])?).0, Some(2));
    Ok(())
}

#[test]
fn status_doctor_version_completion() -> Result<()> {
    let b = TestBox::start()?;
    let run = b.run(&pipeline("p", &[Step::sh("s", "true")]))?;
    b.succeeded(&run, seconds(60))?;
    let status = as_json(&b.cli(["status", "--output", "json"])?)?;
    assert_eq!(status["url"], b.client.base);
    assert_eq!(status["runs"]["succeeded"], 1);
    assert!(said(&b.cli(["status"])?).contains("1 succeeded"));
    let findings = as_json(&b.cli(["doctor", "--output", "json"])?)?;
    let findings = findings.as_array().context("a list")?;
    let of = |check: &str| findings.iter().find(|f| text(f, "/check") == check);
    assert_eq!(
        text(of("container engine").context("engine")?, "/verdict"),
        "ok"
    );
    assert!(findings.iter().all(|f| !text(f, "/evidence").is_empty()));
    assert!(said(&b.cli(["version"])?).starts_with("kfbox "));
    assert!(
        !text(
            &as_json(&b.cli(["version", "--output", "json"])?)?,
            "/version"
        )
        .is_empty()
    );
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            said(&b.cli(["completion", shell])?).contains("kfbox"),
            "{shell}"
        );
    }
    for command in [
        "serve",
        "status",
        "doctor",
        "token",
        "run",
        "runs",
        "logs",
        "version",
        "completion",
    ] {
        assert!(
            said(&b.cli([command, "--help"])?).lines().count() > 3,
            "{command} --help"
        );
    }
    Ok(())
}

#[test]
fn tokens_are_made_listed_and_revoked() -> Result<()> {
    let b = TestBox::start()?;
    let made = as_json(&b.cli([
        "token", "create", "--user", "ann", "--ttl", "1d", "--output", "json",
    ])?)?;
    let mut ann = b.client.clone();
    ann.token = text(&made, "/status/token").to_string();
    let me = ann
        .post(
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            &json!({}),
        )?
        .ok()?;
    assert_eq!(me["status"]["userInfo"]["username"], "ann");
    let list = said(&b.cli(["token", "list"])?);
    assert!(list.contains("ann"), "{list}");
    assert!(!list.contains(&ann.token), "a list must not show secrets");
    let name = text(&made, "/metadata/name");
    said(&b.cli(["token", "revoke", name])?);
    assert_eq!(ann.get("/apis/v2beta1/runs")?.status, 401);
    let link = said(&b.cli(["token", "login"])?);
    let once = link
        .split("#token=")
        .nth(1)
        .and_then(|t| t.split_whitespace().next())
        .context("a link")?;
    let login = |token: &str| b.client.post("/auth/login", &json!({"token": token}));
    assert_eq!(login(once)?.status, 200);
    assert_eq!(login(once)?.status, 401, "the link works once");
    Ok(())
}
