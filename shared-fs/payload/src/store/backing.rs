//! The memory behind a segment, and the kinds of stores that make it.

use super::StoreInfo;
use super::account::Sized64;
use crate::mapping::HostMap;
use crate::{HUGE_PAGE_BYTES, page_bytes, round_up};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::atomic::{AtomicBool, Ordering},
};

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

/// Memory of a segment. Every page is allocated, so that no access can find the store full, and
/// the size is sealed, so that no holder of a descriptor can pull pages away under a mapping.
#[derive(Debug)]
pub(crate) struct Backing {
    pub(crate) file: File,
    pub(crate) capacity: u64,
    /// Whether all of it is made of huge pages.
    pub(crate) huge: bool,
    /// Bytes from here to the end are zero. What lies before may be data of an earlier owner.
    pub(crate) dirty: u64,
}

impl Sized64 for Backing {
    fn capacity(&self) -> u64 {
        self.capacity
    }
}

impl Backing {
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
        round_up(len, unit).map_or(self.capacity, |extent| extent.min(self.capacity))
    }

    /// Overwrites `[from, to)` with zeros where it may hold old data.
    pub(crate) fn clear(&mut self, from: u64, to: u64) -> io::Result<()> {
        static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
        let mut at = from;
        let end = to.min(self.dirty);
        while at < end {
            let count = (end - at).min(ZEROS.len() as u64) as usize;
            self.file.write_all_at(&ZEROS[..count], at)?;
            at += count as u64;
        }
        Ok(())
    }
}

/// Store of kind (b): memfds that are recycled, made of huge pages where the kernel can.
#[derive(Debug)]
pub(super) struct RecycledMemfds {
    huge_wanted: bool,
    huge_works: AtomicBool,
    reason: String,
}

impl RecycledMemfds {
    /// Tries the store out. The memory that this made is returned for first use.
    pub(super) fn new(huge_pages: bool) -> io::Result<(Self, Backing)> {
        let mut source = Self {
            huge_wanted: huge_pages,
            huge_works: AtomicBool::new(huge_pages),
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
        source.huge_works = AtomicBool::new(backing.huge);
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
        let want_huge = self.huge_wanted
            && self.huge_works.load(Ordering::Relaxed)
            && capacity.is_multiple_of(HUGE_PAGE_BYTES);
        let collapse = if want_huge {
            collapse(&file, capacity)?
        } else {
            Collapse::NotTried
        };
        // Last: it fills what collapsing left out, and a full machine shows here, as an error.
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, capacity)?;
        // The size is final. Writing stays allowed, because the memory is recycled, and no holder
        // of a descriptor can forbid it later.
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        let backing = Backing {
            file,
            capacity,
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
            huge_pages: self.huge_works.load(Ordering::Relaxed),
            reason: self.reason.clone(),
        }
    }

    fn capacity_for(&self, len: u64) -> Option<u64> {
        let unit = if self.huge_wanted && len >= HUGE_PAGE_BYTES {
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
    let map = HostMap::new(file, capacity as usize, HUGE_PAGE_BYTES as usize)?;
    Ok(match map.collapse() {
        Ok(()) => Collapse::Done,
        Err(error) => Collapse::Failed(error),
    })
}
