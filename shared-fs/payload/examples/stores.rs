//! What the kinds of stores cost: `cargo run --release -p taps-payload --example stores`.
//!
//! For each kind, fresh and recycled memory, and each size: microseconds to make a segment, to
//! fill it through a mapping, to fill it by writing, and to read it through a mapping of its own.
#![expect(clippy::print_stdout, reason = "the figures")]

use std::time::{Duration, Instant};
use taps_payload::{
    SegmentStore, StoreKind, StoreOptions, WindowLimits, WindowSet,
    tmpfs::{self, HugeTmpfs},
};

const ROUNDS: u32 = 40;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return Ok(tmpfs::serve_child()?);
    }
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.arg("serve");
    let start = Instant::now();
    let huge = match tmpfs::make_by_child(&mut command, 2 << 30) {
        Ok(huge) => {
            println!("huge tmpfs made in {:?}", start.elapsed());
            Some(huge)
        }
        Err(error) => {
            println!("{error}");
            None
        }
    };
    println!(
        "{:16} {:9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "kind", "memory", "bytes", "create", "map+fill", "write", "map+read"
    );
    for kind in [
        StoreKind::HugeTmpfs,
        StoreKind::RecycledMemfd,
        StoreKind::SealedMemfd,
    ] {
        if kind == StoreKind::HugeTmpfs && huge.is_none() {
            continue;
        }
        for recycle_bytes in [0, 512 << 20] {
            for len in [1 << 20, 10_000_000, 100_000_000] {
                measure(kind, huge.as_ref(), recycle_bytes, len)?;
            }
        }
    }
    println!("\n100 kB, written, published, read and freed again, microseconds:");
    for (name, slab_max_bytes) in [("in a slab", 999_999), ("in a memory of its own", 0)] {
        for (memory, recycle_bytes) in [("fresh", 0), ("recycled", 512 << 20)] {
            let cost = small(StoreOptions {
                slab_max_bytes,
                recycle_bytes,
                tmpfs: huge.clone(),
                ..StoreOptions::default()
            })?;
            println!("{name}, {memory}: {cost:.1}");
        }
    }
    Ok(())
}

/// Sixteen segments live at a time, so that memory comes and goes as in a run.
fn small(options: StoreOptions) -> Result<f64, Box<dyn std::error::Error>> {
    const COUNT: u32 = 5000;
    let store = SegmentStore::new(options)?;
    let mut bytes = vec![7_u8; 100_000];
    let mut alive = std::collections::VecDeque::new();
    let start = Instant::now();
    for _ in 0..COUNT {
        let mut segment = store.create(100_000)?;
        segment.write_at(0, &bytes)?;
        let segment = store.publish(segment)?;
        segment.read_at(0, &mut bytes)?;
        alive.push_back(segment);
        if alive.len() > 16
            && let Some(oldest) = alive.pop_front()
        {
            store.free(oldest.id());
        }
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(COUNT))
}

fn measure(
    kind: StoreKind,
    tmpfs: Option<&HugeTmpfs>,
    recycle_bytes: u64,
    len: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let store = SegmentStore::new(StoreOptions {
        kind,
        tmpfs: tmpfs.cloned(),
        recycle_bytes,
        ..StoreOptions::default()
    })?;
    let bytes = vec![7_u8; len];
    let mut guest = guest::Memory::new(len + (4 << 20))?;
    let mut costs = [Duration::ZERO; 4];
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let segment = store.create_mappable(len as u64)?;
        costs[0] += start.elapsed();
        let start = Instant::now();
        let mut windows = WindowSet::new(WindowLimits::default());
        guest.fill(&mut windows, segment, len)?;
        costs[1] += start.elapsed();
        let mut segment = store.create_mappable(len as u64)?;
        let start = Instant::now();
        segment.write_at(0, &bytes)?;
        costs[2] += start.elapsed();
        let segment = store.publish(segment)?;
        let start = Instant::now();
        let map = segment.map()?;
        let sum: u64 = map.chunks_exact(8).map(|word| u64::from(word[0])).sum();
        assert_eq!(sum, 7 * (len as u64 / 8));
        costs[3] += start.elapsed();
        store.free(segment.id());
    }
    let memory = if recycle_bytes == 0 {
        "fresh"
    } else {
        "recycled"
    };
    let [create, fill, write, read] = costs.map(|cost| cost.as_micros() / u128::from(ROUNDS));
    println!(
        "{:16} {memory:9} {len:>9} {create:>9} {fill:>9} {write:>9} {read:>9}",
        store.info().kind
    );
    Ok(())
}

mod guest {
    //! Memory made as wasmtime's pool makes it.
    #![expect(unsafe_code, reason = "memory for windows of its own")]

    use rustix::mm::{MapFlags, ProtFlags};
    use taps_payload::{WindowError, WindowSet, WritableSegment};

    pub(super) struct Memory {
        start: usize,
        len: usize,
    }

    impl Memory {
        pub(super) fn new(len: usize) -> std::io::Result<Self> {
            let len = len.next_multiple_of(2 << 20);
            // SAFETY: a new mapping at an address of the kernel's choice.
            let start = unsafe {
                rustix::mm::mmap_anonymous(
                    std::ptr::null_mut(),
                    len,
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::PRIVATE | MapFlags::NORESERVE,
                )
            }?;
            Ok(Self {
                start: start.expose_provenance(),
                len,
            })
        }

        pub(super) fn fill(
            &mut self,
            windows: &mut WindowSet,
            segment: WritableSegment,
            len: usize,
        ) -> Result<(), WindowError> {
            // SAFETY: private anonymous memory of this value's own, to which nothing refers.
            let (key, offset) = unsafe { windows.attach_output(self.start, self.len, segment) }?;
            let start = std::ptr::with_exposed_provenance_mut::<u8>(self.start + offset as usize);
            // SAFETY: the window has room for as many bytes.
            unsafe { start.write_bytes(7, len) };
            windows.finish_output(key).map(drop)
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            let start = std::ptr::with_exposed_provenance_mut(self.start);
            // SAFETY: the mapping made by `new`; no window is left over it.
            unsafe { rustix::mm::munmap(start, self.len) }.ok();
        }
    }
}
