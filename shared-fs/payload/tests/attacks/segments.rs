//! The life of segments and files, when guests and owners misbehave.

use crate::guest::{PAGE, Pool, Reset, WINDOW, is_all, published};
use std::fs;
use taps_payload::{
    FileError, FilePayload, FileRef, FullReason, SegmentStore, StoreError, StoreOptions,
};

const MIB: usize = 1 << 20;

fn segments() -> SegmentStore {
    SegmentStore::new(StoreOptions::default()).expect("memfds work")
}

/// A store whose next segment certainly gets the memory of the last.
fn greedy() -> SegmentStore {
    SegmentStore::new(StoreOptions {
        limit_bytes: Some(4 * MIB as u64),
        ..StoreOptions::default()
    })
    .expect("memfds work")
}

/// (c) Even a holder of a writable descriptor cannot take pages away under a mapping.
#[test]
fn nobody_can_shrink_a_segment() {
    // No other test of this process uses this size.
    let len = 13 * MIB;
    let segments = segments();
    let payload = published(&segments, &vec![0xAB; len]);
    let map = payload.map().expect("mappings are left");
    let mut found = 0;
    for entry in fs::read_dir("/proc/self/fd").expect("procfs is mounted") {
        let path = entry.expect("readable").path();
        // Other tests close theirs meanwhile.
        let size = fs::metadata(&path).map_or(0, |metadata| metadata.len() as usize);
        if !(len..len + 2 * MIB).contains(&size) {
            continue;
        }
        found += 1;
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .expect("it is ours");
        for len in [0, 1, 4096, 1 << 40] {
            file.set_len(len).expect_err("the size is sealed");
        }
        // Nor can anybody forbid writing to memory that is recycled.
        let sealed = rustix::fs::fcntl_add_seals(&file, rustix::fs::SealFlags::WRITE);
        assert_eq!(sealed, Err(rustix::io::Errno::PERM));
    }
    assert_eq!(found, 1, "the segment has a descriptor");
    assert!(map.iter().all(|byte| *byte == 0xAB));
}

/// (c) The owner of a file may truncate it at any time. That is an error, never a signal.
#[test]
fn a_truncated_file_is_an_error() {
    let path = std::env::temp_dir().join(format!("taps-truncated-{}", std::process::id()));
    fs::write(&path, vec![7; MIB]).expect("the directory is writable");
    let reference = FileRef::open(&path).expect("a regular file");
    let open = FilePayload::open(&reference).expect("it did not change");
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("it exists")
        .set_len(4096)
        .expect("ours");
    let mut buffer = vec![0; MIB];
    // While open: what is left can be read, the rest is an error.
    assert_eq!(open.read_at(0, &mut buffer[..4096]).expect("left"), 4096);
    for offset in [0, 4000, 4096, 9000] {
        let error = open.read_at(offset, &mut buffer).expect_err("cut off");
        assert!(matches!(error, FileError::Changed { .. }), "{error}");
        assert!(error.to_string().contains("taps-truncated"), "{error}");
    }
    // And when opened again.
    let error = FilePayload::open(&reference).expect_err("it changed");
    assert!(matches!(error, FileError::Changed { .. }), "{error}");
    fs::remove_file(&path).expect("ours");
    let error = FilePayload::open(&reference).expect_err("it is gone");
    assert!(matches!(error, FileError::Io { .. }), "{error}");
}

/// (e) The run frees a segment that a window shows: the window goes on showing it.
#[test]
fn a_freed_segment_is_not_recycled_while_a_window_shows_it() {
    let segments = greedy();
    let pool = Pool::new(Reset::Product);
    let payload = published(&segments, &vec![0xAB; 3 * MIB]);
    let mut guest = pool.guest(&segments);
    let offset = guest
        .attach_input(WINDOW, 8 << 20, &payload)
        .expect("it fits");
    segments.free(payload.id());
    assert!(segments.get(payload.id()).is_none());
    drop(payload);
    assert_eq!(segments.statistics().live_bytes, 4 * MIB as u64);
    let error = segments.create(3 * MIB as u64).expect_err("still in use");
    assert!(
        matches!(
            error,
            StoreError::Full {
                reason: FullReason::Limit,
                ..
            }
        ),
        "{error}"
    );
    assert!(guest.is_all(WINDOW + offset, 3 << 20, 0xAB));
    guest.detach(0).expect("attached");
    assert_eq!(segments.statistics().live_bytes, 0);
    let next = segments.create(3 * MIB as u64).expect("the memory is free");
    assert_eq!(segments.statistics().recycled, 1);
    drop(next);
}

