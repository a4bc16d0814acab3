//! Calls below `experiments/`.

use kfbox_store::{
    Error, Result,
    track::{Entity, Experiment, Fields, Filter, Lifecycle, Order, Schema},
};
use serde_json::{Value, json};

use super::{Ask, args, wire};

const SCHEMA: Schema = Schema {
    entities: &[Entity::Tag],
    attributes: &[
        ("name", false),
        ("experiment_id", false),
        ("creation_time", true),
        ("last_update_time", true),
    ],
    registry: false,
};

struct Seen<'a>(&'a Experiment);

impl Fields for Seen<'_> {
    fn texts(&self, entity: Entity, key: &str) -> Vec<String> {
        let found = match (entity, key) {
            (Entity::Tag, key) => self.0.tags.get(key),
            (_, "name") => Some(&self.0.name),
            (_, "experiment_id") => Some(&self.0.id),
            _ => None,
        };
        found.cloned().into_iter().collect()
    }

    #[allow(clippy::cast_precision_loss)] // Milliseconds.
    fn number(&self, _: Entity, key: &str) -> Option<f64> {
        match key {
            "creation_time" => Some(self.0.created as f64),
            "last_update_time" => Some(self.0.updated as f64),
            _ => None,
        }
    }
}

pub(super) async fn answer(ask: &Ask, method: &str, call: &str) -> Result<Option<Value>> {
    let (track, ns, args) = (&ask.app.tracking, ask.namespace.as_str(), &ask.args);
    let one = |e: &Experiment| json!({"experiment": wire::experiment(e)});
    let done = json!({});
    Ok(Some(match (method, call) {
        ("POST", "create") => {
            let tags = args.tag_map("tags")?;
            let place = args.text("artifact_location")?;
            let made = track
                .create_experiment(ns, args.need("name")?, place, tags)
                .await?;
            json!({"experiment_id": made.id})
        }
        ("GET", "get") => one(&track.experiment(ns, args.need("experiment_id")?).await?),
        ("GET", "get-by-name") => {
            let name = args.need("experiment_name")?;
            let all = track.experiments(ns).await?;
            match all.iter().find(|e| e.name == name) {
                Some(found) => one(found),
                None => {
                    return Err(Error::not_found(format!(
                        "Could not find experiment with name '{name}'"
                    )));
                }
            }
        }
        ("GET" | "POST", "search") => search(ask).await?,
        ("POST", "delete") => put_away(ask, Lifecycle::Deleted).await?,
        ("POST", "restore") => put_away(ask, Lifecycle::Active).await?,
        ("POST", "update") => {
            let name = args.need("new_name")?.to_owned();
            let id = args.need("experiment_id")?;
            let rename = |e: &mut Experiment| {
                if e.lifecycle == Lifecycle::Deleted {
                    return Err(Error::invalid(
                        "Cannot rename a deleted experiment: restore it first",
                    ));
                }
                e.name = name;
                Ok(())
            };
            track.change_experiment(ns, id, rename).await?;
            done
        }
        ("POST", "set-experiment-tag") => {
            let (key, value) = (args.need("key")?.to_owned(), args.text("value")?.to_owned());
            let id = args.need("experiment_id")?;
            let set = |e: &mut Experiment| {
                e.tags.insert(key, value);
                Ok(())
            };
            track.change_experiment(ns, id, set).await?;
            done
        }
        ("POST", "delete-experiment-tag") => {
            let key = args.need("key")?.to_owned();
            let id = args.need("experiment_id")?;
            let unset = move |e: &mut Experiment| match e.tags.remove(&key) {
                Some(_) => Ok(()),
                None => Err(Error::not_found(format!("No tag with name: {key}"))),
            };
            track.change_experiment(ns, id, unset).await?;
            done
        }
        ("POST", "search-datasets") => datasets(ask).await?,
        _ => return Ok(None),
    }))
}

async fn put_away(ask: &Ask, to: Lifecycle) -> Result<Value> {
    let id = ask.args.need("experiment_id")?;
    let set = move |e: &mut Experiment| {
        if e.id == "0" && to == Lifecycle::Deleted {
            return Err(Error::invalid("Cannot delete the default experiment"));
        }
        e.lifecycle = to;
        Ok(())
    };
    ask.app
        .tracking
        .change_experiment(&ask.namespace, id, set)
        .await?;
    Ok(json!({}))
}

async fn search(ask: &Ask) -> Result<Value> {
    let args = &ask.args;
    let filter = Filter::parse(args.text("filter")?, &SCHEMA)?;
    let keys = args.texts("order_by")?;
    let keys = keys.iter().map(String::as_str);
    let order = Order::parse(keys.chain(["creation_time DESC", "experiment_id"]), &SCHEMA)?;
    let (active, deleted) = args::view(args, "view_type")?;
    let mut found = ask.app.tracking.experiments(&ask.namespace).await?;
    found.retain(|e| {
        let shown = if e.lifecycle == Lifecycle::Active {
            active
        } else {
            deleted
        };
        shown && filter.lets(&Seen(e))
    });
    found.sort_by(|a, b| order.compare(&Seen(a), &Seen(b)));
    let (page, next) = args::page(args, found, args.max_results(1000, 50_000)?)?;
    Ok(wire::list(
        "experiments",
        page.iter().map(wire::experiment).collect(),
        next,
    ))
}

/// The data that runs of these experiments used, each once.
async fn datasets(ask: &Ask) -> Result<Value> {
    let mut found = Vec::new();
    for id in ask.args.texts("experiment_ids")? {
        let (send, seen) = std::sync::mpsc::channel();
        let visit = move |run: kfbox_store::track::Run| send.send(run.datasets).is_ok();
        ask.app.tracking.runs(&ask.namespace, &id, visit).await?;
        for input in seen.iter().flatten() {
            let context = input.tags.iter().find(|t| t.key == "mlflow.data.context");
            let one = json!({
                "experiment_id": id,
                "name": input.dataset.name,
                "digest": input.dataset.digest,
                "context": context.map(|t| t.value.clone()).unwrap_or_default(),
            });
            if !found.contains(&one) {
                found.push(one);
            }
        }
    }
    found.truncate(1000);
    Ok(json!({"dataset_summaries": found}))
}
