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

use crate::{
    channel::{MAX_DESCRIPTORS, Outbox},
    error::ChannelError,
    message::{Loan, Loans},
};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::{os::fd::OwnedFd, sync::Arc};
use taps_payload::{Memory, MemoryId, Segment, SegmentId, SegmentStore, StoreError};

/// Segments that this process has lent to one other, and what it has to tell it.
#[derive(Debug, Default)]
pub(crate) struct Lender {
    lent: FxHashMap<SegmentId, Arc<Segment>>,
    /// Number of segments lent in each memory that the borrower has.
    memories: FxHashMap<MemoryId, usize>,
    /// Not told yet.
    news: Loans,
    /// Those of `news.memories`.
    descriptors: Vec<OwnedFd>,
}

impl Lender {
    /// Lends a segment, if the borrower does not have it.
    pub(crate) fn lend(&mut self, segment: &Arc<Segment>) -> std::io::Result<()> {
        if self.lent.contains_key(&segment.id()) {
            return Ok(());
        }
        let place = segment.place();
        if !self.memories.contains_key(&place.memory) {
            let exported = segment.export()?;
            self.news.memories.push(exported.info);
            self.descriptors.push(exported.file);
        }
        *self.memories.entry(place.memory).or_default() += 1;
        self.news.lent.push(Loan {
            segment: segment.reference(),
            place,
        });
        self.lent.insert(segment.id(), Arc::clone(segment));
        Ok(())
    }

    /// Asks for a segment back; whether it was lent.
    pub(crate) fn want(&mut self, id: SegmentId) -> bool {
        let lent = self.lent.contains_key(&id);
        if lent {
            self.news.wanted.push(id);
        }
        lent
    }

    /// The borrower gave a segment back.
    pub(crate) fn take_back(&mut self, id: SegmentId) -> Option<Arc<Segment>> {
        let segment = self.lent.remove(&id)?;
        let memory = segment.place().memory;
        if let Some(count) = self.memories.get_mut(&memory) {
            *count -= 1;
            if *count == 0 {
                self.memories.remove(&memory);
                self.news.closed.push(memory);
            }
        }
        Some(segment)
    }

    /// Gives segments back that this process had borrowed from the other.
    pub(crate) fn give_back(&mut self, segments: Vec<SegmentId>) {
        self.news.given_back.extend(segments);
    }

    /// Whether there is anything to tell.
    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Whether the news should not wait for more: they have half the descriptors of a message.
    pub(crate) fn is_full(&self) -> bool {
        self.descriptors.len() >= MAX_DESCRIPTORS / 2
    }

    /// Puts the news into an outbox, in the message that `last` makes. Memories that are too many for it go
    /// before, in messages that `alone` makes.
    pub(crate) fn tell<M: Serialize>(
        &mut self,
        outbox: &mut Outbox,
        alone: impl Fn(Loans) -> M,
        last: impl FnOnce(Loans) -> M,
    ) -> Result<(), ChannelError> {
        while self.descriptors.len() > MAX_DESCRIPTORS {
            let first = Loans {
                memories: self.news.memories.drain(..MAX_DESCRIPTORS).collect(),
                // Before any memory is lent anew.
                closed: std::mem::take(&mut self.news.closed),
                ..Loans::default()
            };
            let descriptors = self.descriptors.drain(..MAX_DESCRIPTORS).collect();
            outbox.push(&alone(first), descriptors)?;
        }
        let news = std::mem::take(&mut self.news);
        outbox.push(&last(news), std::mem::take(&mut self.descriptors))
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
        // Before the rest: such a memory may be lent anew in the same message.
        for id in &loans.closed {
            self.memories.remove(id);
        }
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
    }

    /// The memories that are lent at present.
    pub(crate) fn memories(&self) -> impl Iterator<Item = &Arc<Memory>> {
        self.memories.values()
    }
}

