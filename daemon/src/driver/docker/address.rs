//! Where the engine listens. The socket need not be there yet: the client is made by the first call that finds it.

use std::sync::{Arc, OnceLock};

use bollard::{ClientVersion, Docker, errors::Error as ApiError};
use kfbox_store::{Error, Result};

use super::unavailable;

/// Seconds a call may take at most; most have a deadline of their own.
const TIMEOUT: u64 = 600;

/// 20.10's API: the oldest engine the box runs on; newer engines still speak it.
const VERSION: ClientVersion = ClientVersion {
    major_version: 1,
    minor_version: 41,
};

/// The engine's address, and its client once there is one.
#[derive(Clone)]
pub(super) struct Address {
    host: String,
    client: Arc<OnceLock<Docker>>,
}

impl Address {
    /// Checks the address; nobody need answer there.
    ///
    /// # Errors
    /// When it is not an address Docker clients understand.
    pub(super) fn new(host: &str) -> Result<Self> {
        let address = Self {
            host: host.into(),
            client: Arc::default(),
        };
        match address.connect() {
            Ok(_) | Err(ApiError::SocketNotFoundError(_)) => Ok(address),
            Err(e) => Err(Error::invalid(format!("docker_host \"{host}\": {e}"))),
        }
    }

    fn connect(&self) -> std::result::Result<&Docker, ApiError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = match self.host.strip_prefix("unix://") {
            Some(path) => Docker::connect_with_unix(path, TIMEOUT, &VERSION),
            None => Docker::connect_with_http(&self.host, TIMEOUT, &VERSION),
        }?;
        Ok(self.client.get_or_init(|| client))
    }

    /// The client.
    ///
    /// # Errors
    /// `Unavailable` while the engine's socket is not there.
    pub(super) fn client(&self) -> Result<&Docker> {
        self.connect()
            .map_err(|e| unavailable(format!("docker: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_may_come_later() {
        let later = Address::new("unix:///nonexistent/docker.sock");
        assert!(later.is_ok_and(|address| address.client().is_err()));
    }
}
