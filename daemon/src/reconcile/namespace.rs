//! The namespace room: gives each namespace its service accounts and its key to the S3 endpoint, and takes everything in it along when it goes.

use std::time::Duration;

use async_trait::async_trait;
use kfbox_store::{
    Code, Error, Event, Kind, Object, Ref, Result, Selector,
    kinds::{
        access::ACCESS_KEY,
        cluster::SERVICE_ACCOUNT,
        core::{NAMESPACE, NAMESPACE_FINALIZER},
    },
};
use serde_json::json;

use super::Ctx;
use crate::controller::{Action, Reconciler};

/// Service accounts of every namespace, as in a Kubeflow profile.
const ACCOUNTS: &[&str] = &["default", "default-editor"];
/// The key to the namespace's buckets; its Secret has the name that Kubeflow gives it.
const STORE_KEY: &str = "mlpipeline-minio-artifact";
/// While what is in a namespace goes.
const AGAIN: Duration = Duration::from_millis(500);

/// The room.
pub struct Namespaces(pub Ctx);

#[async_trait]
impl Reconciler for Namespaces {
    fn name(&self) -> &'static str {
        "namespace"
    }

    fn kinds(&self) -> Vec<&'static Kind> {
        vec![&NAMESPACE]
    }

    fn concerns(&self, event: &Event, wake: &mut dyn FnMut(Ref)) {
        let object = &event.object;
        if object.kind == NAMESPACE.kind && !event.deleted() {
            wake(Ref::new(&NAMESPACE, "", &object.metadata.name));
        }
    }

    async fn reconcile(&self, key: &Ref) -> Result<Action> {
        let Some(namespace) = self.0.store.get(key).await? else {
            return Ok(Action::Wait);
        };
        if namespace.deleting() {
            return self.take_away(key, &namespace).await;
        }
        for account in ACCOUNTS {
            let at = Ref::new(&SERVICE_ACCOUNT, &key.name, account);
            if self.0.store.get(&at).await?.is_none() {
                let account = Object::new(&SERVICE_ACCOUNT, &key.name, account);
                match self.0.store.create(account).await {
                    Err(e) if e.code != Code::AlreadyExists => return Err(e),
                    _ => {}
                }
            }
        }
        let at = Ref::new(&ACCESS_KEY, &key.name, STORE_KEY);
        if self.0.store.get(&at).await?.is_none() {
            let access = Object::new(&ACCESS_KEY, &key.name, STORE_KEY)
                .with_spec(&json!({"note": "for the namespace's own workloads"}))?;
            match self.0.store.create(access).await {
                Err(e) if e.code != Code::AlreadyExists => return Err(e),
                _ => {}
            }
        }
        // A namespace of an older version has neither.
        let lacks = !has_finalizer(&namespace);
        if lacks || !namespace.body.contains_key("status") {
            self.0
                .store
                .modify(key, |n| {
                    if !has_finalizer(n) {
                        n.metadata.finalizers.push(NAMESPACE_FINALIZER.into());
                    }
                    n.set("status", &json!({"phase": "Active"}))
                })
                .await?;
        }
        Ok(Action::Wait)
    }
}

fn has_finalizer(namespace: &Object) -> bool {
    let mut finalizers = namespace.metadata.finalizers.iter();
    finalizers.any(|f| f == NAMESPACE_FINALIZER)
}

impl Namespaces {
    async fn take_away(&self, key: &Ref, namespace: &Object) -> Result<Action> {
        if !has_finalizer(namespace) {
            return Ok(Action::Wait);
        }
        let store = &self.0.store;
        let phase = namespace.body.get("status").and_then(|s| s.get("phase"));
        if phase != Some(&json!("Terminating")) {
            store
                .modify(key, |n| n.set("status", &json!({"phase": "Terminating"})))
                .await?;
        }
        let mut left = 0;
        for kind in Kind::all().filter(|k| k.namespaced) {
            let inside = store.list(kind, Selector::namespace(&key.name)).await?;
            for object in inside.items {
                if !object.deleting() {
                    store
                        .delete(&Ref::new(kind, &key.name, &object.metadata.name))
                        .await?;
                }
                left += 1;
            }
        }
        if left > 0 {
            return Ok(Action::After(AGAIN));
        }
        self.0.pool.clear_namespace(&key.name).await?;
        self.0.driver.remove_network(&key.name).await?;
        self.0
            .gateways
            .send_if_modified(|g| g.remove(&key.name).is_some());
        for folder in ["accounts", "volumes", "logs"] {
            let path = self.0.data.join(folder).join(&key.name);
            match tokio::fs::remove_dir_all(&path).await {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::internal(format!("{}: {e}", path.display())));
                }
                _ => {}
            }
        }
        store
            .modify(key, |n| {
                n.metadata.finalizers.retain(|f| f != NAMESPACE_FINALIZER);
                Ok(())
            })
            .await?;
        Ok(Action::Wait)
    }
}
