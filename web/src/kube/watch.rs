//! watch: changes as lines of JSON, for as long as the client reads.
//!
//! A client that stops reading is dropped after a while; between it and the change log at most two batches of
//! events wait. A selector's view is kept as Kubernetes does: an object that comes into view is ADDED, one
//! that leaves it is DELETED.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Extensions, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use kfbox_store::{Code, Error, Event, EventType, Kind, Object, Selector};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};

use super::{
    Shared, flag, number, shown,
    table::{Form, table},
};
use crate::{AsIs, Closing, error::kube_status};

/// How long a client may leave a batch unread.
const STALLED: Duration = Duration::from_secs(30);
/// Existing objects in one piece of the stream.
const PIECE: usize = 64;
/// On the bookmark after the existing objects, when a client asked for it.
const INITIAL_END: &str = "k8s.io/initial-events-end";

/// What a client wants of a watch.
pub(super) struct Options {
    /// Start after this version; `None` = the existing objects first, as ADDED.
    from: Option<u64>,
    bookmarks: bool,
    mark_initial: bool,
    timeout: Option<Duration>,
    form: Form,
}

impl Options {
    pub(super) fn parse(query: &HashMap<String, String>, form: Form) -> Result<Self, Error> {
        let version = number(query, "resourceVersion")?.filter(|v| *v > 0);
        let initial = flag(query, "sendInitialEvents")?;
        Ok(Self {
            from: version.filter(|_| !initial),
            // The box's own pages rely on bookmarks; clients that did not ask for them get none.
            bookmarks: flag(query, "allowWatchBookmarks")?,
            mark_initial: initial,
            timeout: number(query, "timeoutSeconds")?
                .filter(|s| *s > 0)
                .map(|s| Duration::from_secs(s.min(24 * 3600))),
            form,
        })
    }
}

pub(super) async fn start(
    app: &Shared,
    kinds: Vec<&'static Kind>,
    selector: Selector,
    options: Options,
    extensions: &Extensions,
) -> Result<Response, Error> {
    if let Some(from) = options.from
        && from > app.store.version()
    {
        return Err(Error::new(
            Code::Gone,
            format!("resourceVersion {from} is not one of this box yet: list again"),
        ));
    }
    let (pieces, stream) = mpsc::channel::<Bytes>(1);
    let watcher = Watcher {
        app: app.clone(),
        kinds,
        selector,
        pieces,
        form: options.form,
    };
    let closing = Closing::of(extensions);
    tokio::spawn(async move {
        let end = options.timeout.map(|t| Instant::now() + t);
        let until = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        // Ends when the client is gone or stalled, at its own time-out, or with the box.
        tokio::select! {
            _ = watcher.run(options) => {}
            () = until => {}
            () = closing.0.cancelled() => {}
        }
    });
    let stream = futures::stream::unfold(stream, |mut stream| async {
        let piece = stream.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(piece), stream))
    });
    let kind = [(header::CONTENT_TYPE, "application/json")];
    let mut response = (kind, Body::from_stream(stream)).into_response();
    response.extensions_mut().insert(AsIs);
    Ok(response)
}

/// The client is gone, or does not read.
struct Left;

struct Watcher {
    app: Shared,
    /// One as a rule; several for the box's own pages.
    kinds: Vec<&'static Kind>,
    selector: Selector,
    pieces: mpsc::Sender<Bytes>,
    form: Form,
}

impl Watcher {
    /// One line of the stream: the object, or a table of one row.
    fn object(&self, kind: &'static Kind, lines: &mut Vec<u8>, word: &str, object: Object) {
        let object = shown(kind, object);
        match self.form {
            Form::Objects => push(lines, word, &object),
            Form::Table(include) => {
                let version =
                    json!({"resourceVersion": object.metadata.resource_version.to_string()});
                push(lines, word, &table(kind, &[object], include, true, version));
            }
        }
    }

    async fn run(self, options: Options) -> Result<(), Left> {
        match self.follow(options).await {
            Ok(never) => match never {},
            Err(Ended::Left) => Err(Left),
            Err(Ended::Failed(error)) => {
                if let Some(context) = &error.context {
                    tracing::error!(context, "watch failed: {error}");
                }
                let mut line = Vec::new();
                push(&mut line, "ERROR", &kube_status(&error));
                self.send(line).await
            }
        }
    }

