//! Where workloads find the box: on the gateway of each namespace's network it answers the KFP API, the
//! Kubernetes-shaped API over TLS, S3, and questions for names.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use kfbox_web::{Router, Tls};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::{
    dns::{NameServer, Names},
    reconcile::pod,
};

/// Upstream's port of `ml-pipeline`.
const PIPELINES: u16 = 8888;
/// `KUBERNETES_SERVICE_PORT` in Pods.
const KUBE: u16 = 6443;
/// `kubernetes.default.svc`'s own port, where nothing else of the host has it.
const KUBE_USUAL: u16 = 443;
/// Upstream's port of `minio-service`.
const S3: u16 = 9000;
/// Before a port that could not be had is tried again: the engine may be setting its bridge up.
const AGAIN: Duration = Duration::from_secs(2);

/// What is answered on a gateway.
#[derive(Clone)]
pub(super) struct Doors {
    pub app: Arc<kfbox_web::App>,
    pub router: Router,
    pub kube_router: Router,
    pub s3_router: Router,
    pub tls: Tls,
    pub names: Arc<Names>,
    pub resolvers: Arc<[IpAddr]>,
}

impl Doors {
    /// Opens the doors on every gateway that there is, and closes those of networks that are gone, until told to stop.
    pub(super) async fn open(
        self,
        mut gateways: watch::Receiver<BTreeMap<String, IpAddr>>,
        stop: CancellationToken,
    ) {
        for name in pod::BOX_NAMES.iter().chain(kfbox_web::KUBE_NAMES) {
            self.app.config.hosts.add(*name);
        }
        let mut open: HashMap<(String, IpAddr), CancellationToken> = HashMap::new();
        loop {
            let wanted: Vec<(String, IpAddr)> = {
                let now = gateways.borrow_and_update();
                now.iter().map(|(ns, ip)| (ns.clone(), *ip)).collect()
            };
            open.retain(|key, closing| {
                let stays = wanted.contains(key);
                if !stays {
                    closing.cancel();
                }
                stays
            });
            for key in wanted {
                let (namespace, address) = key.clone();
                open.entry(key).or_insert_with(|| {
                    let closing = stop.child_token();
                    self.gateway(namespace, address, &closing);
                    closing
                });
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = gateways.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn gateway(&self, namespace: String, address: IpAddr, closing: &CancellationToken) {
        self.app.config.hosts.add(address.to_string());
        self.door(address, PIPELINES, None, &self.router, closing, true);
        self.door(address, S3, None, &self.s3_router, closing, true);
        let tls = Some(self.tls.clone());
        self.door(address, KUBE, tls.clone(), &self.kube_router, closing, true);
        self.door(address, KUBE_USUAL, tls, &self.kube_router, closing, false);
        let (doors, closing) = (self.clone(), closing.clone());
        tokio::spawn(async move {
            let mut told = false;
            loop {
                let own = pod::BOX_NAMES.iter().chain(kfbox_web::KUBE_NAMES);
                let server = NameServer {
                    names: doors.names.clone(),
                    namespace: namespace.clone(),
                    own: own.map(ToString::to_string).collect(),
                    gateway: address,
                    upstream: doors.resolvers.clone(),
                };
                tokio::select! {
                    () = closing.cancelled() => return,
                    ended = server.run() => {
                        if let Err(e) = ended && !std::mem::replace(&mut told, true) {
                            tracing::warn!(
                                namespace,
                                "Pods do not find each other by name: {address}:53: {e}; is another name server listening on all addresses?"
                            );
                        }
                    }
                }
                tokio::select! {
                    () = closing.cancelled() => return,
                    () = tokio::time::sleep(AGAIN) => {}
                }
            }
        });
    }

    /// One port, tried again until it can be had; one that is not `needed` is let go in silence.
    fn door(
        &self,
        address: IpAddr,
        port: u16,
        tls: Option<Tls>,
        router: &Router,
        closing: &CancellationToken,
        needed: bool,
    ) {
        let (router, closing) = (router.clone(), closing.clone());
        tokio::spawn(async move {
            let mut told = false;
            loop {
                match TcpListener::bind((address, port)).await {
                    Ok(listener) => {
                        let until = closing.clone().cancelled_owned();
                        if let Err(e) =
                            kfbox_web::serve(listener, tls.clone(), router.clone(), until).await
                        {
                            tracing::error!(
                                "the workloads' listener on {address}:{port} ended: {e}"
                            );
                        }
                    }
                    Err(e) if needed => {
                        if !std::mem::replace(&mut told, true) {
                            tracing::warn!("workloads cannot reach the box: {address}:{port}: {e}");
                        }
                    }
                    Err(_) => return,
                }
                tokio::select! {
                    () = closing.cancelled() => return,
                    () = tokio::time::sleep(AGAIN) => {}
                }
            }
        });
    }
}
