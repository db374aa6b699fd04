//! The mapped part of the log: the only unsafe code of this crate.
#![expect(
    unsafe_code,
    reason = "events reach the page cache through a shared mapping, without a system call each"
)]

use super::{FRAME_ALIGNMENT, FRAME_HEADER_BYTES, frame_bytes};
use memmap2::{MmapOptions, MmapRaw};
use std::{
    fs::File,
    io, ptr,
    sync::atomic::{AtomicU32, Ordering},
};

/// A shared, writable mapping of a part of the log, from the first free byte on.
///
/// Every byte of it is zero and backed by allocated space until a frame is written there.
#[derive(Debug)]
pub(super) struct Chunk {
    map: MmapRaw,
    used: usize,
}

impl Chunk {
    /// Maps `len` bytes of `file` from `offset`, a multiple of [`FRAME_ALIGNMENT`]. The caller
    /// has allocated them, so that no store faults for want of space.
    pub(super) fn map(file: &File, offset: u64, len: usize) -> io::Result<Self> {
        assert_eq!(offset % FRAME_ALIGNMENT as u64, 0, "unaligned chunk");
        let map = MmapOptions::new().offset(offset).len(len).map_raw(file)?;
        Ok(Self { map, used: 0 })
    }

    /// Bytes not yet used.
    pub(super) fn free(&self) -> usize {
        self.map.len() - self.used
    }

    /// Appends a frame; a reader sees all of it or nothing.
    ///
    /// Panics when it does not fit: the caller asks [`Chunk::free`] before.
    pub(super) fn push(&mut self, payload: &[u8]) {
        let bytes = frame_bytes(payload.len());
        assert!(
            bytes <= self.free(),
            "a frame of {bytes} bytes does not fit"
        );
        let checksum = crc32fast::hash(payload).to_le_bytes();
        // SAFETY: `used + bytes <= len` (asserted above), so every access is within the mapping,
        // which lives as long as `self`. The mapping starts at a multiple of four in the file,
        // hence in memory, and `used` grows by multiples of four, so the length word is aligned.
        // No Rust reference to the mapped bytes exists anywhere; readers in this or another
        // process go through the file, and `&mut self` excludes other writers. The file is
        // locked by us, exclusively, and nobody else truncates it; its blocks are allocated,
        // so that stores cannot fault (tests: `full_disk`, `kill`, `reopen`).
        unsafe {
            let frame = self.map.as_mut_ptr().add(self.used);
            ptr::copy_nonoverlapping(checksum.as_ptr(), frame.add(4), checksum.len());
            ptr::copy_nonoverlapping(
                payload.as_ptr(),
                frame.add(FRAME_HEADER_BYTES),
                payload.len(),
            );
            // Released last: whoever sees a length sees the payload, and a kill before this
            // instruction leaves a length of zero, which is the end of the log.
            AtomicU32::from_ptr(frame.cast())
                .store((payload.len() as u32).to_le(), Ordering::Release);
        }
        self.used += bytes;
    }
}
