//! What holders of descriptors, neighbours in a slab and other users may try.

use crate::guest::{PAGE, Pool, Reset, WINDOW};
use rustix::mm::{MapFlags, ProtFlags};
use std::{
    fs::{self, File},
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::process::CommandExt as _,
    },
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use taps_payload::{
    FullReason, Medium, Segment, SegmentStore, SharedAccount, StoreError, StoreKind, StoreOptions,
    WindowError,
};

const MIB: usize = 1 << 20;

fn store(kind: StoreKind) -> SegmentStore {
    SegmentStore::new(StoreOptions {
        kind,
        ..StoreOptions::default()
    })
    .expect("memfds work")
}

fn any(segments: &SegmentStore, content: &[u8]) -> Arc<Segment> {
    let mut segment = segments
        .create(content.len() as u64)
        .expect("there is room");
    segment.write_at(0, content).expect("it fits");
    segments.publish(segment).expect("its own")
}

/// Whether the file can be mapped so that others see what is written there.
#[expect(unsafe_code, reason = "a mapping of its own")]
fn can_be_mapped_for_writing(file: &File) -> bool {
    // SAFETY: a new mapping at an address of the kernel's choice; nothing refers to it.
    let mapped = unsafe {
        rustix::mm::mmap(
            std::ptr::null_mut(),
            PAGE as usize,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED,
            file.as_fd(),
            0,
        )
    };
    if let Ok(start) = mapped {
        // SAFETY: the mapping made just now.
        unsafe { rustix::mm::munmap(start, PAGE as usize) }.expect("it is mapped");
    }
    mapped.is_ok()
}

/// Whoever gets a descriptor can read, and that is all.
#[test]
fn an_exported_descriptor_cannot_change_a_payload() {
    for kind in [StoreKind::RecycledMemfd, StoreKind::SealedMemfd] {
        let segments = store(kind);
        for len in [5000, 3 * MIB] {
            let segment = any(&segments, &vec![0xAB; len]);
            let exported = segment.export().expect("procfs is mounted");
            assert_eq!(exported.info.medium, Medium::Memfd);
            let file = File::from(exported.file);
            rustix::io::pwrite(&file, b"x", 0).expect_err("read-only");
            assert!(!can_be_mapped_for_writing(&file), "{kind:?}");
            for len in [0, 4096, 1 << 30] {
                file.set_len(len)
                    .expect_err("read-only, and the size is sealed");
            }
            let punch =
                rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&file, punch, 0, 4096).expect_err("read-only");
            assert!(
                segment
                    .map()
                    .expect("mappings are left")
                    .iter()
                    .all(|b| *b == 0xAB)
            );
            segments.free(segment.id());
        }
    }
}

/// A sealed payload cannot be written even by the store that made it.
#[test]
fn a_sealed_payload_is_out_of_everybodys_reach() {
    let segments = store(StoreKind::SealedMemfd);
    assert_eq!(segments.info().kind, "sealed-memfd");
    let pool = Pool::new(Reset::Product);
    let mut guest = pool.guest(&segments);
    guest
        .attach_output(WINDOW, 8 << 20, 3 << 20)
        .expect("it fits");
    guest.fill(WINDOW, 8 << 20, 0xAB);
    let output = guest.publish(0).expect("an output");
    assert!(output.is_mappable());
    let memory = output.place().memory;
    let exported = output.export().expect("procfs is mounted");
    let own = format!("/proc/self/fd/{}", exported.file.as_raw_fd());
    // Root may open it for writing, and can write nothing.
    if let Ok(file) = fs::OpenOptions::new().write(true).open(own) {
        rustix::io::pwrite(&file, b"x", 0).expect_err("sealed");
        file.set_len(0).expect_err("sealed");
    }
    guest
        .attach_input(WINDOW, 8 << 20, &output)
        .expect("it fits");
    segments.free(output.id());
    drop((guest, output));
    assert_eq!(segments.statistics().free_bytes, 0, "never used again");
    let next = any(&segments, &vec![1; 3 * MIB]);
    assert_ne!(next.place().memory, memory);
}

