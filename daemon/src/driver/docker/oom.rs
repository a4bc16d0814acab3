//! Whether a container was killed for its memory, by the kernel's own word. Engines miss it: Docker 20.10 on the
//! old control groups says `OOMKilled: false` of every container on newer kernels.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
};

/// open(2)'s O_NONBLOCK on Linux: at the end of the log, answer instead of waiting for more.
const NONBLOCK: i32 = 0o4000;

/// Whether the kernel's log tells that this container's memory limit was the reason of a kill. False also when
/// the log cannot be read, or has turned over since.
pub(super) fn in_kernel_log(container: &str) -> bool {
    let Ok(mut log) = OpenOptions::new()
        .read(true)
        .custom_flags(NONBLOCK)
        .open("/dev/kmsg")
    else {
        return false;
    };
    let mut record = [0_u8; 8192];
    loop {
        match log.read(&mut record) {
            Ok(0) => return false,
            Ok(length) => {
                if tells_of(&String::from_utf8_lossy(&record[..length]), container) {
                    return true;
                }
            }
            // EPIPE: records were overwritten while reading; the next read goes on behind them.
            Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::BrokenPipe) => {}
            Err(_) => return false,
        }
    }
}

/// Whether one record names the container's control group as the one that was out of memory.
fn tells_of(record: &str, container: &str) -> bool {
    !container.is_empty()
        && record
            .split("oom_memcg=")
            .nth(1)
            .and_then(|rest| rest.split([',', '\n']).next())
            .is_some_and(|group| group.contains(container))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = "6,1204,6924021106,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=41c1830d,\
        mems_allowed=0,oom_memcg=/docker/41c1830d,task_memcg=/docker/41c1830d,task=tail,pid=28183,uid=0\n";

    #[test]
    fn only_the_group_that_was_out_of_memory() {
        assert!(tells_of(RECORD, "41c1830d"));
        assert!(!tells_of(RECORD, "ffffffff"));
        assert!(!tells_of(RECORD, ""));
        // The machine as a whole ran out: the container was the victim, not the cause.
        let machine = "6,1,1,-;oom-kill:constraint=CONSTRAINT_NONE,task_memcg=/docker/41c1830d,task=tail,pid=1,uid=0";
        assert!(!tells_of(machine, "41c1830d"));
    }
}
