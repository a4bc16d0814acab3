//! The access-key room: keeps beside each AccessKey a Secret of its name with the key's id and secret, under the
//! names that Kubeflow's manifests and the AWS SDKs look for.

use std::collections::BTreeMap;

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use kfbox_store::{
    Code, Event, Kind, Object, Ref, Result,
    blob::s3::access_key_id,
    kinds::{access::ACCESS_KEY, cluster::SECRET},
};
use serde_json::json;

use super::Ctx;
use crate::controller::{Action, Reconciler};

/// The room.
pub struct AccessKeys(pub Ctx);

#[async_trait]
impl Reconciler for AccessKeys {
    fn name(&self) -> &'static str {
        "access-key"
    }

    fn kinds(&self) -> Vec<&'static Kind> {
        vec![&ACCESS_KEY]
    }

    fn concerns(&self, event: &Event, wake: &mut dyn FnMut(Ref)) {
        let object = &event.object;
        let key = Ref::new(
            &ACCESS_KEY,
            &object.metadata.namespace,
            &object.metadata.name,
        );
        let ours = object.kind == SECRET.kind
            && object
                .metadata
                .owner_references
                .iter()
                .any(|o| o.kind == ACCESS_KEY.kind);
        if object.kind == ACCESS_KEY.kind || ours {
            wake(key);
        }
    }

    async fn reconcile(&self, key: &Ref) -> Result<Action> {
        let Some(object) = self.0.store.get(key).await?.filter(|o| !o.deleting()) else {
            return Ok(Action::Wait);
        };
        let wanted = self.secret(&object)?;
        let at = Ref::new(&SECRET, &key.namespace, &key.name);
        match self.0.store.get(&at).await? {
            Some(there) if there.body.get("data") == wanted.body.get("data") => {}
            Some(there)
                if there
                    .metadata
                    .owner_references
                    .iter()
                    .any(|o| o.uid == object.metadata.uid) =>
            {
                self.0
                    .store
                    .modify(&at, move |secret| {
                        secret.body.clone_from(&wanted.body);
                        Ok(())
                    })
                    .await?;
            }
            // Somebody's own Secret of this name stays; the key works without.
            Some(_) => tracing::warn!(
                name = key.name,
                namespace = key.namespace,
                "an AccessKey's Secret is not written: another one has its name"
            ),
            None => match self.0.store.create(wanted).await {
                Err(e) if e.code != Code::AlreadyExists => return Err(e),
                _ => {}
            },
        }
        Ok(Action::Wait)
    }
}

impl AccessKeys {
    fn secret(&self, key: &Object) -> Result<Object> {
        let (id, secret) = (access_key_id(key), self.0.keys.secret(key)?);
        let data: BTreeMap<&str, String> = [
            ("AWS_ACCESS_KEY_ID", &id),
            ("AWS_SECRET_ACCESS_KEY", &secret),
            ("accesskey", &id),
            ("secretkey", &secret),
        ]
        .into_iter()
        .map(|(name, value)| (name, STANDARD.encode(value)))
        .collect();
        let mut object =
            Object::new(&SECRET, &key.metadata.namespace, &key.metadata.name).owned_by(key);
        object.set("data", &json!(data))?;
        object.set("type", &json!("Opaque"))?;
        Ok(object)
    }
}
