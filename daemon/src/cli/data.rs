//! `kfbox data`: data sets with versions.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Connection, Format,
    client::{Client, NAMESPACE},
    output::{self, text},
};

/// Milliseconds between two looks at how far a commit is.
const LOOK: u64 = 100;

/// `kfbox data ...`
#[derive(Args)]
pub struct DataArgs {
    #[command(flatten)]
    connection: Connection,
    /// Whose data sets
    #[arg(long, short, default_value = NAMESPACE, global = true)]
    namespace: String,
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Subcommand)]
enum DataCommand {
    /// Make a data set: a bucket s3://NAME/ whose folder `main` is written to as ever
    Create {
        /// Its name, and that of its bucket
        name: String,
        /// A word on what it holds
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List the data sets
    List,
    /// Keep what a branch holds, for ever; prints the commit's URI
    Commit {
        /// The data set
        name: String,
        /// Why
        #[arg(long, short, default_value = "")]
        message: String,
        /// Which branch
        #[arg(long, default_value = "main")]
        branch: String,
        /// Who
        #[arg(long, env = "USER", default_value = "")]
        author: String,
    },
    /// List the commits of a data set, the newest first
    Log {
        /// The data set
        name: String,
    },
    /// Tell what differs between two commits, tags or branches
    Diff {
        /// The data set
        name: String,
        /// The older one; alone, what it has beside its parent
        from: String,
        /// The newer one
        to: Option<String>,
    },
    /// Give a commit a name, or let a name go
    Tag {
        /// The data set
        name: String,
        /// The name
        tag: String,
        /// The commit's id, as `kfbox data log` shows it; without it, the tag is removed
        commit: Option<String>,
    },
    /// Add a branch: a folder to write to beside `main`
    Branch {
        /// The data set
        name: String,
        /// Its name
        branch: String,
        /// What it begins with: a commit, a tag or a branch [default: nothing]
        #[arg(long)]
        from: Option<String>,
    },
}

impl DataArgs {
    fn path(&self, kind: &str) -> String {
        format!(
            "/apis/kfbox.dev/v1alpha1/namespaces/{}/{kind}",
            self.namespace
        )
    }

