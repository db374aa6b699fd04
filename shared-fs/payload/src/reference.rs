//! Names for payloads: small, serialisable values that stand for bytes somewhere.

use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf, sync::Arc};

/// A segment of a payload store, unique within a run and never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentId(pub u64);

impl SegmentId {
    /// The id space of the store that made the segment.
    pub fn space(self) -> u32 {
        (self.0 >> crate::store::ID_BITS) as u32
    }
}

/// Where the bytes of a payload are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Location {
    /// In the message itself.
    Inline(#[serde(with = "whole")] Arc<[u8]>),
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
    /// In the store of the run's transformer, outside of the run's memory.
    /// Shared, so that a location stays small.
    Stored(Arc<StoredRef>),
}

impl Location {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Segment(segment) => segment.len,
            Self::File(file) => file.fingerprint.len,
            Self::Engine { len, .. } => *len,
            Self::Stored(stored) => stored.len,
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

/// A payload in the store of a transformer: an identifier that travels instead of the bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StoredRef {
    /// Name in the store, never used twice.
    pub key: Arc<str>,
    /// Length in bytes.
    pub len: u64,
    /// Digest of the bytes that were stored.
    pub digest: PayloadDigest,
}

/// XXH3-128 of a payload's bytes: tells damage, not malice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PayloadDigest(pub u128);

impl fmt::Display for PayloadDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for PayloadDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PayloadDigest({self})")
    }
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
    /// As a file, under another name, or copied where that is not safe: to a program and from it.
    Linked,
    /// Never looked at.
    Untouched,
    /// Through the store of a transformer: fetched from it, or put into it.
    Stored,
}

/// Bytes as one piece; serde's own way for slices takes them one by one.
mod whole {
    use serde::{
        Deserializer, Serializer,
        de::{SeqAccess, Visitor},
    };
    use std::{fmt, sync::Arc};

    pub(super) fn serialize<S: Serializer>(
        bytes: &Arc<[u8]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<[u8]>, D::Error> {
        deserializer.deserialize_byte_buf(Bytes)
    }

    struct Bytes;

    impl<'de> Visitor<'de> for Bytes {
        type Value = Arc<[u8]>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
            Ok(bytes.into())
        }

        fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Self::Value, E> {
            Ok(bytes.into())
        }

        /// Formats without bytes, such as JSON, have lists of numbers.
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut bytes = Vec::new();
            while let Some(byte) = items.next_element()? {
                bytes.push(byte);
            }
            Ok(bytes.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_bytes_travel_whole_in_every_format() {
        for bytes in [Vec::new(), vec![1, 2, 255], vec![7; 70_000]] {
            let location = Location::Inline(bytes.as_slice().into());
            let packed = postcard::to_allocvec(&location).expect("it is plain data");
            assert!(
                packed.ends_with(&bytes),
                "the bytes stand there as they are"
            );
            assert!(packed.len() <= bytes.len() + 4);
            let back: Location = postcard::from_bytes(&packed).expect("it was just written");
            assert_eq!(back, location);
            let text = serde_json::to_string(&location).expect("it is plain data");
            let back: Location = serde_json::from_str(&text).expect("it was just written");
            assert_eq!(back, location);
        }
    }
}
