//! Runs, and what is logged to them.

use uuid::Uuid;

use super::{
    METRIC, Metric, Point, RUN, RUN_OF, Run, Tag, Tags, Tracking, experiment, metric,
    model::{self, measured},
    rows::Lifecycle,
};
use crate::{
    Error, Result,
    blob::{Blobs, now_ms},
    db::{bytes::Tables, key::Key},
};

/// Upstream's limits.
const MAX_KEY: usize = 250;
const MAX_PARAM: usize = 6000;
const MAX_TAG: usize = 8000;
const MAX_METRICS: usize = 1000;
const MAX_PARAMS_OR_TAGS: usize = 100;
/// The tag that shows and sets a run's name.
const NAME_TAG: &str = "mlflow.runName";

/// A run to be made.
#[derive(Clone, Debug, Default)]
pub struct NewRun {
    /// Its experiment.
    pub experiment_id: String,
    /// Who makes it.
    pub user: String,
    /// Shown to people; "" = the tag `mlflow.runName`, or one made up from the id.
    pub name: String,
    /// Milliseconds since 1970; 0 = now.
    pub start: i64,
    /// Free marks.
    pub tags: Tags,
}

/// What is logged at once.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Points of metrics.
    pub metrics: Vec<Point>,
    /// Parameters, written once.
    pub params: Vec<Tag>,
    /// Marks.
    pub tags: Vec<Tag>,
}

fn key(namespace: &str, id: &str) -> Key {
    Key::new().text(namespace).text(id)
}

fn of_key(namespace: &str, run: &Run) -> Key {
    Key::new()
        .text(namespace)
        .text(&run.experiment_id)
        .int(-run.start)
        .text(&run.id)
}

/// The run, which must be there.
pub(super) fn fetch(t: &Tables, namespace: &str, id: &str) -> Result<Run> {
    t.record(RUN, key(namespace, id).bytes())?
        .ok_or_else(|| Error::not_found(format!("Run with id={id} not found")))
}

pub(super) fn put(t: &Tables, namespace: &str, run: &Run) -> Result<()> {
    t.put_record(RUN, key(namespace, &run.id).bytes(), run)
}

fn active(run: &Run) -> Result<()> {
    match run.lifecycle {
        Lifecycle::Active => Ok(()),
        Lifecycle::Deleted => Err(Error::invalid(format!(
            "The run {} must be in the 'active' state. Current state is deleted: restore it first",
            run.id
        ))),
    }
}

/// Names of metrics, parameters and tags are shown as paths: upstream's rule.
fn check_key(field: &str, key: &str) -> Result<()> {
    let allowed = |c: char| c.is_alphanumeric() || "_-. :/".contains(c);
    let path = key.split('/').any(|part| matches!(part, "" | "." | ".."));
    if key.is_empty() || key.chars().count() > MAX_KEY || !key.chars().all(allowed) || path {
        return Err(Error::invalid(format!(
            "Invalid value \"{key}\" for parameter '{field}': 1 to {MAX_KEY} letters, digits, underscores, dashes, \
             periods, spaces, colons and slashes, as a plain path"
        )));
    }
    Ok(())
}

fn check_len(field: &str, value: &str, max: usize) -> Result<()> {
    if value.chars().count() > max {
        return Err(Error::invalid(format!(
            "{field}: the value has more than {max} characters"
        )));
    }
    Ok(())
}

impl Batch {
    fn check(&self) -> Result<()> {
        let limits = [
            ("metrics", self.metrics.len(), MAX_METRICS),
            ("params", self.params.len(), MAX_PARAMS_OR_TAGS),
            ("tags", self.tags.len(), MAX_PARAMS_OR_TAGS),
        ];
        for (field, count, max) in limits {
            if count > max {
                return Err(Error::invalid(format!(
                    "A batch logging request can contain at most {max} {field}. Got {count} {field}. \
                     Please split up {field} across multiple requests and try again."
                )));
            }
        }
        for point in &self.metrics {
            check_key("metric", &point.key)?;
        }
        for param in &self.params {
            check_key("param", &param.key)?;
            check_len(&param.key, &param.value, MAX_PARAM)?;
        }
        for tag in &self.tags {
            check_key("tag", &tag.key)?;
            check_len(&tag.key, &tag.value, MAX_TAG)?;
        }
        Ok(())
    }

    /// Writes it into the run's row; the points go into rows of their own.
    fn apply(&self, run: &mut Run) -> Result<()> {
        for param in &self.params {
            match run.params.get(&param.key) {
                Some(old) if *old != param.value => {
                    return Err(Error::invalid(format!(
                        "Changing param values is not allowed. Param with key='{}' was already logged with value='{old}' \
                         for run ID='{}'. Attempted logging new value '{}'.",
                        param.key, run.id, param.value
                    )));
                }
                _ => run.params.insert(param.key.clone(), param.value.clone()),
            };
        }
        for tag in &self.tags {
            set_tag(run, tag);
        }
        for point in &self.metrics {
            let newest = run.metrics.entry(point.key.clone());
            let known = newest.or_insert_with(|| point.at.clone());
            if point.at.newer_than(known) {
                *known = point.at.clone();
            }
        }
        Ok(())
    }
}

