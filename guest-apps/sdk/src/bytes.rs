//! Bytes of a payload, wherever they are.

use rkyv::util::AlignedVec;

use crate::backend;

/// Alignment that every archive and array may count on.
pub(crate) const ALIGNMENT: usize = 16;

/// Bytes of an argument or result: in guest memory, mapped from the host, or in an output that
/// is published without a copy.
///
/// On the wire `Bytes` are just themselves, without a frame, so that other languages can read
/// them. A task parameter `&[u8]` takes `Bytes`.
pub struct Bytes(Storage);

enum Storage {
    Owned(Vec<u8>),
    Aligned(AlignedVec<64>),
    Shared(backend::Shared),
    Output(backend::Output),
}

impl Bytes {
    /// Zero-filled bytes for a result. In a task, large ones lie where the host can publish them
    /// without a copy.
    pub fn zeros(length: usize) -> Self {
        use backend::Backend as _;
        match backend::Current::create_output(length) {
            Some(output) => Self(Storage::Output(output)),
            None => Self(Storage::Owned(vec![0; length])).aligned(),
        }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Storage::Owned(bytes) => bytes,
            Storage::Aligned(bytes) => bytes,
            Storage::Shared(bytes) => bytes.as_ref(),
            Storage::Output(bytes) => bytes.as_ref(),
        }
    }

    /// The bytes, to be changed. Bytes shared with the host are copied first.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        if let Storage::Shared(bytes) = &self.0 {
            let copy = bytes.as_ref().to_vec();
            *self = Self(Storage::Owned(copy)).aligned();
        }
        match &mut self.0 {
            Storage::Owned(bytes) => bytes,
            Storage::Aligned(bytes) => bytes,
            Storage::Output(bytes) => bytes.as_mut(),
            Storage::Shared(_) => unreachable!("made unique above"),
        }
    }

    /// The same bytes, starting at a multiple of [`ALIGNMENT`]. Allocators in use align so by
    /// themselves; where one does not, this copies.
    pub(crate) fn aligned(self) -> Self {
        let bytes = self.as_slice();
        if bytes.as_ptr().align_offset(ALIGNMENT) == 0 || bytes.is_empty() {
            return self;
        }
        let mut copy = AlignedVec::with_capacity(bytes.len());
        copy.extend_from_slice(bytes);
        Self(Storage::Aligned(copy))
    }

    /// The bytes as a vector; copies unless they are one already.
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Storage::Owned(bytes) => bytes,
            other => Self(other).as_slice().to_vec(),
        }
    }

    pub(crate) fn shared(bytes: backend::Shared) -> Self {
        Self(Storage::Shared(bytes))
    }

    /// The output under construction, or the bytes to be sent along.
    pub(crate) fn into_output(self) -> Result<backend::Output, Vec<u8>> {
        match self.0 {
            Storage::Output(output) => Ok(output),
            other => Err(Self(other).into_vec()),
        }
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl std::ops::DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.as_mut_slice()
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Storage::Owned(bytes))
    }
}

impl Clone for Bytes {
    fn clone(&self) -> Self {
        match &self.0 {
            Storage::Shared(bytes) => Self(Storage::Shared(bytes.clone())),
            _ => Self::from(self.as_slice().to_vec()).aligned(),
        }
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Bytes {}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({} bytes)", self.as_slice().len())
    }
}
