//! Tokens: made with a secret that is shown once, and revoked.

use std::time::Duration;

use axum::{
    Json,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use kfbox_store::{
    Error, Ref,
    kinds::access::{TOKEN, TokenScope, TokenUse},
    mint_token,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, shown};

/// A login link that is not given a time of its own lives this long.
const LOGIN_TTL: Duration = Duration::from_secs(15 * 60);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    user: String,
    #[serde(rename = "use", default)]
    token_use: TokenUse,
    #[serde(default)]
    ttl: Option<String>,
    #[serde(default)]
    scope: Option<TokenScope>,
    #[serde(default)]
    note: String,
}

pub(super) async fn create(app: &Shared, request: Request) -> Result<Response, Error> {
    let body = axum::body::to_bytes(request.into_body(), 64 << 10)
        .await
        .map_err(|_| Error::invalid("the body is larger than a token needs"))?;
    let mut body: Value = serde_json::from_slice(&body)
        .map_err(|e| Error::invalid(format!("the body is not JSON: {e}")))?;
    let wanted = Wanted::deserialize(body["spec"].take())
        .map_err(|e| Error::invalid(format!("spec: {e}")))?;
    if wanted.user.trim().is_empty() {
        return Err(Error::invalid("spec.user: required"));
    }
    if wanted
        .scope
        .as_ref()
        .is_some_and(|s| s.namespaces.is_empty())
    {
        return Err(Error::invalid(
            "spec.scope.namespaces: at least one; leave the scope out for a token that opens everything",
        ));
    }
    let ttl = match (wanted.ttl.as_deref(), wanted.token_use) {
        (_, TokenUse::Session) => {
            return Err(Error::invalid(
                "spec.use: must be api or login; sessions are made by POST /auth/login",
            ));
        }
        (None | Some(""), TokenUse::Login) => Some(LOGIN_TTL),
        (None | Some(""), _) => None,
        (Some(text), _) => Some(duration(text)?),
    };
    let minted = mint_token(
        crate::new_secret(),
        wanted.user.trim(),
        wanted.token_use,
        ttl,
        wanted.scope,
        &wanted.note,
    )?;
    let mut object = shown(&TOKEN, app.store.create(minted.object).await?);
    object.set("status", &json!({"token": minted.secret}))?;
    Ok((StatusCode::CREATED, Json(object)).into_response())
}

pub(super) async fn delete(app: &Shared, name: &str) -> Result<Response, Error> {
    let gone = app.store.delete(&Ref::new(&TOKEN, "", name)).await?;
    let gone =
        gone.ok_or_else(|| Error::not_found(format!("tokens.kfbox.dev \"{name}\" not found")))?;
    Ok(Json(json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {"name": name, "group": TOKEN.group, "kind": TOKEN.plural, "uid": gone.metadata.uid},
    }))
    .into_response())
}

/// A number and one of s, m, h, d.
fn duration(text: &str) -> Result<Duration, Error> {
    let bad = || {
        Error::invalid(format!(
            "spec.ttl: \"{text}\" must be a number and a unit, such as 30d, 12h, 15m or 90s"
        ))
    };
    let unit = text.chars().last().ok_or_else(bad)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return Err(bad()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| bad())?;
    match count.checked_mul(seconds) {
        Some(total) if total > 0 => Ok(Duration::from_secs(total)),
        _ => Err(bad()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [("30d", 2_592_000), ("12h", 43_200), ("15m", 900), ("9s", 9)] {
            assert_eq!(duration(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in [
            "",
            "d",
            "0d",
            "-1d",
            "30",
            "1y",
            "9999999999999999999d",
            "1é",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
