//! What the box measures of itself, in Prometheus' form, and the machine's size that limits derive from.

use std::time::Duration;

use prometheus_client::{
    metrics::{
        counter::Counter,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// The daemon's own measurements.
pub struct Metrics {
    waited: Histogram,
    started: Histogram,
    interrupted: Counter,
    /// Bytes of memory for a container that asks for no limit.
    pub default_memory: u64,
}

impl Metrics {
    /// Nothing measured yet.
    pub fn new(default_memory: u64) -> Self {
        Self {
            waited: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            started: Histogram::new(exponential_buckets(0.01, 2.0, 12)),
            interrupted: Counter::default(),
            default_memory,
        }
    }

    /// Shows the measurements at `/metrics`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "pod_ready_to_create_seconds",
            "From the moment a Pod's work was ready to the create call to the engine: what the box itself adds",
            self.waited.clone(),
        );
        registry.register(
            "pod_engine_start_seconds",
            "What the engine takes to create and start a container",
            self.started.clone(),
        );
        registry.register(
            "pod_interrupted",
            "Containers that were stopped from outside and are run again",
            self.interrupted.clone(),
        );
    }

    /// A Pod waited this long between ready and the engine's create call.
    pub fn pod_waited(&self, time: Duration) {
        self.waited.observe(time.as_secs_f64());
    }

    /// The engine took this long.
    pub fn pod_started(&self, time: Duration) {
        self.started.observe(time.as_secs_f64());
    }

    /// A container is run again because it was stopped from outside.
    pub fn pod_interrupted(&self) {
        self.interrupted.inc();
    }
}

/// Bytes of the machine's memory.
pub fn machine_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| {
            rest.trim()
                .trim_end_matches("kB")
                .trim()
                .parse::<u64>()
                .ok()
        })
        .map_or(4 << 30, |kib| kib * 1024)
}
