//! A small row per object for sorting and filtering, kept up to date from the change log.

/// The rows.
#[derive(Default)]
pub(crate) struct Index {}
