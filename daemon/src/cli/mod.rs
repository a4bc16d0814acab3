//! The command line: one file per group of commands. All but `serve`, `doctor` and `version` are plain clients
//! of the daemon's public API.

mod client;
mod data;
mod doctor;
mod kubeconfig;
mod notebook;
mod output;
mod run;
mod s3;
mod token;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::{
    config::{Config, DEFAULT_CONFIG},
    serve,
};

/// Kubeflow on one box, in one process, without Kubernetes.
///
/// Start the daemon with `kfbox serve`, then open the link that `kfbox token login` prints, or point the kfp
/// SDK at it: kfp.Client(host="http://127.0.0.1:8080", existing_token=open(".../admin.token").read()).
#[derive(Parser)]
#[command(name = "kfbox", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// How commands find the daemon and how they print.
#[derive(Args, Clone)]
pub struct Connection {
    /// The data folder of the box: its address and the admin's token are found there
    #[arg(long, global = true, env = "KFBOX_DATA_DIR", default_value = crate::config::DEFAULT_DATA_DIR, value_name = "DIR")]
    data_dir: PathBuf,
    /// The address of the box, such as http://127.0.0.1:8080, instead of --data-dir
    #[arg(long, env = "KFBOX_HOST", value_name = "URL", global = true)]
    host: Option<String>,
    /// An API token, with --host
    #[arg(
        long,
        env = "KFBOX_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        global = true
    )]
    token: Option<String>,
    /// How to print
    #[arg(long, short, value_enum, default_value_t, global = true)]
    output: Format,
}

impl Connection {
    /// The box's data folder.
    pub fn data_dir(&self) -> &std::path::Path {
        &self.data_dir
    }
}

/// How to print.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Serve(ServeArgs),
    /// Show what the box is doing: runs, pods, what waits and why
    Status(Connection),
    /// Check everything the box needs, with evidence and the mend for each
    Doctor(Connection),
    /// Log in to the browser, and make, list or revoke API tokens
    Token(token::TokenArgs),
    /// Write what kubectl and the SDKs need to reach the box
    Kubeconfig(kubeconfig::KubeconfigArgs),
    /// Make, list or revoke keys to the S3 endpoint
    S3(s3::S3Args),
    /// Notebooks: make, list, start, stop and delete servers to work in
    Notebook(notebook::NotebookArgs),
    /// Data sets with versions: commit what a bucket's folder holds, tag it, compare it
    Data(data::DataArgs),
    /// Start a run of a compiled pipeline (.yaml or .json)
    Run(run::RunArgs),
    /// List runs, newest first; or show one with its tasks
    Runs(run::RunsArgs),
    /// Print the logs of a run's steps
    Logs(run::LogsArgs),
    /// Print the version
    Version {
        /// How to print
        #[arg(long, short, value_enum, default_value_t)]
        output: Format,
    },
    /// Print a completion script: kfbox completion bash > /etc/bash_completion.d/kfbox
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Settings of the daemon; each overrides the config file.
#[derive(Args)]
struct ServeArgs {
    /// The config file [default: /etc/kfbox/config.toml when it is there]
    #[arg(long, env = "KFBOX_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The one folder that holds everything the box knows [default: /var/lib/kfbox]
    #[arg(long, env = "KFBOX_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Loopback port of the UI and the KFP API; 0 picks a free one [default: 8080]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Loopback port of the Kubernetes-shaped API (TLS); 0 picks a free one [default: 6443]
    #[arg(long, value_name = "PORT")]
    kube_port: Option<u16>,
    /// Loopback port of the S3 endpoint; 0 picks a free one [default: 9000]
    #[arg(long, value_name = "PORT")]
    s3_port: Option<u16>,
    /// The Docker engine [default: unix:///var/run/docker.sock]
    #[arg(long, env = "DOCKER_HOST", value_name = "URL")]
    docker_host: Option<String>,
    /// Log as JSON lines
    #[arg(long)]
    log_json: bool,
    /// Print the settings in force and exit
    #[arg(long)]
    print_config: bool,
}

impl Cli {
    /// Carries the command out.
    ///
    /// # Errors
    /// With a message for the user; the exit code is then 1.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Serve(args) => args.run(),
            Command::Status(connection) => output::status(&connection),
            Command::Doctor(connection) => doctor::doctor(&connection),
            Command::S3(args) => args.run(),
            Command::Notebook(args) => args.run(),
            Command::Data(args) => args.run(),
            Command::Token(args) => args.run(),
            Command::Kubeconfig(args) => args.run(),
            Command::Run(args) => args.run(),
            Command::Runs(args) => args.run(),
            Command::Logs(args) => args.run(),
            Command::Version { output } => {
                let version = env!("CARGO_PKG_VERSION");
                match output {
                    Format::Text => output::line(&format!("kfbox {version}"))?,
                    Format::Json => output::json(&serde_json::json!({"version": version}))?,
                }
                Ok(ExitCode::SUCCESS)
            }
            Command::Completion { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Self::command(), "kfbox", &mut script);
                output::line(&String::from_utf8_lossy(&script))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl ServeArgs {
    fn run(self) -> Result<ExitCode> {
        let config = self.config()?;
        if self.print_config {
            output::line(&toml::to_string_pretty(&config)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        // s3s logs every refusal of a client as an error of ours.
        let filter = tracing_subscriber::EnvFilter::try_from_env("KFBOX_LOG")
            .unwrap_or_else(|_| "info,s3s=off".into());
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr);
        if self.log_json {
            log.json().init();
        } else {
            log.init();
        }
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            // Reads and writes of metadata and bytes: short, and none waits for a client.
            .max_blocking_threads(64)
            .thread_keep_alive(std::time::Duration::from_secs(2))
            .build()?
            .block_on(serve::serve(config))?;
        Ok(ExitCode::SUCCESS)
    }

    fn config(&self) -> Result<Config> {
        let default = PathBuf::from(DEFAULT_CONFIG);
        let mut config = match &self.config {
            Some(path) => Config::read(path)?,
            // A throw-away box names its own folder and must not pick up the installed box's settings.
            None if self.data_dir.is_none() && default.exists() => Config::read(&default)?,
            None => Config::default(),
        };
        if let Some(dir) = &self.data_dir {
            config.data_dir.clone_from(dir);
        }
        config.port = self.port.unwrap_or(config.port);
        config.kube_port = self.kube_port.unwrap_or(config.kube_port);
        config.s3_port = self.s3_port.unwrap_or(config.s3_port);
        if let Some(host) = &self.docker_host {
            config.docker_host.clone_from(host);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
