//! Guests against the host, against payloads, and against the next guest in their memory.

use crate::guest::{
    DATA, Guest, MEMORY, PAGE, Pool, RESETS, Reset, WINDOW, huge_bytes, is_all, mappings, published,
};
use taps_payload::{SegmentStore, StoreOptions};

const MIB: u32 = 1 << 20;

fn segments() -> SegmentStore {
    SegmentStore::new(StoreOptions::default()).expect("memfds work")
}

/// How a sandbox with windows may end.
#[derive(Clone, Copy, Debug)]
enum End {
    Detached,
    Dropped,
    Trapped,
}

const ENDS: [End; 3] = [End::Detached, End::Dropped, End::Trapped];

fn end(mut guest: Guest, end: End) {
    match end {
        End::Detached => {
            for window in 0..guest.store.data().keys.len() as u32 {
                guest.detach(window).expect("it is attached");
            }
        }
        End::Dropped => {}
        End::Trapped => guest.trap(),
    }
}

/// (a) Anonymous zero memory is the right thing to put back even over initialised data, because
/// the pool keeps no image of it.
#[test]
fn a_window_over_the_guests_own_data_leaves_it_to_the_next_guest() {
    let segments = segments();
    let payload = published(&segments, &[0xAB; 5000]);
    for reset in RESETS {
        let pool = Pool::new(reset);
        let base = pool.guest(&segments).base();
        for how in ENDS {
            let mut guest = pool.guest(&segments);
            assert_eq!(
                guest
                    .attach_input(DATA, 2 * PAGE, &payload)
                    .expect("it fits"),
                0
            );
            assert!(guest.is_all(DATA, 5000, 0xAB));
            end(guest, how);
            let mut next = pool.guest(&segments);
            assert_eq!(next.base(), base, "the slot is reused");
            assert!(next.is_pristine(), "{reset:?} {how:?}");
        }
    }
    assert!(is_all(&payload, 0xAB));
}

/// (b) The host writes where the guest's allocator says. In a read-only window that would be the
/// end of the host, in a shared one the end of the payload.
#[test]
fn realloc_into_an_input_window_leaves_the_payload_alone() {
    let segments = segments();
    let payload = published(&segments, &vec![0xAB; 3 * MIB as usize]);
    let pool = Pool::new(Reset::Product);
    let mut guest = pool.guest(&segments);
    let offset = guest
        .attach_input(WINDOW, 8 * MIB, &payload)
        .expect("it fits");
    let inside = WINDOW + offset + 100;
    guest.choose(inside);
    assert_eq!(guest.take(2 * MIB).expect("the host survives"), inside);
    assert!(
        guest.is_all(inside, 2 * MIB, 0xEE),
        "the guest gets its list"
    );
    assert!(is_all(&payload, 0xAB), "the payload does not change");
    drop(guest);
    assert!(pool.guest(&segments).is_pristine());
    assert!(is_all(&payload, 0xAB));
}

/// (b) Into an output window the host writes what it would write anyway.
#[test]
fn realloc_into_an_output_window_is_the_guests_own_affair() {
    let segments = segments();
    let pool = Pool::new(Reset::Product);
    let mut guest = pool.guest(&segments);
    let offset = guest
        .attach_output(WINDOW, 4 * PAGE, 3 * 4096)
        .expect("it fits");
    guest.choose(WINDOW + offset);
    guest.take(3 * PAGE).expect("the host survives");
    let output = guest.publish(0).expect("it is an output");
    assert!(is_all(&output, 0xEE));
    drop(guest);
    assert!(pool.guest(&segments).is_pristine());
}

