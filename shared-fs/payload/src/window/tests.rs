//! The arithmetic of windows, and a set of them against a simple model.

use super::*;
use crate::{SegmentStore, StoreOptions};
use proptest::prelude::*;
use rustix::mm::{MapFlags, ProtFlags};

const MIB: usize = 1 << 20;
const HUGE: usize = HUGE_PAGE_BYTES as usize;

/// Anonymous memory made as wasmtime's pool makes it.
struct Memory {
    start: usize,
    len: usize,
}

impl Memory {
    fn new(pages: usize) -> Self {
        let len = pages * page_bytes() as usize;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }
        .expect("address space is left");
        Self {
            start: start.expose_provenance(),
            len,
        }
    }

    fn byte(&self, offset: usize) -> u8 {
        assert!(offset < self.len);
        let at = std::ptr::with_exposed_provenance::<u8>(self.start + offset);
        // SAFETY: within the mapping, which windows replace but never take away. Volatile,
        // because they change it behind the compiler's back.
        unsafe { at.read_volatile() }
    }

    fn fill(&self, offset: usize, len: usize, value: u8) {
        assert!(offset + len <= self.len);
        for at in offset..offset + len {
            let at = std::ptr::with_exposed_provenance_mut::<u8>(self.start + at);
            // SAFETY: as above; windows are writable.
            unsafe { at.write_volatile(value) };
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping made by `new`; the windows over it are gone.
        unsafe { rustix::mm::munmap(std::ptr::with_exposed_provenance_mut(self.start), self.len) }
            .expect("it is mapped");
    }
}

#[test]
fn small_payloads_start_at_the_window() {
    let placed = place(HUGE + 4096, 8192, 4097, 8192, false).expect("it fits");
    assert_eq!(
        placed,
        Placement {
            offset: 0,
            mapped: 8192
        }
    );
}

#[test]
fn large_payloads_are_aligned_where_there_is_room() {
    let base = 40 * HUGE + 4096;
    let to_boundary = HUGE - 4096;
    let len = 3 * MIB + 1;
    let pages = 3 * MIB + 4096;
    let place = |window| place(base, window, len as u64, 2 * HUGE as u64, true).expect("it fits");
    let expect = |offset, mapped| Placement { offset, mapped };
    // Room for whole huge pages, for the last in part, for no alignment at all.
    assert_eq!(place(to_boundary + 2 * HUGE), expect(to_boundary, 2 * HUGE));
    let less = to_boundary + 2 * HUGE - 4096;
    assert_eq!(place(less), expect(to_boundary, pages));
    assert_eq!(place(to_boundary + pages), expect(to_boundary, pages));
    assert_eq!(place(to_boundary + pages - 4096), expect(0, pages));
    assert_eq!(place(pages), expect(0, pages));
}

#[test]
fn windows_that_cannot_be_are_refused() {
    let misaligned = |addr, window| {
        matches!(
            place(addr, window, 1, 4096, false),
            Err(WindowError::Misaligned { .. })
        )
    };
    assert!(misaligned(1, 4096) && misaligned(4096, 4095));
    for (window, len) in [
        (4096, 4097),
        (0, 1),
        (4096, u64::MAX),
        (4096, u64::MAX - 4095),
    ] {
        let placed = place(4096, window, len, 4096, true);
        assert!(
            matches!(placed, Err(WindowError::TooSmall { .. })),
            "{placed:?}"
        );
    }
    place(1, 0, 0, 4096, false).expect("nothing fits anywhere");
    assert!(place(1, 4096, 0, 4096, false).is_err());
}

proptest! {
    /// A payload lies within its window, on pages, aligned if it could be.
    #[test]
    fn payloads_lie_within_their_windows(
        page in 0..1024_usize,
        window in 0..4096_usize,
        len in 1..(12 * MIB as u64),
        huge: bool,
    ) {
        let (addr, window) = ((1 << 30) + page * 4096, window * 4096);
        let extent = len.next_multiple_of(if huge { HUGE_PAGE_BYTES } else { 4096 });
        match place(addr, window, len, extent, huge) {
            Ok(Placement { offset, mapped }) => {
                prop_assert!(offset + mapped <= window);
                prop_assert!(mapped as u64 >= len && mapped as u64 <= extent);
                prop_assert!(offset % 4096 == 0 && mapped % 4096 == 0);
                let aligned = (addr + offset).is_multiple_of(HUGE);
                let could_be = window >= extent as usize + HUGE;
                prop_assert!(!huge || !could_be || aligned && mapped as u64 == extent);
            }
            Err(error) => {
                let small = matches!(error, WindowError::TooSmall { .. });
                prop_assert!(small && len > window as u64, "{}", error);
            }
        }
    }
}

