//! Probes: asks a Pod's containers whether they have started, can serve and still live. One task per container
//! that runs; its findings wake the Pod.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kfbox_store::Ref;
use tokio::task::AbortHandle;

use crate::{
    controller::Waker,
    driver::{Driver, Observed, State},
};

/// What probes say of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Its startup probe has passed, if it has one.
    pub started: bool,
    /// Its readiness probe passes, if it has one.
    pub ready: bool,
    /// Why it must be restarted.
    pub unhealthy: Option<String>,
}

struct Prober {
    /// The engine's id of the container it asks.
    id: String,
    health: Arc<Mutex<Health>>,
    task: AbortHandle,
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The probes of one Pod.
#[derive(Default)]
pub struct Probers(HashMap<String, Prober>);

impl Probers {
    /// Asks the containers that run, and no others; what is known of them so far.
    pub fn follow<'a>(
        &mut self,
        driver: &Arc<dyn Driver>,
        waker: &Waker,
        pod: &Ref,
        ip: Option<IpAddr>,
        containers: impl Iterator<Item = &'a Container>,
        seen: &BTreeMap<String, Observed>,
    ) -> HashMap<String, Health> {
        let mut kept = HashMap::new();
        let mut health = HashMap::new();
        for container in containers {
            let Some(running) = seen.get(&container.name) else {
                continue;
            };
            let probes = [
                &container.startup_probe,
                &container.readiness_probe,
                &container.liveness_probe,
            ];
            if !matches!(running.state, State::Running(_)) || probes.iter().all(|p| p.is_none()) {
                continue;
            }
            let prober = match self.0.remove(&container.name) {
                Some(prober) if prober.id == running.id => prober,
                _ => {
                    let health = Arc::new(Mutex::new(Health {
                        started: container.startup_probe.is_none(),
                        ready: container.readiness_probe.is_none(),
                        unhealthy: None,
                    }));
                    let asks = Asks {
                        driver: driver.clone(),
                        waker: waker.clone(),
                        pod: pod.clone(),
                        ip,
                        container: container.clone(),
                        id: running.id.clone(),
                        health: health.clone(),
                    };
                    Prober {
                        id: running.id.clone(),
                        health,
                        task: tokio::spawn(asks.run()).abort_handle(),
                    }
                }
            };
            let now = prober.health.lock().unwrap_or_else(PoisonError::into_inner);
            health.insert(container.name.clone(), now.clone());
            drop(now);
            kept.insert(container.name.clone(), prober);
        }
        self.0 = kept;
        health
    }
}

struct Asks {
    driver: Arc<dyn Driver>,
    waker: Waker,
    pod: Ref,
    ip: Option<IpAddr>,
    container: Container,
    id: String,
    health: Arc<Mutex<Health>>,
}

impl Asks {
    fn tell(&self, change: impl FnOnce(&mut Health)) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let before = health.clone();
        change(&mut health);
        if *health != before {
            drop(health);
            self.waker.wake(self.pod.clone());
        }
    }

    async fn run(self) {
        if let Some(probe) = &self.container.startup_probe {
            let mut count = Count::new(probe);
            pause(probe.initial_delay_seconds).await;
            loop {
                match count.add(self.ask(probe).await) {
                    Some(Ok(())) => break,
                    Some(Err(why)) => {
                        let why = format!(
                            "Container {} failed startup probe: {why}",
                            self.container.name
                        );
                        return self.tell(|h| h.unhealthy = Some(why));
                    }
                    None => every(probe).await,
                }
            }
            self.tell(|h| h.started = true);
        }
        futures::join!(self.readiness(), self.liveness());
    }

    async fn readiness(&self) {
        let Some(probe) = &self.container.readiness_probe else {
            return;
        };
        let mut count = Count::new(probe);
        pause(probe.initial_delay_seconds).await;
        loop {
            if let Some(verdict) = count.add(self.ask(probe).await) {
                self.tell(|h| h.ready = verdict.is_ok());
            }
            every(probe).await;
        }
    }

    async fn liveness(&self) {
        let Some(probe) = &self.container.liveness_probe else {
            return;
        };
        let mut count = Count::new(probe);
        pause(probe.initial_delay_seconds).await;
        loop {
            if let Some(Err(why)) = count.add(self.ask(probe).await) {
                let why = format!(
                    "Container {} failed liveness probe: {why}",
                    self.container.name
                );
                return self.tell(|h| h.unhealthy = Some(why));
            }
            every(probe).await;
        }
    }

    /// Asks once.
    async fn ask(&self, probe: &Probe) -> Result<(), String> {
        let limit = seconds(probe.timeout_seconds, 1);
        if let Some(exec) = &probe.exec {
            let command = exec.command.clone().unwrap_or_default();
            return match self.driver.exec_status(&self.id, &command, limit).await {
                Ok(Some(0)) => Ok(()),
                Ok(Some(code)) => Err(format!("the command exited with code {code}")),
                Ok(None) => Err(format!("the command took longer than {limit:?}")),
                // Not the container's fault.
                Err(e) if e.retryable() => Ok(()),
                Err(e) => Err(e.to_string()),
            };
        }
        let ip = self.ip.ok_or("the pod has no address")?;
        let asked = async {
            if let Some(get) = &probe.http_get {
                let port = self.port(&get.port)?;
                return http(ip, port, get.clone(), limit).await;
            }
            if let Some(tcp) = &probe.tcp_socket {
                let port = self.port(&tcp.port)?;
                let host = tcp.host.clone().unwrap_or_else(|| ip.to_string());
                let open = tokio::net::TcpStream::connect((host.as_str(), port)).await;
                return open.map(drop).map_err(|e| format!("port {port}: {e}"));
            }
            Err("only exec, httpGet and tcpSocket probes are supported".into())
        };
        tokio::time::timeout(limit, asked)
            .await
            .unwrap_or_else(|_| Err(format!("no answer in {limit:?}")))
    }

    fn port(&self, port: &IntOrString) -> Result<u16, String> {
        let number = match port {
            IntOrString::Int(number) => Some(*number),
            IntOrString::String(name) => {
                let mut ports = self.container.ports.iter().flatten();
                ports
                    .find(|p| p.name.as_ref() == Some(name))
                    .map(|p| p.container_port)
                    .or_else(|| name.parse().ok())
            }
        };
        number
            .and_then(|n| u16::try_from(n).ok())
            .ok_or_else(|| format!("the container has no port {port:?}"))
    }
}

