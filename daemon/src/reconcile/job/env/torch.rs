//! Frameworks that meet at one address, each with a rank: PyTorch, XGBoost, JAX.

use serde_json::{Value, json};

use super::{Place, Vars, View, list};

/// The image of the container that waits for the master's name.
const WAITER: &str = "kfbox/busybox:1";

pub fn unbuffered() -> (&'static str, String) {
    ("PYTHONUNBUFFERED", "1".into())
}

/// `torchrun`'s `PET_*`, and the variables of `torch.distributed`.
pub fn pytorch(view: &View<'_>, place: Place) -> Vars {
    let mut vars = vec![unbuffered()];
    let nproc = view.special.nproc_per_node.as_deref().unwrap_or("auto");
    if view.role("Master").is_some() {
        let (port, address) = (view.port("Master").to_string(), view.host("Master", 0));
        let rank = view.rank(place).to_string();
        let world = view.total() * nproc.parse::<i32>().unwrap_or(1);
        vars.extend([
            ("MASTER_PORT", port.clone()),
            ("PET_MASTER_PORT", port),
            ("MASTER_ADDR", address.clone()),
            ("PET_MASTER_ADDR", address),
            ("WORLD_SIZE", world.to_string()),
            ("RANK", rank.clone()),
            ("PET_NODE_RANK", rank),
        ]);
    }
    vars.push(("PET_NPROC_PER_NODE", nproc.into()));
    let Some(elastic) = &view.special.elastic_policy else {
        vars.push(("PET_NNODES", view.total().to_string()));
        return vars;
    };
    let workers = view.count("Worker");
    let (min, max) = (
        elastic.min_replicas.unwrap_or(workers),
        elastic.max_replicas.unwrap_or(workers),
    );
    let first = || view.host("Worker", 0);
    let host = elastic.rdzv_host.clone().unwrap_or_else(first);
    let port = elastic.rdzv_port.unwrap_or_else(|| view.port("Worker"));
    let backend = elastic.rdzv_backend.clone();
    vars.extend([
        ("PET_RDZV_BACKEND", backend.unwrap_or_else(|| "c10d".into())),
        ("PET_RDZV_ENDPOINT", format!("{host}:{port}")),
    ]);
    if let Some(id) = &elastic.rdzv_id {
        vars.push(("PET_RDZV_ID", id.clone()));
    }
    if !elastic.rdzv_conf.is_empty() {
        let conf = elastic.rdzv_conf.iter();
        let conf: Vec<_> = conf.map(|c| format!("{}={}", c.key, c.value)).collect();
        vars.push(("PET_RDZV_CONF", conf.join(",")));
    }
    if let Some(restarts) = elastic.max_restarts {
        vars.push(("PET_MAX_RESTARTS", restarts.to_string()));
    }
    if elastic.standalone == Some(true) {
        vars.push(("PET_STANDALONE", String::new()));
    }
    vars.push(("PET_NNODES", format!("{min}:{max}")));
    vars
}

/// A worker starts when the master's name resolves, as upstream.
pub fn wait_for_master(view: &View<'_>, spec: &mut Value) {
    let master = view.host("Master", 0);
    let script = format!(
        "until getent hosts {master} >/dev/null 2>&1 || nslookup {master} >/dev/null 2>&1; do sleep 0.1; done"
    );
    list(spec, "initContainers").push(json!({
        "name": "init-pytorch", "image": WAITER, "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script],
    }));
}

/// The variables from which the user's program starts its tracker.
pub fn xgboost(view: &View<'_>, place: Place) -> Vars {
    let mut vars = vec![
        ("MASTER_PORT", view.port("Master").to_string()),
        ("MASTER_ADDR", view.host("Master", 0)),
        ("WORLD_SIZE", view.total().to_string()),
        ("RANK", view.rank(place).to_string()),
        unbuffered(),
    ];
    if view.total() > 1 {
        vars.push(("WORKER_PORT", view.port("Worker").to_string()));
        vars.push(("WORKER_ADDRS", view.hosts("Worker").join(",")));
    }
    vars
}

/// The arguments of `jax.distributed.initialize`.
pub fn jax(view: &View<'_>, place: Place) -> Vars {
    vec![
        unbuffered(),
        ("COORDINATOR_PORT", view.port("Worker").to_string()),
        ("COORDINATOR_ADDRESS", view.host("Worker", 0)),
        ("NUM_PROCESSES", view.total().to_string()),
        ("PROCESS_ID", place.index.to_string()),
    ]
}
