//! Names between Pods: a name server on the gateway of each namespace's network. It answers for that namespace's
//! Pods and Services and for the box itself, says at once that other names of the cluster do not exist, and hands
//! everything else to the host's own name servers.
//!
//! Names are those of Kubernetes: `<service>`, `<pod>` and `<hostname>.<subdomain>`, alone or followed by
//! `.<namespace>`, `.svc` and `.cluster.local`. A Service's name leads to the addresses of its running Pods.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{RData, Record, RecordType, rdata::A},
};
use k8s_openapi::api::core::v1::{PodSpec, ServiceSpec};
use kfbox_store::{
    Event, Object, Result, Selector, Store,
    kinds::{
        core::{POD, PodStatus},
        service::SERVICE,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
};

/// Seconds an answer may be kept: a Pod's address changes when it is made again.
const TTL: u32 = 1;
/// How long one of the host's name servers may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Questions at a time; more are dropped, and asked again by their clients.
const QUESTIONS: usize = 512;
/// How long a TCP client may be silent.
const IDLE: Duration = Duration::from_secs(10);
const CLUSTER: &str = ".cluster.local";

type Labels = BTreeMap<String, String>;

struct Pod {
    ip: IpAddr,
    labels: Labels,
    hostname: String,
    subdomain: String,
}

/// What names there are, kept up to date from the change log.
#[derive(Default)]
pub struct Names {
    index: RwLock<Index>,
}

#[derive(Default)]
struct Index {
    /// (namespace, name) of Pods that have an address.
    pods: BTreeMap<(String, String), Pod>,
    /// (namespace, name) of Services, with their selectors.
    services: BTreeMap<(String, String), Labels>,
}

/// What a name means.
#[derive(Debug, PartialEq)]
enum Found {
    /// These addresses; none when the name exists and nobody runs behind it.
    Addresses(Vec<IpAddr>),
    /// A name of the cluster that does not exist.
    Nothing,
    /// Not a name of the cluster.
    Elsewhere,
}

impl Names {
    /// Follows the store for as long as it is open.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn follow(self: Arc<Self>, store: Store) -> Result<()> {
        loop {
            let from = store.version();
            let mut index = Index::default();
            for kind in [&POD, &SERVICE] {
                for object in store.list(kind, Selector::default()).await?.items {
                    index.put(&object, false);
                }
            }
            *self.index.write().unwrap_or_else(PoisonError::into_inner) = index;
            let mut watch = store.watch(from);
            loop {
                match watch.next().await {
                    Ok(events) => self.learn(&events),
                    Err(e) if e.code == kfbox_store::Code::Gone => break,
                    Err(e) => return Err(e),
                }
            }
        }
    }

    fn learn(&self, events: &[Arc<Event>]) {
        let concerned = |e: &&Arc<Event>| {
            e.object.api_version == "v1" && matches!(e.object.kind.as_str(), "Pod" | "Service")
        };
        if events.iter().any(|e| concerned(&e)) {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            for event in events.iter().filter(concerned) {
                index.put(&event.object, event.deleted());
            }
        }
    }

    fn look_up(&self, namespace: &str, name: &str) -> Found {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.look_up(namespace, name)
    }
}

impl Index {
    fn put(&mut self, object: &Object, gone: bool) {
        let meta = &object.metadata;
        let key = (meta.namespace.clone(), meta.name.clone());
        if object.kind == SERVICE.kind {
            self.services.remove(&key);
            if let (false, Ok(spec)) = (gone, object.spec::<ServiceSpec>()) {
                self.services.insert(key, spec.selector.unwrap_or_default());
            }
            return;
        }
        self.pods.remove(&key);
        let (Ok(spec), Ok(status)) = (object.spec::<PodSpec>(), object.status::<PodStatus>())
        else {
            return;
        };
        let ip = status.pod_ip.and_then(|ip| ip.parse().ok());
        if let (false, false, Some(ip)) = (gone, status.phase.terminal(), ip) {
            let pod = Pod {
                ip,
                labels: meta.labels.clone(),
                hostname: spec.hostname.unwrap_or_default(),
                subdomain: spec.subdomain.unwrap_or_default(),
            };
            self.pods.insert(key, pod);
        }
    }

    fn look_up(&self, namespace: &str, name: &str) -> Found {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let in_cluster = name
            .strip_suffix(CLUSTER)
            .or(name.strip_suffix(".svc").map(|_| name.as_str()));
        let base = in_cluster.unwrap_or(&name);
        let base = match base.strip_suffix(".svc") {
            Some(base) => base,
            // `pod.cluster.local`, the bare domain: nothing of ours.
            None if in_cluster.is_some() => return Found::Nothing,
            None => base,
        };
        let parts: Vec<&str> = base.split('.').collect();
        let of_cluster = in_cluster.is_some();
        let found = match parts.as_slice() {
            [one] => self.one(namespace, one),
            [one, ns] if *ns == namespace => self.one(namespace, one),
            [host, sub, ns] if *ns == namespace => self.host(namespace, host, sub),
            [host, sub] if !of_cluster => self.host(namespace, host, sub),
            _ => None,
        };
        match found {
            Some(found) => Found::Addresses(found),
            None if of_cluster => Found::Nothing,
            None => Found::Elsewhere,
        }
    }

