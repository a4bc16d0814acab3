//! Commands that clients run in containers, with their streams: exec and attach.

use std::sync::Arc;

use async_trait::async_trait;
use bollard::{
    Docker,
    container::LogOutput,
    exec::{ResizeExecOptions, StartExecOptions, StartExecResults},
    models::ExecConfig,
    query_parameters as query,
};
use futures::StreamExt;
use kfbox_store::{Error, Result};
use kfbox_web::{Control, ExecOptions, Output, Session};

use super::{DockerDriver, call, translate};

/// Bytes of output that the engine's client hands on at a time.
const PIECE: usize = 64 << 10;

impl DockerDriver {
    /// A command's session, or the container's own when there is no command.
    pub(super) async fn session(&self, name: &str, options: &ExecOptions) -> Result<Session> {
        let docker = self.docker()?;
        if options.command.is_empty() {
            let attach = query::AttachContainerOptions {
                stream: true,
                stdin: options.stdin,
                stdout: options.stdout,
                stderr: options.stderr,
                ..Default::default()
            };
            let attached = call("attach", docker.attach_container(name, Some(attach))).await?;
            let control = Container(docker.clone(), name.into());
            return Ok(Session {
                input: attached.input,
                output: attached.output.map(piece).boxed(),
                control: Arc::new(control),
            });
        }
        let config = ExecConfig {
            attach_stdin: Some(options.stdin),
            attach_stdout: Some(options.stdout),
            attach_stderr: Some(options.stderr),
            tty: Some(options.tty),
            cmd: Some(options.command.clone()),
            ..Default::default()
        };
        let id = call("exec", docker.create_exec(name, config)).await?.id;
        let start = StartExecOptions {
            detach: false,
            tty: options.tty,
            output_capacity: Some(PIECE),
        };
        match call("exec", docker.start_exec(&id, Some(start))).await? {
            StartExecResults::Attached { output, input } => Ok(Session {
                input,
                output: output.map(piece).boxed(),
                control: Arc::new(Exec(docker.clone(), id)),
            }),
            StartExecResults::Detached => Err(Error::internal("the engine started it detached")),
        }
    }
}

fn piece(piece: std::result::Result<LogOutput, bollard::errors::Error>) -> Result<Output> {
    match piece.map_err(|e| translate("exec", e))? {
        LogOutput::StdErr { message } => Ok(Output::Stderr(message)),
        LogOutput::StdOut { message }
        | LogOutput::StdIn { message }
        | LogOutput::Console { message } => Ok(Output::Stdout(message)),
    }
}

struct Exec(Docker, String);

#[async_trait]
impl Control for Exec {
    async fn resize(&self, width: u16, height: u16) -> Result<()> {
        let size = ResizeExecOptions { height, width };
        call("resize", self.0.resize_exec(&self.1, size)).await
    }

    async fn exit_code(&self) -> Result<Option<i64>> {
        // The output may end a moment before the engine has seen the process end.
        for _ in 0..200 {
            let seen = call("exec", self.0.inspect_exec(&self.1)).await?;
            if seen.running != Some(true) {
                return Ok(seen.exit_code);
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        // It closed its output and goes on.
        Ok(None)
    }
}

struct Container(Docker, String);

#[async_trait]
impl Control for Container {
    async fn resize(&self, width: u16, height: u16) -> Result<()> {
        let size = query::ResizeContainerTTYOptions {
            h: height.into(),
            w: width.into(),
        };
        call("resize", self.0.resize_container_tty(&self.1, size)).await
    }

    async fn exit_code(&self) -> Result<Option<i64>> {
        let inspect = self
            .0
            .inspect_container(&self.1, None::<query::InspectContainerOptions>);
        let state = call("inspect", inspect).await?.state.unwrap_or_default();
        Ok(state.exit_code.filter(|_| state.running != Some(true)))
    }
}
