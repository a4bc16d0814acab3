//! Answers `web`'s questions for live bytes of containers: logs.

use async_trait::async_trait;
use kfbox_store::{Object, Result};
use kfbox_web::{LogOptions, LogStream, Runtime};

use crate::reconcile::{Ctx, pod};

/// The daemon's side of the one bend in the data flow.
pub struct Live(pub Ctx);

#[async_trait]
impl Runtime for Live {
    async fn logs(&self, pod: &Object, options: LogOptions) -> Result<LogStream> {
        pod::logs(&self.0, pod, options).await
    }
}
