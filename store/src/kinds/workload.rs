//! Kubernetes' kinds that make Pods: Job, Deployment, StatefulSet.

use k8s_openapi::api::{apps::v1 as apps, batch::v1 as batch};
use schemars::schema_for;

use crate::{Kind, Scale, Verbs};

/// Pods that run to their end.
pub static JOB: Kind = Kind {
    group: "batch",
    kind: "Job",
    plural: "jobs",
    categories: &["all"],
    verbs: Verbs::All,
    builtin: true,
    schema: Some(|| schema_for!(batch::Job)),
    ..Kind::BASE
};

/// Pods that are all alike and go on.
pub static DEPLOYMENT: Kind = Kind {
    group: "apps",
    kind: "Deployment",
    plural: "deployments",
    short: &["deploy"],
    categories: &["all"],
    verbs: Verbs::All,
    scale: Some(SCALE),
    builtin: true,
    schema: Some(|| schema_for!(apps::Deployment)),
    ..Kind::BASE
};

/// Pods with names and volumes of their own that go on.
pub static STATEFUL_SET: Kind = Kind {
    group: "apps",
    kind: "StatefulSet",
    plural: "statefulsets",
    short: &["sts"],
    categories: &["all"],
    verbs: Verbs::All,
    scale: Some(SCALE),
    builtin: true,
    schema: Some(|| schema_for!(apps::StatefulSet)),
    ..Kind::BASE
};

const SCALE: Scale = Scale {
    spec: "/spec/replicas",
    status: "/status/replicas",
    selector: "",
};

pub(crate) const KINDS: &[&Kind] = &[&JOB, &DEPLOYMENT, &STATEFUL_SET];
