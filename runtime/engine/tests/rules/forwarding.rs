use super::harness::*;
use taps_engine::core::{
    Action, Event, RetryPolicy, Settings, TaskOptions, TaskSpec, TaskState, forward_key,
};
use taps_engine::{Generation, OutcomeKind, TaskId};
use taps_payload::Location;

fn engine() -> Bench {
    let settings = Settings {
        default_retry: RetryPolicy {
            retries: 1,
            ..RetryPolicy::default()
        },
        ..Settings::default()
    };
    Bench::new(settings, ENGINE)
}

fn promised(task: TaskId, generation: u32) -> Location {
    Location::Engine {
        key: forward_key(output(task, 0), Generation(generation)),
        len: 0,
    }
}

#[test]
fn a_graph_goes_to_the_engine_before_it_runs() {
    let mut bench = engine();
    let a = bench.submit(task());
    let b = bench.submit(child(&[a]));
    let c = bench.submit(child(&[a, b]));
    let all = bench.all_dispatched();
    assert!(all.iter().all(|(worker, _)| worker.is_none()));
    assert_eq!(all[1].1.arguments, [payload(promised(a, 0))]);
    assert_eq!(bench.state(c), TaskState::Forwarded);
    bench.finish(attempt(a, 0), &[1]);
    assert_eq!(bench.state(b), TaskState::Running);
    assert_eq!(bench.state(c), TaskState::Forwarded);
    bench.finish(attempt(b, 0), &[2]);
    assert_eq!(bench.state(c), TaskState::Running);
}

#[test]
fn provisional_upstream_failures_are_forwarded_again() {
    for child_first in [true, false] {
        let mut bench = engine();
        let a = bench.submit(task());
        let b = bench.submit(child(&[a]));
        bench.take();
        if child_first {
            bench.fail(attempt(b, 0), OutcomeKind::UpstreamFailed);
            assert_eq!(bench.state(b), TaskState::Waiting);
            let retrying = Action::Retrying {
                failed: attempt(b, 0),
                backoff_ms: 0,
            };
            assert_eq!(
                bench.take(),
                [retrying],
                "the parent is not known to fail yet"
            );
        }
        bench.fail(attempt(a, 0), OutcomeKind::TaskError);
        if !child_first {
            assert_eq!(bench.started(), [a.0]);
            assert_eq!(bench.state(b), TaskState::Forwarded);
            bench.fail(attempt(b, 0), OutcomeKind::UpstreamFailed);
        }
        let again = bench.all_dispatched().pop().unwrap().1;
        assert_eq!(again.id, attempt(b, 1));
        assert_eq!(again.arguments, [payload(promised(a, 1))]);
        bench.finish(attempt(a, 1), &[1]);
        bench.finish(attempt(b, 1), &[2]);
        assert_eq!(bench.state(b), TaskState::Succeeded);
        assert_eq!(bench.core.counts().failed, 0);
    }
}

#[test]
fn a_final_failure_ends_what_was_forwarded() {
    let mut bench = engine();
    let a = bench.submit(TaskSpec {
        options: TaskOptions {
            retries: Some(0),
            ..TaskOptions::default()
        },
        ..task()
    });
    let b = bench.submit(child(&[a]));
    bench.take();
    bench.fail(attempt(a, 0), OutcomeKind::TaskError);
    assert_eq!(
        bench.take_plain(),
        [
            Action::Completed {
                task: a,
                failed: None
            },
            Action::CancelAttempt(attempt(b, 0)),
            Action::Completed {
                task: b,
                failed: None
            }
        ]
    );
    bench.fail(attempt(b, 0), OutcomeKind::UpstreamFailed);
    assert_eq!(bench.core.counts().absorbed, 1);
    bench.handle(Event::Release(a));
    bench.handle(Event::Release(b));
    assert_eq!(bench.core.counts().tasks_held, 0);
}

#[test]
fn reports_may_come_children_first() {
    let mut bench = engine();
    let a = bench.submit(task());
    let b = bench.submit(child(&[a]));
    bench.finish(attempt(b, 0), &[2]);
    bench.take();
    bench.finish(attempt(a, 0), &[1]);
    assert_eq!(bench.completed(), [a.0]);
    assert_eq!(bench.state(b), TaskState::Succeeded);
}
