//! The only thing that touches containers. A driver knows nothing of Pods' meaning, runs or rooms: it is given
//! a fully worked-out [`Want`] and reports what it sees. Today one driver exists: Docker.
//!
//! Observation has three values: absent (`Ok(None)`), known (`Ok(Some)`), unknown (`Err`). Unknown means look
//! again later, never guess.

pub mod docker;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use kfbox_store::{Code, Error, Result};
use kfbox_web::{ExecOptions, ReadyImage, Session};

/// Label on everything a box makes in the engine: the box's id. Boxes never touch each other's workloads.
pub const BOX_LABEL: &str = "kfbox.dev/box";
/// Label on images that say what they are for, such as `notebook`.
pub const USE_LABEL: &str = "kfbox.dev/use";
/// Labels that lead from a container back to its Pod.
pub const NAMESPACE_LABEL: &str = "io.kubernetes.pod.namespace";
/// See [`NAMESPACE_LABEL`].
pub const POD_LABEL: &str = "io.kubernetes.pod.name";
/// See [`NAMESPACE_LABEL`].
pub const UID_LABEL: &str = "io.kubernetes.pod.uid";
/// The container's name in its Pod.
pub const CONTAINER_LABEL: &str = "io.kubernetes.container.name";
/// On a sandbox: [`SANDBOX_ROLE`].
pub const ROLE_LABEL: &str = "kfbox.dev/role";
/// See [`ROLE_LABEL`].
pub const SANDBOX_ROLE: &str = "sandbox";

/// One container of a Pod, fully worked out: nothing is left for the engine to default that matters for safety.
/// Network, names and addresses are its sandbox's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Want {
    /// Deterministic: made from box, namespace, Pod name and uid, container name and the number of restarts, so
    /// that a crash between create and record finds the same container again.
    pub name: String,
    /// The container's name in its Pod, for a label.
    pub container: String,
    /// An image that is on the box.
    pub image: String,
    /// Replaces the image's entrypoint when not empty.
    pub command: Vec<String>,
    /// Replaces the image's default arguments when not empty.
    pub args: Vec<String>,
    /// `NAME`, `value`.
    pub env: Vec<(String, String)>,
    /// Working directory; empty = the image's.
    pub working_dir: String,
    /// `uid[:gid]`; empty = the image's.
    pub user: String,
    /// Supplemental groups.
    pub groups: Vec<String>,
    /// What root may do besides the usual; only of what an engine gives a container anyway.
    pub add_capabilities: Vec<String>,
    /// What root may not do, of the usual; "ALL" = nothing but what is added.
    pub drop_capabilities: Vec<String>,
    /// Pod identity, for labels.
    pub pod: PodId,
    /// Bytes of memory, swap included.
    pub memory: u64,
    /// CPUs in billionths; 0 = no limit.
    pub nano_cpus: u64,
    /// Bytes of a /dev/shm of its own; 0 = the sandbox's, shared with the Pod's other containers that say 0.
    pub shm: u64,
    /// Folders in memory: where, and how many bytes at most.
    pub tmpfs: Vec<(String, u64)>,
    /// Folders of the host, all inside the box's data folder.
    pub mounts: Vec<Mount>,
    /// The engine's id of the sandbox whose network it joins; never empty.
    pub sandbox: String,
    /// Whether it sees the processes of the sandbox and of the other containers that say so.
    pub share_pid: bool,
    /// Whether its own file system is read-only.
    pub read_only_root: bool,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its stdin is kept open, to attach to.
    pub stdin: bool,
    /// Whether its stdin ends with the first that was attached to it.
    pub stdin_once: bool,
}

/// A sandbox: a container that only holds a Pod's network, names and, when asked, shared memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SandboxWant {
    /// Deterministic, as [`Want::name`].
    pub name: String,
    /// An image that has `sleep`.
    pub image: String,
    /// Pod identity, for labels. A sandbox of the pool has the namespace only.
    pub pod: PodId,
    /// Host name inside.
    pub hostname: String,
    /// Name of the network.
    pub network: String,
    /// Name servers behind the engine's own, in order.
    pub dns: Vec<IpAddr>,
    /// Domains in which short names are looked up.
    pub search: Vec<String>,
    /// Further names in /etc/hosts.
    pub hosts: Vec<(String, IpAddr)>,
    /// Bytes of a /dev/shm that containers share; 0 = none.
    pub shm: u64,
}

/// Which Pod a container belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PodId {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// A folder of the host inside a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// On the host.
    pub host: PathBuf,
    /// In the container.
    pub target: String,
    /// Whether the container may only read it.
    pub read_only: bool,
}

/// What the engine says of a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The engine's id.
    pub id: String,
    /// Its name in the engine.
    pub name: String,
    /// Its name in the Pod; empty for a sandbox.
    pub container: String,
    /// Whether it is a sandbox.
    pub sandbox: bool,
    /// The id of the sandbox it joins.
    pub joins: String,
    /// Its address, for a sandbox that runs.
    pub ip: Option<IpAddr>,
    /// The Pod it carries in its labels.
    pub pod: PodId,
    /// The id of its image.
    pub image_id: String,
    /// Where it is.
    pub state: State,
}

