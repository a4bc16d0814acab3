//! The registry of models: what both of its dialects do, Kubeflow's ([`kubeflow`]) and MLflow's. The rules are here
//! once: names are unique, versions are numbered, an alias names one version.

mod kubeflow;

use kfbox_store::{
    Code, Error, Object, Propagation, Ref, Result, Selector, Store, Txn,
    kinds::registry::{MODEL_VERSION, ModelVersionSpec, REGISTERED_MODEL, RegisteredModelSpec},
};

pub(crate) use kubeflow::{namespace, routes, speaks};

/// When the object was changed last, in milliseconds since 1970.
const UPDATED: &str = "kfbox.dev/updated-ms";
/// When it was made; the object's own time has no fractions.
const CREATED: &str = "kfbox.dev/created-ms";

fn now() -> String {
    jiff::Timestamp::now().as_millisecond().to_string()
}

fn ms(object: &Object, mark: &str) -> i64 {
    let text = object.metadata.annotations.get(mark);
    text.and_then(|t| t.parse().ok()).unwrap_or(0)
}

/// When it was made, in milliseconds since 1970.
pub(crate) fn created(object: &Object) -> i64 {
    ms(object, CREATED)
}

/// When it was changed last, in milliseconds since 1970.
pub(crate) fn updated(object: &Object) -> i64 {
    ms(object, UPDATED)
}

/// A registered model or one of its versions, with its spec read.
#[derive(Clone, Debug)]
pub(crate) struct Entry<S> {
    pub object: Object,
    pub spec: S,
}

pub(crate) type Model = Entry<RegisteredModelSpec>;
pub(crate) type Version = Entry<ModelVersionSpec>;

impl<S: serde::de::DeserializeOwned> Entry<S> {
    pub(super) fn of(object: Object) -> Result<Self> {
        let spec = object.spec()?;
        Ok(Self { object, spec })
    }

    pub(crate) fn id(&self) -> &str {
        &self.object.metadata.name
    }
}

fn read<S: serde::de::DeserializeOwned>(objects: Vec<Object>) -> Result<Vec<Entry<S>>> {
    objects.into_iter().map(Entry::of).collect()
}

/// All models of a namespace.
pub(crate) async fn models(store: &Store, namespace: &str) -> Result<Vec<Model>> {
    let all = store
        .list(&REGISTERED_MODEL, Selector::namespace(namespace))
        .await?;
    read(all.items)
}

/// All versions in a namespace; of one model when it is given.
pub(crate) async fn versions(
    store: &Store,
    namespace: &str,
    model: Option<&Model>,
) -> Result<Vec<Version>> {
    let mut all: Vec<Version> = match model {
        Some(model) => read(
            store
                .owned(&model.object.metadata.uid, &MODEL_VERSION)
                .await?,
        )?,
        None => read(
            store
                .list(&MODEL_VERSION, Selector::namespace(namespace))
                .await?
                .items,
        )?,
    };
    all.sort_by_key(|v| v.spec.number);
    Ok(all)
}

/// The model of this name.
pub(crate) async fn model(store: &Store, namespace: &str, name: &str) -> Result<Model> {
    let all = models(store, namespace).await?;
    let found = all.into_iter().find(|m| m.spec.name == name);
    found.ok_or_else(|| no_model(name))
}

fn no_model(name: &str) -> Error {
    Error::not_found(format!("Registered Model with name={name} not found"))
}

/// A model and one of its versions by MLflow's number.
pub(crate) async fn version(
    store: &Store,
    namespace: &str,
    name: &str,
    number: u64,
) -> Result<(Model, Version)> {
    let model = model(store, namespace, name).await?;
    let all = versions(store, namespace, Some(&model)).await?;
    match all.into_iter().find(|v| v.spec.number == number) {
        Some(version) => Ok((model, version)),
        None => Err(Error::not_found(format!(
            "Model Version (name={name}, version={number}) not found"
        ))),
    }
}

/// The same inside a transaction.
fn find_model(txn: &Txn<'_>, namespace: &str, name: &str) -> Result<Option<Object>> {
    let same = |o: &Object| {
        o.spec::<RegisteredModelSpec>()
            .is_ok_and(|s| s.name == name)
    };
    txn.find(&REGISTERED_MODEL, Some(namespace), same)
}

fn stamp(object: &mut Object) {
    object.metadata.annotations.insert(UPDATED.into(), now());
}

fn new_object(txn: &Txn<'_>, kind: &'static kfbox_store::Kind, namespace: &str) -> Object {
    // Upstream's ids are numbers of at most nine digits.
    let id = txn.next_version().to_string();
    let mut object = Object::new(kind, namespace, &id);
    object.metadata.annotations.insert(CREATED.into(), now());
    stamp(&mut object);
    object
}

fn name_is_free(txn: &Txn<'_>, namespace: &str, name: &str) -> Result<()> {
    match find_model(txn, namespace, name)? {
        None => Ok(()),
        Some(_) => Err(Error::new(
            Code::AlreadyExists,
            format!(
                "Registered Model (name={name}) already exists: add a version to it, or choose another name"
            ),
        )),
    }
}

/// Makes a model whose name is free.
pub(crate) async fn create_model(
    store: &Store,
    namespace: &str,
    spec: RegisteredModelSpec,
) -> Result<Model> {
    let namespace = namespace.to_owned();
    let write = store.write(move |txn| {
        name_is_free(txn, &namespace, &spec.name)?;
        let object = new_object(txn, &REGISTERED_MODEL, &namespace).with_spec(&spec)?;
        txn.create(object)
    });
    Entry::of(write.await?)
}

