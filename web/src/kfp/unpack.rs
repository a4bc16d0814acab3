//! The pipeline file inside what a user uploaded: plain, zip, or gzipped tar. Pure: bytes in, bytes out.
//!
//! Nothing is written to disk, entries that try to leave the archive are refused all the same, and no more
//! than the limit is ever decompressed.

use std::{
    io::{Cursor, Read},
    path::{Component, Path},
};

use kfbox_store::{Error, Result};

/// Entries of an archive that are looked at.
const ENTRIES: usize = 10_000;
const FORMATS: &str =
    "give a .yaml, .yml or .json file from the kfp compiler, or a .zip or .tar.gz with one inside";

fn is_pipeline_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".yaml", ".yml", ".json"].iter().any(|e| name.ends_with(e))
}

/// The pipeline's own bytes. `limit` bounds what an archive may hold.
pub(super) fn pipeline_file(name: &str, bytes: &[u8], limit: usize) -> Result<Vec<u8>> {
    if bytes.is_empty() {
        return Err(Error::invalid(format!("the file is empty: {FORMATS}")));
    }
    if is_pipeline_name(name) {
        return Ok(bytes.to_vec());
    }
    match bytes {
        [b'P', b'K', ..] => from_zip(bytes, limit),
        [0x1f, 0x8b, ..] => from_tar(bytes, limit),
        _ => Err(Error::invalid(format!(
            "\"{name}\" is neither a pipeline file nor an archive: {FORMATS}"
        ))),
    }
}

/// Refuses names that point out of the archive.
fn plain(name: &str) -> Result<()> {
    let inside = Path::new(name)
        .components()
        .all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if inside && !name.contains('\\') && !name.contains('\0') {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the archive holds an entry named \"{}\", which points out of it: pack the pipeline file alone",
        name.escape_debug()
    )))
}

fn too_large(limit: usize) -> Error {
    let limit = limit >> 20;
    Error::invalid(format!(
        "the archive holds more than {limit} MiB when unpacked: pack the pipeline file alone"
    ))
}

fn nothing_inside() -> Error {
    Error::invalid(
        "the archive holds no pipeline: pack pipeline.yaml, as the kfp compiler wrote it",
    )
}

fn from_zip(bytes: &[u8], limit: usize) -> Result<Vec<u8>> {
    let broken = |e: zip::result::ZipError| {
        Error::invalid(format!("the zip file cannot be read: {e}; pack it again"))
    };
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    if archive.len() > ENTRIES {
        return Err(Error::invalid(format!(
            "the archive holds more than {ENTRIES} entries: pack the pipeline file alone"
        )));
    }
    let mut chosen = None;
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(broken)?;
        let name = entry.name().map_err(broken)?.into_owned();
        plain(&name)?;
        if entry.is_dir() {
            continue;
        }
        if name.trim_start_matches("./") == "pipeline.yaml" {
            chosen = Some((index, name));
            break;
        }
        chosen = chosen.or(Some((index, name)));
    }
    let Some((index, name)) = chosen else {
        return Err(nothing_inside());
    };
    if !is_pipeline_name(&name) {
        return Err(nothing_inside());
    }
    let entry = archive.by_index(index).map_err(broken)?;
    read(entry, limit, |e| {
        Error::invalid(format!(
            "\"{name}\" in the zip file cannot be read: {e}; pack it again"
        ))
    })
}

fn read(
    from: impl Read,
    limit: usize,
    broken: impl Fn(std::io::Error) -> Error,
) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    from.take(limit as u64 + 1)
        .read_to_end(&mut out)
        .map_err(broken)?;
    if out.len() > limit {
        return Err(too_large(limit));
    }
    Ok(out)
}

