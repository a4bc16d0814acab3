//! Calls below `registered-models/` and `model-versions/`.

use std::collections::BTreeMap;

use kfbox_store::{
    Error, Result,
    kinds::registry::{
        ModelState, ModelVersionSpec, Properties, RegisteredModelSpec, Stage, property_text,
        property_value, text_property,
    },
    track::{Entity, Fields, Filter, Order, Schema},
};
use serde_json::{Map, Value, json};

use super::{Ask, args, args::Args, wire};
use crate::registry::{self, Model, Version, created, updated};

const MODELS: Schema = Schema {
    entities: &[Entity::Tag],
    attributes: &[
        ("name", false),
        ("timestamp", true),
        ("last_updated_timestamp", true),
        ("creation_timestamp", true),
    ],
    registry: false,
};
const VERSIONS: Schema = Schema {
    entities: &[Entity::Tag],
    attributes: &[
        ("name", false),
        ("run_id", false),
        ("source_path", false),
        ("version_number", true),
        ("creation_timestamp", true),
        ("last_updated_timestamp", true),
    ],
    registry: false,
};
/// The mark of a model that is a prompt.
const IS_PROMPT: &str = "mlflow.prompt.is_prompt";
/// MLflow's rule: a name is part of `models:/name/1`.
const FORBIDDEN: &[char] = &['/', ':'];

#[allow(clippy::cast_precision_loss)] // Milliseconds.
fn time(key: &str, object: &kfbox_store::Object) -> Option<f64> {
    match key {
        "creation_timestamp" => Some(created(object) as f64),
        "timestamp" | "last_updated_timestamp" => Some(updated(object) as f64),
        _ => None,
    }
}

fn tag(properties: &Properties, key: &str) -> Vec<String> {
    let found = properties.get(key).map(property_text);
    // Clients ask for what is no prompt with `!= 'true'`, which would not find what has no mark.
    let found = found.or_else(|| (key == IS_PROMPT).then(|| "false".to_owned()));
    found.into_iter().collect()
}

/// Whether a search shows it: prompts only when it asks for them.
fn is_shown(filter: &str, properties: &Properties) -> bool {
    filter.contains(IS_PROMPT) || !properties.contains_key(IS_PROMPT)
}

struct SeenModel<'a>(&'a Model);

impl Fields for SeenModel<'_> {
    fn texts(&self, entity: Entity, key: &str) -> Vec<String> {
        match (entity, key) {
            (Entity::Tag, key) => tag(&self.0.spec.custom_properties, key),
            (_, "name") => vec![self.0.spec.name.clone()],
            _ => Vec::new(),
        }
    }
    fn number(&self, _: Entity, key: &str) -> Option<f64> {
        time(key, &self.0.object)
    }
}

struct SeenVersion<'a>(&'a str, &'a Version);

impl Fields for SeenVersion<'_> {
    fn texts(&self, entity: Entity, key: &str) -> Vec<String> {
        let spec = &self.1.spec;
        match (entity, key) {
            (Entity::Tag, key) => tag(&spec.custom_properties, key),
            (_, "name") => vec![self.0.to_owned()],
            (_, "run_id") => vec![spec.run_id.clone()],
            (_, "source_path") => vec![spec.source().to_owned()],
            _ => Vec::new(),
        }
    }
    #[allow(clippy::cast_precision_loss)] // A small number.
    fn number(&self, _: Entity, key: &str) -> Option<f64> {
        match key {
            "version_number" => Some(self.1.spec.number as f64),
            key => time(key, &self.1.object),
        }
    }
}

fn tags(properties: &Properties) -> Value {
    let each = properties
        .iter()
        .filter(|(_, p)| property_value(p).is_some());
    each.map(|(key, p)| json!({"key": key, "value": property_text(p)}))
        .collect()
}

fn show_version(model: &Model, version: &Version) -> Value {
    let spec = &version.spec;
    let aliases = model
        .spec
        .aliases
        .iter()
        .filter(|(_, n)| **n == spec.number);
    let mut out = json!({
        "name": model.spec.name,
        "version": spec.number.to_string(),
        "creation_timestamp": created(&version.object),
        "last_updated_timestamp": updated(&version.object),
        "current_stage": spec.stage.name(),
        "description": spec.description,
        "user_id": spec.author,
        "source": spec.source(),
        "run_id": spec.run_id,
        "run_link": spec.run_link,
        "status": "READY",
        "tags": tags(&spec.custom_properties),
        "aliases": aliases.map(|(alias, _)| alias.as_str()).collect::<Vec<_>>(),
    });
    if !spec.logged_model_id.is_empty() {
        out["model_id"] = spec.logged_model_id.clone().into();
    }
    out
}

