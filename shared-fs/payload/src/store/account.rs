//! The account of memory: one limit for all processes of a run.
//!
//! ```text
//!  words of a sealed memfd that all processes map, a cache line for each row
//!  ┌────────┬────────┬────────┬──────────┐
//!  │ layout │ limit  │ slots  │ pressure │
//!  ├────────┼────────┼────────┼──────────┼─────────┬──────┬──────────┐
//!  │ held   │ peak   │ live   │ peak     │ spilled │ peak │ segments │  all processes
//!  ├────────┼────────┼────────┼──────────┼─────────┼──────┼──────────┤
//!  │ held   │        │ live   │ peak     │ spilled │ peak │ segments │  slot 0: the coordinator
//!  │   …    │        │        │          │         │      │          │  slot 1: a worker process
//!  └────────┴────────┴────────┴──────────┴─────────┴──────┴──────────┘
//!  held  memory that exists: in use, or kept for reuse; `held ≤ limit`, always
//!  live  memory in use
//!  spilled  bytes of segments on a disk, which the limit does not count
//! ```
//!
//! A process that dies between two of the updates leaves too much in `held`, never too little:
//! the total grows first and shrinks last.

use crate::SharedWords;
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Changes with the layout, so that processes of different builds refuse each other.
const LAYOUT: u64 = 0x7461_7073_0000_0001;
/// Words in a row.
const ROW: usize = 8;
const LIMIT: usize = 1;
const SLOTS: usize = 2;
const PRESSURE: usize = 3;
const TOTAL: usize = ROW;
const FIRST_SLOT: usize = 2 * ROW;
// Within the rows of the total and of slots.
const HELD: usize = 0;
const PEAK_HELD: usize = 1;
const LIVE: usize = 2;
const PEAK_LIVE: usize = 3;
const SPILLED: usize = 4;
const PEAK_SPILLED: usize = 5;
const SPILLED_SEGMENTS: usize = 6;

/// The memory held by all stores of a run, in all its processes, and the limit on it.
#[derive(Clone, Debug)]
pub struct SharedAccount {
    words: Arc<SharedWords>,
    slots: usize,
}

impl SharedAccount {
    /// Makes an account for as many stores as there are slots.
    pub fn create(limit_bytes: u64, slots: usize) -> io::Result<Self> {
        let words = SharedWords::create(words_for(slots)?)?;
        let account = Self {
            words: Arc::new(words),
            slots,
        };
        account.word(LIMIT).store(limit_bytes, Ordering::Relaxed);
        account.word(SLOTS).store(slots as u64, Ordering::Relaxed);
        account.word(0).store(LAYOUT, Ordering::Release);
        Ok(account)
    }

    /// Opens an account that another process made, with as many slots.
    pub fn open(file: OwnedFd, slots: usize) -> io::Result<Self> {
        let words = SharedWords::open(file, words_for(slots)?)?;
        let account = Self {
            words: Arc::new(words),
            slots,
        };
        let layout = account.word(0).load(Ordering::Acquire);
        if layout != LAYOUT || account.word(SLOTS).load(Ordering::Relaxed) != slots as u64 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "this is not an account, or not of this version",
            ));
        }
        Ok(account)
    }

    /// The part of one store; none beyond the last slot. No two stores have the same.
    pub fn slot(&self, index: usize) -> Option<AccountSlot> {
        (index < self.slots).then(|| AccountSlot {
            account: self.clone(),
            first: FIRST_SLOT + index * ROW,
        })
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Most bytes that may be held.
    pub fn limit_bytes(&self) -> u64 {
        self.word(LIMIT).load(Ordering::Relaxed)
    }

    /// Bytes held: in use, or kept for reuse.
    pub fn held_bytes(&self) -> u64 {
        self.word(TOTAL + HELD).load(Ordering::Acquire)
    }

    /// Most bytes that were held at one time.
    pub fn peak_held_bytes(&self) -> u64 {
        self.word(TOTAL + PEAK_HELD).load(Ordering::Relaxed)
    }

    /// Bytes in use.
    pub fn live_bytes(&self) -> u64 {
        self.word(TOTAL + LIVE).load(Ordering::Acquire)
    }

    /// Most bytes that were in use at one time.
    pub fn peak_live_bytes(&self) -> u64 {
        self.word(TOTAL + PEAK_LIVE).load(Ordering::Relaxed)
    }

    /// Bytes of segments on a disk.
    pub fn spilled_bytes(&self) -> u64 {
        self.word(TOTAL + SPILLED).load(Ordering::Acquire)
    }

    /// Most bytes that were on a disk at one time.
    pub fn peak_spilled_bytes(&self) -> u64 {
        self.word(TOTAL + PEAK_SPILLED).load(Ordering::Relaxed)
    }

    /// Segments that ever went to a disk.
    pub fn spilled_segments(&self) -> u64 {
        self.word(TOTAL + SPILLED_SEGMENTS).load(Ordering::Relaxed)
    }

    /// Called when the process of a slot is dead: what it held is gone, except for
    /// `still_held_bytes` of its memory that others have descriptors of. What it had on a disk is
    /// no longer counted. Called again with less
    /// as those are closed. At 0 the slot can be given to a new process.
    pub fn retire(&self, slot: usize, still_held_bytes: u64) {
        let Some(slot) = self.slot(slot) else {
            return;
        };
        let still = [
            (HELD, still_held_bytes),
            (LIVE, still_held_bytes),
            (SPILLED, 0),
        ];
        for (column, now) in still {
            let before = slot.word(column).swap(now, Ordering::AcqRel);
            let total = self.word(TOTAL + column);
            if before > now {
                subtract(total, before - now);
            } else {
                total.fetch_add(now - before, Ordering::AcqRel);
            }
        }
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        // In range: `create` and `open` checked the number of words, `slot` its index.
        &self.words.words()[index]
    }
}