const PAGES: usize = 16;

#[derive(Clone, Debug)]
enum Step {
    Input {
        page: usize,
        pages: usize,
        half: bool,
    },
    Output {
        page: usize,
        pages: usize,
    },
    Fill {
        page: usize,
    },
    Detach {
        which: usize,
    },
    Finish {
        which: usize,
    },
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let page = 0..PAGES;
    let pages = 0..6_usize;
    prop_oneof![
        4 => (page.clone(), pages.clone(), any::<bool>())
            .prop_map(|(page, pages, half)| Step::Input { page, pages, half }),
        3 => (page.clone(), pages).prop_map(|(page, pages)| Step::Output { page, pages }),
        3 => page.prop_map(|page| Step::Fill { page }),
        4 => (0..8_usize).prop_map(|which| Step::Detach { which }),
        2 => (0..8_usize).prop_map(|which| Step::Finish { which }),
        1 => Just(Step::Clear),
    ]
}

/// One byte per page says what should be seen there.
struct Model {
    memory: Memory,
    set: WindowSet,
    limits: WindowLimits,
    store: SegmentStore,
    payload: Arc<Segment>,
    pages: [u8; PAGES],
    attached: Vec<(WindowKey, usize, usize, bool)>,
    stamp: u8,
}

impl Model {
    fn new() -> Self {
        let store = SegmentStore::new(StoreOptions {
            huge_pages: false,
            ..StoreOptions::default()
        })
        .expect("memfds work");
        let mut payload = store
            .create_mappable(3 * page_bytes())
            .expect("there is room");
        let content = vec![0xAB; 3 * page_bytes() as usize];
        payload.write_at(0, &content).expect("it fits");
        let limits = WindowLimits {
            count: 4,
            bytes: 12 * page_bytes(),
        };
        Self {
            memory: Memory::new(PAGES),
            set: WindowSet::new(limits),
            limits,
            payload: store.publish(payload).expect("its own"),
            store,
            pages: [0; PAGES],
            attached: Vec::new(),
            stamp: 0,
        }
    }

    fn bytes(&self) -> u64 {
        let pages: usize = self.attached.iter().map(|(_, _, pages, _)| pages).sum();
        pages as u64 * page_bytes()
    }

    /// What attaching there must answer; `needed` in pages.
    fn check(&self, page: usize, pages: usize, needed: usize, error: Option<&WindowError>) {
        let overlaps = |from: usize, len: usize| page < from + len && from < page + pages;
        let in_use = pages > 0 && self.attached.iter().any(|a| a.2 > 0 && overlaps(a.1, a.2));
        let too_many = self.attached.len() >= self.limits.count;
        let too_much = self.bytes() + pages as u64 * page_bytes() > self.limits.bytes;
        let right = match error {
            None => !in_use && !too_many && !too_much && needed <= pages,
            Some(WindowError::InUse) => in_use,
            Some(WindowError::Limit(WindowLimit::Count { .. })) => too_many,
            Some(WindowError::Limit(WindowLimit::Bytes { .. })) => too_much,
            Some(WindowError::TooSmall { .. }) => needed > pages,
            Some(_) => false,
        };
        assert!(right, "{error:?} at {page}, {pages} pages");
    }

