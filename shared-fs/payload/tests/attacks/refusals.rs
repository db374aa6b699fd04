//! What the host refuses, and that it survives being asked.

use crate::guest::{MEMORY, PAGE, Pool, Reset, WINDOW, published};
use taps_payload::{
    FullReason, SegmentStore, StoreError, StoreOptions, WindowError, WindowLimit, WindowLimits,
};

fn segments() -> SegmentStore {
    SegmentStore::new(StoreOptions::default()).expect("memfds work")
}

/// (h)
#[test]
fn overlapping_windows_are_refused() {
    let segments = segments();
    let payload = published(&segments, &[0xAB; 4096]);
    let pool = Pool::new(Reset::Product);
    let mut guest = pool.guest(&segments);
    let at = WINDOW + 8 * PAGE;
    guest.attach_input(at, 4 * PAGE, &payload).expect("it fits");
    // The same, from below, from above, inside, around.
    for (start, len) in [(8, 4), (7, 2), (11, 2), (9, 1), (6, 8), (8, 1), (11, 1)] {
        let (start, len) = (WINDOW + start * PAGE, len * PAGE);
        let input = guest.attach_input(start, len, &payload);
        assert!(matches!(input, Err(WindowError::InUse)), "{input:?}");
        let output = guest.attach_output(start, len, 100);
        assert!(matches!(output, Err(WindowError::InUse)), "{output:?}");
    }
    assert!(guest.is_all(at, PAGE, 0xAB), "what is attached stays");
    // Neighbours are no overlap, and a detached window is none either.
    guest
        .attach_input(WINDOW + 7 * PAGE, PAGE, &payload)
        .expect("below");
    guest
        .attach_input(WINDOW + 12 * PAGE, PAGE, &payload)
        .expect("above");
    guest.detach(0).expect("it is attached");
    guest.attach_input(at, PAGE, &payload).expect("it is free");
}

/// (i)
#[test]
fn misaligned_windows_are_refused() {
    let segments = segments();
    let payload = published(&segments, &[0xAB; 100]);
    let pool = Pool::new(Reset::Product);
    let mut guest = pool.guest(&segments);
    for (at, len) in [
        (1, PAGE),
        (2048, PAGE),
        (0, PAGE - 1),
        (0, 1),
        (0, 100),
        (4095, 1),
    ] {
        let input = guest.attach_input(WINDOW + at, len, &payload);
        assert!(
            matches!(input, Err(WindowError::Misaligned { .. })),
            "{input:?}"
        );
        let output = guest.attach_output(WINDOW + at, len, 100);
        assert!(
            matches!(output, Err(WindowError::Misaligned { .. })),
            "{output:?}"
        );
    }
    assert!(guest.is_pristine());
}

/// (i)
#[test]
fn windows_too_small_are_refused() {
    let segments = segments();
    let payload = published(&segments, &[0xAB; 4097]);
    let pool = Pool::new(Reset::Product);
    let mut guest = pool.guest(&segments);
    for len in [0, PAGE] {
        let input = guest.attach_input(WINDOW, len, &payload);
        assert!(
            matches!(input, Err(WindowError::TooSmall { .. })),
            "{input:?}"
        );
        let output = guest.attach_output(WINDOW, len, 4097);
        assert!(
            matches!(output, Err(WindowError::TooSmall { .. })),
            "{output:?}"
        );
    }
    // The segments made for the refused outputs are free again.
    assert_eq!(segments.statistics().live_bytes, 8192);
    // A payload without bytes needs no window.
    let empty = published(&segments, &[]);
    guest
        .attach_input(WINDOW, 0, &empty)
        .expect("nothing fits into nothing");
    guest.attach_input(3, 0, &empty).expect("wherever it is");
    guest
        .attach_output(WINDOW, 0, 0)
        .expect("nothing fits into nothing");
}

/// (i)
#[test]
fn windows_beyond_the_limits_are_refused() {
    let segments = segments();
    let payload = published(&segments, &[0xAB; 100]);
    let pool = Pool::new(Reset::Product);
    let limits = WindowLimits {
        count: 3,
        bytes: 4 * u64::from(PAGE),
    };
    let mut guest = pool.guest_with(&segments, limits);
    let at = |page: u32| WINDOW + page * PAGE;
    guest
        .attach_input(at(0), 2 * PAGE, &payload)
        .expect("2 pages of 4");
    let error = guest.attach_input(at(2), 3 * PAGE, &payload);
    assert!(
        matches!(error, Err(WindowError::Limit(WindowLimit::Bytes { .. }))),
        "{error:?}"
    );
    guest.attach_output(at(2), PAGE, 1).expect("3 pages of 4");
    guest
        .attach_input(at(3), PAGE, &payload)
        .expect("4 pages of 4");
    let error = guest.attach_output(at(4), 0, 0);
    assert!(
        matches!(
            error,
            Err(WindowError::Limit(WindowLimit::Count { limit: 3 }))
        ),
        "{error:?}"
    );
    guest.detach(1).expect("attached");
    guest
        .attach_input(at(4), PAGE, &payload)
        .expect("there is room again");
}

