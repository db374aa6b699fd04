//! A process at its limit of mappings (`vm.max_map_count`). In a process of its own, because
//! nothing else can run in it.

#[expect(
    dead_code,
    reason = "shared with the attack tests, which use all of it"
)]
#[path = "attacks/guest.rs"]
mod guest;

use guest::{MEMORY, PAGE, Pool, Reset, WINDOW, is_all, published};
use std::sync::Mutex;
use taps_payload::{SegmentStore, StoreOptions, WindowError, WindowLimit, WindowLimits};

/// Uses up all mappings but `spare`; gives them back when dropped.
struct Filler {
    mappings: Vec<(*mut std::ffi::c_void, usize)>,
}

impl Filler {
    #[expect(unsafe_code, reason = "mappings of its own")]
    fn new(spare: usize) -> Self {
        use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
        let limit: usize = std::fs::read_to_string("/proc/sys/vm/max_map_count")
            .expect("procfs is mounted")
            .trim()
            .parse()
            .expect("a number");
        let page = PAGE as usize;
        let len = (limit + 16) * 2 * page;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                len,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }
        .expect("address space is left");
        let protect = |index: usize, flags| {
            // SAFETY: a page of the mapping above, which nobody uses.
            unsafe { rustix::mm::mprotect(start.byte_add(index * page), page, flags) }
        };
        let mut index = 1;
        while protect(index, MprotectFlags::READ).is_ok() {
            index += 2;
            assert!(index * page < len, "the limit is never reached");
        }
        // The last few one by one; shared ones never merge.
        let mut mappings = Vec::with_capacity(16);
        mappings.push((start, len));
        loop {
            // SAFETY: a new mapping at an address of the kernel's choice.
            let one = unsafe {
                rustix::mm::mmap_anonymous(
                    std::ptr::null_mut(),
                    page,
                    ProtFlags::empty(),
                    MapFlags::SHARED,
                )
            };
            match one {
                Ok(one) => mappings.push((one, page)),
                Err(_) => break,
            }
        }
        // Two mappings come back with each page that is like its neighbours again.
        for back in 1..=spare / 2 {
            protect(index - 2 * back, MprotectFlags::empty()).expect("merging needs no mapping");
        }
        let mut filler = Self { mappings };
        if spare % 2 == 1 {
            let last = filler.mappings.pop().expect("at least one was left");
            drop(Self {
                mappings: vec![last],
            });
        }
        filler
    }
}

impl Drop for Filler {
    #[expect(unsafe_code, reason = "mappings of its own")]
    fn drop(&mut self) {
        for &(start, len) in &self.mappings {
            // SAFETY: a mapping made by `new`.
            unsafe { rustix::mm::munmap(start, len) }.expect("it is mapped");
        }
    }
}

/// One at a time: both count all mappings of the process.
static ALONE: Mutex<()> = Mutex::new(());

/// With n mappings left, for n = 0, 1, 2 …: a window is refused or attached, memory stays whole,
/// and taking windows away always succeeds.
#[test]
fn windows_survive_a_process_without_mappings() {
    let _alone = ALONE.lock();
    let segments = SegmentStore::new(StoreOptions::default()).expect("memfds work");
    let payload = published(&segments, &[0xAB; 5000]);
    let pool = Pool::new(Reset::Product);
    let mut guest = pool.guest(&segments);
    let mut attached = 0;
    for spare in 0..16 {
        guest.fill(WINDOW, 8 * PAGE, 0xCD);
        guest
            .attach_input(WINDOW, 2 * PAGE, &payload)
            .expect("mappings are left");
        let filler = Filler::new(spare);
        if spare == 0 {
            payload.map().expect_err("no mapping is left");
        }
        let second = guest.attach_input(WINDOW + 4 * PAGE, 2 * PAGE, &payload);
        match second {
            Ok(_) => {
                attached += 1;
                assert!(guest.is_all(WINDOW + 4 * PAGE, 5000, 0xAB));
            }
            Err(error) => {
                assert!(
                    matches!(error, WindowError::Limit(WindowLimit::Mappings)),
                    "{error}"
                );
                assert!(guest.is_all(WINDOW + 6 * PAGE, 2 * PAGE, 0xCD));
            }
        }
        // Every byte of memory is still there, and detaching needs no mapping.
        guest.fill(WINDOW + 4 * PAGE, 2 * PAGE, 0xEE);
        guest.store.data_mut().windows.clear();
        assert!(guest.is_all(WINDOW, 2 * PAGE, 0), "{spare} mappings left");
        drop(filler);
        guest.store.data_mut().keys.clear();
    }
    assert!((1..16).contains(&attached), "both happened: {attached}");
    assert!(is_all(&payload, 0xAB));
    drop(guest);
    assert!(pool.guest(&segments).is_pristine());
}

/// However many windows guests want, the host keeps mappings for itself.
#[test]
fn windows_leave_the_host_half_of_the_mappings() {
    let _alone = ALONE.lock();
    let segments = SegmentStore::new(StoreOptions::default()).expect("memfds work");
    let payload = published(&segments, &[0xAB; 100]);
    let pool = Pool::new(Reset::Product);
    let limits = WindowLimits {
        count: usize::MAX,
        bytes: u64::MAX,
    };
    let mut guest = pool.guest_with(&segments, limits);
    assert_eq!(guest.grow(704), 320, "64 MiB in all");
    let base = guest.base();
    let before = guest::mappings(0, usize::MAX).0;
    let refused = (0..(64 << 20) / PAGE).find_map(|page| {
        // Every other page first, so that no two windows can be one mapping.
        let pages = (64 << 20) / PAGE;
        let page = if page < pages / 2 {
            2 * page
        } else {
            2 * (page - pages / 2) + 1
        };
        guest.attach_input(page * PAGE, PAGE, &payload).err()
    });
    let most: usize = std::fs::read_to_string("/proc/sys/vm/max_map_count")
        .expect("procfs is mounted")
        .trim()
        .parse()
        .expect("a number");
    let during = guest::mappings(0, usize::MAX).0;
    assert!(
        during - before <= most / 2 + 16,
        "{before} {during} of {most}"
    );
    match refused {
        Some(error) => assert!(
            matches!(error, WindowError::Limit(WindowLimit::Mappings)),
            "{error}"
        ),
        None => eprintln!("not reached: the machine allows {most} mappings"),
    }
    drop(guest);
    assert!(pool.guest(&segments).is_pristine());
    assert!(!guest::mappings(base, MEMORY as usize).1);
}
