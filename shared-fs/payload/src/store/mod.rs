//! The segment store: shared memory with a life cycle, a limit and recycling.

mod account;
mod error;
mod free_list;
mod memory;
mod options;
mod segment;
mod slab;
mod source;
mod spill;

pub use account::{AccountSlot, SharedAccount};
pub use error::{FullReason, StoreError};
pub use memory::{ExportedMemory, Medium, Memory, MemoryId, MemoryInfo, Place};
pub use options::{StoreInfo, StoreKind, StoreOptions, StoreStatistics};
pub use segment::{Segment, WritableSegment};

use crate::{SegmentId, SegmentRef};
use account::Reservation;
use free_list::{FreeList, Purpose};
use memory::{Backing, ClosedMemories, Held};
use parking_lot::Mutex;
use rustix::io::Errno;
use segment::{Adopted, Loan, Room};
use slab::{SLAB_BYTES, Slabs};
use source::{Made, Source};
use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// How many bits of an id count within one store; those above are the store's id space.
pub(crate) const ID_BITS: u32 = 40;

/// Of a limit that several stores share, the part that they may keep for reuse: what one keeps is
/// lost to the others until it notices that they need it.
const KEPT_PART: u64 = 4;

/// Slabs are for stores that have room for so many: each size of segments has its own, and a
/// small limit would be spent on slots that nobody uses.
const LEAST_SLABS: u64 = 16;

/// Shared memory for payloads. Clones share one store.
#[derive(Clone, Debug)]
pub struct SegmentStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    source: Source,
    slot: AccountSlot,
    /// The upper bits of all ids.
    id_base: u64,
    next_id: AtomicU64,
    next_memory: AtomicU64,
    recycled: AtomicU64,
    huge_segments: AtomicU64,
    free: Mutex<FreeList<Backing>>,
    slabs: Slabs,
    /// Longest segment that goes to a slab.
    slab_max: u64,
    spill_dir: Option<PathBuf>,
    /// The account's pressure when this store last gave way to it.
    seen_pressure: AtomicU64,
    closed: ClosedMemories,
    published: Mutex<HashMap<SegmentId, Arc<Segment>>>,
}

impl SegmentStore {
    /// Makes a store, trying out what the kernel offers.
    pub fn new(options: StoreOptions) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Io {
            operation: "set up shared memory for payloads",
            source,
        };
        let slot = match options.account.clone() {
            Some(slot) => slot,
            None => private_account(options.limit_bytes.unwrap_or_else(default_limit_bytes))
                .map_err(failed)?,
        };
        let id_base = u64::from(options.id_space) << ID_BITS;
        if id_base >> ID_BITS != u64::from(options.id_space) {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        }
        let (source, probe) = Source::new(&options).map_err(failed)?;
        let account = slot.account();
        let most_kept = match account.slots() as u64 {
            0 | 1 => options.recycle_bytes,
            stores => (account.limit_bytes() / KEPT_PART / stores).min(options.recycle_bytes),
        };
        let stores = (account.slots() as u64).max(1);
        let many = account.limit_bytes() / stores >= LEAST_SLABS * SLAB_BYTES;
        let slab_max = if many && source.recycles() {
            options.slab_max_bytes
        } else {
            0
        };
        let shared = Shared {
            source,
            slabs: Slabs::new(),
            slab_max,
            spill_dir: options.spill_dir,
            id_base,
            next_id: AtomicU64::new(0),
            next_memory: AtomicU64::new(0),
            recycled: AtomicU64::new(0),
            huge_segments: AtomicU64::new(0),
            free: Mutex::new(FreeList::new(most_kept)),
            seen_pressure: AtomicU64::new(slot.pressure()),
            closed: ClosedMemories::default(),
            published: Mutex::new(HashMap::new()),
            slot,
        };
        if shared.source.recycles()
            && let Some(reservation) = shared.slot.reserve(probe.file.len())
        {
            shared.keep(shared.backing(probe, Purpose::Segment, reservation));
        }
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Which store this is, and why.
    pub fn info(&self) -> StoreInfo {
        self.shared.source.info()
    }

