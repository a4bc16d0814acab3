//! `kfbox doctor`: what the box needs, checked one by one, each with its evidence and its mend.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use super::{Connection, Format, client::Client, output};
use crate::{
    config::Config,
    driver::{Driver, docker::DockerDriver},
    metrics::machine_memory,
};

/// Bytes below which a disk is called nearly full.
const LOW_DISK: u64 = 5 << 30;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Note,
    Bad,
}

struct Finding {
    what: &'static str,
    verdict: Verdict,
    evidence: String,
    mend: &'static str,
}

/// Carries it out; the exit code is 1 when something must be mended.
///
/// # Errors
/// When the findings cannot be printed.
pub fn doctor(connection: &Connection) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut findings = runtime.block_on(engine());
    findings.push(disk(connection));
    findings.push(memory());
    findings.push(gpu());
    findings.push(daemon(connection));
    findings.extend(bytes(connection));
    if connection.output == Format::Json {
        output::json(&findings.iter().map(as_json).collect())?;
    } else {
        for f in &findings {
            let mark = match f.verdict {
                Verdict::Ok => "ok  ",
                Verdict::Note => "note",
                Verdict::Bad => "BAD ",
            };
            output::line(&format!("{mark}  {}: {}", f.what, f.evidence))?;
            if f.verdict != Verdict::Ok && !f.mend.is_empty() {
                output::line(&format!("      -> {}", f.mend))?;
            }
        }
    }
    let bad = findings.iter().any(|f| f.verdict == Verdict::Bad);
    Ok(if bad {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn as_json(f: &Finding) -> Value {
    let verdict = match f.verdict {
        Verdict::Ok => "ok",
        Verdict::Note => "note",
        Verdict::Bad => "bad",
    };
    json!({"check": f.what, "verdict": verdict, "evidence": f.evidence, "mend": f.mend})
}

async fn engine() -> Vec<Finding> {
    let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| Config::default().docker_host);
    let what = "container engine";
    let mend =
        "install and start Docker: apt-get install docker.io iptables; systemctl start docker";
    let driver = match DockerDriver::connect(&host, "doctor") {
        Ok(driver) => driver,
        Err(e) => {
            return vec![Finding {
                what,
                verdict: Verdict::Bad,
                evidence: e.message,
                mend,
            }];
        }
    };
    let mut findings = Vec::new();
    match driver.describe().await {
        Ok(evidence) => findings.push(Finding {
            what,
            verdict: Verdict::Ok,
            evidence,
            mend: "",
        }),
        Err(e) => {
            let evidence = format!(
                "{host} does not answer ({})",
                e.context.unwrap_or(e.message)
            );
            return vec![Finding {
                what,
                verdict: Verdict::Bad,
                evidence,
                mend,
            }];
        }
    }
    for image in ["kfbox/base:1", "kfbox/busybox:1", "kfbox/python:3"] {
        let (verdict, evidence) = match driver.image(image).await {
            Ok(Some(found)) => (Verdict::Ok, format!("{image} is {}", found.id)),
            Ok(None) => (
                Verdict::Note,
                format!(
                    "{image} is not on this box: pipelines that name its upstream twin must be able to pull it"
                ),
            ),
            Err(e) => (Verdict::Bad, e.message),
        };
        findings.push(Finding {
            what: "image",
            verdict,
            evidence,
            mend: "build it: images/build.sh",
        });
    }
    findings
}

fn disk(connection: &Connection) -> Finding {
    let what = "disk";
    let dir = &connection.data_dir;
    let existing = dir.ancestors().find(|d| d.exists()).unwrap_or(dir);
    match free_bytes(existing) {
        Some(free) if free < LOW_DISK => Finding {
            what,
            verdict: Verdict::Bad,
            evidence: format!(
                "{:.1} GiB free at {}",
                free as f64 / f64::from(1 << 30),
                existing.display()
            ),
            mend: "free some space: `docker system df` and the box's runs show what can go",
        },
        Some(free) => Finding {
            what,
            verdict: Verdict::Ok,
            evidence: format!(
                "{:.0} GiB free at {}",
                free as f64 / f64::from(1 << 30),
                existing.display()
            ),
            mend: "",
        },
        None => Finding {
            what,
            verdict: Verdict::Note,
            evidence: format!("free space at {} cannot be read", existing.display()),
            mend: "",
        },
    }
}

/// Free bytes for unprivileged users, by `df`: there is no safe call for it in std.
fn free_bytes(path: &std::path::Path) -> Option<u64> {
    let out = std::process::Command::new("df")
        .args(["--output=avail", "-B1"])
        .arg(path)
        .output()
        .ok()?;
    String::from_utf8_lossy(&out.stdout)
        .lines()
        .nth(1)?
        .trim()
        .parse()
        .ok()
}

fn memory() -> Finding {
    let total = machine_memory();
    let low = total < 2 << 30;
    Finding {
        what: "memory",
        verdict: if low { Verdict::Note } else { Verdict::Ok },
        evidence: format!("{:.1} GiB", total as f64 / f64::from(1 << 30)),
        mend: "less than 2 GiB: only small steps will fit",
    }
}

fn gpu() -> Finding {
    let what = "GPU";
    match kfbox_gpu::inventory() {
        Ok(devices) => {
            let names: Vec<_> = devices
                .iter()
                .map(|d| {
                    format!(
                        "{} {} ({} GiB, {})",
                        d.index,
                        d.name,
                        d.memory_bytes >> 30,
                        d.uuid
                    )
                })
                .collect();
            Finding {
                what,
                verdict: Verdict::Ok,
                evidence: names.join("; "),
                mend: "",
            }
        }
        Err(e @ kfbox_gpu::Absent::NoDriver) => Finding {
            what,
            verdict: Verdict::Ok,
            evidence: format!("{e}: CPU only"),
            mend: "",
        },
        Err(e) => Finding {
            what,
            verdict: Verdict::Bad,
            evidence: e.to_string(),
            mend: "reinstall or reload the NVIDIA driver; `nvidia-smi` must work first",
        },
    }
}

fn daemon(connection: &Connection) -> Finding {
    let what = "daemon";
    let asked = Client::new(connection).and_then(|c| {
        let health = c.get("/apis/v2beta1/healthz")?;
        c.post(
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            &json!({}),
        )?;
        Ok(format!(
            "kfbox {} answers at {}",
            output::text(&health, "/tag_name"),
            c.base
        ))
    });
    match asked {
        Ok(evidence) => Finding {
            what,
            verdict: Verdict::Ok,
            evidence,
            mend: "",
        },
        Err(e) => Finding {
            what,
            verdict: Verdict::Bad,
            evidence: e.to_string(),
            mend: "start it: systemctl start kfbox, or kfbox serve; its log says why it ended",
        },
    }
}

/// What the last scrub found; nothing when no daemon answers, which has a finding of its own.
fn bytes(connection: &Connection) -> Option<Finding> {
    let client = Client::new(connection).ok()?;
    let list = client.get("/apis/kfbox.dev/v1alpha1/scrubs").ok()?;
    let finished = |s: &&Value| !output::text(s, "/status/finishTime").is_empty();
    let scrubs = list["items"].as_array()?.iter().filter(finished);
    let what = "stored bytes";
    let Some(last) = scrubs.max_by_key(|s| output::text(s, "/status/finishTime")) else {
        return Some(Finding {
            what,
            verdict: Verdict::Ok,
            evidence: "not read yet; the box does it once a week".into(),
            mend: "",
        });
    };
    let damaged = last["status"]["damaged"].as_array().map_or(0, Vec::len);
    let age = output::age(output::text(last, "/status/finishTime"));
    let of = &last["status"]["checked"];
    Some(Finding {
        what,
        verdict: if damaged == 0 {
            Verdict::Ok
        } else {
            Verdict::Bad
        },
        evidence: format!("{of} blobs read {age} ago, {damaged} objects damaged"),
        mend: "`kfbox s3 scrub` names them: store them again, or restore the data folder from a backup; look at the disk's health",
    })
}
