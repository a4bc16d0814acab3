//! Jobs planned from tables.
