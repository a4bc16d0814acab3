//! Questions about oneself: who am I, may I; and a token for a service account.

use std::time::Duration;

use axum::{
    Json,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use kfbox_store::{
    Caller, Error, Ref,
    kinds::{
        access::{Role, TokenScope, TokenUse},
        cluster::SERVICE_ACCOUNT,
    },
    mint_token,
};
use serde_json::{Value, json};

use super::{
    Shared,
    authz::{self, Ask},
    body,
};

/// A resource that is only ever created, and stored nowhere.
#[derive(Debug, PartialEq)]
pub(super) struct Review {
    pub group: &'static str,
    pub plural: &'static str,
    pub kind: &'static str,
}

pub(super) const ALL: &[Review] = &[
    Review {
        group: "authentication.k8s.io",
        plural: "selfsubjectreviews",
        kind: "SelfSubjectReview",
    },
    Review {
        group: "authorization.k8s.io",
        plural: "selfsubjectaccessreviews",
        kind: "SelfSubjectAccessReview",
    },
    Review {
        group: "authorization.k8s.io",
        plural: "selfsubjectrulesreviews",
        kind: "SelfSubjectRulesReview",
    },
];

/// The longest a service account's token may live, and how long it lives when nothing is said.
const LONGEST: u64 = 365 * 24 * 3600;
const USUAL: u64 = 3600;

/// POST to a review's address.
pub(super) async fn create(
    app: &Shared,
    caller: &Caller,
    review: &Review,
    request: Request,
) -> Result<Response, Error> {
    let body = body::read(app, request).await?;
    // A review of oneself needs no words.
    let sent = if body.bytes.is_empty() {
        json!({})
    } else {
        body.value()?
    };
    let text = |pointer: &str| {
        let value = sent.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_default().to_string()
    };
    let status = match review.kind {
        "SelfSubjectReview" => json!({"userInfo": {
            "username": caller.user, "groups": ["system:authenticated"],
        }}),
        "SelfSubjectAccessReview" => {
            let at = "/spec/resourceAttributes";
            let resource = match text(&format!("{at}/subresource")).as_str() {
                "" => text(&format!("{at}/resource")),
                sub => format!("{}/{sub}", text(&format!("{at}/resource"))),
            };
            let (verb, group) = (text(&format!("{at}/verb")), text(&format!("{at}/group")));
            let (namespace, name) = (
                text(&format!("{at}/namespace")),
                text(&format!("{at}/name")),
            );
            let ask = Ask {
                verb: &verb,
                group: &group,
                resource: &resource,
                namespace: &namespace,
                name: &name,
            };
            let allowed = authz::may(caller.scope.as_ref(), &ask);
            json!({"allowed": allowed, "reason": if allowed { "" } else { "the token's scope does not open this" }})
        }
        _ => {
            let namespace = text("/spec/namespace");
            let rules = match &caller.scope {
                None => vec![json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})],
                Some(scope) if scope.namespaces.contains(&namespace) => {
                    let verbs = match scope.role {
                        Role::Edit => json!(["*"]),
                        Role::View => json!(["get", "list", "watch"]),
                    };
                    vec![json!({"verbs": verbs, "apiGroups": ["*"], "resources": ["*"]})]
                }
                Some(_) => Vec::new(),
            };
            json!({"resourceRules": rules, "nonResourceRules": [], "incomplete": false})
        }
    };
    let body = json!({
        "kind": review.kind, "apiVersion": format!("{}/v1", review.group), "metadata": {},
        "spec": sent["spec"], "status": status,
    });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// POST to `serviceaccounts/{name}/token`: a token that opens the account's namespace for a while.
pub(super) async fn token(
    app: &Shared,
    ns: &str,
    name: &str,
    request: Request,
) -> Result<Response, Error> {
    app.store
        .fetch(&Ref::new(&SERVICE_ACCOUNT, ns, name))
        .await?;
    let sent = body::read(app, request).await?.value()?;
    let seconds = sent["spec"]["expirationSeconds"].as_u64().unwrap_or(USUAL);
    let seconds = seconds.clamp(600, LONGEST);
    let scope = TokenScope {
        namespaces: vec![ns.into()],
        role: if name.ends_with("viewer") {
            Role::View
        } else {
            Role::Edit
        },
    };
    let minted = mint_token(
        crate::new_secret(),
        &format!("system:serviceaccount:{ns}:{name}"),
        TokenUse::Api,
        Some(Duration::from_secs(seconds)),
        Some(scope),
        "asked for as a TokenRequest",
    )?;
    let stored = app.store.create(minted.object).await?;
    let body = json!({
        "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": name, "namespace": ns},
        "spec": {"audiences": ["kfbox"], "expirationSeconds": seconds},
        "status": {"token": minted.secret, "expirationTimestamp": stored.body["spec"]["expires"]},
    });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}