/// Neighbours in a slab are not seen: neither by reading beyond the end, nor through a mapping.
#[test]
fn neighbours_in_a_slab_cannot_be_read() {
    let segments = store(StoreKind::Auto);
    let pool = Pool::new(Reset::Product);
    for len in [1_usize, 4096, 5000, 100_000, 300_000] {
        // What an earlier owner left, all over the slots.
        let old: Vec<_> = (0..8)
            .map(|_| any(&segments, &vec![0x5E; len.next_power_of_two()]))
            .collect();
        for segment in &old {
            segments.free(segment.id());
        }
        drop(old);
        let many: Vec<_> = (1..=8)
            .map(|value| any(&segments, &vec![value; len]))
            .collect();
        let memories: Vec<_> = many.iter().map(|segment| segment.place().memory).collect();
        assert!(
            memories.iter().all(|memory| *memory == memories[0]),
            "one slab"
        );
        for (segment, value) in many.iter().zip(1_u8..) {
            let mut bytes = vec![0xFF; len + 3 * PAGE as usize];
            assert_eq!(segment.read_at(0, &mut bytes).expect("in range"), len);
            assert!(bytes[..len].iter().all(|byte| *byte == value));
            assert!(
                bytes[len..].iter().all(|byte| *byte == 0xFF),
                "beyond the end"
            );
            for beyond in [len as u64, len as u64 + 1, u64::MAX] {
                assert_eq!(segment.read_at(beyond, &mut bytes).expect("the end"), 0);
            }
            let map = segment.map().expect("mappings are left");
            assert_eq!((map.len(), map.is_copy()), (len, false));
            assert!(map.iter().all(|byte| *byte == value));
            assert!(!segment.is_mappable());
            let mut guest = pool.guest(&segments);
            let error = guest
                .attach_input(WINDOW, 8 << 20, segment)
                .expect_err("neighbours");
            assert!(matches!(error, WindowError::NotMappable), "{error}");
        }
        for segment in &many {
            segments.free(segment.id());
        }
        // A new owner that writes little sees zeros and not what was there.
        drop(many);
        let mut part = segments.create(len as u64).expect("there is room");
        part.write_at(len as u64 / 2, &[9]).expect("it fits");
        let part = segments.publish(part).expect("its own");
        let mut bytes = vec![0xFF; len];
        part.read_at(0, &mut bytes).expect("in range");
        let mut expected = vec![0; len];
        expected[len / 2] = 9;
        assert!(bytes == expected, "{len}");
        segments.free(part.id());
    }
    assert_eq!(segments.statistics().live_bytes, 0, "slabs went back");
}

/// Writing beyond the end of a slot would be writing to a neighbour.
#[test]
fn nothing_is_written_beyond_a_segment_in_a_slab() {
    let segments = store(StoreKind::Auto);
    let neighbour = any(&segments, &[7; 5000]);
    let mut segment = segments.create(5000).expect("there is room");
    for (offset, len) in [(5000, 1), (0, 5001), (4999, 2), (8191, 1), (u64::MAX, 1)] {
        segment.write_at(offset, &vec![1; len]).expect_err("beyond");
    }
    assert!(segment.write_at(0, &[1; 5000]).is_ok());
    let _segment = segments.publish(segment).expect("its own");
    assert!(
        neighbour
            .map()
            .expect("mappings are left")
            .iter()
            .all(|byte| *byte == 7)
    );
    let pool = Pool::new(Reset::Product);
    let mut guest = pool.guest(&segments);
    guest
        .attach_output(WINDOW, PAGE, 4096)
        .expect("outputs are never in slabs");
}

/// Two stores that share a limit, with all their threads at once: it holds at every moment.
#[test]
fn stores_together_never_exceed_the_limit() {
    const LIMIT_BYTES: u64 = 24 << 20;
    let account = SharedAccount::create(LIMIT_BYTES, 2).expect("memfds work");
    let stores: Vec<SegmentStore> = (0..2)
        .map(|slot| {
            SegmentStore::new(StoreOptions {
                id_space: slot,
                account: account.slot(slot as usize),
                huge_pages: false,
                ..StoreOptions::default()
            })
            .expect("memfds work")
        })
        .collect();
    let (refused, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !ended.load(Ordering::SeqCst) {
                assert!(account.held_bytes() <= LIMIT_BYTES);
            }
        });
        let workers: Vec<_> = (0..4_u64)
            .map(|worker| {
                let (stores, refused) = (&stores, &refused);
                scope.spawn(move || {
                    let segments = &stores[worker as usize % 2];
                    let mut held = std::collections::VecDeque::new();
                    for round in 0..300_u64 {
                        let len = 1 + (round * 7919 + worker * 104_729) % (4 << 20);
                        match segments.create(len) {
                            Ok(segment) => held.push_back(segment),
                            Err(StoreError::Full { reason, .. }) => {
                                assert_eq!(reason, FullReason::Limit);
                                refused.fetch_add(1, Ordering::SeqCst);
                                held.clear();
                            }
                            Err(error) => panic!("{error}"),
                        }
                        if held.len() > 6 {
                            held.pop_front();
                        }
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().expect("no panic");
        }
        ended.store(true, Ordering::SeqCst);
        watcher.join().expect("no panic");
    });
    assert!(refused.load(Ordering::SeqCst) > 0, "the limit was reached");
    assert!(account.peak_held_bytes() <= LIMIT_BYTES);
    assert_eq!(account.live_bytes(), 0);
    drop(stores);
    assert_eq!(account.held_bytes(), 0);
}

/// A reader in another store, and an owner that recycles as fast as it can: the reader never sees
/// anything but what was published.
#[test]
fn a_reader_in_another_store_races_recycling() {
    let one = store(StoreKind::Auto);
    let two = SegmentStore::new(StoreOptions {
        id_space: 1,
        ..StoreOptions::default()
    })
    .expect("memfds work");
    let (sender, receiver) = std::sync::mpsc::sync_channel::<(Arc<Segment>, u8)>(4);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..400_u64 {
                let value = (round % 250) as u8 + 1;
                let len = if round % 2 == 0 { 60_000 } else { 3 * MIB };
                let segment = any(&one, &vec![value; len]);
                one.free(segment.id());
                if sender.send((segment, value)).is_err() {
                    break;
                }
            }
            drop(sender);
        });
        scope.spawn(|| {
            for (segment, value) in receiver {
                let exported = segment.export().expect("procfs is mounted");
                let memory = two.import(exported.info, exported.file).expect("sound");
                let (reference, place) = (segment.reference(), segment.place());
                // The owner keeps its own until the last reader here is gone.
                let on_last = Box::new(move || drop(segment));
                let other = two.adopt(reference, place, &memory, on_last).expect("new");
                two.free(other.id());
                let map = other.map().expect("mappings are left");
                drop(other);
                assert!(map.iter().all(|byte| *byte == value));
            }
        });
    });
    assert!(one.statistics().recycled > 100, "{:?}", one.statistics());
    assert_eq!(one.statistics().live_bytes, 0);
}

