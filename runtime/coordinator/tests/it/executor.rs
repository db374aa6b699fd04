//! An executor without sandboxes: it answers from threads of its own, or at once.

use parking_lot::{Condvar, Mutex};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use taps_engine::{
    Attempt, AttemptId, AttemptReport, Capabilities, EventSink, Executor, ExecutorEvent, Failure,
    OutcomeKind, Output, Running, StartError, WorkerId, WorkerInfo,
};
use taps_payload::{Transfer, Way};

/// What happens in the course of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// Nothing.
    None,
    /// After this many attempts the executor gives up.
    Fails(u64),
    /// After this many attempts the worker of the last one is lost, with that attempt on it.
    LosesWorker(u64),
    /// After this many attempts the last one comes back.
    ReturnsAttempt(u64),
    /// It cannot start.
    NeverStarts,
}

/// Answers `ok` with its argument and `error` with an error; `sleep` ends when cancelled.
pub(crate) struct Fake {
    threads: u32,
    shared: Arc<Shared>,
    joined: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    /// Answers from within `submit`.
    at_once: bool,
    mishap: Mishap,
    sink: Mutex<Option<Arc<dyn EventSink>>>,
    queue: Mutex<Queue>,
    wake: Condvar,
    attempts: AtomicU64,
    /// Slows `submit` down, to be overtaken by a cancel.
    hesitates: Duration,
}

#[derive(Default)]
struct Queue {
    attempts: VecDeque<(WorkerId, Attempt)>,
    sleeping: Vec<(WorkerId, Attempt)>,
    stop: bool,
}

impl Fake {
    pub(crate) fn new(threads: u32, mishap: Mishap) -> Self {
        Self::with(threads, mishap, Duration::ZERO)
    }

    /// One that hesitates before it takes attempts.
    pub(crate) fn hesitating(threads: u32, hesitates: Duration) -> Self {
        Self::with(threads, Mishap::None, hesitates)
    }

    fn with(threads: u32, mishap: Mishap, hesitates: Duration) -> Self {
        Self {
            threads,
            shared: Arc::new(Shared {
                at_once: threads == 0,
                mishap,
                sink: Mutex::default(),
                queue: Mutex::default(),
                wake: Condvar::new(),
                attempts: AtomicU64::new(0),
                hesitates,
            }),
            joined: Mutex::default(),
        }
    }
}

impl Shared {
    fn sink(&self) -> Option<Arc<dyn EventSink>> {
        self.sink.lock().clone()
    }

    fn deliver(&self, event: ExecutorEvent) {
        if let Some(sink) = self.sink() {
            sink.deliver(vec![event]);
        }
    }

    fn serve(&self) {
        loop {
            let mut queue = self.queue.lock();
            let (worker, attempt) = loop {
                if let Some(next) = queue.attempts.pop_front() {
                    break next;
                }
                if queue.stop {
                    return;
                }
                self.wake.wait(&mut queue);
            };
            if &*attempt.name == "sleep" {
                queue.sleeping.push((worker, attempt));
                continue;
            }
            drop(queue);
            self.answer(worker, &attempt);
        }
    }

    fn answer(&self, worker: WorkerId, attempt: &Attempt) {
        let count = self.attempts.fetch_add(1, Ordering::Relaxed) + 1;
        match self.mishap {
            Mishap::Fails(after) if count == after => {
                let failure = Failure::new(OutcomeKind::EngineError, "the executor gave up");
                self.deliver(ExecutorEvent::Failed(failure));
                return;
            }
            Mishap::Fails(after) if count > after => return,
            Mishap::LosesWorker(after) if count == after => {
                let reason = "it was told to go".to_owned();
                self.deliver(ExecutorEvent::WorkerLost {
                    worker,
                    reason,
                    running: Running::Unknown,
                });
                return;
            }
            Mishap::ReturnsAttempt(after) if count == after => {
                self.deliver(ExecutorEvent::Returned(attempt.id));
                return;
            }
            _ => {}
        }
        let result = match &*attempt.name {
            "error" => Err(Failure {
                kind: "ProbeError".into(),
                ..Failure::new(OutcomeKind::TaskError, "told to fail")
            }),
            _ => Ok(vec![Output {
                location: attempt.arguments[0].location.clone(),
            }]),
        };
        self.finish(worker, attempt.id, result);
    }

