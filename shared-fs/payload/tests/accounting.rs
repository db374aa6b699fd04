//! The store's account against a simple model, under random use.

use proptest::prelude::*;
use std::{collections::HashSet, sync::Arc};
use taps_payload::{
    FullReason, Segment, SegmentStore, StoreError, StoreOptions, WritableSegment, page_bytes,
};

/// Small, so that it is reached often.
const LIMIT_BYTES: u64 = 64 * 4096;

#[derive(Clone, Debug)]
enum Step {
    Create { len: u64 },
    Write { which: usize, offset: u64, len: u64 },
    Abandon { which: usize },
    Publish { which: usize },
    Hold { which: usize },
    Release { which: usize },
    Free { which: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..8_usize;
    prop_oneof![
        4 => (0..12 * 4096_u64).prop_map(|len| Step::Create { len }),
        3 => (which.clone(), 0..40_000_u64, 0..20_000_u64)
            .prop_map(|(which, offset, len)| Step::Write { which, offset, len }),
        1 => which.clone().prop_map(|which| Step::Abandon { which }),
        4 => which.clone().prop_map(|which| Step::Publish { which }),
        2 => which.clone().prop_map(|which| Step::Hold { which }),
        2 => which.clone().prop_map(|which| Step::Release { which }),
        3 => which.prop_map(|which| Step::Free { which }),
    ]
}

/// What should be the case.
struct Model {
    segments: SegmentStore,
    writing: Vec<(WritableSegment, Vec<u8>)>,
    published: Vec<(Arc<Segment>, Vec<u8>)>,
    held: Vec<(Arc<Segment>, Vec<u8>)>,
    ids: HashSet<u64>,
    stamp: u8,
}

fn take<T>(items: &mut Vec<T>, which: usize) -> Option<T> {
    (!items.is_empty()).then(|| items.swap_remove(which % items.len()))
}

impl Model {
    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Create { len } => match self.segments.create(len) {
                Ok(segment) => {
                    assert!(self.ids.insert(segment.id().0), "an id is used once");
                    assert_eq!(segment.len(), len);
                    self.writing.push((segment, vec![0; len as usize]));
                }
                Err(StoreError::Full { reason, .. }) => {
                    assert_eq!(reason, FullReason::Limit);
                    let pages = len.max(1).next_multiple_of(page_bytes());
                    assert!(self.segments.statistics().live_bytes + pages > LIMIT_BYTES);
                }
                Err(error) => panic!("{error}"),
            },
            Step::Write { which, offset, len } => {
                self.stamp = self.stamp.wrapping_add(1).max(1);
                let index = which % self.writing.len().max(1);
                if let Some((segment, content)) = self.writing.get_mut(index) {
                    let bytes = vec![self.stamp; len as usize];
                    let fits = offset + len <= segment.len();
                    assert_eq!(segment.write_at(offset, &bytes).is_ok(), fits);
                    if fits {
                        content[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
                    }
                }
            }
            Step::Abandon { which } => drop(take(&mut self.writing, which)),
            Step::Publish { which } => {
                if let Some((segment, content)) = take(&mut self.writing, which) {
                    let segment = self.segments.publish(segment).expect("its own");
                    self.published.push((segment, content));
                }
            }
            Step::Hold { which } => {
                let index = which % self.published.len().max(1);
                if let Some((segment, content)) = self.published.get(index) {
                    let found = self.segments.get(segment.id()).expect("published");
                    self.held.push((found, content.clone()));
                }
            }
            Step::Release { which } => drop(take(&mut self.held, which)),
            Step::Free { which } => {
                if let Some((segment, _)) = take(&mut self.published, which) {
                    self.segments.free(segment.id());
                    assert!(self.segments.get(segment.id()).is_none());
                }
            }
        }
    }

