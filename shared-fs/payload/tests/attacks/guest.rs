//! A pool with room for one guest, and the guest.

use std::sync::{Arc, LazyLock};
use taps_payload::{
    Segment, SegmentId, SegmentStore, WindowError, WindowKey, WindowLimits, WindowSet,
};
use wasmtime::component::{Component, Instance, InstancePre, Linker, WasmList};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    StoreContextMut,
};

/// Where the guest's `DATA` is.
pub(crate) const DATA: u32 = 0x1_0000;
/// A page-aligned address with 18 MiB of zeros behind it.
pub(crate) const WINDOW: u32 = 0x10_0000;
/// Bytes of memory that a guest starts with.
pub(crate) const MEMORY: u32 = 320 << 16;
/// A page of every machine that we support with these tests.
pub(crate) const PAGE: u32 = 4096;

/// Ways in which wasmtime cleans a slot of the pool.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reset {
    /// As the sandbox configures it: scan where the kernel can, keep 16 MiB resident.
    Product,
    /// Without PAGEMAP_SCAN: overwrite up to 16 MiB.
    Overwrite,
    /// Give all pages back.
    Decommit,
}

/// All of them.
pub(crate) const RESETS: [Reset; 3] = [Reset::Product, Reset::Overwrite, Reset::Decommit];

/// What the host keeps for one guest.
pub(crate) struct Host {
    pub(crate) segments: SegmentStore,
    pub(crate) windows: WindowSet,
    /// In the order of attaching.
    pub(crate) keys: Vec<WindowKey>,
    /// Why calls answered -1.
    pub(crate) errors: Vec<WindowError>,
    pub(crate) published: Vec<Arc<Segment>>,
    /// What `give` fills its list with.
    pub(crate) gift: u8,
    /// Address and length of the last window on the host.
    pub(crate) last: (usize, usize),
}

impl Host {
    fn outcome(&mut self, result: Result<i64, WindowError>) -> i64 {
        result.unwrap_or_else(|error| {
            self.errors.push(error);
            -1
        })
    }

    fn key(&self, window: u32) -> Result<WindowKey, WindowError> {
        self.keys
            .get(window as usize)
            .copied()
            .ok_or(WindowError::WrongState)
    }
}

/// A pool with one slot. Its guests follow each other in the same memory.
pub(crate) struct Pool {
    engine: Engine,
    guest: InstancePre<Host>,
}

static PUPPET: LazyLock<Vec<u8>> =
    LazyLock::new(|| wat::parse_str(include_str!("puppet.wat")).expect("the guest is valid"));

impl Pool {
    pub(crate) fn new(reset: Reset) -> Self {
        let (scan, keep) = match reset {
            Reset::Product => (Enabled::Auto, 16 << 20),
            Reset::Overwrite => (Enabled::No, 16 << 20),
            Reset::Decommit => (Enabled::No, 0),
        };
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(1)
            .total_core_instances(8)
            .total_memories(1)
            .total_tables(4)
            .max_memory_size(64 << 20)
            .linear_memory_keep_resident(keep)
            .max_unused_warm_slots(1)
            // Memory protection keys are off: wasmtime is built without them.
            .pagemap_scan(scan);
        let mut config = Config::new();
        config
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
            .memory_init_cow(false)
            .concurrency_support(false);
        let engine = Engine::new(&config).expect("the configuration is valid");
        let component = Component::new(&engine, &*PUPPET).expect("the guest compiles");
        let guest = linker(&engine)
            .instantiate_pre(&component)
            .expect("the host has what the guest imports");
        Self { engine, guest }
    }

    /// A fresh guest in the only slot.
    pub(crate) fn guest(&self, segments: &SegmentStore) -> Guest {
        self.guest_with(segments, WindowLimits::default())
    }

    pub(crate) fn guest_with(&self, segments: &SegmentStore, limits: WindowLimits) -> Guest {
        let mut store = Store::new(
            &self.engine,
            Host {
                segments: segments.clone(),
                windows: WindowSet::new(limits),
                keys: Vec::new(),
                errors: Vec::new(),
                published: Vec::new(),
                gift: 0xEE,
                last: (0, 0),
            },
        );
        let instance = self
            .guest
            .instantiate(&mut store)
            .expect("the slot is free");
        Guest { store, instance }
    }
}

