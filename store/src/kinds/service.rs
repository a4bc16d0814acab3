//! Service: a name for a set of Pods; and which port of a Pod stands behind a port of it.

use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::util::intstr::IntOrString};
use schemars::schema_for;
use serde_json::{Value, json};

use super::{
    cluster::{absent, spec},
    core::PodStatus,
    pod_check::label,
};
use crate::{Code, Column, Error, Kind, Object, Result, Verbs};

/// A name for a set of Pods.
pub static SERVICE: Kind = Kind {
    kind: "Service",
    plural: "services",
    short: &["svc"],
    categories: &["all"],
    verbs: Verbs::All,
    builtin: true,
    schema: Some(|| schema_for!(core::Service)),
    prepare: prepare_service,
    validate: check_service,
    columns: &[
        Column::path("Type", ".spec.type"),
        Column::path("Cluster-IP", ".spec.clusterIP"),
        Column::of("External-IP", |_| "<none>".into()),
        Column::of("Port(s)", ports),
    ],
    ..Kind::BASE
};

/// A Service has no address of its own: on one box its name leads to its Pods at once.
fn prepare_service(service: &mut Object) -> Result<()> {
    let Some(spec) = spec(service) else {
        return Ok(());
    };
    for (key, value) in [
        ("type", json!("ClusterIP")),
        ("clusterIP", json!("None")),
        ("sessionAffinity", json!("None")),
    ] {
        if absent(spec, key) || spec.get(key) == Some(&json!("")) {
            spec.insert(key.into(), value);
        }
    }
    for port in spec
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let Some(port) = port.as_object_mut() else {
            continue;
        };
        if absent(port, "protocol") {
            port.insert("protocol".into(), json!("TCP"));
        }
        if absent(port, "targetPort")
            && let Some(number) = port.get("port").cloned()
        {
            port.insert("targetPort".into(), number);
        }
    }
    Ok(())
}

fn check_service(service: &Object) -> Result<()> {
    label("metadata.name", &service.metadata.name)?;
    let spec: core::ServiceSpec = service.spec()?;
    let unsupported = |message: &str| Err(Error::new(Code::Unsupported, message));
    match spec.type_.as_deref() {
        None | Some("ClusterIP") => {}
        Some("NodePort" | "LoadBalancer") => {
            return unsupported(
                "spec.type: this box opens no ports of the machine: use ClusterIP and `kubectl port-forward`",
            );
        }
        Some("ExternalName") => {
            return unsupported("spec.type: ExternalName is not offered: use the name itself");
        }
        Some(other) => {
            return Err(Error::invalid(format!(
                "spec.type: \"{other}\" must be ClusterIP"
            )));
        }
    }
    if spec
        .cluster_ip
        .as_deref()
        .is_some_and(|ip| !matches!(ip, "" | "None"))
    {
        return unsupported(
            "spec.clusterIP: a Service's name leads to its Pods themselves here: use None, or leave it out",
        );
    }
    for (i, port) in spec.ports.iter().flatten().enumerate() {
        if !(1..=65535).contains(&port.port) {
            return Err(Error::invalid(format!(
                "spec.ports[{i}].port: must be 1 to 65535"
            )));
        }
    }
    Ok(())
}

fn ports(service: &Object) -> String {
    let spec: core::ServiceSpec = service.spec().unwrap_or_default();
    let list: Vec<_> = spec
        .ports
        .iter()
        .flatten()
        .map(|p| format!("{}/{}", p.port, p.protocol.as_deref().unwrap_or("TCP")))
        .collect();
    match list.is_empty() {
        true => "<none>".into(),
        false => list.join(","),
    }
}

/// What a client should hear about a Service that it may have.
pub fn warnings(service: &Object) -> Vec<String> {
    let spec: core::ServiceSpec = service.spec().unwrap_or_default();
    let foreign = |port: &core::ServicePort| {
        !tcp(port) && !matches!(&port.target_port, None | Some(IntOrString::Int(_)) if !moved(port))
    };
    let ports = spec.ports.iter().flatten().enumerate();
    let foreign = ports.filter(|(_, port)| foreign(port));
    foreign
        .map(|(i, port)| {
            let protocol = port.protocol.as_deref().unwrap_or_default();
            format!(
                "spec.ports[{i}].targetPort: no effect for {protocol}: the Service's name leads to its Pods at once; use the Pods' own port as port"
            )
        })
        .collect()
}

fn tcp(port: &core::ServicePort) -> bool {
    matches!(port.protocol.as_deref(), None | Some("" | "TCP"))
}

