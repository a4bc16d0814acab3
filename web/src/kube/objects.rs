//! Several kinds as one list and one watch. A browser opens six connections to a host at most, and a page such as
//! the training jobs shows a dozen kinds: all versions are of one counter, so one stream can carry them all.

use axum::{
    Json,
    extract::Request,
    response::{IntoResponse, Response},
};
use kfbox_store::{Caller, Error, Kind, Selector};
use serde_json::json;

use super::{Ask, Shared, check_access, flag, query, shown, table::Form, watch};

/// Where it is: `?kinds=tfjobs.kubeflow.org,pods[&namespace=N][&labelSelector=..][&watch=true..]`.
pub(super) const PATH: &str = "/apis/kfbox.dev/v1alpha1/objects";
/// The one group of kinds that is not shown beside others, because their content is secret.
const SECRET: [&str; 2] = ["secrets", "tokens"];

/// Objects of the kinds that are asked for, or their changes. A kind that this box does not have has no objects.
pub(super) async fn list(
    app: &Shared,
    caller: &Caller,
    request: Request,
) -> Result<Response, Error> {
    let query = query(&request)?;
    let text = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let namespace = Some(text("namespace")).filter(|ns| !ns.is_empty());
    let kinds = kinds(text("kinds"))?;
    for kind in &kinds {
        check_access(
            caller,
            &Ask {
                verb: "list",
                group: kind.group,
                resource: kind.plural,
                namespace: namespace.unwrap_or_default(),
                name: "",
            },
        )?;
    }
    let selector = Selector::parse(namespace, text("labelSelector"), text("fieldSelector"))?;
    if flag(&query, "watch")? {
        let options = watch::Options::parse(&query, Form::Objects)?;
        return watch::start(app, kinds, selector, options, request.extensions()).await;
    }
    let (mut version, mut items) = (None, Vec::new());
    for kind in kinds {
        let page = app
            .store
            .list_page(kind, selector.clone(), None, usize::MAX);
        let (list, _) = page.await?;
        // What changes between two kinds' lists comes again as an event: the first one's version counts.
        version.get_or_insert(list.version);
        items.extend(list.items.into_iter().map(|o| shown(kind, o)));
    }
    let version = version.unwrap_or_else(|| app.store.version());
    Ok(Json(json!({
        "kind": "List", "apiVersion": "v1",
        "metadata": {"resourceVersion": version.to_string()}, "items": items,
    }))
    .into_response())
}

fn kinds(names: &str) -> Result<Vec<&'static Kind>, Error> {
    if names.is_empty() {
        return Err(Error::invalid(
            "kinds: name at least one as plural.group, such as tfjobs.kubeflow.org",
        ));
    }
    let mut found = Vec::new();
    for name in names.split(',').map(str::trim) {
        let (plural, group) = name.split_once('.').unwrap_or((name, ""));
        if SECRET.contains(&plural) {
            return Err(Error::invalid(format!(
                "kinds: {plural} are listed at their own address only"
            )));
        }
        found.extend(Kind::all().filter(|k| k.plural == plural && k.group == group));
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_name() {
        let names = |text| -> Vec<_> { kinds(text).unwrap().iter().map(|k| k.kind).collect() };
        assert_eq!(names("pods, jobs.batch"), ["Pod", "Job"]);
        assert!(names("unicorns.example.org").is_empty());
        assert!(kinds("").unwrap_err().to_string().contains("kinds"));
        assert!(kinds("pods,secrets").is_err());
    }
}
