//! Bytes on their way in and out: taken in while they are hashed, kept as files under random names or, when
//! few, in the database; read back in stretches.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use md5::{Digest, Md5};
use s3s::{S3Error, S3ErrorCode, S3Result, StdError, checksum::ChecksumHasher, dto, s3_error};
use tokio::task::JoinHandle;

use super::{
    Inner, disk,
    rows::{Blob, Place, Segment},
    s3::fault,
};
use crate::{Error, Result, db::bytes::Tables};

/// A blob of at most this many bytes lies in the database, and is durable with its commit.
const INLINE: usize = 16 << 10;
/// Bytes read from the disk at once; large, or reading costs more in calls than in copies.
const READ: u64 = 256 << 10;
/// Bytes written to the disk at once.
const WRITE: usize = 1 << 20;
/// Stretches read ahead of the client.
const AHEAD: usize = 2;

/// Bytes that were taken in, but that no row names yet: dropped, they are gone.
pub(crate) struct Draft {
    /// The id that the blob will have.
    pub id: String,
    pub size: u64,
    /// MD5 in hex.
    pub md5: String,
    /// What was asked for.
    pub sums: dto::Checksum,
    bytes: Bytestore,
}

enum Bytestore {
    Memory(Bytes),
    File(Temporary),
}

/// A file that is removed unless it is kept.
struct Temporary {
    path: PathBuf,
    kept: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Draft {
    /// Gives the bytes their place and their row, inside the transaction that names them. A file is on the disk
    /// before; see [`Draft::settle`].
    pub(crate) fn keep(self, tables: &Tables) -> Result<Vec<Segment>> {
        if self.size == 0 {
            return Ok(Vec::new());
        }
        let place = match self.bytes {
            Bytestore::Memory(bytes) => {
                tables.put_inline(&self.id, &bytes)?;
                Place::Inline
            }
            Bytestore::File(mut file) => {
                file.kept = true;
                Place::File
            }
        };
        let blob = Blob {
            place,
            size: self.size,
            refs: 1,
            md5: Some(self.md5),
            damaged: None,
        };
        tables.put_blob(&self.id, &blob)?;
        Ok(vec![Segment {
            blob: self.id,
            start: 0,
            size: self.size,
        }])
    }

    /// Moves a file to its last name and makes that durable. If the row then never comes, a sweep finds it.
    pub(crate) async fn settle(mut self, inner: &Inner) -> Result<Self> {
        if let Bytestore::File(file) = &mut self.bytes {
            let (from, to) = (file.path.clone(), inner.file(&self.id));
            let moved = to.clone();
            tokio::task::spawn_blocking(move || move_durably(&from, &moved))
                .await
                .map_err(Error::internal)?
                .map_err(|e| disk(&to, &e))?;
            file.path = to;
        }
        Ok(self)
    }
}

fn move_durably(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    match to.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// A random id for a blob, an upload or a version.
pub(crate) fn new_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

impl Inner {
    /// Where the blob of this id lies as a file.
    pub(crate) fn file(&self, id: &str) -> PathBuf {
        self.files.join(id.get(..1).unwrap_or("0")).join(id)
    }

    /// Takes in a stream. Nothing stays when it fails or is dropped.
    pub(crate) async fn take_in<S>(&self, mut body: S, hasher: ChecksumHasher) -> S3Result<Draft>
    where
        S: Stream<Item = std::result::Result<Bytes, StdError>> + Send + Unpin,
    {
        let mut head = BytesMut::new();
        while let Some(chunk) = body.next().await {
            head.extend_from_slice(&chunk.map_err(broken)?);
            if head.len() > INLINE {
                return self.take_in_file(head.freeze(), body, hasher).await;
            }
        }
        let bytes = head.freeze();
        let mut hash = Hash::new(hasher);
        hash.update(&bytes);
        Ok(hash.draft(new_id(), bytes.len() as u64, Bytestore::Memory(bytes)))
    }

    async fn take_in_file<S>(
        &self,
        head: Bytes,
        mut body: S,
        hasher: ChecksumHasher,
    ) -> S3Result<Draft>
    where
        S: Stream<Item = std::result::Result<Bytes, StdError>> + Send + Unpin,
    {
        let id = new_id();
        let path = self.temporary.join(&id);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(&path);
        let file = file.map_err(|e| fault(disk(&path, &e)))?;
        let kept = Temporary {
            path: path.clone(),
            kept: false,
        };
        let mut intake = Intake {
            file: Arc::new(file),
            hash: Some(Hash::new(hasher)),
            under_way: None,
            size: 0,
        };
        let (mut batch, mut held) = (vec![head], 0);
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(broken)?;
            held += chunk.len();
            batch.push(chunk);
            if held >= WRITE {
                intake
                    .push(std::mem::take(&mut batch))
                    .await
                    .map_err(|e| fault(disk(&path, &e)))?;
                held = 0;
            }
        }
        intake
            .push(batch)
            .await
            .map_err(|e| fault(disk(&path, &e)))?;
        let (hash, size) = intake.end().await.map_err(|e| fault(disk(&path, &e)))?;
        Ok(hash.draft(id, size, Bytestore::File(kept)))
    }

    /// The bytes of these segments from `start` on, as a stream that reads ahead.
    pub(crate) async fn send_out(
        &self,
        segments: &[Segment],
        start: u64,
        length: u64,
    ) -> Result<Outgoing> {
        let wanted = stretch(segments, start, length);
        let (db, ids) = (self.db.clone(), wanted.clone());
        let found = db
            .read(move |t| {
                let mut found = Vec::new();
                for segment in ids {
                    let blob = t.blob(&segment.blob)?.ok_or_else(|| gone(&segment.blob))?;
                    if let Some(reason) = blob.damaged {
                        return Err(damaged(&segment.blob, &reason));
                    }
                    let bytes = match blob.place {
                        Place::Inline => t.inline(&segment.blob)?,
                        _ => None,
                    };
                    found.push((segment, blob.place, bytes.map(Bytes::from)));
                }
                Ok(found)
            })
            .await?;
        let mut reads: Vec<Stretch> = Vec::new();
        for (segment, place, bytes) in found {
            let source = match bytes {
                Some(bytes) => Source::Memory(bytes),
                None => Source::File(self.open_blob(&segment.blob, &place)?),
            };
            let mut at = segment.start;
            let end = segment.start + segment.size;
            while at < end {
                let size = READ.min(end - at);
                reads.push(Stretch {
                    source: source.clone(),
                    at,
                    size,
                });
                at += size;
            }
        }
        let bytes = stream::iter(reads).map(Stretch::read).buffered(AHEAD);
        Ok(Outgoing {
            inner: Box::pin(bytes),
            left: length,
        })
    }

    /// Opens a blob's file: where the row says, or where it was moved to since.
    pub(crate) fn open_blob(&self, id: &str, place: &Place) -> Result<Arc<File>> {
        if let Place::Tree { path, .. } = place
            && let Ok(file) = File::open(self.tree.join(path))
        {
            return Ok(Arc::new(file));
        }
        let path = self.file(id);
        let file = File::open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => gone(id),
            _ => disk(&path, &e),
        })?;
        Ok(Arc::new(file))
    }
}

