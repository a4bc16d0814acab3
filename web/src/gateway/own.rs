//! An origin for each notebook: `nb-<digits>.localhost`, a name that browsers resolve to the loopback by themselves. Its
//! cookies and scripts are no other page's.
//!
//! A visitor of `/notebook/...` at the box's address, who has a session there, gets a ticket: once, for a minute, and for
//! this notebook only. The notebook's origin exchanges it for a cookie of its own, which holds as long as the session and
//! opens nothing else. It is signed, not stored, so that it outlives a restart of the daemon.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use kfbox_store::{Caller, Code, Error, Object, Result, kinds::notebook::CULLED, same};
use sha2::{Digest, Sha256};

use super::{Place, allowed, opens_page, page, parse, pass, wake};
use crate::{
    App,
    caller::{cookie, from_own_page, new_secret},
    error::Plain,
};

/// In the address of a visitor who comes from the box.
const TICKET: &str = "kfbox_ticket";
/// On a notebook's origin: who visits.
const VISITOR: &str = "kfbox_visitor";
/// On a notebook's origin: the box's address as the visitor calls it.
const HOME: &str = "kfbox_home";
/// How long a ticket holds.
const TICKET_LIFE: Duration = Duration::from_secs(60);
/// How long a visitor's cookie holds, in seconds; it ends with the session anyway.
const VISIT: i64 = 30 * 24 * 3600;
/// Tickets that wait to be used.
const TICKETS: usize = 1000;
const SUFFIX: &str = ".localhost";

/// Tickets that have not been used.
#[derive(Default)]
pub(crate) struct Tickets(Mutex<HashMap<String, Ticket>>);

struct Ticket {
    label: String,
    session: String,
    home: String,
    made: Instant,
}

impl Tickets {
    fn put(&self, ticket: Ticket) -> String {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, t| t.made.elapsed() < TICKET_LIFE);
        if all.len() >= TICKETS {
            all.clear();
        }
        let secret = new_secret();
        all.insert(secret.clone(), ticket);
        secret
    }

    fn take(&self, secret: &str, label: &str) -> Option<Ticket> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = all.remove(secret)?;
        (ticket.label == label && ticket.made.elapsed() < TICKET_LIFE).then_some(ticket)
    }
}

/// The label of the origin that a `Host` names; `None` when it is not one of a notebook.
pub(crate) fn label(authority: &str) -> Option<&str> {
    let (host, _) = split(authority);
    let label = host.strip_suffix(SUFFIX)?;
    let digits = label.strip_prefix("nb-")?;
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (digits.len() == 16 && digits.bytes().all(hex)).then_some(label)
}

/// Host and `:port`.
fn split(authority: &str) -> (&str, &str) {
    match authority.rfind(':') {
        Some(at) if authority[at + 1..].bytes().all(|b| b.is_ascii_digit()) => {
            authority.split_at(at)
        }
        _ => (authority, ""),
    }
}

fn label_of(place: &Place) -> String {
    let digest = Sha256::digest(place.prefix.as_bytes());
    format!("nb-{}", hex::encode(&digest[..8]))
}

/// Whether a browser that calls the box so also finds `*.localhost` here.
fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(SUFFIX)
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

