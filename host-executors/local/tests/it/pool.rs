//! The thread pool with runners that do what a test wants.

use crate::attempt;
use parking_lot::{Condvar, Mutex};
use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use taps_engine::{
    Attempt, AttemptReport, EventSink, Executor, ExecutorEvent, Failure, OutcomeKind, WorkerId,
};
use taps_executors::{AttemptRunner, ThreadPool};
use taps_sandbox::{CancelToken, Control};

// Tasks of these runners.
const NOTHING: u32 = 0;
const SLEEP: u32 = 1;
const PANIC: u32 = 2;

/// Longer than anything here takes, shorter than a test may hang.
const PATIENCE: Duration = Duration::from_mins(1);

struct Runner(WorkerId);

impl AttemptRunner for Runner {
    fn run(&mut self, attempt: &Attempt, token: &CancelToken) -> AttemptReport {
        let control = Control::new(token.clone(), None);
        let interrupted = match attempt.task {
            SLEEP => control.sleep(Duration::MAX),
            PANIC => panic!("the runner was told to panic"),
            _ => control.check(),
        };
        let result = interrupted
            .map(|()| Vec::new())
            .map_err(|why| Failure::new(OutcomeKind::Cancelled, why.to_string()));
        AttemptReport::bare(attempt.id, self.0, result)
    }
}

/// Keeps the reports, and hands out what comes next from within the delivery.
#[derive(Default)]
struct Sink {
    reports: Mutex<Vec<AttemptReport>>,
    workers: Mutex<u32>,
    change: Condvar,
    next: Mutex<Vec<(WorkerId, Attempt)>>,
    pool: OnceLock<Arc<ThreadPool>>,
}

impl EventSink for Sink {
    fn deliver(&self, events: Vec<ExecutorEvent>) {
        for event in events {
            match event {
                ExecutorEvent::Finished(report) => {
                    if let (Some(pool), Some((worker, next))) =
                        (self.pool.get(), self.next.lock().pop())
                    {
                        pool.submit(vec![(Some(worker), next)]);
                    }
                    self.reports.lock().push(*report);
                    self.change.notify_all();
                }
                ExecutorEvent::WorkerJoined(_) => *self.workers.lock() += 1,
                other => panic!("{other:?}"),
            }
        }
    }
}

impl Sink {
    /// Waits for that many reports.
    fn wait(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut reports = self.reports.lock();
        while reports.len() < count {
            let late = self.change.wait_until(&mut reports, deadline).timed_out();
            assert!(!late, "{} of {count} reports came", reports.len());
        }
    }

    fn outcomes(&self) -> Vec<(u64, OutcomeKind)> {
        let reports = self.reports.lock();
        let mut all: Vec<_> = reports
            .iter()
            .map(|report| (report.id.task.0, report.outcome()))
            .collect();
        all.sort_by_key(|(id, _)| *id);
        all
    }
}

fn pool(threads: u32) -> (Arc<ThreadPool>, Arc<Sink>) {
    let pool = ThreadPool::new(
        "thread-pool",
        threads,
        "here".into(),
        1 << 30,
        Arc::new(|worker| Box::new(Runner(worker))),
    );
    let pool = Arc::new(pool);
    let sink = Arc::new(Sink::default());
    pool.start(Arc::clone(&sink) as Arc<dyn EventSink>)
        .expect("threads can be started");
    assert_eq!(*sink.workers.lock(), threads);
    (pool, sink)
}

fn place(id: u64, worker: u32, task: u32) -> (Option<WorkerId>, Attempt) {
    (Some(WorkerId(worker)), attempt(id, task, Vec::new()))
}

/// Until a worker is busy with the first attempt of its queue.
const UNDER_WAY: Duration = Duration::from_millis(30);

