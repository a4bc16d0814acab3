//! securityContext: as whom a container runs, and what it may write.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use kfbox_store::{Error, Result};

use crate::driver::Image;

/// `uid[:gid]`; empty = the image's. The container's own word goes before the Pod's.
pub(super) fn user(spec: &PodSpec, container: &Container, image: &Image) -> Result<String> {
    let own = container.security_context.as_ref();
    let pod = spec.security_context.as_ref();
    let user = own
        .and_then(|s| s.run_as_user)
        .or(pod.and_then(|s| s.run_as_user));
    let group = own
        .and_then(|s| s.run_as_group)
        .or(pod.and_then(|s| s.run_as_group));
    let user = match (user, group) {
        (Some(u), Some(g)) => format!("{u}:{g}"),
        (Some(u), None) => u.to_string(),
        // The engine takes a group only with a user: root's is sure, another image's user is not known here.
        (None, Some(g)) if image.root => format!("0:{g}"),
        (None, Some(_)) => {
            return Err(Error::invalid(
                "securityContext.runAsGroup: set runAsUser as well: the image has a user of its own",
            ));
        }
        (None, None) => String::new(),
    };
    let non_root = own
        .and_then(|s| s.run_as_non_root)
        .or(pod.and_then(|s| s.run_as_non_root));
    let root = user == "0" || user.starts_with("0:") || (user.is_empty() && image.root);
    if non_root == Some(true) && root {
        return Err(Error::invalid(format!(
            "securityContext.runAsNonRoot: image \"{}\" runs as root: set runAsUser to a user other than 0",
            image.name
        )));
    }
    Ok(user)
}

/// Further groups: supplementalGroups, and the group of the Pod's volumes.
pub(super) fn groups(spec: &PodSpec) -> Vec<String> {
    let Some(security) = &spec.security_context else {
        return Vec::new();
    };
    let groups = security.supplemental_groups.iter().flatten();
    let mut groups: Vec<String> = groups
        .chain(&security.fs_group)
        .map(ToString::to_string)
        .collect();
    groups.dedup();
    groups
}

/// Capabilities that it asks for, and those that it gives up.
pub(super) fn capabilities(container: &Container) -> (Vec<String>, Vec<String>) {
    let security = container.security_context.as_ref();
    let asked = security.and_then(|s| s.capabilities.clone());
    let asked = asked.unwrap_or_default();
    (
        asked.add.unwrap_or_default(),
        asked.drop.unwrap_or_default(),
    )
}

/// Whether its own file system is read-only.
pub(super) fn read_only_root(container: &Container) -> bool {
    let security = container.security_context.as_ref();
    security.and_then(|s| s.read_only_root_filesystem) == Some(true)
}
