//! The rooms: each reads Objects, writes child Objects and its own status. Only `pod` has hands: it alone
//! calls the driver to act (`service` runs a helper in the sandboxes it made). A room is found by its name.

pub mod access_key;
pub mod backoff;
pub mod batch;
pub mod dag;
pub mod dataset;
pub mod deployment;
pub mod environment;
pub mod gc;
pub mod job;
pub mod namespace;
pub mod notebook;
pub mod pod;
pub mod remote_bucket;
pub mod run;
pub mod schedule;
pub mod scrub;
pub mod service;
pub mod statefulset;
pub mod task;
pub mod template;
pub mod trainjob;
pub mod volume;

pub use pod::requests as pod_requests;

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, sync::Arc};

use kfbox_store::{
    Result, Store,
    blob::{Blobs, s3::Keyring},
};
use tokio::sync::watch;

use crate::{
    driver::{Driver, Network},
    images::Images,
    metrics::Metrics,
    pipeline::Specs,
};

/// What every room may use.
#[derive(Clone)]
pub struct Ctx {
    /// What is true.
    pub store: Store,
    /// The engine.
    pub driver: Arc<dyn Driver>,
    /// Which image a name means.
    pub images: Arc<Images>,
    /// The keys of the S3 endpoint.
    pub keys: Arc<Keyring>,
    /// Where artifacts lie.
    pub blobs: Blobs,
    /// The box's folder.
    pub data: PathBuf,
    /// Parsed pipeline specs.
    pub specs: Arc<Specs>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// The box's id.
    pub box_id: String,
    /// Who holds what of the box.
    pub leases: Arc<schedule::Leases>,
    /// Sandboxes that steps share in turn.
    pub pool: Arc<pod::Pool>,
    /// The host's own name servers, for what the box's does not know.
    pub resolvers: Arc<[IpAddr]>,
    /// The host's address in each namespace's network that there is: the box answers there.
    pub gateways: Arc<watch::Sender<BTreeMap<String, IpAddr>>>,
}

impl Ctx {
    /// The folder of a step's outputs and scratch space, by Pod name. Lives until the step's outputs are read.
    pub fn step_dir(&self, pod: &str) -> PathBuf {
        self.data.join("steps").join(pod)
    }

    /// A namespace's network, made when its first Pod needs it; from then on the box answers in it.
    ///
    /// # Errors
    /// When the engine cannot make one.
    pub async fn network(&self, namespace: &str) -> Result<Network> {
        let network = self.driver.network(namespace).await?;
        self.gateways.send_if_modified(|gateways| {
            gateways.insert(namespace.into(), network.gateway) != Some(network.gateway)
        });
        Ok(network)
    }

    /// The folder of a Pod's own files, by its uid. Goes with the Pod.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.data.join("pods").join(uid)
    }
}
