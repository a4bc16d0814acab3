//! One closed error type for the whole box: a code that every dialect maps once, a message for the user, and
//! a context for the operator's log. `Display` is the user's message; it never prints the context.

use std::fmt;

/// What went wrong, in the words of gRPC and Kubernetes; each dialect maps a code to its own status once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request itself is wrong (400). The message names the field and the mend.
    Invalid,
    /// The object breaks a rule of its kind (422 in Kubernetes, 400 elsewhere). The message opens with the field.
    Unprocessable,
    /// No or bad credentials (401).
    Unauthenticated,
    /// Known caller, not allowed (403).
    Forbidden,
    /// No such object or route (404).
    NotFound,
    /// An object of that name is there already (409).
    AlreadyExists,
    /// The object changed since the caller read it (409).
    Conflict,
    /// The object's state does not allow this now (400 in the KFP dialect, 409 in others).
    Precondition,
    /// The wanted versions left the change log: list again (410).
    Gone,
    /// The body's format is not one that is understood here (415).
    UnsupportedMedia,
    /// The body is larger than allowed (413).
    TooLarge,
    /// The disk is full (507).
    StorageFull,
    /// Something this box needs is not answering now (503).
    Unavailable,
    /// This box does not do that (501).
    Unsupported,
    /// Our fault (500).
    Internal,
}

/// An error with two audiences.
#[derive(Clone, Debug)]
pub struct Error {
    /// The class.
    pub code: Code,
    /// For the person who sent the request: names the field and the mend.
    pub message: String,
    /// For the operator's log; may name files and causes. Never sent to a client.
    pub context: Option<String>,
}

/// The result of every fallible call of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with a message for the user.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            context: None,
        }
    }

    /// The request is wrong: name the field and the mend.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::Invalid, message)
    }

    /// No such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// Our fault: the user gets a plain sentence, the log gets the cause.
    pub fn internal(context: impl fmt::Display) -> Self {
        Self {
            code: Code::Internal,
            message: "the box failed to do this; its log has the cause".into(),
            context: Some(context.to_string()),
        }
    }

    /// Adds what only the log should see.
    #[must_use]
    pub fn because(mut self, context: impl fmt::Display) -> Self {
        self.context = Some(context.to_string());
        self
    }

    /// Whether the same call may succeed later without a change by the caller.
    pub fn retryable(&self) -> bool {
        matches!(
            self.code,
            Code::Conflict | Code::Unavailable | Code::StorageFull | Code::Internal
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
