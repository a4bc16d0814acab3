//! SPDY/3.1 frames, as far as port-forward uses them: streams with headers, data, pings. Flow control is not used by
//! Kubernetes' clients. The protocol and its compression dictionary: the SPDY Protocol draft 3.1, sections 2.2 to 2.6.

use std::collections::HashMap;

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The draft's dictionary for header blocks, 1,423 bytes.
const DICTIONARY: &[u8] = include_bytes!("spdy3.dictionary");
const VERSION: u16 = 3;
/// The largest frame and the largest unpacked header block that are taken.
const LARGEST: usize = 1 << 20;
const HEADERS: usize = 16 << 10;
pub(super) const FIN: u8 = 1;

/// A frame that matters here.
#[derive(Debug, PartialEq)]
pub(super) enum Frame {
    /// A new stream with its headers (names in lower case).
    Open(u32, HashMap<String, String>),
    /// Data of a stream, and whether it is the last.
    Data(u32, Bytes, bool),
    /// A stream is given up.
    Reset(u32),
    /// To be answered as it came.
    Ping(u32),
    /// The client leaves.
    Away,
    /// Of no concern.
    Other,
}

/// Why a connection cannot go on.
#[derive(Debug)]
pub(super) struct Broken(pub &'static str);

impl From<std::io::Error> for Broken {
    fn from(_: std::io::Error) -> Self {
        Self("the connection ended")
    }
}

/// Reads frames; header blocks share one compression state.
pub(super) struct Reader<R> {
    input: R,
    inflate: Decompress,
    primed: bool,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            inflate: Decompress::new(true),
            primed: false,
        }
    }

    pub(super) async fn next(&mut self) -> Result<Frame, Broken> {
        let mut head = [0_u8; 8];
        self.input.read_exact(&mut head).await?;
        let word =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (first, flags, length) = (word(0), head[4], (word(4) & 0x00ff_ffff) as usize);
        if length > LARGEST {
            return Err(Broken("a frame is too large"));
        }
        let mut body = vec![0_u8; length];
        self.input.read_exact(&mut body).await?;
        if first >> 31 == 0 {
            return Ok(Frame::Data(first, body.into(), flags & FIN != 0));
        }
        if (first >> 16) & 0x7fff != u32::from(VERSION) {
            return Err(Broken("not SPDY/3"));
        }
        let number = |at: usize| {
            let bytes = body.get(at..at + 4).and_then(|b| b.try_into().ok());
            bytes
                .map(u32::from_be_bytes)
                .ok_or(Broken("a frame is too short"))
        };
        Ok(match first & 0xffff {
            1 => {
                let stream = number(0)? & 0x7fff_ffff;
                let block = body.get(10..).ok_or(Broken("a frame is too short"))?;
                Frame::Open(stream, self.headers(block)?)
            }
            // Headers that come later are of no concern, but are part of the compression's state.
            8 => {
                let block = body.get(4..).ok_or(Broken("a frame is too short"))?;
                self.headers(block)?;
                Frame::Other
            }
            3 => Frame::Reset(number(0)? & 0x7fff_ffff),
            6 => Frame::Ping(number(0)?),
            7 => Frame::Away,
            _ => Frame::Other,
        })
    }

    fn headers(&mut self, block: &[u8]) -> Result<HashMap<String, String>, Broken> {
        let broken = Broken("a header block is broken");
        let plain = self.inflate(block)?;
        let mut rest = plain.as_slice();
        let number = |rest: &mut &[u8]| -> Option<usize> {
            let (bytes, after) = rest.split_first_chunk::<4>()?;
            *rest = after;
            Some(u32::from_be_bytes(*bytes) as usize)
        };
        let text = |rest: &mut &[u8]| -> Option<String> {
            let length = number(rest)?;
            let (bytes, after) = rest.split_at_checked(length)?;
            *rest = after;
            String::from_utf8(bytes.to_vec()).ok()
        };
        let mut headers = HashMap::new();
        let Some(count) = number(&mut rest) else {
            return Err(broken);
        };
        for _ in 0..count {
            let (Some(name), Some(value)) = (text(&mut rest), text(&mut rest)) else {
                return Err(broken);
            };
            headers.insert(name.to_ascii_lowercase(), value);
        }
        Ok(headers)
    }

    fn inflate(&mut self, block: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut out = Vec::with_capacity(HEADERS);
        let mut rest = block;
        loop {
            let before = self.inflate.total_in();
            let done = self
                .inflate
                .decompress_vec(rest, &mut out, FlushDecompress::Sync);
            let used = usize::try_from(self.inflate.total_in() - before).unwrap_or(rest.len());
            rest = rest.get(used..).unwrap_or_default();
            match done {
                Err(e) if e.needs_dictionary().is_some() && !self.primed => {
                    self.primed = true;
                    self.inflate
                        .set_dictionary(DICTIONARY)
                        .map_err(|_| Broken("another compression dictionary"))?;
                }
                Err(_) => return Err(Broken("a header block does not unpack")),
                Ok(_) if rest.is_empty() => return Ok(out),
                Ok(_) if out.len() == out.capacity() || used == 0 => {
                    return Err(Broken("a header block is too large"));
                }
                Ok(_) => {}
            }
        }
    }
}

