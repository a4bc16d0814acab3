//! Who holds a port: so that "address in use" becomes a sentence one can act on.

use std::fs;

/// The error for a port that cannot be bound, naming the process that holds it when that can be seen.
pub(super) fn explain(port: u16, flag: &str, e: std::io::Error) -> anyhow::Error {
    if e.kind() != std::io::ErrorKind::AddrInUse {
        return anyhow::anyhow!("cannot listen on 127.0.0.1:{port}: {e}");
    }
    let holder = holder(port).map_or_else(
        || "another program".to_string(),
        |(pid, name)| format!("{name} (process {pid})"),
    );
    anyhow::anyhow!(
        "port {port} is in use by {holder}: stop it, or choose another port with {flag} (0 picks a free one)"
    )
}

/// Process id and name of who listens on a TCP port, from /proc.
fn holder(port: u16) -> Option<(u32, String)> {
    let mut inodes = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table)
            .unwrap_or_default()
            .lines()
            .skip(1)
        {
            let fields: Vec<_> = line.split_whitespace().collect();
            let local = fields.get(1).and_then(|a| a.rsplit(':').next());
            let listening = fields.get(3) == Some(&"0A");
            if listening && local.and_then(|p| u16::from_str_radix(p, 16).ok()) == Some(port) {
                inodes.extend(fields.get(9).map(|inode| format!("socket:[{inode}]")));
            }
        }
    }
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Ok(pid) = process.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        for fd in fs::read_dir(process.path().join("fd"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let target = fs::read_link(fd.path()).unwrap_or_default();
            if inodes
                .iter()
                .any(|inode| target.as_os_str() == inode.as_str())
            {
                let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                return Some((pid, name.trim().to_string()));
            }
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    #[test]
    fn names_itself() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(super::holder(port).unwrap().0, std::process::id());
    }
}
