//! Blobs to be uploaded, and their bytes from any offset on.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    digest::Digest,
    http::Body,
    layer::{Content, Layer},
    ui::Task,
};

/// Up to this many bytes are sent from memory: cheaper than a stream.
const IN_MEMORY: u64 = 256 << 10;

/// A blob to be uploaded.
#[derive(Clone)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Its bytes, opened only when the registry lacks them.
    pub content: Arc<dyn Content>,
}

impl From<&Layer> for Blob {
    fn from(layer: &Layer) -> Self {
        Self { digest: layer.digest, size: layer.size, content: Arc::clone(&layer.content) }
    }
}

/// A blob's bytes from any offset on. One reader serves all pieces that follow each other, since opening a layer may
/// mean making it.
pub(super) struct Bytes {
    shared: Arc<Mutex<Position>>,
    progress: Arc<Task>,
}

struct Position {
    content: Arc<dyn Content>,
    reader: Option<Box<dyn Read + Send>>,
    at: u64,
}

impl Bytes {
    pub(super) fn of(blob: &Blob, progress: &Arc<Task>) -> Self {
        let position = Position { content: Arc::clone(&blob.content), reader: None, at: 0 };
        Self { shared: Arc::new(Mutex::new(position)), progress: Arc::clone(progress) }
    }

    /// `length` bytes from `offset` on, as a request's body.
    pub(super) fn body(&self, offset: u64, length: u64) -> io::Result<Body> {
        if length == 0 {
            return Ok(Body::Bytes(Vec::new()));
        }
        lock(&self.shared).go_to(offset)?;
        self.progress.reset();
        self.progress.inc(offset);
        let shared = Arc::clone(&self.shared);
        let mut piece = Piece { shared, left: length, progress: Arc::clone(&self.progress) };
        if length > IN_MEMORY {
            return Ok(Body::Sized(Box::new(piece), length));
        }
        let mut bytes = Vec::new();
        piece.read_to_end(&mut bytes)?;
        Ok(Body::Bytes(bytes))
    }
}

fn lock(shared: &Mutex<Position>) -> MutexGuard<'_, Position> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Position {
    fn go_to(&mut self, offset: u64) -> io::Result<()> {
        if self.at > offset {
            self.reader = None;
        }
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => {
                self.at = 0;
                none.insert(self.content.open()?)
            }
        };
        self.at += io::copy(&mut reader.take(offset - self.at), &mut io::sink())?;
        if self.at < offset { Err(shorter()) } else { Ok(()) }
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.as_mut().ok_or_else(shorter)?.read(buf)?;
        self.at += n as u64;
        Ok(n)
    }
}

fn shorter() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than it should be")
}

/// Some of a blob's bytes; fewer than promised are an error.
struct Piece {
    shared: Arc<Mutex<Position>>,
    left: u64,
    progress: Arc<Task>,
}

impl Read for Piece {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        if most == 0 {
            return Ok(0);
        }
        let n = lock(&self.shared).read(&mut buf[..most])?;
        if n == 0 {
            return Err(shorter());
        }
        self.left -= n as u64;
        self.progress.inc(n as u64);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::{Mode, Ui};

    fn text(body: Body) -> String {
        let mut text = String::new();
        match body {
            Body::Sized(mut reader, _) => reader.read_to_string(&mut text).map(drop),
            Body::Bytes(bytes) => bytes.as_slice().read_to_string(&mut text).map(drop),
            Body::Empty => Ok(()),
        }
        .expect("readable");
        text
    }

    #[test]
    fn bytes_are_had_from_any_offset_and_their_lack_is_an_error() {
        let blob = Blob { digest: Digest::of("0123456789"), size: 10, content: Arc::new(b"0123456789".to_vec()) };
        let bytes = Bytes::of(&blob, &Arc::new(Ui::new(Mode::None, false).task("", None)));
        for (offset, length, expected) in [(0, 4, "0123"), (4, 6, "456789"), (2, 3, "234"), (9, 1, "9"), (3, 0, "")] {
            assert_eq!(text(bytes.body(offset, length).expect("there")), expected);
        }
        assert!(bytes.body(8, 3).is_err(), "one byte too many");
        assert!(bytes.body(11, 1).is_err(), "behind the end");
    }
}
