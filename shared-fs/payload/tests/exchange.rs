//! Segments that cross from one store to another, as between processes, and the account they share.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use taps_payload::{
    Medium, MemoryInfo, Place, Segment, SegmentId, SegmentRef, SegmentStore, SharedAccount,
    StoreError, StoreOptions,
};

const LIMIT_BYTES: u64 = 64 << 20;

fn account(slots: usize) -> SharedAccount {
    SharedAccount::create(LIMIT_BYTES, slots).expect("memfds work")
}

/// Stores of different id spaces that share an account.
fn store(account: &SharedAccount, index: u32) -> SegmentStore {
    SegmentStore::new(StoreOptions {
        id_space: index,
        account: account.slot(index as usize),
        ..StoreOptions::default()
    })
    .expect("memfds work")
}

fn published(store: &SegmentStore, bytes: &[u8]) -> Arc<Segment> {
    let mut segment = store.create(bytes.len() as u64).expect("there is room");
    segment.write_at(0, bytes).expect("it fits");
    store.publish(segment).expect("its own")
}

/// Adopts a segment as another process would, and counts the calls of `on_last`.
fn adopted(segment: &Segment, into: &SegmentStore, ends: &Arc<AtomicUsize>) -> Arc<Segment> {
    let exported = segment.export().expect("procfs is mounted");
    let memory = into.import(exported.info, exported.file).expect("sound");
    let ends = Arc::clone(ends);
    let on_last = Box::new(move || {
        ends.fetch_add(1, Ordering::SeqCst);
    });
    into.adopt(segment.reference(), segment.place(), &memory, on_last)
        .expect("it is new there")
}

#[test]
fn an_adopted_segment_has_the_bytes_and_tells_its_end_once() {
    let account = account(2);
    let (one, two) = (store(&account, 0), store(&account, 1));
    for len in [1_usize, 5000, 100_000, 3 << 20] {
        let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        let segment = published(&one, &bytes);
        let ends = Arc::new(AtomicUsize::new(0));
        let other = adopted(&segment, &two, &ends);
        assert_eq!(other.reference(), segment.reference());
        assert_eq!(other.place(), segment.place());
        assert_eq!(other.is_mappable(), segment.is_mappable());
        let mut read = vec![0; len + 10];
        assert_eq!(other.read_at(0, &mut read).expect("in range"), len);
        assert!(read[..len] == bytes);
        let map = other.map().expect("mappings are left");
        assert!(*map == bytes);

        // What was adopted can be passed on.
        let again = other.export().expect("procfs is mounted");
        let segment_info = segment.export().expect("procfs is mounted").info;
        assert_eq!(again.info, segment_info);

        two.free(other.id());
        assert!(two.get(other.id()).is_none());
        drop(other);
        assert_eq!(ends.load(Ordering::SeqCst), 0, "the mapping is a reader");
        drop(map);
        assert_eq!(ends.load(Ordering::SeqCst), 1);
        one.free(segment.id());
    }
}

#[test]
fn ids_of_stores_do_not_meet() {
    let account = account(3);
    let mut ids = std::collections::HashSet::new();
    for index in 0..3 {
        let store = store(&account, index);
        for _ in 0..10 {
            let segment = published(&store, &vec![1; 3 << 20]);
            assert_eq!(segment.id().0 >> 40, u64::from(index));
            assert_eq!(segment.place().memory.0 >> 40, u64::from(index));
            assert!(ids.insert(segment.id()));
        }
    }
    let options = StoreOptions {
        id_space: 1 << 24,
        ..StoreOptions::default()
    };
    SegmentStore::new(options).expect_err("the id space has 24 bits");
}

/// What another process says is checked before it is believed.
#[test]
fn forged_names_and_places_are_refused() {
    let account = account(2);
    let (one, two) = (store(&account, 0), store(&account, 1));
    let segment = published(&one, &[0xAB; 5000]);
    let ends = Arc::new(AtomicUsize::new(0));
    let _other = adopted(&segment, &two, &ends);
    let exported = segment.export().expect("procfs is mounted");
    let memory = two.import(exported.info, exported.file).expect("sound");
    let adopt = |id, len, place| {
        two.adopt(
            SegmentRef { id, len },
            place,
            &memory,
            Box::new(|| panic!("it was never adopted")),
        )
        .expect_err("forged")
    };
    let place = segment.place();
    let error = adopt(segment.id(), 5000, place);
    assert!(matches!(error, StoreError::Known { .. }), "{error}");
    // In the id space of the adopting store itself.
    let error = adopt(SegmentId((1 << 40) + 99), 5000, place);
    assert!(matches!(error, StoreError::Known { .. }), "{error}");
    let fresh = SegmentId(77);
    let capacity = memory.info().capacity;
    for (len, offset) in [
        (capacity + 1, place.offset),
        (1, capacity),
        (1, u64::MAX),
        (u64::MAX, place.offset),
        (1, place.offset + 1),
    ] {
        let error = adopt(fresh, len, Place { offset, ..place });
        assert!(
            matches!(error, StoreError::Misplaced { .. }),
            "{len} {offset} {error}"
        );
    }
    let mut elsewhere = place;
    elsewhere.memory.0 += 1;
    let error = adopt(fresh, 1, elsewhere);
    assert!(matches!(error, StoreError::Misplaced { .. }), "{error}");
    assert_eq!(ends.load(Ordering::SeqCst), 0);
}

