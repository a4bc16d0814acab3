//! What must exist before the first request.

use kfbox_store::{
    Object, Result, Store,
    kinds::pipeline::{EXPERIMENT, ExperimentSpec},
};

/// The display name of the experiment for runs that name none.
pub const DEFAULT_EXPERIMENT: &str = "Default";

/// Creates the default experiment when it is missing. Call it at every start.
///
/// # Errors
/// A storage error.
pub async fn ensure_defaults(store: &Store, namespace: &str) -> Result<()> {
    let namespace = namespace.to_string();
    store
        .write(move |txn| default_experiment(txn, &namespace).map(|_| ()))
        .await
}

/// The default experiment, made when missing.
pub(crate) fn default_experiment(
    txn: &mut kfbox_store::Txn<'_>,
    namespace: &str,
) -> Result<Object> {
    let named = |o: &Object| {
        o.spec::<ExperimentSpec>()
            .is_ok_and(|s| s.display_name == DEFAULT_EXPERIMENT)
    };
    if let Some(found) = txn.find(&EXPERIMENT, Some(namespace), named)? {
        return Ok(found);
    }
    let id = uuid::Uuid::new_v4().to_string();
    let spec = ExperimentSpec {
        display_name: DEFAULT_EXPERIMENT.into(),
        description: "Runs that name no experiment".into(),
        ..ExperimentSpec::default()
    };
    txn.create(super::new_object(&EXPERIMENT, namespace, &id).with_spec(&spec)?)
}