/// Whether a port of a Service is, or may be, another one in its Pods.
fn moved(port: &core::ServicePort) -> bool {
    match &port.target_port {
        None => false,
        Some(IntOrString::Int(number)) => *number != 0 && *number != port.port,
        Some(IntOrString::String(_)) => true,
    }
}

/// The TCP ports that are, or may be, others in the Pods.
pub fn moved_ports(spec: &core::ServiceSpec) -> impl Iterator<Item = &core::ServicePort> {
    let ports = spec.ports.iter().flatten();
    ports.filter(|port| tcp(port) && moved(port))
}

/// The port of a Pod behind a Service's; `None` when no container names it.
pub fn pod_port(port: &core::ServicePort, pod: &core::PodSpec) -> Option<u16> {
    let number = match &port.target_port {
        None | Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => named_port(pod, name)?,
    };
    u16::try_from(number).ok()
}

/// A port that a container gives a name.
pub fn named_port(pod: &core::PodSpec, name: &str) -> Option<i32> {
    let mut ports = pod.containers.iter().flat_map(|c| c.ports.iter().flatten());
    let port = ports.find(|p| p.name.as_deref() == Some(name))?;
    Some(port.container_port)
}

/// Whether a Pod stands behind a Service and takes connections now.
pub fn serves(spec: &core::ServiceSpec, pod: &Object) -> bool {
    let selector = spec.selector.iter().flatten();
    let status = pod.status::<PodStatus>().unwrap_or_default();
    let early = spec.publish_not_ready_addresses == Some(true);
    spec.selector.as_ref().is_some_and(|s| !s.is_empty())
        && selector
            .into_iter()
            .all(|(k, v)| pod.metadata.labels.get(k) == Some(v))
        && !pod.deleting()
        && !status.phase.terminal()
        && status.pod_ip.is_some()
        && (early || status.holds("Ready"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(spec: Value) -> Object {
        let mut object = Object::new(&SERVICE, "default", "x")
            .with_spec(&spec)
            .unwrap();
        prepare_service(&mut object).unwrap();
        object
    }

    #[test]
    fn a_service_has_no_address_of_its_own() {
        let service = of(json!({"ports": [{"port": 80}]}));
        assert_eq!(service.body["spec"]["clusterIP"], "None");
        check_service(&service).unwrap();
        assert_eq!(ports(&service), "80/TCP");
        let node = of(json!({"type": "NodePort"}));
        assert_eq!(check_service(&node).unwrap_err().code, Code::Unsupported);
    }

    #[test]
    fn what_stands_behind_a_port() {
        let service = of(json!({"ports": [
            {"name": "same", "port": 80}, {"name": "other", "port": 81, "targetPort": 8080},
            {"name": "named", "port": 82, "targetPort": "http"}, {"name": "none", "port": 83, "targetPort": "x"},
            {"name": "udp", "port": 84, "targetPort": 85, "protocol": "UDP"},
        ]}));
        let spec: core::ServiceSpec = service.spec().unwrap();
        let pod = json!({"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8000}]}]});
        let pod: core::PodSpec = serde_json::from_value(pod).unwrap();
        let ports: Vec<_> = spec
            .ports
            .iter()
            .flatten()
            .map(|p| pod_port(p, &pod))
            .collect();
        assert_eq!(ports, [Some(80), Some(8080), Some(8000), None, Some(85)]);
        let moved: Vec<_> = moved_ports(&spec).map(|p| p.port).collect();
        assert_eq!(moved, [81, 82, 83]);
        let told = warnings(&service);
        assert!(
            told.len() == 1 && told[0].starts_with("spec.ports[4].targetPort"),
            "{told:?}"
        );
    }

    #[test]
    fn who_stands_behind_a_service() {
        let spec = |v| serde_json::from_value::<core::ServiceSpec>(v).unwrap();
        let mut pod = Object::new(&super::super::core::POD, "default", "p").with_label("a", "b");
        let ready = json!({"phase": "Running", "podIP": "10.0.0.1",
            "conditions": [{"type": "Ready", "status": "True"}]});
        pod.set("status", &ready).unwrap();
        assert!(serves(&spec(json!({"selector": {"a": "b"}})), &pod));
        assert!(!serves(&spec(json!({"selector": {"a": "c"}})), &pod));
        assert!(!serves(&spec(json!({})), &pod));
        pod.set("status", &json!({"phase": "Running", "podIP": "10.0.0.1"}))
            .unwrap();
        assert!(!serves(&spec(json!({"selector": {"a": "b"}})), &pod));
        let early = json!({"selector": {"a": "b"}, "publishNotReadyAddresses": true});
        assert!(serves(&spec(early), &pod));
    }
}
