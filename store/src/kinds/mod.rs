//! The rooms: one file per room, each listing its kinds. Pure data, schema and validation.

pub mod access;
pub mod cluster;
pub mod core;
pub mod dataset;
pub mod environment;
pub mod ir;
pub mod notebook;
pub mod pipeline;
pub mod pod_check;
pub mod pod_default;
pub mod pod_fields;
pub mod registry;
pub mod service;
pub mod storage;
pub mod train;
pub mod trainer;
pub mod workload;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::Kind;

/// The schema of a whole object of the box's own: the envelope around its spec and its status.
pub(crate) fn schema_of<Spec: schemars::JsonSchema, Status: schemars::JsonSchema>()
-> schemars::Schema {
    #[derive(schemars::JsonSchema)]
    #[serde(rename_all = "camelCase")]
    #[allow(dead_code)]
    struct Whole<Spec, Status> {
        api_version: Option<String>,
        kind: Option<String>,
        metadata: Option<ObjectMeta>,
        spec: Option<Spec>,
        status: Option<Status>,
    }
    schemars::schema_for!(Whole<Spec, Status>)
}

/// The status of a kind that has none.
#[derive(schemars::JsonSchema)]
pub(crate) struct NoStatus {}

/// Every room's kinds. A new room adds one line here.
pub(crate) const ROOMS: &[&[&Kind]] = &[
    core::KINDS,
    cluster::KINDS,
    workload::KINDS,
    train::KINDS,
    trainer::KINDS,
    pipeline::KINDS,
    environment::KINDS,
    access::KINDS,
    storage::KINDS,
    registry::KINDS,
    dataset::KINDS,
    notebook::KINDS,
    pod_default::KINDS,
];
