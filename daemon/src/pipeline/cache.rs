//! Whether a task has been run before: the fingerprint that a result is kept under.

use kfbox_store::kinds::ir::{ComponentSpec, ContainerSpec, TaskSpec};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::scope::Inputs;

/// The fingerprint of a task's work, as hex. `None` when caching is off for the task.
///
/// In it, as upstream: input values, the identity of input artifacts (their URI: content is never read, a producer
/// that ran again makes its consumers run again), output declarations, image, command and arguments as written.
/// Unlike upstream and like `kfp.local`, also the environment: a changed variable is a changed program. Not in it:
/// resources and task names. The caller keeps fingerprints apart per namespace and pipeline name.
///
/// A custom cache key replaces everything but the component's name.
pub fn fingerprint(
    task: &TaskSpec,
    component: &ComponentSpec,
    container: &ContainerSpec,
    inputs: &Inputs,
) -> Option<String> {
    let options = &task.caching_options;
    if !options.enable_cache {
        return None;
    }
    let document = if options.cache_key.is_empty() {
        key(component, container, inputs)
    } else {
        json!({"component": task.component_ref.name, "cacheKey": options.cache_key})
    };
    // serde_json sorts the keys of its maps, so equal content is equal text.
    Some(hex::encode(Sha256::digest(document.to_string())))
}

fn key(component: &ComponentSpec, container: &ContainerSpec, inputs: &Inputs) -> Value {
    let artifacts: Map<String, Value> = inputs
        .artifacts
        .iter()
        .map(|(name, list)| (name.clone(), list.iter().map(|a| a.uri.as_str()).collect()))
        .collect();
    let declared = &component.output_definitions;
    let parameters: Map<String, Value> = declared
        .parameters
        .iter()
        .map(|(name, spec)| (name.clone(), spec.kind().as_str().into()))
        .collect();
    let environment: Map<String, Value> = container
        .env
        .iter()
        .map(|v| (v.name.clone(), v.value.clone().into()))
        .collect();
    json!({
        "version": 1,
        "inputArtifacts": artifacts,
        "inputParameters": inputs.parameters,
        "outputArtifacts": declared.artifacts,
        "outputParameters": parameters,
        "image": container.image,
        "command": container.command,
        "args": container.args,
        "env": environment,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn setup() -> (TaskSpec, ComponentSpec, ContainerSpec, Inputs) {
        let task = serde_json::from_value(json!({
            "cachingOptions": {"enableCache": true}, "componentRef": {"name": "comp-a"}
        }));
        let component = serde_json::from_value(json!({
            "outputDefinitions": {"parameters": {"o": {"parameterType": "STRING"}}}
        }));
        let container = serde_json::from_value(json!({
            "image": "i", "command": ["c"], "args": ["{{$.inputs.parameters['p']}}"]
        }));
        let inputs = serde_json::from_value(json!({
            "parameters": {"p": {"b": 1, "a": 2}},
            "artifacts": {"d": [{"name": "d", "uri": "minio://b/1", "type": "system.Dataset"}]}
        }));
        (
            task.unwrap(),
            component.unwrap(),
            container.unwrap(),
            inputs.unwrap(),
        )
    }

    #[test]
    fn same_work_same_print_and_each_part_counts() {
        let (task, component, container, inputs) = setup();
        let print = fingerprint(&task, &component, &container, &inputs).unwrap();
        assert_eq!(print.len(), 64);
        let mut reordered = inputs.clone();
        reordered.parameters = serde_json::from_str(r#"{"p": {"a": 2, "b": 1}}"#).unwrap();
        assert_eq!(
            fingerprint(&task, &component, &container, &reordered).unwrap(),
            print
        );

        let mut other = inputs.clone();
        other.artifacts.get_mut("d").unwrap()[0].uri = "minio://b/2".into();
        assert_ne!(
            fingerprint(&task, &component, &container, &other).unwrap(),
            print
        );
        let mut image = container.clone();
        image.image = "j".into();
        assert_ne!(
            fingerprint(&task, &component, &image, &inputs).unwrap(),
            print
        );
        let mut env = container.clone();
        env.env
            .push(serde_json::from_value(json!({"name": "A", "value": "1"})).unwrap());
        assert_ne!(
            fingerprint(&task, &component, &env, &inputs).unwrap(),
            print
        );
    }

    #[test]
    fn a_custom_key_replaces_all_and_off_means_none() {
        let (mut task, component, container, inputs) = setup();
        task.caching_options.cache_key = "mine".into();
        let print = fingerprint(&task, &component, &container, &inputs);
        assert_eq!(
            fingerprint(
                &task,
                &component,
                &ContainerSpec::default(),
                &Inputs::default()
            ),
            print
        );
        task.component_ref.name = "comp-b".into();
        assert_ne!(fingerprint(&task, &component, &container, &inputs), print);
        task.caching_options.enable_cache = false;
        assert_eq!(fingerprint(&task, &component, &container, &inputs), None);
    }
}
