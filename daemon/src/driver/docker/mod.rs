//! The Docker driver, over the engine's API by bollard. Only this folder names bollard.
//!
//! Every call has a deadline: a hung engine makes the box wait, never hang.

mod address;
mod body;
mod events;
mod exec;
mod probe;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bollard::{
    Docker,
    errors::Error as ApiError,
    models::{
        ContainerConfig, ContainerCreateBody, ContainerInspectResponse, ContainerState,
        ContainerStateStatusEnum, ContainerSummary, NetworkCreateRequest,
    },
    query_parameters as query,
};
use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use kfbox_store::{Code, Error, Result};
use kfbox_web::{ExecOptions, ReadyImage, Session};
use tokio::sync::Semaphore;

use super::{
    BOX_LABEL, CONTAINER_LABEL, Change, Driver, Exit, Image, LogQuery, NAMESPACE_LABEL, Network,
    Observed, POD_LABEL, PodId, ROLE_LABEL, SANDBOX_ROLE, SandboxWant, State, UID_LABEL, USE_LABEL,
    Want, unavailable,
};
use address::Address;
use events::Witness;

/// How long any engine call but start, pull and commit may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// How much later than a container's end a busy engine may tell that it ran out of memory, and how often we look.
const OOM_NEWS: Duration = Duration::from_secs(1);
const OOM_LOOK: Duration = Duration::from_millis(20);
/// Starts that run at once per CPU: more only make each other slow inside the engine.
const STARTS_PER_CPU: usize = 2;
/// Removals that run at once. Engine 20.10 can lock itself up for good while dozens of containers leave a network
/// (its endpoints and its network controller wait for each other).
const REMOVALS: usize = 2;

/// A connection to one Docker engine, for one box.
pub struct DockerDriver {
    address: Address,
    box_id: String,
    starts: Semaphore,
    removals: Semaphore,
    witness: Arc<Witness>,
    networks: Mutex<HashMap<String, Network>>,
    /// The engine would make two networks of one name for two callers at once.
    making_network: tokio::sync::Mutex<()>,
}

impl DockerDriver {
    /// Prepares a connection; the engine need not answer yet.
    ///
    /// # Errors
    /// When `host` is not an address Docker clients understand.
    pub fn connect(host: &str, box_id: &str) -> Result<Self> {
        let address = Address::new(host)?;
        let cpus = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Self {
            address,
            box_id: box_id.into(),
            starts: Semaphore::new(cpus * STARTS_PER_CPU),
            removals: Semaphore::new(REMOVALS),
            witness: Arc::default(),
            networks: Mutex::default(),
            making_network: tokio::sync::Mutex::default(),
        })
    }

    fn docker(&self) -> Result<&Docker> {
        self.address.client()
    }

    fn networks(&self) -> std::sync::MutexGuard<'_, HashMap<String, Network>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All networks of this name, the oldest first. The engine does not keep names unique: a request of a daemon
    /// that was killed may have been carried out after the next one's.
    async fn networks_named(&self, name: &str) -> Result<Vec<bollard::models::Network>> {
        let mut filters = self.filter();
        filters.insert("name".into(), vec![name.into()]);
        let options = query::ListNetworksOptionsBuilder::default()
            .filters(&filters)
            .build();
        let list = self.docker()?.list_networks(Some(options));
        let mut found = call("networks", list).await?;
        // The engine's filter takes parts of names too.
        found.retain(|n| n.name.as_deref() == Some(name));
        found.sort_by_key(|n| (n.created.clone(), n.id.clone()));
        Ok(found)
    }

    async fn find_or_make_network(&self, namespace: &str) -> Result<Network> {
        let name = format!("kfbox-{}-{namespace}", self.box_id);
        for _ in 0..2 {
            let mut found = self.networks_named(&name).await?.into_iter();
            if let Some(network) = found.next() {
                for other in found.filter_map(|n| n.id) {
                    // Fails while something is in it; then it goes with the namespace.
                    let _ = call("network remove", self.docker()?.remove_network(&other)).await;
                }
                let gateway = network
                    .ipam
                    .and_then(|i| i.config)
                    .unwrap_or_default()
                    .into_iter()
                    .find_map(|c| c.gateway?.parse::<IpAddr>().ok())
                    .ok_or_else(|| unavailable(format!("network {name} has no gateway")))?;
                let id = network.id.unwrap_or(name);
                return Ok(Network { name: id, gateway });
            }
            let request = NetworkCreateRequest {
                name: name.clone(),
                labels: Some(HashMap::from([(BOX_LABEL.into(), self.box_id.clone())])),
                ..Default::default()
            };
            match call("network create", self.docker()?.create_network(request)).await {
                Ok(_) => {}
                Err(e) if is(&e, Code::Conflict) => {}
                Err(e) => return Err(e),
            }
        }
        Err(unavailable(format!("network {name} cannot be made")))
    }

    async fn summaries(
        &self,
        filters: HashMap<String, Vec<String>>,
    ) -> Result<Vec<ContainerSummary>> {
        let options = query::ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        call("list", self.docker()?.list_containers(Some(options))).await
    }

    async fn make(&self, name: &str, body: ContainerCreateBody) -> Result<bool> {
        let options = query::CreateContainerOptionsBuilder::default()
            .name(name)
            .build();
        match call(
            "create",
            self.docker()?.create_container(Some(options), body),
        )
        .await
        {
            Ok(_) => Ok(true),
            // Deterministic names: ours from before a crash.
            Err(e) if is(&e, Code::Conflict) => Ok(false),
            Err(e) => {
                self.networks().clear();
                Err(e)
            }
        }
    }

    fn filter(&self) -> HashMap<String, Vec<String>> {
        HashMap::from([("label".into(), vec![format!("{BOX_LABEL}={}", self.box_id)])])
    }
}

