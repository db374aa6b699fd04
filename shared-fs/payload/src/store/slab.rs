//! Slabs: memories that many small segments share.
//!
//! ```text
//!  memory  ├──────────────────────── 4 MiB, two huge pages ────────────────────────┤
//!  slots   ├── 64 KiB ──┼── 64 KiB ──┼── 64 KiB ──┼──  …  all of one power of two ─┤
//!  segment ├─ len ──┤···│            ├─ len ─┤····│
//!                     ▲ zero up to the next page, never read beyond `len`
//! ```
//!
//! A segment of 100 kB in a memory of its own costs a file, a descriptor and 25 small pages; in a
//! slab it costs none of them. Segments in slabs are read and written through the descriptor and
//! never mapped over guest memory: a window shows whole pages, and a huge page holds neighbours.
//!
//! Slots of one size come from one list of slabs. A slab without segments goes back to the store.

use super::Shared;
use super::memory::{Backing, Memory};
use crate::page_bytes;
use parking_lot::Mutex;
use std::{
    io,
    sync::{Arc, Weak},
};

/// Size of a slab.
pub(super) const SLAB_BYTES: u64 = 4 << 20;
/// Largest slot.
const MOST_BYTES: u64 = 1 << 20;

/// All slabs of a store that have room, by size of their slots.
#[derive(Debug)]
pub(super) struct Slabs {
    /// By the binary logarithm of the size in pages.
    classes: Vec<Mutex<Vec<Arc<Slab>>>>,
}

/// A memory divided into slots of one size.
#[derive(Debug)]
struct Slab {
    memory: Memory,
    slot_bytes: u64,
    state: Mutex<SlabState>,
}

#[derive(Debug)]
struct SlabState {
    /// Slots without a segment; the last is used next.
    free: Vec<u32>,
    /// How much of each slot may hold data of earlier owners.
    dirty: Vec<u64>,
}

impl Slab {
    fn new(backing: Backing, slot_bytes: u64) -> Self {
        let (memory, dirty) = backing.into_parts();
        let count = (memory.info().capacity / slot_bytes) as u32;
        let dirty_of = |slot| {
            let start = u64::from(slot) * slot_bytes;
            dirty.saturating_sub(start).min(slot_bytes)
        };
        Self {
            memory,
            slot_bytes,
            state: Mutex::new(SlabState {
                free: (0..count).rev().collect(),
                dirty: (0..count).map(dirty_of).collect(),
            }),
        }
    }

    fn is_unused(state: &SlabState) -> bool {
        state.free.len() == state.dirty.len()
    }

    /// The memory, when no slot is in use.
    fn into_backing(self) -> Backing {
        let dirty = self.state.into_inner().dirty;
        let ends = dirty.iter().zip(0..).map(|(&dirty, slot)| match dirty {
            0 => 0,
            dirty => slot * self.slot_bytes + dirty,
        });
        Backing::from_parts(self.memory, ends.max().unwrap_or(0))
    }
}

impl Slabs {
    /// No slabs.
    pub(super) fn new() -> Self {
        let count = MOST_BYTES.div_ceil(page_bytes()).ilog2() + 1;
        Self {
            classes: (0..count).map(|_| Mutex::default()).collect(),
        }
    }

    /// Number and size of the slots for a segment; none where it is too large.
    fn class_for(&self, len: u64) -> Option<(usize, u64)> {
        if len > MOST_BYTES {
            return None;
        }
        let pages = len.div_ceil(page_bytes()).max(1).next_power_of_two();
        let class = pages.ilog2() as usize;
        (class < self.classes.len()).then_some((class, pages * page_bytes()))
    }

    /// A slot for a segment of `len` bytes. `more` makes memory where no slab has room, and may
    /// refuse.
    pub(super) fn slot<E>(
        &self,
        len: u64,
        store: &Arc<Shared>,
        more: impl FnOnce() -> Result<Backing, E>,
    ) -> Result<Option<Slot>, E> {
        let Some((class, slot_bytes)) = self.class_for(len) else {
            return Ok(None);
        };
        let taken = Self::take(&mut self.classes[class].lock());
        let taken = if taken.is_some() {
            taken
        } else {
            // Not under the lock: making memory takes time.
            let slab = Arc::new(Slab::new(more()?, slot_bytes));
            let mut slabs = self.classes[class].lock();
            slabs.push(slab);
            Self::take(&mut slabs)
        };
        Ok(taken.map(|(slab, index, dirty)| Slot {
            slab: Some(slab),
            class,
            index,
            dirty,
            store: Arc::downgrade(store),
        }))
    }

    fn take(slabs: &mut Vec<Arc<Slab>>) -> Option<(Arc<Slab>, u32, u64)> {
        let slab = Arc::clone(slabs.last()?);
        let mut state = slab.state.lock();
        let index = state.free.pop()?;
        let dirty = state.dirty[index as usize];
        if state.free.is_empty() {
            slabs.pop();
        }
        drop(state);
        Some((slab, index, dirty))
    }

    /// Takes a slot back. Gives the memory of its slab where that has no segments any more.
    fn give_back(&self, slab: Arc<Slab>, slot: &Slot) -> Option<Backing> {
        let mut slabs = self.classes[slot.class].lock();
        let mut state = slab.state.lock();
        let was_full = state.free.is_empty();
        state.free.push(slot.index);
        state.dirty[slot.index as usize] = slot.dirty;
        let unused = Slab::is_unused(&state);
        drop(state);
        if unused {
            slabs.retain(|other| !Arc::ptr_eq(other, &slab));
            // Slots give their slab up under the lock, so this was the last.
            Arc::into_inner(slab).map(Slab::into_backing)
        } else {
            if was_full {
                slabs.push(slab);
            } else {
                // Before the lock is released, see above.
                drop(slab);
            }
            None
        }
    }
}

/// Room for one small segment; given back when dropped.
pub(super) struct Slot {
    /// None only while being dropped.
    slab: Option<Arc<Slab>>,
    class: usize,
    index: u32,
    /// Bytes of the slot from here on are zero.
    dirty: u64,
    store: Weak<Shared>,
}

impl Slot {
    fn slab(&self) -> &Slab {
        match &self.slab {
            Some(slab) => slab,
            None => unreachable!("the slab of a slot is taken only in drop"),
        }
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.slab().memory
    }

    pub(super) fn store(&self) -> &Weak<Shared> {
        &self.store
    }

    pub(super) fn offset(&self) -> u64 {
        u64::from(self.index) * self.slab().slot_bytes
    }

    /// Whether an earlier segment was here.
    pub(super) fn was_used(&self) -> bool {
        self.dirty > 0
    }

    /// Writes all of `bytes`; the caller checked that they fit.
    pub(super) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        assert!(end <= self.slab().slot_bytes, "{end} lies beyond the slot");
        // First, so that a write that fails half-way is known as well.
        self.dirty = self.dirty.max(end);
        self.memory().file().write_at(self.offset() + offset, bytes)
    }

    /// Overwrites `[from, to)` with zeros where it may hold old data.
    pub(super) fn clear(&mut self, from: u64, to: u64) -> io::Result<()> {
        let to = to.min(self.dirty);
        let start = self.offset();
        self.memory().file().clear(start + from, start + to)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // A store that is gone takes nothing back: the last slot closes the descriptor.
        if let (Some(slab), Some(store)) = (self.slab.take(), self.store.upgrade())
            && let Some(backing) = store.slabs.give_back(slab, self)
        {
            store.give_back(backing);
        }
    }
}