/// Makes frames; header blocks share one compression state, so they must be sent in the order they were made.
pub(super) struct Writer(Compress);

impl Writer {
    pub(super) fn new() -> Self {
        let mut deflate = Compress::new(Compression::fast(), true);
        // A fresh compressor takes any dictionary.
        let _ = deflate.set_dictionary(DICTIONARY);
        Self(deflate)
    }

    /// Accepts a stream; the answer needs no headers.
    pub(super) fn reply(&mut self, stream: u32) -> Vec<u8> {
        let mut block = Vec::with_capacity(64);
        // Memory enough: this cannot fail.
        let _ = self
            .0
            .compress_vec(&0_u32.to_be_bytes(), &mut block, FlushCompress::Sync);
        let mut body = stream.to_be_bytes().to_vec();
        body.extend(block);
        control(2, 0, &body)
    }
}

pub(super) fn control(kind: u16, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = (0x8000 | VERSION).to_be_bytes().to_vec();
    frame.extend(kind.to_be_bytes());
    frame.extend(lengthened(flags, body));
    frame
}

/// Data of a stream.
pub(super) fn data(stream: u32, bytes: &[u8], last: bool) -> Vec<u8> {
    let mut frame = stream.to_be_bytes().to_vec();
    frame.extend(lengthened(if last { FIN } else { 0 }, bytes));
    frame
}

/// The answer to a ping.
pub(super) fn ping(id: u32) -> Vec<u8> {
    control(6, 0, &id.to_be_bytes())
}

fn lengthened(flags: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX) & 0x00ff_ffff;
    let mut out = (length | u32::from(flags) << 24).to_be_bytes().to_vec();
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn open(deflate: &mut Compress, stream: u32, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut plain = u32::try_from(headers.len()).unwrap().to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(k, v)| [k, v]) {
            plain.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            plain.extend(text.as_bytes());
        }
        let mut block = Vec::with_capacity(1024);
        deflate
            .compress_vec(&plain, &mut block, FlushCompress::Sync)
            .unwrap();
        let mut body = stream.to_be_bytes().to_vec();
        body.extend([0; 6]);
        body.extend(block);
        control(1, 0, &body)
    }

    async fn read(bytes: &[u8]) -> Vec<Result<Frame, Broken>> {
        let mut reader = Reader::new(bytes);
        let mut frames = Vec::new();
        loop {
            let frame = reader.next().await;
            let end = frame.is_err();
            frames.push(frame);
            if end {
                return frames;
            }
        }
    }

    #[tokio::test]
    async fn frames_as_a_client_sends_them() {
        let mut deflate = Writer::new().0;
        let mut bytes = open(&mut deflate, 1, &[("streamtype", "error"), ("port", "80")]);
        bytes.extend(open(
            &mut deflate,
            3,
            &[("StreamType", "data"), ("port", "80")],
        ));
        bytes.extend(data(3, b"hello", true));
        bytes.extend(ping(7));
        let frames = read(&bytes).await;
        let headers = |kind: &str| {
            HashMap::from([
                ("streamtype".into(), kind.into()),
                ("port".into(), "80".into()),
            ])
        };
        assert_eq!(
            frames[0].as_ref().unwrap(),
            &Frame::Open(1, headers("error"))
        );
        assert_eq!(
            frames[1].as_ref().unwrap(),
            &Frame::Open(3, headers("data"))
        );
        assert_eq!(
            frames[2].as_ref().unwrap(),
            &Frame::Data(3, Bytes::from("hello"), true)
        );
        assert_eq!(frames[3].as_ref().unwrap(), &Frame::Ping(7));
    }

    #[tokio::test]
    async fn bad_frames_end_the_connection_and_nothing_else() {
        let good = open(&mut Writer::new().0, 1, &[("a", "b")]);
        for cut in 0..good.len() {
            assert!(read(&good[..cut]).await[0].is_err(), "cut at {cut}");
        }
        let mut garbled = good.clone();
        for byte in &mut garbled[18..] {
            *byte ^= 0x5a;
        }
        assert!(read(&garbled).await[0].is_err());
        let large = [0, 0, 0, 1, 0, 0xff, 0xff, 0xff];
        assert!(read(&large).await[0].is_err());
        let long = "x".repeat(HEADERS * 4);
        let mut deflate = Writer::new().0;
        let mut plain = 1_u32.to_be_bytes().to_vec();
        plain.extend(1_u32.to_be_bytes());
        plain.push(b'a');
        plain.extend(u32::try_from(long.len()).unwrap().to_be_bytes());
        plain.extend(long.as_bytes());
        let mut block = Vec::with_capacity(4096);
        deflate
            .compress_vec(&plain, &mut block, FlushCompress::Sync)
            .unwrap();
        let mut body = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        body.extend(block);
        assert!(read(&control(1, 0, &body)).await[0].is_err(), "a bomb");
    }
}
