//! What a visitor sees while a notebook cannot be seen: it starts, it is stopped, or there is none.

use axum::{
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use kfbox_store::{
    Code, Error, Result,
    kinds::notebook::{state, wanted},
};

use super::Place;
use crate::App;

/// The page for an error. It asks again by itself while the notebook starts.
pub(super) async fn of(app: &App, place: &Place, error: &Error) -> Result<Response> {
    let notebook = app.store.get(&place.at).await?;
    let name = &place.at.name;
    let (title, text, again) = match notebook {
        None => (
            format!("There is no notebook {name}"),
            "It may have been deleted. Open the box to see those that there are.".to_string(),
            false,
        ),
        Some(notebook) if !wanted(&notebook) => (
            format!("The notebook {name} is stopped"),
            "Start it on its page in the box, or with kfbox notebook start.".into(),
            false,
        ),
        Some(notebook) if error.code == Code::Unavailable => {
            let (phase, message) = state(&notebook);
            let text = match (phase, message.as_str()) {
                (_, "") => "The server is coming up; this page opens by itself.",
                (_, message) => message,
            };
            (
                format!("The notebook {name} is starting"),
                text.into(),
                true,
            )
        }
        Some(_) => (
            format!("The notebook {name} cannot be shown"),
            error.message.clone(),
            false,
        ),
    };
    let status = match error.code {
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Forbidden => StatusCode::FORBIDDEN,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let html = render(&title, &text, again);
    Ok((status, [(header::RETRY_AFTER, "1")], Html(html)).into_response())
}

fn render(title: &str, text: &str, again: bool) -> String {
    let refresh = if again {
        "<meta http-equiv=\"refresh\" content=\"1\">"
    } else {
        ""
    };
    let (title, text) = (escape(title), escape(text));
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">{refresh}<title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;display:grid;\
         place-content:center;min-height:90vh;margin:0 1rem;max-width:40rem;margin-inline:auto}}</style></head>\
         <body><main role=\"status\"><h1>{title}</h1><p>{text}</p></main></body></html>"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_is_markup() {
        let html = render("<b>", "\"a\" & <script>", false);
        assert!(
            !html.contains("<b>") && !html.contains("<script>"),
            "{html}"
        );
        assert!(!html.contains("refresh") && render("", "", true).contains("refresh"));
    }
}
