//! `kfbox run`, `runs` and `logs`: pipelines from the command line.

use std::{
    collections::HashMap,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use kfbox_store::kinds::ir;
use serde_json::{Map, Value, json};

use super::{
    Connection, Format,
    client::{Client, NAMESPACE, Unreachable},
    output::{self, text},
};

const RUNS: &str = "/apis/v2beta1/runs";
/// How long `--follow` waits for a box that went away.
const PATIENCE: Duration = Duration::from_secs(60);

/// `kfbox run`
#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    connection: Connection,
    /// The compiled pipeline
    file: PathBuf,
    /// A parameter; the value is JSON, or plain text for a text parameter
    #[arg(short, long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// Name of the run [default: the pipeline's name and the time]
    #[arg(long)]
    name: Option<String>,
    /// Wait for the end, show each task as it goes; the exit code tells the outcome
    #[arg(long, short)]
    follow: bool,
}

/// `kfbox runs`
#[derive(Args)]
pub struct RunsArgs {
    #[command(flatten)]
    connection: Connection,
    /// Show this run with its tasks
    id: Option<String>,
    /// How many to list
    #[arg(long, default_value_t = 20)]
    limit: u32,
}

/// `kfbox logs`
#[derive(Args)]
pub struct LogsArgs {
    #[command(flatten)]
    connection: Connection,
    /// The run
    run: String,
    /// Only this task (its name, or its path such as root/train)
    task: Option<String>,
    /// Go on until the step ends (with TASK)
    #[arg(long, short, requires = "task")]
    follow: bool,
    /// Start each line with its time
    #[arg(long)]
    timestamps: bool,
}