/// (e) The same with readers on the host.
#[test]
fn a_freed_segment_is_not_recycled_while_the_host_reads_it() {
    let segments = greedy();
    let payload = published(&segments, &vec![0xAB; 3 * MIB]);
    let map = payload.map().expect("mappings are left");
    segments.free(payload.id());
    drop(payload);
    segments.create(3 * MIB as u64).expect_err("still in use");
    assert!(map.iter().all(|byte| *byte == 0xAB));
    drop(map);
    segments.create(3 * MIB as u64).expect("the memory is free");
}

/// (j) Recycled memory shows its new owner nothing of the old, whichever way either used it.
#[test]
fn the_next_owner_of_a_segment_sees_zeros() {
    #[derive(Clone, Copy, Debug)]
    enum Use {
        Written,
        Mapped,
        Abandoned,
    }
    for size in [5000_u32, 3 << 20] {
        for old in [Use::Written, Use::Mapped, Use::Abandoned] {
            let segments = segments();
            let pool = Pool::new(Reset::Product);
            let secret = |segments: &SegmentStore| {
                let mut guest = pool.guest(segments);
                match old {
                    Use::Written => {
                        let payload = published(segments, &vec![0x5E; size as usize]);
                        segments.free(payload.id());
                    }
                    Use::Mapped | Use::Abandoned => {
                        guest
                            .attach_output(WINDOW, 8 << 20, u64::from(size))
                            .expect("it fits");
                        guest.fill(WINDOW, 8 << 20, 0x5E);
                        if matches!(old, Use::Mapped) {
                            let payload = guest.publish(0).expect("an output");
                            segments.free(payload.id());
                        }
                    }
                }
            };
            let recycled = |segments: &SegmentStore| {
                let count = segments.statistics().recycled;
                assert!(count > 0, "{old:?} {size}: the memory is recycled");
            };

            // A window of the next guest, mapped as far as it goes.
            secret(&segments);
            let mut guest = pool.guest(&segments);
            guest
                .attach_output(WINDOW, 8 << 20, u64::from(size))
                .expect("it fits");
            recycled(&segments);
            assert!(guest.is_all(WINDOW, 8 << 20, 0), "{old:?} {size}");
            drop(guest);

            // A payload that its owner wrote in part, in two places, read by another.
            secret(&segments);
            let mut part = segments
                .create_mappable(u64::from(size))
                .expect("there is room");
            part.write_at(10, &[1; 10]).expect("it fits");
            part.write_at(u64::from(size) - 10, &[1; 10])
                .expect("it fits");
            let part = segments.publish(part).expect("not attached");
            let mut expected = vec![0; size as usize];
            expected[10..20].fill(1);
            expected[size as usize - 10..].fill(1);
            assert!(
                *part.map().expect("mappings are left") == *expected,
                "{old:?} {size}"
            );
            let mut guest = pool.guest(&segments);
            let offset = guest.attach_input(WINDOW, 8 << 20, &part).expect("it fits");
            let after = WINDOW + offset + size;
            assert!(
                guest.is_all(after, WINDOW + (8 << 20) - after, 0),
                "{old:?} {size}"
            );
            drop(guest);
            segments.free(part.id());
            drop(part);

            // A smaller payload in the same memory, seen through the largest window.
            secret(&segments);
            let small = published(&segments, &vec![1; size as usize - 4500]);
            let mut guest = pool.guest(&segments);
            let offset = guest
                .attach_input(WINDOW, 8 << 20, &small)
                .expect("it fits");
            let after = WINDOW + offset + size - 4500;
            assert!(
                guest.is_all(after, WINDOW + (8 << 20) - after, 0),
                "{old:?} {size}"
            );
        }
    }
}

/// An output that was published cannot be written through the window that made it.
#[test]
fn a_published_output_is_out_of_the_guests_reach() {
    let segments = segments();
    let pool = Pool::new(Reset::Product);
    let mut guest = pool.guest(&segments);
    guest.attach_output(WINDOW, PAGE, 4096).expect("it fits");
    guest.fill(WINDOW, PAGE, 0xAB);
    let output = guest.publish(0).expect("an output");
    guest.fill(WINDOW, PAGE, 0xCD);
    assert!(is_all(&output, 0xAB));
}

/// Segments of another store are not mixed in.
#[test]
fn a_segment_is_published_where_it_was_made() {
    let (one, other) = (segments(), segments());
    let segment = one.create(10).expect("there is room");
    let error = other.publish(segment).expect_err("not its own");
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    assert_eq!(one.statistics().live_bytes, 0);
}

/// Whoever still reads when the store is gone goes on reading.
#[test]
fn readers_outlive_the_store() {
    let segments = segments();
    let payload = published(&segments, &[0xAB; 5000]);
    let map = payload.map().expect("mappings are left");
    drop((segments, payload));
    assert!(map.iter().all(|byte| *byte == 0xAB));
}