    /// Makes a segment of `len` bytes that reads as zero, all its memory allocated: a small one in
    /// memory that it shares, and one that the limit has no room for on a disk, where the store has
    /// one.
    pub fn create(&self, len: u64) -> Result<WritableSegment, StoreError> {
        let made = match self.create_in_slab(len) {
            Some(made) => Ok(made),
            None => self.create_mappable(len),
        };
        match (made, &self.shared.spill_dir) {
            (Err(StoreError::Full { reason, .. }), Some(_)) if reason.is_memory() => {
                self.create_spilled(len)
            }
            (made, _) => made,
        }
    }

    /// Makes a segment of `len` bytes that reads as zero, in a memory of its own: it can be mapped
    /// over guest memory, for it is never on a disk.
    pub fn create_mappable(&self, len: u64) -> Result<WritableSegment, StoreError> {
        let shared = &self.shared;
        let backing = shared.acquire(len)?;
        if backing.memory().info().huge {
            shared.huge_segments.fetch_add(1, Ordering::Relaxed);
        }
        let room = Room::Own(Loan::new(backing, Arc::downgrade(shared)));
        Ok(WritableSegment::new(shared.new_id(), len, room))
    }

    /// Whether segments that the limit has no room for go to a disk.
    pub fn spills(&self) -> bool {
        self.shared.spill_dir.is_some()
    }

    /// Makes a segment on the disk for what the limit has no room for.
    pub fn create_spilled(&self, len: u64) -> Result<WritableSegment, StoreError> {
        let shared = &self.shared;
        let backing = shared.spill(len)?;
        let room = Room::Own(Loan::new(backing, Arc::downgrade(shared)));
        Ok(WritableSegment::new(shared.new_id(), len, room))
    }

    /// None where the segment is too large, or there is no room for another slab: there may be
    /// for the segment alone.
    fn create_in_slab(&self, len: u64) -> Option<WritableSegment> {
        let shared = &self.shared;
        if len > shared.slab_max {
            return None;
        }
        let more = || shared.acquire_memory(SLAB_BYTES, Purpose::Slab, len);
        let slot = shared.slabs.slot(len, shared, more).ok()??;
        if slot.was_used() {
            shared.recycled.fetch_add(1, Ordering::Relaxed);
        }
        Some(WritableSegment::new(shared.new_id(), len, Room::Slot(slot)))
    }

    /// Ends the writing of a segment. From now on nobody can change it, and `get` knows it.
    pub fn publish(&self, segment: WritableSegment) -> Result<Arc<Segment>, StoreError> {
        let id = segment.id();
        if !segment.room().is_of(&self.shared) {
            return Err(StoreError::Foreign { id });
        }
        let failed = |source| StoreError::Io {
            operation: "publish a payload",
            source,
        };
        let (id, len, room) = segment.finish().map_err(failed)?;
        if !room.memory().is_on_disk() {
            let file = room.memory().file();
            self.shared.source.published(file).map_err(failed)?;
        }
        let segment = Arc::new(Segment::new(id, len, room));
        let before = self
            .shared
            .published
            .lock()
            .insert(id, Arc::clone(&segment));
        debug_assert!(before.is_none(), "{id:?} was used twice");
        Ok(segment)
    }

    /// Takes a memory that another store exported, to adopt segments in it. Fails where it is not
    /// what `info` says: too short, of a size that could change, or not in memory.
    pub fn import(&self, info: MemoryInfo, file: OwnedFd) -> Result<Arc<Memory>, StoreError> {
        Memory::import(info, file)
            .map(Arc::new)
            .map_err(|source| StoreError::Io {
                operation: "use the memory of another process",
                source,
            })
    }