    /// Carries it out.
    ///
    /// # Errors
    /// The box's own message.
    pub fn run(self) -> Result<ExitCode> {
        let client = Client::new(&self.connection)?;
        let as_json = self.connection.output == Format::Json;
        let sets = self.path("datasets");
        match &self.command {
            DataCommand::Create { name, description } => {
                let set = json!({
                    "apiVersion": "kfbox.dev/v1alpha1", "kind": "Dataset",
                    "metadata": {"name": name}, "spec": {"description": description},
                });
                client.post(&sets, &set)?;
                output::line(&format!("s3://{name}/main/"))?;
            }
            DataCommand::List => {
                let list = client.get(&sets)?;
                if as_json {
                    output::json(&list)?;
                    return Ok(ExitCode::SUCCESS);
                }
                let rows: Vec<_> = items(&list).iter().map(set_row).collect();
                output::table(
                    &["NAME", "HEAD", "OBJECTS", "BYTES", "AGE", "DESCRIPTION"],
                    &rows,
                )?;
            }
            DataCommand::Commit {
                name,
                message,
                branch,
                author,
            } => {
                client.get(&format!("{sets}/{name}"))?;
                let commit = json!({
                    "apiVersion": "kfbox.dev/v1alpha1", "kind": "DatasetCommit",
                    "metadata": {"generateName": format!("{name}-")},
                    "spec": {"dataset": name, "branch": branch, "message": message, "author": author},
                });
                let made = client.post(&self.path("datasetcommits"), &commit)?;
                return self.wait(&client, text(&made, "/metadata/name"), as_json);
            }
            DataCommand::Log { name } => {
                client.get(&format!("{sets}/{name}"))?;
                let list = client.get(&self.path("datasetcommits"))?;
                let mut all: Vec<Value> = items(&list);
                all.retain(|c| text(c, "/spec/dataset") == name);
                all.sort_by(|a, b| {
                    let at = |c| text(c, "/metadata/creationTimestamp").to_owned();
                    at(b).cmp(&at(a))
                });
                if as_json {
                    output::json(&all.into())?;
                    return Ok(ExitCode::SUCCESS);
                }
                let rows: Vec<_> = all.iter().map(commit_row).collect();
                output::table(
                    &[
                        "COMMIT", "BRANCH", "PHASE", "OBJECTS", "CHANGES", "AGE", "MESSAGE",
                    ],
                    &rows,
                )?;
            }
            DataCommand::Diff { name, from, to } => {
                let (from, to) = match to {
                    Some(to) => (from.as_str(), to.as_str()),
                    None => ("", from.as_str()),
                };
                diff(&client, &format!("{sets}/{name}/diff"), from, to)?;
            }
            DataCommand::Tag { name, tag, commit } => {
                let patch = json!({"spec": {"tags": {tag.clone(): commit}}});
                client.patch(&format!("{sets}/{name}"), &patch)?;
                output::line(&match commit {
                    Some(commit) => format!("{tag} is {commit}"),
                    None => format!("{tag} is removed"),
                })?;
            }
            DataCommand::Branch { name, branch, from } => {
                let set = client.get(&format!("{sets}/{name}"))?;
                let mut branches = set["spec"]["branches"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                let mut added = json!({"name": branch});
                if let Some(from) = from {
                    added["from"] = from.as_str().into();
                }
                branches.push(added);
                client.patch(
                    &format!("{sets}/{name}"),
                    &json!({"spec": {"branches": branches}}),
                )?;
                output::line(&format!("s3://{name}/{branch}/"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Waits until a commit is there, and prints where.
    fn wait(&self, client: &Client, name: &str, as_json: bool) -> Result<ExitCode> {
        let path = format!("{}/{name}", self.path("datasetcommits"));
        loop {
            let commit = client.get(&path)?;
            let said = text(&commit, "/status/message").to_owned();
            match text(&commit, "/status/phase") {
                "" | "Pending" => std::thread::sleep(std::time::Duration::from_millis(LOOK)),
                "Failed" => bail!("{said}"),
                phase => {
                    if as_json {
                        output::json(&commit)?;
                        return Ok(ExitCode::SUCCESS);
                    }
                    if phase == "Unchanged" {
                        eprintln!(
                            "nothing has changed since the last commit, which stands for this one"
                        );
                    }
                    if !said.is_empty() {
                        eprintln!("{said}");
                    }
                    output::line(text(&commit, "/status/uri"))?;
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
    }
}

fn items(list: &Value) -> Vec<Value> {
    list["items"].as_array().cloned().unwrap_or_default()
}

fn or_dash(text: &str) -> String {
    if text.is_empty() {
        "-".into()
    } else {
        text.into()
    }
}

fn short(id: &str) -> String {
    or_dash(id.get(..12).unwrap_or(id))
}

fn set_row(set: &Value) -> Vec<String> {
    let head = &set["status"]["branches"]["main"];
    vec![
        text(set, "/metadata/name").into(),
        short(text(head, "/commit")),
        head["objects"].to_string().replace("null", "-"),
        head["bytes"].to_string().replace("null", "-"),
        output::age(text(set, "/metadata/creationTimestamp")),
        or_dash(text(set, "/spec/description")),
    ]
}

fn commit_row(commit: &Value) -> Vec<String> {
    let status = &commit["status"];
    let count = |pointer| {
        status
            .pointer(pointer)
            .and_then(Value::as_u64)
            .unwrap_or_default()
    };
    vec![
        short(text(status, "/id")),
        match text(commit, "/spec/branch") {
            "" => "main".into(),
            branch => branch.into(),
        },
        or_dash(text(status, "/phase")),
        count("/objects").to_string(),
        format!(
            "+{} ~{} -{}",
            count("/changes/added"),
            count("/changes/changed"),
            count("/changes/removed")
        ),
        output::age(text(commit, "/metadata/creationTimestamp")),
        or_dash(text(commit, "/spec/message")),
    ]
}

/// Prints the lines of a diff, page by page.
fn diff(client: &Client, path: &str, from: &str, to: &str) -> Result<()> {
    let mut after = String::new();
    loop {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(
                [("from", from), ("to", to), ("after", after.as_str())]
                    .iter()
                    .filter(|(_, v)| !v.is_empty()),
            )
            .finish();
        let page = client.get(&format!("{path}?{query}"))?;
        for change in page["changes"].as_array().into_iter().flatten() {
            let mark = match (change["before"].is_null(), change["after"].is_null()) {
                (true, _) => '+',
                (_, true) => '-',
                _ => '~',
            };
            output::line(&format!("{mark} {}", text(change, "/path")))?;
        }
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => return Ok(()),
        }
    }
}
