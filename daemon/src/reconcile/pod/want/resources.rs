//! Resources: quantities, limits and requests.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, PodSpec, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};
use kfbox_store::{Error, Result};

#[derive(Default)]
pub(super) struct Limits {
    pub(super) memory: Option<u64>,
    pub(super) nano_cpus: u64,
}

pub(super) fn limits(resources: Option<&ResourceRequirements>) -> Result<Limits> {
    let mut out = Limits::default();
    for (name, quantity) in resources
        .and_then(|r| r.limits.as_ref())
        .into_iter()
        .flatten()
    {
        let value = parse_quantity(quantity)
            .map_err(|e| Error::invalid(format!("resources.limits.{name}: {e}")))?;
        match name.as_str() {
            "memory" if value >= 6_291_456.0 => out.memory = Some(value as u64),
            "memory" => {
                return Err(Error::invalid(
                    "resources.limits.memory: at least 6Mi, the engine's minimum",
                ));
            }
            "cpu" => out.nano_cpus = (value * 1e9) as u64,
            "ephemeral-storage" => {}
            // How many there are is the scheduler's business; none need nothing of the engine.
            "nvidia.com/gpu" if value == 0.0 => {}
            _ => {
                return Err(Error::invalid(format!(
                    "resources.limits.{name}: this box has no such resource"
                )));
            }
        }
    }
    Ok(out)
}

/// A container's own memory limit in bytes, if it has one.
pub(in crate::reconcile::pod) fn memory_limit(container: &Container) -> Option<u64> {
    limits(container.resources.as_ref()).ok()?.memory
}

/// What a Pod asks to be reserved: CPUs and bytes. As in Kubernetes: the sum of its containers and sidecars, or
/// what an init container needs beside the sidecars before it, if that is more.
pub fn requests(spec: &PodSpec) -> (f64, u64) {
    let (mut sidecars, mut peak) = ((0.0, 0), (0.0_f64, 0_u64));
    for init in spec.init_containers.iter().flatten() {
        let own = container_requests(init);
        let now = (sidecars.0 + own.0, sidecars.1 + own.1);
        peak = (peak.0.max(now.0), peak.1.max(now.1));
        if init.restart_policy.as_deref() == Some("Always") {
            sidecars = now;
        }
    }
    let all = spec.containers.iter().fold(sidecars, |sum, c| {
        let own = container_requests(c);
        (sum.0 + own.0, sum.1 + own.1)
    });
    (peak.0.max(all.0), peak.1.max(all.1))
}

/// Requests default to limits, as in Kubernetes.
fn container_requests(container: &Container) -> (f64, u64) {
    let amount = |name: &str| asked(container, name).unwrap_or(0.0);
    (amount("cpu"), amount("memory") as u64)
}

/// What a container asks of a resource.
pub(super) fn asked(container: &Container, name: &str) -> Option<f64> {
    let resources = container.resources.as_ref()?;
    let of = |map: &Option<BTreeMap<String, Quantity>>| map.as_ref()?.get(name).cloned();
    let quantity = of(&resources.requests).or_else(|| of(&resources.limits))?;
    parse_quantity(&quantity).ok()
}

/// Kubernetes' quantity: a number with a binary (Ki, Mi, ...), decimal (m, k, M, ...) or exponent suffix.
pub fn parse_quantity(quantity: &Quantity) -> std::result::Result<f64, String> {
    let text = quantity.0.trim();
    let bad = || format!("\"{text}\" is not a quantity such as 500m, 2, 512Mi or 4G");
    let exponent = |rest: &str| rest.starts_with(|d: char| d.is_ascii_digit() || "+-".contains(d));
    let split = text
        .char_indices()
        .find(|(i, c)| match c {
            '0'..='9' | '.' | '+' | '-' => false,
            'e' | 'E' => !exponent(&text[i + 1..]),
            _ => true,
        })
        .map_or(text.len(), |(i, _)| i);
    let (number, suffix) = text.split_at(split);
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024_f64.powi(2),
        "Gi" => 1024_f64.powi(3),
        "Ti" => 1024_f64.powi(4),
        "Pi" => 1024_f64.powi(5),
        _ => return Err(bad()),
    };
    let value: f64 = number.parse().map_err(|_| bad())?;
    if value.is_finite() && value >= 0.0 {
        Ok(value * factor)
    } else {
        Err(bad())
    }
}

/// Bytes for people.
pub(crate) fn human(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 30 => format!("{:.1} GiB", b as f64 / f64::from(1 << 30)),
        b => format!("{:.0} MiB", b as f64 / f64::from(1 << 20)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (text, value) in [
            ("500m", 0.5),
            ("2", 2.0),
            ("1.5", 1.5),
            ("512Mi", 536_870_912.0),
            ("1G", 1e9),
            ("1e3", 1000.0),
            ("1E", 1e18),
        ] {
            assert_eq!(parse_quantity(&Quantity(text.into())), Ok(value), "{text}");
        }
        for text in ["", "x", "1X", "-1", "1 Gi", "NaN"] {
            assert!(parse_quantity(&Quantity(text.into())).is_err(), "{text}");
        }
    }
}