/// Where a container is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Made, never started.
    Created,
    /// Running since (RFC 3339).
    Running(String),
    /// Ended.
    Exited(Exit),
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exit {
    /// Its exit code; 128 + signal when a signal ended it.
    pub code: i32,
    /// Whether it hit its memory limit.
    pub oom: bool,
    /// RFC 3339.
    pub started_at: String,
    /// RFC 3339.
    pub finished_at: String,
    /// The engine's own complaint, when it could not run it.
    pub error: String,
    /// Whether somebody other than this daemon signalled it: the engine going down, `docker kill`, a reboot.
    pub interrupted: bool,
}

/// An image on the box.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The name it was found by.
    pub name: String,
    /// The engine's content id.
    pub id: String,
    /// Whether its default user is root.
    pub root: bool,
}

/// A namespace's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// How the engine knows it: names need not be unique there.
    pub name: String,
    /// The host's address in it: where the box answers to its workloads.
    pub gateway: IpAddr,
}

/// What a driver tells without being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Something happened to this Pod's container.
    Pod(PodId),
    /// The kernel killed a process in one of this Pod's containers, for its memory limit. The container may go on.
    Oom(PodId),
    /// The engine does not answer.
    Down,
    /// The engine answers again: everything may have changed.
    Up,
}

/// Which log lines are wanted.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    /// Go on until the container ends.
    pub follow: bool,
    /// Only the last lines.
    pub tail: Option<u64>,
    /// Only lines after this Unix second.
    pub since: Option<i64>,
}

/// An engine that runs containers.
#[async_trait]
pub trait Driver: Send + Sync {
    /// The container of this name or id, if any.
    async fn observe(&self, name: &str) -> Result<Option<Observed>>;
    /// Every container of this box.
    async fn list(&self) -> Result<Vec<Observed>>;
    /// Bytes of all images; layers that several share are counted for each.
    async fn images_size(&self) -> Result<u64>;
    /// Names of all containers of a Pod, its sandbox included.
    async fn of_pod(&self, uid: &str) -> Result<Vec<String>>;
    /// Makes it; `false` when one of this name is there already, which must then be looked at before it is
    /// started: it may have run and ended.
    async fn create(&self, want: &Want) -> Result<bool>;
    /// Makes a sandbox; `false` when one of this name is there already.
    async fn create_sandbox(&self, want: &SandboxWant) -> Result<bool>;
    /// Starts it; fine when it runs already.
    async fn start(&self, name: &str) -> Result<()>;
    /// Asks it to end, then makes it after `grace` seconds; fine when it has ended or is absent.
    async fn stop(&self, name: &str, grace: u32) -> Result<()>;
    /// Removes it; fine when it is absent.
    async fn remove(&self, name: &str) -> Result<()>;
    /// Starts a command in a running container, or joins its own process when the command is empty.
    async fn exec(&self, name: &str, options: &ExecOptions) -> Result<Session>;
    /// Its output; each line opens with an RFC 3339 time and a space.
    async fn logs(&self, name: &str, query: LogQuery) -> Result<BoxStream<'static, Result<Bytes>>>;
    /// Runs a command in it; its exit code, or `None` when it took longer than `limit`.
    async fn exec_status(
        &self,
        name: &str,
        command: &[String],
        limit: Duration,
    ) -> Result<Option<i64>>;
    /// An image on the box.
    async fn image(&self, name: &str) -> Result<Option<Image>>;
    /// Fetches an image from its registry.
    async fn pull(&self, name: &str) -> Result<()>;
    /// Keeps an ended container's file system as an image that runs as the container's image did.
    async fn commit(&self, name: &str, image: &str) -> Result<()>;
    /// Names of the images of this repository.
    async fn images(&self, repository: &str) -> Result<Vec<String>>;
    /// Images that say what they are for, by their labels.
    async fn ready_images(&self) -> Result<Vec<ReadyImage>>;
    /// Removes an image that no container uses. One that is gone already is no error.
    async fn remove_image(&self, name: &str) -> Result<()>;
    /// A namespace's network, made when missing. Remembered until a container cannot be made in it.
    async fn network(&self, namespace: &str) -> Result<Network>;
    /// Removes a namespace's network; fine when it is absent.
    async fn remove_network(&self, namespace: &str) -> Result<()>;
    /// A line on what the engine is, for `doctor` and `status`.
    async fn describe(&self) -> Result<String>;
    /// Changes, for as long as the daemon runs; survives the engine's restarts.
    fn changes(&self) -> BoxStream<'static, Change>;
}

/// The error for an engine that does not answer.
pub fn unavailable(context: impl std::fmt::Display) -> Error {
    Error::new(
        Code::Unavailable,
        "the container engine does not answer: is Docker running? (`kfbox doctor` tells more)",
    )
    .because(context)
}
