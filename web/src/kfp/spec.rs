//! Pipeline specs.

/// Specs read of late.
#[derive(Default)]
pub(crate) struct Specs {}
