use super::harness::*;
use std::collections::HashMap;
use taps_engine::core::{
    Action, Event, FaultSettings, INJECTED_PARENT, OwnRetries, Past, PastEnd, RetryPolicy,
    Settings, TaskState,
};
use taps_engine::{
    AttemptReport, Failure, FaultAction, OutcomeKind, Output, Running, TaskId, WorkerId,
};

fn retrying(retries: u32) -> Settings {
    Settings {
        default_retry: RetryPolicy {
            retries,
            ..RetryPolicy::default()
        },
        lineage: true,
        ..Settings::default()
    }
}

fn pool(workers: u32, retries: u32, faults: FaultSettings) -> Bench {
    let mut bench = Bench::pool_with(workers, retrying(retries));
    bench.core.inject(faults, Some((7, 3)));
    bench
}

fn of(action: FaultAction) -> FaultSettings {
    FaultSettings {
        actions: vec![action],
        ..FaultSettings::default()
    }
}

#[test]
fn every_try_carries_its_fault() {
    let mut bench = pool(1, 2, of(FaultAction::Failure));
    let id = bench.submit(task());
    for number in 0..3 {
        let attempt = bench.dispatched();
        let fault = attempt.fault.expect("the rate is 1");
        assert_eq!(
            (attempt.id.number, fault.action),
            (number, FaultAction::Failure)
        );
        bench.fail(attempt.id, OutcomeKind::TaskError);
    }
    assert_eq!(bench.state(id), TaskState::Failed);
}

#[test]
fn a_task_that_killed_its_worker_goes_on_with_its_next_try() {
    let faults = FaultSettings {
        attempts: vec![0],
        ..of(FaultAction::WorkerKilled)
    };
    let mut bench = pool(1, 3, faults);
    let killer = bench.submit(task());
    assert!(bench.dispatched().fault.is_some());
    bench.lose_worker(0);
    bench.handle(Event::WorkerJoined(worker(0, "here", 1)));
    let again = bench.dispatched();
    assert_eq!((again.id, again.fault), (attempt(killer, 1), None));
}

#[test]
fn a_task_that_was_taken_down_with_a_worker_still_has_its_fault() {
    let mut bench = pool(1, 3, of(FaultAction::Failure));
    let bystander = bench.submit(task());
    let fault = bench.dispatched().fault;
    bench.lose_worker(0);
    bench.handle(Event::WorkerJoined(worker(0, "here", 1)));
    let again = bench.dispatched();
    assert_eq!((again.id, again.fault), (attempt(bystander, 1), fault));
}

#[test]
fn a_parent_that_fails_is_put_before_the_task() {
    let mut bench = pool(1, 1, of(FaultAction::Dependency));
    let id = bench.submit(task());
    assert_eq!(id, TaskId(1), "the parent was submitted first");
    let actions = bench.take();
    let injected = Action::ParentInjected {
        parent: TaskId(0),
        child: id,
    };
    assert!(actions.contains(&injected));
    let Some(Action::Dispatch {
        attempt: parent, ..
    }) = actions.last()
    else {
        panic!("{actions:?}");
    };
    assert_eq!(&*parent.name, INJECTED_PARENT);
    assert_eq!((parent.component, parent.task), (7, 3));
    assert_eq!(parent.fault.unwrap().action, FaultAction::Dependency);
    bench.fail(parent.id, OutcomeKind::TaskError);
    let parent = bench.dispatched();
    bench.fail(parent.id, OutcomeKind::TaskError);
    assert_eq!(bench.failure(id).outcome, OutcomeKind::UpstreamFailed);
    assert_eq!(bench.core.counts().tasks_held, 1, "nobody holds the parent");
}

#[test]
fn a_parent_that_recovers_lets_the_task_run_without_an_extra_argument() {
    let faults = FaultSettings {
        attempts: vec![0],
        ..of(FaultAction::Dependency)
    };
    let mut bench = pool(1, 1, faults);
    bench.submit(task());
    let parent = TaskId(0);
    bench.fail(attempt(parent, 0), OutcomeKind::TaskError);
    bench.take();
    bench.finish(attempt(parent, 1), &[]);
    let child = bench.dispatched();
    assert_eq!((child.id.task, child.arguments.len()), (TaskId(1), 0));
    assert_eq!(child.fault, None);
}

