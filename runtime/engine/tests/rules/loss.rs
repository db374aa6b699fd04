use super::harness::*;
use taps_engine::core::{Action, ArgumentSpec, Event, Settings, TaskState};
use taps_engine::{Generation, OutcomeKind, TaskId};

fn pool() -> Bench {
    let settings = Settings {
        lineage: true,
        ..Settings::default()
    };
    Bench::pool_with(1, settings)
}

fn lose(bench: &mut Bench, task: TaskId, index: u32) {
    bench.handle(Event::OutputsLost(vec![output(task, index)]));
}

fn generation(bench: &Bench, task: TaskId) -> Generation {
    match bench.core.status(task) {
        Some(taps_engine::core::TaskStatus::Succeeded { generation, .. }) => generation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lost_output_is_made_again_and_nobody_completes_twice() {
    let mut bench = pool();
    let id = bench.submit(task());
    assert!(!bench.core.has_ended(id));
    bench.finish(attempt(id, 0), &[1, 2]);
    bench.take();
    lose(&mut bench, id, 0);
    assert_eq!(bench.all_dispatched(), [], "the driver may never read it");
    bench.handle(Event::PayloadAcquired(output(id, 0)));
    assert_eq!(bench.dispatched().id, attempt(id, 1));
    assert!(!bench.core.status(id).unwrap().is_terminal());
    assert!(bench.core.has_ended(id), "and it stays so for its driver");
    bench.finish(attempt(id, 1), &[3, 4]);
    let duplicate = Action::Free {
        location: segment(4),
    };
    assert_eq!(bench.take(), [duplicate, Action::Recomputed { task: id }]);
    assert_eq!(generation(&bench, id), Generation(1));
    let outputs = bench.core.status(id).unwrap().outputs().unwrap();
    let locations: Vec<_> = outputs.iter().map(|o| o.location.clone()).collect();
    assert_eq!(locations, [segment(3), segment(2)], "the other one stayed");
    assert_eq!(bench.core.counts().succeeded, 1);
    assert_eq!(bench.core.counts().recomputed, 1);
}

#[test]
fn tasks_that_were_ready_wait_again() {
    let mut bench = pool();
    let parent = bench.submit(task());
    bench.finish(attempt(parent, 0), &[1]);
    let busy = bench.submit(task());
    let next = bench.submit(child(&[parent]));
    assert_eq!(bench.state(next), TaskState::Ready);
    lose(&mut bench, parent, 0);
    assert_eq!(bench.state(next), TaskState::Waiting);
    bench.take();
    bench.finish(attempt(busy, 0), &[]);
    assert_eq!(bench.dispatched().id, attempt(parent, 1));
    bench.finish(attempt(parent, 1), &[2]);
    assert_eq!(bench.dispatched().arguments, [payload(segment(2))]);
}

#[test]
fn a_lost_chain_is_made_again_from_its_beginning() {
    let mut bench = pool();
    let mut spec = task();
    spec.arguments = vec![ArgumentSpec::Value(payload(segment(1)))];
    let a = bench.submit(spec);
    let b = bench.submit(child(&[a]));
    let c = bench.submit(child(&[b]));
    for (id, made) in [(a, 2), (b, 3), (c, 4)] {
        bench.finish(attempt(id, 0), &[made]);
    }
    bench.handle(Event::Release(a));
    bench.handle(Event::Release(b));
    bench.handle(Event::PayloadAcquired(output(c, 0)));
    bench.take();
    let lost = [a, b, c].map(|id| output(id, 0)).to_vec();
    bench.handle(Event::OutputsLost(lost));
    for (id, reads, made) in [(a, 1, 12), (b, 12, 13), (c, 13, 14)] {
        let again = bench.dispatched();
        assert_eq!(again.id, attempt(id, 1));
        assert_eq!(again.arguments, [payload(segment(reads))]);
        bench.finish(again.id, &[made]);
    }
    assert_eq!(generation(&bench, c), Generation(1));
}

#[test]
fn what_nobody_needs_is_not_made_again() {
    let mut bench = pool();
    let a = bench.submit(task());
    let b = bench.submit(child(&[a]));
    bench.finish(attempt(a, 0), &[1]);
    bench.finish(attempt(b, 0), &[2]);
    bench.handle(Event::Release(a));
    bench.take();
    lose(&mut bench, a, 0);
    let told = Action::OutputsLost {
        outputs: vec![output(a, 0)],
    };
    assert_eq!(bench.take(), [told], "only lineage refers to it");
}

#[test]
fn an_attempt_that_fails_for_a_lost_input_is_not_blamed() {
    let mut bench = pool();
    let parent = bench.submit(task());
    bench.finish(attempt(parent, 0), &[1]);
    let next = bench.submit(child(&[parent]));
    lose(&mut bench, parent, 0);
    bench.fail(attempt(next, 0), OutcomeKind::PayloadError);
    assert_eq!(bench.state(next), TaskState::Waiting);
    bench.finish(attempt(parent, 1), &[2]);
    bench.finish(attempt(next, 1), &[3]);
    assert_eq!(bench.state(next), TaskState::Succeeded);
}

#[test]
fn without_lineage_a_lost_output_fails_its_task() {
    let mut bench = Bench::pool(1);
    let id = bench.submit(task());
    bench.finish(attempt(id, 0), &[1]);
    let busy = bench.submit(task());
    let next = bench.submit(child(&[id]));
    bench.take();
    lose(&mut bench, id, 0);
    assert_eq!(
        bench.take_plain(),
        [
            Action::OutputsLost {
                outputs: vec![output(id, 0)]
            },
            Action::Recomputed { task: id },
            Action::Completed {
                task: next,
                failed: None
            }
        ]
    );
    assert_eq!(bench.failure(id).outcome, OutcomeKind::PayloadError);
    assert_eq!(bench.failure(next).outcome, OutcomeKind::UpstreamFailed);
    assert_eq!(bench.state(busy), TaskState::Running);
}

#[test]
fn loss_of_what_is_not_there_is_absorbed() {
    let mut bench = pool();
    let id = bench.submit(task());
    lose(&mut bench, id, 0);
    lose(&mut bench, TaskId(9), 0);
    assert_eq!(bench.core.counts().absorbed, 2);
}
