//! Published segments in the host's own address space.

use crate::{
    HUGE_PAGE_BYTES, Segment,
    mapping::{Access, HostMap},
    page_bytes,
};
use std::{io, ops::Deref, sync::Arc};

/// The bytes of a segment, mapped read-only into the host. Keeps the segment alive.
#[derive(Debug)]
pub struct SegmentMap {
    /// None for a segment without bytes. Declared before `segment`, so that it is unmapped first.
    map: Option<HostMap>,
    copied: bool,
    segment: Arc<Segment>,
}

impl SegmentMap {
    /// The segment that is mapped.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Whether these are bytes of its own: those of a segment on a disk, which are read.
    pub fn is_copy(&self) -> bool {
        self.copied
    }
}

impl Segment {
    /// Maps it into the host, read-only. Neighbours in a slab do not matter here, because the host
    /// looks at the bytes of the segment alone; a segment on a disk is read into memory.
    pub fn map(self: &Arc<Self>) -> io::Result<SegmentMap> {
        let alignment = if self.has_huge_pages() {
            HUGE_PAGE_BYTES
        } else {
            page_bytes()
        } as usize;
        let extent = self.extent() as usize;
        let copied = !self.is_empty() && self.is_read_to_be_mapped();
        let map = if self.is_empty() {
            None
        } else if copied {
            let mut map = HostMap::anonymous(extent)?;
            self.read_at(0, &mut map.bytes_mut()[..self.len() as usize])?;
            Some(map)
        } else {
            let offset = self.offset();
            Some(HostMap::new(
                self.file(),
                offset,
                extent,
                alignment,
                Access::Read,
            )?)
        };
        Ok(SegmentMap {
            map,
            copied,
            segment: Arc::clone(self),
        })
    }
}

impl Deref for SegmentMap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let Some(map) = &self.map else {
            return &[];
        };
        let start = std::ptr::with_exposed_provenance(map.addr());
        // SAFETY: the mapping covers `len` bytes and lives as long as the borrow of `self`. Nobody
        // writes them: publishing took the only `WritableSegment`, whose windows were unmapped
        // before; the memory is not lent again while `segment` is alive; and its size is sealed.
        // Guarded by `a_freed_segment_is_not_recycled_while_a_window_shows_it` and
        // `nobody_can_shrink_a_segment`.
        unsafe { std::slice::from_raw_parts(start, self.segment.len() as usize) }
    }
}
