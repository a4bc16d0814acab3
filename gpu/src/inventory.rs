//! Inventory through nvml-wrapper, which loads the driver's own `libnvidia-ml.so.1` at run time: a machine
//! without NVIDIA's driver is a normal case, not an error.

use nvml_wrapper::{Nvml, error::NvmlError};
use serde::Serialize;

/// One physical GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// NVML's index; may change across reboots.
    pub index: u32,
    /// NVML's identity; never changes.
    pub uuid: String,
    /// The product's name.
    pub name: String,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Whether it is in MIG mode now; `None` when the product has no MIG.
    pub mig: Option<bool>,
}

/// Why there is no inventory.
#[derive(Debug, thiserror::Error)]
pub enum Absent {
    /// No NVIDIA driver here.
    #[error("no NVIDIA driver on this machine (libnvidia-ml.so.1 is not there)")]
    NoDriver,
    /// The driver is there and does not work.
    #[error("the NVIDIA driver does not answer: {0}")]
    Driver(#[source] NvmlError),
}

/// The GPUs that the driver shows, in its order.
///
/// # Errors
/// [`Absent::NoDriver`] on machines without a driver, [`Absent::Driver`] when it fails.
pub fn inventory() -> Result<Vec<Device>, Absent> {
    let nvml = Nvml::init().map_err(|e| match e {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => Absent::NoDriver,
        other => Absent::Driver(other),
    })?;
    let count = nvml.device_count().map_err(Absent::Driver)?;
    (0..count)
        .map(|index| {
            let device = nvml.device_by_index(index)?;
            Ok(Device {
                index,
                uuid: device.uuid()?,
                name: device.name()?,
                memory_bytes: device.memory_info()?.total,
                mig: match device.mig_mode() {
                    Ok(mode) => Some(mode.current == 1),
                    Err(NvmlError::NotSupported) => None,
                    Err(e) => return Err(e),
                },
            })
        })
        .collect::<Result<_, NvmlError>>()
        .map_err(Absent::Driver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_driver_is_told_apart_from_one_with_a_broken_one() {
        match inventory() {
            Ok(devices) => assert!(devices.iter().all(|d| !d.uuid.is_empty())),
            Err(Absent::NoDriver) => {}
            Err(Absent::Driver(e)) => panic!("a driver is here and fails: {e}"),
        }
    }
}
