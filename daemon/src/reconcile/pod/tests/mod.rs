//! Tests of the pod room: the plan by tables, the hands on a real engine.

mod engine;
mod plan;