    fn check(&self, peak_before: u64) {
        let statistics = self.segments.statistics();
        let mut alive: Vec<u64> = Vec::new();
        let mut bytes = 0;
        let lens = self
            .writing
            .iter()
            .map(|(segment, _)| (segment.id().0, segment.len()));
        let readers = self.published.iter().chain(&self.held);
        for (id, len) in lens.chain(readers.map(|(segment, _)| (segment.id().0, segment.len()))) {
            if !alive.contains(&id) {
                alive.push(id);
                bytes += len.max(1).next_multiple_of(page_bytes());
            }
        }
        // Recycled memory may be up to twice as large as needed.
        assert!(
            (bytes..=2 * bytes).contains(&statistics.live_bytes),
            "{statistics:?} {bytes}"
        );
        assert!(statistics.live_bytes + statistics.free_bytes <= LIMIT_BYTES);
        assert!(statistics.peak_bytes >= statistics.live_bytes.max(peak_before));
        assert_eq!(statistics.created, self.ids.len() as u64);
        assert!(statistics.recycled <= statistics.created);
        for (segment, content) in self.published.iter().chain(&self.held) {
            let mut bytes = vec![0xFF; content.len() + 10];
            let count = segment.read_at(0, &mut bytes).expect("in range");
            assert!(bytes[..count] == **content, "{segment:?} changed");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_account_and_the_contents_hold(steps in prop::collection::vec(step(), 1..80)) {
        let segments = SegmentStore::new(StoreOptions {
            limit_bytes: Some(LIMIT_BYTES),
            huge_pages: false,
            recycle_bytes: LIMIT_BYTES / 2,
            ..StoreOptions::default()
        }).expect("memfds work");
        let mut model = Model {
            segments,
            writing: Vec::new(),
            published: Vec::new(),
            held: Vec::new(),
            ids: HashSet::new(),
            stamp: 0,
        };
        for step in &steps {
            let peak_before = model.segments.statistics().peak_bytes;
            model.apply(step);
            model.check(peak_before);
        }
        let segments = model.segments.clone();
        for (segment, _) in &model.published {
            segments.free(segment.id());
        }
        drop(model);
        prop_assert_eq!(segments.statistics().live_bytes, 0);
    }
}

/// Nothing is kept or leaked over many rounds, and the memory goes round.
#[test]
fn ten_thousand_segments_take_the_memory_of_one() {
    let segments = SegmentStore::new(StoreOptions {
        slab_max_bytes: 0,
        ..StoreOptions::default()
    })
    .expect("memfds work");
    let descriptors = || std::fs::read_dir("/proc/self/fd").expect("procfs").count();
    let mut before = 0;
    for round in 0..10_000 {
        let mut segment = segments.create(200_000).expect("there is room");
        segment.write_at(0, &[1; 100]).expect("it fits");
        let segment = segments.publish(segment).expect("its own");
        segments.free(segment.id());
        if round == 0 {
            before = descriptors();
        }
    }
    let statistics = segments.statistics();
    assert_eq!(statistics.recycled, 9_999);
    assert_eq!(statistics.live_bytes, 0);
    assert!(statistics.peak_bytes <= 204_800, "{statistics:?}");
    // Other tests of this process have a few of their own.
    assert!(descriptors() < before + 100);
}

/// Stores are used from all workers at once.
#[test]
fn a_store_is_shared_between_threads() {
    let segments = SegmentStore::new(StoreOptions {
        recycle_bytes: 1 << 20,
        ..StoreOptions::default()
    })
    .expect("memfds work");
    std::thread::scope(|scope| {
        for worker in 0..4_u8 {
            let segments = segments.clone();
            scope.spawn(move || {
                for round in 0..500_u64 {
                    let len = 1 + (round * 7919 + u64::from(worker) * 13) % 100_000;
                    let mut segment = segments.create(len).expect("there is room");
                    segment
                        .write_at(0, &vec![worker + 1; len as usize])
                        .expect("it fits");
                    let segment = segments.publish(segment).expect("its own");
                    segments.free(segment.id());
                    let map = segment.map().expect("mappings are left");
                    assert!(map.iter().all(|byte| *byte == worker + 1));
                }
            });
        }
    });
    let statistics = segments.statistics();
    assert_eq!((statistics.live_bytes, statistics.created), (0, 2000));
    assert!(statistics.free_bytes <= 1 << 20);
}
