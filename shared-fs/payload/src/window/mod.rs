//! Windows: payloads mapped over guest memory, without a copy.
//!
//! The component model copies lists into a guest. A window avoids that: the guest reserves
//! page-aligned memory and passes it as a list; the host, which gets the address after the
//! canonical ABI checked its bounds, maps the payload over it, and puts zero memory back before
//! the memory serves another guest.
//!
//! ```text
//!  linear memory of a guest (private anonymous memory of the pool)
//!  ├──────────────┬───────────────── window ─────────────────┬──────────────┤
//!                 │ slack │       mapped pages       │ slack │
//!                 │       ├── payload ───────┬─ zero ┤       │
//!                 ▲       ▲                  ▲       ▲
//!               addr   addr+offset         +len    +extent
//!                         │   2 MiB aligned on the host where the segment
//!                         │   has huge pages and the window has room
//!                         ▼
//!               segment: byte 0 of a memfd, allocated to its end, size sealed
//!
//!  input   MAP_PRIVATE, readable and writable: the guest writes to pages of its own
//!  output  MAP_SHARED,  readable and writable: the guest writes the segment, which it owns alone
//!  undone  MAP_PRIVATE | MAP_ANONYMOUS: zero, as the pool's own memory, and merged with it
//! ```
//!
//! The rules, each found by attack and each kept by a test in `tests/`:
//!
//! - Only over a pool without copy-on-write images: anonymous zero memory must be the right thing
//!   to put back, also where the guest placed a window over its own data.
//! - Never read-only and never shared for inputs: the host itself may be led to write there.
//! - Only exactly the mapped pages are replaced on the way back, so that no mapping has to be
//!   split and a process at its limit of mappings still succeeds.
//! - Windows of all sandboxes together take at most half of the mappings that the process may have.
//! - Outputs are allocated before they are mapped, and unmapped before they are published.

mod host;
mod set;
#[cfg(test)]
mod tests;

pub use host::SegmentMap;
pub use set::{WindowKey, WindowLimits, WindowSet};

use crate::mapping::{self, Sharing, SizedFile};
use crate::{HUGE_PAGE_BYTES, Segment, StoreError, WritableSegment, page_bytes};
use rustix::io::Errno;
use std::{
    io,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Why a window could not be made. The variants are those of `payload-error` in the WIT.
/// Each message completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    /// `misaligned-window`.
    #[error(
        "attach a window of {len} bytes at address {addr:#x}: start and length must be multiples \
         of the page size, {}",
        page_bytes()
    )]
    Misaligned {
        /// Address on the host.
        addr: usize,
        /// Length of the window.
        len: usize,
    },
    /// `window-too-small`.
    #[error("attach a payload of {needed_bytes} bytes in whole pages to a window of {len}")]
    TooSmall {
        /// Length of the window.
        len: usize,
        /// Bytes that it must have.
        needed_bytes: u64,
    },
    /// `window-in-use`.
    #[error("attach a window over one that is still attached")]
    InUse,
    /// `window-limit`.
    #[error("attach another window: {0}")]
    Limit(WindowLimit),
    /// `wrong-state`.
    #[error("detach a window that is not attached, or not of this kind")]
    WrongState,
    /// The payload shares its pages with others, or lies on a disk: it must be read.
    #[error("attach a payload that cannot be mapped")]
    NotMappable,
    /// `store-full`.
    #[error(transparent)]
    StoreFull(StoreError),
    /// `io`.
    #[error("{operation}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// Which limit forbids another window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowLimit {
    /// Number of windows of the sandbox.
    #[error("{limit} are attached, which is the limit")]
    Count {
        /// Most windows.
        limit: usize,
    },
    /// Bytes in windows of the sandbox.
    #[error("{wanted_bytes} bytes would be attached, the limit is {limit_bytes}")]
    Bytes {
        /// Bytes with the new one.
        wanted_bytes: u64,
        /// Most bytes.
        limit_bytes: u64,
    },
    /// Mappings of the process (`vm.max_map_count`).
    #[error("the process has too few mappings left (vm.max_map_count)")]
    Mappings,
}

