//! The rooms: one file per room, each listing its kinds. Pure data, schema and validation.

pub mod access;
pub mod cluster;
pub mod core;
pub mod environment;
pub mod ir;
pub mod pipeline;
pub mod pod_check;
pub mod pod_fields;
pub mod registry;
pub mod service;
pub mod storage;
pub mod train;
pub mod trainer;
pub mod workload;

use crate::Kind;

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
];