fn gone(id: &str) -> Error {
    Error::new(
        crate::Code::NotFound,
        "the bytes of this object are not there any more",
    )
    .because(format!("blob {id}"))
}

/// The refusal to serve what a scrub found to be damaged.
pub(crate) fn damaged(id: &str, reason: &str) -> Error {
    let text = format!(
        "the stored bytes of this object are damaged ({reason}): store it again, or restore the data folder from a backup"
    );
    Error::new(crate::Code::Internal, text).because(format!("blob {id}"))
}

/// The parts of these segments that hold `length` bytes from `start` on.
pub(crate) fn stretch(segments: &[Segment], start: u64, length: u64) -> Vec<Segment> {
    let (mut skip, mut left) = (start, length);
    let mut out = Vec::new();
    for segment in segments {
        if left == 0 {
            break;
        }
        if skip >= segment.size {
            skip -= segment.size;
            continue;
        }
        let size = left.min(segment.size - skip);
        out.push(Segment {
            blob: segment.blob.clone(),
            start: segment.start + skip,
            size,
        });
        (skip, left) = (0, left - size);
    }
    out
}

#[derive(Clone)]
enum Source {
    Memory(Bytes),
    File(Arc<File>),
}

struct Stretch {
    source: Source,
    at: u64,
    size: u64,
}

