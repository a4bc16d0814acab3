//! The Docker engine as the tests see it, through the `docker` command: what a box has there, what was started,
//! and engines of a test's own that may be stopped and killed.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{seconds, until};

/// The label that a box puts on all it makes.
const BOX_LABEL: &str = "kfbox.dev/box";

/// An engine: the machine's, or one of the test's own.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    /// Where it listens; `None` = where `docker` looks by itself.
    pub host: Option<String>,
}

impl Engine {
    /// A `docker` command to this engine.
    pub fn docker<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("docker");
        if let Some(host) = &self.host {
            command.args(["--host", host]);
        }
        command.args(args).stdin(Stdio::null());
        command
    }

    /// What a `docker` command prints.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn output(&self, args: &[&str]) -> Result<String> {
        let out = self.docker(args).output().context("the docker command")?;
        let said = String::from_utf8_lossy(&out.stderr);
        ensure!(out.status.success(), "docker {}: {said}", args.join(" "));
        Ok(String::from_utf8_lossy(&out.stdout).trim().to_string())
    }

    /// Names of the box's containers, ended ones too, without sandboxes.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn containers(&self, box_id: &str) -> Result<Vec<String>> {
        self.by_role(box_id, false)
    }

    /// Names of the box's sandboxes: the containers that hold the others' network.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn sandboxes(&self, box_id: &str) -> Result<Vec<String>> {
        self.by_role(box_id, true)
    }

    fn by_role(&self, box_id: &str, sandbox: bool) -> Result<Vec<String>> {
        let filter = format!("label={BOX_LABEL}={box_id}");
        let format = "{{.Names}} {{.Label \"kfbox.dev/role\"}}";
        let rows = self.output(&["ps", "--all", "--filter", &filter, "--format", format])?;
        let rows = rows
            .lines()
            .map(|row| row.split_once(' ').unwrap_or((row, "")));
        Ok(rows
            .filter(|(_, role)| (*role == "sandbox") == sandbox)
            .map(|(name, _)| name.to_string())
            .collect())
    }

    /// Removes all that a box has in the engine.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn clean(&self, box_id: &str) -> Result<()> {
        let filter = format!("label={BOX_LABEL}={box_id}");
        // A daemon asks for its network as it starts; killed early, the engine makes it when nobody waits any more.
        let network = ["network", "ls", "--quiet", "--filter", &filter];
        let _ = until("its network", seconds(3), || {
            Ok((!self.output(&network)?.is_empty()).then_some(()))
        });
        for (list, remove) in [
            (
                &["ps", "--all", "--quiet"][..],
                &["rm", "--force", "--volumes"][..],
            ),
            (&["network", "ls", "--quiet"], &["network", "rm"]),
            (&["images", "--quiet"], &["rmi", "--force"]),
        ] {
            let ids = self.output(&[list, &["--filter", &filter]].concat())?;
            // One by one: an engine may lock itself up when very many leave a network at once. One that ends at
            // this moment is removed by the engine itself.
            for id in ids.lines() {
                let _ = self.output(&[remove, &[id]].concat());
            }
        }
        Ok(())
    }

    /// Counts from now on how often each Pod's container is started.
    ///
    /// # Errors
    /// When `docker events` cannot be run.
    pub fn count_starts(&self, box_id: &str) -> Result<Starts> {
        let file = tempfile::NamedTempFile::new()?;
        let child = self
            .docker([
                "events",
                "--filter",
                "type=container",
                "--filter",
                "event=start",
            ])
            .args(["--filter", &format!("label={BOX_LABEL}={box_id}")])
            .args([
                "--format",
                "{{index .Actor.Attributes \"io.kubernetes.pod.name\"}} {{index .Actor.Attributes \"kfbox.dev/role\"}}",
            ])
            .args(["--since", "0"])
            .stdout(file.reopen()?)
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Starts { file, child })
    }
}

/// A listener for container starts.
pub struct Starts {
    file: tempfile::NamedTempFile,
    child: Child,
}

impl Starts {
    /// Starts seen so far, by Pod.
    ///
    /// # Errors
    /// When the listener has ended.
    pub fn seen(&mut self) -> Result<BTreeMap<String, u32>> {
        ensure!(self.child.try_wait()?.is_none(), "docker events has ended");
        let mut seen = BTreeMap::new();
        for row in fs::read_to_string(self.file.path())?.lines() {
            let Some((pod, "")) = row.split_once(' ') else {
                continue;
            };
            *seen.entry(pod.to_string()).or_default() += 1;
        }
        Ok(seen)
    }
}

