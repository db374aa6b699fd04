//! The segment store: shared memory with a life cycle, a limit and recycling.

mod account;
mod free_list;
mod memory;
mod segment;
mod source;

pub use account::{AccountSlot, SharedAccount};
pub use memory::{ExportedMemory, Memory, MemoryId, MemoryInfo, Place};
pub use segment::{Segment, WritableSegment};

use crate::{SegmentId, SegmentRef, tmpfs::HugeTmpfs};
use account::Reservation;
use free_list::{FreeList, Purpose};
use memory::{Backing, ClosedMemories};
use parking_lot::Mutex;
use rustix::io::Errno;
use segment::{Adopted, Loan, Room};
use serde::{Deserialize, Serialize};
use source::{Made, Source};
use std::{
    collections::{HashMap, hash_map::Entry},
    fmt, io,
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

/// A kind of store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreKind {
    /// The best that is possible.
    #[default]
    Auto,
    /// Files of a tmpfs of the run's own, see [`StoreOptions::tmpfs`].
    HugeTmpfs,
    /// One memfd for each large segment, used again and again.
    RecycledMemfd,
    /// One memfd for each segment, which nobody can ever write again: for descriptors that leave
    /// the run's own processes.
    SealedMemfd,
}

/// How a store is to be made.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Which kind of store.
    pub kind: StoreKind,
    /// Most bytes of memory for segments, in use and kept for reuse together. None: half of the
    /// machine's memory, as for a tmpfs. An `account` has a limit of its own.
    pub limit_bytes: Option<u64>,
    /// Whether to ask for huge pages.
    pub huge_pages: bool,
    /// Most bytes of freed memory kept for reuse. Stores that share an account keep at most a
    /// quarter of its limit together, and less when one of them needs it.
    pub recycle_bytes: u64,
    /// The upper bits of all ids that this store gives, so that they are unique over processes.
    /// Below 2^24.
    pub id_space: u32,
    /// The store's part of an account that it shares with others. None: an account of its own.
    pub account: Option<AccountSlot>,
    /// A tmpfs with huge pages, made before.
    pub tmpfs: Option<HugeTmpfs>,
    /// Where segments go that the limit has no room for. None: they are refused.
    pub spill_dir: Option<PathBuf>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            kind: StoreKind::Auto,
            limit_bytes: None,
            huge_pages: true,
            recycle_bytes: 512 << 20,
            id_space: 0,
            account: None,
            tmpfs: None,
            spill_dir: None,
        }
    }
}

/// Which store a run uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreInfo {
    /// Name of the kind.
    pub kind: &'static str,
    /// Whether large segments have huge pages. It may still fail for single ones, see
    /// [`StoreStatistics::huge_segments`].
    pub huge_pages: bool,
    /// Why this kind, in words.
    pub reason: String,
}

/// What a store has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStatistics {
    /// Bytes of memory in use: written, published, or freed but still read by somebody.
    pub live_bytes: u64,
    /// Most bytes that were in use at one time.
    pub peak_bytes: u64,
    /// Bytes of freed memory kept for reuse.
    pub free_bytes: u64,
    /// Segments made.
    pub created: u64,
    /// How many of them got the memory of a freed one.
    pub recycled: u64,
    /// How many of them have huge pages.
    pub huge_segments: u64,
}

/// What a store has run out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullReason {
    /// Its own limit.
    Limit,
    /// The machine's memory.
    Memory,
    /// Descriptors of this process.
    Descriptors,
}

impl fmt::Display for FullReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Limit => "its limit is reached",
            Self::Memory => "the machine has no memory left",
            Self::Descriptors => "the process has no file descriptors left",
        })
    }
}

/// Why a store refused. Each message completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room.
    #[error(
        "make a payload of {wanted_bytes} bytes: the payload store is full, {reason} \
         ({live_bytes} bytes in use, at most {limit_bytes})"
    )]
    Full {
        /// Length asked for.
        wanted_bytes: u64,
        /// Bytes in use.
        live_bytes: u64,
        /// Most bytes that may be in use.
        limit_bytes: u64,
        /// What is missing.
        reason: FullReason,
    },
    /// The segment belongs to another store.
    #[error("publish {id:?}: it belongs to another payload store")]
    Foreign {
        /// The segment.
        id: SegmentId,
    },
    /// There is a segment of that name.
    #[error("adopt {id:?}: there is one already")]
    Known {
        /// The segment.
        id: SegmentId,
    },
    /// What another store said cannot be.
    #[error("adopt {id:?}: it does not lie in {memory:?}")]
    Misplaced {
        /// The segment.
        id: SegmentId,
        /// The memory that was given.
        memory: MemoryId,
    },
    /// The system refused.
    #[error("{operation}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Why.
        source: io::Error,
    },
}

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
        let slot = match options.account {
            Some(slot) => slot,
            None => private_account(options.limit_bytes.unwrap_or_else(default_limit_bytes))
                .map_err(failed)?,
        };
        let id_base = u64::from(options.id_space) << ID_BITS;
        if id_base >> ID_BITS != u64::from(options.id_space) {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        }
        let (source, probe) = Source::new(options.kind, options.tmpfs.as_ref(), options.huge_pages)
            .map_err(failed)?;
        let account = slot.account();
        let most_kept = match account.slots() as u64 {
            0 | 1 => options.recycle_bytes,
            stores => (account.limit_bytes() / KEPT_PART / stores).min(options.recycle_bytes),
        };
        let shared = Shared {
            source,
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

    /// Makes a segment of `len` bytes that reads as zero, all its memory allocated.
    pub fn create(&self, len: u64) -> Result<WritableSegment, StoreError> {
        self.create_mappable(len)
    }

    /// As [`Self::create`], in a memory of its own: it can be mapped over guest memory.
    pub fn create_mappable(&self, len: u64) -> Result<WritableSegment, StoreError> {
        let shared = &self.shared;
        let backing = shared.acquire(len)?;
        if backing.memory().info().huge {
            shared.huge_segments.fetch_add(1, Ordering::Relaxed);
        }
        let room = Room::Own(Loan::new(backing, Arc::downgrade(shared)));
        Ok(WritableSegment::new(shared.new_id(), len, room))
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
        self.shared
            .source
            .published(room.memory().file())
            .map_err(failed)?;
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
        }
    }
}

impl Shared {
    fn new_id(&self) -> SegmentId {
        SegmentId(self.id_base | self.next_id.fetch_add(1, Ordering::Relaxed))
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
            self.recycled.fetch_add(1, Ordering::Relaxed);
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
            Err(source) => Err(match Errno::from_io_error(&source) {
                Some(Errno::NOSPC | Errno::NOMEM | Errno::FBIG) => {
                    self.full(wanted_bytes, FullReason::Memory)
                }
                Some(Errno::MFILE | Errno::NFILE) => {
                    self.full(wanted_bytes, FullReason::Descriptors)
                }
                _ => StoreError::Io {
                    operation: "make a payload in shared memory",
                    source,
                },
            }),
        }
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
        let counter = self.next_memory.fetch_add(1, Ordering::Relaxed);
        let info = MemoryInfo {
            id: MemoryId(self.id_base | counter),
            capacity: made.file.len(),
            huge: made.huge,
            mappable: purpose == Purpose::Segment,
            sealed: made.sealed,
        };
        let closed = Arc::clone(&self.closed);
        Backing::new(Memory::new(info, made.file, purpose, closed, reservation))
    }

    /// Takes back memory that nobody uses any more.
    fn give_back(&self, backing: Backing) {
        if self.source.recycles() {
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
