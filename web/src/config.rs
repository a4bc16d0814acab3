//! Settings of the sockets, and the names under which the box may be called.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
    sync::{PoisonError, RwLock},
};

/// Settings of the sockets.
#[derive(Debug)]
pub struct Config {
    /// The namespace of the KFP API.
    pub namespace: String,
    /// The version of the box, as `/apis/v2beta1/healthz` tells it.
    pub version: String,
    /// The commit it was built from, or "".
    pub commit: String,
    /// Names under which the box may be called.
    pub hosts: Hosts,
    /// Largest pipeline file, in bytes.
    pub upload_limit: usize,
    /// Largest JSON body, in bytes.
    pub json_limit: usize,
    /// Time between two bookmarks of a watch.
    pub bookmark_every: std::time::Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            namespace: kfbox_store::kinds::core::DEFAULT_NAMESPACE.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            commit: String::new(),
            hosts: Hosts::default(),
            upload_limit: 32 << 20,
            json_limit: 32 << 20,
            bookmark_every: std::time::Duration::from_secs(30),
        }
    }
}

/// The allow-list for the `Host` header: a web page that made its own name point at this box (DNS rebinding)
/// sends its own name there. Loopback addresses, `localhost` and `*.localhost` are always in it.
#[derive(Debug, Default)]
pub struct Hosts(RwLock<BTreeSet<String>>);

impl Hosts {
    /// Lets a name or an address in: a bridge's address, `ml-pipeline.kubeflow`, a LAN name.
    pub fn add(&self, name: impl Into<String>) {
        let name = name.into().to_ascii_lowercase();
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name);
    }

    /// Whether a `Host` header (name or address, with or without port) is one of ours.
    pub fn allow(&self, authority: &str) -> bool {
        let name = host_of(authority).to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        if name == "localhost" || (name.ends_with(".localhost") && name.len() > 10) {
            return true;
        }
        if let Ok(IpAddr::V4(ip)) = name.parse()
            && ip.is_loopback()
        {
            return true;
        }
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        if bare.parse() == Ok(Ipv6Addr::LOCALHOST) {
            return true;
        }
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        names.contains(name) || names.contains(bare)
    }
}

/// The authority without its port.
fn host_of(authority: &str) -> &str {
    if authority.starts_with('[') {
        return authority
            .find(']')
            .map_or(authority, |end| &authority[..=end]);
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names() {
        let hosts = Hosts::default();
        hosts.add("ML-pipeline.kubeflow");
        hosts.add("172.18.0.1");
        for ours in [
            "localhost",
            "localhost:8080",
            "LOCALHOST.:1",
            "127.0.0.1:8080",
            "127.8.9.1",
            "[::1]",
            "[::1]:8080",
            "nb.localhost:8080",
            "ml-pipeline.kubeflow:8888",
            "172.18.0.1:8888",
        ] {
            assert!(hosts.allow(ours), "{ours}");
        }
        for foreign in [
            "",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            ".localhost",
            "[::2]",
            "10.0.0.1",
            "localhost@evil.example",
            "evil.example:localhost",
        ] {
            assert!(!hosts.allow(foreign), "{foreign}");
        }
    }
}
