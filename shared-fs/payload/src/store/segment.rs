//! Segments: memory being written by one owner, and memory that nobody can write any more.

use super::{Shared, backing::Backing};
use crate::{SegmentId, SegmentRef, mapping::SizedFile};
use std::{
    fmt, io,
    sync::{Arc, Weak},
};

/// Memory on loan from a store; given back when dropped.
pub(super) struct Loan {
    /// None only while being dropped or handed over.
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

    /// Whether the memory came from this store.
    pub(super) fn is_of(&self, store: &Arc<Shared>) -> bool {
        std::ptr::eq(self.store.as_ptr(), Arc::as_ptr(store))
    }

    pub(super) fn backing(&self) -> &Backing {
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

/// A segment that one owner writes. It reads as zero where the owner did not write; what an
/// earlier owner of the memory left is cleared before anybody can see it. Dropping it gives the
/// memory back.
pub struct WritableSegment {
    id: SegmentId,
    len: u64,
    /// Bytes before this were written or cleared by this owner.
    owned: u64,
    loan: Loan,
}

impl WritableSegment {
    pub(super) fn new(id: SegmentId, len: u64, loan: Loan) -> Self {
        Self {
            id,
            len,
            owned: 0,
            loan,
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
        self.loan.backing().huge
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
        self.loan.backing_mut().write_at(offset, bytes)?;
        self.owned = self.owned.max(end);
        Ok(())
    }

    /// Makes all that a mapping can reach readable by others, and notes that a mapping may write
    /// all of it.
    pub(crate) fn prepare_mapping(&mut self) -> io::Result<()> {
        let extent = self.extent();
        self.clear_until(extent)?;
        self.loan.backing_mut().soil(extent);
        Ok(())
    }

    pub(crate) fn extent(&self) -> u64 {
        self.loan.backing().extent(self.len)
    }

    pub(crate) fn file(&self) -> &SizedFile {
        self.loan.backing().file()
    }

    /// Clears what this owner did not write, up to the end of any mapping.
    pub(super) fn finish(mut self) -> io::Result<(SegmentId, u64, Loan)> {
        self.clear_until(self.extent())?;
        Ok((self.id, self.len, self.loan))
    }

    pub(super) fn loan(&self) -> &Loan {
        &self.loan
    }

    fn clear_until(&mut self, end: u64) -> io::Result<()> {
        if end > self.owned {
            self.loan.backing_mut().clear(self.owned, end)?;
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
    loan: Loan,
}

impl Segment {
    pub(super) fn new(id: SegmentId, len: u64, loan: Loan) -> Self {
        Self { id, len, loan }
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
        self.loan.backing().huge
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
        self.loan
            .backing()
            .file()
            .read_at(offset, &mut buffer[..wanted])?;
        Ok(wanted)
    }

    pub(crate) fn extent(&self) -> u64 {
        self.loan.backing().extent(self.len)
    }

    pub(crate) fn file(&self) -> &SizedFile {
        self.loan.backing().file()
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
