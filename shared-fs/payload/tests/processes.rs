//! Random use of several stores that share an account and each other's segments, against a model.

use proptest::prelude::*;
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use taps_payload::{
    Memory, MemoryId, Segment, SegmentId, SegmentStore, SharedAccount, StoreError, StoreOptions,
    WritableSegment,
};

const STORES: usize = 3;
/// Small enough to be reached, large enough for slabs.
const LIMIT_BYTES: u64 = 3 * (64 << 20);

#[derive(Clone, Debug)]
enum Step {
    Create { store: usize, len: u64 },
    Write { which: usize, part: u64, len: u64 },
    Abandon { which: usize },
    Publish { which: usize },
    Adopt { which: usize, store: usize },
    Free { which: usize },
    Drop { which: usize },
    Trim { store: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..16_usize;
    let store = 0..STORES;
    let len = prop_oneof![
        6 => 0..20_000_u64,
        3 => 20_000..1_000_000_u64,
        1 => 1_000_000..6_000_000_u64,
        1 => 30_000_000..60_000_000_u64,
    ];
    prop_oneof![
        5 => (store.clone(), len).prop_map(|(store, len)| Step::Create { store, len }),
        4 => (which.clone(), 0..100_u64, 0..70_000_u64)
            .prop_map(|(which, part, len)| Step::Write { which, part, len }),
        1 => which.clone().prop_map(|which| Step::Abandon { which }),
        5 => which.clone().prop_map(|which| Step::Publish { which }),
        5 => (which.clone(), store.clone()).prop_map(|(which, store)| Step::Adopt { which, store }),
        4 => which.clone().prop_map(|which| Step::Free { which }),
        4 => which.prop_map(|which| Step::Drop { which }),
        1 => store.prop_map(|store| Step::Trim { store }),
    ]
}

/// What a segment holds: zeros, but for runs of one value.
#[derive(Clone, Debug, Default)]
struct Content {
    len: u64,
    runs: Vec<(u64, u64, u8)>,
}

impl Content {
    fn is(&self, segment: &Segment) -> bool {
        let mut expected = vec![0; self.len as usize];
        for &(from, len, value) in &self.runs {
            expected[from as usize..(from + len) as usize].fill(value);
        }
        let mut bytes = vec![0xFF; expected.len() + 1];
        let count = segment.read_at(0, &mut bytes).expect("in range");
        bytes.truncate(count);
        bytes == expected
    }
}

/// What an owner keeps for others until they say that they are done.
/// By adoption: a segment that was freed and is still read may be adopted again.
type Kept = Arc<Mutex<HashMap<usize, Arc<Segment>>>>;

struct Model {
    account: SharedAccount,
    stores: Vec<SegmentStore>,
    writing: Vec<(usize, WritableSegment, Content)>,
    /// In which store, and the segment.
    readers: Vec<(usize, Arc<Segment>, Content)>,
    /// Not yet freed.
    known: HashSet<(usize, SegmentId)>,
    imported: Vec<HashMap<MemoryId, Arc<Memory>>>,
    kept: Kept,
    adopted: usize,
    ended: Arc<AtomicUsize>,
    stamp: u8,
}

impl Model {
    fn new() -> Self {
        let account = SharedAccount::create(LIMIT_BYTES, STORES).expect("memfds work");
        let stores = (0..STORES).map(|index| {
            SegmentStore::new(StoreOptions {
                id_space: index as u32,
                account: account.slot(index),
                // Small pages in one of them.
                huge_pages: index != 1,
                ..StoreOptions::default()
            })
            .expect("memfds work")
        });
        Self {
            stores: stores.collect(),
            account,
            writing: Vec::new(),
            readers: Vec::new(),
            known: HashSet::new(),
            imported: vec![HashMap::new(); STORES],
            kept: Kept::default(),
            adopted: 0,
            ended: Arc::default(),
            stamp: 0,
        }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Create { store, len } => match self.stores[store].create(len) {
                Ok(segment) => {
                    assert_eq!(segment.id().0 >> 40, store as u64);
                    let runs = Vec::new();
                    self.writing.push((store, segment, Content { len, runs }));
                }
                Err(StoreError::Full { .. }) => {
                    assert!(self.account.held_bytes() + len > LIMIT_BYTES / 2);
                }
                Err(error) => panic!("{error}"),
            },
            Step::Write { which, part, len } => {
                let index = which % self.writing.len().max(1);
                self.stamp = self.stamp.wrapping_add(1).max(1);
                if let Some((_, segment, content)) = self.writing.get_mut(index) {
                    let from = content.len * part / 100;
                    let len = len.min(content.len - from);
                    segment
                        .write_at(from, &vec![self.stamp; len as usize])
                        .expect("it fits");
                    content.runs.push((from, len, self.stamp));
                }
            }
            Step::Abandon { which } => {
                if !self.writing.is_empty() {
                    self.writing.swap_remove(which % self.writing.len());
                }
            }
            Step::Publish { which } => {
                if !self.writing.is_empty() {
                    let (store, segment, content) =
                        self.writing.swap_remove(which % self.writing.len());
                    let segment = self.stores[store].publish(segment).expect("its own");
                    self.known.insert((store, segment.id()));
                    self.readers.push((store, segment, content));
                }
            }
            Step::Adopt { which, store } => self.adopt(which, store),
            Step::Free { which } => {
                let index = which % self.readers.len().max(1);
                if let Some((store, segment, _)) = self.readers.get(index) {
                    self.stores[*store].free(segment.id());
                    assert!(self.stores[*store].get(segment.id()).is_none());
                    self.known.remove(&(*store, segment.id()));
                }
            }
            Step::Drop { which } => {
                if !self.readers.is_empty() {
                    self.readers.swap_remove(which % self.readers.len());
                }
            }
            Step::Trim { store } => {
                self.stores[store].trim();
                assert_eq!(self.stores[store].statistics().free_bytes, 0);
            }
        }
    }

