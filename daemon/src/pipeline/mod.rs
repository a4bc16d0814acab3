//! The pipeline engine's judgement, pure: what may run, with what, in which container, and what came out.
//!
//! Nothing here keeps state or waits. The reconciler asks, per DAG instance: [`plan::decide`] for each task,
//! [`container::plan_container`] for a task that is ready, [`cache::fingerprint`] whether it ran before,
//! [`outputs::collect`] when its container has ended, [`resolve::dag_outputs`] and [`plan::dag_outcome`] when all
//! tasks have.

pub mod cache;
mod constant;
pub mod container;
pub mod expr;
mod fill;
pub mod outputs;
pub mod paths;
pub mod pip;
pub mod placeholder;
pub mod plan;
pub mod resolve;
pub mod scope;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_container;
