//! Memories: files in memory in which segments lie, and how they are passed between processes.

use super::account::{Reservation, Spilled};
use super::free_list::{Keepable, Purpose};
use crate::mapping::SizedFile;
use crate::{HUGE_PAGE_BYTES, page_bytes, round_up};
use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags, SealFlags};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// What Linux calls a tmpfs in `statfs`.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// A memory of a store: a file with room for one segment or many. Unique within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MemoryId(pub u64);

/// Where a segment lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// In which memory.
    pub memory: MemoryId,
    /// Offset of its first byte.
    pub offset: u64,
}

/// What keeps the bytes of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Medium {
    /// A memfd, whose size the kernel keeps.
    Memfd,
    /// A file of a tmpfs, which has no seals: only processes of the run can open it.
    Tmpfs,
    /// A file on a disk, which is read and never mapped.
    Disk,
}

/// What another process must know of a memory. It stays true for as long as the memory exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryInfo {
    /// Which memory.
    pub id: MemoryId,
    /// Its size in bytes.
    pub capacity: u64,
    /// Whether it is made of huge pages.
    pub huge: bool,
    /// Whether it may be mapped over guest memory: no other segment shares its pages, and no disk
    /// can fail under it.
    pub mappable: bool,
    /// What keeps the bytes.
    pub medium: Medium,
}

/// A memory on its way to another process.
#[derive(Debug)]
pub struct ExportedMemory {
    /// What it is.
    pub info: MemoryInfo,
    /// The file, open for reading only.
    pub file: OwnedFd,
}

/// A file in which segments lie.
#[derive(Debug)]
pub struct Memory {
    info: MemoryInfo,
    file: SizedFile,
    purpose: Purpose,
    exported: AtomicBool,
    /// Told when the memory is gone, where it was exported.
    closed: Option<ClosedMemories>,
    /// Declared last: given back after the file is closed.
    held: Held,
}

/// How a memory is accounted for.
#[derive(Debug)]
pub(super) enum Held {
    /// As memory.
    Memory(Reservation),
    /// As room on a disk.
    Disk(#[expect(dead_code, reason = "it counts until it is dropped")] Spilled),
    /// By another store.
    Elsewhere,
}

/// Memories that were exported and are gone.
pub(super) type ClosedMemories = Arc<Mutex<Vec<MemoryId>>>;

impl Memory {
    pub(super) fn new(
        info: MemoryInfo,
        file: SizedFile,
        purpose: Purpose,
        closed: ClosedMemories,
        held: Held,
    ) -> Self {
        Self {
            info,
            file,
            purpose,
            exported: AtomicBool::new(false),
            closed: Some(closed),
            held,
        }
    }

    /// Takes a memory that another process exported, if it is what it is said to be.
    pub(super) fn import(info: MemoryInfo, file: OwnedFd) -> io::Result<Self> {
        let file = File::from(file);
        if info.medium == Medium::Disk && info.mappable {
            let reason = "a file on a disk is never mapped";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        if info.medium != Medium::Disk {
            // A mapped file on a disk that fails is a SIGBUS.
            let system = rustix::fs::fstatfs(&file)?.f_type as u64;
            if system != TMPFS_MAGIC {
                let reason = "the file is not in memory";
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
        }
        let seals = match info.medium {
            Medium::Memfd => SealFlags::SHRINK | SealFlags::GROW,
            Medium::Tmpfs | Medium::Disk => SealFlags::empty(),
        };
        Ok(Self {
            info,
            file: SizedFile::open(file, info.capacity, seals)?,
            purpose: Purpose::Segment,
            exported: AtomicBool::new(false),
            closed: None,
            held: Held::Elsewhere,
        })
    }

    /// What others must know of it.
    pub fn info(&self) -> MemoryInfo {
        self.info
    }

    pub(crate) fn file(&self) -> &SizedFile {
        &self.file
    }

    pub(super) fn reservation(&mut self) -> Option<&mut Reservation> {
        match &mut self.held {
            Held::Memory(reservation) => Some(reservation),
            Held::Disk(_) | Held::Elsewhere => None,
        }
    }

    /// Whether it is a file on a disk.
    pub(super) fn is_on_disk(&self) -> bool {
        self.info.medium == Medium::Disk
    }

    /// A descriptor with which it can be read and not written.
    pub(super) fn export(&self) -> io::Result<ExportedMemory> {
        let own = format!("/proc/self/fd/{}", self.file.as_fd().as_raw_fd());
        let file = rustix::fs::open(own, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        self.exported.store(true, Ordering::Relaxed);
        Ok(ExportedMemory {
            info: self.info,
            file,
        })
    }

    /// How far a mapping may reach for a segment of `len` bytes: whole pages, huge ones where the
    /// memory has them, because the rest of a huge page costs one fault mapped as a whole and
    /// hundreds mapped in small pages.
    pub(super) fn extent(&self, len: u64) -> u64 {
        let unit = if self.info.huge && self.info.mappable {
            HUGE_PAGE_BYTES
        } else {
            page_bytes()
        };
        // Cannot overflow: `capacity` was rounded up from `len` before.
        round_up(len, unit).map_or(self.info.capacity, |extent| extent.min(self.info.capacity))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let (true, Some(closed)) = (self.exported.load(Ordering::Relaxed), &self.closed) {
            closed.lock().push(self.info.id);
        }
    }
}

/// Memory that this store made, with what it may hold of earlier owners.
#[derive(Debug)]
pub(crate) struct Backing {
    memory: Memory,
    /// Bytes from here to the end are zero. What lies before may be data of an earlier owner.
    dirty: u64,
}

impl Keepable for Backing {
    fn purpose(&self) -> Purpose {
        self.memory.purpose
    }

    fn capacity(&self) -> u64 {
        self.memory.info.capacity
    }
}

impl Backing {
    /// Fresh memory, all of it zero.
    pub(super) fn new(memory: Memory) -> Self {
        Self::from_parts(memory, 0)
    }

    /// Memory whose bytes from `dirty` on are zero.
    pub(super) fn from_parts(memory: Memory, dirty: u64) -> Self {
        Self { memory, dirty }
    }

    pub(super) fn into_parts(self) -> (Memory, u64) {
        (self.memory, self.dirty)
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(super) fn memory_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// Writes all of `bytes` at `offset`.
    pub(super) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // First, so that a write that fails half-way is known as well.
        self.soil(offset + bytes.len() as u64);
        self.memory.file.write_at(offset, bytes)
    }

    /// Notes that the bytes before `end` may be written.
    pub(super) fn soil(&mut self, end: u64) {
        self.dirty = self.dirty.max(end);
    }

    /// Overwrites `[from, to)` with zeros where it may hold old data.
    pub(super) fn clear(&mut self, from: u64, to: u64) -> io::Result<()> {
        let to = to.min(self.dirty);
        let Memory { info, file, .. } = &mut self.memory;
        // Below this, mapping costs more than it saves.
        if info.huge && to.saturating_sub(from) >= HUGE_PAGE_BYTES / 4 {
            file.clear_mapped(from, to, HUGE_PAGE_BYTES as usize)
        } else {
            file.clear(from, to)
        }
    }
}
