//! An object out of parts: which parts, in which order, with which ETag and checksum.

use base64::{Engine, engine::general_purpose::STANDARD};
use crc_fast::CrcAlgorithm;
use md5::{Digest, Md5};
use s3s::{S3Error, S3ErrorCode, S3Result, dto::*, s3_error};

use super::convert::{checksum_in, hasher};
use crate::{
    blob::{
        now_ms,
        rows::{self, Upload, Version},
    },
    db::bytes::Tables,
};

/// All parts but the last have at least this many bytes.
const SMALLEST: u64 = 5 << 20;

pub(super) fn tag_of(part: &CompletedPart) -> Option<String> {
    part.e_tag
        .as_ref()
        .map(|t| t.value().trim_matches('"').to_owned())
}

/// The parts that the client names, checked against those that are there.
pub(super) fn choose(
    t: &Tables,
    id: &str,
    named: &[CompletedPart],
) -> S3Result<Vec<(i32, rows::Part)>> {
    if !named.is_sorted_by(|a, b| a.part_number < b.part_number) {
        return Err(s3_error!(
            InvalidPartOrder,
            "the parts must be named in ascending order"
        ));
    }
    let mut chosen: Vec<(i32, rows::Part)> = Vec::new();
    for (i, name) in named.iter().enumerate() {
        let number = name.part_number.unwrap_or_default();
        let part = match u32::try_from(number) {
            Ok(n) => t.part(id, n)?,
            Err(_) => None,
        };
        let claimed = Checksum {
            checksum_crc32: name.checksum_crc32.clone(),
            checksum_crc32c: name.checksum_crc32c.clone(),
            checksum_crc64nvme: name.checksum_crc64nvme.clone(),
            checksum_sha1: name.checksum_sha1.clone(),
            checksum_sha256: name.checksum_sha256.clone(),
            checksum_type: None,
        };
        let fits = |part: &rows::Part| {
            let sum = checksum_in(&claimed);
            let stored = part
                .checksum
                .as_ref()
                .map(|c| (c.algorithm.as_str(), &c.value));
            tag_of(name).is_none_or(|tag| tag == part.etag)
                && sum
                    .as_ref()
                    .is_none_or(|(a, v)| stored.is_none_or(|s| s == (*a, v)))
        };
        let part = part.filter(fits).ok_or_else(|| {
            S3Error::with_message(
                S3ErrorCode::InvalidPart,
                format!("part {number} was not uploaded, or its ETag or checksum is another"),
            )
        })?;
        if part.size < SMALLEST && i + 1 < named.len() {
            return Err(S3Error::with_message(
                S3ErrorCode::EntityTooSmall,
                format!(
                    "part {number} has {} bytes: all parts but the last need at least 5 MiB",
                    part.size
                ),
            ));
        }
        chosen.push((number, part));
    }
    Ok(chosen)
}

/// MD5 over the parts' MD5s, and their number.
pub(super) fn etag_of(tags: impl Iterator<Item = String>, count: usize) -> String {
    let mut md5 = Md5::new();
    for tag in tags {
        md5.update(hex::decode(&tag).unwrap_or_default());
    }
    format!("{}-{count}", hex::encode(md5.finalize()))
}

pub(super) fn assemble(upload: &Upload, chosen: &[(i32, rows::Part)]) -> S3Result<Version> {
    let checksum = match &upload.checksum {
        None => None,
        Some((algorithm, true)) => Some(composite(algorithm, chosen)?),
        Some((algorithm, false)) => Some(combined(algorithm, chosen)?),
    };
    Ok(Version {
        at: now_ms(),
        size: chosen.iter().map(|(_, p)| p.size).sum(),
        etag: etag_of(chosen.iter().map(|(_, p)| p.etag.clone()), chosen.len()),
        segments: chosen
            .iter()
            .flat_map(|(_, p)| p.segments.clone())
            .collect(),
        parts: chosen
            .iter()
            .map(|(number, part)| rows::ObjectPart {
                number: *number,
                size: part.size,
                checksum: part.checksum.clone(),
            })
            .collect(),
        about: upload.about.clone(),
        acl: upload.acl,
        checksum,
        ..Version::default()
    })
}

fn part_sum(algorithm: &str, part: &rows::Part) -> S3Result<Vec<u8>> {
    let sum = part.checksum.as_ref().filter(|c| c.algorithm == algorithm);
    sum.and_then(|c| STANDARD.decode(&c.value).ok())
        .ok_or_else(|| {
            s3_error!(
                InvalidPart,
                "a part has no checksum of the upload's algorithm"
            )
        })
}

/// A checksum over the parts' checksums.
fn composite(algorithm: &str, chosen: &[(i32, rows::Part)]) -> S3Result<rows::Checksum> {
    let mut over = hasher(Some(algorithm))?;
    for (_, part) in chosen {
        over.update(&part_sum(algorithm, part)?);
    }
    let (_, value) = checksum_in(&over.finalize()).ok_or_else(|| s3_error!(InternalError))?;
    Ok(rows::Checksum {
        algorithm: algorithm.into(),
        value: format!("{value}-{}", chosen.len()),
        composite: true,
    })
}

/// The checksum of the whole, worked out from the parts': a CRC is linear.
fn combined(algorithm: &str, chosen: &[(i32, rows::Part)]) -> S3Result<rows::Checksum> {
    let (crc, width) = match algorithm {
        "CRC32" => (CrcAlgorithm::Crc32IsoHdlc, 4),
        "CRC32C" => (CrcAlgorithm::Crc32Iscsi, 4),
        _ => (CrcAlgorithm::Crc64Nvme, 8),
    };
    let mut whole: Option<u64> = None;
    for (_, part) in chosen {
        let bytes = part_sum(algorithm, part)?;
        let sum = bytes.iter().fold(0_u64, |n, b| n << 8 | u64::from(*b));
        whole = Some(match whole {
            None => sum,
            Some(so_far) => crc_fast::checksum_combine(crc, so_far, sum, part.size),
        });
    }
    let bytes = whole.unwrap_or_default().to_be_bytes();
    Ok(rows::Checksum {
        algorithm: algorithm.into(),
        value: STANDARD.encode(&bytes[8 - width..]),
        composite: false,
    })
}
