use super::harness::*;
use taps_engine::core::{
    Action, Event, OutcomeSet, RetryPolicy, Settings, TaskOptions, TaskSpec, TaskState,
};
use taps_engine::{OutcomeKind, TrapKind};

const MS: u64 = 1_000_000;

fn retrying(policy: RetryPolicy) -> Settings {
    Settings {
        default_retry: policy,
        ..Settings::default()
    }
}

#[test]
fn retries_are_counted_and_attempts_numbered() {
    let policy = RetryPolicy {
        retries: 2,
        ..RetryPolicy::default()
    };
    let mut bench = Bench::pool_with(1, retrying(policy));
    let id = bench.submit(task());
    for number in 0..3 {
        assert_eq!(bench.dispatched().id, attempt(id, number));
        bench.fail(attempt(id, number), OutcomeKind::TaskError);
    }
    assert_eq!(bench.state(id), TaskState::Failed);
    assert_eq!(bench.failure(id).message, "broken", "the last one's own");
    assert_eq!(bench.completed(), [0]);
    assert_eq!(bench.core.counts().retried, 2);
}

#[test]
fn a_submission_may_ask_for_its_own_number_of_retries() {
    let mut bench = Bench::pool(1);
    let id = bench.submit(TaskSpec {
        options: TaskOptions {
            retries: Some(1),
            ..TaskOptions::default()
        },
        ..task()
    });
    bench.fail(attempt(id, 0), OutcomeKind::Timeout);
    bench.finish(attempt(id, 1), &[]);
    assert_eq!(bench.state(id), TaskState::Succeeded);
}

#[test]
fn only_outcomes_of_the_set_are_retried() {
    let policy = RetryPolicy {
        retries: 5,
        on: OutcomeSet::from_names(["trap", "timeout"]).unwrap(),
        ..RetryPolicy::default()
    };
    let mut bench = Bench::pool_with(1, retrying(policy));
    let id = bench.submit(task());
    bench.fail(attempt(id, 0), OutcomeKind::Trap(TrapKind::Exit));
    assert_eq!(bench.state(id), TaskState::Running);
    bench.fail(attempt(id, 1), OutcomeKind::TaskError);
    assert_eq!(bench.state(id), TaskState::Failed);
    assert_eq!(OutcomeSet::from_names(["trap", "ok"]), Err("ok"));
}

#[test]
fn back_off_grows_and_is_capped() {
    let policy = RetryPolicy {
        retries: 9,
        backoff_ms: 100,
        backoff_factor: 3.0,
        max_backoff_ms: 500,
        ..RetryPolicy::default()
    };
    let mut bench = Bench::pool_with(1, retrying(policy));
    let id = bench.submit(task());
    for (number, expected_ms) in [100, 300, 500, 500].into_iter().enumerate() {
        let failed = attempt(id, number as u32);
        bench.take();
        bench.fail(failed, OutcomeKind::TaskError);
        let backoff_ms = expected_ms;
        assert_eq!(bench.take(), [Action::Retrying { failed, backoff_ms }]);
        assert_eq!(bench.state(id), TaskState::BackOff);
        let due_ns = bench.now_ns + expected_ms * MS;
        assert_eq!(bench.core.next_timer_ns(), Some(due_ns));
        bench.now_ns = due_ns - 1;
        bench.handle(Event::Tick);
        assert_eq!(bench.state(id), TaskState::BackOff, "too early");
        bench.now_ns = due_ns;
        bench.handle(Event::Tick);
        assert_eq!(bench.state(id), TaskState::Running);
        assert_eq!(bench.core.next_timer_ns(), None);
    }
    let odd = RetryPolicy {
        backoff_ms: u64::MAX,
        backoff_factor: f64::INFINITY,
        ..policy
    };
    assert_eq!(odd.backoff(u32::MAX), 500, "no overflow");
}

#[test]
fn the_worker_is_free_during_back_off() {
    let policy = RetryPolicy {
        retries: 1,
        backoff_ms: 1,
        ..RetryPolicy::default()
    };
    let mut bench = Bench::pool_with(1, retrying(policy));
    let first = bench.submit(task());
    let second = bench.submit(task());
    bench.fail(attempt(first, 0), OutcomeKind::TaskError);
    assert_eq!(bench.state(second), TaskState::Running);
}

#[test]
fn a_task_that_crashes_workers_is_given_up() {
    let policy = RetryPolicy {
        retries: 100,
        ..RetryPolicy::default()
    };
    let mut bench = Bench::pool_with(
        4,
        Settings {
            crash_limit: 2,
            ..retrying(policy)
        },
    );
    let id = bench.submit(task());
    for number in 0..3 {
        let (on, _) = bench.all_dispatched().remove(0);
        let on = on.unwrap();
        bench.lose_worker(on.0);
        let first = bench.actions.first().cloned();
        let lost = matches!(first, Some(Action::AttemptLost { attempt: a, .. }) if a == attempt(id, number));
        assert!(lost, "{first:?}");
    }
    let failure = bench.failure(id);
    assert_eq!(failure.outcome, OutcomeKind::WorkerLost);
    assert_eq!(failure.kind, "crash-limit");
    assert!(
        failure
            .message
            .starts_with("given up after it lost 3 workers (crash limit 2); last: worker "),
        "{failure}"
    );
    assert_eq!(bench.core.counts().crashes, 3);
}

#[test]
fn late_and_double_reports_are_absorbed() {
    let policy = RetryPolicy {
        retries: 1,
        ..RetryPolicy::default()
    };
    let mut bench = Bench::pool_with(2, retrying(policy));
    let id = bench.submit(task());
    bench.lose_worker(1);
    assert!(!bench.core.is_out(attempt(id, 0)));
    bench.take();
    bench.finish(attempt(id, 0), &[1]);
    assert_eq!(bench.state(id), TaskState::Running, "attempt 1 counts");
    assert_eq!(bench.freed(), [1], "nobody will read it");
    bench.finish(attempt(id, 1), &[2]);
    bench.take();
    bench.finish(attempt(id, 1), &[2]);
    assert_eq!(bench.take(), [], "the bytes are the task's own");
    bench.finish(attempt(id, 7), &[]);
    bench.finish(attempt(taps_engine::TaskId(77), 0), &[]);
    assert_eq!(bench.core.counts().absorbed, 4);
}