fn set_tag(run: &mut Run, tag: &Tag) {
    if tag.key == NAME_TAG {
        run.name.clone_from(&tag.value);
    }
    run.tags.insert(tag.key.clone(), tag.value.clone());
}

impl Tracking {
    /// A new run.
    ///
    /// # Errors
    /// `NotFound` or `Invalid` when its experiment is not there or deleted.
    pub async fn create_run(&self, namespace: &str, wanted: NewRun) -> Result<Run> {
        if wanted.experiment_id == "0" || wanted.experiment_id.is_empty() {
            self.ensure_default(namespace).await?;
        }
        let namespace = namespace.to_owned();
        let id = Uuid::new_v4().simple().to_string();
        self.db
            .write(move |t| {
                let experiment_id = match wanted.experiment_id.as_str() {
                    "" => "0",
                    given => given,
                };
                let experiment = experiment::fetch(t, &namespace, experiment_id)?;
                if experiment.lifecycle == Lifecycle::Deleted {
                    return Err(Error::invalid(format!(
                        "The experiment {} must be in the 'active' state. Current state is deleted: restore it first",
                        experiment.id
                    )));
                }
                let mut run = Run {
                    name: if wanted.name.is_empty() {
                        format!("run-{}", &id[..8])
                    } else {
                        wanted.name
                    },
                    experiment_id: experiment.id,
                    user: wanted.user,
                    start: if wanted.start > 0 { wanted.start } else { now_ms() },
                    artifact_uri: format!("{}/{id}/artifacts", experiment.artifact_location),
                    id,
                    ..Run::default()
                };
                run.tags = wanted.tags;
                let name = run.tags.entry(NAME_TAG.into());
                run.name = name.or_insert(run.name).clone();
                put(t, &namespace, &run)?;
                t.put_record(RUN_OF, of_key(&namespace, &run).bytes(), &())?;
                Ok(run)
            })
            .await
    }

