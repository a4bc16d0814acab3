//! JAX: `JAX_*`, which `jax.distributed.initialize` is given.

use super::{
    super::jobset::{JobSet, PORT, Training, set_env, value},
    listen, rank, trainers,
};

pub fn apply(training: &Training<'_>, jobset: &mut JobSet) {
    let coordinator = format!("{}:{PORT}", training.first_node(jobset));
    for container in trainers(jobset) {
        set_env(
            container,
            value("JAX_NUM_PROCESSES", &training.nodes().to_string()),
        );
        set_env(container, rank("JAX_PROCESS_ID"));
        set_env(container, value("JAX_COORDINATOR_ADDRESS", &coordinator));
        listen(container);
    }
}
