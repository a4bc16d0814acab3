//! Stopping what nobody works in: Jupyter's server tells when its kernels and terminals were last used. A server that does
//! not tell is not stopped.

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kfbox_store::{
    Object, Ref, Result,
    kinds::{
        core::PodStatus,
        notebook::{
            CULLED, IDLE_TIMEOUT, LAST_ACTIVITY, NotebookSpec, STOPPED, idle_timeout, wanted,
        },
    },
    now,
};
use serde_json::Value;

use super::Notebooks;
use crate::events::{self, Level};

/// The longest pause between two questions.
const EVERY: Duration = Duration::from_secs(60);
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer, in bytes.
const ANSWER: u64 = 1 << 20;

impl Notebooks {
    /// Asks a running notebook when somebody last worked in it, and stops it when that is too long ago. Returns when to
    /// ask again; `None` = it is never stopped.
    pub(super) async fn cull(
        &self,
        key: &Ref,
        notebook: &Object,
        pod: &Object,
    ) -> Result<Option<Duration>> {
        let Some(limit) = idle_timeout(notebook)? else {
            return Ok(None);
        };
        let every = EVERY.min(limit / 4).max(Duration::from_secs(1));
        {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            let last = asked.get(key).map(Instant::elapsed);
            if let Some(left) = last.and_then(|last| every.checked_sub(last)) {
                return Ok(Some(left));
            }
            asked.retain(|_, at| at.elapsed() < 2 * EVERY);
            asked.insert(key.clone(), Instant::now());
        }
        let Some(used) = ask(notebook, pod).await? else {
            let text = format!(
                "the server does not tell when its kernels were last used (Jupyter's /api/kernels): {IDLE_TIMEOUT} has no effect"
            );
            let store = &self.ctx.store;
            events::record(store, notebook, Level::Warning, "ActivityUnknown", &text).await;
            return Ok(Some(every));
        };
        let began = pod.status::<PodStatus>()?.start_time;
        let began = began.and_then(|t| t.parse::<Timestamp>().ok());
        let known = notebook.metadata.annotations.get(LAST_ACTIVITY);
        let known = known.and_then(|t| t.parse::<Timestamp>().ok());
        let Some(last) = [used.0, known, began].into_iter().flatten().max() else {
            return Ok(Some(every));
        };
        let idle = Timestamp::now().duration_since(last);
        let over = Duration::try_from(idle).is_ok_and(|idle| idle >= limit);
        if known != Some(last) || over {
            let text = notebook.metadata.annotations.get(IDLE_TIMEOUT).cloned();
            let write = move |n: &mut Object| {
                let stop = over && wanted(n);
                let annotations = &mut n.metadata.annotations;
                annotations.insert(LAST_ACTIVITY.into(), last.to_string());
                if stop {
                    annotations.insert(STOPPED.into(), now());
                    annotations.insert(CULLED.into(), text.unwrap_or_default());
                }
                Ok(())
            };
            self.ctx.store.modify(key, write).await?;
        }
        Ok(Some(every))
    }
}

/// When somebody last worked in it; inside `None` = nobody since it started.
struct Used(Option<Timestamp>);

async fn ask(notebook: &Object, pod: &Object) -> Result<Option<Used>> {
    let spec: NotebookSpec = notebook.spec()?;
    let Some(ip) = pod.status::<PodStatus>()?.pod_ip else {
        return Ok(None);
    };
    let (ns, name) = (&notebook.metadata.namespace, &notebook.metadata.name);
    let port = super::template::port(&spec.template.spec);
    let base = format!("http://{ip}:{port}/notebook/{ns}/{name}/api");
    let answers = tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .proxy(None)
            .build()
            .into();
        let get = |what: &str| -> Option<Value> {
            let mut answer = agent.get(format!("{base}/{what}")).call().ok()?;
            answer
                .body_mut()
                .with_config()
                .limit(ANSWER)
                .read_json()
                .ok()
        };
        (get("kernels"), get("terminals"))
    });
    let Ok((Some(kernels), terminals)) = answers.await else {
        return Ok(None);
    };
    Ok(used(&kernels, terminals.as_ref()))
}

/// The newest activity in the answers of `/api/kernels` and `/api/terminals`. A kernel that works counts as used now.
fn used(kernels: &Value, terminals: Option<&Value>) -> Option<Used> {
    let kernels = kernels.as_array()?;
    if kernels.iter().any(|k| k["execution_state"] == "busy") {
        return Some(Used(Some(Timestamp::now())));
    }
    let terminals = terminals.and_then(Value::as_array);
    let times = kernels
        .iter()
        .chain(terminals.into_iter().flatten())
        .filter_map(|each| each["last_activity"].as_str()?.parse().ok());
    Some(Used(times.max()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_use_counts() {
        let kernel = |state: &str, at: &str| json!({"execution_state": state, "last_activity": at});
        let last = |kernels: Value, terminals: Option<Value>| {
            used(&kernels, terminals.as_ref()).map(|u| u.0.map(|t| t.to_string()))
        };
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        assert_eq!(last(json!([]), None), Some(None));
        assert_eq!(
            last(json!([kernel("idle", early), kernel("idle", late)]), None),
            Some(Some(late.into()))
        );
        let terminal = json!([{"name": "1", "last_activity": late}]);
        assert_eq!(
            last(json!([kernel("idle", early)]), Some(terminal)),
            Some(Some(late.into()))
        );
        assert_eq!(last(json!({"message": "not found"}), None), None);
        let busy = used(&json!([kernel("busy", early)]), None).and_then(|u| u.0);
        assert!(busy.is_some_and(|t| t > late.parse().unwrap_or_default()));
    }
}
