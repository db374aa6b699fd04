//! What a process of a run uses: put, resolve, remove.
//!
//! ```text
//!  caller ── put ──► digest ──► spawn { store.put, within the limit } ──► Location::Stored
//!         ── prefetch ──► slot ◄── spawn { store.get, length and digest checked } ── bytes or a segment
//!               └ Ticket::wait: many wait for one fetch, each as long as it likes
//!         ── remove ──► spawn { store.remove }            nobody waits
//!         ── close ──► all of the run removed, threads ended
//! ```

mod operations;

use crate::{
    BackendConfig, Filter, OpenError, Operation, OperationKind, OperationSink, PlaneConfig,
    Resolution, RunKey, Side, TransformError,
    backend::{self, Refusal},
    cache::{Cache, Slot},
    config::random_hex,
};
use bytes::Bytes;
use operations::{Done, Pending, Shared, Under, place, segment_of};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use taps_payload::{Location, PayloadDigest, Segment, SegmentStore, StoredRef};
use tokio::runtime::{Builder, Handle, Runtime};
use xxhash_rust::xxh3::xxh3_128;

/// XXH3-128 of bytes.
pub fn digest(bytes: &[u8]) -> PayloadDigest {
    PayloadDigest(xxh3_128(bytes))
}

/// Makes ring the cryptography of this process, unless it has one.
pub(crate) fn provide_crypto() {
    // Refused only when there is one already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Which process opens a data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The run's own: it checks the store at the start and removes everything at the end.
    Run,
    /// A worker's: it removes nothing at its end, what it put belongs to the run.
    Worker,
}

/// On whose behalf an operation is done.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Side of the run.
    pub side: Side,
    /// The worker, where one does it.
    pub worker: Option<u32>,
    /// The task, where it is for one.
    pub task: Option<u64>,
}

impl Caller {
    /// The driver, or the coordinator on its behalf.
    pub const DRIVER: Self = Self {
        side: Side::Driver,
        worker: None,
        task: None,
    };

    /// A worker, for a task.
    pub fn worker(worker: u32, task: u64) -> Self {
        Self {
            side: Side::Worker,
            worker: Some(worker),
            task: Some(task),
        }
    }
}

/// The bytes of a payload, in this process.
#[derive(Clone, Debug)]
pub enum Resolved {
    /// Small ones.
    Bytes(Arc<[u8]>),
    /// Larger ones, in a segment that nobody else knows: it can be mapped.
    Segment(Arc<Segment>),
}

/// A payload that is being fetched, or was. While it is held the payload is not fetched again.
pub struct Ticket {
    key: Arc<str>,
    slot: Arc<Slot>,
    fetches: bool,
}

impl Ticket {
    /// Waits for the bytes while `keep_waiting` says so, which is asked every few milliseconds.
    pub fn wait(&self, keep_waiting: &dyn Fn() -> bool) -> Result<Resolved, TransformError> {
        self.slot
            .wait(keep_waiting)
            .unwrap_or_else(|| Err(TransformError::Interrupted(Arc::clone(&self.key))))
    }

    /// Whole copies that the host made for this ticket: received and placed, or none where the payload
    /// was there.
    pub fn copies(&self) -> u8 {
        if self.fetches { 2 } else { 0 }
    }
}

/// The transformer of a run, as one process uses it.
pub struct DataPlane {
    shared: Arc<Shared>,
    filter: Filter,
    config: PlaneConfig,
    /// Where payloads are placed.
    segments: Arc<OnceLock<SegmentStore>>,
    ownership: Ownership,
    /// First part of the names of what this process puts.
    names: String,
    next: AtomicU64,
    runtime: Mutex<Option<Runtime>>,
    handle: Option<Handle>,
}

/// At its end a run waits at least this long for a store that hangs: what is not removed then stays.
const REMOVE_ALL: Duration = Duration::from_secs(10);

/// Threads for the operations of a process: they only wait and copy.
const THREADS: usize = 2;
/// Files are read and written by so many threads at most.
const FILE_THREADS: usize = 8;