impl Stretch {
    async fn read(self) -> std::result::Result<Bytes, StdError> {
        let size = usize::try_from(self.size)?;
        match self.source {
            Source::Memory(bytes) => {
                let at = usize::try_from(self.at)?;
                let end = at + size;
                if end > bytes.len() {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                Ok(bytes.slice(at..end))
            }
            Source::File(file) => {
                let read = tokio::task::spawn_blocking(move || {
                    let mut buffer = vec![0; size];
                    file.read_exact_at(&mut buffer, self.at)?;
                    io::Result::Ok(Bytes::from(buffer))
                });
                Ok(read.await??)
            }
        }
    }
}

/// A body on its way to a client, of a known length.
pub(crate) struct Outgoing {
    inner:
        std::pin::Pin<Box<dyn Stream<Item = std::result::Result<Bytes, StdError>> + Send + Sync>>,
    left: u64,
}

impl Stream for Outgoing {
    type Item = std::result::Result<Bytes, StdError>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let next = self.inner.as_mut().poll_next(cx);
        if let std::task::Poll::Ready(Some(Ok(bytes))) = &next {
            self.left = self.left.saturating_sub(bytes.len() as u64);
        }
        next
    }
}

impl s3s::stream::ByteStream for Outgoing {
    fn remaining_length(&self) -> s3s::stream::RemainingLength {
        match usize::try_from(self.left) {
            Ok(left) => s3s::stream::RemainingLength::new_exact(left),
            Err(_) => s3s::stream::RemainingLength::unknown(),
        }
    }
}

/// Writes and hashes batches of chunks, each on a thread of its own as they cost about the same, while the next
/// batch comes in. No thread waits for the client.
struct Intake {
    file: Arc<File>,
    /// Not here while a batch is under way.
    hash: Option<Hash>,
    under_way: Option<(JoinHandle<Hash>, JoinHandle<io::Result<()>>)>,
    size: u64,
}

impl Intake {
    async fn push(&mut self, batch: Vec<Bytes>) -> io::Result<()> {
        self.wait().await?;
        let Some(mut hash) = self.hash.take() else {
            return Err(io::Error::other("the digest was lost"));
        };
        let (file, mut at, chunks) = (self.file.clone(), self.size, batch.clone());
        self.size += batch.iter().map(|c| c.len() as u64).sum::<u64>();
        let hashed = tokio::task::spawn_blocking(move || {
            batch.iter().for_each(|chunk| hash.update(chunk));
            hash
        });
        let written = tokio::task::spawn_blocking(move || {
            for chunk in &chunks {
                file.write_all_at(chunk, at)?;
                at += chunk.len() as u64;
            }
            Ok(())
        });
        self.under_way = Some((hashed, written));
        Ok(())
    }

    async fn wait(&mut self) -> io::Result<()> {
        if let Some((hashed, written)) = self.under_way.take() {
            let written = written.await;
            self.hash = Some(hashed.await?);
            written??;
        }
        Ok(())
    }

    /// Digest and size, with the bytes on the disk.
    async fn end(mut self) -> io::Result<(Hash, u64)> {
        self.wait().await?;
        let file = self.file;
        tokio::task::spawn_blocking(move || file.sync_all()).await??;
        match self.hash {
            Some(hash) => Ok((hash, self.size)),
            None => Err(io::Error::other("the digest was lost")),
        }
    }
}

struct Hash {
    md5: Md5,
    sums: ChecksumHasher,
}

impl Hash {
    fn new(sums: ChecksumHasher) -> Self {
        Self {
            md5: Md5::new(),
            sums,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.sums.update(bytes);
    }

    fn draft(self, id: String, size: u64, bytes: Bytestore) -> Draft {
        Draft {
            id,
            size,
            md5: hex::encode(self.md5.finalize()),
            sums: self.sums.finalize(),
            bytes,
        }
    }
}

/// Why a body ended before its time: the client's fault, but for what the disk says.
fn broken(e: StdError) -> S3Error {
    let text = e.to_string();
    if text.contains("SignatureMismatch") {
        return s3_error!(
            SignatureDoesNotMatch,
            "a chunk of the body does not fit its signature"
        );
    }
    if text.contains("Sha256Mismatch") {
        let code =
            S3ErrorCode::from_bytes(b"XAmzContentSHA256Mismatch").unwrap_or(S3ErrorCode::BadDigest);
        let mut error = S3Error::with_message(code, "the body does not fit x-amz-content-sha256");
        error.set_status_code(hyper::StatusCode::BAD_REQUEST);
        return error;
    }
    S3Error::with_message(
        S3ErrorCode::IncompleteBody,
        format!("the body ended before its announced length: {text}"),
    )
}
