//! Commands that the box itself runs in a container, for probes: only the exit code counts.

use std::time::Duration;

use bollard::{exec::StartExecOptions, models::ExecConfig};
use kfbox_store::Result;

use super::{DockerDriver, call};

/// Between two looks at a command that runs.
const LOOK: Duration = Duration::from_millis(50);

impl DockerDriver {
    /// Runs a command in a container; `None` when it has not ended in time. The engine has no way to end it then.
    pub(super) async fn exec_to_end(
        &self,
        name: &str,
        command: &[String],
        limit: Duration,
    ) -> Result<Option<i64>> {
        let docker = self.docker()?;
        let config = ExecConfig {
            cmd: Some(command.to_vec()),
            ..Default::default()
        };
        let exec = call("exec", docker.create_exec(name, config)).await?.id;
        let options = StartExecOptions {
            detach: true,
            ..Default::default()
        };
        let run = async {
            call("exec", docker.start_exec(&exec, Some(options))).await?;
            loop {
                let seen = call("exec", docker.inspect_exec(&exec)).await?;
                if seen.running != Some(true) {
                    return Ok(seen.exit_code);
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(limit, run).await.unwrap_or(Ok(None))
    }
}
