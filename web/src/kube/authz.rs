//! What a scoped token opens: its namespaces, to look or to change. A token without scope opens everything.

use kfbox_store::{
    Caller, Code, Error,
    kinds::access::{Role, TokenScope},
};

/// What is asked for, in Kubernetes' words. Empty namespace = cluster-wide.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask<'a> {
    pub verb: &'a str,
    pub group: &'a str,
    /// Plural, with `/subresource` where there is one.
    pub resource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
}

/// Cluster-wide kinds that everybody may look at: a form needs them.
const SHARED: &[&str] = &[
    "nodes",
    "clustertrainingruntimes",
    "customresourcedefinitions",
];
/// Reading these is like using them.
const PRIVATE: &[&str] = &["secrets", "serviceaccounts/token"];

/// Whether the caller may do this.
pub(crate) fn may(scope: Option<&TokenScope>, ask: &Ask<'_>) -> bool {
    let Some(scope) = scope else { return true };
    let reads = matches!(ask.verb, "get" | "list" | "watch");
    let mine = |ns: &str| scope.namespaces.iter().any(|n| n == ns);
    if ask.resource == "namespaces" && ask.group.is_empty() {
        return ask.verb == "get" && mine(ask.name);
    }
    if ask.namespace.is_empty() {
        return reads && SHARED.contains(&ask.resource);
    }
    let reaches_in = ["exec", "attach", "portforward", "proxy"]
        .iter()
        .any(|sub| ask.resource.ends_with(&format!("/{sub}")));
    mine(ask.namespace)
        && match scope.role {
            Role::Edit => true,
            Role::View => reads && !reaches_in && !PRIVATE.contains(&ask.resource),
        }
}

/// Refuses what the caller may not do, in Kubernetes' words.
///
/// # Errors
/// `Forbidden`, naming who, what and where.
pub(crate) fn check(caller: &Caller, ask: &Ask<'_>) -> Result<(), Error> {
    if may(caller.scope.as_ref(), ask) {
        return Ok(());
    }
    let plural = ask.resource.split('/').next().unwrap_or_default();
    let place = match ask.namespace {
        "" => "at the cluster scope".to_string(),
        ns => format!("in the namespace \"{ns}\""),
    };
    let full = match ask.group {
        "" => plural.to_string(),
        group => format!("{plural}.{group}"),
    };
    let which = match ask.name {
        "" => String::new(),
        name => format!(" \"{name}\""),
    };
    Err(Error::new(
        Code::Forbidden,
        format!(
            "{full}{which} is forbidden: User \"{}\" cannot {} resource \"{}\" in API group \"{}\" {place}",
            caller.user, ask.verb, ask.resource, ask.group
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_a_fence() {
        let scope = |role| TokenScope {
            namespaces: vec!["ann".into()],
            role,
        };
        let ask = |verb, resource, namespace| Ask {
            verb,
            resource,
            namespace,
            ..Ask::default()
        };
        let (view, edit) = (scope(Role::View), scope(Role::Edit));
        for (scope, what, wanted) in [
            (None, ask("delete", "nodes", ""), true),
            (Some(&view), ask("list", "pods", "ann"), true),
            (Some(&view), ask("list", "pods", "bob"), false),
            (Some(&view), ask("list", "pods", ""), false),
            (Some(&view), ask("create", "pods", "ann"), false),
            (Some(&view), ask("get", "secrets", "ann"), false),
            (Some(&view), ask("get", "pods/exec", "ann"), false),
            (Some(&view), ask("get", "pods/log", "ann"), true),
            (Some(&edit), ask("create", "pods/exec", "ann"), true),
            (Some(&edit), ask("get", "secrets", "bob"), false),
            (Some(&edit), ask("list", "nodes", ""), true),
            (Some(&edit), ask("list", "tokens", ""), false),
            (Some(&edit), ask("list", "namespaces", ""), false),
        ] {
            assert_eq!(may(scope, &what), wanted, "{what:?}");
        }
    }
}