impl AsFd for SharedAccount {
    /// The file, to be passed to another process.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.words.as_fd()
    }
}

/// One store's part of an account.
#[derive(Clone, Debug)]
pub struct AccountSlot {
    account: SharedAccount,
    first: usize,
}

impl AccountSlot {
    /// The whole account.
    pub fn account(&self) -> &SharedAccount {
        &self.account
    }

    /// Bytes that this store holds: in use, or kept for reuse.
    pub fn held_bytes(&self) -> u64 {
        self.word(HELD).load(Ordering::Acquire)
    }

    /// Bytes of this store in use.
    pub fn live_bytes(&self) -> u64 {
        self.word(LIVE).load(Ordering::Acquire)
    }

    /// Most bytes of this store that were in use at one time.
    pub fn peak_live_bytes(&self) -> u64 {
        self.word(PEAK_LIVE).load(Ordering::Relaxed)
    }

    /// Accounts for memory that is about to be made; none when the limit forbids it.
    pub(super) fn reserve(&self, bytes: u64) -> Option<Reservation> {
        let account = &self.account;
        let limit = account.limit_bytes();
        let total = account.word(TOTAL + HELD);
        let before = total
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
                held.checked_add(bytes).filter(|sum| *sum <= limit)
            })
            .ok()?;
        account
            .word(TOTAL + PEAK_HELD)
            .fetch_max(before + bytes, Ordering::Relaxed);
        self.word(HELD).fetch_add(bytes, Ordering::AcqRel);
        Some(Reservation {
            slot: self.clone(),
            bytes,
            live: false,
        })
    }

    /// Bytes of this store on a disk.
    pub fn spilled_bytes(&self) -> u64 {
        self.word(SPILLED).load(Ordering::Acquire)
    }

    /// Most bytes of this store that were on a disk at one time.
    pub fn peak_spilled_bytes(&self) -> u64 {
        self.word(PEAK_SPILLED).load(Ordering::Relaxed)
    }

    /// Segments of this store that ever went to a disk.
    pub fn spilled_segments(&self) -> u64 {
        self.word(SPILLED_SEGMENTS).load(Ordering::Relaxed)
    }

    /// Accounts for a file on a disk.
    pub(super) fn spill(&self, bytes: u64) -> Spilled {
        for first in [self.first, TOTAL] {
            let word = |column| self.account.word(first + column);
            let now = word(SPILLED).fetch_add(bytes, Ordering::AcqRel) + bytes;
            word(PEAK_SPILLED).fetch_max(now, Ordering::Relaxed);
            word(SPILLED_SEGMENTS).fetch_add(1, Ordering::Relaxed);
        }
        Spilled {
            slot: self.clone(),
            bytes,
        }
    }

    /// Asks all stores to give up what they keep for reuse, at their next opportunity. Says how
    /// often anybody asked before.
    pub(super) fn press(&self) -> u64 {
        self.account.word(PRESSURE).fetch_add(1, Ordering::AcqRel)
    }

    /// How often anybody asked.
    pub(super) fn pressure(&self) -> u64 {
        self.account.word(PRESSURE).load(Ordering::Acquire)
    }

    fn word(&self, column: usize) -> &AtomicU64 {
        self.account.word(self.first + column)
    }
}

/// Bytes of memory that exists; given back when dropped, which must be after the memory is gone.
#[derive(Debug)]
pub(super) struct Reservation {
    slot: AccountSlot,
    bytes: u64,
    live: bool,
}

impl Reservation {
    /// The memory is in use.
    pub(super) fn occupy(&mut self) {
        if std::mem::replace(&mut self.live, true) {
            return;
        }
        for (live, peak) in [
            (self.slot.word(LIVE), self.slot.word(PEAK_LIVE)),
            (self.total(LIVE), self.total(PEAK_LIVE)),
        ] {
            let now = live.fetch_add(self.bytes, Ordering::AcqRel) + self.bytes;
            peak.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// The memory is kept for reuse.
    pub(super) fn vacate(&mut self) {
        if std::mem::replace(&mut self.live, false) {
            subtract(self.slot.word(LIVE), self.bytes);
            subtract(self.total(LIVE), self.bytes);
        }
    }

    fn total(&self, column: usize) -> &AtomicU64 {
        self.slot.account.word(TOTAL + column)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.vacate();
        subtract(self.slot.word(HELD), self.bytes);
        subtract(self.total(HELD), self.bytes);
    }
}

/// Bytes on a disk; given back when dropped.
#[derive(Debug)]
pub(super) struct Spilled {
    slot: AccountSlot,
    bytes: u64,
}

impl Drop for Spilled {
    fn drop(&mut self) {
        subtract(self.slot.word(SPILLED), self.bytes);
        subtract(self.slot.account.word(TOTAL + SPILLED), self.bytes);
    }
}

/// Never below 0, whatever another process wrote there.
fn subtract(word: &AtomicU64, bytes: u64) {
    let _ = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |value| {
        Some(value.saturating_sub(bytes))
    });
}

fn words_for(slots: usize) -> io::Result<usize> {
    slots
        .checked_mul(ROW)
        .and_then(|words| words.checked_add(FIRST_SLOT))
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
