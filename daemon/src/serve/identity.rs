//! Who this box is: its folder, its id, its admin token.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use kfbox_store::{
    FORMAT, MIN_FORMAT, Ref, Store,
    kinds::access::{TOKEN, TokenUse},
    mint_token, token_name,
};
use rand::RngCore;
use serde::{Deserialize, Serialize};

/// `box.json`: says whose folder this is and who may open it.
#[derive(Serialize, Deserialize)]
struct Marker {
    /// Names this box's containers and networks.
    id: String,
    /// The format of the stored data.
    format: u64,
    /// The kfbox that made it.
    version: String,
}

/// Makes the data folder, readable by its owner only (steps' containers get their own sub-folders).
pub(super) fn prepare(dir: &Path) -> Result<PathBuf> {
    fs::create_dir_all(dir).with_context(|| {
        format!(
            "cannot make the data folder {} (--data-dir chooses another)",
            dir.display()
        )
    })?;
    let dir = dir.canonicalize()?;
    fs::set_permissions(&dir, Permissions::from_mode(0o711))?;
    for (folder, mode) in [("logs", 0o700), ("steps", 0o711), ("artifacts", 0o711)] {
        let path = dir.join(folder);
        fs::create_dir_all(&path)
            .with_context(|| format!("cannot write to the data folder {}", dir.display()))?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    Ok(dir)
}

/// The box's id, made once.
pub(super) fn box_id(data: &Path) -> Result<String> {
    let path = data.join("box.json");
    if let Ok(text) = fs::read_to_string(&path) {
        let marker: Marker = serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged: restore it from a backup", path.display()))?;
        if !(MIN_FORMAT..=FORMAT).contains(&marker.format) {
            bail!(
                "{} has format {} (written by kfbox {}); this kfbox reads {MIN_FORMAT} to {FORMAT}",
                data.display(),
                marker.format,
                marker.version
            );
        }
        return Ok(marker.id);
    }
    let marker = Marker {
        id: random_hex(4),
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").into(),
    };
    write_whole(&path, &serde_json::to_vec_pretty(&marker)?)?;
    Ok(marker.id)
}

/// The file with the admin's token; the token is made anew when the file or its record is gone.
pub(super) async fn admin_token(store: &Store, data: &Path) -> Result<PathBuf> {
    let path = data.join("admin.token");
    if let Ok(secret) = fs::read_to_string(&path) {
        let record = Ref::new(&TOKEN, "", &token_name(secret.trim()));
        if store.get(&record).await?.is_some() {
            return Ok(path);
        }
    }
    let minted = mint_token(
        random_hex(32),
        "admin",
        TokenUse::Api,
        None,
        None,
        "the box's own, for its administrator",
    )?;
    store.create(minted.object).await?;
    write_secret(&path, minted.secret.as_bytes())?;
    Ok(path)
}

/// The key from which the secrets of S3 keys are derived, made once.
pub(super) fn master_key(data: &Path) -> Result<[u8; 32]> {
    let path = data.join("s3.master");
    if let Ok(bytes) = fs::read(&path) {
        return bytes.try_into().map_err(|_| {
            anyhow::anyhow!(
                "{} is damaged: restore it from a backup, or remove it and give out new S3 keys",
                path.display()
            )
        });
    }
    let mut key = [0_u8; 32];
    rand::rng().fill_bytes(&mut key);
    write_secret(&path, &key)?;
    Ok(key)
}

/// Writes a file that only its owner reads, all of it or none.
fn write_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    let _ = fs::remove_file(&part);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    Ok(())
}

/// Writes a file so that readers see all of it or none.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    let mut file = fs::File::create(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Random bytes as hex.
fn random_hex(bytes: usize) -> String {
    let mut buffer = vec![0_u8; bytes];
    rand::rng().fill_bytes(&mut buffer);
    hex::encode(buffer)
}
