//! The memory behind a segment, and the kinds of stores that make it.

use super::StoreInfo;
use super::account::Sized64;
use crate::mapping::{Access, HostMap, SizedFile};
use crate::{HUGE_PAGE_BYTES, page_bytes, round_up};
use rustix::fs::MemfdFlags;
use std::{fs::File, io, os::unix::fs::FileExt as _};

/// Length from which a segment gets huge pages. One huge page is made faster than the 256 small
/// ones of 1 MiB (0.1 against 0.2 ms), and cleared, mapped and touched faster still, which is
/// worth the half that may stay empty.
const HUGE_FROM_BYTES: u64 = 1_000_000;

/// A source of memory for segments: one kind of store.
///
/// There is one implementation now, recycled memfds. A huge-page tmpfs and memfds sealed per
/// payload fit the same shape: the first differs in how a file is made, the second seals in
/// `published` and answers `false` to `recycles`.
pub(super) trait Source: Send + Sync + std::fmt::Debug {
    /// Which store this is and why.
    fn info(&self) -> StoreInfo;
    /// Bytes of memory that a segment of `len` bytes will take; none on overflow.
    fn capacity_for(&self, len: u64) -> Option<u64>;
    /// Makes memory of a capacity given by `capacity_for`, allocated to the last page.
    fn allocate(&self, capacity: u64) -> io::Result<Backing>;
    /// Called once between the end of writing and the first reader.
    fn published(&self, backing: &Backing) -> io::Result<()>;
    /// Whether memory can be written again after it was published.
    fn recycles(&self) -> bool;
}

/// Memory of a segment.
#[derive(Debug)]
pub(crate) struct Backing {
    file: SizedFile,
    /// Whether all of it is made of huge pages.
    pub(crate) huge: bool,
    /// Bytes from here to the end are zero. What lies before may be data of an earlier owner.
    dirty: u64,
}

impl Sized64 for Backing {
    fn capacity(&self) -> u64 {
        self.file.len()
    }
}

impl Backing {
    /// The file, to be mapped or read.
    pub(crate) fn file(&self) -> &SizedFile {
        &self.file
    }

    /// How far a mapping may reach for a segment of `len` bytes: whole pages, huge ones where the
    /// memory has them, because the rest of a huge page costs one fault mapped as a whole and
    /// hundreds mapped in small pages.
    pub(crate) fn extent(&self, len: u64) -> u64 {
        let unit = if self.huge {
            HUGE_PAGE_BYTES
        } else {
            page_bytes()
        };
        // Cannot overflow: `capacity` was rounded up from `len` before.
        round_up(len, unit).map_or(self.capacity(), |extent| extent.min(self.capacity()))
    }

    /// Writes all of `bytes` at `offset`.
    pub(crate) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // First, so that a write that fails half-way is known as well.
        self.soil(offset + bytes.len() as u64);
        self.file.write_at(offset, bytes)
    }

    /// Notes that the bytes before `end` may be written.
    pub(crate) fn soil(&mut self, end: u64) {
        self.dirty = self.dirty.max(end);
    }

    /// Overwrites `[from, to)` with zeros where it may hold old data.
    pub(crate) fn clear(&mut self, from: u64, to: u64) -> io::Result<()> {
        let to = to.min(self.dirty);
        // Below this, mapping costs more than it saves.
        if self.huge && to.saturating_sub(from) >= HUGE_PAGE_BYTES / 4 {
            self.file.clear_mapped(from, to, HUGE_PAGE_BYTES as usize)
        } else {
            self.file.clear(from, to)
        }
    }
}

/// Store of kind (b): memfds that are recycled, made of huge pages where the kernel can.
#[derive(Debug)]
pub(super) struct RecycledMemfds {
    huge_works: bool,
    reason: String,
}

impl RecycledMemfds {
    /// Tries the store out. The memory that this made is returned for first use.
    pub(super) fn new(huge_pages: bool) -> io::Result<(Self, Backing)> {
        let mut source = Self {
            huge_works: huge_pages,
            reason: String::new(),
        };
        let probe = if huge_pages {
            HUGE_PAGE_BYTES
        } else {
            page_bytes()
        };
        let (backing, collapse) = source.make(probe)?;
        source.reason = match collapse {
            Collapse::NotTried => "huge pages are switched off".to_owned(),
            Collapse::Done => "recycled memfds; MADV_COLLAPSE gives huge pages".to_owned(),
            Collapse::Failed(error) => {
                format!("recycled memfds; MADV_COLLAPSE gives no huge pages: {error}")
            }
        };
        source.huge_works = backing.huge;
        Ok((source, backing))
    }

    fn make(&self, capacity: u64) -> io::Result<(Backing, Collapse)> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = match rustix::fs::memfd_create("taps-segment", flags | MemfdFlags::NOEXEC_SEAL) {
            // Linux before 6.3 does not know the flag.
            Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create("taps-segment", flags)?,
            other => other?,
        };
        let file = File::from(file);
        file.set_len(capacity)?;
        let huge = self.huge_works && capacity.is_multiple_of(HUGE_PAGE_BYTES);
        let collapse = if huge {
            collapse(&file, capacity)?
        } else {
            Collapse::NotTried
        };
        let backing = Backing {
            // Last: it fills what collapsing left out, and a full machine shows as an error.
            file: SizedFile::new(file, capacity)?,
            huge: matches!(collapse, Collapse::Done),
            dirty: 0,
        };
        Ok((backing, collapse))
    }
}

impl Source for RecycledMemfds {
    fn info(&self) -> StoreInfo {
        StoreInfo {
            kind: "recycled-memfd",
            huge_pages: self.huge_works,
            reason: self.reason.clone(),
        }
    }

    fn capacity_for(&self, len: u64) -> Option<u64> {
        let unit = if self.huge_works && len >= HUGE_FROM_BYTES {
            HUGE_PAGE_BYTES
        } else {
            page_bytes()
        };
        // The kernel's file offsets are signed.
        round_up(len.max(1), unit).filter(|capacity| i64::try_from(*capacity).is_ok())
    }

    fn allocate(&self, capacity: u64) -> io::Result<Backing> {
        self.make(capacity).map(|(backing, _)| backing)
    }

    fn published(&self, _backing: &Backing) -> io::Result<()> {
        Ok(())
    }

    fn recycles(&self) -> bool {
        true
    }
}

enum Collapse {
    NotTried,
    Done,
    Failed(io::Error),
}

/// Makes huge pages of a fresh memfd: one byte per huge page brings a small page into being,
/// which `MADV_COLLAPSE` then replaces by a huge one. The byte is written through the descriptor,
/// where a machine without memory answers with an error instead of a signal.
fn collapse(file: &File, capacity: u64) -> io::Result<Collapse> {
    for at in (0..capacity).step_by(HUGE_PAGE_BYTES as usize) {
        file.write_all_at(&[0], at)?;
    }
    let map = HostMap::new(
        file,
        capacity as usize,
        HUGE_PAGE_BYTES as usize,
        Access::Read,
    )?;
    Ok(match map.collapse() {
        Ok(()) => Collapse::Done,
        Err(error) => Collapse::Failed(error),
    })
}