    /// What two processes do: the owner exports and keeps, the other imports and adopts.
    fn adopt(&mut self, which: usize, store: usize) {
        let index = which % self.readers.len().max(1);
        let Some((from, segment, content)) = self.readers.get(index) else {
            return;
        };
        if *from == store || segment.id().0 >> 40 == store as u64 {
            return;
        }
        let (place, content) = (segment.place(), content.clone());
        let memory = self.imported[store].entry(place.memory).or_insert_with(|| {
            let exported = segment.export().expect("procfs is mounted");
            self.stores[store]
                .import(exported.info, exported.file)
                .expect("sound")
        });
        let (id, key) = (segment.id(), self.adopted);
        let (kept, ended) = (Arc::clone(&self.kept), Arc::clone(&self.ended));
        let on_last = Box::new(move || {
            ended.fetch_add(1, Ordering::SeqCst);
            let segment = kept.lock().expect("no panic").remove(&key);
            drop(segment);
        });
        let keep = Arc::clone(segment);
        match self.stores[store].adopt(segment.reference(), place, memory, on_last) {
            Ok(other) => {
                self.adopted += 1;
                self.kept.lock().expect("no panic").insert(key, keep);
                assert!(self.known.insert((store, id)));
                self.readers.push((store, other, content));
            }
            Err(StoreError::Known { .. }) => {
                assert!(self.known.contains(&(store, id)));
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn check(&mut self) {
        assert!(self.account.held_bytes() <= LIMIT_BYTES);
        assert!(self.account.live_bytes() <= self.account.held_bytes());
        let live: u64 = self
            .stores
            .iter()
            .map(|store| store.statistics().live_bytes)
            .sum();
        assert_eq!(live, self.account.live_bytes());
        for (store, id) in &self.known {
            let found = self.stores[*store].get(*id).expect("not freed");
            assert_eq!(found.id(), *id);
        }
        for (store, segment, content) in &self.readers {
            assert!(content.is(segment), "{segment:?} changed in store {store}");
        }
        for store in &self.stores {
            for memory in store.take_closed_memories() {
                for imported in &mut self.imported {
                    imported.remove(&memory);
                }
            }
        }
    }

    fn end(mut self) {
        self.writing.clear();
        for (store, segment, _) in std::mem::take(&mut self.readers) {
            self.stores[store].free(segment.id());
        }
        // Segments that were dropped here and not freed are still known to their stores.
        let account = self.account.clone();
        let (adopted, ended, kept) = (
            self.adopted,
            Arc::clone(&self.ended),
            Arc::clone(&self.kept),
        );
        drop(self);
        kept.lock().expect("no panic").clear();
        assert_eq!(ended.load(Ordering::SeqCst), adopted, "each once");
        assert_eq!((account.live_bytes(), account.held_bytes()), (0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_and_accounts_hold_over_several_stores(steps in prop::collection::vec(step(), 1..60)) {
        let mut model = Model::new();
        for step in &steps {
            model.apply(step);
            model.check();
        }
        model.end();
    }
}
