//! Kubernetes' kinds that Pods lean on: Service, Secret, ConfigMap, PersistentVolumeClaim, ServiceAccount, Node.

use k8s_openapi::api::core::v1 as core;
use schemars::schema_for;

use crate::{Column, Kind, Verbs};

/// A name for a set of Pods.
pub static SERVICE: Kind = Kind {
    kind: "Service",
    plural: "services",
    short: &["svc"],
    categories: &["all"],
    verbs: Verbs::All,
    builtin: true,
    schema: Some(|| schema_for!(core::Service)),
    columns: &[
        Column::path("Type", ".spec.type"),
        Column::path("Cluster-IP", ".spec.clusterIP"),
    ],
    ..Kind::BASE
};

/// Values that are not shown.
pub static SECRET: Kind = Kind {
    kind: "Secret",
    plural: "secrets",
    verbs: Verbs::All,
    builtin: true,
    schema: Some(|| schema_for!(core::Secret)),
    columns: &[Column::path("Type", ".type")],
    ..Kind::BASE
};

/// Values and files for Pods.
pub static CONFIG_MAP: Kind = Kind {
    kind: "ConfigMap",
    plural: "configmaps",
    short: &["cm"],
    verbs: Verbs::All,
    builtin: true,
    schema: Some(|| schema_for!(core::ConfigMap)),
    ..Kind::BASE
};

/// A volume: a folder of the box with a size.
pub static PERSISTENT_VOLUME_CLAIM: Kind = Kind {
    kind: "PersistentVolumeClaim",
    plural: "persistentvolumeclaims",
    short: &["pvc"],
    verbs: Verbs::All,
    builtin: true,
    schema: Some(|| schema_for!(core::PersistentVolumeClaim)),
    columns: &[
        Column::path("Status", ".status.phase"),
        Column::path("Volume", ".spec.volumeName"),
        Column::path("Capacity", ".status.capacity.storage"),
        Column::path("Access Modes", ".status.accessModes"),
        Column::path("StorageClass", ".spec.storageClassName"),
    ],
    ..Kind::BASE
};

/// As whom a Pod speaks to the box.
pub static SERVICE_ACCOUNT: Kind = Kind {
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    short: &["sa"],
    verbs: Verbs::All,
    builtin: true,
    schema: Some(|| schema_for!(core::ServiceAccount)),
    ..Kind::BASE
};

/// The machine. There is one.
pub static NODE: Kind = Kind {
    kind: "Node",
    plural: "nodes",
    short: &["no"],
    namespaced: false,
    builtin: true,
    schema: Some(|| schema_for!(core::Node)),
    columns: &[
        Column::path("Status", ".status.conditions[?(@.type=='Ready')].reason"),
        Column::path("Version", ".status.nodeInfo.kubeletVersion"),
    ],
    ..Kind::BASE
};

pub(crate) const KINDS: &[&Kind] = &[
    &SERVICE,
    &SECRET,
    &CONFIG_MAP,
    &PERSISTENT_VOLUME_CLAIM,
    &SERVICE_ACCOUNT,
    &NODE,
];
