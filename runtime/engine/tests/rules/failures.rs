use super::harness::*;
use taps_engine::core::{TaskSpec, TaskState};
use taps_engine::{OutcomeKind, TaskId, TrapKind};

#[test]
fn a_failed_task_fails_its_descendants_at_once() {
    let mut bench = Bench::pool(1);
    let root = bench.submit(TaskSpec {
        name: "potrf".into(),
        ..task()
    });
    let middle = bench.submit(child(&[root]));
    let leaf = bench.submit(child(&[middle, root]));
    bench.take();
    bench.fail(
        attempt(root, 0),
        OutcomeKind::Trap(TrapKind::DivisionByZero),
    );
    assert_eq!(bench.completed(), [0, 1, 2]);
    for id in [middle, leaf] {
        let failure = bench.failure(id);
        assert_eq!(failure.outcome, OutcomeKind::UpstreamFailed);
        assert_eq!(
            failure.message,
            "task 0 (potrf) failed: trap (division-by-zero): broken"
        );
    }
}

#[test]
fn a_child_of_a_failed_task_fails_when_submitted() {
    let mut bench = Bench::pool(1);
    let root = bench.submit(task());
    bench.fail(attempt(root, 0), OutcomeKind::TaskError);
    bench.take();
    let late = bench.submit(child(&[root]));
    assert_eq!(bench.completed(), [late.0]);
    assert_eq!(bench.failure(late).outcome, OutcomeKind::UpstreamFailed);
}

#[test]
fn of_several_failed_parents_the_first_submitted_is_named() {
    let mut bench = Bench::pool(3);
    let parents: Vec<TaskId> = (0..3).map(|_| bench.submit(task())).collect();
    bench.fail(attempt(parents[2], 0), OutcomeKind::TaskError);
    bench.fail(attempt(parents[1], 0), OutcomeKind::TaskError);
    let late = bench.submit(child(&[parents[2], parents[0], parents[1]]));
    let message = &bench.failure(late).message;
    assert!(message.starts_with("task 1 "), "{message}");
}

#[test]
fn a_child_fails_once_however_many_parents_do() {
    let mut bench = Bench::pool(2);
    let a = bench.submit(task());
    let b = bench.submit(task());
    let both = bench.submit(child(&[a, b, a]));
    bench.fail(attempt(b, 0), OutcomeKind::TaskError);
    bench.take();
    bench.fail(attempt(a, 0), OutcomeKind::TaskError);
    assert_eq!(bench.completed(), [a.0]);
    assert!(bench.failure(both).message.starts_with("task 1 "));
}

#[test]
fn upstream_failure_does_not_recurse() {
    let mut bench = Bench::pool(1);
    let root = bench.submit(task());
    let mut last = root;
    for _ in 0..5_000 {
        let spec = child(&[last]);
        last = bench
            .core
            .submit(0, spec, &mut bench.actions)
            .expect("within back-pressure");
    }
    bench.fail(attempt(root, 0), OutcomeKind::TaskError);
    assert_eq!(bench.state(last), TaskState::Failed);
    let length = bench.failure(last).message.len();
    assert!(length < 100, "messages do not nest");
}
