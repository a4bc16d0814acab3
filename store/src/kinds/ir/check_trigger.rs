//! Whether a task's condition and retry policy can be read.

use super::error::IrError;
use super::retry::duration;
use super::room::with_room_for_expression;
use super::task::TaskSpec;

/// Whether a condition is an expression.
pub(super) fn check_condition(at: &str, condition: &str, errors: &mut Vec<IrError>) {
    if condition.is_empty() {
        return;
    }
    let compiled = with_room_for_expression(condition.len(), || {
        cel::Program::compile(condition)
            .map(drop)
            .map_err(|e| one_line(&e.to_string()))
    });
    let wrong = match compiled {
        Some(Ok(())) => None,
        Some(Err(e)) => Some(format!("{condition:?} is not a CEL expression: {e}")),
        None => Some("is too long; split it over nested conditions".to_owned()),
    };
    if let Some(wrong) = wrong {
        errors.push(IrError::new(format!("{at}.triggerPolicy.condition"), wrong));
    }
}

/// Whether the pauses of a retry policy are durations.
pub(super) fn check_retry(at: &str, task: &TaskSpec, errors: &mut Vec<IrError>) {
    let Some(retry) = &task.retry_policy else {
        return;
    };
    for (field, text) in [
        ("backoffDuration", &retry.backoff_duration),
        ("backoffMaxDuration", &retry.backoff_max_duration),
    ] {
        if let Some(text) = text
            && duration(text).is_none()
        {
            errors.push(IrError::new(
                format!("{at}.retryPolicy.{field}"),
                format!("{text:?} is not a duration; write seconds like \"30s\""),
            ));
        }
    }
}

fn one_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