/// Bounds an engine call in time, and turns its error into the house's.
async fn call<T>(
    what: &str,
    f: impl Future<Output = std::result::Result<T, ApiError>>,
) -> Result<T> {
    match tokio::time::timeout(DEADLINE, f).await {
        Ok(out) => out.map_err(|e| translate(what, e)),
        Err(_) => Err(unavailable(format!("{what}: no answer in {DEADLINE:?}"))),
    }
}

fn translate(what: &str, e: ApiError) -> Error {
    match e {
        ApiError::DockerResponseServerError {
            status_code,
            message,
        } => {
            let message = message.trim().to_string();
            let code = match status_code {
                404 => Code::NotFound,
                409 => Code::Conflict,
                400 => Code::Invalid,
                _ if message.contains("no space left on device") => Code::StorageFull,
                _ => Code::Internal,
            };
            Error::new(code, message).because(format!("docker {what}: {status_code}"))
        }
        other => unavailable(format!("docker {what}: {other}")),
    }
}

/// Whether an engine call failed with this code.
fn is(e: &Error, code: Code) -> bool {
    e.code == code
}

/// Whether it was killed a moment ago, and the engine does not say that memory was the reason.
fn ended_by_sigkill(inspect: &ContainerInspectResponse) -> bool {
    let Some(state) = &inspect.state else {
        return false;
    };
    let finished = state.finished_at.as_deref().unwrap_or_default();
    let age = finished
        .parse::<jiff::Timestamp>()
        .map(|at| jiff::Timestamp::now().duration_since(at));
    state.exit_code == Some(137)
        && state.oom_killed != Some(true)
        && state.running != Some(true)
        && age.is_ok_and(|age| age.as_secs() < 2)
}

fn pod_of(labels: &HashMap<String, String>) -> PodId {
    let get = |k: &str| labels.get(k).cloned().unwrap_or_default();
    PodId {
        namespace: get(NAMESPACE_LABEL),
        name: get(POD_LABEL),
        uid: get(UID_LABEL),
    }
}

impl DockerDriver {
    /// Waits until it is clear who killed a container: someone through the engine, or the kernel for its memory.
    async fn await_oom_news(&self, id: &str) {
        let end = tokio::time::Instant::now() + OOM_NEWS;
        while !self.witness.knows_why(id) && tokio::time::Instant::now() < end {
            tokio::time::sleep(OOM_LOOK).await;
        }
    }