    /// A Service's or a Pod's own name.
    fn one(&self, namespace: &str, name: &str) -> Option<Vec<IpAddr>> {
        let key = (namespace.to_string(), name.to_string());
        if let Some(selector) = self.services.get(&key) {
            let fits = |pod: &&Pod| {
                !selector.is_empty() && selector.iter().all(|(k, v)| pod.labels.get(k) == Some(v))
            };
            let pods = self.within(namespace).filter(fits).map(|p| p.ip);
            return Some(pods.collect::<BTreeSet<_>>().into_iter().collect());
        }
        self.pods.get(&key).map(|pod| vec![pod.ip])
    }

    /// A Pod by its host name in a subdomain.
    fn host(&self, namespace: &str, host: &str, subdomain: &str) -> Option<Vec<IpAddr>> {
        let mut pods = self.within(namespace);
        let pod = pods.find(|p| p.subdomain == subdomain && p.hostname == host)?;
        Some(vec![pod.ip])
    }

    fn within<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Pod> {
        self.pods
            .iter()
            .filter(move |((ns, _), _)| ns == namespace)
            .map(|(_, pod)| pod)
    }
}

/// One namespace's name server.
pub struct NameServer {
    /// What there is.
    pub names: Arc<Names>,
    /// Whose questions it answers.
    pub namespace: String,
    /// The box's own names, which lead to `gateway`.
    pub own: Vec<String>,
    /// The address it listens on.
    pub gateway: IpAddr,
    /// Who knows the rest.
    pub upstream: Arc<[IpAddr]>,
}

impl NameServer {
    /// Answers until dropped.
    ///
    /// # Errors
    /// When the port cannot be had, or is lost.
    pub async fn run(self) -> std::io::Result<()> {
        let at = SocketAddr::new(self.gateway, 53);
        let (udp, tcp) = (
            Arc::new(UdpSocket::bind(at).await?),
            TcpListener::bind(at).await?,
        );
        let (server, places) = (Arc::new(self), Arc::new(Semaphore::new(QUESTIONS)));
        let mut buffer = vec![0_u8; 4096];
        loop {
            tokio::select! {
                received = udp.recv_from(&mut buffer) => {
                    // An error here is an ICMP answer to something sent before: not the end.
                    let Ok((length, from)) = received else { continue };
                    let Ok(place) = places.clone().try_acquire_owned() else { continue };
                    let (server, udp, question) = (server.clone(), udp.clone(), buffer[..length].to_vec());
                    tokio::spawn(async move {
                        if let Some(answer) = server.answer(&question).await {
                            let _ = udp.send_to(&answer, from).await;
                        }
                        drop(place);
                    });
                }
                accepted = tcp.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    let Ok(place) = places.clone().try_acquire_owned() else { continue };
                    let server = server.clone();
                    tokio::spawn(async move {
                        let _ = server.talk(stream).await;
                        drop(place);
                    });
                }
            }
        }
    }

    /// Questions over TCP, each with its length before it.
    async fn talk(&self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let length = tokio::time::timeout(IDLE, stream.read_u16()).await??;
            let mut question = vec![0_u8; length.into()];
            tokio::time::timeout(IDLE, stream.read_exact(&mut question)).await??;
            let Some(answer) = self.answer(&question).await else {
                return Ok(());
            };
            let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
            stream.write_u16(length).await?;
            stream.write_all(&answer[..length.into()]).await?;
        }
    }

    /// The answer to a packet; none to what is no question.
    async fn answer(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let asked = Message::from_vec(packet).ok()?;
        if asked.metadata.message_type != MessageType::Query {
            return None;
        }
        let question = asked.queries.first()?;
        let name = question.name().to_ascii();
        let found = if self
            .own
            .iter()
            .any(|own| own.eq_ignore_ascii_case(name.trim_end_matches('.')))
        {
            Found::Addresses(vec![self.gateway])
        } else {
            self.names.look_up(&self.namespace, &name)
        };
        if found == Found::Elsewhere {
            return self.forward(packet, &asked).await;
        }
        let mut answer = reply(&asked);
        answer.metadata.authoritative = true;
        match found {
            Found::Addresses(addresses) if question.query_type() == RecordType::A => {
                for address in addresses {
                    if let IpAddr::V4(v4) = address {
                        let data = RData::A(A(v4));
                        answer.add_answer(Record::from_rdata(question.name().clone(), TTL, data));
                    }
                }
            }
            // It exists, and has no such record.
            Found::Addresses(_) => {}
            _ => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        answer.to_vec().ok()
    }

    /// Asks the host's name servers in turn, with the packet as it came.
    async fn forward(&self, packet: &[u8], asked: &Message) -> Option<Vec<u8>> {
        for server in self.upstream.iter() {
            let ask = async {
                let any: SocketAddr = match server {
                    IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
                    IpAddr::V6(_) => ([0_u16; 8], 0).into(),
                };
                let socket = UdpSocket::bind(any).await?;
                socket.connect((*server, 53)).await?;
                socket.send(packet).await?;
                let mut buffer = vec![0_u8; 4096];
                let length = socket.recv(&mut buffer).await?;
                buffer.truncate(length);
                Ok::<_, std::io::Error>(buffer)
            };
            if let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, ask).await {
                return Some(answer);
            }
        }
        let mut answer = reply(asked);
        answer.metadata.response_code = ResponseCode::ServFail;
        answer.to_vec().ok()
    }
}

