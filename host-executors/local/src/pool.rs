//! Worker threads, each with its own queue.
//!
//! The coordinator's lock is the only one that workers share. A worker that finishes delivers its own
//! report; the engine core's next attempt for it is in its queue when the delivery returns, so no
//! other thread wakes. A worker without work spins briefly, then parks.

use parking_lot::{Condvar, Mutex, MutexGuard};
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};
use taps_engine::{
    Attempt, AttemptId, AttemptReport, Capabilities, EventSink, Executor, ExecutorEvent, Failure,
    Instantiation, OutcomeKind, OutputId, StartError, Timeline, WorkerId, WorkerInfo,
};
use taps_sandbox::CancelToken;

/// Runs attempts on one worker thread.
pub trait AttemptRunner {
    /// Runs an attempt to its end, whatever that is.
    fn run(&mut self, attempt: &Attempt, token: &CancelToken) -> AttemptReport;

    /// The worker has a moment: nothing waits for it.
    fn idle(&mut self) {}
}

/// Makes the runner of a worker, on the worker's own thread.
pub type RunnerFactory = Arc<dyn Fn(WorkerId) -> Box<dyn AttemptRunner> + Send + Sync>;

/// An executor of worker threads in this process.
pub struct ThreadPool {
    name: &'static str,
    host: String,
    memory_bytes: u64,
    factory: RunnerFactory,
    workers: Vec<Arc<Worker>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What a worker thread shares with those who give it work.
struct Worker {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Attempts queued; lets a spinning worker look without the lock.
    waiting: AtomicUsize,
    /// Whether the thread sleeps and must be woken.
    parked: AtomicBool,
}

#[derive(Default)]
struct Queue {
    attempts: VecDeque<(Attempt, CancelToken)>,
    running: Option<(AttemptId, CancelToken)>,
    stop: bool,
}

/// Looks for work before a worker parks: about 20 µs, less than parking and waking cost.
const SPINS: u32 = 400;

impl ThreadPool {
    /// A pool of `threads` workers on a host of that name and memory.
    pub fn new(
        name: &'static str,
        threads: u32,
        host: String,
        memory_bytes: u64,
        factory: RunnerFactory,
    ) -> Self {
        let workers = (0..threads).map(|_| Arc::new(Worker::new())).collect();
        Self {
            name,
            host,
            memory_bytes,
            factory,
            workers,
            threads: Mutex::default(),
        }
    }
}

impl Executor for ThreadPool {
    fn name(&self) -> &'static str {
        self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            places: true,
            keeps_results: false,
            cancels_running: true,
            kills_workers: false,
            sees_host_paths: true,
            reports_worker_loss: false,
        }
    }

    fn start(&self, sink: Arc<dyn EventSink>) -> Result<(), StartError> {
        for (worker, id) in self
            .workers
            .iter()
            .zip(0..)
            .map(|(w, id)| (w, WorkerId(id)))
        {
            let (worker, factory) = (Arc::clone(worker), Arc::clone(&self.factory));
            let worker_sink = Arc::clone(&sink);
            let thread = std::thread::Builder::new()
                .name(format!("worker-{id}"))
                .spawn(move || worker.serve(factory(id), id, worker_sink.as_ref()))
                .map_err(|source| StartError::Worker { worker: id, source })?;
            self.threads.lock().push(thread);
        }
        let joined = (0..self.workers.len() as u32)
            .map(|id| {
                ExecutorEvent::WorkerJoined(WorkerInfo {
                    id: WorkerId(id),
                    host: self.host.clone(),
                    cores: 1,
                    memory_bytes: self.memory_bytes / self.workers.len().max(1) as u64,
                    resources: Vec::new(),
                    look_ahead: 0,
                })
            })
            .collect();
        sink.deliver(joined);
        Ok(())
    }

    fn submit(&self, batch: Vec<(Option<WorkerId>, Attempt)>) {
        for (worker, attempt) in batch {
            // The core places on workers that joined; none other exist.
            let index = worker.map_or(0, |worker| worker.0 as usize) % self.workers.len();
            self.workers[index].push(attempt);
        }
    }

    fn cancel(&self, attempts: &[AttemptId]) {
        for worker in &self.workers {
            let queue = worker.queue.lock();
            let waiting = queue
                .attempts
                .iter()
                .map(|(attempt, token)| (attempt.id, token));
            let running = queue.running.iter().map(|(id, token)| (*id, token));
            for (_, token) in waiting
                .chain(running)
                .filter(|(id, _)| attempts.contains(id))
            {
                token.cancel();
            }
        }
    }

    fn fetch(&self, output: OutputId) -> Result<Vec<u8>, Failure> {
        let message = format!("the executor keeps no results; asked for {output:?}");
        Err(Failure::new(OutcomeKind::EngineError, message))
    }

    fn release(&self, _: &[OutputId]) {}

    fn shutdown(&self) {
        for worker in &self.workers {
            let mut queue = worker.queue.lock();
            queue.stop = true;
            for (_, token) in &queue.attempts {
                token.cancel();
            }
            if let Some((_, token)) = &queue.running {
                token.cancel();
            }
            worker.wake.notify_one();
        }
        for thread in self.threads.lock().drain(..) {
            // A worker's panic was reported as an outcome; the thread itself does not panic.
            let _ = thread.join();
        }
    }
}

