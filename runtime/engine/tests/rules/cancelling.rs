use super::harness::*;
use taps_engine::core::{Action, Event, Settings, TaskState};
use taps_engine::{Capabilities, OutcomeKind};

#[test]
fn what_does_not_run_ends_at_once_with_its_descendants() {
    let mut bench = Bench::pool(1);
    let running = bench.submit(task());
    let ready = bench.submit(task());
    let waiting = bench.submit(child(&[ready]));
    bench.take();
    bench.handle(Event::Cancel(ready));
    assert_eq!(bench.completed(), [ready.0, waiting.0]);
    assert_eq!(bench.state(ready), TaskState::Cancelled);
    assert_eq!(bench.failure(ready).message, "cancelled");
    assert_eq!(bench.state(waiting), TaskState::Cancelled);
    let failure = bench.failure(waiting);
    assert_eq!(failure.message, "task 1 (task) was cancelled");
    assert_eq!(bench.state(running), TaskState::Running);
    assert_eq!(bench.core.counts().cancelled, 2);
}

#[test]
fn what_runs_ends_with_its_report() {
    let mut bench = Bench::pool(1);
    let id = bench.submit(task());
    let next = bench.submit(child(&[id]));
    bench.take();
    bench.handle(Event::Cancel(id));
    bench.handle(Event::Cancel(id));
    assert_eq!(bench.take(), [Action::CancelAttempt(attempt(id, 0))]);
    assert_eq!(bench.state(id), TaskState::Running);
    bench.fail(attempt(id, 0), OutcomeKind::Cancelled);
    assert_eq!(bench.completed(), [id.0, next.0]);
    assert_eq!(bench.state(id), TaskState::Cancelled);
}

#[test]
fn a_report_that_was_faster_than_the_cancel_counts() {
    let mut bench = Bench::pool(1);
    let id = bench.submit(task());
    bench.handle(Event::Cancel(id));
    bench.finish(attempt(id, 0), &[]);
    assert_eq!(bench.state(id), TaskState::Succeeded);
}

#[test]
fn without_cancelling_the_late_report_is_absorbed_and_keeps_its_worker() {
    let capabilities = Capabilities {
        cancels_running: false,
        ..POOL
    };
    let mut bench = Bench::new(Settings::default(), capabilities);
    bench.handle(Event::WorkerJoined(worker(0, "here", 1)));
    let mut spec = task();
    spec.arguments = vec![taps_engine::core::ArgumentSpec::Value(payload(segment(1)))];
    let id = bench.submit(spec);
    let next = bench.submit(task());
    bench.take();
    bench.handle(Event::Cancel(id));
    bench.handle(Event::Release(id));
    // Nobody can ask the core any more: the reason travels with the news.
    let actions = bench.take();
    let [
        Action::Completed {
            task,
            failed: Some(failed),
        },
    ] = &actions[..]
    else {
        panic!("{actions:?}");
    };
    assert_eq!(
        (*task, failed.failure.outcome),
        (id, OutcomeKind::Cancelled)
    );
    assert_eq!(bench.state(next), TaskState::Ready, "the worker is busy");
    bench.finish(attempt(id, 0), &[2]);
    assert_eq!(bench.core.counts().absorbed, 1);
    assert_eq!(bench.state(next), TaskState::Running);
    assert_eq!(bench.freed(), [2, 1], "output and, only now, input");
    assert_eq!(bench.core.state(id), None);
}

#[test]
fn cancel_all_ends_everything() {
    let mut bench = Bench::pool(1);
    let running = bench.submit(task());
    bench.submit(child(&[running]));
    bench.submit(task());
    bench.handle(Event::CancelAll);
    bench.fail(attempt(running, 0), OutcomeKind::WorkerLost);
    let counts = bench.core.counts();
    assert_eq!((counts.cancelled, counts.outstanding), (3, 0));
}
