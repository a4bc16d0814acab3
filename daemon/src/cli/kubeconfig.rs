//! `kfbox kubeconfig`: what kubectl and the SDKs need to reach the box, as a file of its own or merged into one.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{
    Connection,
    client::{Client, NAMESPACE},
    output::{self, text},
};
use crate::serve;

/// What the token in the kubeconfig may do.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// Look at everything in its namespaces but Secrets
    View,
    /// Look at and change everything in its namespaces
    Edit,
    /// Everything, everywhere
    Admin,
}

impl RoleArg {
    /// The scope of a token: absent = everything.
    pub fn scope(self, namespaces: &[String]) -> Option<Value> {
        let role = match self {
            Self::View => "view",
            Self::Edit => "edit",
            Self::Admin => return None,
        };
        Some(json!({"namespaces": namespaces, "role": role}))
    }
}

/// `kfbox kubeconfig`
#[derive(Args)]
pub struct KubeconfigArgs {
    #[command(flatten)]
    connection: Connection,
    /// Write to this file, readable by its owner only, instead of printing
    #[arg(long, short = 'f', value_name = "FILE")]
    file: Option<PathBuf>,
    /// Add to the kubeconfig in use ($KUBECONFIG, else ~/.kube/config) and make it the current context
    #[arg(long, conflicts_with = "file")]
    merge: bool,
    /// Whose the token will be
    #[arg(long, default_value = "admin")]
    user: String,
    /// What the token may do
    #[arg(long, value_enum, default_value = "admin")]
    role: RoleArg,
    /// The namespace of the context, and the one that a scoped token opens
    #[arg(long, short, default_value = NAMESPACE)]
    namespace: String,
    /// How long the token is good for, such as 12h or 30d [default: for ever]
    #[arg(long)]
    ttl: Option<String>,
    /// The name of the context, cluster and user
    #[arg(long, default_value = "kfbox")]
    context: String,
}

impl KubeconfigArgs {
    /// Carries it out.
    ///
    /// # Errors
    /// When the box is not running on this machine, or a file cannot be read or written.
    pub fn run(self) -> Result<ExitCode> {
        let endpoints = serve::endpoints_file(self.connection.data_dir());
        let found = fs::read_to_string(&endpoints).with_context(|| {
            format!(
                "no box is running from {}: start it, or give its folder with --data-dir",
                self.connection.data_dir().display()
            )
        })?;
        let found: Value = serde_json::from_str(&found)?;
        let ca = fs::read(text(&found, "/ca")).with_context(|| {
            format!("cannot read the box's certificate {}", text(&found, "/ca"))
        })?;
        let mut spec = json!({"user": self.user, "use": "api", "note": format!("kubeconfig, context {}", self.context)});
        if let Some(ttl) = &self.ttl {
            spec["ttl"] = ttl.clone().into();
        }
        if let Some(scope) = self.role.scope(std::slice::from_ref(&self.namespace)) {
            spec["scope"] = scope;
        }
        let made = Client::new(&self.connection)?
            .post("/apis/kfbox.dev/v1alpha1/tokens", &json!({"spec": spec}))?;
        let name = &self.context;
        let ours = json!({
            "apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": name,
            "clusters": [{"name": name, "cluster": {
                "server": text(&found, "/kube"), "certificate-authority-data": STANDARD.encode(ca),
            }}],
            "users": [{"name": name, "user": {"token": text(&made, "/status/token")}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": self.namespace}}],
        });
        if self.merge {
            let path = in_use()?;
            let merged = match fs::read_to_string(&path) {
                Ok(old) => merge(
                    serde_saphyr::from_str(&old)
                        .with_context(|| format!("{} is not a kubeconfig", path.display()))?,
                    ours,
                ),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => ours,
                Err(e) => bail!("cannot read {}: {e}", path.display()),
            };
            write(&path, &merged)?;
            output::line(&format!(
                "context {name} is in {} and is the current one",
                path.display()
            ))?;
        } else if let Some(path) = &self.file {
            write(path, &ours)?;
        } else {
            output::line(serde_saphyr::to_string(&ours)?.trim_end())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The file that kubectl writes to.
fn in_use() -> Result<PathBuf> {
    if let Some(paths) = std::env::var_os("KUBECONFIG")
        && let Some(first) = std::env::split_paths(&paths).find(|p| !p.as_os_str().is_empty())
    {
        return Ok(first);
    }
    let home = std::env::var_os("HOME").context("HOME is not set: use --file")?;
    Ok(Path::new(&home).join(".kube/config"))
}

/// Puts our entries into an existing config, over those of the same name; all else stays.
fn merge(mut old: Value, ours: Value) -> Value {
    if !old.is_object() {
        return ours;
    }
    for list in ["clusters", "users", "contexts"] {
        let mut entries = old[list].as_array().cloned().unwrap_or_default();
        for new in ours[list].as_array().into_iter().flatten() {
            entries.retain(|e| e["name"] != new["name"]);
            entries.push(new.clone());
        }
        old[list] = entries.into();
    }
    old["current-context"] = ours["current-context"].clone();
    old
}

/// Whole or not at all, and for the owner's eyes only: it holds a token.
fn write(path: &Path, config: &Value) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let _ = fs::remove_file(&part);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)
        .with_context(failed)?;
    file.write_all(serde_saphyr::to_string(config)?.as_bytes())
        .with_context(failed)?;
    file.sync_all().with_context(failed)?;
    fs::rename(&part, path).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_keeps_what_is_not_ours() {
        let old = json!({"current-context": "work", "extra": 1, "clusters": [{"name": "work", "cluster": {}}],
            "users": [{"name": "work"}, {"name": "kfbox", "user": {"token": "old"}}], "contexts": null});
        let ours = json!({"current-context": "kfbox", "clusters": [{"name": "kfbox"}],
            "users": [{"name": "kfbox", "user": {"token": "new"}}], "contexts": [{"name": "kfbox"}]});
        let merged = merge(old, ours);
        assert_eq!(merged["current-context"], "kfbox");
        assert_eq!(merged["extra"], 1);
        assert_eq!(
            merged["clusters"],
            json!([{"name": "work", "cluster": {}}, {"name": "kfbox"}])
        );
        assert_eq!(merged["users"][1]["user"]["token"], "new");
        assert_eq!(merged["contexts"], json!([{"name": "kfbox"}]));
    }
}
