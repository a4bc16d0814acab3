//! Boxes beside each other, and what a box says when it cannot start.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;

use anyhow::{Context, Result};
use kfbox_tests::{
    TestBox,
    pipeline::{Step, pipeline},
    seconds, until,
};

#[test]
fn boxes_leave_each_other_alone() -> Result<()> {
    let mut a = TestBox::start()?;
    let b = TestBox::start()?;
    let wait = pipeline("wait", &[Step::sh("wait", "sleep 600")]);
    let (in_a, in_b) = (a.run(&wait)?, b.run(&wait)?);
    until("both run", seconds(30), || {
        Ok((a.containers()?.len() == 1 && b.containers()?.len() == 1).then_some(()))
    })?;
    let (of_a, of_b) = (a.containers()?, b.containers()?);
    assert_ne!(of_a, of_b);
    assert_eq!(
        a.client.get(&format!("/apis/v2beta1/runs/{in_b}"))?.status,
        404
    );
    assert_eq!(
        b.client.get(&format!("/apis/v2beta1/runs/{in_a}"))?.status,
        404
    );
    let mut stranger = b.client.clone();
    stranger.token.clone_from(&a.client.token);
    assert_eq!(
        stranger.get("/apis/v2beta1/runs")?.status,
        401,
        "a's token opens b"
    );
    // A start looks for containers that nobody owns: those of others are not its business.
    a.kill9()?;
    a.up()?;
    assert_eq!(b.containers()?, of_b);
    drop(a);
    assert_eq!(b.containers()?, of_b);
    Ok(())
}

#[test]
fn a_port_in_use_names_its_holder() -> Result<()> {
    let a = TestBox::start()?;
    let b = TestBox::start()?;
    let port: u16 = a
        .client
        .base
        .rsplit(':')
        .next()
        .context("a port")?
        .parse()?;
    let mut b = b;
    b.stop()?;
    let out = b.serve_command(port).output()?;
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success());
    assert!(
        said.contains(&format!("port {port}")) && said.contains(&format!("process {}", a.pid())),
        "{said}"
    );
    assert!(said.contains("--port"), "the mend: {said}");
    Ok(())
}

#[test]
fn a_data_folder_has_one_daemon() -> Result<()> {
    let b = TestBox::start()?;
    let out = b.serve_command(0).output()?;
    assert!(!out.status.success());
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("another kfbox daemon"), "{said}");
    assert_eq!(
        b.client.get("/apis/v2beta1/runs")?.status,
        200,
        "the first goes on"
    );
    assert!(b.data.join("endpoints.json").exists());
    Ok(())
}

#[test]
fn a_data_folder_of_a_later_format_is_refused() -> Result<()> {
    let mut b = TestBox::start()?;
    b.stop()?;
    let marker = b.data.join("box.json");
    let text = fs::read_to_string(&marker)?.replace("\"format\": 1", "\"format\": 999");
    fs::write(&marker, text)?;
    let out = b.serve_command(0).output()?;
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(
        !out.status.success() && said.contains("format 999"),
        "{said}"
    );
    Ok(())
}
