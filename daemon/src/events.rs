//! Events: what is worth telling about an object, for `kubectl describe` and the pages. The same news about the
//! same object is one Event with a count, as in Kubernetes.

use kfbox_store::{Error, Object, Ref, Result, Store, Txn, kinds::core::EVENT, now};
use serde_json::json;
use sha2::{Digest, Sha256};

/// Whether it is news or trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Normal,
    /// Somebody may want to act.
    Warning,
}

/// Tells `message` about an object. Lost when the store cannot write: an Event never stops the work it tells of.
pub async fn record(store: &Store, about: &Object, level: Level, reason: &str, message: &str) {
    let (about, reason, message) = (about.clone(), reason.to_string(), message.to_string());
    let told = store
        .write(move |txn| record_in(txn, &about, level, &reason, &message))
        .await;
    if let Err(e) = told {
        tracing::debug!(context = e.context, "an event was not kept: {e}");
    }
}

/// As [`record`], in a transaction with what it tells of.
///
/// # Errors
/// A storage error.
pub fn record_in(
    txn: &mut Txn<'_>,
    about: &Object,
    level: Level,
    reason: &str,
    message: &str,
) -> Result<()> {
    let meta = &about.metadata;
    let namespace = match meta.namespace.as_str() {
        "" => "default",
        ns => ns,
    };
    let digest = hex::encode(Sha256::digest(
        [meta.uid.as_str(), reason, message].join("\0").as_bytes(),
    ));
    let stem: String = meta.name.chars().take(230).collect();
    let name = format!("{stem}.{}", &digest[..16]);
    let at = Ref::new(&EVENT, namespace, &name);
    let time = now();
    if txn.get(&at)?.is_some() {
        txn.modify(&at, |event| {
            let count = event.body.get("count").and_then(|c| c.as_u64());
            event.set("count", &(count.unwrap_or(1) + 1))?;
            event.set("lastTimestamp", &time)
        })?;
        return Ok(());
    }
    let body = json!({
        "involvedObject": {
            "apiVersion": about.api_version, "kind": about.kind, "namespace": meta.namespace,
            "name": meta.name, "uid": meta.uid, "resourceVersion": meta.resource_version.to_string(),
        },
        "type": match level { Level::Normal => "Normal", Level::Warning => "Warning" },
        "reason": reason, "message": message, "count": 1,
        "firstTimestamp": time, "lastTimestamp": time,
        "source": {"component": "kfbox"}, "reportingComponent": "kfbox", "reportingInstance": "kfbox",
    });
    let mut event = Object::new(&EVENT, namespace, &name);
    event.body = body
        .as_object()
        .cloned()
        .ok_or_else(|| Error::internal("an event is an object"))?;
    txn.create(event)?;
    Ok(())
}