impl DataPlane {
    /// Opens the store. The run's own plane also tries it out: what cannot work is refused here. Payloads
    /// are placed in `segments`, which may come later: [`DataPlane::place_in`].
    pub fn open(
        config: PlaneConfig,
        segments: impl Into<Option<SegmentStore>>,
        ownership: Ownership,
    ) -> Result<Arc<Self>, OpenError> {
        let filter = Filter::new(&config.filter)?;
        let transformer = &config.transformer;
        let opened = backend::open(transformer, &config.run, ownership)?;
        let runtime = match &opened {
            Some(_) => Some(threads().map_err(OpenError::Runtime)?),
            None => None,
        };
        let (backend, name, field) = match opened {
            Some(opened) => (Some(opened.backend), opened.name, opened.field),
            None => (None, "shared memory".into(), "name"),
        };
        let names = random_hex::<4>().map_err(OpenError::Runtime)?;
        let plane = Arc::new(Self {
            shared: Arc::new(Shared {
                backend,
                name,
                limit: transformer.timeout,
                sink: OnceLock::new(),
                cache: Mutex::new(Cache::new(
                    transformer.cache_entries,
                    transformer.cache_bytes,
                )),
                pending: Pending::default(),
                closed: AtomicBool::new(false),
            }),
            filter,
            names: format!("{}-{names}", config.run),
            segments: Arc::new(segments.into().map_or_else(OnceLock::new, OnceLock::from)),
            ownership,
            next: AtomicU64::new(0),
            handle: runtime.as_ref().map(|runtime| runtime.handle().clone()),
            runtime: Mutex::new(runtime),
            config,
        });
        if ownership == Ownership::Run {
            plane.probe(field)?;
            plane.keep_renewing();
        }
        Ok(plane)
    }

    /// Puts, gets and removes a payload, as a run does.
    fn probe(&self, field: &'static str) -> Result<(), OpenError> {
        let (Some(handle), Some(backend)) = (&self.handle, &self.shared.backend) else {
            return Ok(());
        };
        let key: Arc<str> = self.new_key().into();
        let bytes = Bytes::from_static(b"taps-wasm tries the store out");
        let limit = self.shared.limit;
        let failed = |step, reason: &str| OpenError::Probe {
            field,
            given: self.shared.name.to_string(),
            step,
            reason: reason.into(),
        };
        let late = || format!("no answer within {} s", limit.as_secs_f64());
        macro_rules! step {
            ($name:literal, $future:expr) => {
                match handle.block_on(async { tokio::time::timeout(limit, $future).await }) {
                    Ok(Ok(value)) => value,
                    Ok(Err(Refusal(reason))) => return Err(failed($name, &reason)),
                    Err(_) => return Err(failed($name, &late())),
                }
            };
        }
        let probed = (|| {
            step!("put", backend.put(&key, bytes.clone()));
            let back = step!("get", backend.get(&key));
            if back.is_none_or(|back| back != bytes) {
                return Err(failed("get", "what was put does not come back"));
            }
            step!("remove", backend.remove(&key));
            Ok(())
        })();
        if probed.is_err() {
            // Directories made for nothing should not stay; the first error is the one that matters.
            let _ = self.remove_all();
        }
        probed
    }