/// A list outside of memory never reaches the host function.
#[test]
fn windows_outside_of_memory_trap() {
    let segments = segments();
    let payload = published(&segments, &[0xAB; 100]);
    let pool = Pool::new(Reset::Product);
    for (at, len) in [
        (MEMORY, PAGE),
        (MEMORY - PAGE, 2 * PAGE),
        (u32::MAX - PAGE + 1, PAGE),
        (WINDOW, u32::MAX),
    ] {
        let mut guest = pool.guest(&segments);
        guest
            .attach_unchecked(at, len, payload.id().0)
            .expect_err("the canonical ABI checks bounds");
    }
    assert!(pool.guest(&segments).is_pristine());
}

/// Keys of detached windows and of inputs publish nothing.
#[test]
fn windows_are_detached_and_published_once() {
    let segments = segments();
    let payload = published(&segments, &[0xAB; 100]);
    let pool = Pool::new(Reset::Product);
    let mut guest = pool.guest(&segments);
    guest.attach_input(WINDOW, PAGE, &payload).expect("it fits");
    guest
        .attach_output(WINDOW + PAGE, PAGE, 100)
        .expect("it fits");
    let wrong = guest.publish(0);
    assert!(matches!(wrong, Err(WindowError::WrongState)), "{wrong:?}");
    assert!(guest.is_all(WINDOW, 100, 0xAB), "the input stays attached");
    guest.publish(1).expect("an output");
    for window in [1, 2, 99] {
        let again = guest.publish(window);
        assert!(matches!(again, Err(WindowError::WrongState)), "{again:?}");
        let again = guest.detach(window);
        assert!(matches!(again, Err(WindowError::WrongState)), "{again:?}");
    }
    guest.detach(0).expect("still attached");
    assert!(guest.is_pristine());
}

/// (d) A store that is full says so, and the guest and the host go on.
#[test]
fn a_full_store_is_refused_with_a_reason() {
    let segments = SegmentStore::new(StoreOptions {
        limit_bytes: Some(8 << 20),
        ..StoreOptions::default()
    })
    .expect("memfds work");
    let pool = Pool::new(Reset::Product);
    let mut guest = pool.guest(&segments);
    guest
        .attach_output(WINDOW, 8 << 20, 4 << 20)
        .expect("4 of 8 MiB");
    for size in [(4 << 20) + 1, 1 << 40, u64::MAX] {
        let error = guest.attach_output(WINDOW + (8 << 20), 8 << 20, size);
        assert!(
            matches!(
                error,
                Err(WindowError::StoreFull(StoreError::Full {
                    reason: FullReason::Limit,
                    ..
                }))
            ),
            "{error:?}"
        );
    }
    guest.fill(WINDOW, 8 << 20, 0xCD);
    guest.publish(0).expect("it is an output");
    assert_eq!(segments.statistics().live_bytes, 4 << 20);
    assert_eq!(segments.statistics().peak_bytes, 4 << 20);
}

/// (d) Every page of an output exists before the guest can touch it.
#[test]
fn an_output_window_can_be_filled_to_the_last_byte() {
    let segments = segments();
    let pool = Pool::new(Reset::Product);
    for size in [1_u32, 4096, 100_000, 2 << 20, 7 << 20, (7 << 20) + 1] {
        let mut guest = pool.guest(&segments);
        let window = size.next_multiple_of(PAGE) + (4 << 20);
        let offset = guest
            .attach_output(WINDOW, window, u64::from(size))
            .expect("it fits");
        assert!(guest.is_all(WINDOW + offset, size, 0), "it starts as zero");
        guest.fill(WINDOW, window, 0xCD);
        let output = guest.publish(0).expect("it is an output");
        assert_eq!(output.len(), u64::from(size));
        assert!(crate::guest::is_all(&output, 0xCD));
        drop(guest);
        segments.free(output.id());
    }
}
