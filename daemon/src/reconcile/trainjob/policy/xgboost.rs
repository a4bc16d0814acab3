//! XGBoost: `DMLC_*`, from which user code starts the tracker and the workers.

use super::{
    super::jobset::{JobSet, PORT, Training, gpus, set_env, value},
    listen, rank, trainers,
};

pub fn apply(training: &Training<'_>, jobset: &mut JobSet) {
    let tracker = training.first_node(jobset);
    for container in trainers(jobset) {
        // One worker for each GPU, or one for each node.
        let workers = training.nodes() * gpus(container.resources.as_ref()).max(1);
        set_env(container, value("DMLC_TRACKER_URI", &tracker));
        set_env(container, value("DMLC_TRACKER_PORT", &PORT.to_string()));
        set_env(container, rank("DMLC_TASK_ID"));
        set_env(container, value("DMLC_NUM_WORKER", &workers.to_string()));
        listen(container);
    }
}
