//! Logged models: what MLflow 3 keeps of a model apart from the run that made it.

use uuid::Uuid;

use super::{LoggedModel, MODEL, Point, Tracking, experiment, rows::ModelMetric, run};
use crate::{
    Error, Result,
    blob::now_ms,
    db::{bytes::Tables, key::Key},
};

fn key(namespace: &str, id: &str) -> Key {
    Key::new().text(namespace).text(id)
}

pub(super) fn fetch(t: &Tables, namespace: &str, id: &str) -> Result<LoggedModel> {
    t.record(MODEL, key(namespace, id).bytes())?
        .ok_or_else(|| Error::not_found(format!("Logged model with ID '{id}' not found")))
}

/// Notes points that were measured on models at these models.
pub(super) fn measured(t: &Tables, namespace: &str, run_id: &str, points: &[Point]) -> Result<()> {
    for point in points.iter().filter(|p| !p.at.model_id.is_empty()) {
        let at = key(namespace, &point.at.model_id);
        let Some(mut model) = t.record::<LoggedModel>(MODEL, at.bytes())? else {
            continue;
        };
        let same = |m: &ModelMetric| {
            (
                &m.key,
                m.run_id.as_str(),
                &m.at.dataset_name,
                &m.at.dataset_digest,
            ) == (
                &point.key,
                run_id,
                &point.at.dataset_name,
                &point.at.dataset_digest,
            )
        };
        match model.metrics.iter_mut().find(|m| same(m)) {
            Some(known) if point.at.newer_than(&known.at) => known.at = point.at.clone(),
            Some(_) => continue,
            None => model.metrics.push(ModelMetric {
                key: point.key.clone(),
                run_id: run_id.to_owned(),
                at: point.at.clone(),
            }),
        }
        t.put_record(MODEL, at.bytes(), &model)?;
    }
    Ok(())
}

impl Tracking {
    /// A new logged model: its id, times and place are made up here.
    ///
    /// # Errors
    /// `NotFound` when its experiment or its run is not there.
    pub async fn create_model(
        &self,
        namespace: &str,
        mut model: LoggedModel,
    ) -> Result<LoggedModel> {
        let namespace = namespace.to_owned();
        model.id = format!("m-{}", Uuid::new_v4().simple());
        self.db
            .write(move |t| {
                let experiment = experiment::fetch(t, &namespace, &model.experiment_id)?;
                if !model.source_run_id.is_empty() {
                    run::fetch(t, &namespace, &model.source_run_id)?;
                }
                model.artifact_uri = format!(
                    "{}/models/{}/artifacts",
                    experiment.artifact_location, model.id
                );
                model.created = now_ms();
                model.updated = model.created;
                t.put_record(MODEL, key(&namespace, &model.id).bytes(), &model)?;
                Ok(model)
            })
            .await
    }

    /// The logged model with this id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn model(&self, namespace: &str, id: &str) -> Result<LoggedModel> {
        let (namespace, id) = (namespace.to_owned(), id.to_owned());
        self.db.read(move |t| fetch(t, &namespace, &id)).await
    }

    /// Changes a logged model.
    ///
    /// # Errors
    /// `NotFound`, or what `change` says.
    pub async fn change_model(
        &self,
        namespace: &str,
        id: &str,
        change: impl FnOnce(&mut LoggedModel) -> Result<()> + Send + 'static,
    ) -> Result<LoggedModel> {
        let (namespace, id) = (namespace.to_owned(), id.to_owned());
        self.db
            .write(move |t| {
                let before = fetch(t, &namespace, &id)?;
                let mut after = before.clone();
                change(&mut after)?;
                if after != before {
                    after.updated = now_ms();
                    t.put_record(MODEL, key(&namespace, &id).bytes(), &after)?;
                }
                Ok(after)
            })
            .await
    }

    /// Removes a logged model; its files stay until its experiment's do not.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete_model(&self, namespace: &str, id: &str) -> Result<LoggedModel> {
        let (namespace, id) = (namespace.to_owned(), id.to_owned());
        self.db
            .write(move |t| {
                let model = fetch(t, &namespace, &id)?;
                t.remove_record(MODEL, key(&namespace, &id).bytes())?;
                Ok(model)
            })
            .await
    }

    /// The logged models of these experiments.
    ///
    /// # Errors
    /// When a row is damaged.
    pub async fn models(
        &self,
        namespace: &str,
        experiments: Vec<String>,
    ) -> Result<Vec<LoggedModel>> {
        let prefix = Key::new().text(namespace);
        self.db
            .read(move |t| {
                let mut found = Vec::new();
                t.records(MODEL, prefix.bytes(), None, |_, model: LoggedModel| {
                    if experiments.contains(&model.experiment_id) {
                        found.push(model);
                    }
                    true
                })?;
                Ok(found)
            })
            .await
    }
}
