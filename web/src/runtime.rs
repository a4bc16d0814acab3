//! The one bend in the data flow: live bytes of containers go from the driver straight to a client.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use kfbox_store::{Object, Result};

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

/// A container's output, piece by piece.
pub type LogStream = BoxStream<'static, Result<Bytes>>;

/// What the daemon offers to the sockets. It reads the world and never changes it.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// A pod's output, stdout and stderr as they came; readable after the container is gone.
    ///
    /// # Errors
    /// `NotFound` when the pod never wrote a log, `Invalid` for an unknown container, `Unavailable` when the
    /// container engine does not answer.
    async fn logs(&self, pod: &Object, options: LogOptions) -> Result<LogStream>;
}