/// As another user, the descriptors of this process are out of reach.
#[test]
fn another_user_cannot_open_a_payload() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let segments = store(StoreKind::Auto);
    let segment = any(&segments, &vec![0xAB; 3 * MIB]);
    let exported = segment.export().expect("procfs is mounted");
    let path = format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        exported.file.as_raw_fd()
    );
    let read = |user: u32| {
        let mut command = Command::new("/bin/cat");
        command.arg(&path).uid(user).gid(user).env("LC_ALL", "C");
        command.output().expect("the system has cat")
    };
    let ours = read(0);
    assert!(
        ours.status.success(),
        "{}",
        String::from_utf8_lossy(&ours.stderr)
    );
    assert!(ours.stdout.starts_with(&[0xAB; 100]));
    let theirs = read(65534);
    assert!(!theirs.status.success());
    assert!(theirs.stdout.is_empty());
    let message = String::from_utf8_lossy(&theirs.stderr);
    assert!(message.contains("Permission denied"), "{message}");
}

/// A segment on a disk is read, never mapped; the disk keeps nothing.
#[test]
fn a_segment_on_a_disk_is_read_into_memory() {
    let directory = std::env::temp_dir().join(format!("taps-spilled-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("writable");
    let segments = SegmentStore::new(StoreOptions {
        limit_bytes: Some(MIB as u64),
        huge_pages: false,
        spill_dir: Some(directory.clone()),
        ..StoreOptions::default()
    })
    .expect("memfds work");
    let segment = any(&segments, &vec![0xAB; 3 * MIB]);
    let pages = (3 * MIB as u64).next_multiple_of(u64::from(PAGE));
    let statistics = segments.statistics();
    assert_eq!(statistics.spilled_bytes, pages);
    assert_eq!((statistics.spilled_segments, statistics.live_bytes), (1, 0));
    assert!(!segment.is_mappable());
    let map = segment.map().expect("there is memory");
    assert!(map.is_copy());
    assert!(map.iter().all(|byte| *byte == 0xAB) && map.len() == 3 * MIB);
    let error = segments
        .create_mappable(3 * MIB as u64)
        .expect_err("never on a disk");
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    // Passed on, it is read there as well.
    let exported = segment.export().expect("procfs is mounted");
    assert_eq!(exported.info.medium, Medium::Disk);
    assert!(!exported.info.mappable);
    let lie = taps_payload::MemoryInfo {
        mappable: true,
        ..exported.info
    };
    let file = exported.file.try_clone().expect("ours");
    segments
        .import(lie, file)
        .expect_err("a disk is not mapped");
    let other = SegmentStore::new(StoreOptions {
        id_space: 1,
        ..StoreOptions::default()
    })
    .expect("memfds work");
    let memory = other.import(exported.info, exported.file).expect("sound");
    let ended = Arc::new(AtomicBool::new(false));
    let on_last = {
        let ended = Arc::clone(&ended);
        Box::new(move || ended.store(true, Ordering::SeqCst))
    };
    let there = other
        .adopt(segment.reference(), segment.place(), &memory, on_last)
        .expect("new");
    assert!(
        there
            .map()
            .expect("there is memory")
            .iter()
            .all(|byte| *byte == 0xAB)
    );
    other.free(there.id());
    drop(there);
    assert!(ended.load(Ordering::SeqCst));
    segments.free(segment.id());
    drop((segment, map));
    assert_eq!(segments.statistics().spilled_bytes, 0);
    assert_eq!(segments.statistics().peak_spilled_bytes, pages);
    assert!(fs::read_dir(&directory).expect("ours").next().is_none());
    fs::remove_dir(&directory).expect("empty");
    // Where the directory is gone, that is the error.
    let error = segments.create(3 * MIB as u64).expect_err("no directory");
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
}
