//! Frameworks that want to know the whole cluster as JSON: TensorFlow, Apache MXNet and Caffe2.

use serde_json::{Map, json};

use super::{Place, Vars, View, torch::unbuffered};

/// `TF_CONFIG`, when there is more than one Pod.
pub fn tensorflow(view: &View<'_>, place: Place) -> Vars {
    if view.total() <= 1 {
        return vec![];
    }
    let role = place.role.to_lowercase();
    let task = json!({"type": role, "index": place.index});
    let hosts = |role: &str| -> Vec<String> {
        let port = view.port(role);
        let name = |host: String| format!("{host}.{}.svc:{port}", view.namespace);
        view.hosts(role).into_iter().map(name).collect()
    };
    let config = if view.special.enable_dynamic_worker {
        let (workers, servers) = (hosts("Worker"), hosts("PS"));
        let own = usize::try_from(place.index).unwrap_or(0);
        let mut sparse = Map::new();
        match place.role {
            "PS" => {
                sparse.insert(
                    "ps".into(),
                    json!(servers.get(own).into_iter().collect::<Vec<_>>()),
                );
            }
            _ => {
                sparse.insert("ps".into(), json!(servers));
                if place.role == "Worker"
                    && let Some(host) = workers.get(own)
                {
                    sparse.insert("worker".into(), json!({place.index.to_string(): host}));
                }
            }
        }
        json!({"sparseCluster": sparse, "task": task})
    } else {
        // An evaluator looks on: TensorFlow wants it outside of the cluster that trains.
        let cluster: Map<_, _> = view
            .replicas
            .iter()
            .filter(|(role, _)| *role != "Evaluator")
            .map(|(role, _)| (role.to_lowercase(), json!(hosts(role))))
            .collect();
        json!({"cluster": cluster, "task": task, "environment": "cloud"})
    };
    vec![("TF_CONFIG", config.to_string())]
}

/// `MX_CONFIG` and ps-lite's `DMLC_*`.
pub fn mxnet(view: &View<'_>, place: Place) -> Vars {
    let role = place.role.to_lowercase();
    let cluster: Map<_, _> = view
        .replicas
        .iter()
        .map(|(role, _)| {
            let port = view.port(role);
            let hosts = view.hosts(role).into_iter();
            let hosts: Vec<_> = hosts.map(|url| json!({"url": url, "port": port})).collect();
            (role.to_lowercase(), json!(hosts))
        })
        .collect();
    let labels: Map<_, _> = view
        .replicas
        .iter()
        .map(|(role, spec)| {
            let meta = spec.template.metadata.as_ref();
            let label = meta.and_then(|m| m.annotations.as_ref()?.get("tuner-server-key"));
            (
                role.to_lowercase(),
                json!(label.cloned().unwrap_or_default()),
            )
        })
        .collect();
    let config = json!({
        "cluster": cluster, "labels": labels, "task": {"type": role, "index": place.index},
    });
    // Nothing to meet at when there is no scheduler, as in tuning.
    let (uri, port) = match view.count("Scheduler") {
        0 => (String::new(), 0),
        _ => (view.host("Scheduler", 0), view.port("Scheduler")),
    };
    let mut vars = vec![
        ("MX_CONFIG", config.to_string()),
        ("DMLC_PS_ROOT_PORT", port.to_string()),
        ("DMLC_PS_ROOT_URI", uri),
        ("DMLC_NUM_SERVER", view.count("Server").to_string()),
        ("DMLC_NUM_WORKER", view.count("Worker").to_string()),
        ("DMLC_ROLE", role),
        ("DMLC_USE_KUBERNETES", "1".into()),
    ];
    if place.role == "Worker" {
        vars.push(("DMLC_WORKER_ID", place.index.to_string()));
    }
    vars
}

/// `CAFFE2_CONFIG`, shards with an id each, and where the first of them is.
pub fn caffe2(view: &View<'_>, place: Place) -> Vars {
    let cluster: Map<_, _> = view
        .replicas
        .iter()
        .map(|(role, _)| {
            let port = view.port(role);
            let hosts = view.hosts(role).into_iter();
            let hosts: Vec<_> = hosts.map(|host| format!("{host}:{port}")).collect();
            (role.to_lowercase(), json!(hosts))
        })
        .collect();
    let task = json!({"type": place.role.to_lowercase(), "index": place.index});
    let config = json!({"cluster": cluster, "task": task, "environment": "cloud"});
    let leader = match view.role("Master") {
        Some(_) => "Master",
        None => "Worker",
    };
    let (rank, total) = (view.rank(place).to_string(), view.total().to_string());
    vec![
        unbuffered(),
        ("MASTER_ADDR", view.host(leader, 0)),
        ("MASTER_PORT", view.port(leader).to_string()),
        ("WORLD_SIZE", total.clone()),
        ("RANK", rank.clone()),
        ("NUM_SHARDS", total),
        ("SHARD_ID", rank),
        ("RUN_ID", view.name.into()),
        ("CAFFE2_CONFIG", config.to_string()),
    ]
}
