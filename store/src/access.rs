//! Tokens: how a secret becomes a record, and how a request's secret is checked. Secrets are 256 random bits,
//! so a plain digest is enough to store, and the record is found by the digest itself.

use sha2::{Digest, Sha256};

use crate::{
    Code, Error, Object, Propagation, Ref, Result, Store, Txn,
    kinds::access::{TOKEN, TokenScope, TokenSpec, TokenUse},
};

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user's name.
    pub user: String,
    /// How they came in.
    pub via: TokenUse,
    /// The Token object's name.
    pub token: String,
    /// What it opens; `None` = everything.
    pub scope: Option<TokenScope>,
}

/// A new secret and the record to store for it.
pub struct Minted {
    /// The secret: shown once, stored nowhere.
    pub secret: String,
    /// The record.
    pub object: Object,
}

fn digest(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// Whether two texts are the same, without an early exit that would tell how much of them is.
pub fn same(a: &str, b: &str) -> bool {
    let differs = |acc, (a, b): (u8, u8)| acc | usize::from(a ^ b);
    a.bytes().zip(b.bytes()).fold(a.len() ^ b.len(), differs) == 0
}

/// The name of the Token object that stands for a secret.
pub fn token_name(secret: &str) -> String {
    format!("t-{}", &digest(secret)[..24])
}

/// Makes the record for a secret. `ttl` of `None` never expires.
///
/// # Errors
/// When the time is out of range.
pub fn mint_token(
    secret: String,
    user: &str,
    token_use: TokenUse,
    ttl: Option<std::time::Duration>,
    scope: Option<TokenScope>,
    note: &str,
) -> Result<Minted> {
    let expires = match ttl {
        Some(ttl) => Some(
            jiff::Timestamp::now()
                .checked_add(ttl)
                .map_err(|_| Error::invalid("ttl: too far in the future"))?
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string(),
        ),
        None => None,
    };
    let object = Object::new(&TOKEN, "", &token_name(&secret)).with_spec(&TokenSpec {
        user: user.into(),
        token_use,
        sha256: digest(&secret),
        expires,
        scope,
        note: note.into(),
    })?;
    Ok(Minted { secret, object })
}

fn check(secret: &str, record: Option<Object>, wanted: TokenUse) -> Result<Caller> {
    let refused = |why: &str| Error::new(Code::Unauthenticated, why);
    let record = record
        .ok_or_else(|| refused("unknown or revoked token: make a new one with `kfbox token`"))?;
    let spec: TokenSpec = record.spec()?;
    // The lookup was by a prefix of the digest.
    if !same(&digest(secret), &spec.sha256) || spec.token_use != wanted {
        return Err(refused(
            "unknown or revoked token: make a new one with `kfbox token`",
        ));
    }
    caller(record, spec)
}

/// Whom a record stands for, while it has not expired.
fn caller(record: Object, spec: TokenSpec) -> Result<Caller> {
    if let Some(expires) = &spec.expires {
        let at: jiff::Timestamp = expires.parse().map_err(Error::internal)?;
        if at < jiff::Timestamp::now() {
            return Err(Error::new(
                Code::Unauthenticated,
                "this token has expired: make a new one with `kfbox token`",
            ));
        }
    }
    Ok(Caller {
        user: spec.user,
        via: spec.token_use,
        scope: spec.scope,
        token: record.metadata.name,
    })
}

impl Store {
    /// Who holds this secret.
    ///
    /// # Errors
    /// `Unauthenticated` when nobody does (any more), or a storage error.
    pub async fn authenticate(&self, secret: &str, wanted: TokenUse) -> Result<Caller> {
        let record = self.get(&Ref::new(&TOKEN, "", &token_name(secret))).await?;
        check(secret, record, wanted)
    }

    /// Whose browser session this is, by the name of its Token. For who has proved otherwise that it is theirs.
    ///
    /// # Errors
    /// `Unauthenticated` when there is none (any more), or a storage error.
    pub async fn session(&self, name: &str) -> Result<Caller> {
        let over = || Error::new(Code::Unauthenticated, "the session has ended: log in again");
        let record = self.get(&Ref::new(&TOKEN, "", name)).await?;
        let record = record.ok_or_else(over)?;
        let spec: TokenSpec = record.spec()?;
        if spec.token_use != TokenUse::Session {
            return Err(over());
        }
        caller(record, spec)
    }
}

impl Txn<'_> {
    /// Takes a one-time login secret: it works once.
    ///
    /// # Errors
    /// `Unauthenticated`, or a storage error.
    pub fn redeem_login(&mut self, secret: &str) -> Result<Caller> {
        let r = Ref::new(&TOKEN, "", &token_name(secret));
        let caller = check(secret, self.get(&r)?, TokenUse::Login)?;
        self.delete(&r, Propagation::Cascade)?;
        Ok(caller)
    }
}
