//! `kfbox s3`: keys to the S3 endpoint, and whether the stored bytes are whole.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{
    Connection, Format,
    client::{Client, NAMESPACE},
    output::{self, text},
};

/// How often, and how many milliseconds apart, we look whether the box has made the key's Secret.
const LOOKS: (u32, u64) = (100, 50);

/// `kfbox s3 ...`
#[derive(Args)]
pub struct S3Args {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: S3Command,
}

#[derive(Subcommand)]
enum S3Command {
    /// Keys to the S3 endpoint
    #[command(subcommand)]
    Key(KeyCommand),
    /// Tell what fills the disk: buckets, volumes, logs, images
    Du,
    /// Say how much a bucket may hold, or lift the limit
    Quota {
        /// The bucket
        bucket: String,
        /// Such as 500M or 20Gi; 0 = no limit
        #[arg(value_parser = bytes)]
        size: u64,
        /// Whose bucket it is
        #[arg(long, short, default_value = NAMESPACE)]
        namespace: String,
    },
    /// Read all stored bytes and tell which are damaged; the exit code is 1 when some are
    Scrub,
    /// Print a namespace's endpoint and key as shell variables: eval "$(kfbox s3 env)"
    Env {
        /// Whose buckets
        #[arg(long, short, default_value = NAMESPACE)]
        namespace: String,
        /// Which key of the namespace
        #[arg(long, default_value = "mlpipeline-minio-artifact")]
        key: String,
    },
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Make a key and print it
    Create {
        /// Its name
        name: String,
        /// The namespace whose buckets it opens; kubeflow-system opens those of all
        #[arg(long, short, default_value = NAMESPACE)]
        namespace: String,
        /// Open only this bucket, or keys with this prefix in it; can be given several times
        #[arg(long, value_name = "BUCKET[/PREFIX]")]
        bucket: Vec<String>,
        /// What it may do in those buckets
        #[arg(long, value_enum, default_value = "edit", requires = "bucket")]
        role: KeyRole,
        /// Until when it is good, such as 2027-01-31T12:00:00Z [default: for ever]
        #[arg(long)]
        expires: Option<String>,
        /// A word on what it is for
        #[arg(long, default_value = "")]
        note: String,
    },
    /// List a namespace's keys
    List {
        /// Which namespace
        #[arg(long, short, default_value = NAMESPACE)]
        namespace: String,
    },
    /// Revoke a key: from now on it opens nothing
    Revoke {
        /// As `kfbox s3 key list` shows it
        name: String,
        /// Its namespace
        #[arg(long, short, default_value = NAMESPACE)]
        namespace: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum KeyRole {
    /// Read
    View,
    /// Read and write
    Edit,
}

fn keys(namespace: &str) -> String {
    format!("/apis/kfbox.dev/v1alpha1/namespaces/{namespace}/accesskeys")
}

impl S3Args {
    /// Carries it out.
    ///
    /// # Errors
    /// The box's own message.
    pub fn run(self) -> Result<ExitCode> {
        let client = Client::new(&self.connection)?;
        let as_json = self.connection.output == Format::Json;
        match self.command {
            S3Command::Scrub => return scrub(&client, as_json),
            S3Command::Du => {
                let report = client.get("/apis/kfbox.dev/v1alpha1/storage")?;
                if as_json {
                    output::json(&report)?;
                } else {
                    du(&report)?;
                }
            }
            S3Command::Quota {
                bucket,
                size,
                namespace,
            } => {
                let path = format!(
                    "/apis/kfbox.dev/v1alpha1/namespaces/{namespace}/buckets/{bucket}/quota"
                );
                client.put(&path, &json!({"bytes": size}))?;
                output::line(&match size {
                    0 => format!("{bucket} has no limit"),
                    size => format!("{bucket} may hold {}", human(size)),
                })?;
            }
            S3Command::Env { namespace, key } => {
                let (id, secret) = secret(&client, &namespace, &key)?;
                let endpoint = endpoint(self.connection.data_dir())?;
                output::line(&format!(
                    "export AWS_ACCESS_KEY_ID={id}\nexport AWS_SECRET_ACCESS_KEY={secret}\nexport AWS_ENDPOINT_URL={endpoint}\nexport AWS_DEFAULT_REGION=us-east-1"
                ))?;
            }
            S3Command::Key(KeyCommand::Create {
                name,
                namespace,
                bucket,
                role,
                expires,
                note,
            }) => {
                let role = match role {
                    KeyRole::View => "view",
                    KeyRole::Edit => "edit",
                };
                let rules: Vec<Value> = bucket
                    .iter()
                    .map(|rule| {
                        let (bucket, prefix) = rule.split_once('/').unwrap_or((rule, ""));
                        json!({"bucket": bucket, "prefix": prefix, "role": role})
                    })
                    .collect();
                let mut spec = json!({"rules": rules, "note": note});
                if let Some(at) = expires {
                    spec["expires"] = at.into();
                }
                let key = json!({
                    "apiVersion": "kfbox.dev/v1alpha1",
                    "kind": "AccessKey",
                    "metadata": {"name": name},
                    "spec": spec,
                });
                client.post(&keys(&namespace), &key)?;
                let (id, secret) = secret(&client, &namespace, &name)?;
                if as_json {
                    output::json(&json!({"accessKey": id, "secretKey": secret}))?;
                } else {
                    output::line(&format!("access key  {id}\nsecret key  {secret}"))?;
                }
            }
            S3Command::Key(KeyCommand::List { namespace }) => {
                let list = client.get(&keys(&namespace))?;
                if as_json {
                    output::json(&list)?;
                } else {
                    let items = list["items"].as_array().cloned().unwrap_or_default();
                    let rows: Vec<_> = items.iter().map(row).collect();
                    output::table(&["NAME", "BUCKETS", "EXPIRES", "AGE", "NOTE"], &rows)?;
                }
            }
            S3Command::Key(KeyCommand::Revoke { name, namespace }) => {
                client.delete(&format!("{}/{name}", keys(&namespace)))?;
                output::line(&format!("key {name} revoked"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// `20Gi`, `500M` or a plain number.
fn bytes(text: &str) -> Result<u64, String> {
    let wrong = |_| format!("\"{text}\" is no size: write it like 500M, 20Gi or 1000000");
    let parsed = crate::reconcile::pod::parse_quantity(
        &k8s_openapi::apimachinery::pkg::api::resource::Quantity(text.into()),
    );
    let bytes = parsed.map_err(wrong)?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A whole number of bytes.
    match bytes >= 0.0 && bytes.fract() == 0.0 {
        true => Ok(bytes as u64),
        false => Err(format!(
            "\"{text}\": must be a whole number of bytes, 0 or more"
        )),
    }
}

#[allow(clippy::cast_precision_loss)] // For people.
fn human(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" {
                format!("{bytes} B")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

fn du(report: &Value) -> Result<()> {
    let size = |v: &Value| human(v.as_u64().unwrap_or_default());
    let disk = &report["disk"];
    if disk.is_object() {
        output::line(&format!(
            "disk: {} of {} are free",
            size(&disk["free"]),
            size(&disk["total"])
        ))?;
        let mut rows: Vec<Vec<String>> = Vec::new();
        for part in disk["parts"].as_array().into_iter().flatten() {
            rows.push(vec![
                size(&part["bytes"]),
                text(part, "/path").into(),
                text(part, "/about").into(),
            ]);
        }
        if disk["images"].is_u64() {
            rows.push(vec![
                size(&disk["images"]),
                "(Docker)".into(),
                "images; shared layers count for each".into(),
            ]);
        }
        output::table(&["SIZE", "WHERE", "WHAT"], &rows)?;
        output::line("")?;
    }
    let mut buckets = report["buckets"].as_array().cloned().unwrap_or_default();
    buckets.sort_by_key(|b| std::cmp::Reverse(b["bytes"].as_u64()));
    let rows: Vec<Vec<String>> = buckets
        .iter()
        .map(|b| {
            let quota = b["quota"].as_u64().unwrap_or_default();
            vec![
                size(&b["bytes"]),
                text(b, "/name").into(),
                text(b, "/namespace").into(),
                if quota == 0 { "-".into() } else { human(quota) },
            ]
        })
        .collect();
    output::table(&["SIZE", "BUCKET", "NAMESPACE", "QUOTA"], &rows)
}

const SCRUBS: &str = "/apis/kfbox.dev/v1alpha1/scrubs";
/// Milliseconds between two looks at how far a scrub is.
const LOOK: u64 = 500;

fn scrub(client: &Client, as_json: bool) -> Result<ExitCode> {
    let wanted = json!({
        "apiVersion": "kfbox.dev/v1alpha1",
        "kind": "Scrub",
        "metadata": {"generateName": "manual-"},
    });
    let made = client.post(SCRUBS, &wanted)?;
    let path = format!("{SCRUBS}/{}", text(&made, "/metadata/name"));
    let mut told = String::new();
    let status = loop {
        let status = client.get(&path)?["status"].clone();
        if status["finishTime"].is_string() {
            break status;
        }
        let so_far = format!("{} of {} blobs read", status["checked"], status["total"]);
        if status["total"].is_number() && so_far != told {
            eprintln!("{so_far}");
            told = so_far;
        }
        std::thread::sleep(std::time::Duration::from_millis(LOOK));
    };
    if as_json {
        output::json(&status)?;
    }
    let message = text(&status, "/message");
    if !message.is_empty() {
        bail!("the scrub was not finished: {message}");
    }
    let damaged = status["damaged"].as_array().cloned().unwrap_or_default();
    if !as_json {
        output::line(&format!(
            "{} blobs read, {} objects damaged",
            status["checked"],
            damaged.len()
        ))?;
        for d in &damaged {
            let (bucket, key, reason) = (text(d, "/bucket"), text(d, "/key"), text(d, "/reason"));
            let what = if key.is_empty() {
                "bytes that no object uses".into()
            } else {
                format!("s3://{bucket}/{key}")
            };
            output::line(&format!("  {what}: {reason}"))?;
        }
    }
    Ok(if damaged.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn endpoint(data: &std::path::Path) -> Result<String> {
    let file = crate::serve::endpoints_file(data);
    let found = std::fs::read_to_string(&file).with_context(|| {
        format!(
            "{}: run this where the box runs, with its --data-dir",
            file.display()
        )
    })?;
    let endpoints: Value = serde_json::from_str(&found)?;
    Ok(text(&endpoints, "/s3").to_owned())
}

/// Id and secret of a key, as soon as the box has written its Secret.
fn secret(client: &Client, namespace: &str, name: &str) -> Result<(String, String)> {
    client.get(&format!("{}/{name}", keys(namespace)))?;
    let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
    for _ in 0..LOOKS.0 {
        if let Ok(found) = client.get(&path) {
            let value = |key: &str| -> Result<String> {
                let bytes = STANDARD.decode(text(&found, &format!("/data/{key}")))?;
                Ok(String::from_utf8(bytes)?)
            };
            let pair = (value("AWS_ACCESS_KEY_ID")?, value("AWS_SECRET_ACCESS_KEY")?);
            if !pair.0.is_empty() {
                return Ok(pair);
            }
            bail!(
                "the Secret \"{name}\" in {namespace} is not the key's: rename it, or choose another name for the key"
            );
        }
        std::thread::sleep(std::time::Duration::from_millis(LOOKS.1));
    }
    client
        .get(&path)
        .with_context(|| format!("the box did not write the Secret of the key \"{name}\""))?;
    bail!("the Secret of the key \"{name}\" cannot be read")
}

fn row(key: &Value) -> Vec<String> {
    let rules = key["spec"]["rules"].as_array().cloned().unwrap_or_default();
    let rules: Vec<String> = rules
        .iter()
        .map(|r| {
            format!(
                "{}/{} ({})",
                text(r, "/bucket"),
                text(r, "/prefix"),
                text(r, "/role")
            )
        })
        .collect();
    let or = |s: String, other: &str| if s.is_empty() { other.to_owned() } else { s };
    vec![
        text(key, "/metadata/name").into(),
        or(rules.join(", "), "all"),
        or(text(key, "/spec/expires").into(), "-"),
        output::age(text(key, "/metadata/creationTimestamp")),
        or(text(key, "/spec/note").into(), "-"),
    ]
}
