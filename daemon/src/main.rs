//! (skeleton)
#[allow(dead_code)]
mod pipeline;
fn main() {}
