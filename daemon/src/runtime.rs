//! Answers `web`'s questions for live bytes of containers: logs, commands, connections.

use std::time::Duration;

use async_trait::async_trait;
use kfbox_store::{
    Code, Error, Object, Result,
    kinds::core::{DEFAULT_CONTAINER, PodStatus},
};
use kfbox_web::{Duplex, ExecOptions, LogOptions, LogStream, Runtime, Session};
use tokio::net::TcpStream;

use crate::reconcile::{Ctx, pod};

/// How long a port of a Pod may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The daemon's side of the one bend in the data flow.
pub struct Live(pub Ctx);

#[async_trait]
impl Runtime for Live {
    async fn logs(&self, pod: &Object, options: LogOptions) -> Result<LogStream> {
        pod::logs(&self.0, pod, options).await
    }

    async fn exec(&self, pod: &Object, options: ExecOptions) -> Result<Session> {
        let id = running(pod, options.container.as_deref())?;
        self.0.driver.exec(&id, &options).await
    }

    async fn connect(&self, pod: &Object, port: u16) -> Result<Box<dyn Duplex>> {
        let status: PodStatus = pod.status()?;
        let name = &pod.metadata.name;
        let ip = status.pod_ip.filter(|_| !status.phase.terminal());
        let Some(ip) = ip else {
            return Err(Error::invalid(format!("pod \"{name}\" is not running")));
        };
        let refused = |why: String| {
            Error::new(
                Code::Unavailable,
                format!("pod \"{name}\" does not answer on port {port}: {why}"),
            )
        };
        let connect = TcpStream::connect(format!("{ip}:{port}"));
        let stream = tokio::time::timeout(PATIENCE, connect)
            .await
            .map_err(|_| refused("no answer".into()))?
            .map_err(|e| refused(e.to_string()))?;
        let _ = stream.set_nodelay(true);
        Ok(Box::new(stream))
    }
}

/// The engine's id of a Pod's running container.
fn running(pod: &Object, wanted: Option<&str>) -> Result<String> {
    let status: PodStatus = pod.status()?;
    let name = &pod.metadata.name;
    let wanted = wanted
        .or(pod
            .metadata
            .annotations
            .get(DEFAULT_CONTAINER)
            .map(String::as_str))
        .or(status.container_statuses.first().map(|c| c.name.as_str()))
        .ok_or_else(|| Error::invalid(format!("pod \"{name}\" has no container yet")))?;
    let mut known = status
        .container_statuses
        .iter()
        .chain(&status.init_container_statuses);
    let Some(container) = known.find(|c| c.name == wanted) else {
        return Err(Error::invalid(format!(
            "container {wanted} is not valid for pod {name}"
        )));
    };
    let runs = container
        .state
        .as_ref()
        .is_some_and(|s| s.running.is_some());
    let id = container.container_id.as_deref().unwrap_or_default();
    match id.strip_prefix("docker://") {
        Some(id) if runs => Ok(id.into()),
        _ => Err(Error::invalid(format!(
            "container \"{wanted}\" of pod \"{name}\" is not running"
        ))),
    }
}