pub(super) fn redirect(to: &str) -> Response {
    match HeaderValue::from_str(to) {
        Ok(to) => (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response(),
        Err(e) => Plain(Error::internal(e)).into_response(),
    }
}

/// At the box's address: leads a visitor with a session to the notebook's own.
pub(super) fn lead(app: &App, caller: &Caller, place: &Place, request: &Request) -> Response {
    let text = request.headers().get(header::HOST);
    let home = text.and_then(|v| v.to_str().ok()).unwrap_or_default();
    let (host, port) = split(home);
    let refuse = |text: String| Plain(Error::new(Code::Forbidden, text)).into_response();
    if !is_loopback(host) {
        return refuse(format!(
            "notebooks open at http://localhost{port}: call the box by that name"
        ));
    }
    let label = label_of(place);
    let address = format!("http://{label}{SUFFIX}{port}");
    if !opens_page(request) {
        return refuse(format!(
            "pages of the notebook are at {address}; programs send \"Authorization: Bearer <token>\""
        ));
    }
    let ticket = app.tickets.put(Ticket {
        label,
        session: caller.token.clone(),
        home: home.into(),
        made: Instant::now(),
    });
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let sign = if path.contains('?') { '&' } else { '?' };
    redirect(&format!("{address}{path}{sign}{TICKET}={ticket}"))
}

/// All that is asked at a notebook's origin.
pub(crate) async fn serve(app: &App, request: Request, authority: &str, label: &str) -> Response {
    let opens = opens_page(&request);
    let place = parse(request.uri().path()).filter(|p| label_of(p) == label);
    let Some(place) = place else {
        let error = Error::not_found("this is the address of one notebook: open it from the box");
        return Plain(error).into_response();
    };
    let (uri, headers) = (request.uri().clone(), request.headers().clone());
    if let Some((ticket, rest)) = taken_out(&uri) {
        return enter(app, &place, label, &ticket, &rest, authority);
    }
    let answer = visit(app, &place, label, authority, request).await;
    let error = match answer {
        Ok(response) => return response,
        Err(e) => e,
    };
    match error.code {
        // The session has ended, or this browser was never here.
        Code::Unauthenticated if opens => home(app, &uri, &headers, authority),
        _ if opens => match page::of(app, &place, &error).await {
            Ok(page) => page,
            Err(e) => Plain(e).into_response(),
        },
        _ => Plain(error).into_response(),
    }
}

/// A request of a visitor.
async fn visit(
    app: &App,
    place: &Place,
    label: &str,
    authority: &str,
    mut request: Request,
) -> Result<Response> {
    let headers = request.headers();
    if !from_own_page(request.method(), headers, authority) {
        let text = "the notebook answers only to its own pages";
        return Err(Error::new(Code::Forbidden, text));
    }
    let caller = visitor(app, headers, label).await?;
    allowed(&caller, place)?;
    let culled = |n: &Object| n.metadata.annotations.contains_key(CULLED);
    if opens_page(&request) && culled(&app.store.fetch(&place.at).await?) {
        wake(app, &place.at).await?;
    }
    without_ours(request.headers_mut());
    pass(app, place, request).await
}

/// Who visits, by the cookie.
async fn visitor(app: &App, headers: &HeaderMap, label: &str) -> Result<Caller> {
    let refused = || Error::new(Code::Unauthenticated, "open the notebook from the box");
    let value = cookie(headers, VISITOR).ok_or_else(refused)?;
    let mut parts = value.splitn(3, '.');
    let (Some(session), Some(ends), Some(mac)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(refused());
    };
    let ours = app
        .keys
        .sign("visitor", &format!("{label}.{session}.{ends}"))?;
    let holds = ends
        .parse::<i64>()
        .is_ok_and(|ends| ends > Timestamp::now().as_second());
    if !same(&ours, mac) || !holds {
        return Err(refused());
    }
    app.store.session(session).await
}

/// Exchanges a ticket for the cookie, and goes on to the address without it.
fn enter(
    app: &App,
    place: &Place,
    label: &str,
    ticket: &str,
    rest: &str,
    authority: &str,
) -> Response {
    let Some(ticket) = app.tickets.take(ticket, label) else {
        // Used, or too old: the box gives another.
        let (_, port) = split(authority);
        return redirect(&format!("http://localhost{port}{rest}"));
    };
    let ends = Timestamp::now().as_second() + VISIT;
    let text = format!("{label}.{}.{ends}", ticket.session);
    let signed = match app.keys.sign("visitor", &text) {
        Ok(mac) => format!("{}.{ends}.{mac}", ticket.session),
        Err(e) => return Plain(e).into_response(),
    };
    let mut response = redirect(rest);
    // Lax: a visitor comes by a link from the box, whose address is another site.
    for (name, value) in [(VISITOR, signed), (HOME, ticket.home)] {
        let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={VISIT}");
        match HeaderValue::from_str(&text) {
            Ok(value) => response.headers_mut().append(header::SET_COOKIE, value),
            Err(e) => return Plain(Error::internal(e)).into_response(),
        };
    }
    tracing::debug!(notebook = %place.prefix, "a visitor came in");
    response
}

/// Back to the box, for a ticket or to log in.
fn home(app: &App, uri: &Uri, headers: &HeaderMap, authority: &str) -> Response {
    let (_, port) = split(authority);
    let known = cookie(headers, HOME)
        .filter(|home| app.config.hosts.allow(home) && label(home).is_none())
        .filter(|home| is_loopback(split(home).0));
    let home = known.map_or_else(|| format!("localhost{port}"), String::from);
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    redirect(&format!("http://{home}{path}"))
}

/// The ticket of an address, and the address without it.
fn taken_out(uri: &Uri) -> Option<(String, String)> {
    let query = uri.query()?;
    let is = |pair: &&str| pair.split_once('=').is_some_and(|(name, _)| name == TICKET);
    let ticket = query.split('&').find(is)?.split_once('=')?.1;
    let rest: Vec<&str> = query.split('&').filter(|p| !is(p)).collect();
    let rest = match rest.is_empty() {
        true => uri.path().to_string(),
        false => format!("{}?{}", uri.path(), rest.join("&")),
    };
    Some((ticket.into(), rest))
}

/// Takes the box's own cookies out of a request.
fn without_ours(headers: &mut HeaderMap) {
    let ours = |pair: &str| pair.trim_start().starts_with("kfbox_");
    let kept: Vec<String> = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'))
        .filter(|pair| !ours(pair))
        .map(|pair| pair.trim().to_string())
        .collect();
    headers.remove(header::COOKIE);
    if let Some(Ok(value)) = (!kept.is_empty()).then(|| HeaderValue::from_str(&kept.join("; "))) {
        headers.insert(header::COOKIE, value);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        let place = parse("/notebook/ada/work/lab").unwrap();
        let name = label_of(&place);
        assert_eq!(
            label(&format!("{name}.localhost:8080")),
            Some(name.as_str())
        );
        assert_eq!(label(&format!("{name}.localhost")), Some(name.as_str()));
        let other = parse("/notebook/ada/other/lab").unwrap();
        assert_ne!(label_of(&other), name);
        for none in [
            "localhost:8080",
            "127.0.0.1:8080",
            "nb-1.localhost",
            "nb-0123456789abcdeg.localhost",
            "x.nb-0123456789abcdef.localhost",
            "nb-0123456789abcdef.evil.example",
        ] {
            assert_eq!(label(none), None, "{none}");
        }
        assert!(is_loopback("127.0.0.1") && is_loopback("[::1]") && is_loopback("localhost"));
        assert!(!is_loopback("172.18.0.1") && !is_loopback("ml-pipeline.kubeflow"));
    }

    #[test]
    fn tickets_are_for_one_visit_of_one_notebook() {
        let tickets = Tickets::default();
        let put = |label: &str| {
            tickets.put(Ticket {
                label: label.into(),
                session: "t-1".into(),
                home: "localhost:1".into(),
                made: Instant::now(),
            })
        };
        let secret = put("nb-a");
        assert_eq!(tickets.take(&secret, "nb-a").unwrap().session, "t-1");
        assert!(tickets.take(&secret, "nb-a").is_none());
        let secret = put("nb-a");
        assert!(tickets.take(&secret, "nb-b").is_none());
        assert!(tickets.take(&secret, "nb-a").is_none());
    }

    #[test]
    fn what_the_server_does_not_see() {
        let uri: Uri = "/notebook/a/b/lab?x=1&kfbox_ticket=s&y=2".parse().unwrap();
        let (ticket, rest) = taken_out(&uri).unwrap();
        assert_eq!(
            (ticket.as_str(), rest.as_str()),
            ("s", "/notebook/a/b/lab?x=1&y=2")
        );
        let uri: Uri = "/notebook/a/b/?kfbox_ticket=s".parse().unwrap();
        assert_eq!(taken_out(&uri).unwrap().1, "/notebook/a/b/");
        let mut headers = HeaderMap::new();
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("_xsrf=1; kfbox_visitor=a.b; c=2"),
        );
        headers.append(header::COOKIE, HeaderValue::from_static("kfbox_session=s"));
        without_ours(&mut headers);
        assert_eq!(headers[header::COOKIE], "_xsrf=1; c=2");
        assert_eq!(headers.get_all(header::COOKIE).iter().count(), 1);
    }
}