    fn observed(&self, inspect: ContainerInspectResponse) -> Observed {
        let id = inspect.id.unwrap_or_default();
        let state = self.state(&id, inspect.state.unwrap_or_default());
        let labels = inspect.config.and_then(|c| c.labels).unwrap_or_default();
        let joins = inspect.host_config.and_then(|h| h.network_mode);
        let ip = inspect
            .network_settings
            .and_then(|n| n.networks)
            .unwrap_or_default()
            .into_values()
            .find_map(|n| n.ip_address?.parse().ok());
        Observed {
            name: inspect
                .name
                .unwrap_or_default()
                .trim_start_matches('/')
                .into(),
            pod: pod_of(&labels),
            container: labels.get(CONTAINER_LABEL).cloned().unwrap_or_default(),
            sandbox: labels.get(ROLE_LABEL).is_some_and(|r| r == SANDBOX_ROLE),
            joins: joins
                .as_deref()
                .and_then(|mode| mode.strip_prefix("container:"))
                .unwrap_or_default()
                .into(),
            ip,
            image_id: inspect.image.unwrap_or_default(),
            state,
            id,
        }
    }

    fn state(&self, id: &str, s: ContainerState) -> State {
        let started = s.started_at.unwrap_or_default();
        match s.status {
            Some(
                ContainerStateStatusEnum::RUNNING
                | ContainerStateStatusEnum::PAUSED
                | ContainerStateStatusEnum::RESTARTING,
            ) => State::Running(started),
            Some(
                ContainerStateStatusEnum::EXITED
                | ContainerStateStatusEnum::DEAD
                | ContainerStateStatusEnum::REMOVING,
            ) => {
                let code = i32::try_from(s.exit_code.unwrap_or(-1)).unwrap_or(-1);
                let oom = s.oom_killed.unwrap_or(false) || self.witness.oom(id);
                let finished_at = s.finished_at.unwrap_or_default();
                State::Exited(Exit {
                    interrupted: !oom && self.witness.interrupted(id, code, &finished_at),
                    code,
                    oom,
                    started_at: started,
                    finished_at,
                    error: s.error.unwrap_or_default(),
                })
            }
            _ => State::Created,
        }
    }
}

#[async_trait]
impl Driver for DockerDriver {
    async fn observe(&self, name: &str) -> Result<Option<Observed>> {
        let inspect = self
            .docker()?
            .inspect_container(name, None::<query::InspectContainerOptions>);
        match call("inspect", inspect).await {
            Ok(inspect) => {
                if ended_by_sigkill(&inspect) {
                    self.await_oom_news(inspect.id.as_deref().unwrap_or_default())
                        .await;
                }
                Ok(Some(self.observed(inspect)))
            }
            Err(e) if is(&e, Code::NotFound) => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn list(&self) -> Result<Vec<Observed>> {
        let mut found = Vec::new();
        for summary in self.summaries(self.filter()).await? {
            let Some(id) = summary.id else { continue };
            // The summary lacks exit codes; a container that is gone by now is simply not listed.
            found.extend(self.observe(&id).await?);
        }
        Ok(found)
    }

    async fn images_size(&self) -> Result<u64> {
        let list = self.docker()?.list_images(None::<query::ListImagesOptions>);
        let all = call("images", list).await?;
        Ok(all.iter().map(|i| u64::try_from(i.size).unwrap_or(0)).sum())
    }

    async fn of_pod(&self, uid: &str) -> Result<Vec<String>> {
        let mut filter = self.filter();
        filter
            .entry("label".into())
            .or_default()
            .push(format!("{UID_LABEL}={uid}"));
        let names = self.summaries(filter).await?.into_iter();
        Ok(names
            .filter_map(|s| s.names?.into_iter().next())
            .map(|name| name.trim_start_matches('/').to_string())
            .collect())
    }

    async fn create(&self, want: &Want) -> Result<bool> {
        self.make(&want.name, body::create_body(want, &self.box_id))
            .await
    }

    async fn create_sandbox(&self, want: &SandboxWant) -> Result<bool> {
        self.make(&want.name, body::sandbox_body(want, &self.box_id))
            .await
    }

    async fn exec_status(
        &self,
        name: &str,
        command: &[String],
        limit: Duration,
    ) -> Result<Option<i64>> {
        self.exec_to_end(name, command, limit).await
    }

    async fn start(&self, name: &str) -> Result<()> {
        let _permit = self.starts.acquire().await.map_err(Error::internal)?;
        let start = self
            .docker()?
            .start_container(name, None::<query::StartContainerOptions>);
        match tokio::time::timeout(Duration::from_secs(120), start).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(ApiError::DockerResponseServerError {
                status_code: 304, ..
            })) => Ok(()),
            Ok(Err(e)) => Err(translate("start", e)),
            Err(_) => Err(unavailable("start: no answer in 120 s")),
        }
    }