/// A memory that could become shorter, or that lies on a disk, would end the process that maps it.
#[test]
fn memories_that_are_not_what_they_are_said_to_be_are_refused() {
    let account = account(2);
    let (one, two) = (store(&account, 0), store(&account, 1));
    let segment = published(&one, &vec![0xAB; 3 << 20]);
    let exported = segment.export().expect("procfs is mounted");
    let info = exported.info;
    let file = || exported.file.try_clone().expect("ours");
    two.import(info, file()).expect("sound");
    let capacity = info.capacity + 1;
    two.import(MemoryInfo { capacity, ..info }, file())
        .expect_err("shorter than it is said to be");
    let open = rustix::fs::memfd_create("taps-open", rustix::fs::MemfdFlags::ALLOW_SEALING);
    let open = std::fs::File::from(open.expect("memfds work"));
    open.set_len(info.capacity).expect("ours");
    let sealed = MemoryInfo {
        medium: Medium::Memfd,
        ..info
    };
    two.import(sealed, open.into()).expect_err("not sealed");
    let disk = std::fs::File::open(std::env::current_exe().expect("it runs")).expect("readable");
    let on_disk = MemoryInfo {
        capacity: 4096,
        medium: Medium::Tmpfs,
        mappable: true,
        ..info
    };
    if rustix::fs::fstatfs(&disk).expect("ours").f_type != 0x0102_1994 {
        two.import(on_disk, disk.into()).expect_err("not in memory");
    }
}

/// The process of a slot is dead: what it held is gone, but for what others have of it.
#[test]
fn a_retired_slot_holds_what_others_still_have() {
    let account = account(3);
    let (one, two) = (store(&account, 0), store(&account, 1));
    one.trim();
    two.trim();
    assert_eq!(account.held_bytes(), 0);
    let segments: Vec<_> = (0..3).map(|_| published(&two, &vec![1; 4 << 20])).collect();
    let ends = Arc::new(AtomicUsize::new(0));
    let kept = adopted(&segments[0], &one, &ends);
    assert_eq!(account.held_bytes(), 12 << 20);
    assert_eq!(account.live_bytes(), 12 << 20);
    // As if its process ended here.
    std::mem::forget((segments, two));
    let capacity = kept.export().expect("procfs is mounted").info.capacity;
    account.retire(1, capacity);
    assert_eq!(account.held_bytes(), capacity);
    assert_eq!(account.live_bytes(), capacity);
    assert_eq!(*kept.map().expect("mappings are left"), *vec![1; 4 << 20]);
    one.free(kept.id());
    drop(kept);
    account.retire(1, 0);
    assert_eq!((account.held_bytes(), account.live_bytes()), (0, 0));
    assert_eq!(account.peak_live_bytes(), 12 << 20);
    account.retire(99, 5);
    assert_eq!(account.held_bytes(), 0);
}

/// An account is opened by its descriptor, as in another process.
#[test]
fn an_account_is_shared_by_its_descriptor() {
    use std::os::fd::AsFd as _;
    let account = account(2);
    let file = || account.as_fd().try_clone_to_owned().expect("ours");
    let other = SharedAccount::open(file(), 2).expect("as it was made");
    assert_eq!(other.limit_bytes(), LIMIT_BYTES);
    let two = store(&other, 1);
    let segment = published(&two, &vec![1; 4 << 20]);
    assert!(account.live_bytes() >= 4 << 20);
    drop((segment, two));
    assert_eq!(account.live_bytes(), 0);
    SharedAccount::open(file(), 3).expect_err("another number of slots");
    let words = taps_payload::SharedWords::create(100).expect("memfds work");
    let words = words.as_fd().try_clone_to_owned().expect("ours");
    SharedAccount::open(words, 2).expect_err("not an account");
}

/// What one store keeps for reuse is given up when another needs it.
#[test]
fn memory_kept_for_reuse_does_not_starve_others() {
    let account = account(2);
    let (one, two) = (store(&account, 0), store(&account, 1));
    for _ in 0..2 {
        let many: Vec<_> = (0..8)
            .map(|_| one.create(4 << 20).expect("there is room"))
            .collect();
        drop(many);
    }
    assert!(
        one.statistics().free_bytes <= LIMIT_BYTES / 8,
        "a quarter among two"
    );
    let large = LIMIT_BYTES - (2 << 20);
    let error = two.create(large).expect_err("the other keeps some");
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    // It notices when it next gives memory back.
    drop(one.create(4 << 20).expect("it has some"));
    assert_eq!(one.statistics().free_bytes, 0);
    drop(two.create(large).expect("there is room now"));
}