async fn http(ip: IpAddr, port: u16, get: HTTPGetAction, limit: Duration) -> Result<(), String> {
    if get.scheme.as_deref().is_some_and(|s| s != "HTTP") {
        return Err("httpGet.scheme: only HTTP is supported".into());
    }
    let host = match (get.host, ip) {
        (Some(host), _) => host,
        (None, IpAddr::V6(ip)) => format!("[{ip}]"),
        (None, ip) => ip.to_string(),
    };
    let path = get.path.unwrap_or_default();
    let url = format!("http://{host}:{port}/{}", path.trim_start_matches('/'));
    let headers = get.http_headers.unwrap_or_default();
    let status = tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(limit))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent("kube-probe/1.33")
            .build()
            .into();
        let mut request = agent.get(&url);
        for header in headers {
            request = request.header(header.name, header.value);
        }
        request.call().map(|answer| answer.status().as_u16())
    });
    match status.await {
        Ok(Ok(200..=399)) => Ok(()),
        Ok(Ok(code)) => Err(format!("HTTP probe failed with statuscode: {code}")),
        Ok(Err(e)) => Err(e.to_string()),
        Err(e) => Err(e.to_string()),
    }
}

/// Counts answers in a row against a probe's thresholds.
struct Count {
    good: i32,
    bad: i32,
    success: i32,
    failure: i32,
}

impl Count {
    fn new(probe: &Probe) -> Self {
        Self {
            good: 0,
            bad: 0,
            success: probe.success_threshold.unwrap_or(1).max(1),
            failure: probe.failure_threshold.unwrap_or(3).max(1),
        }
    }

    /// The verdict, when a threshold is reached.
    fn add(&mut self, answer: Result<(), String>) -> Option<Result<(), String>> {
        match answer {
            Ok(()) => {
                self.bad = 0;
                self.good = self.good.saturating_add(1);
                (self.good >= self.success).then_some(Ok(()))
            }
            Err(why) => {
                self.good = 0;
                self.bad = self.bad.saturating_add(1);
                (self.bad >= self.failure).then_some(Err(why))
            }
        }
    }
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    let value = value.and_then(|v| u64::try_from(v).ok()).filter(|v| *v > 0);
    Duration::from_secs(value.unwrap_or(default))
}

async fn pause(value: Option<i32>) {
    let value = value.and_then(|v| u64::try_from(v).ok()).unwrap_or(0);
    tokio::time::sleep(Duration::from_secs(value)).await;
}

async fn every(probe: &Probe) {
    tokio::time::sleep(seconds(probe.period_seconds, 10)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_count_answers_in_a_row() {
        let mut count = Count::new(&Probe {
            failure_threshold: Some(2),
            ..Default::default()
        });
        let bad = || Err(String::from("no"));
        assert_eq!(count.add(bad()), None);
        assert_eq!(count.add(Ok(())), Some(Ok(())));
        assert_eq!(count.add(bad()), None);
        assert_eq!(count.add(bad()), Some(bad()));
    }
}
