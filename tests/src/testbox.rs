//! A throw-away box: a `kfbox serve` of its own.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    engine::{Engine, signal_to},
    http::Client,
    seconds, text, until,
};

/// The namespace of all that a box runs.
const NAMESPACE: &str = "kubeflow";
/// A daemon that leaks must fail its test, not take the machine down.
const ADDRESS_SPACE: u64 = 4 << 30;

/// The daemon under test: `KFBOX_BIN`, else the one that Cargo built beside the tests.
///
/// # Errors
/// When it is not there.
pub fn binary() -> Result<PathBuf> {
    let path = match std::env::var_os("KFBOX_BIN") {
        Some(path) => PathBuf::from(path),
        // target/debug/deps/<test> -> target/debug/kfbox
        None => std::env::current_exe()?
            .ancestors()
            .nth(2)
            .context("the test's own folder")?
            .join("kfbox"),
    };
    ensure!(
        path.exists(),
        "{} is not there: cargo build -p kfbox, or set KFBOX_BIN",
        path.display()
    );
    Ok(path)
}

/// How a box is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Its engine.
    pub engine: Engine,
    /// The daemon, when it is another than [`binary`] says.
    pub binary: Option<PathBuf>,
    /// Its config file.
    pub config: String,
}

/// A box, gone with all it made when dropped.
pub struct TestBox {
    /// Everything it knows.
    pub data: PathBuf,
    /// A client with the admin's token.
    pub client: Client,
    /// Its id in the engine's labels.
    pub id: String,
    /// Its engine.
    pub engine: Engine,
    binary: PathBuf,
    daemon: Option<Child>,
    folder: TempDir,
}

impl TestBox {
    /// Starts a box on the machine's engine.
    ///
    /// # Errors
    /// When it does not come up, with its log.
    pub fn start() -> Result<Self> {
        Self::with(Options::default())
    }

