//! The coordinator's side of the pool: an executor whose workers are processes.
//!
//! ```text
//!   any thread ── submit, cancel, recall, freed ──► link of the worker (its lock) ──► socket
//!   I/O thread ◄── sockets of all processes ──► links ──► events, delivered without any lock
//! ```

mod io;
mod link;
mod nodes;

use crate::message::{Setup, StoreSetup};
use io::IoThread;
use link::{Link, Process};
use parking_lot::Mutex;
use rustix::{
    event::{EventfdFlags, eventfd},
    fs::{MemfdFlags, SealFlags},
};
use std::{
    fs::File,
    io::{Seek as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{JoinHandle, ThreadId},
    time::Duration,
};
use taps_bundle::Bundle;
use taps_engine::{
    Attempt, AttemptId, Capabilities, EventSink, Executor, FaultAction, StartError, WorkerId,
    WorkerInfo,
};
use taps_payload::{SegmentId, SharedAccount, SharedWords, StoreOptions};
use taps_sandbox::{InstancePolicy, Interrupt, RunContext, RunSetup};

/// How a pool is made.
#[derive(Clone, Debug)]
pub struct ProcessPoolOptions {
    /// Nodes: fault domains, each with a manager.
    pub nodes: u32,
    /// Worker processes of each node.
    pub workers_per_node: u32,
    /// Name of this machine.
    pub host: String,
    /// Memory of this machine, which all workers share, in bytes.
    pub memory_bytes: u64,
    /// How long a worker may give no sign of life.
    pub heartbeat_timeout: Duration,
    /// How long a worker may take to start.
    pub start_timeout: Duration,
    /// Most attempts that wait on a worker behind the one that runs.
    pub look_ahead: u32,
}

/// What every worker of a pool gets.
pub struct WorkerSetup {
    /// The app.
    pub bundle: Arc<Bundle>,
    /// Directory of the compiled-code cache.
    pub cache_directory: Option<std::path::PathBuf>,
    /// How guests are interrupted.
    pub interrupt: Interrupt,
    /// Where sandboxes come from.
    pub policy: InstancePolicy,
    /// Notes for every record.
    pub notes: Vec<String>,
    /// What the sandboxes of the run share. Its store has slot 0 of the account.
    pub context: Arc<RunContext>,
    /// How the payload stores of the workers are made.
    pub store: StoreOptions,
    /// The account of all payload stores, with as many slots as [`account_slots`] says.
    pub account: SharedAccount,
}

/// Slots of the account of a pool's payload stores: the coordinator's, and two for each worker, of its
/// process and of those before it.
pub fn account_slots(workers: u32) -> usize {
    1 + 2 * workers as usize
}

/// An executor of worker processes on this machine.
pub struct ProcessPool {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the threads that use the pool share.
struct Shared {
    options: ProcessPoolOptions,
    setup: WorkerSetup,
    /// How many workers have nothing to do, and for each worker the number of the attempt that runs.
    words: SharedWords,
    /// Each component of the bundle, in a file that cannot change.
    components: Vec<OwnedFd>,
    manifest: String,
    links: Vec<Mutex<Link>>,
    /// Wakes the I/O thread.
    wake: OwnedFd,
    stop: AtomicBool,
    io_thread: OnceLock<ThreadId>,
    bytes: Traffic,
}

/// Bytes that went through the sockets.
#[derive(Debug, Default)]
struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl ProcessPool {
    /// A pool; nothing is started yet.
    pub fn new(options: ProcessPoolOptions, setup: WorkerSetup) -> std::io::Result<Self> {
        let workers = options.nodes * options.workers_per_node;
        let manifest = serde_json::to_string(setup.bundle.manifest())?;
        let components = (0..setup.bundle.manifest().components.len())
            .filter_map(|index| setup.bundle.component(index))
            .map(unchangeable)
            .collect::<Result<_, _>>()?;
        let links = (0..workers)
            .map(|worker| {
                Mutex::new(Link::new(
                    WorkerId(worker),
                    worker / options.workers_per_node,
                ))
            })
            .collect();
        let shared = Shared {
            words: SharedWords::create(account_slots(workers))?,
            components,
            manifest,
            links,
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            stop: AtomicBool::new(false),
            io_thread: OnceLock::new(),
            bytes: Traffic::default(),
            options,
            setup,
        };
        Ok(Self {
            shared: Arc::new(shared),
            thread: Mutex::default(),
        })
    }

    /// Bytes sent to and received from worker processes, so far.
    pub fn traffic_bytes(&self) -> (u64, u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (
            load(&self.shared.bytes.sent),
            load(&self.shared.bytes.received),
        )
    }
}

/// A file in memory that nobody can change, positioned at its start.
fn unchangeable(bytes: &[u8]) -> std::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(rustix::fs::memfd_create("taps-component", flags)?);
    file.write_all(bytes)?;
    file.rewind()?;
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    // A description of its own for each process that reads it is made when it is sent.
    Ok(file.into())
}

impl Executor for ProcessPool {
    fn name(&self) -> &'static str {
        "process-pool"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            places: true,
            keeps_results: false,
            cancels_running: true,
            kills_workers: true,
            sees_host_paths: true,
            reports_worker_loss: true,
        }
    }

    fn promised(&self) -> Vec<WorkerInfo> {
        (0..self.shared.links.len() as u32)
            .map(|worker| self.shared.info(worker))
            .collect()
    }

    fn start(&self, sink: Arc<dyn EventSink>) -> Result<(), StartError> {
        let failed = |source| StartError::Worker {
            worker: WorkerId(0),
            source,
        };
        let io = IoThread::new(Arc::clone(&self.shared), sink).map_err(failed)?;
        let thread = std::thread::Builder::new()
            .name("process-pool".into())
            .spawn(move || io.run())
            .map_err(failed)?;
        // Not set before its first look at the sockets at worst, which costs one wake.
        let _ = self.shared.io_thread.set(thread.thread().id());
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    fn submit(&self, batch: Vec<(Option<WorkerId>, Attempt)>) {
        let shared = &self.shared;
        let mut batch = batch.into_iter().peekable();
        while let Some((worker, attempt)) = batch.next() {
            let Some(link) = shared.link(worker) else {
                continue;
            };
            let mut link = link.lock();
            link.queue(attempt, &shared.setup.context.store);
            while let Some((_, attempt)) = batch.next_if(|(next, _)| *next == worker) {
                link.queue(attempt, &shared.setup.context.store);
            }
            link.send(&shared.bytes);
            link.tell_if_idle(&shared.words);
            let waits = link.process.as_ref().is_some_and(Process::wants_to_send);
            drop(link);
            if waits {
                // It watches for room in the socket.
                shared.wake_io();
            }
        }
    }

    fn cancel(&self, attempts: &[AttemptId]) {
        for link in &self.shared.links {
            link.lock().cancel(attempts);
        }
    }

    fn recall(&self, attempts: &[AttemptId]) {
        for link in &self.shared.links {
            link.lock().recall(attempts);
        }
    }

    fn freed(&self, segments: &[SegmentId]) {
        let mut wanted = false;
        for link in &self.shared.links {
            wanted |= link.lock().want_back(segments);
        }
        if wanted {
            self.shared.wake_io();
        }
    }

    fn shutdown(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake_io();
        if let Some(thread) = self.thread.lock().take() {
            // It does not panic; and if it did, the processes die with this one.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn link(&self, worker: Option<WorkerId>) -> Option<&Mutex<Link>> {
        // The core places on workers that joined; none other exist.
        self.links.get(worker?.0 as usize)
    }

    /// What a worker brings.
    fn info(&self, worker: u32) -> WorkerInfo {
        let options = &self.options;
        let node = worker / options.workers_per_node;
        WorkerInfo {
            id: WorkerId(worker),
            host: if options.nodes == 1 {
                options.host.clone()
            } else {
                format!("{}/node-{node}", options.host)
            },
            cores: 1,
            memory_bytes: options.memory_bytes / self.links.len().max(1) as u64,
            resources: Vec::new(),
            look_ahead: options.look_ahead,
        }
    }

    /// Makes the I/O thread look at what is to be sent.
    fn wake_io(&self) {
        if self.io_thread.get() != Some(&std::thread::current().id()) {
            // It fails only when the counter is full: then the thread is awake.
            let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        }
    }

    /// The fault of the attempt that runs on a worker, if it is one that ends processes.
    fn fatal(&self, link: &Link) -> Option<FaultAction> {
        let word = &self.words.words()[Self::slot(link.worker)];
        let process = link.process.as_ref()?;
        process.fatal(word.load(Ordering::Acquire))
    }

    fn slot(worker: WorkerId) -> usize {
        1 + worker.0 as usize
    }

    /// Where the memory of a worker's earlier processes is accounted for that others still hold.
    fn orphans_slot(&self, worker: WorkerId) -> usize {
        1 + self.links.len() + worker.0 as usize
    }

    /// The first message to a worker, and its descriptors but for the first, the control channel.
    fn setup(
        &self,
        incarnation: crate::message::Incarnation,
    ) -> std::io::Result<(Setup, Vec<OwnedFd>)> {
        let WorkerSetup { context, store, .. } = &self.setup;
        let mut descriptors = vec![
            self.words.as_fd().try_clone_to_owned()?,
            self.setup.account.as_fd().try_clone_to_owned()?,
        ];
        for component in &self.components {
            // A position of its own.
            let path = format!(
                "/proc/self/fd/{}",
                std::os::fd::AsRawFd::as_raw_fd(component)
            );
            descriptors.push(File::open(path)?.into());
        }
        if let Some(tmpfs) = &store.tmpfs {
            descriptors.push(tmpfs.as_fd().try_clone_to_owned()?);
        }
        if let Some(programs) = &context.programs {
            descriptors.push(programs.service().try_clone_to_owned()?);
        }
        let workers = self.links.len() as u32;
        let setup = Setup {
            worker: incarnation,
            slots: account_slots(workers),
            slot: Self::slot(incarnation.worker),
            manifest: self.manifest.clone(),
            cache_directory: self.setup.cache_directory.clone(),
            run: RunSetup::of(
                context,
                self.setup.interrupt,
                self.setup.policy,
                self.setup.notes.clone(),
            ),
            programs: context.programs.as_ref().map(|programs| {
                let files = programs.files().path().to_owned();
                (programs.settings().clone(), files)
            }),
            store: StoreSetup {
                kind: store.kind,
                huge_pages: store.huge_pages,
                huge_pages_work: context.store.info().huge_pages,
                recycle_bytes: store.recycle_bytes,
                slab_max_bytes: store.slab_max_bytes,
                // The coordinator's is 0; a process has one that no other of the run has.
                id_space: 1 + incarnation.worker.0 + workers * incarnation.number,
                spill_directory: store.spill_dir.clone(),
                tmpfs: store.tmpfs.is_some(),
            },
        };
        Ok((setup, descriptors))
    }
}