#[expect(
    unsafe_code,
    reason = "what the sandbox does: windows over guest memory"
)]
fn linker(engine: &Engine) -> Linker<Host> {
    /// The address after which the slice is gone: nothing refers into guest memory any more.
    fn address(store: &mut StoreContextMut<'_, Host>, window: &WasmList<u8>) -> (usize, usize) {
        let bytes = window.as_le_slice(&*store);
        let last = (bytes.as_ptr().expose_provenance(), bytes.len());
        store.data_mut().last = last;
        last
    }

    let mut linker = Linker::new(engine);
    let mut host = linker.instance("host").expect("a fresh linker");
    host.func_wrap(
        "attach-input",
        |mut store: StoreContextMut<'_, Host>, (window, id): (WasmList<u8>, u64)| {
            let (addr, len) = address(&mut store, &window);
            let host = store.data_mut();
            let segment = host
                .segments
                .get(SegmentId(id))
                .expect("the test published it");
            // SAFETY: memory of a guest of a pool as the windows demand it; the set lies in the
            // data of its store.
            let attached = unsafe { host.windows.attach_input(addr, len, &segment) };
            let result = attached.map(|(key, offset)| {
                host.keys.push(key);
                offset.cast_signed()
            });
            Ok((host.outcome(result),))
        },
    )
    .expect("a fresh name");
    host.func_wrap(
        "attach-output",
        |mut store: StoreContextMut<'_, Host>, (window, size): (WasmList<u8>, u64)| {
            let (addr, len) = address(&mut store, &window);
            let host = store.data_mut();
            let result = host
                .segments
                .create_mappable(size)
                .map_err(WindowError::from)
                // SAFETY: as above.
                .and_then(|segment| unsafe { host.windows.attach_output(addr, len, segment) })
                .map(|(key, offset)| {
                    host.keys.push(key);
                    offset.cast_signed()
                });
            Ok((host.outcome(result),))
        },
    )
    .expect("a fresh name");
    host.func_wrap(
        "detach",
        |mut store: StoreContextMut<'_, Host>, (window,): (u32,)| {
            let host = store.data_mut();
            let result = host.key(window).and_then(|key| host.windows.detach(key));
            Ok((host.outcome(result.map(|()| 0)),))
        },
    )
    .expect("a fresh name");
    host.func_wrap(
        "publish",
        |mut store: StoreContextMut<'_, Host>, (window,): (u32,)| {
            let host = store.data_mut();
            let result = host
                .key(window)
                .and_then(|key| host.windows.finish_output(key))
                .and_then(|segment| host.segments.publish(segment).map_err(WindowError::from))
                .map(|segment| {
                    host.published.push(segment);
                    0
                });
            Ok((host.outcome(result),))
        },
    )
    .expect("a fresh name");
    host.func_wrap(
        "give",
        |store: StoreContextMut<'_, Host>, (length,): (u32,)| {
            Ok((vec![store.data().gift; length as usize],))
        },
    )
    .expect("a fresh name");
    linker
}

/// A guest in its sandbox.
pub(crate) struct Guest {
    pub(crate) store: Store<Host>,
    instance: Instance,
}

impl Guest {
    fn call<P, R>(&mut self, name: &str, params: P) -> wasmtime::Result<R>
    where
        P: wasmtime::component::ComponentNamedList + wasmtime::component::Lower,
        R: Send + Sync + 'static,
        (R,): wasmtime::component::ComponentNamedList + wasmtime::component::Lift,
    {
        let function = self
            .instance
            .get_typed_func::<P, (R,)>(&mut self.store, name)?;
        function
            .call(&mut self.store, params)
            .map(|(result,)| result)
    }

    fn call_unit<P>(&mut self, name: &str, params: P) -> wasmtime::Result<()>
    where
        P: wasmtime::component::ComponentNamedList + wasmtime::component::Lower,
    {
        let function = self
            .instance
            .get_typed_func::<P, ()>(&mut self.store, name)?;
        function.call(&mut self.store, params)
    }

    /// Offset in the window, or why not.
    pub(crate) fn attach_input(
        &mut self,
        at: u32,
        len: u32,
        segment: &Segment,
    ) -> Result<u32, WindowError> {
        let answer: i64 = self
            .call("attach-input", (at, len, segment.id().0))
            .expect("the list is in bounds");
        self.answer(answer)
    }

    /// Offset in the window, or why not.
    pub(crate) fn attach_output(
        &mut self,
        at: u32,
        len: u32,
        size: u64,
    ) -> Result<u32, WindowError> {
        let answer: i64 = self
            .call("attach-output", (at, len, size))
            .expect("the list is in bounds");
        self.answer(answer)
    }

    /// Attaches with a list that the canonical ABI may refuse.
    pub(crate) fn attach_unchecked(&mut self, at: u32, len: u32, id: u64) -> wasmtime::Result<i64> {
        self.call("attach-input", (at, len, id))
    }

    /// Detaches the n-th window.
    pub(crate) fn detach(&mut self, window: u32) -> Result<u32, WindowError> {
        let answer: i64 = self.call("detach", (window,)).expect("no trap");
        self.answer(answer)
    }

    /// Publishes what the guest put into the n-th window.
    pub(crate) fn publish(&mut self, window: u32) -> Result<Arc<Segment>, WindowError> {
        let answer: i64 = self.call("publish", (window,)).expect("no trap");
        self.answer(answer)?;
        Ok(self
            .store
            .data_mut()
            .published
            .pop()
            .expect("just published"))
    }