/// The newest version of each stage.
fn latest<'a>(versions: &'a [Version], stages: &[Stage]) -> Vec<&'a Version> {
    let mut newest: BTreeMap<&str, &Version> = BTreeMap::new();
    // They come by number.
    for version in versions {
        if stages.is_empty() || stages.contains(&version.spec.stage) {
            newest.insert(version.spec.stage.name(), version);
        }
    }
    newest.into_values().collect()
}

fn show_model(model: &Model, versions: &[Version]) -> Value {
    let spec = &model.spec;
    let mut aliases = spec.aliases.iter();
    let latest = latest(versions, &[]);
    json!({
        "name": spec.name,
        "creation_timestamp": created(&model.object),
        "last_updated_timestamp": updated(&model.object),
        "user_id": spec.owner,
        "description": spec.description,
        "latest_versions": latest.into_iter().map(|v| show_version(model, v)).collect::<Vec<_>>(),
        "tags": tags(&spec.custom_properties),
        "aliases": aliases.by_ref()
            .map(|(alias, n)| json!({"alias": alias, "version": n.to_string()})).collect::<Vec<_>>(),
    })
}

fn properties(args: &Args) -> Result<Properties> {
    let tags = args.tags("tags")?;
    Ok(tags
        .into_iter()
        .map(|t| (t.key, text_property(&t.value)))
        .collect())
}

impl Ask {
    async fn model(&self) -> Result<Model> {
        registry::model(&self.app.store, &self.namespace, self.args.need("name")?).await
    }

    async fn version(&self) -> Result<(Model, Version)> {
        let given = match self.args.int("version") {
            Ok(Some(n)) => u64::try_from(n).ok(),
            _ => None,
        };
        let number = given.ok_or_else(|| {
            Error::invalid(
                "Parameter 'version' must be an integer, got an invalid or missing value.",
            )
        })?;
        registry::version(
            &self.app.store,
            &self.namespace,
            self.args.need("name")?,
            number,
        )
        .await
    }

    async fn shown(&self, model: &Model) -> Result<Value> {
        let versions = registry::versions(&self.app.store, &self.namespace, Some(model)).await?;
        Ok(json!({"registered_model": show_model(model, &versions)}))
    }

    async fn change_model(
        &self,
        f: impl FnOnce(&mut RegisteredModelSpec) -> Result<()> + Send + 'static,
    ) -> Result<Model> {
        let model = self.model().await?;
        registry::change_model(&self.app.store, &model.object, f).await
    }

    async fn change_version(
        &self,
        f: impl FnOnce(&mut ModelVersionSpec) -> Result<()> + Send + 'static,
    ) -> Result<Value> {
        let (model, version) = self.version().await?;
        let (version, ()) = registry::change_version(&self.app.store, &version.object, f).await?;
        Ok(json!({"model_version": show_version(&model, &version)}))
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() || name.contains(FORBIDDEN) {
        return Err(Error::invalid(format!(
            "Registered model name cannot be empty, nor contain any of {FORBIDDEN:?}: \"{name}\""
        )));
    }
    Ok(())
}

fn check_alias(alias: &str) -> Result<()> {
    let plain = alias
        .chars()
        .all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    let number = alias
        .strip_prefix(['v', 'V'])
        .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit()));
    if !plain || alias.len() > 255 || number || alias.eq_ignore_ascii_case("latest") {
        return Err(Error::invalid(format!(
            "alias: \"{alias}\" must be at most 255 letters, digits, '_' or '-', and neither 'latest' nor like 'v1'"
        )));
    }
    Ok(())
}

