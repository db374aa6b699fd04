//! Immutable data behind a handle.

use std::rc::Rc;

use crate::backend::{self, BackendPayload as _};
use crate::{Bytes, Result};

/// Immutable bytes: an argument, the result of a task, or a granted file.
///
/// Nothing is read before it is asked for. As a task parameter, `Payload` is the raw handle of
/// an argument, for data larger than memory or not wanted as a whole.
#[derive(Clone)]
pub struct Payload(Inner);

#[derive(Clone)]
enum Inner {
    Inline(Rc<Vec<u8>>),
    Handle(Rc<backend::Payload>),
}

/// Largest piece that [`Payload::bytes`] reads when the payload cannot be attached.
const LARGEST_READ: u64 = isize::MAX as u64;

impl Payload {
    pub(crate) fn inline(bytes: Vec<u8>) -> Self {
        Self(Inner::Inline(Rc::new(bytes)))
    }

    pub(crate) fn handle(payload: backend::Payload) -> Self {
        Self(Inner::Handle(Rc::new(payload)))
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        match &self.0 {
            Inner::Inline(bytes) => bytes.len() as u64,
            Inner::Handle(payload) => payload.size(),
        }
    }

    /// Declared type of the bytes; empty for bytes that came along with the call.
    pub fn media_type(&self) -> String {
        match &self.0 {
            Inner::Inline(_) => String::new(),
            Inner::Handle(payload) => payload.media_type(),
        }
    }

    /// Fills `buffer` from `offset` and returns how many bytes there were: fewer than asked only
    /// at the end.
    pub fn read_into(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        match &self.0 {
            Inner::Inline(bytes) => {
                let start = usize::try_from(offset)
                    .ok()
                    .filter(|start| *start <= bytes.len())
                    .ok_or(crate::PayloadError::OutOfRange)?;
                let length = buffer.len().min(bytes.len() - start);
                buffer[..length].copy_from_slice(&bytes[start..start + length]);
                Ok(length)
            }
            Inner::Handle(payload) => {
                let mut filled = 0;
                while filled < buffer.len() {
                    match payload.read_into(offset + filled as u64, &mut buffer[filled..])? {
                        0 => break,
                        count => filled += count,
                    }
                }
                Ok(filled)
            }
        }
    }

    /// Up to `length` bytes from `offset`; fewer only at the end.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let available = self.size().saturating_sub(offset);
        let mut buffer = vec![0; length.min(usize::try_from(available).unwrap_or(usize::MAX))];
        let count = self.read_into(offset, &mut buffer)?;
        buffer.truncate(count);
        Ok(buffer)
    }

    /// The content piece by piece, `length` bytes each; the last may be shorter.
    ///
    /// # Panics
    /// If `length` is 0.
    pub fn chunks(&self, length: usize) -> impl Iterator<Item = Result<Vec<u8>>> + use<> {
        assert!(length > 0, "a chunk needs at least one byte");
        let payload = self.clone();
        let size = self.size();
        let mut offset = 0;
        std::iter::from_fn(move || {
            if offset >= size {
                return None;
            }
            let piece = payload.read(offset, length);
            offset += length as u64;
            Some(piece)
        })
    }

    /// The whole content. A large payload is mapped into memory, not copied; it is unmapped when
    /// the last user of the bytes is dropped.
    pub fn bytes(&self) -> Result<Bytes> {
        match &self.0 {
            Inner::Inline(bytes) => Ok(Bytes::from(bytes.to_vec())),
            Inner::Handle(payload) => Self::bytes_of(payload),
        }
    }

    /// Like [`Payload::bytes`], without a copy of bytes that came along with the call.
    pub(crate) fn into_bytes(self) -> Result<Bytes> {
        match self.0 {
            Inner::Inline(bytes) => Ok(Bytes::from(match Rc::try_unwrap(bytes) {
                Ok(bytes) => bytes,
                Err(shared) => shared.to_vec(),
            })),
            Inner::Handle(payload) => Self::bytes_of(&payload),
        }
    }

    fn bytes_of(payload: &Rc<backend::Payload>) -> Result<Bytes> {
        if let Some(shared) = backend::Payload::attach(payload)? {
            return Ok(Bytes::shared(shared));
        }
        let size = payload.size().min(LARGEST_READ);
        let length = usize::try_from(size).map_err(|_| crate::PayloadError::WindowTooSmall)?;
        let bytes = Self(Inner::Handle(Rc::clone(payload))).read(0, length)?;
        Ok(Bytes::from(bytes))
    }

    /// The handle, or the bytes that came along.
    pub(crate) fn as_handle(&self) -> Result<&backend::Payload, Vec<u8>> {
        match &self.0 {
            Inner::Inline(bytes) => Err(bytes.to_vec()),
            Inner::Handle(payload) => Ok(payload),
        }
    }
}

/// Bytes of this task or driver, for what takes a payload.
impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self::inline(bytes)
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.size())
    }
}