/// Nobody waits for an answer here; the attempt that needs the segment fails with a typed outcome.
fn complain(error: &StoreError) {
    eprintln!("taps-wasm: {}", taps_engine::chain(error));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use taps_payload::StoreOptions;

    /// What may happen next; numbers choose among what there is.
    #[derive(Clone, Debug)]
    enum Step {
        /// The lender makes a segment of that length, and lends it.
        Lend(u64),
        /// The lender lends one again that may be lent.
        LendAgain(usize),
        /// The lender wants one back.
        Want(usize),
        /// The borrower begins to read one.
        Read(usize),
        /// The borrower has read one.
        Leave(usize),
        /// The lender's news arrive.
        Hear,
        /// The borrower's news arrive.
        Answer,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let lengths = prop_oneof![Just(0), Just(20), Just(70_000), Just(1_500_000)];
        let step = prop_oneof![
            4 => lengths.prop_map(Step::Lend),
            1 => any::<usize>().prop_map(Step::LendAgain),
            3 => any::<usize>().prop_map(Step::Want),
            2 => any::<usize>().prop_map(Step::Read),
            2 => any::<usize>().prop_map(Step::Leave),
            2 => Just(Step::Hear),
            3 => Just(Step::Answer),
        ];
        prop::collection::vec(step, 1..120)
    }

    /// Two processes, and what is under way between them.
    struct Both {
        near: SegmentStore,
        lender: Lender,
        far: SegmentStore,
        borrower: Borrower,
        readers: Vec<Arc<Segment>>,
        /// Segments lent and not wanted back, with whether the borrower has heard of them.
        usable: BTreeMap<SegmentId, bool>,
    }

    impl Both {
        fn new() -> Self {
            let store = |id_space| {
                SegmentStore::new(StoreOptions {
                    id_space,
                    huge_pages: false,
                    ..StoreOptions::default()
                })
                .expect("a store")
            };
            let far = store(2);
            Self {
                near: store(1),
                lender: Lender::default(),
                borrower: Borrower::new(far.clone(), Wake(Box::new(|| {}))),
                far,
                readers: Vec::new(),
                usable: BTreeMap::new(),
            }
        }

        fn nth(&self, number: usize) -> Option<SegmentId> {
            let count = self.usable.len();
            self.usable.keys().nth(number.checked_rem(count)?).copied()
        }

        fn lend(&mut self, segment: &Arc<Segment>) {
            self.lender.lend(segment).expect("memory can be lent");
        }

        fn step(&mut self, step: &Step) {
            match *step {
                Step::Lend(len) => {
                    let mut segment = self.near.create(len).expect("there is room");
                    let bytes = segment.id().0.to_le_bytes();
                    let marked = len.min(8);
                    for offset in [0, len - marked] {
                        segment
                            .write_at(offset, &bytes[..marked as usize])
                            .expect("it is there");
                    }
                    let segment = self.near.publish(segment).expect("it is whole");
                    self.lend(&segment);
                    self.usable.insert(segment.id(), false);
                }
                Step::LendAgain(number) => {
                    if let Some(id) = self.nth(number) {
                        let segment = self.near.get(id).expect("it is lent");
                        self.lend(&segment);
                    }
                }
                Step::Want(number) => {
                    if let Some(id) = self.nth(number) {
                        self.usable.remove(&id);
                        assert!(self.lender.want(id));
                    }
                }
                Step::Read(number) => {
                    let id = self.nth(number);
                    if let Some(id) = id.filter(|id| self.usable[id]) {
                        self.readers.push(self.far.get(id).expect("it is lent"));
                    }
                }
                Step::Leave(number) => {
                    if let Some(number) = number.checked_rem(self.readers.len()) {
                        self.readers.swap_remove(number);
                    }
                }
                Step::Hear => self.hear(),
                Step::Answer => self.answer(),
            }
            for reader in &self.readers {
                holds_its_bytes(reader);
            }
        }

        fn hear(&mut self) {
            let loans = std::mem::take(&mut self.lender.news);
            let descriptors = std::mem::take(&mut self.lender.descriptors);
            assert_eq!(loans.memories.len(), descriptors.len());
            self.borrower.borrow(&loans, descriptors);
            for (id, heard) in &mut self.usable {
                let segment = self.far.get(*id).expect("nothing that is lent is missing");
                holds_its_bytes(&segment);
                *heard = true;
            }
        }

        fn answer(&mut self) {
            for id in self.borrower.returns().take() {
                assert!(!self.usable.contains_key(&id), "{id:?} is wanted there");
                let taken = self.lender.take_back(id);
                drop(taken.expect("it was lent"));
                self.near.free(id);
            }
        }
    }

    #[track_caller]
    fn holds_its_bytes(segment: &Segment) {
        let marked = segment.len().min(8);
        for offset in [0, segment.len() - marked] {
            let mut bytes = [0; 8];
            let count = segment.read_at(offset, &mut bytes).expect("it is there");
            let expected = segment.id().0.to_le_bytes();
            assert_eq!(bytes[..count], expected[..marked as usize], "recycled");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Whatever is lent, read and given back in whichever order: what is lent can be read, nothing is recycled
        /// while it is, and in the end neither side holds anything.
        #[test]
        fn what_is_lent_comes_back(steps in steps()) {
            let mut both = Both::new();
            for step in &steps {
                both.step(step);
            }
            while !both.usable.is_empty() {
                both.step(&Step::Want(0));
            }
            both.readers.clear();
            for _ in 0..2 {
                both.hear();
                both.answer();
            }
            both.hear();
            prop_assert!(both.lender.lent.is_empty() && both.lender.memories.is_empty());
            prop_assert!(both.borrower.memories.is_empty() && !both.lender.has_news());
            prop_assert_eq!(both.near.statistics().live_bytes, 0);
            prop_assert_eq!(both.far.statistics().live_bytes, 0);
        }
    }

    #[test]
    fn what_cannot_be_used_is_given_back() {
        let mut both = Both::new();
        both.step(&Step::Lend(100));
        let id = both.nth(0).expect("one");
        // The memory is missing, as when no descriptor is left.
        both.lender.news.memories.clear();
        both.borrower.borrow(&both.lender.news, Vec::new());
        assert!(both.far.get(id).is_none());
        assert_eq!(both.borrower.returns().take(), [id]);
    }
}
