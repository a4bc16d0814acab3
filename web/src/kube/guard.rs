//! What a client may not ask for in an object, though the box's own rooms may; and what it is warned about.

use kfbox_store::{Code, Error, Kind, Object, kinds::core::STORE_VOLUME};
use serde_json::Value;

/// Refuses what is not a client's to ask for; returns warnings.
pub(super) fn check(_kind: &'static Kind, object: &Object) -> Result<Vec<String>, Error> {
    for value in object.body.values() {
        volumes(value)?;
    }
    Ok(Vec::new())
}

/// A folder of the box's own store, anywhere in a Pod or a template of one.
fn volumes(value: &Value) -> Result<(), Error> {
    match value {
        Value::Object(map) => {
            if map.get("driver").and_then(Value::as_str) == Some(STORE_VOLUME) {
                return Err(Error::new(
                    Code::Unprocessable,
                    format!(
                        "spec.volumes.csi.driver: {STORE_VOLUME} is the box's own: use a persistentVolumeClaim"
                    ),
                ));
            }
            map.values().try_for_each(volumes)
        }
        Value::Array(list) => list.iter().try_for_each(volumes),
        _ => Ok(()),
    }
}