    /// Makes a segment of another store known here: `get` finds it, and `free` drops this store's
    /// reference. `on_last` is called when the last reader here is gone, every window included;
    /// it must not call this store.
    ///
    /// The other store must keep the segment until then.
    pub fn adopt(
        &self,
        segment: SegmentRef,
        place: Place,
        memory: &Arc<Memory>,
        on_last: Box<dyn FnOnce() + Send + Sync>,
    ) -> Result<Arc<Segment>, StoreError> {
        let SegmentRef { id, len } = segment;
        let info = memory.info();
        let end = place.offset.checked_add(len);
        if place.memory != info.id
            || end.is_none_or(|end| end > info.capacity)
            || !place.offset.is_multiple_of(crate::page_bytes())
        {
            let memory = info.id;
            return Err(StoreError::Misplaced { id, memory });
        }
        if id.0 >> ID_BITS == self.shared.id_base >> ID_BITS {
            // One of this store's own, now or later.
            return Err(StoreError::Known { id });
        }
        match self.shared.published.lock().entry(id) {
            Entry::Occupied(_) => Err(StoreError::Known { id }),
            Entry::Vacant(entry) => {
                let room = Adopted::new(Arc::clone(memory), place.offset, on_last);
                let segment = Arc::new(Segment::new(id, len, Room::Adopted(room)));
                Ok(Arc::clone(entry.insert(segment)))
            }
        }
    }

    /// Gives up the memory kept for reuse. A process without work calls this for the others.
    pub fn trim(&self) {
        let unused = self.shared.free.lock().evict_all();
        drop(unused);
    }

    /// Memories that were exported and are gone since this was last called: whoever imported them
    /// should drop them, because they take memory for as long as anybody has a descriptor.
    pub fn take_closed_memories(&self) -> Vec<MemoryId> {
        std::mem::take(&mut self.shared.closed.lock())
    }

    /// A segment that was published and not freed.
    pub fn get(&self, id: SegmentId) -> Option<Arc<Segment>> {
        self.shared.published.lock().get(&id).cloned()
    }

    /// Drops the run's own reference. Whoever still holds the segment can go on reading it; the
    /// memory is recycled after the last of them. Unknown segments are ignored.
    pub fn free(&self, id: SegmentId) {
        // Dropped after the lock is released: it may be the last reference.
        let segment = self.shared.published.lock().remove(&id);
        drop(segment);
    }

    /// What the store has done so far.
    pub fn statistics(&self) -> StoreStatistics {
        let shared = &self.shared;
        StoreStatistics {
            live_bytes: shared.slot.live_bytes(),
            peak_bytes: shared.slot.peak_live_bytes(),
            free_bytes: shared.free.lock().kept(),
            created: shared.next_id.load(Ordering::Relaxed),
            recycled: shared.recycled.load(Ordering::Relaxed),
            huge_segments: shared.huge_segments.load(Ordering::Relaxed),
            spilled_bytes: shared.slot.spilled_bytes(),
            peak_spilled_bytes: shared.slot.peak_spilled_bytes(),
            spilled_segments: shared.slot.spilled_segments(),
        }
    }
}

