//! The runtimes that every box has, as upstream ships them. Applied at each start, unless their user changed
//! them: an annotation keeps the digest of what was applied, and one that is deleted comes back.

use kfbox_store::{
    Code, Error, Object, Ref, Result, Store,
    kinds::{cluster::CONFIG_MAP, core::NAMESPACE, trainer::CLUSTER_TRAINING_RUNTIME},
};
use serde_json::json;
use sha2::{Digest, Sha256};

/// What the box applied, so that a user's change is told from an older version of the box.
const APPLIED: &str = "kfbox.dev/applied";
/// The namespace in which SDKs look up the trainer's version.
const SYSTEM: &str = "kubeflow-system";
/// The version of upstream's trainer whose API this is.
const VERSION: &str = "2.3.0";

const RUNTIMES: &[&str] = &[
    include_str!("../../assets/runtimes/torch_distributed.yaml"),
    include_str!("../../assets/runtimes/deepspeed_distributed.yaml"),
    include_str!("../../assets/runtimes/jax_distributed.yaml"),
    include_str!("../../assets/runtimes/xgboost_distributed.yaml"),
    include_str!("../../assets/runtimes/mpi_distributed.yaml"),
];

/// Puts the runtimes and the trainer's version into the store.
///
/// # Errors
/// A storage error.
pub async fn ensure(store: &Store) -> Result<()> {
    let runtimes = RUNTIMES
        .iter()
        .map(|t| parse(t))
        .collect::<Result<Vec<_>>>()?;
    store
        .write(move |txn| {
            for runtime in runtimes {
                let at = Ref::new(&CLUSTER_TRAINING_RUNTIME, "", &runtime.metadata.name);
                match txn.get(&at)? {
                    None => {
                        txn.create(runtime)?;
                    }
                    Some(there) if untouched(&there)? => {
                        txn.modify(&at, |r| {
                            r.body = runtime.body;
                            r.metadata.labels.extend(runtime.metadata.labels);
                            r.metadata.annotations.extend(runtime.metadata.annotations);
                            Ok(())
                        })?;
                    }
                    Some(_) => {}
                }
            }
            let namespace = Object::new(&NAMESPACE, "", SYSTEM);
            let mut version = Object::new(&CONFIG_MAP, SYSTEM, "kubeflow-trainer-public");
            version.set("data", &json!({"kubeflow_trainer_version": VERSION}))?;
            for object in [namespace, version] {
                match txn.create(object) {
                    Err(e) if e.code != Code::AlreadyExists => return Err(e),
                    _ => {}
                }
            }
            Ok(())
        })
        .await
}

fn parse(text: &str) -> Result<Object> {
    let mut runtime: Object = serde_saphyr::from_str(text).map_err(Error::internal)?;
    // Defaults first: they are part of what is stored.
    (CLUSTER_TRAINING_RUNTIME.prepare)(&mut runtime)?;
    let digest = digest(&runtime)?;
    runtime.metadata.annotations.insert(APPLIED.into(), digest);
    Ok(runtime)
}

fn untouched(runtime: &Object) -> Result<bool> {
    Ok(runtime.metadata.annotations.get(APPLIED) == Some(&digest(runtime)?))
}

fn digest(runtime: &Object) -> Result<String> {
    let body = serde_json::to_string(&runtime.body).map_err(Error::internal)?;
    Ok(hex::encode(&Sha256::digest(body)[..8]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn runtimes_are_there_and_a_users_change_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("meta.redb")).unwrap();
        ensure(&store).await.unwrap();
        let version = store.version();
        ensure(&store).await.unwrap();
        assert_eq!(store.version(), version, "the second time does nothing");
        let at = |name: &str| Ref::new(&CLUSTER_TRAINING_RUNTIME, "", name);
        let torch = store.fetch(&at("torch-distributed")).await.unwrap();
        assert_eq!(torch.label("trainer.kubeflow.org/framework"), "torch");
        store
            .modify(&at("torch-distributed"), |r| {
                r.body["spec"]["mlPolicy"]["numNodes"] = json!(3);
                Ok(())
            })
            .await
            .unwrap();
        store.delete(&at("jax-distributed")).await.unwrap();
        ensure(&store).await.unwrap();
        let torch = store.fetch(&at("torch-distributed")).await.unwrap();
        assert_eq!(torch.body["spec"]["mlPolicy"]["numNodes"], 3);
        store.fetch(&at("jax-distributed")).await.unwrap();
        let public = Ref::new(&CONFIG_MAP, SYSTEM, "kubeflow-trainer-public");
        assert_eq!(
            store.fetch(&public).await.unwrap().body["data"]["kubeflow_trainer_version"],
            VERSION
        );
    }
}
