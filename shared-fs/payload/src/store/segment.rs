//! Segments: memory being written by one owner, and memory that nobody can write any more.

use super::Shared;
use super::memory::{Backing, ExportedMemory, Memory, Place};
use super::slab::Slot;
use crate::{SegmentId, SegmentRef, mapping::SizedFile};
use std::{
    fmt, io,
    sync::{Arc, Weak},
};

/// Memory on loan from a store; given back when dropped.
pub(super) struct Loan {
    /// None only while being dropped.
    backing: Option<Backing>,
    store: Weak<Shared>,
}

impl Loan {
    pub(super) fn new(backing: Backing, store: Weak<Shared>) -> Self {
        Self {
            backing: Some(backing),
            store,
        }
    }

    fn backing(&self) -> &Backing {
        match &self.backing {
            Some(backing) => backing,
            None => unreachable!("the memory of a segment is taken only in drop"),
        }
    }

    fn backing_mut(&mut self) -> &mut Backing {
        match &mut self.backing {
            Some(backing) => backing,
            None => unreachable!("the memory of a segment is taken only in drop"),
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // A store that is gone takes nothing back: the descriptor is closed.
        if let (Some(backing), Some(store)) = (self.backing.take(), self.store.upgrade()) {
            store.give_back(backing);
        }
    }
}

/// What an adopted segment calls when its last reader is gone.
pub(super) type OnLast = Box<dyn FnOnce() + Send + Sync>;

/// Part of a memory of another store.
pub(super) struct Adopted {
    memory: Arc<Memory>,
    offset: u64,
    on_last: Option<OnLast>,
}

impl Adopted {
    pub(super) fn new(memory: Arc<Memory>, offset: u64, on_last: OnLast) -> Self {
        Self {
            memory,
            offset,
            on_last: Some(on_last),
        }
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        if let Some(on_last) = self.on_last.take() {
            on_last();
        }
    }
}

/// Where the bytes of a segment are, and who gets the room back.
pub(super) enum Room {
    /// A memory of this store's own, from its start.
    Own(Loan),
    /// A slot of a slab of this store.
    Slot(Slot),
    /// Some of a memory of another store.
    Adopted(Adopted),
}

impl Room {
    pub(super) fn memory(&self) -> &Memory {
        match self {
            Self::Own(loan) => loan.backing().memory(),
            Self::Slot(slot) => slot.memory(),
            Self::Adopted(adopted) => &adopted.memory,
        }
    }

    fn offset(&self) -> u64 {
        match self {
            Self::Own(_) => 0,
            Self::Slot(slot) => slot.offset(),
            Self::Adopted(adopted) => adopted.offset,
        }
    }

    /// Whether a mapping of it is made of huge pages.
    fn has_huge_pages(&self) -> bool {
        self.memory().info().huge && self.is_mappable()
    }

    fn is_mappable(&self) -> bool {
        self.memory().info().mappable && self.offset() == 0
    }

    /// Whether the room is of this store.
    pub(super) fn is_of(&self, store: &Arc<Shared>) -> bool {
        let of = match self {
            Self::Own(loan) => loan.store.as_ptr(),
            Self::Slot(slot) => slot.store().as_ptr(),
            Self::Adopted(_) => return false,
        };
        std::ptr::eq(of, Arc::as_ptr(store))
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Own(loan) => loan.backing_mut().write_at(offset, bytes),
            Self::Slot(slot) => slot.write_at(offset, bytes),
            Self::Adopted(_) => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    fn clear(&mut self, from: u64, to: u64) -> io::Result<()> {
        match self {
            Self::Own(loan) => loan.backing_mut().clear(from, to),
            Self::Slot(slot) => slot.clear(from, to),
            Self::Adopted(_) => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    /// Notes that a mapping may write the bytes before `end`.
    fn soil(&mut self, end: u64) {
        if let Self::Own(loan) = self {
            loan.backing_mut().soil(end);
        }
    }
}

/// A segment that one owner writes. It reads as zero where the owner did not write; what an
/// earlier owner of the memory left is cleared before anybody can see it. Dropping it gives the
/// memory back.
pub struct WritableSegment {
    id: SegmentId,
    len: u64,
    /// Bytes before this were written or cleared by this owner.
    owned: u64,
    room: Room,
}

impl WritableSegment {
    pub(super) fn new(id: SegmentId, len: u64, room: Room) -> Self {
        Self {
            id,
            len,
            owned: 0,
            room,
        }
    }

    /// Its name, which it keeps when it is published.
    pub fn id(&self) -> SegmentId {
        self.id
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the memory is made of huge pages.
    pub fn has_huge_pages(&self) -> bool {
        self.room.has_huge_pages()
    }

    /// Whether it may be mapped over guest memory. What may not is written instead.
    pub fn is_mappable(&self) -> bool {
        self.room.is_mappable()
    }

    /// Writes all of `bytes` at `offset`; an error if they do not fit.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset
            .checked_add(bytes.len() as u64)
            .filter(|end| *end <= self.len)
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!(
                        "write {} bytes at {offset} of a segment of {} bytes",
                        bytes.len(),
                        self.len
                    ),
                )
            })?;
        self.clear_until(offset)?;
        self.room.write_at(offset, bytes)?;
        self.owned = self.owned.max(end);
        Ok(())
    }