impl RunArgs {
    /// Carries it out.
    ///
    /// # Errors
    /// The box's own message, or what is wrong with the file.
    pub fn run(self) -> Result<ExitCode> {
        let bytes = std::fs::read(&self.file)
            .with_context(|| format!("cannot read {}", self.file.display()))?;
        let file = ir::parse_file(&bytes).map_err(|e| anyhow!("{}: {e}", self.file.display()))?;
        let parameters = parameters(&file.spec, &self.params)?;
        let client = Client::new(&self.connection)?;
        let pipeline = text(&file.spec, "/pipelineInfo/name");
        let name = self.name.unwrap_or_else(|| {
            format!(
                "{pipeline} {}",
                jiff::Zoned::now().strftime("%Y-%m-%d %H-%M-%S")
            )
        });
        let spec = match file.platform {
            Some(platform) => json!({"pipeline_spec": file.spec, "platform_spec": platform}),
            None => file.spec,
        };
        let made = client.post(
            RUNS,
            &json!({
                "display_name": name,
                "pipeline_spec": spec,
                "runtime_config": {"parameters": parameters},
            }),
        )?;
        let id = text(&made, "/run_id").to_string();
        if !self.follow {
            if self.connection.output == Format::Json {
                output::json(&made)?;
            } else {
                output::line(&id)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        follow(client, &id, self.connection.output)
    }
}

fn parameters(spec: &Value, given: &[String]) -> Result<Map<String, Value>> {
    let mut out = Map::new();
    for pair in given {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| anyhow!("-p {pair}: must be NAME=VALUE"))?;
        let kind = text(
            spec,
            &format!("/root/inputDefinitions/parameters/{name}/parameterType"),
        );
        let value = if kind == "STRING" {
            value.into()
        } else {
            serde_json::from_str(value).unwrap_or_else(|_| value.into())
        };
        out.insert(name.into(), value);
    }
    Ok(out)
}

/// Shows each change of a task's state until the run ends. A daemon that restarts meanwhile is waited for.
fn follow(client: Client, id: &str, format: Format) -> Result<ExitCode> {
    let client = Arc::new(client);
    let quiet = format == Format::Json;
    if !quiet {
        output::line(&format!("run {id}\n{}/runs/{id}", client.base))?;
    }
    let mut seen = HashMap::new();
    let mut away = None;
    loop {
        match watch_run(&client, id, &mut seen, format) {
            Ok(Some(code)) => return Ok(code),
            Ok(None) => away = None,
            Err(e) => {
                // Only a box that cannot be reached is waited for; what it answers is final.
                let since = *away.get_or_insert_with(Instant::now);
                if e.downcast_ref::<Unreachable>().is_none() || since.elapsed() > PATIENCE {
                    return Err(e);
                }
            }
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Follows the run over one pair of watches; `None` when they broke off.
fn watch_run(
    client: &Arc<Client>,
    id: &str,
    seen: &mut HashMap<String, String>,
    format: Format,
) -> Result<Option<ExitCode>> {
    let quiet = format == Format::Json;
    let (tx, rx) = mpsc::channel();
    for (plural, selector) in [
        ("runs", format!("fieldSelector=metadata.name={id}")),
        ("tasks", format!("labelSelector=pipeline/runid={id}")),
    ] {
        let (client, tx) = (client.clone(), tx.clone());
        std::thread::spawn(move || {
            stream(
                &client,
                &kube(plural, &format!("?watch=true&{selector}")),
                &tx,
            )
        });
    }
    drop(tx);
    while let Ok(event) = rx.recv() {
        let event = event?;
        let object = &event["object"];
        match (text(&event, "/type"), text(object, "/kind")) {
            ("ERROR", _) => return Ok(None),
            ("DELETED", "Run") => bail!("run {id} was deleted"),
            (_, "Task") => show(object, seen, quiet)?,
            (_, "Run") if is_terminal(text(object, "/status/state")) => {
                // The last tasks' changes come on the other stream and may be behind.
                show_tasks(client, id, seen, quiet)?;
                return ended(client, object, id, format);
            }
            _ => {}
        }
    }
    Ok(None)
}

fn stream(client: &Client, path: &str, tx: &mpsc::Sender<Result<Value>>) {
    let lines = match client.lines(path) {
        Ok(lines) => lines,
        Err(e) => {
            let _ = tx.send(Err(e));
            return;
        }
    };
    for line in lines {
        let Ok(line) = line else { break };
        let Ok(event) = serde_json::from_str(&line) else {
            break;
        };
        if tx.send(Ok(event)).is_err() {
            return;
        }
    }
    let _ = tx.send(Ok(serde_json::json!({"type": "ERROR"})));
}

fn kube(plural: &str, rest: &str) -> String {
    format!("/apis/pipelines.kubeflow.org/v2beta1/namespaces/{NAMESPACE}/{plural}{rest}")
}

fn is_terminal(state: &str) -> bool {
    matches!(
        state,
        "SUCCEEDED" | "FAILED" | "CANCELED" | "SKIPPED" | "CACHED"
    )
}

fn show_tasks(
    client: &Client,
    id: &str,
    seen: &mut HashMap<String, String>,
    quiet: bool,
) -> Result<()> {
    let tasks = client.get(&kube(
        "tasks",
        &format!("?labelSelector=pipeline/runid={id}"),
    ))?;
    for task in tasks["items"].as_array().into_iter().flatten() {
        show(task, seen, quiet)?;
    }
    Ok(())
}

fn show(task: &Value, seen: &mut HashMap<String, String>, quiet: bool) -> Result<()> {
    let (path, state) = (text(task, "/spec/path"), text(task, "/status/state"));
    let message = text(task, "/status/message");
    let now = format!("{state} {message}");
    if state.is_empty()
        || seen
            .insert(path.into(), now.clone())
            .is_some_and(|old| old == now)
        || quiet
    {
        return Ok(());
    }
    let name = path.strip_prefix("root/").unwrap_or(path);
    output::line(format!("  {state:<10} {name}  {message}").trim_end())
}

fn ended(client: &Client, run: &Value, id: &str, format: Format) -> Result<Option<ExitCode>> {
    let state = text(run, "/status/state");
    if !is_terminal(state) {
        return Ok(None);
    }
    if format == Format::Json {
        output::json(&client.get(&format!("{RUNS}/{id}"))?)?;
    } else {
        let message = text(run, "/status/message");
        output::line(format!("{state}  {message}").trim_end())?;
    }
    Ok(Some(match state {
        "SUCCEEDED" | "SKIPPED" => ExitCode::SUCCESS,
        _ => ExitCode::from(2),
    }))
}

impl RunsArgs {
    /// Carries it out.
    ///
    /// # Errors
    /// The box's own message.
    pub fn run(self) -> Result<ExitCode> {
        let client = Client::new(&self.connection)?;
        let as_json = self.connection.output == Format::Json;
        if let Some(id) = self.id {
            let run = client.get(&format!("{RUNS}/{id}"))?;
            if as_json {
                output::json(&run)?;
            } else {
                show_run(&client, &run, &id)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let list = client.get(&format!(
            "{RUNS}?page_size={}&sort_by=created_at%20desc",
            self.limit.clamp(1, 200)
        ))?;
        if as_json {
            output::json(&list)?;
            return Ok(ExitCode::SUCCESS);
        }
        let runs = list["runs"].as_array().cloned().unwrap_or_default();
        if runs.is_empty() {
            output::line("no runs yet: start one with `kfbox run FILE`")?;
            return Ok(ExitCode::SUCCESS);
        }
        let rows: Vec<_> = runs
            .iter()
            .map(|r| {
                vec![
                    text(r, "/run_id").into(),
                    text(r, "/state").into(),
                    output::age(text(r, "/created_at")),
                    text(r, "/display_name").into(),
                ]
            })
            .collect();
        output::table(&["ID", "STATE", "AGE", "NAME"], &rows)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn show_run(client: &Client, run: &Value, id: &str) -> Result<()> {
    output::line(&format!(
        "{}  {}",
        text(run, "/display_name"),
        text(run, "/state")
    ))?;
    if let Some(message) = run.pointer("/error/message").and_then(Value::as_str) {
        output::line(message)?;
    }
    let mut seen = HashMap::new();
    show_tasks(client, id, &mut seen, false)
}

impl LogsArgs {
    /// Carries it out.
    ///
    /// # Errors
    /// The box's own message.
    pub fn run(self) -> Result<ExitCode> {
        let client = Client::new(&self.connection)?;
        let tasks = client.get(&kube(
            "tasks",
            &format!("?labelSelector=pipeline/runid={}", self.run),
        ))?;
        let wanted = |task: &&Value| {
            !text(task, "/status/podName").is_empty()
                && self
                    .task
                    .as_ref()
                    .is_none_or(|t| text(task, "/spec/path") == t || text(task, "/spec/name") == t)
        };
        let tasks: Vec<&Value> = tasks["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(wanted)
            .collect();
        if tasks.is_empty() {
            let what = self
                .task
                .as_deref()
                .map_or_else(String::new, |t| format!(" of task \"{t}\""));
            bail!(
                "run {} has no logs{what}: nothing has started there (see `kfbox runs {0}`)",
                self.run
            );
        }
        for task in &tasks {
            if tasks.len() > 1 {
                output::line(&format!("==> {} <==", text(task, "/spec/path")))?;
            }
            let pod = text(task, "/status/podName");
            let path = format!(
                "/api/v1/namespaces/{NAMESPACE}/pods/{pod}/log?follow={}&timestamps={}",
                self.follow, self.timestamps
            );
            for line in client.lines(&path)? {
                output::line(&line?)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