    /// What a store would let vanish by itself is renewed while the run lasts.
    fn keep_renewing(&self) {
        let (Some(handle), Some(backend)) = (&self.handle, &self.shared.backend) else {
            return;
        };
        let Some(every) = backend.renew_every() else {
            return;
        };
        let (backend, run) = (Arc::clone(backend), self.config.run.clone());
        handle.spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                // What cannot be renewed shows when it is wanted.
                let _ = backend.renew(&run).await;
            }
        });
    }

    /// Where payloads are placed that are fetched; the first call counts.
    pub fn place_in(&self, segments: SegmentStore) {
        let _ = self.segments.set(segments);
    }

    /// Where operations are recorded from now on, with times since `start`; the first call counts.
    pub fn record_to(&self, sink: Arc<dyn OperationSink>, start: Instant) {
        let _ = self.shared.sink.set((sink, start));
    }

    /// Records an operation of another process of the run.
    pub fn record(&self, operation: Operation) {
        if let Some((sink, _)) = self.shared.sink.get() {
            sink.record(operation);
        }
    }

    /// What it was opened with: for worker processes.
    pub fn config(&self) -> &PlaneConfig {
        &self.config
    }

    /// When arguments are fetched.
    pub fn resolution(&self) -> Resolution {
        self.config.transformer.resolution
    }

    /// Whether an argument of a task is transformed.
    pub fn takes_argument(&self, task: &str, index: usize, bytes: u64) -> bool {
        self.filter
            .takes(self.config.types.parameter(task, index), bytes)
    }

    /// Whether an output of a task is transformed.
    pub fn takes_output(&self, task: &str, index: usize, bytes: u64) -> bool {
        self.filter
            .takes(self.config.types.output(task, index), bytes)
    }

    /// Whether payloads go into the run's own segments.
    pub fn is_shared_memory(&self) -> bool {
        self.config.transformer.backend == BackendConfig::SharedMemory
    }

    fn new_key(&self) -> String {
        format!(
            "{}-{}",
            self.names,
            self.next.fetch_add(1, Ordering::Relaxed)
        )
    }

    /// Puts a payload into the store and gives what stands for it. Waits for the store while
    /// `keep_waiting` says so; what arrives there after the wait was given up is removed again.
    pub fn put(
        &self,
        bytes: &Bytes,
        caller: Caller,
        keep_waiting: &dyn Fn() -> bool,
    ) -> Result<Location, TransformError> {
        let begin = self.shared.now_ns();
        let key: Arc<str> = self.new_key().into();
        let (Some(handle), Some(backend)) = (&self.handle, &self.shared.backend) else {
            let segment = segment_of(self.segments.get(), &key, bytes);
            self.shared.record(
                OperationKind::Put,
                caller,
                &key,
                bytes.len(),
                begin,
                segment.is_ok(),
            );
            return segment.map(|segment| Location::Segment(segment.reference()));
        };
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(TransformError::Closed(key));
        }
        let stored = Arc::new(StoredRef {
            key: Arc::clone(&key),
            len: bytes.len() as u64,
            digest: digest(bytes),
        });
        let slot = Arc::new(Done::default());
        let put = {
            let (backend, key, bytes) = (Arc::clone(backend), Arc::clone(&key), bytes.clone());
            async move { backend.put(&key, bytes).await }
        };
        let (shared, answer) = (Arc::clone(&self.shared), Arc::clone(&slot));
        let (backend, under) = (Arc::clone(backend), Under::new(&self.shared));
        let (len, task_key) = (bytes.len(), Arc::clone(&key));
        handle.spawn(async move {
            let result = shared.within("put", &task_key, shared.limit, put).await;
            shared.record(
                OperationKind::Put,
                caller,
                &task_key,
                len,
                begin,
                result.is_ok(),
            );
            let failed = result.is_err();
            let taken = answer.give(result);
            if failed || !taken {
                let _ = shared
                    .within("remove", &task_key, shared.limit, backend.remove(&task_key))
                    .await;
            }
            drop(under);
        });
        slot.wait(keep_waiting)
            .unwrap_or_else(|| Err(TransformError::Interrupted(Arc::clone(&key))))?;
        if self.config.transformer.populate {
            self.populate(&stored.key, bytes);
        }
        Ok(Location::Stored(stored))
    }

    /// Keeps what was just put as if it had been fetched.
    fn populate(&self, key: &Arc<str>, bytes: &Bytes) {
        let fits = bytes.len() as u64 <= self.config.transformer.cache_bytes;
        if !fits || self.config.transformer.cache_entries == 0 {
            return;
        }
        // Where there is no room the payload is fetched when it is wanted.
        if let Ok(resolved) = place(
            self.segments.get(),
            key,
            bytes,
            self.config.inline_max_bytes,
        ) {
            let slot = Slot::new();
            slot.fill(Ok(resolved));
            let gone = self
                .shared
                .cache
                .lock()
                .keep(key, &slot, bytes.len() as u64);
            drop(gone);
        }
    }

    /// Starts to fetch a payload, unless this process has it or fetches it already.
    pub fn prefetch(&self, stored: &Arc<StoredRef>, caller: Caller) -> Ticket {
        let begin = self.shared.now_ns();
        let key = Arc::clone(&stored.key);
        let (slot, new) = self.shared.cache.lock().slot(&key);
        let ticket = Ticket {
            key: Arc::clone(&key),
            slot: Arc::clone(&slot),
            fetches: new,
        };
        let len = stored.len as usize;
        if !new {
            self.shared
                .record(OperationKind::CacheHit, caller, &key, len, begin, true);
            return ticket;
        }
        let (Some(handle), Some(backend)) = (&self.handle, &self.shared.backend) else {
            slot.fill(Err(TransformError::Missing {
                key,
                store: Arc::clone(&self.shared.name),
            }));
            return ticket;
        };
        if self.shared.closed.load(Ordering::Acquire) {
            slot.fill(Err(TransformError::Closed(key)));
            return ticket;
        }
        let (shared, backend) = (Arc::clone(&self.shared), Arc::clone(backend));
        let (stored, segments) = (Arc::clone(stored), Arc::clone(&self.segments));
        let inline_max = self.config.inline_max_bytes;
        let under = Under::new(&self.shared);
        handle.spawn(async move {
            let fetched = shared
                .within("get", &key, shared.limit, backend.get(&key))
                .await;
            let checked = match fetched {
                Ok(bytes) => {
                    let (shared, stored) = (Arc::clone(&shared), Arc::clone(&stored));
                    let work = move || shared.check(bytes, &stored, segments.get(), inline_max);
                    // Digest and copy of a large payload take long enough to hold others up.
                    tokio::task::spawn_blocking(work)
                        .await
                        .unwrap_or_else(|error| {
                            Err(TransformError::NoRoom {
                                key: Arc::clone(&key),
                                reason: error.to_string().into(),
                            })
                        })
                }
                Err(error) => Err(error),
            };
            shared.record(
                OperationKind::Get,
                caller,
                &key,
                len,
                begin,
                checked.is_ok(),
            );
            let gone = if checked.is_ok() {
                shared.cache.lock().keep(&key, &slot, stored.len)
            } else {
                // The next who wants it tries again.
                shared.cache.lock().forget(&key)
            };
            slot.fill(checked);
            // Nothing is held any more when the operation counts as ended.
            drop((slot, gone));
            drop(under);
        });
        ticket
    }

    /// Fetches a payload and waits for it.
    pub fn resolve(
        &self,
        stored: &Arc<StoredRef>,
        caller: Caller,
        keep_waiting: &dyn Fn() -> bool,
    ) -> Result<Resolved, TransformError> {
        self.prefetch(stored, caller).wait(keep_waiting)
    }

    /// Removes a payload that nobody can read any more. Returns at once.
    pub fn remove(&self, stored: &StoredRef) {
        let gone = self.shared.cache.lock().forget(&stored.key);
        drop(gone);
        let (Some(handle), Some(backend)) = (&self.handle, &self.shared.backend) else {
            return;
        };
        if self.shared.closed.load(Ordering::Acquire) {
            return;
        }
        let begin = self.shared.now_ns();
        let (shared, backend) = (Arc::clone(&self.shared), Arc::clone(backend));
        let (key, len) = (Arc::clone(&stored.key), stored.len as usize);
        let under = Under::new(&self.shared);
        handle.spawn(async move {
            let result = shared
                .within("remove", &key, shared.limit, backend.remove(&key))
                .await;
            shared.record(
                OperationKind::Remove,
                Caller::DRIVER,
                &key,
                len,
                begin,
                result.is_ok(),
            );
            drop(under);
        });
    }

    /// Ends the use: waits for what is under way, at most as long as one operation may last. The run's
    /// own plane then removes everything that the run put, whichever process put it. A second call does
    /// nothing.
    pub fn close(&self) -> Result<(), TransformError> {
        if self.shared.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let deadline = Instant::now() + self.shared.limit;
        let mut count = self.shared.pending.count.lock();
        while *count > 0
            && !self
                .shared
                .pending
                .none
                .wait_until(&mut count, deadline)
                .timed_out()
        {}
        drop(count);
        let gone = self.shared.cache.lock().clear();
        drop(gone);
        let removed = match self.ownership {
            Ownership::Run => self.remove_all(),
            Ownership::Worker => Ok(()),
        };
        if let Some(runtime) = self.runtime.lock().take() {
            // A thread that hangs in a file system is left to itself.
            runtime.shutdown_background();
        }
        removed
    }

    fn remove_all(&self) -> Result<(), TransformError> {
        let (Some(handle), Some(backend)) = (&self.handle, &self.shared.backend) else {
            return Ok(());
        };
        let run: &RunKey = &self.config.run;
        let key: Arc<str> = format!("{run}-*").into();
        let limit = self.shared.limit.max(REMOVE_ALL);
        let removed = self
            .shared
            .within("remove", &key, limit, backend.remove_run(run));
        handle.block_on(removed)
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_background();
        }
    }
}

fn threads() -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(FILE_THREADS)
        .thread_name("data-plane")
        .enable_all()
        .build()
}
