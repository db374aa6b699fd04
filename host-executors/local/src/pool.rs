//! Worker threads, each with its own queue.
//!
//! The coordinator's lock is the only one that workers share. A worker that finishes delivers its own
//! report; the engine core's next attempt for it is in its queue when the delivery returns, so no
//! other thread wakes. While short attempts follow each other in its queue, it delivers several reports
//! at once, so that the lock is taken and the driver woken less often; a report that turns out to wait
//! for long, because the attempt after it is not short, is delivered by the pool's own thread. A worker
//! without work spins briefly, then parks.

use parking_lot::{Condvar, Mutex, MutexGuard};
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use taps_engine::{
    Attempt, AttemptId, AttemptReport, Capabilities, EventSink, Executor, ExecutorEvent,
    REPORT_HOLD, StartError, WorkerId, WorkerInfo, report_hold,
};
use taps_sandbox::{CancelToken, Control};

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
    sink: OnceLock<Arc<dyn EventSink>>,
    /// Ends the pool's own thread.
    stop: CancelToken,
}

/// What a worker thread shares with those who give it work.
struct Worker {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Attempts queued; lets a spinning worker look without the lock.
    waiting: AtomicUsize,
    /// Whether the thread sleeps and must be woken.
    parked: AtomicBool,
    /// Reports that wait for others.
    held: Mutex<Held>,
    /// How many workers of the pool have nothing to do.
    idle: Arc<AtomicUsize>,
}

/// Reports not delivered yet, and since when the first of them waits.
#[derive(Default)]
struct Held {
    events: Vec<ExecutorEvent>,
    since: Option<Instant>,
}

#[derive(Default)]
struct Queue {
    attempts: VecDeque<(Attempt, CancelToken)>,
    running: Option<(AttemptId, CancelToken)>,
    stop: bool,
}

/// Most short attempts that wait on a worker behind the one that runs.
const LOOK_AHEAD: u32 = 64;

/// Most reports held.
const MOST_HELD: usize = 16;

/// How often the pool's own thread looks for reports that have waited for too long.
const LOOK_EVERY: Duration = Duration::from_millis(5);

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
        let idle = Arc::<AtomicUsize>::default();
        let workers = (0..threads)
            .map(|_| Arc::new(Worker::new(Arc::clone(&idle))))
            .collect();
        Self {
            name,
            host,
            memory_bytes,
            factory,
            workers,
            threads: Mutex::default(),
            sink: OnceLock::new(),
            stop: CancelToken::new(),
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
        self.start_own(&sink).map_err(|source| StartError::Worker {
            worker: WorkerId(0),
            source,
        })?;
        let joined = (0..self.workers.len() as u32)
            .map(|id| {
                ExecutorEvent::WorkerJoined(WorkerInfo {
                    id: WorkerId(id),
                    host: self.host.clone(),
                    cores: 1,
                    memory_bytes: self.memory_bytes / self.workers.len().max(1) as u64,
                    resources: Vec::new(),
                    look_ahead: LOOK_AHEAD,
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

    fn recall(&self, attempts: &[AttemptId]) {
        let returned: Vec<_> = self
            .workers
            .iter()
            .flat_map(|worker| worker.withdraw(attempts))
            .map(ExecutorEvent::Returned)
            .collect();
        if let Some(sink) = self.sink.get().filter(|_| !returned.is_empty()) {
            sink.deliver(returned);
        }
    }

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
        self.stop.cancel();
        for thread in self.threads.lock().drain(..) {
            // A worker's panic was reported as an outcome; the thread itself does not panic.
            let _ = thread.join();
        }
    }
}

impl ThreadPool {
    /// Starts the pool's own thread.
    fn start_own(&self, sink: &Arc<dyn EventSink>) -> std::io::Result<()> {
        // The pool starts once.
        let _ = self.sink.set(Arc::clone(sink));
        let (workers, sink) = (self.workers.clone(), Arc::clone(sink));
        let stop = Control::new(self.stop.clone(), None);
        let thread = std::thread::Builder::new()
            .name("late-reports".into())
            .spawn(move || {
                while stop.sleep(LOOK_EVERY).is_ok() {
                    for worker in &workers {
                        worker.deliver_late(sink.as_ref());
                    }
                }
            })?;
        self.threads.lock().push(thread);
        Ok(())
    }
}

impl Held {
    fn take(&mut self) -> Vec<ExecutorEvent> {
        self.since = None;
        std::mem::take(&mut self.events)
    }
}

impl Worker {
    fn new(idle: Arc<AtomicUsize>) -> Self {
        Self {
            idle,
            queue: Mutex::default(),
            wake: Condvar::new(),
            waiting: AtomicUsize::new(0),
            parked: AtomicBool::new(false),
            held: Mutex::default(),
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
        while let Some((attempt, token)) = self.next(sink) {
            let began = Instant::now();
            let run = AssertUnwindSafe(|| runner.run(&attempt, &token));
            let report = catch_unwind(run)
                .unwrap_or_else(|panic| AttemptReport::of_panic(attempt.id, id, panic.as_ref()));
            self.queue.lock().running = None;
            let waits = self.waiting.load(Ordering::Acquire) > 0;
            let hold = if waits {
                report_hold(began.elapsed(), self.idle.load(Ordering::Relaxed) > 0)
            } else {
                Duration::ZERO
            };
            self.report(report, hold, sink);
            if !waits {
                runner.idle();
            }
        }
    }

    /// Delivers a report, or holds it, until the first that is held has waited for so long.
    fn report(&self, report: AttemptReport, hold: Duration, sink: &dyn EventSink) {
        let ready = {
            let mut held = self.held.lock();
            held.events.push(ExecutorEvent::Finished(Box::new(report)));
            let since = *held.since.get_or_insert_with(Instant::now);
            if held.events.len() < MOST_HELD && since.elapsed() < hold {
                return;
            }
            held.take()
        };
        sink.deliver(ready);
    }

    /// Delivers what has waited for longer than it should.
    fn deliver_late(&self, sink: &dyn EventSink) {
        let late = {
            let mut held = self.held.lock();
            if held.since.is_none_or(|since| since.elapsed() < REPORT_HOLD) {
                return;
            }
            held.take()
        };
        sink.deliver(late);
    }

    /// Takes attempts back that have not started; gives those.
    fn withdraw(&self, attempts: &[AttemptId]) -> Vec<AttemptId> {
        let mut queue = self.queue.lock();
        let mut taken = Vec::new();
        queue.attempts.retain(|(attempt, _)| {
            let wanted = attempts.contains(&attempt.id);
            if wanted {
                taken.push(attempt.id);
            }
            !wanted
        });
        self.waiting.fetch_sub(taken.len(), Ordering::Release);
        taken
    }

    /// The next attempt; none when the pool shuts down.
    fn next(&self, sink: &dyn EventSink) -> Option<(Attempt, CancelToken)> {
        if self.waiting.load(Ordering::Acquire) > 0
            && let Some(next) = self.take(&mut self.queue.lock())
        {
            return Some(next);
        }
        self.idle.fetch_add(1, Ordering::Relaxed);
        let next = self.wait(sink);
        self.idle.fetch_sub(1, Ordering::Relaxed);
        next
    }

    fn wait(&self, sink: &dyn EventSink) -> Option<(Attempt, CancelToken)> {
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
            // What was to follow the last report has been asked back.
            let held = self.held.lock().take();
            if !held.is_empty() {
                MutexGuard::unlocked(&mut queue, || sink.deliver(held));
                continue;
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
