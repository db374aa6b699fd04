//! Names for payloads: small, serialisable values that stand for bytes somewhere.

use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc};

/// A segment of a payload store, unique within a run and never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentId(pub u64);

/// Where the bytes of a payload are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Location {
    /// In the message itself.
    Inline(Arc<[u8]>),
    /// In a segment of the run's payload store.
    Segment(SegmentRef),
    /// In a file that is read, never mapped.
    File(FileRef),
    /// Kept by an external engine under a key that it understands.
    Engine {
        /// The engine's reference.
        key: Arc<str>,
        /// Length in bytes.
        len: u64,
    },
}

impl Location {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Segment(segment) => segment.len,
            Self::File(file) => file.fingerprint.len,
            Self::Engine { len, .. } => *len,
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A published segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SegmentRef {
    /// Which segment.
    pub id: SegmentId,
    /// Bytes used, from the start.
    pub len: u64,
}

/// A file payload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileRef {
    /// Absolute path on the host.
    pub path: Arc<PathBuf>,
    /// What the file was when the payload was made.
    pub fingerprint: Fingerprint,
}

/// Tells whether a file is still the one that was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Size in bytes.
    pub len: u64,
    /// Time of the last modification, nanoseconds since 1970.
    pub modified_ns: i64,
}

/// How one payload crossed the sandbox boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Bytes of the payload.
    pub bytes: u64,
    /// Bytes that the guest asked for, where it reads in pieces.
    pub bytes_moved: u64,
    /// The way.
    pub way: Way,
    /// Whole copies of the moved bytes made by the host or the canonical ABI.
    pub copies: u8,
}

/// The ways for a payload to travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// With the call, through the canonical ABI.
    Inline,
    /// Read into guest memory piece by piece.
    Read,
    /// Mapped into the guest.
    Mapped,
    /// Copied once by the host, between guest memory and a segment.
    Copied,
    /// By reference in one address space, without a sandbox.
    Reference,
    /// Never looked at.
    Untouched,
}