pub(super) async fn answer(ask: &Ask, method: &str, path: &str) -> Result<Option<Value>> {
    let args = &ask.args;
    Ok(Some(match (method, path) {
        ("POST", "registered-models/create") => {
            let name = args.need("name")?.to_owned();
            check_name(&name)?;
            let spec = RegisteredModelSpec {
                name,
                description: args.text("description")?.to_owned(),
                owner: ask.user.clone(),
                custom_properties: properties(args)?,
                ..RegisteredModelSpec::default()
            };
            let made = registry::create_model(&ask.app.store, &ask.namespace, spec).await?;
            ask.shown(&made).await?
        }
        ("GET", "registered-models/get") => ask.shown(&ask.model().await?).await?,
        ("POST", "registered-models/rename") => {
            let name = args.need("new_name")?.to_owned();
            check_name(&name)?;
            let renamed = ask.change_model(move |s| {
                s.name = name;
                Ok(())
            });
            ask.shown(&renamed.await?).await?
        }
        ("PATCH", "registered-models/update") => {
            let text = args.text("description")?.to_owned();
            let changed = ask.change_model(move |s| {
                s.description = text;
                Ok(())
            });
            ask.shown(&changed.await?).await?
        }
        ("DELETE", "registered-models/delete") => {
            registry::delete_model(&ask.app.store, &ask.model().await?).await?;
            json!({})
        }
        ("GET", "registered-models/search") => search_models(ask).await?,
        ("GET" | "POST", "registered-models/get-latest-versions") => {
            let stages = args.texts("stages")?;
            let stages: Vec<_> = stages
                .iter()
                .map(|s| Stage::parse(s))
                .collect::<Result<_>>()?;
            let model = ask.model().await?;
            let all = registry::versions(&ask.app.store, &ask.namespace, Some(&model)).await?;
            let shown = latest(&all, &stages)
                .into_iter()
                .map(|v| show_version(&model, v));
            json!({"model_versions": shown.collect::<Vec<_>>()})
        }
        ("POST", "registered-models/set-tag") => {
            let (key, value) = (
                args.need("key")?.to_owned(),
                text_property(args.text("value")?),
            );
            ask.change_model(|s| {
                s.custom_properties.insert(key, value);
                Ok(())
            })
            .await?;
            json!({})
        }
        ("DELETE", "registered-models/delete-tag") => {
            let key = args.need("key")?.to_owned();
            ask.change_model(move |s| {
                s.custom_properties.remove(&key);
                Ok(())
            })
            .await?;
            json!({})
        }
        ("POST", "registered-models/alias") => {
            let alias = args.need("alias")?.to_owned();
            check_alias(&alias)?;
            let (model, version) = ask.version().await?;
            let number = version.spec.number;
            let set = move |s: &mut RegisteredModelSpec| {
                s.aliases.insert(alias, number);
                Ok(())
            };
            registry::change_model(&ask.app.store, &model.object, set).await?;
            json!({})
        }
        ("DELETE", "registered-models/alias") => {
            let alias = args.need("alias")?.to_owned();
            ask.change_model(move |s| {
                s.aliases.remove(&alias);
                Ok(())
            })
            .await?;
            json!({})
        }
        ("GET", "registered-models/alias") => {
            let alias = args.need("alias")?;
            let model = ask.model().await?;
            let number = model.spec.aliases.get(alias).copied();
            let number = number.ok_or_else(|| {
                Error::invalid(format!("Registered model alias {alias} not found."))
            })?;
            let name = &model.spec.name;
            let (model, version) =
                registry::version(&ask.app.store, &ask.namespace, name, number).await?;
            json!({"model_version": show_version(&model, &version)})
        }
        (method, path) => return version_calls(ask, method, path).await,
    }))
}

async fn version_calls(ask: &Ask, method: &str, path: &str) -> Result<Option<Value>> {
    let args = &ask.args;
    Ok(Some(match (method, path) {
        ("POST", "model-versions/create") => create_version(ask).await?,
        ("GET", "model-versions/get") => {
            let (model, version) = ask.version().await?;
            json!({"model_version": show_version(&model, &version)})
        }
        ("GET", "model-versions/get-download-uri") => {
            let (_, version) = ask.version().await?;
            json!({"artifact_uri": download_uri(ask, &version).await?})
        }
        ("GET", "model-versions/search") => search_versions(ask).await?,
        ("PATCH", "model-versions/update") => {
            let text = args.text("description")?.to_owned();
            ask.change_version(|s| {
                s.description = text;
                Ok(())
            })
            .await?
        }
        ("DELETE", "model-versions/delete") => {
            let (model, version) = ask.version().await?;
            registry::delete_version(&ask.app.store, &model, &version).await?;
            json!({})
        }
        ("POST", "model-versions/set-tag") => {
            let (key, value) = (
                args.need("key")?.to_owned(),
                text_property(args.text("value")?),
            );
            ask.change_version(|s| {
                s.custom_properties.insert(key, value);
                Ok(())
            })
            .await?;
            json!({})
        }
        ("DELETE", "model-versions/delete-tag") => {
            let key = args.need("key")?.to_owned();
            ask.change_version(move |s| {
                s.custom_properties.remove(&key);
                Ok(())
            })
            .await?;
            json!({})
        }
        ("POST", "model-versions/transition-stage") => transition(ask).await?,
        _ => return Ok(None),
    }))
}