fn reply(asked: &Message) -> Message {
    let mut answer = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_desired = asked.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.add_queries(asked.queries.iter().cloned());
    answer
}

/// The host's own name servers, as its resolv.conf names them.
pub fn host_resolvers() -> Arc<[IpAddr]> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse().ok())?
    });
    servers.take(3).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn index() -> Index {
        let mut index = Index::default();
        for (name, ip, labels, spec) in [
            (
                "job-worker-0",
                "10.0.0.2",
                json!({"i": "0", "job": "job"}),
                json!({"containers": []}),
            ),
            (
                "job-worker-1",
                "10.0.0.3",
                json!({"i": "1", "job": "job"}),
                json!({"containers": []}),
            ),
            (
                "t-node-0-0-abcde",
                "10.0.0.4",
                json!({}),
                json!({"containers": [], "hostname": "t-node-0-0", "subdomain": "t"}),
            ),
        ] {
            let mut pod = Object::new(&POD, "ann", name);
            pod.metadata.labels = serde_json::from_value(labels).unwrap();
            pod.set("spec", &spec).unwrap();
            pod.set("status", &json!({"phase": "Running", "podIP": ip}))
                .unwrap();
            index.put(&pod, false);
        }
        let mut service = Object::new(&SERVICE, "ann", "all");
        service
            .set("spec", &json!({"selector": {"job": "job"}}))
            .unwrap();
        index.put(&service, false);
        let mut empty = Object::new(&SERVICE, "ann", "empty");
        empty
            .set("spec", &json!({"selector": {"job": "other"}}))
            .unwrap();
        index.put(&empty, false);
        index
    }

    #[test]
    fn the_names_of_a_cluster() {
        let index = index();
        let ip = |last: u8| IpAddr::from([10, 0, 0, last]);
        for (name, wanted) in [
            ("job-worker-0.", Found::Addresses(vec![ip(2)])),
            ("job-worker-0.ann", Found::Addresses(vec![ip(2)])),
            ("JOB-worker-1.ann.svc", Found::Addresses(vec![ip(3)])),
            (
                "all.ann.svc.cluster.local",
                Found::Addresses(vec![ip(2), ip(3)]),
            ),
            ("empty.ann.svc.cluster.local", Found::Addresses(vec![])),
            ("t-node-0-0.t", Found::Addresses(vec![ip(4)])),
            (
                "t-node-0-0.t.ann.svc.cluster.local.",
                Found::Addresses(vec![ip(4)]),
            ),
            ("t-node-0-0.ann.svc.cluster.local", Found::Nothing),
            ("all.bob.svc.cluster.local", Found::Nothing),
            ("nobody.ann.svc", Found::Nothing),
            ("pypi.org.ann.svc.cluster.local", Found::Nothing),
            ("pypi.org.cluster.local", Found::Nothing),
            ("pypi.org", Found::Elsewhere),
            ("nobody", Found::Elsewhere),
        ] {
            assert_eq!(index.look_up("ann", name), wanted, "{name}");
        }
        assert_eq!(index.look_up("bob", "job-worker-0.ann.svc"), Found::Nothing);
    }

    #[tokio::test]
    async fn what_is_no_question_gets_no_answer() {
        let server = NameServer {
            names: Arc::default(),
            namespace: "ann".into(),
            own: vec!["ml-pipeline.kubeflow".into()],
            gateway: IpAddr::from([172, 18, 0, 1]),
            upstream: Arc::new([]),
        };
        for packet in [&b""[..], b"x", &[0xff; 64]] {
            assert!(server.answer(packet).await.is_none());
        }
        let mut ask = Message::new(7, MessageType::Query, OpCode::Query);
        let name = hickory_proto::rr::Name::from_ascii("ML-pipeline.kubeflow.").unwrap();
        ask.add_query(hickory_proto::op::Query::query(name, RecordType::A));
        let answer = server.answer(&ask.to_vec().unwrap()).await.unwrap();
        let answer = Message::from_vec(&answer).unwrap();
        assert_eq!((answer.metadata.id, answer.answers.len()), (7, 1));
    }
}