impl From<StoreError> for WindowError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full { .. } => Self::StoreFull(error),
            StoreError::Io { operation, source } => Self::Io { operation, source },
            StoreError::Foreign { .. }
            | StoreError::Known { .. }
            | StoreError::Misplaced { .. } => Self::Io {
                operation: "use a segment of another store",
                source: io::ErrorKind::InvalidInput.into(),
            },
        }
    }
}

impl WindowError {
    fn mapping(source: io::Error) -> Self {
        match Errno::from_io_error(&source) {
            Some(Errno::NOMEM) => Self::Limit(WindowLimit::Mappings),
            _ => Self::Io {
                operation: "map a payload over guest memory",
                source,
            },
        }
    }
}

/// Where in a window a payload goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Placement {
    /// From the start of the window.
    offset: usize,
    /// Bytes mapped; 0 for a payload without bytes.
    mapped: usize,
}

/// Chooses a place for a payload of `len` bytes whose mapping may reach to `extent`.
fn place(
    addr: usize,
    window: usize,
    len: u64,
    extent: u64,
    huge: bool,
) -> Result<Placement, WindowError> {
    let page = page_bytes() as usize;
    if window != 0 && !(addr.is_multiple_of(page) && window.is_multiple_of(page)) {
        return Err(WindowError::Misaligned { addr, len: window });
    }
    if len == 0 {
        return Ok(Placement {
            offset: 0,
            mapped: 0,
        });
    }
    let too_small = |needed_bytes| WindowError::TooSmall {
        len: window,
        needed_bytes,
    };
    let pages = crate::round_up(len, page as u64).ok_or_else(|| too_small(len))?;
    if pages > window as u64 {
        return Err(too_small(pages));
    }
    let (pages, extent) = (pages as usize, extent as usize);
    if huge {
        let offset = addr.next_multiple_of(HUGE_PAGE_BYTES as usize) - addr;
        for mapped in [extent, pages] {
            if offset + mapped <= window {
                return Ok(Placement { offset, mapped });
            }
        }
    }
    Ok(Placement {
        offset: 0,
        mapped: pages,
    })
}

/// Windows that are mapped, of all sandboxes of this process.
static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// Most of them: a quarter of the mappings that the process may have. Each adds up to two, so
/// guests cannot use up the mappings that the host needs, however many they are.
static MOST_MAPPED: LazyLock<usize> = LazyLock::new(|| mapping::most_mappings() / 4);

/// One of the windows that the process can afford.
#[derive(Debug)]
struct Permit;