    /// Starts a box.
    ///
    /// # Errors
    /// When it does not come up, with its log.
    pub fn with(options: Options) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kfbox-test-").tempdir()?;
        fs::write(folder.path().join("config.toml"), options.config)?;
        let mut this = Self {
            data: folder.path().join("data"),
            client: Client::new("", ""),
            id: String::new(),
            engine: options.engine,
            binary: options.binary.map_or_else(binary, Ok)?,
            daemon: None,
            folder,
        };
        this.up()?;
        Ok(this)
    }

    /// The daemon's command line for this box; `port` 0 = a free one.
    pub fn serve_command(&self, port: u16) -> Command {
        let mut command = Command::new("prlimit");
        command
            .arg(format!("--as={ADDRESS_SPACE}"))
            .arg(&self.binary)
            .arg("serve")
            .arg("--config")
            .arg(self.folder.path().join("config.toml"))
            .arg("--data-dir")
            .arg(&self.data)
            .args([
                "--port",
                &port.to_string(),
                "--kube-port",
                "0",
                "--s3-port",
                "0",
            ])
            .env_remove("KFBOX_CONFIG")
            .stdin(Stdio::null());
        if let Some(host) = &self.engine.host {
            command.args(["--docker-host", host]);
        }
        command
    }

    /// Starts the daemon and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up, with its log.
    pub fn up(&mut self) -> Result<()> {
        let endpoints = self.data.join("endpoints.json");
        // Left behind by a daemon that was killed.
        let _ = fs::remove_file(&endpoints);
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        let mut daemon = self
            .serve_command(0)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let said = until("the box is ready", seconds(30), || {
            if let Some(status) = daemon.try_wait()? {
                bail!("the daemon ended with {status}: {}", self.log());
            }
            let said = fs::read_to_string(&endpoints).ok();
            Ok(said.and_then(|text| serde_json::from_str::<Value>(&text).ok()))
        })?;
        self.daemon = Some(daemon);
        let token = fs::read_to_string(text(&said, "/admin_token_file"))?;
        self.client = Client::new(text(&said, "/ui"), token.trim());
        let marker: Value = serde_json::from_slice(&fs::read(self.data.join("box.json"))?)?;
        self.id = text(&marker, "/id").to_string();
        Ok(())
    }

    /// The daemon's process id.
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().map_or(0, Child::id)
    }

    /// kill -9.
    ///
    /// # Errors
    /// When it has already ended.
    pub fn kill9(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("no daemon runs")?;
        daemon.kill()?;
        daemon.wait()?;
        Ok(())
    }

    /// Asks the daemon to end, and waits.
    ///
    /// # Errors
    /// When it does not end, or ends with an error.
    pub fn stop(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("no daemon runs")?;
        signal_to(daemon.id(), "TERM")?;
        let status = until("the daemon ends", seconds(20), || Ok(daemon.try_wait()?))?;
        ensure!(status.success(), "it ended with {status}: {}", self.log());
        Ok(())
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What the daemon has logged, over all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// A field of /proc/PID/status in bytes: `VmRSS` now, `VmHWM` at its highest.
    ///
    /// # Errors
    /// When the daemon does not run.
    pub fn memory(&self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
        let kib: u64 = line
            .context("the field")?
            .trim()
            .trim_end_matches(" kB")
            .parse()?;
        Ok(kib * 1024)
    }

    /// Creates a run, and returns its id.
    ///
    /// # Errors
    /// When the box refuses it.
    pub fn run(&self, spec: &Value) -> Result<String> {
        self.run_with(spec, &json!({}))
    }

    /// Creates a run with parameters, and returns its id.
    ///
    /// # Errors
    /// When the box refuses it.
    pub fn run_with(&self, spec: &Value, parameters: &Value) -> Result<String> {
        let body = json!({
            "display_name": "test",
            "pipeline_spec": spec,
            "runtime_config": {"parameters": parameters},
        });
        let made = self.client.post("/apis/v2beta1/runs", &body)?.ok()?;
        Ok(text(&made, "/run_id").to_string())
    }

    /// The Run object.
    ///
    /// # Errors
    /// When the box does not answer.
    pub fn run_object(&self, id: &str) -> Result<Value> {
        self.client.get(&kfp(&format!("runs/{id}")))?.ok()
    }

    /// The Task objects of a run.
    ///
    /// # Errors
    /// When the box does not answer.
    pub fn tasks(&self, id: &str) -> Result<Vec<Value>> {
        let list = self
            .client
            .get(&kfp(&format!("tasks?labelSelector=pipeline/runid={id}")))?
            .ok()?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// One Task of a run, by its name.
    ///
    /// # Errors
    /// When there is none.
    pub fn task(&self, id: &str, name: &str) -> Result<Value> {
        let tasks = self.tasks(id)?;
        let task = tasks.into_iter().find(|t| text(t, "/spec/name") == name);
        task.with_context(|| format!("no task {name}"))
    }

    /// Waits until the run ends, and returns the Run.
    ///
    /// # Errors
    /// When it does not end in time: with its tasks and the daemon's log.
    pub fn ended(&self, id: &str, limit: Duration) -> Result<Value> {
        let end = until("the run ends", limit, || {
            let run = self.run_object(id)?;
            let over = ["SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"]
                .contains(&text(&run, "/status/state"));
            Ok(over.then_some(run))
        });
        end.with_context(|| {
            let tasks = self.tasks(id).unwrap_or_default();
            let states: Vec<_> = tasks
                .iter()
                .map(|t| format!("{} {}", text(t, "/spec/path"), t["status"]))
                .collect();
            format!("tasks:\n{}\nlog:\n{}", states.join("\n"), self.log())
        })
    }

    /// Waits until the run ends, which must be with success.
    ///
    /// # Errors
    /// When it ends otherwise.
    pub fn succeeded(&self, id: &str, limit: Duration) -> Result<Value> {
        let run = self.ended(id, limit)?;
        if text(&run, "/status/state") != "SUCCEEDED" {
            let states: Vec<_> = self
                .tasks(id)?
                .iter()
                .map(|t| format!("{} {}", text(t, "/spec/path"), t["status"]))
                .collect();
            bail!("{}\n{}", run["status"], states.join("\n"));
        }
        Ok(run)
    }

    /// The log of a task's last attempt.
    ///
    /// # Errors
    /// When the box has none.
    pub fn logs(&self, id: &str, task: &str) -> Result<String> {
        let task = self.task(id, task)?;
        let pod = text(&task, "/status/podName");
        let answer = self
            .client
            .get(&format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}/log"))?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text);
        Ok(answer.text)
    }

    /// This box's sandboxes in the engine.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn sandboxes(&self) -> Result<Vec<String>> {
        self.engine.sandboxes(&self.id)
    }

    /// This box's containers in the engine.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn containers(&self) -> Result<Vec<String>> {
        self.engine.containers(&self.id)
    }

    /// Waits until no container of the box is left in the engine.
    ///
    /// # Errors
    /// With the names of those that stay.
    pub fn no_containers(&self) -> Result<()> {
        let mut last = Vec::new();
        until("no container is left", seconds(20), || {
            last = self.containers()?;
            Ok(last.is_empty().then_some(()))
        })
        .with_context(|| last.join(" "))
    }

    /// Runs the command line on this box.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn cli<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Output> {
        let mut command = Command::new(&self.binary);
        command
            .args(args)
            .env("KFBOX_DATA_DIR", &self.data)
            .env_remove("KFBOX_HOST")
            .env_remove("KFBOX_TOKEN");
        if let Some(host) = &self.engine.host {
            command.env("DOCKER_HOST", host);
        }
        Ok(command.stdin(Stdio::null()).output()?)
    }

    /// A folder for the test's own files.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for TestBox {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if !self.id.is_empty()
            && let Err(e) = self.engine.clean(&self.id)
        {
            eprintln!("box {} leaves things in the engine: {e:#}", self.id);
        }
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

fn kfp(rest: &str) -> String {
    format!("/apis/pipelines.kubeflow.org/v2beta1/namespaces/{NAMESPACE}/{rest}")
}