impl Shared {
    fn new_id(&self) -> SegmentId {
        SegmentId(self.id_base | self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    fn new_memory_id(&self) -> MemoryId {
        MemoryId(self.id_base | self.next_memory.fetch_add(1, Ordering::Relaxed))
    }

    fn full(&self, wanted_bytes: u64, reason: FullReason) -> StoreError {
        let account = self.slot.account();
        StoreError::Full {
            wanted_bytes,
            live_bytes: account.live_bytes(),
            limit_bytes: account.limit_bytes(),
            reason,
        }
    }

    /// Memory for `len` bytes, kept or fresh, accounted as in use.
    fn acquire(&self, len: u64) -> Result<Backing, StoreError> {
        let Some(capacity) = self.source.capacity_for(len) else {
            return Err(self.full(len, FullReason::Limit));
        };
        self.acquire_memory(capacity, Purpose::Segment, len)
    }

    fn acquire_memory(
        &self,
        capacity: u64,
        purpose: Purpose,
        wanted_bytes: u64,
    ) -> Result<Backing, StoreError> {
        let kept = self.free.lock().take(purpose, capacity);
        if let Some(mut backing) = kept {
            if let Some(reservation) = backing.memory_mut().reservation() {
                reservation.occupy();
            }
            if purpose == Purpose::Segment {
                self.recycled.fetch_add(1, Ordering::Relaxed);
            }
            return Ok(backing);
        }
        let Some(mut reservation) = self.reserve(capacity) else {
            return Err(self.full(wanted_bytes, FullReason::Limit));
        };
        reservation.occupy();
        let made = self.source.make(capacity).or_else(|_| {
            // What is kept for reuse may be what is missing.
            let evicted = self.free.lock().evict_all();
            drop(evicted);
            self.source.make(capacity)
        });
        match made {
            Ok(made) => Ok(self.backing(made, purpose, reservation)),
            Err(source) => Err(self.failed(wanted_bytes, source, FullReason::Memory)),
        }
    }

    fn failed(&self, wanted_bytes: u64, source: io::Error, full: FullReason) -> StoreError {
        match Errno::from_io_error(&source) {
            Some(Errno::NOSPC | Errno::NOMEM | Errno::FBIG | Errno::DQUOT) => {
                self.full(wanted_bytes, full)
            }
            Some(Errno::MFILE | Errno::NFILE) => self.full(wanted_bytes, FullReason::Descriptors),
            _ => StoreError::Io {
                operation: match full {
                    FullReason::Disk => "make a payload on the disk for what memory cannot hold",
                    _ => "make a payload in shared memory",
                },
                source,
            },
        }
    }

    /// A file on a disk for `len` bytes.
    fn spill(&self, len: u64) -> Result<Backing, StoreError> {
        let capacity = crate::round_up(len.max(1), crate::page_bytes());
        let (Some(directory), Some(capacity)) = (&self.spill_dir, capacity) else {
            return Err(self.full(len, FullReason::Limit));
        };
        let file = spill::make(directory, capacity)
            .map_err(|source| self.failed(len, source, FullReason::Disk))?;
        let info = MemoryInfo {
            id: self.new_memory_id(),
            capacity,
            huge: false,
            mappable: false,
            medium: Medium::Disk,
        };
        let held = Held::Disk(self.slot.spill(capacity));
        let closed = Arc::clone(&self.closed);
        let memory = Memory::new(info, file, Purpose::Segment, closed, held);
        Ok(Backing::new(memory))
    }

    /// Room in the account, giving up what is kept for reuse where that helps.
    fn reserve(&self, capacity: u64) -> Option<Reservation> {
        loop {
            if let Some(reservation) = self.slot.reserve(capacity) {
                return Some(reservation);
            }
            let account = self.slot.account();
            let kept = self.free.lock().kept();
            let others = account.held_bytes().saturating_sub(kept);
            if others.saturating_add(capacity) > account.limit_bytes() {
                self.press();
                return None;
            }
            let oldest = self.free.lock().evict_oldest();
            drop(oldest?);
        }
    }

    /// Other stores may have some to give, and see this when memory is next given back to them.
    fn press(&self) {
        let before = self.slot.press();
        // Not this store's own concern.
        let _ = self.seen_pressure.compare_exchange(
            before,
            before + 1,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    fn backing(&self, made: Made, purpose: Purpose, reservation: Reservation) -> Backing {
        let info = MemoryInfo {
            id: self.new_memory_id(),
            capacity: made.file.len(),
            huge: made.huge,
            mappable: purpose == Purpose::Segment,
            medium: made.medium,
        };
        let closed = Arc::clone(&self.closed);
        Backing::new(Memory::new(
            info,
            made.file,
            purpose,
            closed,
            Held::Memory(reservation),
        ))
    }

    /// Takes back memory that nobody uses any more.
    fn give_back(&self, backing: Backing) {
        if self.source.recycles() && !backing.memory().is_on_disk() {
            self.keep(backing);
        }
    }

    fn keep(&self, mut backing: Backing) {
        if let Some(reservation) = backing.memory_mut().reservation() {
            reservation.vacate();
        }
        let pressure = self.slot.pressure();
        let unused = if self.seen_pressure.swap(pressure, Ordering::Relaxed) == pressure {
            self.free.lock().keep(backing)
        } else {
            let mut unused = self.free.lock().evict_all();
            unused.push(backing);
            unused
        };
        // Outside the lock: closing gives the pages back, which takes time.
        drop(unused);
    }
}

fn private_account(limit_bytes: u64) -> io::Result<AccountSlot> {
    let slot = SharedAccount::create(limit_bytes, 1)?.slot(0);
    slot.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// The limit of a store that is given none: half of the machine's memory, as for a tmpfs.
pub fn default_limit_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    // Words on 64-bit Linux.
    info.totalram.saturating_mul(u64::from(info.mem_unit)) / 2
}