impl Permit {
    fn take() -> Result<Self, WindowError> {
        let permit = Self;
        if MAPPED.fetch_add(1, Ordering::Relaxed) < *MOST_MAPPED {
            Ok(permit)
        } else {
            Err(WindowError::Limit(WindowLimit::Mappings))
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        MAPPED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A window over guest memory. Dropping it makes the whole of it zero memory again.
#[derive(Debug)]
struct Window {
    addr: usize,
    len: usize,
    placement: Placement,
    /// Dropped after the mapping is gone.
    _permit: Permit,
}

impl Window {
    /// # Safety
    ///
    /// As for `map_input`.
    unsafe fn new(
        addr: usize,
        len: usize,
        placement: Placement,
        file: &SizedFile,
        sharing: Sharing,
    ) -> Result<Self, WindowError> {
        let permit = Permit::take()?;
        if placement.mapped != 0 {
            // SAFETY: the caller's promise about the memory.
            unsafe { mapping::map_over(addr + placement.offset, placement.mapped, file, sharing) }
                .map_err(WindowError::mapping)?;
        }
        Ok(Self {
            addr,
            len,
            placement,
            _permit: permit,
        })
    }
}

impl Window {
    /// The guest's own memory, made zero.
    ///
    /// # Safety
    ///
    /// As for `map_output`.
    unsafe fn without_mapping(addr: usize, len: usize) -> Result<Self, WindowError> {
        let permit = Permit::take()?;
        // SAFETY: the caller's promise: this is anonymous memory of the guest, and nothing else.
        unsafe { mapping::discard(addr, len) };
        Ok(Self {
            addr,
            len,
            placement: Placement {
                offset: 0,
                mapped: 0,
            },
            _permit: permit,
        })
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let Placement { offset, mapped } = self.placement;
        let end = offset + mapped;
        // SAFETY: `new` mapped exactly this range, and its caller promised that the memory still
        // belongs to the guest and that nothing on the host refers into it; what lies around it
        // in the window is the guest's anonymous memory. Guarded by
        // `detaching_leaves_zeros_in_the_whole_window`.
        unsafe {
            if mapped != 0 {
                mapping::restore(self.addr + offset, mapped);
            }
            mapping::discard(self.addr, offset);
            mapping::discard(self.addr + end, self.len - end);
        }
    }
}

/// A published segment over guest memory, copy-on-write. Keeps the segment alive; dropping it
/// makes the window zero memory again.
#[derive(Debug)]
pub struct InputWindow {
    /// Declared first: unmapped before the segment may be recycled.
    window: Window,
    segment: Arc<Segment>,
}

impl InputWindow {
    /// The segment that the window shows.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }
}

/// A segment that a guest fills in place. Dropping it makes the window zero memory again and
/// gives the segment back to its store.
#[derive(Debug)]
pub struct OutputWindow {
    /// Declared first: unmapped before the segment may be published or recycled.
    window: Window,
    segment: WritableSegment,
}

impl OutputWindow {
    /// Length of the segment in bytes.
    pub fn len(&self) -> u64 {
        self.segment.len()
    }

    /// Whether the segment has no bytes.
    pub fn is_empty(&self) -> bool {
        self.segment.is_empty()
    }

    /// Takes the window away and gives the segment as the guest filled it, ready to publish.
    pub fn finish(self) -> WritableSegment {
        let Self { window, segment } = self;
        drop(window);
        segment
    }
}

/// Maps a published segment over `[addr, addr + len)` and says at which offset it starts.
///
/// # Safety
///
/// `[addr, addr + len)` is private anonymous memory of one live wasm linear memory (pooling
/// allocator, copy-on-write images off, memory protection keys off); no other window lies over
/// it; nothing on the host holds a reference into it when a window is made or dropped; and the
/// window is dropped before that memory is given back.
pub unsafe fn map_input(
    addr: usize,
    len: usize,
    segment: &Arc<Segment>,
) -> Result<(InputWindow, u64), WindowError> {
    if !segment.is_mappable() {
        return Err(WindowError::NotMappable);
    }
    let huge = segment.has_huge_pages();
    let placement = place(addr, len, segment.len(), segment.extent(), huge)?;
    // SAFETY: the caller's promise. The mapping is private, so that no write of the guest or of
    // the host reaches the segment (`writes_to_an_input_window_stay_in_the_sandbox`).
    let window = unsafe { Window::new(addr, len, placement, segment.file(), Sharing::Private) }?;
    let offset = placement.offset as u64;
    let segment = Arc::clone(segment);
    Ok((InputWindow { window, segment }, offset))
}

/// Maps a segment under construction over `[addr, addr + len)` and says at which offset it
/// starts. On an error the segment goes back to its store.
///
/// # Safety
///
/// As for [`map_input`].
pub unsafe fn map_output(
    addr: usize,
    len: usize,
    mut segment: WritableSegment,
) -> Result<(OutputWindow, u64), WindowError> {
    if !segment.is_mappable() {
        return Err(WindowError::NotMappable);
    }
    if !segment.is_mappable() {
        return Err(WindowError::NotMappable);
    }
    let huge = segment.has_huge_pages();
    let placement = place(addr, len, segment.len(), segment.extent(), huge)?;
    segment
        .prepare_mapping()
        .map_err(|source| WindowError::Io {
            operation: "clear a segment",
            source,
        })?;
    // SAFETY: the caller's promise. Sharing is right, because this value owns the segment alone
    // until `finish` or drop took the mapping away.
    let window = unsafe { Window::new(addr, len, placement, segment.file(), Sharing::Shared) }?;
    let offset = placement.offset as u64;
    Ok((OutputWindow { window, segment }, offset))
}
