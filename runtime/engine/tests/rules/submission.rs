use super::harness::*;
use taps_engine::core::{
    Action, ArgumentSpec, Event, PayloadKey, Settings, SubmitError, TaskOptions, TaskSpec,
    TaskState, task_seed,
};
use taps_engine::{Failure, Limits, OutcomeKind, TaskId};

#[test]
fn a_ready_task_goes_to_an_idle_worker_at_once() {
    let mut bench = Bench::pool(1);
    let id = bench.submit(TaskSpec {
        options: TaskOptions {
            timeout_ms: Some(5),
            ..TaskOptions::default()
        },
        ..task()
    });
    let attempt = bench.dispatched();
    assert_eq!(attempt.id.task, id);
    assert_eq!(attempt.limits.timeout_ms, Some(5));
    assert_eq!(
        attempt.limits.memory_bytes,
        Limits::default().memory_bytes,
        "other limits are left alone"
    );
    assert_eq!(bench.state(id), TaskState::Running);
}

#[test]
fn parents_come_first_and_their_outputs_become_arguments() {
    let mut bench = Bench::pool(2);
    let parent = bench.submit(task());
    let first = bench.dispatched();
    let next = bench.submit(child(&[parent, parent]));
    assert_eq!(bench.state(next), TaskState::Waiting);
    bench.finish(first.id, &[1]);
    let attempt = bench.dispatched();
    assert_eq!(attempt.id.task, next);
    let argument = payload(segment(1));
    assert_eq!(attempt.arguments, [argument.clone(), argument]);
}

#[test]
fn seeds_count_submissions_of_a_name() {
    let mut bench = Bench::pool(4);
    let named = |name: &str| TaskSpec {
        name: name.into(),
        ..task()
    };
    bench.submit(named("a"));
    bench.submit(named("b"));
    bench.submit(named("a"));
    let seeds: Vec<u64> = bench
        .all_dispatched()
        .iter()
        .map(|(_, attempt)| attempt.seed)
        .collect();
    let expected = [("a", 0), ("b", 0), ("a", 1)].map(|(name, n)| task_seed(7, name, n));
    assert_eq!(seeds, expected);
}

#[test]
fn back_pressure_counts_tasks_that_are_not_terminal() {
    let settings = Settings {
        max_outstanding: 2,
        ..Settings::default()
    };
    let mut bench = Bench::pool_with(1, settings);
    let first = bench.submit(task());
    bench.submit(task());
    assert!(!bench.core.can_submit());
    let refused = bench.try_submit(task());
    assert_eq!(refused, Err(SubmitError::Full { limit: 2 }));
    bench.finish(attempt(first, 0), &[]);
    assert!(bench.core.can_submit());
    assert_eq!(bench.submit(task()), TaskId(2), "the refused one has no id");
}

#[test]
fn bad_arguments_are_refused_with_their_position() {
    let mut bench = Bench::pool(1);
    let parent = bench.submit(TaskSpec {
        outputs: 2,
        ..task()
    });
    let with = |argument| TaskSpec {
        arguments: vec![ArgumentSpec::Value(payload(segment(9))), argument],
        ..task()
    };
    let unknown = TaskId(99);
    let error = bench.try_submit(with(ArgumentSpec::Output(output(unknown, 0))));
    assert_eq!(
        error,
        Err(SubmitError::UnknownTask {
            argument: 1,
            task: unknown
        })
    );
    let error = bench.try_submit(with(ArgumentSpec::Output(output(parent, 2))));
    assert_eq!(
        error.unwrap_err().to_string(),
        "argument 1: task 0 has outputs 0 to 1, not 2"
    );
    let key = PayloadKey(3);
    let error = bench.try_submit(with(ArgumentSpec::Held(key)));
    assert_eq!(error, Err(SubmitError::UnknownPayload { argument: 1, key }));
    bench.finish(attempt(parent, 0), &[1, 2]);
    bench.handle(Event::Release(parent));
    let error = bench.try_submit(with(ArgumentSpec::Output(output(parent, 0))));
    let task = parent;
    assert_eq!(error, Err(SubmitError::UnknownTask { argument: 1, task }));
    assert_eq!(bench.core.counts().submitted, 1);
}

#[test]
fn fewer_outputs_than_a_child_refers_to_fail_the_child() {
    let mut bench = Bench::pool(1);
    let parent = bench.submit(task());
    let mut spec = child(&[parent]);
    spec.arguments = vec![ArgumentSpec::Output(output(parent, 3))];
    let before = bench.submit(spec.clone());
    bench.finish(attempt(parent, 0), &[1, 2]);
    let after = bench.submit(spec);
    for id in [before, after] {
        let failure = bench.failure(id);
        assert_eq!(failure.outcome, OutcomeKind::PayloadError);
        assert_eq!(
            failure.message,
            "argument 0: task 0 (task) gave 2 outputs, output 3 was asked"
        );
    }
}

#[test]
fn nothing_is_taken_once_the_executor_has_failed() {
    let mut bench = Bench::pool(1);
    let running = bench.submit(task());
    let waiting = bench.submit(child(&[running]));
    let ready = bench.submit(task());
    bench.take();
    let failure = Failure::new(OutcomeKind::EngineError, "no workers left");
    bench.handle(Event::ExecutorFailed(failure.clone()));
    let actions = bench.take();
    let lost = Action::AttemptLost {
        attempt: attempt(running, 0),
        worker: Some(taps_engine::WorkerId(0)),
        failure: failure.clone(),
    };
    assert!(actions.contains(&lost), "{actions:?}");
    assert_eq!(bench.failure(running), &failure);
    assert_eq!(bench.failure(ready), &failure);
    assert_eq!(bench.failure(waiting).outcome, OutcomeKind::UpstreamFailed);
    let refused = bench.try_submit(task()).unwrap_err();
    assert_eq!(refused.to_string(), "the executor failed: no workers left");
}