#[test]
fn an_outcome_with_a_number_of_its_own_is_counted_apart() {
    let own = OwnRetries::default().with("worker-lost", 2).unwrap();
    assert_eq!(OwnRetries::default().with("ok", 2), Err("ok"));
    let policy = RetryPolicy {
        retries: 1,
        own,
        ..RetryPolicy::default()
    };
    let settings = Settings {
        default_retry: policy,
        ..Settings::default()
    };
    let mut bench = Bench::pool_with(1, settings);
    let id = bench.submit(task());
    bench.fail(attempt(id, 0), OutcomeKind::TaskError);
    for number in 1..3 {
        bench.handle(Event::WorkerLost {
            worker: WorkerId(0),
            reason: "killed".into(),
            running: Running::Attempt(attempt(id, number)),
        });
        bench.handle(Event::WorkerJoined(worker(0, "here", 1)));
    }
    assert_eq!(
        bench.state(id),
        TaskState::Running,
        "two of its own, one of all others"
    );
    bench.fail(attempt(id, 3), OutcomeKind::TaskError);
    assert_eq!(bench.state(id), TaskState::Failed);
}

#[test]
fn damaged_inputs_are_made_again_and_not_for_ever() {
    let mut bench = Bench::pool_with(1, retrying(0));
    let parent = bench.submit(task());
    bench.finish(attempt(parent, 0), &[1]);
    let reader = bench.submit(child(&[parent]));
    for round in 0..Settings::default().crash_limit {
        let damaged = AttemptReport {
            result: Err(Failure::new(
                OutcomeKind::PayloadError,
                "its digest is wrong",
            )),
            lost_inputs: vec![0],
            ..report(attempt(reader, round))
        };
        bench.handle(Event::Finished(Box::new(damaged)));
        assert_eq!(bench.state(reader), TaskState::Waiting);
        bench.finish(attempt(parent, round + 1), &[u64::from(round) + 2]);
        assert_eq!(bench.state(reader), TaskState::Running);
    }
    let damaged = AttemptReport {
        result: Err(Failure::new(
            OutcomeKind::PayloadError,
            "its digest is wrong",
        )),
        lost_inputs: vec![0],
        ..report(attempt(reader, Settings::default().crash_limit))
    };
    bench.handle(Event::Finished(Box::new(damaged)));
    assert_eq!(bench.failure(reader).outcome, OutcomeKind::PayloadError);
}

fn past(end: Option<PastEnd>) -> Past {
    Past {
        attempts: 1,
        tries: 1,
        end,
        ..Past::default()
    }
}

fn gave(segments: &[u64], lost: &[u32]) -> PastEnd {
    let outputs = segments.iter().map(|&id| Output {
        location: segment(id),
    });
    PastEnd::Succeeded {
        outputs: outputs.collect(),
        lost: lost.to_vec(),
    }
}

#[test]
fn what_ended_before_does_not_run_again() {
    let mut bench = Bench::pool_with(1, retrying(0));
    let failure = Failure::new(OutcomeKind::TaskError, "then");
    bench.core.remember(HashMap::from([
        (TaskId(0), past(Some(gave(&[1], &[])))),
        (TaskId(1), past(Some(PastEnd::Failed(failure.clone())))),
        (TaskId(2), past(None)),
    ]));
    let (a, b) = (bench.submit(task()), bench.submit(task()));
    assert_eq!(bench.completed(), [0, 1]);
    assert_eq!(
        (bench.state(a), bench.failure(b)),
        (TaskState::Succeeded, &failure)
    );
    let c = bench.submit(child(&[a]));
    let attempt = bench.dispatched();
    assert_eq!(
        (attempt.id.task, attempt.id.number),
        (c, 1),
        "numbers go on"
    );
    assert_eq!(attempt.arguments, [payload(segment(1))]);
}

#[test]
fn what_was_lost_is_made_again_when_it_is_needed() {
    let mut bench = Bench::pool_with(1, retrying(0));
    bench.core.remember(HashMap::from([
        (TaskId(0), past(Some(gave(&[1], &[0])))),
        (TaskId(1), past(Some(gave(&[2], &[0])))),
    ]));
    let a = bench.submit(task());
    let b = bench.submit(child(&[a]));
    assert_eq!(
        bench.started(),
        [0_u64; 0],
        "nobody has asked for the bytes"
    );
    bench.handle(Event::PayloadAcquired(output(b, 0)));
    assert_eq!(bench.started(), [0], "the beginning of the chain");
    bench.finish(attempt(a, 1), &[3]);
    assert_eq!(bench.started(), [1]);
    bench.finish(attempt(b, 1), &[4]);
    assert_eq!(
        bench.core.output(output(b, 0)).unwrap().location,
        segment(4)
    );
    assert_eq!(bench.core.counts().recomputed, 2);
}

#[test]
fn outputs_that_are_known_need_no_attempt() {
    let mut bench = Bench::pool(1);
    let mut spec = task();
    spec.done = Some(vec![Output {
        location: segment(9),
    }]);
    let id = bench.submit(spec);
    assert_eq!(bench.completed(), [0]);
    assert_eq!(bench.state(id), TaskState::Succeeded);
}
