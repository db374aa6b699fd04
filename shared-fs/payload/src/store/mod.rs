//! The segment store: shared memory with a life cycle, a limit and recycling.

mod account;
mod backing;
mod segment;

pub use segment::{Segment, WritableSegment};

use crate::SegmentId;
use account::{Account, Admission, Sized64 as _};
use backing::{Backing, RecycledMemfds, Source};
use parking_lot::Mutex;
use rustix::io::Errno;
use segment::Loan;
use std::{
    collections::HashMap,
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// How a store is to be made.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Most bytes of memory for segments, in use and kept for reuse together. None: half of the
    /// machine's memory, as for a tmpfs.
    pub limit_bytes: Option<u64>,
    /// Whether to ask for huge pages.
    pub huge_pages: bool,
    /// Most bytes of freed memory kept for reuse.
    pub recycle_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            limit_bytes: None,
            huge_pages: true,
            recycle_bytes: 512 << 20,
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
    source: Box<dyn Source>,
    limit: u64,
    next_id: AtomicU64,
    recycled: AtomicU64,
    huge_segments: AtomicU64,
    account: Mutex<Account<Backing>>,
    published: Mutex<HashMap<SegmentId, Arc<Segment>>>,
}

impl SegmentStore {
    /// Makes a store, trying out what the kernel offers.
    pub fn new(options: StoreOptions) -> Result<Self, StoreError> {
        let limit = options.limit_bytes.unwrap_or_else(half_of_memory);
        let (source, probe) =
            RecycledMemfds::new(options.huge_pages).map_err(|source| StoreError::Io {
                operation: "set up shared memory for payloads",
                source,
            })?;
        let mut account = Account::new(limit, options.recycle_bytes);
        drop(account.keep(probe));
        Ok(Self {
            shared: Arc::new(Shared {
                source: Box::new(source),
                limit,
                next_id: AtomicU64::new(0),
                recycled: AtomicU64::new(0),
                huge_segments: AtomicU64::new(0),
                account: Mutex::new(account),
                published: Mutex::new(HashMap::new()),
            }),
        })
    }

    /// Which store this is, and why.
    pub fn info(&self) -> StoreInfo {
        self.shared.source.info()
    }

    /// Makes a segment of `len` bytes that reads as zero, all its memory allocated.
    pub fn create(&self, len: u64) -> Result<WritableSegment, StoreError> {
        let shared = &self.shared;
        let backing = shared.acquire(len)?;
        if backing.huge {
            shared.huge_segments.fetch_add(1, Ordering::Relaxed);
        }
        let id = SegmentId(shared.next_id.fetch_add(1, Ordering::Relaxed));
        let loan = Loan::new(backing, Arc::downgrade(shared));
        Ok(WritableSegment::new(id, len, loan))
    }

    /// Ends the writing of a segment. From now on nobody can change it, and `get` knows it.
    pub fn publish(&self, segment: WritableSegment) -> Result<Arc<Segment>, StoreError> {
        let id = segment.id();
        if !segment.loan().is_of(&self.shared) {
            return Err(StoreError::Foreign { id });
        }
        let failed = |source| StoreError::Io {
            operation: "publish a payload",
            source,
        };
        let (id, len, loan) = segment.finish().map_err(failed)?;
        self.shared
            .source
            .published(loan.backing())
            .map_err(failed)?;
        let segment = Arc::new(Segment::new(id, len, loan));
        let before = self
            .shared
            .published
            .lock()
            .insert(id, Arc::clone(&segment));
        debug_assert!(before.is_none(), "{id:?} was used twice");
        Ok(segment)
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
        let account = shared.account.lock();
        StoreStatistics {
            live_bytes: account.live(),
            peak_bytes: account.peak(),
            free_bytes: account.kept(),
            created: shared.next_id.load(Ordering::Relaxed),
            recycled: shared.recycled.load(Ordering::Relaxed),
            huge_segments: shared.huge_segments.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    /// Memory for `len` bytes, kept or fresh, accounted as in use.
    fn acquire(&self, len: u64) -> Result<Backing, StoreError> {
        let full = |reason| StoreError::Full {
            wanted_bytes: len,
            live_bytes: self.account.lock().live(),
            limit_bytes: self.limit,
            reason,
        };
        let Some(capacity) = self.source.capacity_for(len) else {
            return Err(full(FullReason::Limit));
        };
        let admission = self.account.lock().admit(capacity);
        match admission {
            Admission::Recycled(backing) => {
                self.recycled.fetch_add(1, Ordering::Relaxed);
                return Ok(backing);
            }
            Admission::Fresh(evicted) => drop(evicted),
            Admission::Refused => return Err(full(FullReason::Limit)),
        }
        let made = self.source.allocate(capacity).or_else(|_| {
            // What is kept for reuse may be what is missing.
            let evicted = self.account.lock().evict_all();
            drop(evicted);
            self.source.allocate(capacity)
        });
        made.map_err(|source| {
            self.account.lock().give_up(capacity);
            match Errno::from_io_error(&source) {
                Some(Errno::NOSPC | Errno::NOMEM | Errno::FBIG) => full(FullReason::Memory),
                Some(Errno::MFILE | Errno::NFILE) => full(FullReason::Descriptors),
                _ => StoreError::Io {
                    operation: "make a payload in shared memory",
                    source,
                },
            }
        })
    }

    /// Takes back memory that nobody uses any more.
    fn give_back(&self, backing: Backing) {
        let unused = {
            let mut account = self.account.lock();
            if self.source.recycles() {
                account.give_back(backing)
            } else {
                account.give_up(backing.capacity());
                vec![backing]
            }
        };
        // Outside the lock: closing gives the pages back, which takes time.
        drop(unused);
    }
}

fn half_of_memory() -> u64 {
    let info = rustix::system::sysinfo();
    // Words on 64-bit Linux.
    info.totalram.saturating_mul(u64::from(info.mem_unit)) / 2
}
