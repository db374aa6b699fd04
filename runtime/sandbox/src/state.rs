//! What a sandbox holds on the host side: the data of its store.

use crate::{
    Control, DriverHost, Grant, Interrupted, RunContext,
    programs::AttemptPrograms,
    wasi::{self, Capture},
};
use std::sync::Arc;
use taps_engine::{Attempt, AttemptId};
use taps_payload::{Transfer, WindowLimits, WindowSet};
use taps_schema::Kernels;
use taps_transform::Caller;
use wasmtime::{ResourceLimiter, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// Futures, payloads and the like that a driver may hold at a time: wasmtime's own limit is a million, and there are
/// runs of more tasks. Each costs some hundred bytes of the host's memory.
const DRIVER_RESOURCES_MOST: usize = 1 << 26;

/// Data of a store.
///
/// Dropped before the sandbox's memory returns to the pool, so that `windows` takes every mapping
/// away first; never take the data out of a store with windows in it.
pub(crate) struct State {
    pub(crate) windows: WindowSet,
    /// Whether payloads may be mapped: the memory of the sandbox has no copy-on-write image.
    pub(crate) maps: bool,
    pub(crate) wasi: WasiCtx,
    pub(crate) table: ResourceTable,
    pub(crate) memory: MemoryLimit,
    pub(crate) control: Control,
    pub(crate) stdout: Capture,
    pub(crate) stderr: Capture,
    pub(crate) run: Arc<RunContext>,
    pub(crate) role: Role,
    /// On whose behalf the data plane is used.
    pub(crate) caller: Caller,
    /// How each argument of the attempt travelled.
    pub(crate) inputs: Vec<Transfer>,
    /// Digests of the results, where the run asks for them.
    pub(crate) digests: Vec<Option<u64>>,
    /// Positions of arguments whose bytes are gone or damaged.
    pub(crate) lost_inputs: Vec<u32>,
    /// The native programs of the attempt.
    pub(crate) programs: AttemptPrograms,
    /// Names of those that its task lists.
    pub(crate) listed: Arc<[String]>,
    /// Why the guest was interrupted, when it was.
    pub(crate) interrupted: Option<Interrupted>,
    /// Detail of the last payload error, for the outcome.
    pub(crate) payload_failure: Option<String>,
}

/// What the sandbox is for.
pub(crate) enum Role {
    /// Describing the component: nothing is allowed.
    Describe,
    /// Running one attempt.
    Task {
        id: AttemptId,
        seed: u64,
        kernels: Kernels,
    },
    /// Running the driver.
    Driver {
        host: Arc<dyn DriverHost>,
        seed: u64,
        kernels: Kernels,
    },
}

impl State {
    pub(crate) fn new(
        run: &Arc<RunContext>,
        role: Role,
        control: Control,
        memory_bytes: u64,
        window_bytes: u64,
        grants: &[Grant],
    ) -> wasmtime::Result<Self> {
        let (stdout, stderr) = (Capture::default(), Capture::default());
        let wasi = wasi::context(role.seed(), run, grants, &stdout, &stderr)?;
        let mut table = ResourceTable::new();
        if matches!(role, Role::Driver { .. }) {
            table.set_max_capacity(DRIVER_RESOURCES_MOST);
        }
        Ok(Self {
            // Their bytes are limited by `memory`, whose limits change with the attempt.
            windows: WindowSet::new(WindowLimits {
                bytes: u64::MAX,
                ..WindowLimits::default()
            }),
            maps: false,
            wasi,
            table,
            memory: MemoryLimit::new(memory_bytes, window_bytes),
            control,
            stdout,
            stderr,
            run: Arc::clone(run),
            role,
            caller: Caller::DRIVER,
            inputs: Vec::new(),
            digests: Vec::new(),
            lost_inputs: Vec::new(),
            programs: AttemptPrograms::default(),
            listed: Arc::default(),
            interrupted: None,
            payload_failure: None,
        })
    }

    /// Makes a sandbox that exists already serve this attempt. Fails when it is too large for it.
    pub(crate) fn assign(&mut self, attempt: &Attempt, control: Control) -> bool {
        self.role = Role::Task {
            id: attempt.id,
            seed: attempt.seed,
            kernels: attempt.kernels,
        };
        // As in a sandbox made for it: the same seed gives the same numbers.
        wasi::reseed(&mut self.wasi, attempt.seed);
        self.control = control;
        self.inputs.clear();
        self.digests.clear();
        self.lost_inputs.clear();
        self.interrupted = None;
        self.payload_failure = None;
        self.memory
            .assign(attempt.limits.memory_bytes, attempt.limits.window_bytes)
    }
}

impl Role {
    pub(crate) fn seed(&self) -> u64 {
        match self {
            Self::Describe => 0,
            Self::Task { seed, .. } | Self::Driver { seed, .. } => *seed,
        }
    }

    pub(crate) fn attempt(&self) -> Option<AttemptId> {
        match self {
            Self::Task { id, .. } => Some(*id),
            Self::Describe | Self::Driver { .. } => None,
        }
    }

    pub(crate) fn kernels(&self) -> Kernels {
        match self {
            Self::Describe => Kernels::Guest,
            Self::Task { kernels, .. } | Self::Driver { kernels, .. } => *kernels,
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// Limit of a guest's memory: its heap, plus what it announced for windows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryLimit {
    heap: u64,
    windows: u64,
    announced: u64,
    used: u64,
    /// Largest size seen.
    pub(crate) peak: u64,
    /// Whether growth was refused because of the limit.
    pub(crate) exceeded: bool,
}

/// Elements of all tables together; far above what compilers make.
const TABLE_ELEMENTS: usize = 1 << 20;

impl MemoryLimit {
    fn new(heap: u64, windows: u64) -> Self {
        Self {
            heap,
            windows,
            announced: 0,
            used: 0,
            peak: 0,
            exceeded: false,
        }
    }

    /// New limits, for the same memory: what was announced for windows stays announced. Fails when
    /// the memory is beyond them already.
    fn assign(&mut self, heap: u64, windows: u64) -> bool {
        *self = Self {
            announced: self.announced,
            used: self.used,
            peak: self.used,
            ..Self::new(heap, windows)
        };
        self.used <= self.heap.saturating_add(self.announced.min(windows))
    }

    /// Most bytes that may be under windows at one time.
    pub(crate) fn window_bytes(&self) -> u64 {
        self.windows
    }

    /// Most bytes that the guest can have in all, and so the most that it can pass in one host call.
    pub(crate) fn most(&self) -> usize {
        self.heap.saturating_add(self.windows) as usize
    }

    /// Allows `bytes` more of memory, for windows; fails beyond their limit.
    pub(crate) fn announce(&mut self, bytes: u64) -> bool {
        match self.announced.checked_add(bytes) {
            Some(total) if total <= self.windows => {
                self.announced = total;
                true
            }
            _ => false,
        }
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self.used + (desired - current) as u64;
        let beyond_type = maximum.is_some_and(|maximum| desired > maximum);
        if beyond_type || used > self.heap.saturating_add(self.announced) {
            self.exceeded = true;
            // An error traps. A refusal would only make the guest abort, which looks like a panic.
            return Err(wasmtime::format_err!(
                "memory of {used} bytes exceeds the limit of {} bytes",
                self.heap
            ));
        }
        self.used = used;
        self.peak = self.peak.max(used);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}
