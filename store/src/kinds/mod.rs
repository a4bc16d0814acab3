//! The rooms: one file per room, each listing its kinds. Pure data, schema and validation.

pub mod access;
pub mod core;
pub mod environment;
pub mod ir;
pub mod pipeline;

use crate::Kind;

/// Every room's kinds. A new room adds one line here.
pub(crate) const ROOMS: &[&[&Kind]] = &[
    core::KINDS,
    pipeline::KINDS,
    environment::KINDS,
    access::KINDS,
];
