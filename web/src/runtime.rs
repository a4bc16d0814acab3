//! The one bend in the data flow: live bytes of containers go from the driver straight to a client.

use std::{pin::Pin, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use kfbox_store::{Object, Result};
use tokio::io::{AsyncRead, AsyncWrite};

/// Which part of a container's output is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// The container; `None` = the only one.
    pub container: Option<String>,
    /// The output before the last restart.
    pub previous: bool,
    /// Go on until the container ends.
    pub follow: bool,
    /// Start each line with its RFC 3339 time and a space.
    pub timestamps: bool,
    /// Only this many last lines.
    pub tail_lines: Option<u64>,
    /// Only what was written at or after this time.
    pub since: Option<jiff::Timestamp>,
}

/// What to run in a container, and which of its streams are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecOptions {
    /// The container; `None` = the Pod's default one.
    pub container: Option<String>,
    /// The command; empty = join the container's own process (attach).
    pub command: Vec<String>,
    /// Whether there will be input.
    pub stdin: bool,
    /// Whether the output is wanted.
    pub stdout: bool,
    /// Whether the error output is wanted.
    pub stderr: bool,
    /// Whether it runs on a terminal.
    pub tty: bool,
}

/// A piece of a process' output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output, or a terminal's.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
}

/// A process in a container that a client talks to.
pub struct Session {
    /// Its standard input; shutting it down tells the process that no more comes.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
    /// Its output, until it ends.
    pub output: BoxStream<'static, Result<Output>>,
    /// Its terminal and its end.
    pub control: Arc<dyn Control>,
}

/// What can be asked of a process beside its streams.
#[async_trait]
pub trait Control: Send + Sync {
    /// Gives its terminal a size in characters.
    ///
    /// # Errors
    /// When the engine refuses.
    async fn resize(&self, width: u16, height: u16) -> Result<()>;
    /// Its exit code, once its output has ended; `None` when nobody knows (a container that goes on).
    ///
    /// # Errors
    /// When the engine does not answer.
    async fn exit_code(&self) -> Result<Option<i64>>;
}

/// A connection to a port of a Pod.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A container's output, piece by piece.
pub type LogStream = BoxStream<'static, Result<Bytes>>;

/// What fills the box's disk, beside the buckets.
#[derive(Clone, Debug, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskUse {
    /// Bytes of the file system with the data folder.
    pub total: u64,
    /// Bytes that are free there.
    pub free: u64,
    /// What the box keeps in its data folder.
    pub parts: Vec<DiskPart>,
    /// The engine's images; layers that several share are counted for each. Absent when the engine does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<u64>,
}

/// A part of the data folder.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskPart {
    /// Its path below the data folder.
    pub path: String,
    /// What is in it, for people.
    pub about: &'static str,
    /// Bytes on the disk; a file with several names counts once.
    pub bytes: u64,
}

/// How much there is of something, and how much of it nobody has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Share<T> {
    /// What Pods can have.
    pub total: T,
    /// What no Pod has asked for.
    pub free: T,
}

/// What the box has for Pods.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Room {
    /// CPUs.
    pub cpu: Share<f64>,
    /// Bytes of memory.
    pub memory: Share<u64>,
    /// Bytes of the file system with the data folder; free = not written.
    pub disk: Share<u64>,
}

/// An image on the box that says what it is for, by the label `kfbox.dev/use`.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct ReadyImage {
    /// Its name, with tag.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// A sentence on what is in it.
    pub about: String,
    /// What it is for, such as `notebook`.
    #[serde(rename = "use")]
    pub purpose: String,
    /// Bytes of its layers.
    pub size: u64,
}

/// What the daemon offers to the sockets. It reads the world and never changes it.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// A pod's output, stdout and stderr as they came; readable after the container is gone.
    ///
    /// # Errors
    /// `NotFound` when the pod never wrote a log, `Invalid` for an unknown container, `Unavailable` when the
    /// container engine does not answer.
    async fn logs(&self, pod: &Object, options: LogOptions) -> Result<LogStream>;
    /// Starts a command in a running container of a pod, or joins its own process.
    ///
    /// # Errors
    /// `Invalid` for an unknown container or one that does not run, `Unavailable` without an engine.
    async fn exec(&self, pod: &Object, options: ExecOptions) -> Result<Session>;
    /// Connects to a port of a pod.
    ///
    /// # Errors
    /// `Invalid` when the pod has no address, `Unavailable` when nobody listens there.
    async fn connect(&self, pod: &Object, port: u16) -> Result<Box<dyn Duplex>>;
    /// What the box has for Pods, and what of it is free.
    ///
    /// # Errors
    /// When the file system cannot be asked.
    async fn room(&self) -> Result<Room>;
    /// Images on the box that say what they are for.
    ///
    /// # Errors
    /// `Unavailable` without an engine.
    async fn ready_images(&self) -> Result<Vec<ReadyImage>>;
    /// What fills the disk. Walks the data folder, which takes a while.
    ///
    /// # Errors
    /// When the folder cannot be read.
    async fn disk_use(&self) -> Result<DiskUse>;
}
