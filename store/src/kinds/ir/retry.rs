//! How a failed task is tried again.

use std::time::Duration;

use super::task::{RetryPolicy, TaskSpec};

/// Nobody waits longer for a retry; upstream's compiler has the same bound.
const LONGEST: Duration = Duration::from_secs(3600);

impl RetryPolicy {
    /// How many attempts may follow the first.
    pub fn max_retries(&self) -> u32 {
        // A negative or absurd count saturates in the cast.
        self.max_retry_count.unwrap_or(0.0) as u32
    }

    /// The pause before retry number `retry` (1 is the first).
    pub fn pause(&self, retry: u32) -> Duration {
        let parse = |text: &Option<String>| text.as_deref().and_then(duration);
        let longest = parse(&self.backoff_max_duration)
            .filter(|d| !d.is_zero())
            .unwrap_or(LONGEST);
        let first = parse(&self.backoff_duration).unwrap_or_default();
        let factor = self.backoff_factor.filter(|f| *f > 0.0).unwrap_or(2.0);
        let grown = first.as_secs_f64() * factor.powi(retry.saturating_sub(1).min(1000) as i32);
        Duration::try_from_secs_f64(grown)
            .unwrap_or(longest)
            .min(longest)
    }
}

impl TaskSpec {
    /// The tasks that must have ended before this one is looked at: `dependentTasks` and the producers of its
    /// inputs, sorted, each once.
    pub fn upstream(&self) -> Vec<&str> {
        let parameters = self.inputs.parameters.values().flat_map(|source| {
            [
                source
                    .task_output_parameter
                    .as_ref()
                    .map(|t| t.producer_task.as_str()),
                source
                    .task_final_status
                    .as_ref()
                    .map(|t| t.producer_task.as_str()),
            ]
        });
        let artifacts = self.inputs.artifacts.values().map(|source| {
            source
                .task_output_artifact
                .as_ref()
                .map(|t| t.producer_task.as_str())
        });
        let mut names: Vec<&str> = self
            .dependent_tasks
            .iter()
            .map(String::as_str)
            .chain(parameters.chain(artifacts).flatten())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// A protobuf duration: seconds, up to nine decimals, and an `s`: `"3.5s"`. Not negative.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let policy: RetryPolicy = serde_json::from_value(serde_json::json!({
            "maxRetryCount": "3", "backoffDuration": "2s", "backoffFactor": 3.0, "backoffMaxDuration": "10s"
        }))
        .unwrap();
        assert_eq!(policy.max_retries(), 3);
        let pauses: Vec<u64> = (1..=4).map(|n| policy.pause(n).as_secs()).collect();
        assert_eq!(pauses, [2, 6, 10, 10]);
        assert_eq!(policy.pause(u32::MAX).as_secs(), 10);
    }

    #[test]
    fn an_empty_policy_means_no_retry_and_no_pause() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.max_retries(), 0);
        assert_eq!(policy.pause(1), Duration::ZERO);
        assert_eq!(duration("1.5s"), Some(Duration::from_millis(1500)));
        for bad in ["", "s", "-1s", "1m", "infs", "NaNs"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