impl Drop for Starts {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Docker engine of the test's own, beside the machine's: other folders, other socket, other networks.
pub struct OwnEngine {
    folder: TempDir,
    bridge: String,
    daemon: Option<Child>,
}

impl OwnEngine {
    /// Starts one, without images.
    ///
    /// # Errors
    /// When `dockerd` does not come up, with the end of its log.
    pub fn start() -> Result<Self> {
        // Not /tmp: overlay needs a disk file system.
        let folder = tempfile::Builder::new()
            .prefix("kfbox-engine-")
            .tempdir_in("/var/tmp")?;
        let bridge = add_bridge()?;
        let mut engine = Self {
            folder,
            bridge,
            daemon: None,
        };
        engine.up()?;
        Ok(engine)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn socket(&self) -> String {
        format!("unix://{}", self.path("docker.sock").display())
    }

    /// How to call it.
    pub fn engine(&self) -> Engine {
        Engine {
            host: Some(self.socket()),
        }
    }

    /// Brings images over from another engine.
    ///
    /// # Errors
    /// When either engine refuses.
    pub fn take_images(&self, from: &Engine, images: &[&str]) -> Result<()> {
        let file = self.path("images.tar");
        let file = file.to_str().context("a path in UTF-8")?;
        from.output(&[&["save", "--output", file], images].concat())?;
        self.engine()
            .output(&["load", "--quiet", "--input", file])?;
        Ok(fs::remove_file(file)?)
    }

    /// Starts it again.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn up(&mut self) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))?;
        let name = self
            .folder
            .path()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let daemon = Command::new("dockerd")
            .arg("--host")
            .arg(self.socket())
            .arg("--data-root")
            .arg(self.path("data"))
            .arg("--exec-root")
            .arg(self.path("run"))
            .arg("--pidfile")
            .arg(self.path("pid"))
            .args([
                "--containerd-namespace",
                &name,
                "--containerd-plugins-namespace",
                &format!("{name}-plugins"),
            ])
            // The machine's engine owns docker0 and the firewall. A bridge of its own, because a dockerd without any
            // ("none") removes docker0 when it starts.
            .args([
                "--bridge",
                &self.bridge,
                "--iptables=false",
                "--ip6tables=false",
                "--shutdown-timeout",
                "5",
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("dockerd, of the package docker.io")?;
        self.daemon = Some(daemon);
        let engine = self.engine();
        until("the test's own dockerd answers", seconds(60), || {
            let ended = self
                .daemon
                .as_mut()
                .map(Child::try_wait)
                .transpose()?
                .flatten();
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            ensure!(ended.is_none(), "dockerd ended: {}", log());
            Ok(engine.output(&["version"]).ok())
        })?;
        Ok(())
    }

    /// Ends it, by a signal such as TERM or KILL, and waits until it has ended.
    ///
    /// # Errors
    /// When it does not end.
    pub fn down(&mut self, signal: &str) -> Result<()> {
        if let Some(mut daemon) = self.daemon.take() {
            signal_to(daemon.id(), signal)?;
            until("dockerd ends", seconds(60), || Ok(daemon.try_wait()?))?;
        }
        // A containerd that dockerd had started dies with it; while its process id lingers, a new dockerd would
        // take it for alive and wait for it.
        let file = self.path("run/containerd/containerd.pid");
        if let Ok(pid) = fs::read_to_string(&file) {
            let process = PathBuf::from(format!("/proc/{}/exe", pid.trim()));
            until("containerd ends", seconds(20), || {
                Ok(fs::read_link(&process).is_err().then_some(()))
            })?;
            fs::remove_file(&file)?;
        }
        Ok(())
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if self.daemon.is_none() && !self.path("pid").exists() {
            remove_bridge(&self.bridge);
            return;
        }
        // What a killed dockerd left running is ended by a new one that is shut down in order.
        let _ = self.daemon.is_some() || self.up().is_ok();
        let all = self
            .engine()
            .output(&["ps", "--all", "--quiet"])
            .unwrap_or_default();
        let mut remove = self.engine().docker(["rm", "--force"]);
        let _ = remove.args(all.lines()).output();
        let _ = self.down("TERM");
        unmount_below(self.folder.path());
        remove_bridge(&self.bridge);
    }
}

/// A network bridge with a random name and a random private /24.
fn add_bridge() -> Result<String> {
    let id: u16 = rand::random();
    let name = format!("kfbt-{id:04x}");
    let address = format!("10.{}.{}.1/24", 200 + (id >> 8) % 50, id & 0xff);
    for arguments in [
        &["link", "add", &name, "type", "bridge"][..],
        &["addr", "add", &address, "dev", &name],
        &["link", "set", &name, "up"],
    ] {
        let done = Command::new("ip")
            .args(arguments)
            .output()
            .context("ip, of the package iproute2")?;
        let why = String::from_utf8_lossy(&done.stderr).into_owned();
        ensure!(done.status.success(), "ip {}: {why}", arguments.join(" "));
    }
    Ok(name)
}

fn remove_bridge(name: &str) {
    let _ = Command::new("ip").args(["link", "del", name]).output();
}

/// A killed engine leaves mounts in its folder, which keep it from being removed.
fn unmount_below(folder: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for target in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        if Path::new(target).starts_with(folder) {
            let _ = Command::new("umount").args(["--lazy", target]).output();
        }
    }
}

/// Sends a signal to one process.
///
/// # Errors
/// When there is no such process.
pub fn signal_to(pid: u32, signal: &str) -> Result<()> {
    let sent = Command::new("kill")
        .args(["-s", signal, &pid.to_string()])
        .status()?;
    ensure!(sent.success(), "no process {pid}");
    Ok(())
}
