//! Why a store refuses.

use super::MemoryId;
use crate::SegmentId;
use std::{fmt, io};

/// What a store has run out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullReason {
    /// Its own limit.
    Limit,
    /// The machine's memory.
    Memory,
    /// Descriptors of this process.
    Descriptors,
    /// The disk on which segments go that the limit has no room for.
    Disk,
}

impl FullReason {
    /// Whether a disk has what is missing.
    pub(super) fn is_memory(self) -> bool {
        matches!(self, Self::Limit | Self::Memory)
    }
}

impl fmt::Display for FullReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Limit => "its limit is reached",
            Self::Memory => "the machine has no memory left",
            Self::Descriptors => "the process has no file descriptors left",
            Self::Disk => "its limit is reached, and the disk for what is beyond is full",
        })
    }
}

/// Why a store refused. Each message completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room.
    #[error(
        "make a payload of {wanted_bytes} bytes: the payload store is full, {reason} \
         ({live_bytes} bytes in use, at most {limit_bytes})"
    )]
    Full {
        /// Length asked for.
        wanted_bytes: u64,
        /// Bytes in use.
        live_bytes: u64,
        /// Most bytes that may be in use.
        limit_bytes: u64,
        /// What is missing.
        reason: FullReason,
    },
    /// The segment belongs to another store.
    #[error("publish {id:?}: it belongs to another payload store")]
    Foreign {
        /// The segment.
        id: SegmentId,
    },
    /// There is a segment of that name.
    #[error("adopt {id:?}: there is one already")]
    Known {
        /// The segment.
        id: SegmentId,
    },
    /// What another store said cannot be.
    #[error("adopt {id:?}: it does not lie in {memory:?}")]
    Misplaced {
        /// The segment.
        id: SegmentId,
        /// The memory that was given.
        memory: MemoryId,
    },
    /// The system refused.
    #[error("{operation}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Why.
        source: io::Error,
    },
}
