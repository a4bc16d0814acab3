//! `kfbox notebook`: a server to work in, made, started, stopped and deleted.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use kfbox_store::{
    kinds::notebook::{CULLED, IDLE_TIMEOUT, LAST_ACTIVITY, STOPPED},
    now,
};
use serde_json::{Map, Value, json};

use super::{
    Connection, Format,
    client::{Client, NAMESPACE},
    output::{self, text},
};

/// Between two looks at a notebook that starts.
const LOOK: Duration = Duration::from_millis(200);
const HOME: &str = "/home/jovyan";

/// `kfbox notebook ...`
#[derive(Args)]
pub struct NotebookArgs {
    #[command(flatten)]
    connection: Connection,
    /// Whose notebooks
    #[arg(long, short, default_value = NAMESPACE, global = true)]
    namespace: String,
    #[command(subcommand)]
    command: NotebookCommand,
}

#[derive(Subcommand)]
enum NotebookCommand {
    /// Make a notebook and wait until it runs; prints its address
    Create(Box<Create>),
    /// List the notebooks
    List,
    /// Start notebooks that are stopped
    Start {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Stop notebooks; their volumes stay
    Stop {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Delete notebooks
    Delete {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        /// The volumes that they mount too, with everything in them
        #[arg(long)]
        volumes: bool,
    },
    /// Print a notebook's address
    Url {
        /// Its name
        name: String,
    },
}

#[derive(Args)]
struct Create {
    /// Its name
    name: String,
    /// Its image [default: the first of the box that is made for notebooks]
    #[arg(long)]
    image: Option<String>,
    /// CPUs, such as 2 or 500m
    #[arg(long, default_value = "1")]
    cpu: String,
    /// Memory, such as 4Gi
    #[arg(long, default_value = "2Gi")]
    memory: String,
    /// The home folder: the size of a new volume NAME-workspace, the name of a volume that is there, or `none`
    #[arg(long, default_value = "10Gi", value_name = "SIZE|VOLUME|none")]
    workspace: String,
    /// A volume that is there, and where: VOLUME:/path or VOLUME:/path:ro
    #[arg(long = "volume", value_name = "VOLUME:PATH[:ro]")]
    volumes: Vec<String>,
    /// A PodDefault of the namespace
    #[arg(long = "preset", value_name = "NAME")]
    presets: Vec<String>,
    /// Shared memory (/dev/shm), such as 2Gi
    #[arg(long, value_name = "SIZE")]
    shm: Option<String>,
    /// Stop it when nobody has worked in it for this long, such as 2h
    #[arg(long, value_name = "DURATION")]
    idle: Option<String>,
    /// A variable
    #[arg(long = "env", short, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Seconds to wait until it runs; 0 = not at all
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    wait: u64,
}

impl NotebookArgs {
    fn notebooks(&self) -> String {
        format!(
            "/apis/kubeflow.org/v1/namespaces/{}/notebooks",
            self.namespace
        )
    }

    fn claims(&self) -> String {
        format!(
            "/api/v1/namespaces/{}/persistentvolumeclaims",
            self.namespace
        )
    }

    /// Carries it out.
    ///
    /// # Errors
    /// The box's own message.
    pub fn run(self) -> Result<ExitCode> {
        let client = Client::new(&self.connection)?;
        match &self.command {
            NotebookCommand::Create(create) => self.create(&client, create)?,
            NotebookCommand::List => self.list(&client)?,
            NotebookCommand::Start { names } => {
                for name in names {
                    self.annotate(&client, name, json!({STOPPED: null, CULLED: null}))?;
                }
            }
            NotebookCommand::Stop { names } => {
                for name in names {
                    self.annotate(&client, name, json!({STOPPED: now()}))?;
                }
            }
            NotebookCommand::Delete { names, volumes } => {
                for name in names {
                    self.delete(&client, name, *volumes)?;
                }
            }
            NotebookCommand::Url { name } => {
                client.get(&format!("{}/{name}", self.notebooks()))?;
                output::line(&self.url(&client, name))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Its address for a browser, which finds `*.localhost` only beside `localhost` and loopback addresses.
    fn url(&self, client: &Client, name: &str) -> String {
        format!("{}/notebook/{}/{name}/", client.base, self.namespace)
    }

    fn annotate(&self, client: &Client, name: &str, annotations: Value) -> Result<()> {
        let patch = json!({"metadata": {"annotations": annotations}});
        client
            .patch(&format!("{}/{name}", self.notebooks()), &patch)
            .map(|_| ())
    }

    fn list(&self, client: &Client) -> Result<()> {
        let list = client.get(&self.notebooks())?;
        if self.connection.output == Format::Json {
            return output::json(&list);
        }
        let empty = Vec::new();
        let items = list["items"].as_array().unwrap_or(&empty);
        let rows: Vec<_> = items.iter().map(row).collect();
        output::table(
            &["NAME", "STATUS", "IMAGE", "LAST ACTIVITY", "MESSAGE"],
            &rows,
        )
    }

    fn create(&self, client: &Client, create: &Create) -> Result<()> {
        let mut labels = Map::new();
        for preset in &create.presets {
            let at = format!(
                "/apis/kubeflow.org/v1alpha1/namespaces/{}/poddefaults/{preset}",
                self.namespace
            );
            let found = client.get(&at)?;
            let wanted = found.pointer("/spec/selector/matchLabels");
            let wanted = wanted.and_then(Value::as_object).ok_or_else(|| {
                anyhow!("the PodDefault {preset} has no spec.selector.matchLabels to be chosen by")
            })?;
            labels.extend(wanted.clone());
        }
        let (mut notebook, claim) = manifest(create, labels)?;
        if create.image.is_none() {
            notebook["spec"]["template"]["spec"]["containers"][0]["image"] =
                ready_image(client)?.into();
        }
        // The claim first, so that the notebook finds it; it goes again when the notebook is refused.
        if let Some(claim) = &claim {
            client.post(&self.claims(), claim)?;
        }
        if let Err(e) = client.post(&self.notebooks(), &notebook) {
            if let Some(claim) = &claim {
                let _ = client.delete(&format!(
                    "{}/{}",
                    self.claims(),
                    text(claim, "/metadata/name")
                ));
            }
            return Err(e);
        }
        self.wait(client, &create.name, create.wait)?;
        match self.connection.output {
            Format::Json => {
                let made = client.get(&format!("{}/{}", self.notebooks(), create.name))?;
                output::json(&made)
            }
            Format::Text => output::line(&self.url(client, &create.name)),
        }
    }

    fn wait(&self, client: &Client, name: &str, seconds: u64) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(seconds);
        let mut last = String::new();
        if seconds == 0 {
            return Ok(());
        }
        loop {
            let notebook = client.get(&format!("{}/{name}", self.notebooks()))?;
            let (phase, message) = (
                text(&notebook, "/status/phase"),
                text(&notebook, "/status/message"),
            );
            match phase {
                "Running" => return Ok(()),
                "Failed" => bail!("the notebook {name} does not start: {message}"),
                _ if !message.is_empty() && message != last => {
                    eprintln!("{phase}: {message}");
                    last = message.into();
                }
                _ => {}
            }
            if Instant::now() > until {
                bail!(
                    "the notebook {name} is not ready after {seconds} s (it is {phase}): see `kfbox notebook list`, or wait longer with --wait"
                );
            }
            std::thread::sleep(LOOK);
        }
    }

    fn delete(&self, client: &Client, name: &str, volumes: bool) -> Result<()> {
        let at = format!("{}/{name}", self.notebooks());
        let notebook = client.get(&at)?;
        client.delete(&at)?;
        let empty = Vec::new();
        let mounted = notebook.pointer("/spec/template/spec/volumes");
        let mounted = mounted.and_then(Value::as_array).unwrap_or(&empty);
        for claim in mounted
            .iter()
            .map(|v| text(v, "/persistentVolumeClaim/claimName"))
            .filter(|c| volumes && !c.is_empty())
        {
            client
                .delete(&format!("{}/{claim}", self.claims()))
                .with_context(|| format!("the notebook is deleted, its volume {claim} is not"))?;
        }
        Ok(())
    }
}

fn row(notebook: &Value) -> Vec<String> {
    let annotation = |key: &str| {
        let found = notebook["metadata"]["annotations"].get(key);
        found.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    [
        text(notebook, "/metadata/name").to_owned(),
        text(notebook, "/status/phase").to_owned(),
        text(notebook, "/spec/template/spec/containers/0/image").to_owned(),
        annotation(LAST_ACTIVITY),
        text(notebook, "/status/message").to_owned(),
    ]
    .into()
}

/// The first image of the box that is made for notebooks.
fn ready_image(client: &Client) -> Result<String> {
    let list = client.get("/apis/kfbox.dev/v1alpha1/images")?;
    let mut items = list["items"].as_array().into_iter().flatten();
    let found = items.find(|i| text(i, "/use") == "notebook");
    found.map(|i| text(i, "/name").to_owned()).ok_or_else(|| {
        anyhow!("the box has no image for notebooks yet: build them with `images/build.sh notebooks`, or name one with --image")
    })
}

/// The Notebook that the options describe, and the claim for its home folder when that is new.
fn manifest(create: &Create, labels: Map<String, Value>) -> Result<(Value, Option<Value>)> {
    let name = &create.name;
    let (mut volumes, mut mounts, mut claim) = (Vec::new(), Vec::new(), None);
    let mut mount = |id: &str, claim: &str, path: &str, read_only: bool| {
        volumes.push(json!({"name": id, "persistentVolumeClaim": {"claimName": claim}}));
        mounts.push(json!({"name": id, "mountPath": path, "readOnly": read_only}));
    };
    match create.workspace.as_str() {
        "none" => {}
        size if size.starts_with(|c: char| c.is_ascii_digit()) => {
            let own = format!("{name}-workspace");
            claim = Some(json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": own},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
            }));
            mount("workspace", &own, HOME, false);
        }
        there => mount("workspace", there, HOME, false),
    }
    for (i, volume) in create.volumes.iter().enumerate() {
        let parts: Vec<&str> = volume.split(':').collect();
        let (claim, path, read_only) = match parts.as_slice() {
            [claim, path] => (claim, path, false),
            [claim, path, "ro"] => (claim, path, true),
            _ => bail!(
                "--volume \"{volume}\": write it like data:/home/jovyan/data or data:/data:ro"
            ),
        };
        mount(&format!("data-{i}"), claim, path, read_only);
    }
    if let Some(size) = &create.shm {
        volumes.push(json!({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": size}}));
        mounts.push(json!({"name": "shm", "mountPath": "/dev/shm"}));
    }
    let mut env = Vec::new();
    for pair in &create.env {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| anyhow!("--env \"{pair}\": write it like NAME=VALUE"))?;
        env.push(json!({"name": key, "value": value}));
    }
    let room = json!({"cpu": create.cpu, "memory": create.memory});
    let mut notebook = json!({
        "apiVersion": "kubeflow.org/v1", "kind": "Notebook",
        "metadata": {"name": name, "labels": labels},
        "spec": {"template": {"spec": {
            "containers": [{
                "name": name, "image": create.image, "env": env, "volumeMounts": mounts,
                "resources": {"requests": room, "limits": room},
            }],
            "volumes": volumes,
        }}},
    });
    if let Some(idle) = &create.idle {
        notebook["metadata"]["annotations"] = json!({IDLE_TIMEOUT: idle});
    }
    Ok((notebook, claim))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        create: Create,
    }

    fn made(words: &[&str]) -> Result<(Value, Option<Value>)> {
        let line = Line::parse_from(["create", "work"].iter().chain(words));
        manifest(&line.create, Map::new())
    }

    #[test]
    fn a_notebook_with_a_home_of_its_own() {
        let (notebook, claim) = made(&["--idle", "2h", "--shm", "1Gi", "-e", "A=b=c"]).unwrap();
        assert_eq!(text(&claim.unwrap(), "/metadata/name"), "work-workspace");
        let pod = &notebook["spec"]["template"]["spec"];
        assert_eq!(
            pod["volumes"][0]["persistentVolumeClaim"]["claimName"],
            "work-workspace"
        );
        assert_eq!(pod["volumes"][1]["emptyDir"]["sizeLimit"], "1Gi");
        assert_eq!(
            pod["containers"][0]["env"][0],
            json!({"name": "A", "value": "b=c"})
        );
        assert_eq!(notebook["metadata"]["annotations"][IDLE_TIMEOUT], "2h");
    }

    #[test]
    fn volumes_that_are_there() {
        let (notebook, claim) = made(&[
            "--workspace",
            "old",
            "--volume",
            "data:/d:ro",
            "--volume",
            "more:/m",
        ])
        .unwrap();
        assert!(claim.is_none());
        let mounts = &notebook["spec"]["template"]["spec"]["containers"][0]["volumeMounts"];
        assert_eq!(mounts[0]["mountPath"], "/home/jovyan");
        assert_eq!(mounts[1]["readOnly"], true);
        assert_eq!(mounts[2]["readOnly"], false);
        assert!(made(&["--workspace", "none"]).unwrap().1.is_none());
        for bad in [["--volume", "data"], ["--volume", "a:/b:rw"], ["-e", "A"]] {
            assert!(made(&bad).is_err(), "{bad:?}");
        }
    }
}