impl Worker {
    fn new() -> Self {
        Self {
            queue: Mutex::default(),
            wake: Condvar::new(),
            waiting: AtomicUsize::new(0),
            parked: AtomicBool::new(false),
        }
    }

    fn push(&self, attempt: Attempt) {
        let mut queue = self.queue.lock();
        queue.attempts.push_back((attempt, CancelToken::new()));
        self.waiting.fetch_add(1, Ordering::Release);
        if self.parked.load(Ordering::Acquire) {
            self.wake.notify_one();
        }
    }

    fn serve(&self, mut runner: Box<dyn AttemptRunner>, id: WorkerId, sink: &dyn EventSink) {
        runner.idle();
        while let Some((attempt, token)) = self.next() {
            let run = AssertUnwindSafe(|| runner.run(&attempt, &token));
            let report =
                catch_unwind(run).unwrap_or_else(|panic| panicked(&attempt, id, panic.as_ref()));
            self.queue.lock().running = None;
            sink.deliver(vec![ExecutorEvent::Finished(Box::new(report))]);
            if self.waiting.load(Ordering::Acquire) == 0 {
                runner.idle();
            }
        }
    }

    /// The next attempt; none when the pool shuts down.
    fn next(&self) -> Option<(Attempt, CancelToken)> {
        for _ in 0..SPINS {
            if self.waiting.load(Ordering::Acquire) > 0 {
                break;
            }
            std::hint::spin_loop();
        }
        let mut queue = self.queue.lock();
        loop {
            if let Some(next) = self.take(&mut queue) {
                return Some(next);
            }
            if queue.stop {
                return None;
            }
            self.parked.store(true, Ordering::Release);
            self.wake.wait(&mut queue);
            self.parked.store(false, Ordering::Release);
        }
    }

    fn take(&self, queue: &mut MutexGuard<'_, Queue>) -> Option<(Attempt, CancelToken)> {
        let (attempt, token) = queue.attempts.pop_front()?;
        self.waiting.fetch_sub(1, Ordering::Release);
        queue.running = Some((attempt.id, token.clone()));
        Some((attempt, token))
    }
}

/// The report of an attempt that made the runtime itself panic: the run goes on.
fn panicked(
    attempt: &Attempt,
    worker: WorkerId,
    panic: &(dyn std::any::Any + Send),
) -> AttemptReport {
    let message = crate::native::panic_message(panic);
    let message = format!("the runtime panicked: {message}");
    AttemptReport {
        id: attempt.id,
        worker,
        result: Err(Failure::new(OutcomeKind::EngineError, message)),
        timeline: Timeline::default(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        instantiation: Instantiation::None,
        cpu_ns: 0,
        peak_memory_bytes: 0,
        injected: None,
        notes: Vec::new(),
    }
}