    async fn stop(&self, name: &str, grace: u32) -> Result<()> {
        let options = query::StopContainerOptionsBuilder::default()
            .t(i32::try_from(grace).unwrap_or(i32::MAX))
            .build();
        let wait = DEADLINE + Duration::from_secs(grace.into());
        match tokio::time::timeout(wait, self.docker()?.stop_container(name, Some(options))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(ApiError::DockerResponseServerError {
                status_code: 304 | 404,
                ..
            })) => Ok(()),
            Ok(Err(e)) => Err(translate("stop", e)),
            Err(_) => Err(unavailable(format!("stop: no answer in {wait:?}"))),
        }
    }

    async fn remove(&self, name: &str) -> Result<()> {
        let _permit = self.removals.acquire().await.map_err(Error::internal)?;
        let options = query::RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        match call(
            "remove",
            self.docker()?.remove_container(name, Some(options)),
        )
        .await
        {
            Ok(()) => Ok(()),
            Err(e) if is(&e, Code::NotFound) => Ok(()),
            // Another removal of the same container is under way: the next look will find it absent.
            Err(e) => Err(e),
        }
    }

    async fn exec(&self, name: &str, options: &ExecOptions) -> Result<Session> {
        self.session(name, options).await
    }

    async fn logs(&self, name: &str, q: LogQuery) -> Result<BoxStream<'static, Result<Bytes>>> {
        let tail = q.tail.map_or_else(|| "all".into(), |n| n.to_string());
        let options = query::LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .follow(q.follow)
            .tail(&tail)
            .since(i32::try_from(q.since.unwrap_or(0)).unwrap_or(0))
            .build();
        let lines = self
            .docker()?
            .logs(name, Some(options))
            .map_ok(bollard::container::LogOutput::into_bytes)
            .map_err(|e| translate("logs", e));
        Ok(lines.boxed())
    }

    async fn image(&self, name: &str) -> Result<Option<Image>> {
        match call("image", self.docker()?.inspect_image(name)).await {
            Ok(image) => {
                let user = image.config.and_then(|c| c.user).unwrap_or_default();
                let user = user.split(':').next().unwrap_or_default().to_string();
                Ok(Some(Image {
                    name: name.into(),
                    id: image.id.unwrap_or_default(),
                    root: matches!(user.as_str(), "" | "0" | "root"),
                }))
            }
            // The engine says 400 for a name that is not a valid reference.
            Err(e) if is(&e, Code::NotFound) || is(&e, Code::Invalid) => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn pull(&self, name: &str) -> Result<()> {
        let (image, tag) = match name.rsplit_once(':') {
            Some((image, tag)) if !tag.contains('/') => (image, tag),
            _ if name.contains('@') => (name, ""),
            _ => (name, "latest"),
        };
        let options = query::CreateImageOptionsBuilder::default()
            .from_image(image)
            .tag(tag)
            .build();
        let mut progress = self.docker()?.create_image(Some(options), None, None);
        while let Some(step) = progress.next().await {
            step.map_err(|e| translate("pull", e))?;
        }
        Ok(())
    }

    async fn commit(&self, name: &str, image: &str) -> Result<()> {
        let inspect = self
            .docker()?
            .inspect_container(name, None::<query::InspectContainerOptions>);
        let base = call("inspect", inspect).await?.image.unwrap_or_default();
        let config = call("image", self.docker()?.inspect_image(&base))
            .await?
            .config;
        let config = config.unwrap_or_default();
        let (repo, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
        let options = query::CommitContainerOptionsBuilder::default()
            .container(name)
            .repo(repo)
            .tag(tag)
            .pause(false)
            .build();
        // The set-up run had its own command and environment: the image must run as its base does.
        let config = ContainerConfig {
            cmd: Some(config.cmd.unwrap_or_default()),
            entrypoint: config.entrypoint,
            env: config.env,
            user: config.user,
            working_dir: config.working_dir,
            labels: Some(HashMap::from([(BOX_LABEL.into(), self.box_id.clone())])),
            ..Default::default()
        };
        let commit = self.docker()?.commit_container(options, config);
        tokio::time::timeout(Duration::from_secs(600), commit)
            .await
            .map_err(|_| unavailable("commit: no answer in 600 s"))?
            .map(|_| ())
            .map_err(|e| translate("commit", e))
    }

    async fn images(&self, repository: &str) -> Result<Vec<String>> {
        let filters = HashMap::from([("reference", vec![repository])]);
        let options = query::ListImagesOptionsBuilder::default()
            .filters(&filters)
            .build();
        let found = call("images", self.docker()?.list_images(Some(options))).await?;
        Ok(found.into_iter().flat_map(|i| i.repo_tags).collect())
    }

    async fn ready_images(&self) -> Result<Vec<ReadyImage>> {
        let filters = HashMap::from([("label", vec![USE_LABEL])]);
        let options = query::ListImagesOptionsBuilder::default()
            .filters(&filters)
            .build();
        let found = call("images", self.docker()?.list_images(Some(options))).await?;
        let named = found.into_iter().flat_map(|image| {
            let label = |name: &str| image.labels.get(name).cloned().unwrap_or_default();
            let one = ReadyImage {
                name: String::new(),
                title: label("kfbox.dev/title"),
                about: label("kfbox.dev/about"),
                purpose: label(USE_LABEL),
                size: u64::try_from(image.size).unwrap_or(0),
            };
            let tags = image.repo_tags.into_iter().filter(|t| t != "<none>:<none>");
            tags.map(move |name| ReadyImage {
                name,
                ..one.clone()
            })
        });
        Ok(named.collect())
    }

    async fn remove_image(&self, name: &str) -> Result<()> {
        let removed = self
            .docker()?
            .remove_image(name, None::<query::RemoveImageOptions>, None);
        match call("remove image", removed).await {
            Err(e) if !is(&e, Code::NotFound) => Err(e),
            _ => Ok(()),
        }
    }

    async fn network(&self, namespace: &str) -> Result<Network> {
        if let Some(network) = self.networks().get(namespace) {
            return Ok(network.clone());
        }
        let _one = self.making_network.lock().await;
        let network = self.find_or_make_network(namespace).await?;
        self.networks().insert(namespace.into(), network.clone());
        Ok(network)
    }

    async fn remove_network(&self, namespace: &str) -> Result<()> {
        self.networks().remove(namespace);
        let name = format!("kfbox-{}-{namespace}", self.box_id);
        for id in self
            .networks_named(&name)
            .await?
            .into_iter()
            .filter_map(|n| n.id)
        {
            match call("network remove", self.docker()?.remove_network(&id)).await {
                Err(e) if !is(&e, Code::NotFound) => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    async fn describe(&self) -> Result<String> {
        let info = call("info", self.docker()?.info()).await?;
        Ok(format!(
            "Docker {}, storage driver {}, cgroup v{}, {} CPUs, {:.1} GiB",
            info.server_version.unwrap_or_default(),
            info.driver.unwrap_or_default(),
            info.cgroup_version
                .map(|v| v.to_string())
                .unwrap_or_default(),
            info.ncpu.unwrap_or_default(),
            info.mem_total.unwrap_or_default() as f64 / f64::from(1 << 30),
        ))
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        let state = (self.address.clone(), self.filter(), self.witness.clone());
        stream::once(async move { events::follow(state.0, state.1, state.2) })
            .flatten()
            .boxed()
    }
}
