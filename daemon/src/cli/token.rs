//! `kfbox token`: browser logins and API tokens.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Connection, Format,
    client::{Client, NAMESPACE},
    kubeconfig::RoleArg,
    output::{self, text},
};

const TOKENS: &str = "/apis/kfbox.dev/v1alpha1/tokens";

/// `kfbox token ...`
#[derive(Args)]
pub struct TokenArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Print a link that logs a browser in, once, within 15 minutes
    Login {
        /// Whose session it will be
        #[arg(long, default_value = "admin")]
        user: String,
    },
    /// Make an API token and print it; it is not shown again
    Create {
        /// Whose it is
        #[arg(long, default_value = "admin")]
        user: String,
        /// What it may do
        #[arg(long, value_enum, default_value = "admin")]
        role: RoleArg,
        /// The namespaces it opens, unless the role is admin
        #[arg(long, short, default_value = NAMESPACE)]
        namespace: Vec<String>,
        /// How long it is good for, such as 12h or 30d [default: for ever]
        #[arg(long)]
        ttl: Option<String>,
        /// A word on what it is for
        #[arg(long, default_value = "")]
        note: String,
    },
    /// List tokens (never their secrets)
    List,
    /// Revoke a token by its name
    Revoke {
        /// As `kfbox token list` shows it
        name: String,
    },
}

impl TokenArgs {
    /// Carries it out.
    ///
    /// # Errors
    /// The box's own message.
    pub fn run(self) -> Result<ExitCode> {
        let client = Client::new(&self.connection)?;
        let as_json = self.connection.output == Format::Json;
        match self.command {
            TokenCommand::Login { user } => {
                let spec = json!({"spec": {"user": user, "use": "login", "ttl": "15m"}});
                let made = client.post(TOKENS, &spec)?;
                let url = format!(
                    "{}/login#token={}",
                    client.base,
                    text(&made, "/status/token")
                );
                if as_json {
                    output::json(&json!({"url": url}))?;
                } else {
                    output::line(&url)?;
                }
            }
            TokenCommand::Create {
                user,
                role,
                namespace,
                ttl,
                note,
            } => {
                let mut spec = json!({"user": user, "use": "api", "note": note});
                if let Some(ttl) = ttl {
                    spec["ttl"] = ttl.into();
                }
                if let Some(scope) = role.scope(&namespace) {
                    spec["scope"] = scope;
                }
                let made = client.post(TOKENS, &json!({"spec": spec}))?;
                if as_json {
                    output::json(&made)?;
                } else {
                    output::line(text(&made, "/status/token"))?;
                }
            }
            TokenCommand::List => {
                let list = client.get(TOKENS)?;
                if as_json {
                    output::json(&list)?;
                } else {
                    let items = list["items"].as_array().cloned().unwrap_or_default();
                    let rows: Vec<_> = items.iter().map(row).collect();
                    output::table(&["NAME", "USER", "USE", "EXPIRES", "AGE", "NOTE"], &rows)?;
                }
            }
            TokenCommand::Revoke { name } => {
                client.delete(&format!("{TOKENS}/{name}"))?;
                output::line(&format!("token {name} revoked"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn row(token: &Value) -> Vec<String> {
    let or_dash = |s: &str| {
        if s.is_empty() {
            "-".to_string()
        } else {
            s.to_string()
        }
    };
    vec![
        text(token, "/metadata/name").into(),
        text(token, "/spec/user").into(),
        text(token, "/spec/use").into(),
        or_dash(text(token, "/spec/expires")),
        output::age(text(token, "/metadata/creationTimestamp")),
        or_dash(text(token, "/spec/note")),
    ]
}