    async fn follow(&self, options: Options) -> Result<std::convert::Infallible, Ended> {
        let version = match options.from {
            Some(version) => version,
            None => self.existing(options.mark_initial).await?,
        };
        let mut watch = self.app.store.watch(version);
        let mut ticks = tokio::time::interval(self.app.config.bookmark_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        loop {
            let events = tokio::select! {
                events = watch.next() => events.map_err(Ended::Failed)?,
                _ = ticks.tick() => {
                    if options.bookmarks {
                        let mut line = Vec::new();
                        push(&mut line, "BOOKMARK", &self.bookmark(watch.version()));
                        self.send(line).await?;
                    } else if self.pieces.is_closed() {
                        return Err(Ended::Left);
                    }
                    continue;
                }
                () = self.pieces.closed() => return Err(Ended::Left),
            };
            let mut lines = Vec::new();
            for event in events {
                self.line(&event, &mut lines);
            }
            self.send(lines).await?;
        }
    }

    /// The objects that are there, as ADDED; returns the version to go on from.
    async fn existing(&self, mark: bool) -> Result<u64, Ended> {
        let mut version = None;
        for kind in &self.kinds {
            let mut after = None;
            loop {
                let store = &self.app.store;
                let page = store.list_page(kind, self.selector.clone(), after, PIECE);
                let (list, next) = page.await.map_err(Ended::Failed)?;
                // What changes between two pages comes again as an event: the first page's version counts.
                version.get_or_insert(list.version);
                let mut lines = Vec::new();
                for object in list.items {
                    self.object(kind, &mut lines, "ADDED", object);
                }
                self.send(lines).await?;
                if next.is_none() {
                    break;
                }
                after = next;
            }
        }
        let version = version.unwrap_or_else(|| self.app.store.version());
        if mark {
            let mut bookmark = self.bookmark(version);
            bookmark["metadata"]["annotations"] = json!({INITIAL_END: "true"});
            let mut line = Vec::new();
            push(&mut line, "BOOKMARK", &bookmark);
            self.send(line).await?;
        }
        Ok(version)
    }

    fn bookmark(&self, version: u64) -> Value {
        let (kind, version_of) = match self.kinds.as_slice() {
            [kind] => (kind.kind, kind.api_version()),
            _ => ("List", "v1".into()),
        };
        json!({
            "kind": kind, "apiVersion": version_of,
            "metadata": {"resourceVersion": version.to_string()},
        })
    }

    fn line(&self, event: &Arc<Event>, lines: &mut Vec<u8>) {
        let object = &event.object;
        let ours = |k: &&&'static Kind| {
            object.kind == k.kind && object.api_version == k.home().api_version()
        };
        let Some(kind) = self.kinds.iter().find(ours) else {
            return;
        };
        let now = self.selector.matches(object);
        let before = match (&event.old_labels, event.event_type) {
            (_, EventType::Added) => false,
            (Some(labels), _) => self.selector.matches_with(object, labels),
            (None, _) => now,
        };
        let word = match (before, now && !event.deleted()) {
            (false, false) => return,
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        let object: Object = object.clone();
        self.object(kind, lines, word, object);
    }

    async fn send(&self, lines: Vec<u8>) -> Result<(), Left> {
        if lines.is_empty() {
            return Ok(());
        }
        let piece = self.pieces.send_timeout(lines.into(), STALLED);
        piece.await.map_err(|_| Left)
    }
}

enum Ended {
    Left,
    Failed(Error),
}

impl From<Left> for Ended {
    fn from(_: Left) -> Self {
        Self::Left
    }
}

fn push(lines: &mut Vec<u8>, word: &str, object: &impl serde::Serialize) {
    #[derive(serde::Serialize)]
    struct Line<'a, T> {
        #[serde(rename = "type")]
        word: &'a str,
        object: &'a T,
    }
    // Into memory; objects came from JSON, so that there is always a JSON form.
    if serde_json::to_writer(&mut *lines, &Line { word, object }).is_ok() {
        lines.push(b'\n');
    }
}
