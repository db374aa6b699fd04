//! How a store is to be made, and what it says of itself.

use super::AccountSlot;
use crate::tmpfs::HugeTmpfs;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A kind of store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreKind {
    /// The best that is possible.
    #[default]
    Auto,
    /// Files of a tmpfs of the run's own, see [`StoreOptions::tmpfs`].
    HugeTmpfs,
    /// One memfd for each large segment, used again and again.
    RecycledMemfd,
    /// One memfd for each segment, which nobody can ever write again: for descriptors that leave
    /// the run's own processes.
    SealedMemfd,
}

/// How a store is to be made.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Which kind of store.
    pub kind: StoreKind,
    /// Most bytes of memory for segments, in use and kept for reuse together. None: half of the
    /// machine's memory, as for a tmpfs. An `account` has a limit of its own.
    pub limit_bytes: Option<u64>,
    /// Whether to ask for huge pages.
    pub huge_pages: bool,
    /// Whether they work, where another store on this machine has found out. None: this one tries, which
    /// takes a millisecond, and up to seconds while all processors are busy or memory is in pieces.
    pub huge_pages_work: Option<bool>,
    /// Most bytes of freed memory kept for reuse. Stores that share an account keep at most a
    /// quarter of its limit together, and less when one of them needs it.
    pub recycle_bytes: u64,
    /// Segments of at most so many bytes share memories, and cannot be mapped over guest memory.
    /// 0: each has a memory of its own. So it is in a store whose memory is sealed, and where the
    /// limit is below 64 MiB for each store.
    pub slab_max_bytes: u64,
    /// The upper bits of all ids that this store gives, so that they are unique over processes.
    /// Below 2^24.
    pub id_space: u32,
    /// The store's part of an account that it shares with others. None: an account of its own.
    pub account: Option<AccountSlot>,
    /// A tmpfs with huge pages, made before.
    pub tmpfs: Option<HugeTmpfs>,
    /// Why there is none, for [`StoreInfo::reason`].
    pub no_tmpfs: Option<String>,
    /// Where segments go that the limit has no room for. None: they are refused.
    pub spill_dir: Option<PathBuf>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            kind: StoreKind::Auto,
            limit_bytes: None,
            huge_pages: true,
            huge_pages_work: None,
            recycle_bytes: 512 << 20,
            slab_max_bytes: 999_999,
            id_space: 0,
            account: None,
            tmpfs: None,
            no_tmpfs: None,
            spill_dir: None,
        }
    }
}

impl StoreOptions {
    pub(super) fn why_no_tmpfs(&self) -> String {
        self.no_tmpfs
            .clone()
            .unwrap_or_else(|| "none was made".to_owned())
    }
}

/// Which store a run uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreInfo {
    /// Name of the kind.
    pub kind: &'static str,
    /// Whether large segments have huge pages. It may still fail for single ones, see
    /// [`StoreStatistics::huge_segments`].
    pub huge_pages: bool,
    /// Why this kind, in words.
    pub reason: String,
}

/// What a store has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStatistics {
    /// Bytes of memory in use: written, published, or freed but still read by somebody.
    pub live_bytes: u64,
    /// Most bytes that were in use at one time.
    pub peak_bytes: u64,
    /// Bytes of freed memory kept for reuse.
    pub free_bytes: u64,
    /// Segments made.
    pub created: u64,
    /// How many of them got the memory of a freed one.
    pub recycled: u64,
    /// How many of them have huge pages to themselves.
    pub huge_segments: u64,
    /// Bytes of segments that are on a disk, because the limit had no room.
    pub spilled_bytes: u64,
    /// Most bytes that were on a disk at one time.
    pub peak_spilled_bytes: u64,
    /// How many of the segments made went to a disk.
    pub spilled_segments: u64,
}
