//! Which lists of Kubernetes' own kinds merge by a key instead of being replaced as a whole, as their types say
//! (`patchMergeKey`, `x-kubernetes-list-map-keys`). Known by the list's name and that of what holds it.

/// The key by which the items of the list `field` are matched; `None` = the list is replaced.
pub(super) fn merge_key(parent: &str, field: &str) -> Option<&'static str> {
    Some(match (parent, field) {
        (_, "containers" | "initContainers" | "ephemeralContainers" | "volumes" | "env") => "name",
        (_, "imagePullSecrets" | "secrets") => "name",
        (_, "volumeMounts") => "mountPath",
        (_, "volumeDevices") => "devicePath",
        (_, "hostAliases") => "ip",
        // A Service's ports are known by their number as well, but under another name.
        ("spec", "ports") => "port",
        (_, "ports") => "containerPort",
        (_, "conditions") => "type",
        (_, "ownerReferences") => "uid",
        (_, "topologySpreadConstraints") => "topologyKey",
        (_, "taints") => "key",
        _ => return None,
    })
}

/// Lists of plain values that are merged as sets.
pub(super) fn is_set(field: &str) -> bool {
    field == "finalizers"
}