/// Makes the model's next version.
pub(crate) async fn create_version(
    store: &Store,
    model: &Model,
    mut spec: ModelVersionSpec,
) -> Result<Version> {
    let at = reference(&model.object)?;
    let write = store.write(move |txn| {
        let owner = txn.fetch(&at)?;
        let known: RegisteredModelSpec = owner.spec()?;
        spec.number = known.last_version + 1;
        if spec.name.is_empty() {
            spec.name = spec.number.to_string();
        }
        spec.registered_model_id.clone_from(&owner.metadata.name);
        let same = |o: &Object| {
            o.spec::<ModelVersionSpec>().is_ok_and(|s| {
                s.registered_model_id == spec.registered_model_id && s.name == spec.name
            })
        };
        if txn
            .find(&MODEL_VERSION, Some(&at.namespace), same)?
            .is_some()
        {
            return Err(Error::new(
                Code::AlreadyExists,
                format!(
                    "version {} of model {} already exists: choose another name",
                    spec.name, known.name
                ),
            ));
        }
        let object = new_object(txn, &MODEL_VERSION, &at.namespace);
        name_artifacts(&mut spec, &object.metadata.name);
        let made = txn.create(object.with_spec(&spec)?.owned_by(&owner))?;
        txn.modify(&at, |o| {
            stamp(o);
            change(o, |s: &mut RegisteredModelSpec| {
                s.last_version = spec.number;
                Ok(())
            })
        })?;
        Ok(made)
    });
    Entry::of(write.await?)
}

/// Gives artifacts without an id one, and their times.
fn name_artifacts(spec: &mut ModelVersionSpec, version: &str) {
    let taken = spec
        .artifacts
        .iter()
        .filter_map(|a| a.get("id")?.as_str()?.rsplit('-').next()?.parse().ok());
    let mut last: u64 = taken.max().unwrap_or(0);
    for artifact in &mut spec.artifacts {
        if artifact
            .get("id")
            .and_then(|id| id.as_str())
            .is_some_and(|id| !id.is_empty())
        {
            continue;
        }
        last += 1;
        let now = now();
        artifact.insert("id".into(), format!("{version}-{last}").into());
        artifact.insert("createTimeSinceEpoch".into(), now.clone().into());
        artifact.insert("lastUpdateTimeSinceEpoch".into(), now.into());
    }
}

fn reference(object: &Object) -> Result<Ref> {
    object
        .reference()
        .ok_or_else(|| Error::internal("an object of the registry without a kind"))
}

fn change<S>(object: &mut Object, f: impl FnOnce(&mut S) -> Result<()>) -> Result<()>
where
    S: serde::Serialize + serde::de::DeserializeOwned,
{
    let mut spec: S = object.spec()?;
    f(&mut spec)?;
    object.set("spec", &spec)
}

/// Changes a model; a new name must be free.
pub(crate) async fn change_model(
    store: &Store,
    at: &Object,
    f: impl FnOnce(&mut RegisteredModelSpec) -> Result<()> + Send + 'static,
) -> Result<Model> {
    let at = reference(at)?;
    let write = store.write(move |txn| {
        let before: RegisteredModelSpec = txn.fetch(&at)?.spec()?;
        let mut after = before.clone();
        f(&mut after)?;
        if after.name != before.name {
            name_is_free(txn, &at.namespace, &after.name)?;
        }
        txn.modify(&at, |o| {
            if after != before {
                stamp(o);
            }
            o.set("spec", &after)
        })
    });
    Entry::of(write.await?)
}

/// Changes a version. Returns it with what the change says of itself.
pub(crate) async fn change_version<T: Send + 'static>(
    store: &Store,
    at: &Object,
    f: impl FnOnce(&mut ModelVersionSpec) -> Result<T> + Send + 'static,
) -> Result<(Version, T)> {
    let at = reference(at)?;
    let write = store.write(move |txn| {
        let before: ModelVersionSpec = txn.fetch(&at)?.spec()?;
        let mut after = before.clone();
        let said = f(&mut after)?;
        name_artifacts(&mut after, &at.name);
        let object = txn.modify(&at, |o| {
            if after != before {
                stamp(o);
            }
            o.set("spec", &after)
        })?;
        Ok((object, said))
    });
    let (object, said) = write.await?;
    Ok((Entry::of(object)?, said))
}

/// Removes a model with all its versions.
pub(crate) async fn delete_model(store: &Store, model: &Model) -> Result<()> {
    let at = reference(&model.object)?;
    store
        .write(move |txn| txn.delete(&at, Propagation::Cascade).map(|_| ()))
        .await
}

/// Removes a version, and the aliases that name it.
pub(crate) async fn delete_version(store: &Store, model: &Model, version: &Version) -> Result<()> {
    let (owner, at) = (reference(&model.object)?, reference(&version.object)?);
    let number = version.spec.number;
    let write = store.write(move |txn| {
        txn.delete(&at, Propagation::Cascade)?;
        txn.modify(&owner, |o| {
            stamp(o);
            change(o, |s: &mut RegisteredModelSpec| {
                s.aliases.retain(|_, n| *n != number);
                Ok(())
            })
        })
    });
    write.await.map(|_| ())
}
