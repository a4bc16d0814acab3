//! `kfbox`: Kubeflow in one process, on one box, without Kubernetes. Parses the command line and hands over;
//! everything a command does is in `cli`, everything the daemon does in `serve` and below.

mod cli;
mod config;
mod controller;
mod dns;
mod driver;
mod events;
mod images;
mod metrics;
mod node;
mod pipeline;
mod reconcile;
mod runtime;
mod serve;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(e) => {
            eprintln!("kfbox: {e:#}");
            ExitCode::FAILURE
        }
    }
}