    fn answer(&mut self, answer: i64) -> Result<u32, WindowError> {
        match u32::try_from(answer) {
            Ok(offset) => Ok(offset),
            Err(_) => Err(self.store.data_mut().errors.pop().expect("a reason")),
        }
    }

    /// Chooses what the guest's allocator returns from now on.
    pub(crate) fn choose(&mut self, at: u32) {
        self.call_unit("choose", (at,)).expect("no trap");
    }

    /// Makes the host put a list into guest memory; where it went, or the trap.
    pub(crate) fn take(&mut self, len: u32) -> wasmtime::Result<u32> {
        self.call("take", (len,))
    }

    pub(crate) fn peek(&mut self, at: u32) -> u8 {
        let byte: u32 = self.call("peek", (at,)).expect("in bounds");
        byte as u8
    }

    pub(crate) fn fill(&mut self, at: u32, len: u32, value: u8) {
        self.call_unit("fill", (at, len, u32::from(value)))
            .expect("in bounds");
    }

    /// Whether all bytes have this value.
    pub(crate) fn is_all(&mut self, at: u32, len: u32, value: u8) -> bool {
        let same: u32 = self
            .call("same", (at, len, u32::from(value)))
            .expect("in bounds");
        same == len
    }

    pub(crate) fn grow(&mut self, pages: u32) -> i32 {
        self.call("grow", (pages,)).expect("no trap")
    }

    pub(crate) fn trap(&mut self) {
        self.call_unit("trap", ())
            .expect_err("the guest traps on request");
    }

    pub(crate) fn data(&mut self) -> [u8; 4] {
        [0, 1, 2, 3].map(|i| self.peek(DATA + i))
    }

    /// Whether memory is as a guest finds it that was started in a new pool.
    pub(crate) fn is_pristine(&mut self) -> bool {
        self.data() == *b"DATA"
            && self.is_all(0, DATA, 0)
            && self.is_all(DATA + 4, MEMORY - DATA - 4, 0)
    }

    /// Address of the guest's memory on the host, found by attaching an empty payload.
    pub(crate) fn base(&mut self) -> usize {
        let segments = self.store.data().segments.clone();
        let empty = published(&segments, &[]);
        self.attach_input(0, PAGE, &empty).expect("there is room");
        let host = self.store.data_mut();
        let key = host.keys.pop().expect("just attached");
        host.windows.detach(key).expect("just attached");
        segments.free(empty.id());
        self.store.data().last.0
    }
}

/// A published segment with this content.
pub(crate) fn published(segments: &SegmentStore, content: &[u8]) -> Arc<Segment> {
    let mut segment = segments
        .create_mappable(content.len() as u64)
        .expect("there is room");
    segment.write_at(0, content).expect("it fits");
    segments.publish(segment).expect("nothing is attached")
}

/// Whether all bytes of a segment have this value, by two ways of reading.
pub(crate) fn is_all(segment: &Arc<Segment>, value: u8) -> bool {
    let mut bytes = vec![!value; segment.len() as usize];
    segment.read_at(0, &mut bytes).expect("in range");
    let map = segment.map().expect("mappings are left");
    bytes.iter().all(|byte| *byte == value) && *map == *bytes
}

/// Mappings of this process that touch `[start, start + len)`: number, and whether one shows a
/// segment.
pub(crate) fn mappings(start: usize, len: usize) -> (usize, bool) {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs is mounted");
    let mut count = 0;
    let mut segment = false;
    for line in maps.lines() {
        let (range, _) = line.split_once(' ').expect("a range");
        let (from, to) = range.split_once('-').expect("two addresses");
        let from = usize::from_str_radix(from, 16).expect("hexadecimal");
        let to = usize::from_str_radix(to, 16).expect("hexadecimal");
        if from < start + len && to > start {
            count += 1;
            segment |= line.contains("memfd:taps-segment");
        }
    }
    (count, segment)
}

/// Bytes of `[start, start + len)` that this process reaches through huge pages of segments.
pub(crate) fn huge_bytes(start: usize, len: usize) -> usize {
    let smaps = std::fs::read_to_string("/proc/self/smaps").expect("procfs is mounted");
    let mut inside = false;
    let mut kilobytes = 0;
    for line in smaps.lines() {
        if let Some((from, _)) = line.split_once('-')
            && let Ok(from) = usize::from_str_radix(from, 16)
        {
            inside = (start..start + len).contains(&from);
        } else if inside && let Some(value) = line.strip_prefix("ShmemPmdMapped:") {
            let value = value.trim().trim_end_matches(" kB");
            kilobytes += value.parse::<usize>().expect("a number");
        }
    }
    kilobytes << 10
}
