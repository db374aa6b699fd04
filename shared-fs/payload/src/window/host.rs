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
    segment: Arc<Segment>,
}

impl SegmentMap {
    /// The segment that is mapped.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }
}

impl Segment {
    /// Maps it into the host, read-only.
    pub fn map(self: &Arc<Self>) -> io::Result<SegmentMap> {
        let alignment = if self.has_huge_pages() {
            HUGE_PAGE_BYTES
        } else {
            page_bytes()
        };
        let map = if self.is_empty() {
            None
        } else {
            let extent = self.extent() as usize;
            Some(HostMap::new(
                self.file(),
                self.offset(),
                extent,
                alignment as usize,
                Access::Read,
            )?)
        };
        Ok(SegmentMap {
            map,
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
