//! What can be shared: the GPUs of the box. This crate knows nobody else. Today it takes inventory through
//! NVML; the planner that partitions and the executor that applies come with the GPU room.

mod inventory;

pub use inventory::{Absent, Device, inventory};