#[test]
fn every_attempt_is_reported_once_by_its_worker() {
    let (pool, sink) = pool(4);
    let total = 20_000;
    for first in (0..total).step_by(100) {
        let batch = (first..first + 100).map(|id| place(id, id as u32 % 4, NOTHING));
        pool.submit(batch.collect());
    }
    sink.wait(total as usize);
    pool.shutdown();
    let reports = sink.reports.lock();
    assert_eq!(reports.len(), total as usize);
    let mut seen = vec![false; total as usize];
    for report in &*reports {
        assert_eq!(u64::from(report.worker.0), report.id.task.0 % 4);
        assert!(!std::mem::replace(
            &mut seen[report.id.task.0 as usize],
            true
        ));
        assert_eq!(report.outcome(), OutcomeKind::Ok);
    }
}

/// Workers that spin, park and wake at every distance from their next attempt.
#[test]
fn no_wake_up_is_lost() {
    let (pool, sink) = pool(2);
    let mut count = 0;
    for round in 0..4000_u64 {
        pool.submit(vec![place(round, round as u32 % 2, NOTHING)]);
        count += 1;
        if round % 3 == 0 {
            sink.wait(count);
        }
        let pause = Instant::now();
        while pause.elapsed() < Duration::from_nanos(round * 13 % 60_000) {
            std::hint::spin_loop();
        }
    }
    sink.wait(count);
    pool.shutdown();
}

/// From within the delivery, as the coordinator does it.
#[test]
fn the_next_attempt_may_come_from_the_delivery() {
    let (pool, sink) = pool(2);
    let _ = sink.pool.set(Arc::clone(&pool));
    *sink.next.lock() = (1..5000)
        .map(|id| (WorkerId(id as u32 % 2), attempt(id, NOTHING, Vec::new())))
        .collect();
    pool.submit(vec![place(0, 0, NOTHING)]);
    sink.wait(5000);
    pool.shutdown();
}

#[test]
fn running_and_queued_attempts_are_cancelled() {
    let (pool, sink) = pool(1);
    pool.submit((0..4).map(|id| place(id, 0, SLEEP)).collect());
    pool.submit(vec![place(4, 0, NOTHING)]);
    std::thread::sleep(UNDER_WAY);
    let id = |id: u64| attempt(id, SLEEP, Vec::new()).id;
    // Queued ones first; they report when their turn comes.
    pool.cancel(&[id(2), id(3), id(99)]);
    assert!(sink.reports.lock().is_empty());
    pool.cancel(&[id(0)]);
    sink.wait(1);
    pool.cancel(&[id(1), id(0)]);
    sink.wait(5);
    let mut expected: Vec<_> = (0..4).map(|id| (id, OutcomeKind::Cancelled)).collect();
    expected.push((4, OutcomeKind::Ok));
    assert_eq!(sink.outcomes(), expected);
    pool.shutdown();
}

#[test]
fn shutdown_ends_what_runs_and_what_waits() {
    let (pool, sink) = pool(2);
    pool.submit((0..10).map(|id| place(id, id as u32 % 2, SLEEP)).collect());
    std::thread::sleep(UNDER_WAY);
    let began = Instant::now();
    pool.shutdown();
    assert!(began.elapsed() < Duration::from_secs(5));
    let expected: Vec<_> = (0..10).map(|id| (id, OutcomeKind::Cancelled)).collect();
    assert_eq!(sink.outcomes(), expected);
    // Again, and for a pool that has ended, it does nothing.
    pool.shutdown();
}

#[test]
fn a_runtime_that_panics_is_an_error_of_the_engine() {
    let (pool, sink) = pool(1);
    pool.submit(vec![
        place(0, 0, PANIC),
        place(1, 0, NOTHING),
        place(2, 0, PANIC),
    ]);
    sink.wait(3);
    let expected = [
        (0, OutcomeKind::EngineError),
        (1, OutcomeKind::Ok),
        (2, OutcomeKind::EngineError),
    ];
    assert_eq!(sink.outcomes(), expected);
    let reports = sink.reports.lock();
    let Err(failure) = &reports[0].result else {
        panic!()
    };
    assert!(failure.message.contains("told to panic"), "{failure:?}");
    drop(reports);
    pool.shutdown();
}

#[test]
fn no_result_is_kept() {
    let (pool, _sink) = pool(1);
    let error = pool.fetch("output:0:0:0").expect_err("nothing is kept");
    assert!(error.lost, "{error}");
    pool.release(&["output:0:0:0".into()]);
    pool.shutdown();
}