fn from_tar(bytes: &[u8], limit: usize) -> Result<Vec<u8>> {
    let broken = |e: std::io::Error| {
        Error::invalid(format!(
            "the tar.gz file cannot be read: {e}; pack it again"
        ))
    };
    // Bounded as a whole: a tar is read in order, headers and all.
    let unpacked = read(flate2::read::MultiGzDecoder::new(bytes), limit, broken)?;
    let mut archive = tar::Archive::new(unpacked.as_slice());
    let mut first: Option<(String, Vec<u8>)> = None;
    for (count, entry) in archive.entries().map_err(broken)?.enumerate() {
        if count > ENTRIES {
            return Err(nothing_inside());
        }
        let entry = entry.map_err(broken)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        plain(&name)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let wanted = name.trim_start_matches("./") == "pipeline.yaml";
        if wanted || first.is_none() {
            let content = read(entry, limit, broken)?;
            if wanted {
                return Ok(content);
            }
            first = Some((name, content));
        }
    }
    match first {
        Some((name, content)) if is_pipeline_name(&name) => Ok(content),
        _ => Err(nothing_inside()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    const LIMIT: usize = 1 << 20;

    fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in entries {
            let options = zip::write::SimpleFileOptions::default();
            zip.start_file(*name, options).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn tar_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(gz);
        for (name, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            // By hand: the builder itself refuses hostile names.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            tar.append(&header, *content).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn prefers_pipeline_yaml() {
        let entries: &[(&str, &[u8])] = &[("a.yaml", b"a"), ("pipeline.yaml", b"p")];
        for archive in [zip_of(entries), tar_of(entries)] {
            assert_eq!(pipeline_file("x", &archive, LIMIT).unwrap(), b"p");
        }
        for archive in [zip_of(&entries[..1]), tar_of(&entries[..1])] {
            assert_eq!(pipeline_file("x.zip", &archive, LIMIT).unwrap(), b"a");
        }
        assert_eq!(pipeline_file("x.yaml", b"raw", LIMIT).unwrap(), b"raw");
    }

    #[test]
    fn hostile_archives_are_refused() {
        for name in ["../p.yaml", "/etc/p.yaml", "a/../../p.yaml", "..\\p.yaml"] {
            let entries: &[(&str, &[u8])] = &[("pipeline.yml", b"p"), (name, b"p")];
            for archive in [zip_of(entries), tar_of(entries)] {
                let error = pipeline_file("x", &archive, LIMIT).unwrap_err();
                assert!(error.message.contains("points out"), "{name}: {error}");
            }
        }
        let bomb = vec![0_u8; 4 * LIMIT];
        for archive in [
            zip_of(&[("pipeline.yaml", &bomb)]),
            tar_of(&[("pipeline.yaml", &bomb)]),
        ] {
            assert!(archive.len() < LIMIT);
            let error = pipeline_file("x", &archive, LIMIT).unwrap_err();
            assert!(error.message.contains("1 MiB"), "{error}");
        }
        for bytes in [
            &b"PK"[..],
            b"PK\x05\x06",
            b"\x1f\x8b",
            b"\x89PNG",
            b"",
            b"x",
        ] {
            pipeline_file("x", bytes, LIMIT).unwrap_err();
        }
        pipeline_file("x", &zip_of(&[]), LIMIT).unwrap_err();
        pipeline_file("x", &tar_of(&[("readme.md", b"x")]), LIMIT).unwrap_err();
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let good: &[(&str, &[u8])] = &[("a.yaml", b"some text"), ("pipeline.yaml", b"more text")];
        let mut state = 1_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(state >> 33).unwrap()
        };
        for seed in [zip_of(good), tar_of(good)] {
            for _ in 0..3000 {
                let mut bytes = seed.clone();
                for _ in 0..=next() % 8 {
                    let at = next() % bytes.len();
                    bytes[at] = u8::try_from(next() % 256).unwrap();
                }
                bytes.truncate(next() % (bytes.len() * 2));
                let _ = pipeline_file("x", &bytes, LIMIT);
            }
        }
    }
}
