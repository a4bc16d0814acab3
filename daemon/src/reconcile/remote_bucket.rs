//! The remote-bucket room: opens the way to each bucket of another server, and says whether it can be gone.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use kfbox_store::{
    Code, Error, Event, Kind, Ref, Result,
    blob::remote::{Remote, RemotePlace},
    kinds::{
        cluster::SECRET,
        storage::{REMOTE_BUCKET, REMOTE_FINALIZER, RemoteBucketSpec, RemoteBucketStatus},
    },
};

use super::Ctx;
use crate::controller::{Action, Reconciler};

/// Between two looks at whether the server answers.
const AGAIN: Duration = Duration::from_secs(60);

/// The room.
pub struct RemoteBuckets(pub Ctx);

#[async_trait]
impl Reconciler for RemoteBuckets {
    fn name(&self) -> &'static str {
        "remote-bucket"
    }

    fn kinds(&self) -> Vec<&'static Kind> {
        vec![&REMOTE_BUCKET]
    }

    fn concerns(&self, event: &Event, wake: &mut dyn FnMut(Ref)) {
        let object = &event.object;
        if object.kind == REMOTE_BUCKET.kind && !event.deleted() {
            wake(Ref::new(&REMOTE_BUCKET, "", &object.metadata.name));
        }
    }

    async fn reconcile(&self, key: &Ref) -> Result<Action> {
        let Some(object) = self.0.store.get(key).await? else {
            return Ok(Action::Wait);
        };
        let spec: RemoteBucketSpec = object.spec()?;
        if object.deleting() {
            self.0.blobs.unmount(&key.name, &spec.namespace).await?;
            let let_go = self.0.store.modify(key, |o| {
                o.metadata.finalizers.retain(|f| f != REMOTE_FINALIZER);
                Ok(())
            });
            return let_go.await.map(|_| Action::Wait);
        }
        let status = match self.open(key, spec).await {
            Ok(()) => RemoteBucketStatus {
                phase: "Ready".into(),
                ..RemoteBucketStatus::default()
            },
            Err(e) if e.code == Code::Internal => return Err(e),
            Err(e) => RemoteBucketStatus {
                phase: "Failed".into(),
                message: match e.context {
                    Some(context) => format!("{} ({context})", e.message),
                    None => e.message,
                },
            },
        };
        if object.status::<RemoteBucketStatus>()? != status {
            self.0
                .store
                .modify(key, move |o| o.set("status", &status))
                .await?;
        }
        Ok(Action::After(AGAIN))
    }
}

impl RemoteBuckets {
    async fn open(&self, key: &Ref, spec: RemoteBucketSpec) -> Result<()> {
        let remote = Remote::open(&RemotePlace {
            secrets: self.secrets(&spec).await?,
            url: spec.url,
            endpoint: spec.endpoint,
            region: spec.region,
        })?;
        let answers = remote.check().await;
        // It is a bucket here also while its server is away: who asks is told so.
        self.0
            .blobs
            .mount(&key.name, &spec.namespace, remote)
            .await?;
        answers
    }

    async fn secrets(&self, spec: &RemoteBucketSpec) -> Result<BTreeMap<String, String>> {
        if spec.secret_name.is_empty() {
            return Ok(BTreeMap::new());
        }
        let at = Ref::new(&SECRET, &spec.namespace, &spec.secret_name);
        let Some(secret) = self.0.store.get(&at).await? else {
            return Err(Error::not_found(format!(
                "spec.secretName: there is no Secret {} in {}",
                spec.secret_name, spec.namespace
            )));
        };
        let data = secret.body.get("data").and_then(|d| d.as_object());
        let mut found = BTreeMap::new();
        for (name, value) in data.into_iter().flatten() {
            let text = value.as_str().unwrap_or_default();
            let bytes = STANDARD
                .decode(text)
                .unwrap_or_else(|_| text.as_bytes().to_vec());
            if let Ok(text) = String::from_utf8(bytes) {
                found.insert(name.clone(), text);
            }
        }
        Ok(found)
    }
}
