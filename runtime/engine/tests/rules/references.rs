use super::harness::*;
use taps_engine::core::{Action, ArgumentSpec, Event, RetryPolicy, Settings, TaskSpec};
use taps_engine::{OutcomeKind, Output};
use taps_payload::Location;

fn taking(argument: ArgumentSpec) -> TaskSpec {
    TaskSpec {
        arguments: vec![argument],
        ..task()
    }
}

#[test]
fn outputs_live_as_long_as_the_future() {
    let mut bench = Bench::pool(1);
    let id = bench.submit(task());
    bench.finish(attempt(id, 0), &[1, 2]);
    assert!(bench.freed().is_empty());
    bench.handle(Event::Release(id));
    assert_eq!(bench.freed(), [1, 2]);
    assert_eq!(bench.core.counts().tasks_held, 0);
    bench.handle(Event::Release(id));
    assert_eq!(bench.core.counts().absorbed, 1);
}

#[test]
fn a_task_whose_future_was_dropped_runs_and_leaves_nothing() {
    let mut bench = Bench::pool(1);
    let id = bench.submit(task());
    bench.handle(Event::Release(id));
    bench.take();
    bench.finish(attempt(id, 0), &[1]);
    let free = Action::Free {
        location: segment(1),
    };
    assert_eq!(
        bench.take(),
        [
            Action::Completed {
                task: id,
                failed: None
            },
            free
        ]
    );
}

#[test]
fn a_child_keeps_the_output_that_it_takes() {
    let mut bench = Bench::pool(1);
    let parent = bench.submit(task());
    let next = bench.submit(taking(ArgumentSpec::Output(output(parent, 1))));
    bench.handle(Event::Release(parent));
    bench.finish(attempt(parent, 0), &[1, 2, 3]);
    assert_eq!(bench.freed(), [1, 3]);
    bench.finish(attempt(next, 0), &[4]);
    assert_eq!(bench.freed(), [2]);
}

#[test]
fn a_payload_handle_keeps_one_output() {
    let mut bench = Bench::pool(1);
    let id = bench.submit(task());
    bench.finish(attempt(id, 0), &[1, 2]);
    let second = output(id, 1);
    bench.handle(Event::PayloadAcquired(second));
    bench.handle(Event::Release(id));
    assert_eq!(bench.freed(), [1]);
    assert_eq!(bench.core.output(output(id, 0)), None);
    let kept = Output {
        location: segment(2),
    };
    assert_eq!(bench.core.output(second), Some(&kept));
    // A handle is enough to submit with.
    let next = bench.submit(taking(ArgumentSpec::Output(second)));
    bench.handle(Event::PayloadReleased(second));
    assert!(bench.freed().is_empty());
    bench.finish(attempt(next, 0), &[]);
    assert_eq!(bench.freed(), [2]);
    bench.handle(Event::PayloadReleased(second));
    assert_eq!(bench.core.counts().absorbed, 1);
}

#[test]
fn values_go_with_their_task_and_not_before_its_retries() {
    let policy = RetryPolicy {
        retries: 1,
        ..RetryPolicy::default()
    };
    let mut bench = Bench::pool_with(
        1,
        Settings {
            default_retry: policy,
            ..Settings::default()
        },
    );
    let id = bench.submit(taking(ArgumentSpec::Value(payload(segment(1)))));
    bench.take();
    bench.fail(attempt(id, 0), OutcomeKind::TaskError);
    assert_eq!(bench.dispatched().arguments, [payload(segment(1))]);
    bench.fail(attempt(id, 1), OutcomeKind::TaskError);
    assert_eq!(bench.freed(), [1]);
}

#[test]
fn a_held_payload_serves_many_tasks() {
    let mut bench = Bench::pool(1);
    let key = bench.core.hold(payload(segment(1)));
    let first = bench.submit(taking(ArgumentSpec::Held(key)));
    let second = bench.submit(taking(ArgumentSpec::Held(key)));
    bench.handle(Event::HeldReleased(key));
    bench.finish(attempt(first, 0), &[]);
    assert!(bench.freed().is_empty());
    bench.finish(attempt(second, 0), &[]);
    assert_eq!(bench.freed(), [1]);
    let error = bench.try_submit(taking(ArgumentSpec::Held(key)));
    assert!(error.is_err(), "it is gone");
}

#[test]
fn lineage_keeps_inputs_until_the_task_itself_goes() {
    let settings = Settings {
        lineage: true,
        ..Settings::default()
    };
    let mut bench = Bench::pool_with(1, settings);
    let parent = bench.submit(taking(ArgumentSpec::Value(payload(segment(1)))));
    let next = bench.submit(child(&[parent]));
    bench.handle(Event::Release(parent));
    bench.finish(attempt(parent, 0), &[2]);
    bench.finish(attempt(next, 0), &[3]);
    assert!(bench.freed().is_empty());
    bench.handle(Event::Release(next));
    let mut freed = bench.freed();
    freed.sort_unstable();
    assert_eq!(freed, [1, 2, 3]);
}

#[test]
fn inline_bytes_need_no_freeing() {
    let mut bench = Bench::pool(1);
    let location = Location::Inline(Vec::from([1_u8]).into());
    let id = bench.submit(taking(ArgumentSpec::Value(payload(location.clone()))));
    bench.report(attempt(id, 0), Ok(vec![Output { location }]));
    bench.handle(Event::Release(id));
    let free = |action: &Action| matches!(action, Action::Free { .. });
    assert!(!bench.take().iter().any(free));
}

#[test]
fn long_lineage_is_freed_without_recursion() {
    let settings = Settings {
        lineage: true,
        max_outstanding: 1,
        ..Settings::default()
    };
    let mut bench = Bench::pool_with(1, settings);
    let mut last = bench.submit(task());
    for _ in 0..20_000 {
        let report = |bench: &mut Bench, id| {
            // Without the check after each event, which walks over all tasks.
            let outputs = vec![Output {
                location: segment(1),
            }];
            let mut finished = super::harness::report(attempt(id, 0));
            finished.result = Ok(outputs);
            let event = Event::Finished(Box::new(finished));
            bench.core.handle(0, event, &mut bench.actions);
        };
        report(&mut bench, last);
        let next = bench.core.submit(0, child(&[last]), &mut bench.actions);
        let event = Event::Release(last);
        bench.core.handle(0, event, &mut bench.actions);
        last = next.expect("one outstanding");
    }
    bench.finish(attempt(last, 0), &[]);
    assert_eq!(bench.core.counts().tasks_held, 20_001);
    bench.handle(Event::Release(last));
    assert_eq!(bench.core.counts().tasks_held, 0);
}
