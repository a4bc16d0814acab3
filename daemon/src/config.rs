//! Every setting of the box, in one struct: built-in defaults, then the config file, then the command line.
//! Unknown keys are refused. `kfbox serve --print-config` shows the outcome.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::images::{ImageRule, default_rules};

/// The settings of a box.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The one folder that holds everything the box knows.
    pub data_dir: PathBuf,
    /// Loopback port of the UI and the KFP API; 0 = any free one.
    pub port: u16,
    /// Loopback port of the Kubernetes-shaped API, over TLS; 0 = any free one.
    pub kube_port: u16,
    /// Loopback port of the S3 endpoint; 0 = any free one.
    pub s3_port: u16,
    /// Where the Docker engine listens.
    pub docker_host: String,
    /// Bytes of memory a container may use when it asks for no limit; 0 = nine tenths of the machine's.
    pub default_memory: u64,
    /// Upstream image names and the local images that stand in for them; first match wins. Given rules come
    /// before the built-in ones.
    pub image_rules: Vec<ImageRule>,
}

/// Where the data of an installed box lies.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/kfbox";
/// The config file of an installed box; it need not exist.
pub const DEFAULT_CONFIG: &str = "/etc/kfbox/config.toml";

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: DEFAULT_DATA_DIR.into(),
            port: 8080,
            kube_port: 6443,
            s3_port: 9000,
            docker_host: "unix:///var/run/docker.sock".into(),
            default_memory: 0,
            image_rules: Vec::new(),
        }
    }
}

impl Config {
    /// Reads a config file.
    ///
    /// # Errors
    /// When it cannot be read, has an unknown key, or a value of the wrong type: the message has file and line.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the config file {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("in the config file {}", path.display()))
    }

    /// The rules in force: the configured ones, then the built-in ones.
    pub fn rules(&self) -> Vec<ImageRule> {
        let mut rules = self.image_rules.clone();
        rules.extend(default_rules());
        rules
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = toml::from_str::<Config>("prot = 1")
            .unwrap_err()
            .to_string();
        assert!(error.contains("prot") && error.contains("port"), "{error}");
    }

    #[test]
    fn the_shipped_example_is_the_default() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../installer/config.toml");
        let shipped = Config::read(Path::new(path)).unwrap();
        assert_eq!(
            toml::to_string(&shipped).unwrap(),
            toml::to_string(&Config::default()).unwrap()
        );
    }
}
