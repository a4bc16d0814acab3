//! What an object may be: group, scope, names, validation, columns. One registry, built from the rooms.

use serde_json::Value;

use crate::{Code, Error, Object, Result, Txn, kinds};

/// A kind of object. One static per kind, listed by its room in [`kinds`]; what a room does not say comes from
/// [`Kind::BASE`].
#[derive(Debug)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Name of one, such as `Run`.
    pub kind: &'static str,
    /// Name in URLs, such as `runs`.
    pub plural: &'static str,
    /// Short names for kubectl.
    pub short: &'static [&'static str],
    /// Groups of kinds that kubectl asks for by one word, such as `all`.
    pub categories: &'static [&'static str],
    /// The kind of the same objects as they are stored, when this is another version of it.
    pub stored: Option<&'static Self>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// What clients may do to objects of this kind through the Kubernetes-shaped API.
    pub verbs: Verbs,
    /// Whether `kubectl scale` works, and on which fields.
    pub scale: Option<Scale>,
    /// Whether lists merge by their keys (strategic merge patch): the kinds that are built into Kubernetes.
    pub builtin: bool,
    /// JSON Schema of a whole object, for `kubectl explain` and strict validation; `None` = any fields.
    pub schema: Option<fn() -> schemars::Schema>,
    /// Fills in defaults before an object is checked and written, so that readers find them. Pure, and run
    /// again it changes nothing.
    pub prepare: fn(&mut Object) -> Result<()>,
    /// Fills in what other objects have to say of a new one. Pure but for what it reads.
    pub admit: fn(&Txn<'_>, &mut Object) -> Result<()>,
    /// Fields that a client cannot change once the object is there: JSON pointers, and upstream's words for it.
    pub fixed: &'static [(&'static str, &'static str)],
    /// Checks desired state beyond what the envelope checks. Pure: no store, no I/O.
    pub validate: fn(&Object) -> Result<()>,
    /// Columns of a table, after NAME and before AGE.
    pub columns: &'static [Column],
}

/// What clients may do to a kind. Rooms write through the store and are not bound by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbs {
    /// get, list, watch.
    Read,
    /// And create, delete.
    CreateDelete,
    /// And update, patch.
    All,
}

/// The fields behind the `scale` subresource, as JSON pointers.
#[derive(Debug)]
pub struct Scale {
    /// Wanted replicas.
    pub spec: &'static str,
    /// Replicas there are.
    pub status: &'static str,
    /// The label selector of its Pods as text; "" = none.
    pub selector: &'static str,
}

/// A column of a table view.
#[derive(Debug)]
pub struct Column {
    /// Heading.
    pub name: &'static str,
    /// What stands in it.
    pub cell: Cell,
    /// Shown only by `kubectl get -o wide`.
    pub wide: bool,
}

/// The content of a table's column.
#[derive(Debug)]
pub enum Cell {
    /// kubectl's JSONPath inside the object, such as `.status.conditions[-1:].type`; the first hit counts.
    Path(&'static str),
    /// A JSONPath to an RFC 3339 time, shown as an age.
    Age(&'static str),
    /// Worked out from the object.
    Of(fn(&Object) -> String),
}

impl Column {
    /// A column that shows a field.
    pub const fn path(name: &'static str, path: &'static str) -> Self {
        Self {
            name,
            cell: Cell::Path(path),
            wide: false,
        }
    }

    /// A column that is worked out.
    pub const fn of(name: &'static str, f: fn(&Object) -> String) -> Self {
        Self {
            name,
            cell: Cell::Of(f),
            wide: false,
        }
    }

    /// The same column, shown only on request.
    #[must_use]
    pub const fn wide(mut self) -> Self {
        self.wide = true;
        self
    }
}

impl Kind {
    /// What most kinds are: namespaced, only read by clients, without rules of their own.
    pub const BASE: Self = Self {
        group: "",
        version: "v1",
        kind: "",
        plural: "",
        short: &[],
        categories: &[],
        stored: None,
        namespaced: true,
        verbs: Verbs::Read,
        scale: None,
        builtin: false,
        schema: None,
        prepare: |_| Ok(()),
        admit: |_, _| Ok(()),
        fixed: &[],
        validate: |_| Ok(()),
        columns: &[],
    };

    /// All kinds of the box.
    pub fn all() -> impl Iterator<Item = &'static Kind> {
        kinds::ROOMS.iter().flat_map(|room| room.iter().copied())
    }

    /// The kind with this apiVersion and name.
    pub fn of(api_version: &str, kind: &str) -> Option<&'static Kind> {
        Self::all().find(|k| k.kind == kind && k.api_version() == api_version)
    }

    /// The kind with this group, version and plural, as URLs name it.
    pub fn at(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
        Self::all().find(|k| k.plural == plural && k.group == group && k.version == version)
    }

    /// The kind of its objects as they are stored.
    pub fn home(&'static self) -> &'static Self {
        self.stored.unwrap_or(self)
    }

    /// `group/version`, or the bare version for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.into()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The name under which rows are stored: stable across API versions of one kind.
    pub fn resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.into()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// Checks names and labels as Kubernetes does, then the kind's own rules.
    ///
    /// # Errors
    /// `Unprocessable` naming the field and the mend.
    pub fn check(&self, object: &Object) -> Result<()> {
        self.rules(object).map_err(|mut e| {
            if matches!(e.code, Code::Invalid | Code::Unsupported) {
                e.code = Code::Unprocessable;
            }
            e
        })
    }

    fn rules(&self, object: &Object) -> Result<()> {
        check_name("metadata.name", &object.metadata.name, 253)?;
        if self.namespaced {
            check_name("metadata.namespace", &object.metadata.namespace, 63)?;
        }
        for (key, value) in &object.metadata.labels {
            if value.len() > 63 {
                return Err(Error::invalid(format!(
                    "metadata.labels[{key}]: a label value has at most 63 characters"
                )));
            }
        }
        if object
            .body
            .get("spec")
            .is_some_and(|s| !matches!(s, Value::Object(_)))
        {
            return Err(Error::invalid("spec: must be an object"));
        }
        (self.validate)(object)
    }
}

/// A DNS subdomain: the rule for most names in Kubernetes (RFC 1123).
fn check_name(field: &str, name: &str, max: usize) -> Result<()> {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'.';
    let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let bytes = name.as_bytes();
    if name.len() <= max
        && bytes.iter().copied().all(inner)
        && edge(bytes.first().copied())
        && edge(bytes.last().copied())
    {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{field}: \"{name}\" must be 1 to {max} lower-case letters, digits, '-' or '.', and start and end with a letter or digit"
    )))
}
