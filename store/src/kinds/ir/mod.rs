//! The pipeline IR: what the `kfp` compiler writes, read into types, checked, and held against what the engine runs.
//!
//! The way through: [`parse_file`] (or [`Pipeline::from_value`] for the form the API carries) -> [`check`] at
//! upload -> [`unsupported`] and [`runtime_parameters`] when a run is created. Nothing here runs anything.

mod check;
mod check_dag;
mod check_trigger;
mod error;
mod graph;
mod inputs;
mod kubernetes;
mod parse;
mod retry;
mod room;
mod spec;
mod support;
mod task;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_corpus;
#[cfg(test)]
mod tests_inputs;

pub use check::check;
pub use error::IrError;
pub use inputs::{conform, runtime_parameters};
pub use kubernetes::{
    EmptyDir, FieldPathAsEnv, KubernetesConfig, PodMetadata, SecurityContext, SharedMemory,
};
pub use parse::{PipelineFile, parse_file};
pub use room::{MAX_EXPRESSION, with_room_for_expression};
pub use spec::*;
pub use support::{notes, unsupported};
pub use task::*;