/// (f) A mapping that nobody undid: the data of the store is dropped before its memory.
#[test]
fn a_trap_with_windows_attached_leaves_nothing_behind() {
    let segments = segments();
    let payload = published(&segments, &vec![0xAB; 3 * MIB as usize]);
    let live_bytes = segments.statistics().live_bytes;
    for reset in RESETS {
        let pool = Pool::new(reset);
        let base = pool.guest(&segments).base();
        let before = mappings(base, MEMORY as usize);
        for how in ENDS {
            let mut guest = pool.guest(&segments);
            guest
                .attach_input(WINDOW, 6 * MIB, &payload)
                .expect("it fits");
            guest
                .attach_output(WINDOW + 6 * MIB, 6 * MIB, 5 << 20)
                .expect("it fits");
            guest.fill(WINDOW, 12 * MIB, 0xCD);
            end(guest, how);
            assert_eq!(mappings(base, MEMORY as usize), before, "{reset:?} {how:?}");
            assert!(pool.guest(&segments).is_pristine(), "{reset:?} {how:?}");
            assert!(is_all(&payload, 0xAB));
        }
    }
    // The outputs of guests that never published are free again.
    drop(payload);
    assert_eq!(segments.statistics().live_bytes, live_bytes);
}

/// (g) Two guests in one slot: what the first writes into its input reaches nobody.
#[test]
fn writes_to_an_input_window_stay_in_the_sandbox() {
    let segments = segments();
    let payload = published(&segments, &vec![0xAB; 3 * MIB as usize]);
    for reset in RESETS {
        let pool = Pool::new(reset);
        let mut first = pool.guest(&segments);
        let offset = first
            .attach_input(WINDOW, 8 * MIB, &payload)
            .expect("it fits");
        first.fill(WINDOW + offset, 3 * MIB, 0xCD);
        assert!(is_all(&payload, 0xAB), "{reset:?}");
        drop(first);
        let mut second = pool.guest(&segments);
        assert!(second.is_pristine(), "{reset:?}");
        let offset = second
            .attach_input(WINDOW, 8 * MIB, &payload)
            .expect("it fits");
        assert!(second.is_all(WINDOW + offset, 3 * MIB, 0xAB), "{reset:?}");
    }
}

/// The whole memory as a window, stack, data and all.
#[test]
fn a_window_over_all_of_memory_harms_nobody() {
    let segments = segments();
    let payload = published(&segments, &vec![0xAB; MEMORY as usize]);
    for how in ENDS {
        let pool = Pool::new(Reset::Product);
        let mut guest = pool.guest(&segments);
        guest.attach_input(0, MEMORY, &payload).expect("it fits");
        assert!(guest.is_all(0, MEMORY, 0xAB));
        guest.fill(0, MEMORY, 0xCD);
        end(guest, how);
        assert!(pool.guest(&segments).is_pristine(), "{how:?}");
        assert!(is_all(&payload, 0xAB));
    }
}

/// Windows stay what they are when memory grows around them, and new memory is zero.
#[test]
fn memory_may_grow_while_windows_are_attached() {
    let segments = segments();
    let payload = published(&segments, &[0xAB; 4096]);
    let pool = Pool::new(Reset::Product);
    let mut guest = pool.guest(&segments);
    let last_page = MEMORY - PAGE;
    guest
        .attach_input(last_page, PAGE, &payload)
        .expect("it fits");
    assert_eq!(guest.grow(16), 320);
    assert!(guest.is_all(last_page, PAGE, 0xAB));
    assert!(guest.is_all(MEMORY, MIB, 0));
    guest.attach_output(MEMORY, MIB, 1 << 20).expect("it fits");
    guest.fill(MEMORY, MIB, 0xCD);
    drop(guest);
    let mut next = pool.guest(&segments);
    assert!(next.is_pristine());
    assert_eq!(next.grow(16), 320);
    assert!(next.is_all(MEMORY, MIB, 0));
}

/// Detaching gives zero memory, slack included, and the kernel merges the mappings again.
#[test]
fn detaching_leaves_zeros_in_the_whole_window() {
    let segments = segments();
    for len in [1_usize, 5000, 3 << 20, 5 << 20] {
        let payload = published(&segments, &vec![0xAB; len]);
        let pool = Pool::new(Reset::Product);
        let mut guest = pool.guest(&segments);
        let base = guest.base();
        let before = mappings(base, MEMORY as usize);
        for round in 0..3 {
            guest.fill(WINDOW, 10 * MIB, 0xCD);
            let offset = guest
                .attach_input(WINDOW, 10 * MIB, &payload)
                .expect("it fits");
            assert!(guest.is_all(WINDOW + offset, len as u32, 0xAB));
            assert!(mappings(base, MEMORY as usize).1);
            guest.detach(round).expect("it is attached");
            assert!(guest.is_all(WINDOW, 10 * MIB, 0));
            assert_eq!(mappings(base, MEMORY as usize), before);
        }
    }
}

