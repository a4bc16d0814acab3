//! A small row per pipeline, version, experiment and run: what lists sort and filter by. Kept up to date from
//! the change log, so that a page of a list costs the objects on it, not all there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kfbox_store::{
    Code, Kind, Object, Result, Selector, Store, Watch,
    kinds::pipeline::{
        EXPERIMENT, ExperimentSpec, PIPELINE, PIPELINE_VERSION, PipelineInfo, PipelineVersionSpec,
        RUN, RUN_ID, RunSpec, RunStatus, StorageState, TASK,
    },
};
use tokio::sync::Mutex;

use super::{CREATED, wire};

/// The kinds that KFP lists.
pub(crate) static LISTED: [&Kind; 4] = [&PIPELINE, &PIPELINE_VERSION, &EXPERIMENT, &RUN];

/// Objects read at a time when the index is made.
const CHUNK: usize = 256;

/// What lists know of an object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub id: String,
    pub namespace: String,
    pub name: String,
    pub display_name: String,
    pub description: String,
    /// A run's experiment, a version's pipeline.
    pub parent: String,
    pub state: &'static str,
    pub storage_state: &'static str,
    pub code_source_url: String,
    pub tags: BTreeMap<String, String>,
    /// Microseconds since 1970; 0 = not yet.
    pub created: i64,
    pub finished: i64,
    pub last_run: i64,
}

/// Microseconds since 1970 of an RFC 3339 time; 0 when there is none.
pub(super) fn micros(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>()
        .map_or(0, jiff::Timestamp::as_microsecond)
}

fn row(kind: &'static Kind, object: &Object) -> Row {
    let meta = &object.metadata;
    let created = meta
        .annotations
        .get(CREATED)
        .or(meta.creation_timestamp.as_ref());
    let mut row = Row {
        id: meta.name.clone(),
        namespace: meta.namespace.clone(),
        created: created.map_or(0, |t| micros(t)),
        ..Row::default()
    };
    // An object that no longer parses is still listed, with what its envelope says.
    if std::ptr::eq(kind, &PIPELINE) {
        let spec: PipelineInfo = object.spec().unwrap_or_default();
        (row.name, row.display_name) = (spec.name, spec.display_name);
        (row.description, row.tags) = (spec.description, spec.tags);
    } else if std::ptr::eq(kind, &PIPELINE_VERSION) {
        let spec: PipelineVersionSpec = object.spec().unwrap_or_default();
        (row.name, row.display_name) = (spec.name, spec.display_name);
        (row.description, row.tags) = (spec.description, spec.tags);
        (row.parent, row.code_source_url) = (spec.pipeline_id, spec.code_source_url);
    } else if std::ptr::eq(kind, &EXPERIMENT) {
        let spec: ExperimentSpec = object.spec().unwrap_or_default();
        row.name.clone_from(&spec.display_name);
        (row.display_name, row.description) = (spec.display_name, spec.description);
        row.storage_state = storage_state(spec.storage_state);
        row.last_run = spec.last_run_created_at.map_or(0, |t| micros(&t));
    } else {
        let spec: RunSpec = object.spec().unwrap_or_default();
        let status: RunStatus = object.status().unwrap_or_default();
        row.state = wire::run_state(wire::shown_state(&spec, &status));
        row.finished = wire::finish_time(&spec, &status).map_or(0, |t| micros(&t));
        row.storage_state = storage_state(spec.storage_state);
        row.name.clone_from(&spec.display_name);
        (row.display_name, row.description) = (spec.display_name, spec.description);
        row.parent = spec.experiment_id;
    }
    row
}

pub(super) fn storage_state(state: StorageState) -> &'static str {
    match state {
        StorageState::Available => "AVAILABLE",
        StorageState::Archived => "ARCHIVED",
    }
}

/// The rows of all listed kinds.
#[derive(Default)]
pub(crate) struct Index(Mutex<Option<Rows>>);

struct Rows {
    watch: Watch,
    kinds: HashMap<&'static str, HashMap<String, Row>>,
    /// Run id -> the names of its tasks.
    tasks: HashMap<String, BTreeSet<String>>,
}

impl Index {
    /// Looks at the rows of a kind as of now: every write that was answered is in them.
    pub(super) async fn look<T>(
        &self,
        store: &Store,
        kind: &'static Kind,
        f: impl FnOnce(&HashMap<String, Row>) -> T,
    ) -> Result<T> {
        let empty = HashMap::new();
        self.with(store, |rows| {
            f(rows.kinds.get(kind.plural).unwrap_or(&empty))
        })
        .await
    }

    /// The names of a run's tasks.
    pub(super) async fn tasks_of(&self, store: &Store, run: &str) -> Result<Vec<String>> {
        self.with(store, |rows| {
            let names = rows.tasks.get(run);
            names.into_iter().flatten().cloned().collect()
        })
        .await
    }

    async fn with<T>(&self, store: &Store, f: impl FnOnce(&Rows) -> T) -> Result<T> {
        let mut guard = self.0.lock().await;
        // Taken out: should this caller go away at an await, the next one loads anew.
        let mut rows = match guard.take() {
            Some(rows) => rows,
            None => Rows::load(store).await?,
        };
        if let Err(error) = rows.catch_up(store).await {
            if error.code != Code::Gone {
                return Err(error);
            }
            rows = Rows::load(store).await?;
        }
        let out = f(&rows);
        *guard = Some(rows);
        Ok(out)
    }
}

impl Rows {
    async fn load(store: &Store) -> Result<Self> {
        // Changes from here on come again from the watch; applying one twice is harmless.
        let watch = store.watch(store.version());
        let mut rows = Self {
            watch,
            kinds: HashMap::new(),
            tasks: HashMap::new(),
        };
        for kind in LISTED.into_iter().chain([&TASK]) {
            let mut after = None;
            loop {
                let page = store.list_page(kind, Selector::default(), after, CHUNK);
                let (list, next) = page.await?;
                for object in &list.items {
                    rows.put(object, false);
                }
                if next.is_none() {
                    break;
                }
                after = next;
            }
        }
        Ok(rows)
    }

    async fn catch_up(&mut self, store: &Store) -> Result<()> {
        while self.watch.version() < store.version() {
            for event in self.watch.next().await? {
                self.put(&event.object, event.deleted());
            }
        }
        Ok(())
    }

    fn put(&mut self, object: &Object, deleted: bool) {
        let name = &object.metadata.name;
        let is = |k: &Kind| k.kind == object.kind && k.api_version() == object.api_version;
        if is(&TASK) {
            let run = object.label(RUN_ID);
            let names = self.tasks.entry(run.into()).or_default();
            if deleted {
                names.remove(name);
            } else {
                names.insert(name.clone());
            }
            if names.is_empty() {
                self.tasks.remove(run);
            }
            return;
        }
        let Some(kind) = LISTED.into_iter().find(|k| is(k)) else {
            return;
        };
        let rows = self.kinds.entry(kind.plural).or_default();
        if deleted {
            rows.remove(name);
        } else {
            rows.insert(name.clone(), row(kind, object));
        }
    }
}
