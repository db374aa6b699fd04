//! Payloads: immutable bytes that tasks exchange, and the windows through which guests see them.
//!
//! | module | holds |
//! |---|---|
//! | `reference` | names for payloads that travel between processes |
//! | `store` | segments: shared memory with a life cycle, an account and recycling |
//! | `tmpfs` | a tmpfs with huge pages that is never mounted: the best memory for segments |
//! | `mapping` | the system calls that map memory |
//! | `window` | segments over guest memory; with `mapping`, the `unsafe` code of this crate, but for one call in `tmpfs` |
//! | `file` | payloads that stay in a file of the user: read, never mapped |
//! | `file_store` | files of a run's own, made and read by programs |
//!
//! A segment goes `free → writing → published → free`. The types hold the invariants: a
//! [`WritableSegment`] has one owner and cannot be read, an [`OutputWindow`] owns the segment it
//! shows, [`SegmentStore::publish`] wants it back first, and a [`Segment`] cannot be written. Its
//! memory is recycled when the last [`std::sync::Arc`] of it is gone, so a window or a reader
//! keeps its bytes as they are for as long as it lives.
//!
//! A segment lies in a memory, which is one file:
//!
//! ```text
//!  large    ├──────────────── segment ────────────────┤··│   a memory of its own, huge pages;
//!  ≥ 1 MB                                                    mapped over guest memory
//!
//!  small    ├─ segment ─┤··│            ├─ segment ──┤·│     a slab: 4 MiB in slots of one size;
//!  < 1 MB   │ slot 0       │ slot 1     │ slot 2        │    read and written, never mapped there
//!
//!  spilled  ├──────────────── segment ────────────────┤·│    a file without a name on a disk, when
//!                                                            the limit has no room; never mapped
//! ```
//!
//! Each process of a run has a [`SegmentStore`]; all share one [`SharedAccount`], which enforces the
//! limit. A segment crosses by name and place, and its memory by descriptor, once:
//!
//! ```text
//!  owner                                          another process
//!  publish ──▶ Segment ──export──▶ descriptor ──▶ import ──▶ Memory
//!              kept      {id, len, place}     ──▶ adopt  ──▶ Segment, windows, readers
//!              dropped ◀──────── told ◀──────── on_last, after the last of them
//!  recycled
//! ```
//!
//! This crate never looks into a payload, knows no wasmtime, and starts no thread.

mod file;
mod file_store;
#[expect(unsafe_code, reason = "the system calls that map memory, in one place")]
mod mapping;
mod reference;
mod store;
pub mod tmpfs;
#[expect(
    unsafe_code,
    reason = "windows replace pages of guest memory, which only their callers can vouch for"
)]
mod window;

pub use file::{FileError, FilePayload};
pub use file_store::{FileStore, Isolation, Linked};
pub use mapping::SharedWords;
pub use reference::{
    FileRef, Fingerprint, Location, PayloadDigest, SegmentId, SegmentRef, StoredRef, Transfer, Way,
};
pub use store::{
    AccountSlot, ExportedMemory, FullReason, Medium, Memory, MemoryId, MemoryInfo, Place, Segment,
    SegmentStore, SharedAccount, StoreError, StoreInfo, StoreKind, StoreOptions, StoreStatistics,
    WritableSegment, default_limit_bytes,
};
pub use window::{
    InputWindow, OutputWindow, SegmentMap, WindowError, WindowKey, WindowLimit, WindowLimits,
    WindowSet, map_input, map_output,
};

/// Size of a huge page on the supported machines (x86-64, and aarch64 with 4 KiB pages).
pub const HUGE_PAGE_BYTES: u64 = 2 << 20;

/// Size of a page of this machine: windows start at multiples of it.
pub fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// `value` rounded up to a multiple of the power of two `unit`; none on overflow.
fn round_up(value: u64, unit: u64) -> Option<u64> {
    debug_assert!(unit.is_power_of_two(), "{unit} is not a power of two");
    Some(value.checked_add(unit - 1)? & !(unit - 1))
}