/// The content of a payload arrives, from the first byte to the last, whatever its size, and the
/// rest of the mapping is zero.
#[test]
fn windows_show_exactly_the_payload() {
    let segments = segments();
    let pool = Pool::new(Reset::Product);
    let mut guest = pool.guest(&segments);
    let base = guest.base();
    for len in [
        1_u32,
        4095,
        4096,
        4097,
        2 * MIB - 1,
        2 * MIB,
        2 * MIB + 1,
        5 * MIB + 77,
    ] {
        let payload = published(&segments, &vec![0xAB; len as usize]);
        // Exactly the pages, a little more, and enough to align.
        let pages = len.next_multiple_of(PAGE);
        for window in [pages, pages + 2 * PAGE, pages + 4 * MIB] {
            let offset = guest
                .attach_input(WINDOW, window, &payload)
                .expect("it fits");
            assert!(guest.is_all(WINDOW + offset, len, 0xAB));
            let after = WINDOW + offset + len;
            assert!(
                guest.is_all(after, WINDOW + window - after, 0),
                "{len} {window}"
            );
            if payload.has_huge_pages() && window >= pages + 2 * MIB {
                let start = base + (WINDOW + offset) as usize;
                assert!(start.is_multiple_of(2 << 20), "{len} {window}");
            }
            guest.store.data_mut().windows.clear();
            assert!(guest.store.data().windows.is_empty());
        }
    }
}

/// A payload may be attached twice, and outputs next to it.
#[test]
fn windows_of_one_sandbox_do_not_disturb_each_other() {
    let segments = segments();
    let payload = published(&segments, &[0xAB; 4096]);
    let pool = Pool::new(Reset::Product);
    let mut guest = pool.guest(&segments);
    for i in 0..3 {
        guest
            .attach_input(WINDOW + 2 * i * PAGE, PAGE, &payload)
            .expect("it fits");
        guest
            .attach_output(WINDOW + (2 * i + 1) * PAGE, PAGE, 4096)
            .expect("it fits");
    }
    guest.fill(WINDOW, 6 * PAGE, 0xCD);
    assert!(is_all(&payload, 0xAB));
    // The middle ones first, so that neighbours stay.
    guest.detach(2).expect("attached");
    let output = guest.publish(3).expect("attached");
    assert!(is_all(&output, 0xCD));
    assert!(guest.is_all(WINDOW, 2 * PAGE, 0xCD));
    assert!(guest.is_all(WINDOW + 2 * PAGE, 2 * PAGE, 0));
    assert!(guest.is_all(WINDOW + 4 * PAGE, 2 * PAGE, 0xCD));
}

/// Where the kernel gives huge pages, windows with room for them are made of them, whole, as long
/// as inputs are only read.
#[test]
fn large_windows_have_huge_pages() {
    let segments = segments();
    if !segments.info().huge_pages {
        eprintln!("skipped: {}", segments.info().reason);
        return;
    }
    let payload = published(&segments, &vec![0xAB; 5 * MIB as usize]);
    assert!(payload.has_huge_pages());
    let pool = Pool::new(Reset::Product);
    let mut guest = pool.guest(&segments);
    let base = guest.base();
    let at = base + WINDOW as usize;
    let offset = guest
        .attach_input(WINDOW, 9 * MIB, &payload)
        .expect("it fits");
    assert!(guest.is_all(WINDOW + offset, 5 * MIB, 0xAB));
    assert_eq!(huge_bytes(at, 9 << 20), 6 << 20);
    guest.detach(0).expect("attached");
    let offset = guest
        .attach_output(WINDOW, 9 * MIB, 5 << 20)
        .expect("it fits");
    guest.fill(WINDOW + offset, 5 * MIB, 0xCD);
    assert_eq!(huge_bytes(at, 9 << 20), 6 << 20);
}
