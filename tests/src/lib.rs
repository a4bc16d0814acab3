//! The harness of the integration tests: a real daemon with a data folder and a port of its own, on a real Docker
//! engine. A [`TestBox`] removes its containers, networks and images when it goes, and touches no other box.
//!
//! Tests wait for conditions with a deadline ([`until`]); none sleeps and hopes.

pub mod engine;
pub mod http;
pub mod pipeline;
mod testbox;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub use serde_json::{Value, json};
pub use testbox::{Options, TestBox, binary};

/// Asks again and again until there is an answer; after `limit`, fails with what `what` says.
///
/// # Errors
/// When the time is over, or as soon as asking itself fails.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if began.elapsed() > limit {
            bail!("not within {limit:?}: {what}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Seconds, for deadlines that read well.
pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A text field by JSON pointer, "" when it is not there.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
