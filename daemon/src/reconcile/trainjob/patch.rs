//! A TrainJob's changes to its runtime: `runtimePatches` and the older `podTemplateOverrides`, merged into the
//! Pod templates, lists by their keys.

use k8s_openapi::{
    DeepMerge,
    api::{batch::v1::JobTemplateSpec, core::v1::PodSpec},
};
use kfbox_store::{
    Error, Result,
    kinds::trainer::{JobSetSpec, TrainJobSpec},
};

use super::jobset::NODE;

/// Applies the TrainJob's changes to its runtime's Pods.
pub fn apply(spec: &TrainJobSpec, template: &mut JobSetSpec) -> Result<()> {
    for (i, patch) in spec.runtime_patches.iter().enumerate() {
        let at = format!("spec.runtimePatches[{i}]");
        let changes = patch
            .training_runtime_spec
            .as_ref()
            .and_then(|s| s.template.as_ref());
        for change in changes.into_iter().flat_map(|t| &t.spec.replicated_jobs) {
            let target = target(template, &change.name, &at)?;
            merge(target, change.template.clone(), &at)?;
        }
    }
    for (i, change) in spec.pod_template_overrides.iter().enumerate() {
        let at = format!("spec.podTemplateOverrides[{i}]");
        let pod: Option<PodSpec> = match change.spec.clone() {
            Some(spec) => Some(
                serde_json::from_value(spec)
                    .map_err(|e| Error::invalid(format!("{at}.spec: {e}")))?,
            ),
            None => None,
        };
        for name in &change.target_jobs {
            let target = target(template, &name.name, &at)?;
            let mut patch = JobTemplateSpec::default();
            let inner = &mut patch.spec.get_or_insert_default().template;
            inner.metadata.clone_from(&change.metadata);
            inner.spec.clone_from(&pod);
            merge(target, patch, &at)?;
        }
    }
    Ok(())
}

fn target<'a>(
    template: &'a mut JobSetSpec,
    name: &str,
    at: &str,
) -> Result<&'a mut JobTemplateSpec> {
    let found = template.replicated_jobs.iter_mut().find(|j| j.name == name);
    found.map(|j| &mut j.template).ok_or_else(|| {
        Error::invalid(format!(
            "{at}: \"{name}\" is not a replicatedJob of the runtime"
        ))
    })
}

fn merge(target: &mut JobTemplateSpec, patch: JobTemplateSpec, at: &str) -> Result<()> {
    let pod = |t: &JobTemplateSpec| t.spec.as_ref().and_then(|s| s.template.spec.clone());
    let containers = |p: Option<PodSpec>| {
        let p = p.unwrap_or_default();
        let inits = p.init_containers.unwrap_or_default();
        p.containers.into_iter().chain(inits).collect::<Vec<_>>()
    };
    let known = containers(pod(target));
    for container in containers(pod(&patch)) {
        if known.iter().all(|k| k.name != container.name) {
            return Err(Error::invalid(format!(
                "{at}: \"{}\" is not a container of the runtime's replicatedJob",
                container.name
            )));
        }
        let ours = [NODE, "dataset-initializer", "model-initializer"];
        if ours.contains(&container.name.as_str()) && container.env.is_some_and(|e| !e.is_empty()) {
            return Err(Error::invalid(format!(
                "{at}: must not have envs for the container \"{}\"; use spec.trainer.env or spec.initializer",
                container.name
            )));
        }
    }
    target.merge_from(patch);
    Ok(())
}
