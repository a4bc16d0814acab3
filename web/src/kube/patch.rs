//! The four ways to patch an object: merge (RFC 7396), JSON patch (RFC 6902), strategic merge and apply.

mod apply;
mod lists;
mod strategic;

use kfbox_store::{Code, Error, Kind, json_merge};
use serde_json::Value;

use super::body::Body;

/// How a patch is written.
pub(super) enum Patch {
    Merge(Value),
    Json(json_patch::Patch),
    Strategic(Value),
    /// The applied configuration, its manager, and whether it may take fields over.
    Apply(Value, String, bool),
}

impl Patch {
    /// Reads a patch by its media type.
    pub(super) fn parse(kind: &'static Kind, body: &Body) -> Result<Self, Error> {
        match body.media.as_str() {
            "application/merge-patch+json" => Ok(Self::Merge(body.value()?)),
            "application/json-patch+json" => serde_json::from_slice(&body.bytes)
                .map(Self::Json)
                .map_err(|e| Error::invalid(format!("the body is not a JSON patch: {e}"))),
            "application/strategic-merge-patch+json" if kind.builtin => {
                Ok(Self::Strategic(body.value()?))
            }
            "application/apply-patch+yaml" | "application/apply-patch+json" => {
                let manager = body.options.manager.clone();
                if manager.is_empty() {
                    return Err(Error::invalid(
                        "fieldManager: required for apply; it names who applies",
                    ));
                }
                Ok(Self::Apply(body.value()?, manager, body.options.force))
            }
            other => Err(Error::new(
                Code::UnsupportedMedia,
                format!(
                    "the body of the request was in an unknown format - \"{other}\": accepted media types include: \
                     application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml{}",
                    if kind.builtin {
                        ", application/strategic-merge-patch+json"
                    } else {
                        ""
                    }
                ),
            )),
        }
    }

    /// The object after the patch. `current` is `None` when there is none yet, which only apply allows.
    pub(super) fn to(&self, kind: &'static Kind, current: Option<Value>) -> Result<Value, Error> {
        let there = |current: Option<Value>| {
            current.ok_or_else(|| Error::internal("only apply makes objects"))
        };
        match self {
            Self::Merge(patch) => {
                let mut value = there(current)?;
                json_merge(&mut value, patch);
                Ok(value)
            }
            Self::Json(patch) => {
                let mut value = there(current)?;
                json_patch::patch(&mut value, patch).map_err(|e| {
                    Error::new(
                        Code::Unprocessable,
                        format!("the JSON patch cannot be carried out: {e}"),
                    )
                })?;
                Ok(value)
            }
            Self::Strategic(patch) => {
                let mut value = there(current)?;
                strategic::merge(&mut value, patch)?;
                Ok(value)
            }
            Self::Apply(config, manager, force) => {
                apply::apply(kind, current, config, manager, *force)
            }
        }
    }
}
