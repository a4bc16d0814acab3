//! Experiments: unique by name in their namespace; a deleted one keeps its name until it is gone for good.

use super::{EXPERIMENT, Experiment, Lifecycle, SCHEME, Tags, Tracking};
use crate::{
    Code, Error, Result,
    blob::now_ms,
    db::{bytes::Tables, key::Key},
};

/// The experiment that every namespace has.
const DEFAULT: (&str, &str) = ("0", "Default");
/// Upstream's limit.
const MAX_NAME: usize = 500;

fn key(namespace: &str, id: &str) -> Key {
    Key::new().text(namespace).text(id)
}

fn missing(id: &str) -> Error {
    Error::not_found(format!("No Experiment with id={id} exists"))
}

fn location(id: &str) -> String {
    format!("{SCHEME}{id}")
}

fn all(t: &Tables, namespace: &str) -> Result<Vec<Experiment>> {
    let mut found = Vec::new();
    let prefix = Key::new().text(namespace);
    t.records(EXPERIMENT, prefix.bytes(), None, |_, e| {
        found.push(e);
        true
    })?;
    Ok(found)
}

fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(Error::invalid(
            "name: an experiment needs one: send a text that is not empty",
        ));
    }
    if name.chars().count() > MAX_NAME {
        return Err(Error::invalid(format!(
            "name: an experiment's name has at most {MAX_NAME} characters"
        )));
    }
    Ok(())
}

fn free(existing: &[Experiment], name: &str, own: &str) -> Result<()> {
    match existing.iter().find(|e| e.name == name && e.id != own) {
        None => Ok(()),
        Some(e) => {
            let hint = match e.lifecycle {
                Lifecycle::Active => "choose another name, or use that one",
                Lifecycle::Deleted => "it is deleted: restore it, or choose another name",
            };
            Err(Error::new(
                Code::AlreadyExists,
                format!("Experiment(name={name}) already exists: {hint}"),
            ))
        }
    }
}

/// The experiment, which must be there.
pub(super) fn fetch(t: &Tables, namespace: &str, id: &str) -> Result<Experiment> {
    t.record(EXPERIMENT, key(namespace, id).bytes())?
        .ok_or_else(|| missing(id))
}

impl Tracking {
    /// Makes the experiment that every namespace has, unless it is there.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn ensure_default(&self, namespace: &str) -> Result<()> {
        let at = key(namespace, DEFAULT.0);
        let there = at.clone();
        let found: Option<Experiment> = self
            .db
            .read(move |t| t.record(EXPERIMENT, there.bytes()))
            .await?;
        if found.is_some() {
            return Ok(());
        }
        self.db
            .write(move |t| {
                if t.record::<Experiment>(EXPERIMENT, at.bytes())?.is_some() {
                    return Ok(());
                }
                let now = now_ms();
                t.put_record(
                    EXPERIMENT,
                    at.bytes(),
                    &Experiment {
                        id: DEFAULT.0.into(),
                        name: DEFAULT.1.into(),
                        artifact_location: location(DEFAULT.0),
                        created: now,
                        updated: now,
                        ..Experiment::default()
                    },
                )
            })
            .await
    }

    /// A new experiment.
    ///
    /// # Errors
    /// `Invalid` for a bad name, `AlreadyExists` for a taken one.
    pub async fn create_experiment(
        &self,
        namespace: &str,
        name: &str,
        artifact_location: &str,
        tags: Tags,
    ) -> Result<Experiment> {
        check_name(name)?;
        self.ensure_default(namespace).await?;
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let wanted = artifact_location.to_owned();
        self.db
            .write(move |t| {
                let existing = all(t, &namespace)?;
                free(&existing, &name, "")?;
                let last = existing.iter().filter_map(|e| e.id.parse::<u64>().ok());
                let id = (last.max().unwrap_or(0) + 1).to_string();
                let now = now_ms();
                let made = Experiment {
                    artifact_location: match wanted.trim_end_matches('/') {
                        "" => location(&id),
                        given => given.to_owned(),
                    },
                    name,
                    created: now,
                    updated: now,
                    tags,
                    id,
                    ..Experiment::default()
                };
                t.put_record(EXPERIMENT, key(&namespace, &made.id).bytes(), &made)?;
                Ok(made)
            })
            .await
    }

    /// The experiment with this id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn experiment(&self, namespace: &str, id: &str) -> Result<Experiment> {
        if id == DEFAULT.0 {
            self.ensure_default(namespace).await?;
        }
        let (namespace, id) = (namespace.to_owned(), id.to_owned());
        self.db.read(move |t| fetch(t, &namespace, &id)).await
    }

    /// All experiments of a namespace.
    ///
    /// # Errors
    /// When a row is damaged.
    pub async fn experiments(&self, namespace: &str) -> Result<Vec<Experiment>> {
        self.ensure_default(namespace).await?;
        let namespace = namespace.to_owned();
        self.db.read(move |t| all(t, &namespace)).await
    }

    /// Changes an experiment; a new name must be free.
    ///
    /// # Errors
    /// `NotFound`, or what `change` says.
    pub async fn change_experiment(
        &self,
        namespace: &str,
        id: &str,
        change: impl FnOnce(&mut Experiment) -> Result<()> + Send + 'static,
    ) -> Result<Experiment> {
        let (namespace, id) = (namespace.to_owned(), id.to_owned());
        self.db
            .write(move |t| {
                let before = fetch(t, &namespace, &id)?;
                let mut after = before.clone();
                change(&mut after)?;
                if after.name != before.name {
                    check_name(&after.name)?;
                    free(&all(t, &namespace)?, &after.name, &id)?;
                }
                if after != before {
                    after.updated = now_ms();
                    t.put_record(EXPERIMENT, key(&namespace, &id).bytes(), &after)?;
                }
                Ok(after)
            })
            .await
    }
}
