//! (skeleton)
mod pipeline;
fn main() {}
