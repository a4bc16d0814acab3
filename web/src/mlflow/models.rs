//! Calls below `logged-models`.

use kfbox_store::{
    Error, Result,
    track::{Entity, Fields, Filter, LoggedModel, LoggedModelStatus, Order, Schema},
};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{Ask, args, artifacts, wire};

const SCHEMA: Schema = Schema {
    entities: &[Entity::Metric, Entity::Param, Entity::Tag],
    attributes: &[
        ("name", false),
        ("model_id", false),
        ("model_type", false),
        ("status", false),
        ("source_run_id", false),
        ("experiment_id", false),
        ("creation_timestamp", true),
        ("creation_time", true),
        ("last_updated_timestamp", true),
    ],
    registry: false,
};

struct Seen<'a>(&'a LoggedModel);

impl Fields for Seen<'_> {
    fn texts(&self, entity: Entity, key: &str) -> Vec<String> {
        let m = self.0;
        let found = match (entity, key) {
            (Entity::Param, key) => m.params.get(key),
            (Entity::Tag, key) => m.tags.get(key),
            (_, "name") => Some(&m.name),
            (_, "model_id") => Some(&m.id),
            (_, "model_type") => Some(&m.model_type),
            (_, "source_run_id") => Some(&m.source_run_id),
            (_, "experiment_id") => Some(&m.experiment_id),
            (_, "status") => {
                let name = match m.status {
                    LoggedModelStatus::Pending => "PENDING",
                    LoggedModelStatus::Ready => "READY",
                    LoggedModelStatus::Failed => "FAILED",
                };
                return vec![name.into()];
            }
            _ => None,
        };
        found.cloned().into_iter().collect()
    }

    #[allow(clippy::cast_precision_loss)] // Milliseconds.
    fn number(&self, entity: Entity, key: &str) -> Option<f64> {
        let m = self.0;
        match (entity, key) {
            (Entity::Metric, key) => m.metrics.iter().find(|x| x.key == key).map(|x| x.at.value),
            (_, "creation_timestamp" | "creation_time") => Some(m.created as f64),
            (_, "last_updated_timestamp") => Some(m.updated as f64),
            _ => None,
        }
    }
}

pub(super) async fn answer(ask: &Ask, method: &str, rest: &str) -> Result<Option<Value>> {
    let (track, ns, args) = (&ask.app.tracking, ask.namespace.as_str(), &ask.args);
    let one = |m: &LoggedModel| json!({"model": wire::model(m)});
    let (id, call) = rest.split_once('/').unwrap_or((rest, ""));
    Ok(Some(match (method, id, call) {
        ("POST", "", "") => {
            let name = match args.text("name")? {
                "" => "model",
                given => given,
            };
            if name.contains(['/', ':', '.', '%', '"', '\'']) {
                return Err(Error::invalid(format!(
                    "Invalid model name ({name}) provided. Model name must be a non-empty string and cannot contain \
                     the following characters: ('/', ':', '.', '%', '\"', \"'\")"
                )));
            }
            let model = LoggedModel {
                name: name.into(),
                experiment_id: args.need("experiment_id")?.into(),
                source_run_id: args.text("source_run_id")?.into(),
                model_type: args.text("model_type")?.into(),
                params: args.tag_map("params")?,
                tags: args.tag_map("tags")?,
                ..LoggedModel::default()
            };
            if model.experiment_id == "0" {
                track.ensure_default(ns).await?;
            }
            one(&track.create_model(ns, model).await?)
        }
        ("POST", "search", "") => search(ask).await?,
        ("GET", id, "") => one(&track.model(ns, id).await?),
        ("PATCH", id, "") => {
            let status = match args.text("status")? {
                "LOGGED_MODEL_READY" => LoggedModelStatus::Ready,
                "LOGGED_MODEL_UPLOAD_FAILED" => LoggedModelStatus::Failed,
                "LOGGED_MODEL_PENDING" => LoggedModelStatus::Pending,
                other => {
                    return Err(Error::invalid(format!(
                        "status: \"{other}\" must be LOGGED_MODEL_READY, LOGGED_MODEL_UPLOAD_FAILED or LOGGED_MODEL_PENDING"
                    )));
                }
            };
            let finalize = move |m: &mut LoggedModel| {
                m.status = status;
                Ok(())
            };
            one(&track.change_model(ns, id, finalize).await?)
        }
        ("DELETE", id, "") => {
            track.delete_model(ns, id).await?;
            json!({})
        }
        ("PATCH", id, "tags") => {
            let tags = args.tag_map("tags")?;
            let set = move |m: &mut LoggedModel| {
                m.tags.extend(tags);
                Ok(())
            };
            one(&track.change_model(ns, id, set).await?)
        }
        ("DELETE", id, call) if call.starts_with("tags/") => {
            let key = percent_decode_str(&call[5..])
                .decode_utf8_lossy()
                .into_owned();
            let unset = move |m: &mut LoggedModel| match m.tags.remove(&key) {
                Some(_) => Ok(()),
                None => Err(Error::not_found(format!("No tag with key '{key}'"))),
            };
            track.change_model(ns, id, unset).await?;
            json!({})
        }
        ("POST", id, "params") => {
            let params = args.tag_map("params")?;
            let set = move |m: &mut LoggedModel| {
                m.params.extend(params);
                Ok(())
            };
            one(&track.change_model(ns, id, set).await?)
        }
        ("GET", id, "artifacts/directories") => {
            let model = track.model(ns, id).await?;
            let path = args.text("artifact_directory_path")?;
            artifacts::below(ask, &model.artifact_uri, path).await?
        }
        _ => return Ok(None),
    }))
}

async fn search(ask: &Ask) -> Result<Value> {
    let args = &ask.args;
    let filter = Filter::parse(args.text("filter")?, &SCHEMA)?;
    let mut keys = Vec::new();
    for key in args.each("order_by")? {
        // Absent means upwards.
        let down = key.has("ascending") && !key.flag("ascending")?;
        let way = if down { " DESC" } else { "" };
        keys.push(format!("{}{way}", key.need("field_name")?));
    }
    let keys = keys.iter().map(String::as_str);
    let order = Order::parse(keys.chain(["creation_timestamp DESC", "model_id"]), &SCHEMA)?;
    let experiments = args.texts("experiment_ids")?;
    let mut found = ask.app.tracking.models(&ask.namespace, experiments).await?;
    found.retain(|m| filter.lets(&Seen(m)));
    found.sort_by(|a, b| order.compare(&Seen(a), &Seen(b)));
    let (page, next) = args::page(args, found, args.max_results(100, 1000)?)?;
    Ok(wire::list(
        "models",
        page.iter().map(wire::model).collect(),
        next,
    ))
}
