//! How long what fails again and again waits before it is tried anew: Kubernetes' pauses, for containers that are
//! restarted in place and for replicas that are made anew.

use std::time::Duration;

/// The pause before a second restart; the first is made at once.
const BASE: Duration = Duration::from_secs(10);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(300);
/// What ran this long is not what fails again and again: its pauses begin anew.
pub const CALM: Duration = Duration::from_secs(600);
/// In the environment: seconds instead of [`BASE`], for tests.
const BASE_ENV: &str = "KFBOX_RESTART_BACKOFF";

/// The pause before a second restart on this box.
pub fn base() -> Duration {
    let told = std::env::var(BASE_ENV).ok();
    let told = told
        .and_then(|s| s.parse::<f64>().ok())
        .filter(|s| *s > 0.0);
    told.and_then(|s| Duration::try_from_secs_f64(s).ok())
        .unwrap_or(BASE)
}

/// The pause before the next restart, after some: none before the first, then doubled each time.
pub fn pause(base: Duration, restarts: i32) -> Duration {
    match u32::try_from(restarts) {
        Ok(n) if n > 0 => base
            .saturating_mul(2_u32.saturating_pow(n - 1))
            .min(LONGEST),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses: Vec<_> = (-1..8).map(|n| pause(BASE, n).as_secs()).collect();
        assert_eq!(pauses, [0, 0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(pause(BASE, i32::MAX), LONGEST);
    }
}