    /// The run with this id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn run(&self, namespace: &str, id: &str) -> Result<Run> {
        let (namespace, id) = (namespace.to_owned(), id.to_owned());
        self.db.read(move |t| fetch(t, &namespace, &id)).await
    }

    /// Changes a run that is not deleted.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` when it is deleted, or what `change` says.
    pub async fn change_run(
        &self,
        namespace: &str,
        id: &str,
        change: impl FnOnce(&mut Run) -> Result<()> + Send + 'static,
    ) -> Result<Run> {
        let (namespace, id) = (namespace.to_owned(), id.to_owned());
        self.db
            .write(move |t| {
                let before = fetch(t, &namespace, &id)?;
                active(&before)?;
                let mut after = before.clone();
                change(&mut after)?;
                if after != before {
                    put(t, &namespace, &after)?;
                }
                Ok(after)
            })
            .await
    }

    /// Renames a run, which shows in its tag too.
    pub fn rename(run: &mut Run, name: &str) {
        set_tag(
            run,
            &Tag {
                key: NAME_TAG.into(),
                value: name.into(),
            },
        );
    }

    /// Puts a run away, or takes it back.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn put_away(&self, namespace: &str, id: &str, away: bool) -> Result<()> {
        let (namespace, id) = (namespace.to_owned(), id.to_owned());
        self.db
            .write(move |t| {
                let mut run = fetch(t, &namespace, &id)?;
                if (run.lifecycle == Lifecycle::Deleted) != away {
                    (run.lifecycle, run.deleted) = if away {
                        (Lifecycle::Deleted, Some(now_ms()))
                    } else {
                        (Lifecycle::Active, None)
                    };
                    put(t, &namespace, &run)?;
                }
                Ok(())
            })
            .await
    }

    /// Logs all of this, or nothing when something in it is wrong.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for bad names, too much at once, or another value for a parameter.
    pub async fn log(&self, namespace: &str, id: &str, batch: Batch) -> Result<()> {
        batch.check()?;
        let (namespace, id) = (namespace.to_owned(), id.to_owned());
        self.db
            .write(move |t| {
                let before = fetch(t, &namespace, &id)?;
                active(&before)?;
                let mut run = before.clone();
                batch.apply(&mut run)?;
                if run != before {
                    put(t, &namespace, &run)?;
                }
                for point in &batch.metrics {
                    let at = metric::key(&namespace, &id, point);
                    if t.record::<Metric>(METRIC, at.bytes())?.is_none() {
                        t.put_record(METRIC, at.bytes(), &point.at)?;
                    }
                }
                measured(t, &namespace, &id, &batch.metrics)
            })
            .await
    }

    /// Notes what a run used and made.
    ///
    /// # Errors
    /// `NotFound`, also for a model that is not there.
    pub async fn note(
        &self,
        namespace: &str,
        id: &str,
        datasets: Vec<super::DatasetInput>,
        used: Vec<super::ModelRef>,
        made: Vec<super::ModelRef>,
    ) -> Result<()> {
        let (namespace, id) = (namespace.to_owned(), id.to_owned());
        self.db
            .write(move |t| {
                let mut run = fetch(t, &namespace, &id)?;
                active(&run)?;
                for model in used.iter().chain(&made) {
                    model::fetch(t, &namespace, &model.model_id)?;
                }
                let same = |a: &super::Dataset, b: &super::Dataset| {
                    (&a.name, &a.digest) == (&b.name, &b.digest)
                };
                for input in datasets {
                    if input.dataset.name.is_empty() || input.dataset.digest.is_empty() {
                        return Err(Error::invalid(
                            "datasets: each needs a dataset with a name and a digest",
                        ));
                    }
                    run.datasets.retain(|d| !same(&d.dataset, &input.dataset));
                    run.datasets.push(input);
                }
                for (list, new) in [
                    (&mut run.model_inputs, used),
                    (&mut run.model_outputs, made),
                ] {
                    for model in new {
                        list.retain(|m| m.model_id != model.model_id);
                        list.push(model);
                    }
                }
                put(t, &namespace, &run)
            })
            .await
    }

    /// Visits an experiment's runs, the last started first; `visit` returns false to stop.
    ///
    /// # Errors
    /// When a row is damaged.
    pub async fn runs(
        &self,
        namespace: &str,
        experiment_id: &str,
        mut visit: impl FnMut(Run) -> bool + Send + 'static,
    ) -> Result<()> {
        let prefix = Key::new().text(namespace).text(experiment_id);
        let namespace = namespace.to_owned();
        self.db
            .read(move |t| {
                let mut ids = Vec::new();
                t.records(RUN_OF, prefix.bytes(), None, |at, ()| {
                    ids.push(run_id(&at[prefix.bytes().len()..]));
                    true
                })?;
                for id in ids {
                    let run: Option<Run> = t.record(RUN, key(&namespace, &id).bytes())?;
                    if run.is_some_and(|run| !visit(run)) {
                        break;
                    }
                }
                Ok(())
            })
            .await
    }

    /// Runs that were put away before this time, at most a hundred, with their namespaces.
    async fn put_away_before(&self, before: i64) -> Result<Vec<(String, Run)>> {
        self.db
            .read(move |t| {
                let mut found: Vec<(String, Run)> = Vec::new();
                t.records(RUN, &[], None, |at, run: Run| {
                    if run.deleted.is_some_and(|d| d < before) {
                        found.push((first_text(at), run));
                    }
                    found.len() < 100
                })?;
                Ok::<_, Error>(found)
            })
            .await
    }

    /// Removes a run's records, unless it was taken back.
    async fn forget(&self, namespace: String, run: Run) -> Result<()> {
        self.db
            .write(move |t| {
                let at = key(&namespace, &run.id);
                if t.record::<Run>(RUN, at.bytes())?
                    .is_none_or(|r| r.deleted.is_none())
                {
                    return Ok(());
                }
                let points = metric::of_run(&namespace, &run.id);
                let mut keys = Vec::new();
                t.records(METRIC, points.bytes(), None, |at, _: Metric| {
                    keys.push(at.to_vec());
                    true
                })?;
                for at in keys {
                    t.remove_record(METRIC, &at)?;
                }
                t.remove_record(RUN_OF, of_key(&namespace, &run).bytes())?;
                t.remove_record(RUN, at.bytes())
            })
            .await
    }
}

impl Blobs {
    /// Removes runs that were put away before this time (milliseconds since 1970) for good, first their artifacts,
    /// then their records. Returns how many.
    ///
    /// # Errors
    /// When the database or the disk refuses; the next call goes on.
    pub async fn purge_runs(&self, before: i64) -> Result<usize> {
        let tracking = self.tracking();
        let mut gone = 0;
        loop {
            let doomed = tracking.put_away_before(before).await?;
            if doomed.is_empty() {
                return Ok(gone);
            }
            for (namespace, run) in doomed {
                let bucket = super::bucket(&namespace);
                let place = super::stored(&namespace, &run.artifact_uri);
                // Artifacts at a place that the client chose are the client's.
                if let Some(key) = place.strip_prefix(&format!("s3://{bucket}/"))
                    && key.contains(&run.id)
                {
                    self.remove(&bucket, key).await?;
                }
                tracking.forget(namespace, run).await?;
                gone += 1;
            }
        }
    }
}

/// The id behind the start time in a key of [`RUN_OF`].
fn run_id(rest: &[u8]) -> String {
    let id = rest.get(8..).unwrap_or_default();
    String::from_utf8_lossy(id.strip_suffix(&[0, 0]).unwrap_or(id)).into_owned()
}

fn first_text(key: &[u8]) -> String {
    let end = key
        .windows(2)
        .position(|w| w == [0, 0])
        .unwrap_or(key.len());
    String::from_utf8_lossy(&key[..end]).into_owned()
}