async fn create_version(ask: &Ask) -> Result<Value> {
    let args = &ask.args;
    let source = args.need("source")?.to_owned();
    let model = ask.model().await?;
    let mut artifact = Map::new();
    for (key, value) in [
        ("artifactType", "model-artifact"),
        ("name", model.spec.name.as_str()),
        ("uri", source.as_str()),
        ("modelFormatName", "mlflow"),
        ("state", "LIVE"),
    ] {
        artifact.insert(key.into(), value.into());
    }
    let spec = ModelVersionSpec {
        description: args.text("description")?.to_owned(),
        author: ask.user.clone(),
        run_id: args.text("run_id")?.to_owned(),
        run_link: args.text("run_link")?.to_owned(),
        logged_model_id: args.text("model_id")?.to_owned(),
        custom_properties: properties(args)?,
        artifacts: vec![artifact],
        ..ModelVersionSpec::default()
    };
    let version = registry::create_version(&ask.app.store, &model, spec).await?;
    Ok(json!({"model_version": show_version(&model, &version)}))
}

/// Where the files are: a source of `models:/m-...` is the logged model's place.
async fn download_uri(ask: &Ask, version: &Version) -> Result<String> {
    let source = version.spec.source();
    match source.strip_prefix("models:/") {
        Some(id) if id.starts_with("m-") => Ok(ask
            .app
            .tracking
            .model(&ask.namespace, id)
            .await?
            .artifact_uri),
        _ => Ok(source.to_owned()),
    }
}

async fn transition(ask: &Ask) -> Result<Value> {
    let stage = Stage::parse(ask.args.need("stage")?)?;
    let archive = ask.args.flag("archive_existing_versions")?;
    if archive && !matches!(stage, Stage::Staging | Stage::Production) {
        return Err(Error::invalid(
            "archive_existing_versions: Invalid for this stage: only Staging and Production replace others",
        ));
    }
    let (model, version) = ask.version().await?;
    if archive {
        let all = registry::versions(&ask.app.store, &ask.namespace, Some(&model)).await?;
        let replaced = |v: &&Version| v.spec.stage == stage && v.spec.number != version.spec.number;
        for other in all.iter().filter(replaced) {
            let put_away = |s: &mut ModelVersionSpec| {
                s.stage = Stage::Archived;
                Ok(())
            };
            registry::change_version(&ask.app.store, &other.object, put_away).await?;
        }
    }
    ask.change_version(move |s| {
        s.stage = stage;
        Ok(())
    })
    .await
}

async fn search_models(ask: &Ask) -> Result<Value> {
    let args = &ask.args;
    let asked = args.text("filter")?;
    let filter = Filter::parse(asked, &MODELS)?;
    let keys = args.texts("order_by")?;
    let order = Order::parse(keys.iter().map(String::as_str).chain(["name"]), &MODELS)?;
    let mut found = registry::models(&ask.app.store, &ask.namespace).await?;
    found.retain(|m| {
        m.spec.state == ModelState::Live
            && is_shown(asked, &m.spec.custom_properties)
            && filter.lets(&SeenModel(m))
    });
    found.sort_by(|a, b| order.compare(&SeenModel(a), &SeenModel(b)));
    let (page, next) = args::page(args, found, args.max_results(100, 1000)?)?;
    let mut shown = Vec::with_capacity(page.len());
    for model in &page {
        let versions = registry::versions(&ask.app.store, &ask.namespace, Some(model)).await?;
        shown.push(show_model(model, &versions));
    }
    Ok(wire::list("registered_models", shown, next))
}

async fn search_versions(ask: &Ask) -> Result<Value> {
    let args = &ask.args;
    let asked = args.text("filter")?;
    let filter = Filter::parse(asked, &VERSIONS)?;
    let keys = args.texts("order_by")?;
    let keys = keys.iter().map(String::as_str);
    let order = Order::parse(
        keys.chain(["last_updated_timestamp DESC", "name", "version_number DESC"]),
        &VERSIONS,
    )?;
    let models = registry::models(&ask.app.store, &ask.namespace).await?;
    let by_id: BTreeMap<&str, &Model> = models.iter().map(|m| (m.id(), m)).collect();
    let all = registry::versions(&ask.app.store, &ask.namespace, None).await?;
    let mut found: Vec<(&Model, &Version)> = all
        .iter()
        .filter_map(|v| Some((*by_id.get(v.spec.registered_model_id.as_str())?, v)))
        .filter(|(m, v)| {
            is_shown(asked, &v.spec.custom_properties) && filter.lets(&SeenVersion(&m.spec.name, v))
        })
        .collect();
    found.sort_by(|a, b| {
        order.compare(
            &SeenVersion(&a.0.spec.name, a.1),
            &SeenVersion(&b.0.spec.name, b.1),
        )
    });
    let (page, next) = args::page(args, found, args.max_results(10_000, 200_000)?)?;
    let shown = page.into_iter().map(|(m, v)| show_version(m, v)).collect();
    Ok(wire::list("model_versions", shown, next))
}
