//! What is true: objects with versions, the change log, and where the bytes lie.
//!
//! Everything the box knows is an [`Object`] of a [`Kind`]. The [`Store`] keeps objects in redb, gives each
//! change the next `resourceVersion`, and remembers the last changes in a log, so that a list plus a
//! [`watch`](Store::watch) never misses or invents a change, also across a restart.
//!
//! How a write goes: a verb hands a closure to the one writer thread; the writer runs all waiting closures in
//! one redb transaction, commits once (one fsync), then answers the callers and wakes the watchers. So a
//! read-modify-write inside one closure is atomic, an acknowledged write is durable, and two hundred writers
//! share one fsync.
//!
//! What this crate must not know: HTTP, containers, GPUs. It is a leaf.

mod access;
pub mod blob;
mod db;
mod error;
mod kind;
pub mod kinds;
mod log;
mod object;
mod patch;
mod selector;
pub mod track;
mod write;

pub use access::{Caller, Minted, mint_token, same, token_name};
pub use db::{FORMAT, MIN_FORMAT};
pub use error::{Code, Error, Result};
pub use kind::{Cell, Column, Kind, Scale, Verbs};
pub use log::{Event, EventType, Watch};
pub use object::{Meta, Object, OwnerRef, Ref};
pub use patch::{json_merge, now, now_micros};
pub use selector::Selector;
pub use write::{List, Propagation, Store, Txn};
