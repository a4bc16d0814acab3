//! PaddlePaddle: `paddle.distributed.launch` reads its arguments from `PADDLE_*`.

use serde_json::{Value, json};

use super::{Place, View, add_raw};

/// Appends the variables. The first Pod must name its own address as the master's: only then does it serve it.
pub fn complete(view: &View<'_>, place: Place, spec: &mut Value) {
    let servers = view.role("Master").is_some();
    let leader = if servers { "Master" } else { "Worker" };
    let port = view.port(leader);
    let address = if place.role == leader && place.index == 0 {
        "$(POD_IP_DUMMY)".into()
    } else {
        view.host(leader, 0)
    };
    let mut vars = vec![
        json!({"name": "POD_IP_DUMMY", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}),
        json!({"name": "PADDLE_MASTER", "value": format!("{address}:{port}")}),
        json!({"name": "PADDLE_NNODES", "value": view.total().to_string()}),
        json!({"name": "PADDLE_JOB_ID", "value": view.name}),
    ];
    if servers {
        // How many of each there are in this Pod.
        let own = match place.role {
            "Master" => "PADDLE_SERVER_NUM",
            _ => "PADDLE_TRAINER_NUM",
        };
        vars.push(json!({"name": own, "value": "1"}));
    }
    add_raw(spec, None, &vars);
}