    fn apply(&mut self, step: &Step) {
        let page_len = page_bytes() as usize;
        match *step {
            Step::Input { page, pages, half } => {
                let pages = pages.min(PAGES - page);
                let (addr, len) = (self.memory.start + page * page_len, pages * page_len);
                if half {
                    // SAFETY: memory of this test.
                    let result = unsafe { self.set.attach_input(addr + 8, len, &self.payload) };
                    assert!(result.is_err(), "misaligned or too small");
                    return;
                }
                // SAFETY: memory of this test, as windows want it.
                let result = unsafe { self.set.attach_input(addr, len, &self.payload) };
                self.check(page, pages, 3, result.as_ref().err());
                if let Ok((key, offset)) = result {
                    assert_eq!(offset, 0);
                    self.pages[page..page + 3].fill(0xAB);
                    self.attached.push((key, page, pages, false));
                }
            }
            Step::Output { page, pages } => {
                let pages = pages.min(PAGES - page);
                let (addr, len) = (self.memory.start + page * page_len, pages * page_len);
                let segment = self
                    .store
                    .create_mappable(2 * page_bytes())
                    .expect("there is room");
                // SAFETY: memory of this test, as windows want it.
                let result = unsafe { self.set.attach_output(addr, len, segment) };
                self.check(page, pages, 2, result.as_ref().err());
                if let Ok((key, offset)) = result {
                    assert_eq!(offset, 0);
                    self.pages[page..page + 2].fill(0);
                    self.attached.push((key, page, pages, true));
                }
            }
            Step::Fill { page } => {
                self.stamp = self.stamp.wrapping_add(1).max(1);
                self.pages[page] = self.stamp;
                self.memory.fill(page * page_len, page_len, self.stamp);
            }
            Step::Detach { which } => {
                if let Some((key, page, pages, _)) = self.take(which) {
                    self.set.detach(key).expect("it is attached");
                    self.pages[page..page + pages].fill(0);
                    assert!(self.set.detach(key).is_err(), "a key is used once");
                }
            }
            Step::Finish { which } => {
                if let Some((key, page, pages, output)) = self.take(which) {
                    let result = self.set.finish_output(key);
                    assert_eq!(result.is_ok(), output);
                    match result {
                        Ok(segment) => self.published(segment, page),
                        Err(_) => self.set.detach(key).expect("an input stays attached"),
                    }
                    self.pages[page..page + pages].fill(0);
                }
            }
            Step::Clear => {
                self.set.clear();
                for (_, page, pages, _) in self.attached.drain(..) {
                    self.pages[page..page + pages].fill(0);
                }
            }
        }
    }

    fn published(&self, segment: WritableSegment, page: usize) {
        let segment = self.store.publish(segment).expect("its own");
        let map = segment.map().expect("mappings are left");
        for (bytes, value) in map.chunks(page_bytes() as usize).zip(&self.pages[page..]) {
            assert!(bytes.iter().all(|byte| byte == value));
        }
        self.store.free(segment.id());
    }

    fn take(&mut self, which: usize) -> Option<(WindowKey, usize, usize, bool)> {
        let count = self.attached.len();
        (count > 0).then(|| self.attached.swap_remove(which % count))
    }

    fn verify(&self) {
        let page_len = page_bytes() as usize;
        assert_eq!(self.set.len(), self.attached.len());
        assert_eq!(self.set.bytes(), self.bytes());
        assert!(self.set.peak_bytes() >= self.set.bytes());
        assert!(self.set.bytes() <= self.limits.bytes);
        for (page, value) in self.pages.iter().enumerate() {
            for offset in [0, page_len / 2, page_len - 1] {
                assert_eq!(
                    self.memory.byte(page * page_len + offset),
                    *value,
                    "page {page}"
                );
            }
        }
        let mut content = vec![0; 3 * page_len];
        self.payload.read_at(0, &mut content).expect("in range");
        assert!(
            content.iter().all(|byte| *byte == 0xAB),
            "the payload changed"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Every step has the outcome that the model demands, and every page shows what it should.
    #[test]
    fn a_set_of_windows_behaves_as_its_model(steps in prop::collection::vec(step(), 1..60)) {
        let mut model = Model::new();
        for step in &steps {
            model.apply(step);
            model.verify();
        }
        let Model { memory, set, store, payload, .. } = model;
        drop(set);
        store.free(payload.id());
        drop(payload);
        prop_assert_eq!(store.statistics().live_bytes, 0);
        let left = (0..memory.len).step_by(512).any(|at| memory.byte(at) == 0xAB);
        prop_assert!(!left, "a part of the payload stayed");
    }
}