    fn finish(&self, worker: WorkerId, id: AttemptId, result: Result<Vec<Output>, Failure>) {
        let transfer = Transfer {
            bytes: 4,
            bytes_moved: 4,
            way: Way::Inline,
            copies: 1,
        };
        self.deliver(ExecutorEvent::Finished(Box::new(AttemptReport {
            outputs: result.iter().map(|_| transfer).collect(),
            ..AttemptReport::bare(id, worker, result)
        })));
    }
}

fn cancelled() -> Failure {
    Failure::new(OutcomeKind::Cancelled, "the attempt was cancelled")
}

impl Executor for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            places: true,
            keeps_results: false,
            cancels_running: true,
            kills_workers: false,
            sees_host_paths: true,
            reports_worker_loss: true,
        }
    }

    fn start(&self, sink: Arc<dyn EventSink>) -> Result<(), StartError> {
        if self.shared.mishap == Mishap::NeverStarts {
            return Err(StartError::Sandbox("told not to start".into()));
        }
        *self.shared.sink.lock() = Some(Arc::clone(&sink));
        for _ in 0..self.threads {
            let shared = Arc::clone(&self.shared);
            self.joined
                .lock()
                .push(std::thread::spawn(move || shared.serve()));
        }
        let workers = (0..self.threads.max(1)).map(|id| {
            ExecutorEvent::WorkerJoined(WorkerInfo {
                id: WorkerId(id),
                host: "here".into(),
                cores: 1,
                memory_bytes: 1 << 30,
                resources: Vec::new(),
                look_ahead: 0,
            })
        });
        sink.deliver(workers.collect());
        Ok(())
    }

    fn submit(&self, batch: Vec<(Option<WorkerId>, Attempt)>) {
        if !self.shared.hesitates.is_zero() {
            std::thread::sleep(self.shared.hesitates);
        }
        for (worker, attempt) in batch {
            let worker = worker.unwrap_or(WorkerId(0));
            if self.shared.at_once && &*attempt.name != "sleep" {
                self.shared.answer(worker, &attempt);
                continue;
            }
            let mut queue = self.shared.queue.lock();
            if self.shared.at_once {
                queue.sleeping.push((worker, attempt));
            } else {
                queue.attempts.push_back((worker, attempt));
                self.shared.wake.notify_one();
            }
        }
    }

    /// Knows only attempts that it has, like any executor.
    fn cancel(&self, attempts: &[AttemptId]) {
        let mut found = Vec::new();
        let mut queue = self.shared.queue.lock();
        let Queue {
            attempts: waiting,
            sleeping,
            ..
        } = &mut *queue;
        waiting.retain(|(worker, attempt)| {
            let wanted = attempts.contains(&attempt.id);
            if wanted {
                found.push((*worker, attempt.id));
            }
            !wanted
        });
        sleeping.retain(|(worker, attempt)| {
            let wanted = attempts.contains(&attempt.id);
            if wanted {
                found.push((*worker, attempt.id));
            }
            !wanted
        });
        drop(queue);
        // From another thread, as a worker would.
        let shared = Arc::clone(&self.shared);
        let reports = std::thread::spawn(move || {
            for (worker, id) in found {
                shared.finish(worker, id, Err(cancelled()));
            }
        });
        self.joined.lock().push(reports);
    }

    fn shutdown(&self) {
        self.shared.queue.lock().stop = true;
        self.shared.wake.notify_all();
        loop {
            let Some(thread) = self.joined.lock().pop() else {
                break;
            };
            thread.join().expect("no panic");
        }
        *self.shared.sink.lock() = None;
    }
}
