//! Segments in the hands of another process.
//!
//! ```text
//!   lender (has the segment)                    borrower
//!      │ lent: memory (with descriptor, once), segment ──►  imports, adopts: `store.get` finds it
//!      │ wanted: segment ──────────────────────────────►  drops the store's own reference
//!      │                                                    … the last window or reader goes …
//!      ◄────────────────────────────── given back: segment
//!      │ drops its reference: the memory may be recycled
//!      │ closed: memory ───────────────────────────────►  drops the descriptor
//! ```
//!
//! Both directions work the same: a worker lends its results to the coordinator, the coordinator
//! lends arguments to workers, whoever made them. The lender decides what the borrower knows, and
//! messages keep their order, so neither can believe in something that the other has forgotten. A
//! borrower that dies gives everything back by that.

use crate::message::{Loan, Loans};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::{os::fd::OwnedFd, sync::Arc};
use taps_payload::{Memory, MemoryId, Segment, SegmentId, SegmentStore, StoreError};

/// Segments that this process has lent to one other.
#[derive(Debug, Default)]
pub(crate) struct Lender {
    lent: FxHashMap<SegmentId, Arc<Segment>>,
    /// Number of segments lent in each memory that the borrower has.
    memories: FxHashMap<MemoryId, usize>,
}

impl Lender {
    /// Lends a segment, if the borrower does not have it. `descriptors` belong to `loans.memories`.
    pub(crate) fn lend(
        &mut self,
        segment: &Arc<Segment>,
        loans: &mut Loans,
        descriptors: &mut Vec<OwnedFd>,
    ) -> std::io::Result<()> {
        if self.lent.contains_key(&segment.id()) {
            return Ok(());
        }
        let place = segment.place();
        if !self.memories.contains_key(&place.memory) {
            let exported = segment.export()?;
            loans.memories.push(exported.info);
            descriptors.push(exported.file);
        }
        *self.memories.entry(place.memory).or_default() += 1;
        loans.lent.push(Loan {
            segment: segment.reference(),
            place,
        });
        self.lent.insert(segment.id(), Arc::clone(segment));
        Ok(())
    }

    /// Asks for a segment back; whether it was lent.
    pub(crate) fn want(&mut self, id: SegmentId, loans: &mut Loans) -> bool {
        let lent = self.lent.contains_key(&id);
        if lent {
            loans.wanted.push(id);
        }
        lent
    }

    /// The borrower gave a segment back.
    pub(crate) fn take_back(&mut self, id: SegmentId, loans: &mut Loans) -> Option<Arc<Segment>> {
        let segment = self.lent.remove(&id)?;
        let memory = segment.place().memory;
        if let Some(count) = self.memories.get_mut(&memory) {
            *count -= 1;
            if *count == 0 {
                self.memories.remove(&memory);
                loans.closed.push(memory);
            }
        }
        Some(segment)
    }
}

/// Segments that this process has borrowed from one other.
#[derive(Debug)]
pub(crate) struct Borrower {
    store: SegmentStore,
    memories: FxHashMap<MemoryId, Arc<Memory>>,
    returns: Arc<Returns>,
}

/// Segments to be given back, from whichever thread dropped the last reference.
#[derive(Debug)]
pub(crate) struct Returns {
    segments: Mutex<Vec<SegmentId>>,
    wake: Wake,
}

/// Tells that there is something to give back.
pub(crate) struct Wake(pub(crate) Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Wake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wake")
    }
}

impl Returns {
    fn add(&self, id: SegmentId) {
        let first = {
            let mut segments = self.segments.lock();
            segments.push(id);
            segments.len() == 1
        };
        if first {
            (self.wake.0)();
        }
    }

    /// Whether there is nothing to give back.
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.lock().is_empty()
    }

    /// What there is to give back.
    pub(crate) fn take(&self) -> Vec<SegmentId> {
        std::mem::take(&mut *self.segments.lock())
    }
}

impl Borrower {
    /// Borrows into a store; `wake` is called when there is something to give back.
    pub(crate) fn new(store: SegmentStore, wake: Wake) -> Self {
        Self {
            store,
            memories: FxHashMap::default(),
            returns: Arc::new(Returns {
                segments: Mutex::default(),
                wake,
            }),
        }
    }

    /// What there is to give back.
    pub(crate) fn returns(&self) -> &Arc<Returns> {
        &self.returns
    }

    /// Takes what was lent. `descriptors` belong to `loans.memories`. What cannot be used is given back at once;
    /// whoever needs it finds it gone.
    pub(crate) fn borrow(&mut self, loans: &Loans, descriptors: Vec<OwnedFd>) {
        for (info, file) in loans.memories.iter().zip(descriptors) {
            match self.store.import(*info, file) {
                Ok(memory) => drop(self.memories.insert(info.id, memory)),
                Err(error) => complain(&error),
            }
        }
        for loan in &loans.lent {
            let (id, returns) = (loan.segment.id, Arc::clone(&self.returns));
            let Some(memory) = self.memories.get(&loan.place.memory) else {
                returns.add(id);
                continue;
            };
            let on_last = Box::new({
                let returns = Arc::clone(&returns);
                move || returns.add(id)
            });
            if let Err(error) = self.store.adopt(loan.segment, loan.place, memory, on_last) {
                complain(&error);
                returns.add(id);
            }
        }
        for id in &loans.wanted {
            self.store.free(*id);
        }
        for id in &loans.closed {
            self.memories.remove(id);
        }
    }

    /// The memories that are lent at present.
    pub(crate) fn memories(&self) -> impl Iterator<Item = &Arc<Memory>> {
        self.memories.values()
    }
}

/// Nobody waits for an answer here; the attempt that needs the segment fails with a typed outcome.
fn complain(error: &StoreError) {
    eprintln!("taps-wasm: {}", crate::chain(error));
}
