//! Guests and segments of another store.

use crate::guest::{Pool, Reset, WINDOW, published};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use taps_payload::{SegmentStore, StoreOptions};

fn store(id_space: u32) -> SegmentStore {
    SegmentStore::new(StoreOptions {
        id_space,
        ..StoreOptions::default()
    })
    .expect("memfds work")
}

/// The owner keeps the segment until it is told; then the memory goes round.
#[test]
fn a_window_in_another_store_keeps_the_memory_from_being_recycled() {
    const LEN: usize = 3 << 20;
    let (one, two) = (store(0), store(1));
    let segment = published(&one, &vec![0xAB; LEN]);
    let ends = Arc::new(AtomicUsize::new(0));
    let exported = segment.export().expect("procfs is mounted");
    let memory = two.import(exported.info, exported.file).expect("sound");
    // What the owner keeps until it is told.
    let kept = Arc::new(parking_lot::Mutex::new(Some(segment.clone())));
    let on_last = {
        let (ends, kept) = (Arc::clone(&ends), Arc::clone(&kept));
        Box::new(move || {
            ends.fetch_add(1, Ordering::SeqCst);
            kept.lock().take();
        })
    };
    let other = two
        .adopt(segment.reference(), segment.place(), &memory, on_last)
        .expect("it is new there");
    let first = segment.place().memory;
    one.free(segment.id());
    drop(segment);

    let pool = Pool::new(Reset::Product);
    let mut guest = pool.guest(&two);
    let offset = guest
        .attach_input(WINDOW, 9 << 20, &other)
        .expect("it fits");
    two.free(other.id());
    drop(other);
    let next = published(&one, &vec![0xCD; LEN]);
    assert_ne!(next.place().memory, first);
    assert!(guest.is_all(WINDOW + offset, LEN as u32, 0xAB));
    assert_eq!(ends.load(Ordering::SeqCst), 0, "the window is a reader");
    guest.fill(WINDOW + offset, LEN as u32, 0xEE);
    drop(guest);
    assert_eq!(ends.load(Ordering::SeqCst), 1);
    let next = published(&one, &vec![0xCD; LEN]);
    assert_eq!(next.place().memory, first, "recycled now");
    assert!(pool.guest(&two).is_pristine());
}