    /// Makes all that a mapping can reach readable by others, and notes that a mapping may write
    /// all of it.
    pub(crate) fn prepare_mapping(&mut self) -> io::Result<()> {
        let extent = self.extent();
        self.clear_until(extent)?;
        self.room.soil(extent);
        Ok(())
    }

    pub(crate) fn extent(&self) -> u64 {
        self.room.memory().extent(self.len)
    }

    pub(crate) fn file(&self) -> &SizedFile {
        self.room.memory().file()
    }

    /// Clears what this owner did not write, up to the end of any mapping.
    pub(super) fn finish(mut self) -> io::Result<(SegmentId, u64, Room)> {
        self.clear_until(self.extent())?;
        Ok((self.id, self.len, self.room))
    }

    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    fn clear_until(&mut self, end: u64) -> io::Result<()> {
        if end > self.owned {
            self.room.clear(self.owned, end)?;
            self.owned = end;
        }
        Ok(())
    }
}

impl fmt::Debug for WritableSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WritableSegment")
            .field("id", &self.id)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// A published segment: nobody can write it. Its memory is recycled when the last [`Arc`] of it
/// is dropped; windows and mappings hold one each.
pub struct Segment {
    id: SegmentId,
    len: u64,
    room: Room,
}

impl Segment {
    pub(super) fn new(id: SegmentId, len: u64, room: Room) -> Self {
        Self { id, len, room }
    }

    /// Its name.
    pub fn id(&self) -> SegmentId {
        self.id
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the memory is made of huge pages.
    pub fn has_huge_pages(&self) -> bool {
        self.room.has_huge_pages()
    }

    /// The value that stands for it in messages.
    pub fn reference(&self) -> SegmentRef {
        SegmentRef {
            id: self.id,
            len: self.len,
        }
    }

    /// Reads from `offset` until `buffer` is full or the segment ends; returns the bytes read,
    /// 0 from the end on.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.len.saturating_sub(offset);
        let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if wanted != 0 {
            let file = self.room.memory().file();
            file.read_at(self.room.offset() + offset, &mut buffer[..wanted])?;
        }
        Ok(wanted)
    }

    /// Whether it may be mapped over guest memory. What may not is read instead.
    pub fn is_mappable(&self) -> bool {
        self.room.is_mappable()
    }

    /// Where it lies.
    pub fn place(&self) -> Place {
        Place {
            memory: self.room.memory().info().id,
            offset: self.room.offset(),
        }
    }

    /// The memory in which it lies, for another process: open for reading only.
    ///
    /// Until the segment's last reader in every process is gone, its [`Arc`] must be kept here.
    pub fn export(&self) -> io::Result<ExportedMemory> {
        self.room.memory().export()
    }

    /// Whether [`Segment::map`] reads the bytes into memory, because it lies on a disk, which could
    /// fail under a mapping.
    pub fn is_read_to_be_mapped(&self) -> bool {
        self.room.memory().is_on_disk()
    }

    pub(crate) fn offset(&self) -> u64 {
        self.room.offset()
    }

    pub(crate) fn extent(&self) -> u64 {
        self.room.memory().extent(self.len)
    }

    pub(crate) fn file(&self) -> &SizedFile {
        self.room.memory().file()
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("id", &self.id)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
