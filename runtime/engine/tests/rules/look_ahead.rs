//! Attempts queued on busy workers, and asked back.

use super::harness::*;
use taps_engine::core::{Action, Event, Settings, TaskOptions, TaskSpec, TaskState};
use taps_engine::{
    AttemptId, AttemptReport, OutcomeKind, Running, TaskId, Timeline, WorkerId, WorkerInfo,
};

/// What a task of a name takes.
const FAST_NS: u64 = 500_000;
const SLOW_NS: u64 = 2_000_001;
const RECALL_NS: u64 = 1_000_000;

fn ahead(id: u32, look_ahead: u32) -> WorkerInfo {
    WorkerInfo {
        look_ahead,
        ..worker(id, "here", 1)
    }
}

fn named(name: &str) -> TaskSpec {
    TaskSpec {
        name: name.into(),
        ..task()
    }
}

fn with_cores(cores: u32, priority: i32) -> TaskSpec {
    TaskSpec {
        options: TaskOptions {
            cores,
            priority,
            ..TaskOptions::default()
        },
        ..task()
    }
}

impl Bench {
    /// The attempt succeeds after that long.
    fn took(&mut self, id: AttemptId, ns: u64) {
        let report = AttemptReport {
            timeline: Timeline {
                received: 5,
                finished: 5 + ns,
                ..Timeline::default()
            },
            ..report(id)
        };
        self.handle(Event::Finished(Box::new(report)));
    }

    /// A task of each name has run once and taken that long.
    fn learn(&mut self, names: &[(&str, u64)]) {
        for &(name, ns) in names {
            let id = self.submit(named(name));
            self.took(attempt(id, 0), ns);
        }
        self.take();
    }

    /// Workers that all take that many attempts ahead, and know that `task` is fast.
    fn fast(workers: u32, look_ahead: u32) -> Self {
        Self::fast_with(workers, look_ahead, Settings::default())
    }

    fn fast_with(workers: u32, look_ahead: u32, settings: Settings) -> Self {
        let mut bench = Self::new(settings, POOL);
        for id in 0..workers {
            bench.handle(Event::WorkerJoined(ahead(id, look_ahead)));
        }
        bench.learn(&[("task", FAST_NS)]);
        bench
    }

    /// Submits that many and gives their workers, `None` for those that wait.
    fn workers_of(&mut self, specs: impl IntoIterator<Item = TaskSpec>) -> Vec<Option<u32>> {
        let ids: Vec<TaskId> = specs.into_iter().map(|spec| self.submit(spec)).collect();
        let sent = self.all_dispatched();
        let on = |id: TaskId| sent.iter().find(|(_, attempt)| attempt.id.task == id);
        let on = ids.into_iter().map(on);
        on.map(|found| Some(found?.0.unwrap().0)).collect()
    }

    fn lose_running(&mut self, worker: u32, running: Running) {
        self.handle(Event::WorkerLost {
            worker: WorkerId(worker),
            reason: "killed".to_owned(),
            running,
        });
    }

    fn tick_at(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        self.handle(Event::Tick);
    }
}

fn returned(task: TaskId, number: u32) -> Action {
    Action::AttemptReturned {
        attempt: attempt(task, number),
    }
}

#[test]
fn idle_workers_come_first_then_the_shortest_queue() {
    let mut bench = Bench::fast(2, 2);
    let on = bench.workers_of(vec![task(); 7]);
    let queued: Vec<u32> = on[2..6].iter().map(|worker| worker.unwrap()).collect();
    assert_ne!(on[0], on[1], "both are idle");
    assert_ne!(queued[0], queued[1], "both queues are empty");
    assert_ne!(queued[2], queued[3], "both queues have one");
    assert_eq!(on[6], None, "both are full");
    assert_eq!(bench.core.counts().running, 6);
    assert_eq!(bench.core.counts().ready, 1);
}

#[test]
fn nothing_is_queued_where_workers_do_not_look_ahead() {
    let mut bench = Bench::fast(1, 0);
    assert_eq!(bench.workers_of(vec![task(); 2]), [Some(0), None]);
}

#[test]
fn as_many_are_queued_as_fit_into_the_look_ahead() {
    for (ns, expected) in [(FAST_NS, 4), (1_999_999, 1), (SLOW_NS, 0), (10, 32)] {
        let mut bench = Bench::new(Settings::default(), POOL);
        bench.handle(Event::WorkerJoined(ahead(0, 32)));
        bench.learn(&[("task", ns)]);
        let on = bench.workers_of(vec![task(); 40]);
        assert_eq!(on.iter().flatten().count(), 1 + expected, "{ns} ns");
    }
}

#[test]
fn before_the_first_report_nothing_is_queued() {
    let mut bench = Bench::new(Settings::default(), POOL);
    bench.handle(Event::WorkerJoined(ahead(0, 8)));
    let first = bench.submit(task());
    assert_eq!(bench.workers_of(vec![task(); 3]), [None; 3]);
    bench.fail(attempt(first, 0), OutcomeKind::TaskError);
    assert_eq!(bench.started().len(), 1, "a failure tells nothing");
}

#[test]
fn names_have_paces_of_their_own() {
    let mut bench = Bench::fast(1, 8);
    bench.learn(&[("slow", SLOW_NS)]);
    let on = bench.workers_of([task(), task(), named("slow"), task()]);
    assert_eq!(
        on,
        [Some(0), Some(0), None, None],
        "behind a slow one in line"
    );
}

#[test]
fn nothing_is_queued_behind_a_slow_or_unknown_task() {
    for name in ["slow", "new"] {
        let mut bench = Bench::fast(1, 8);
        bench.learn(&[("slow", SLOW_NS)]);
        assert_eq!(bench.workers_of([named(name), task()]), [Some(0), None]);
    }
}

#[test]
fn only_the_same_demand_is_queued_and_inherits_what_is_held() {
    let mut bench = Bench::fast(3, 4);
    let large = bench.submit(with_cores(2, 0));
    let small = bench.submit(task());
    let next_large = bench.submit(with_cores(2, 0));
    let next_small = bench.submit(task());
    let sent = bench.all_dispatched();
    assert_eq!(sent.len(), 4, "all three cores are taken, one worker idles");
    assert_eq!(sent[2].0, sent[0].0);
    assert_eq!(sent[3].0, sent[1].0);
    // The resources change hands: there is never a core for another small one.
    let waiting = bench.submit(with_cores(1, -1));
    bench.took(attempt(large, 0), FAST_NS);
    assert_eq!(bench.state(next_large), TaskState::Running);
    assert_eq!(bench.core.counts().workers, 3);
    bench.took(attempt(next_large, 0), FAST_NS);
    assert_eq!(bench.state(waiting), TaskState::Running);
    bench.took(attempt(small, 0), FAST_NS);
    bench.took(attempt(next_small, 0), FAST_NS);
}

#[test]
fn what_is_queued_does_not_overtake() {
    let mut bench = Bench::fast(2, 8);
    let busy = bench.submit(task());
    let large = bench.submit(with_cores(2, 0));
    let small = bench.submit(task());
    let later = bench.submit(task());
    assert_eq!(bench.started(), [busy.0, small.0]);
    assert_eq!(bench.state(large), TaskState::Ready);
    assert_eq!(
        bench.state(later),
        TaskState::Ready,
        "the large one is first"
    );
    let urgent = bench.submit(with_cores(1, 1));
    assert_eq!(bench.started(), [urgent.0]);
}

#[test]
fn reports_come_in_any_order() {
    let mut bench = Bench::fast(1, 4);
    let [a, b, c] = [(); 3].map(|()| bench.submit(task()));
    bench.took(attempt(b, 0), FAST_NS);
    bench.took(attempt(a, 0), FAST_NS);
    bench.took(attempt(c, 0), FAST_NS);
    assert_eq!(bench.completed(), [b.0, a.0, c.0]);
    assert_eq!(bench.workers_of([task()]), [Some(0)], "it is idle again");
}

/// Worker 0 runs the first of three tasks, with the others queued at 50 ns; worker 1 is idle, and
/// takes nothing ahead.
fn waiting() -> (Bench, [TaskId; 3]) {
    let mut bench = Bench::fast(1, 4);
    bench.now_ns = 50;
    let ids = [(); 3].map(|()| bench.submit(task()));
    assert_eq!(bench.started(), ids.map(|id| id.0));
    assert_eq!(bench.core.next_timer_ns(), None, "no worker is idle");
    bench.handle(Event::WorkerJoined(ahead(1, 0)));
    assert_eq!(bench.core.next_timer_ns(), Some(50 + RECALL_NS));
    (bench, ids)
}

/// Dispatches among the actions: worker and attempt.
fn sent(bench: &mut Bench) -> Vec<(u32, AttemptId)> {
    let all = bench.all_dispatched().into_iter();
    all.map(|(worker, attempt)| (worker.unwrap().0, attempt.id))
        .collect()
}

#[test]
fn what_waits_too_long_is_asked_back_and_runs_elsewhere() {
    let (mut bench, [_, next, last]) = waiting();
    bench.tick_at(49 + RECALL_NS);
    assert_eq!(bench.take(), [], "not yet");
    bench.tick_at(50 + RECALL_NS);
    assert_eq!(bench.take(), [Action::Recall(attempt(next, 0))]);
    bench.handle(Event::Returned(attempt(next, 0)));
    assert_eq!(bench.actions[0], returned(next, 0));
    assert_eq!(sent(&mut bench), [(1, attempt(next, 1))]);
    assert_eq!(bench.core.next_timer_ns(), None, "no worker is idle");
    let counts = bench.core.counts();
    assert_eq!((counts.retried, counts.crashes), (0, 0));
    bench.took(attempt(next, 1), FAST_NS);
    let idle_again = bench.take();
    assert_eq!(idle_again[1..], [Action::Recall(attempt(last, 0))]);
}

#[test]
fn no_more_are_asked_back_than_workers_are_idle_and_each_once() {
    let (mut bench, [first, next, last]) = waiting();
    bench.tick_at(10 * RECALL_NS);
    assert_eq!(bench.take(), [Action::Recall(attempt(next, 0))]);
    bench.tick_at(20 * RECALL_NS);
    assert_eq!(bench.take(), []);
    bench.handle(Event::WorkerJoined(ahead(2, 0)));
    assert_eq!(bench.take(), [Action::Recall(attempt(last, 0))]);
    bench.tick_at(30 * RECALL_NS);
    assert_eq!(bench.take(), []);
    for id in [first, next, last] {
        bench.took(attempt(id, 0), FAST_NS);
    }
    assert_eq!(bench.completed(), [first.0, next.0, last.0]);
}

#[test]
fn a_recall_that_comes_too_late_changes_nothing() {
    let (mut bench, [first, next, _]) = waiting();
    bench.tick_at(2 * RECALL_NS);
    bench.took(attempt(first, 0), FAST_NS);
    bench.took(attempt(next, 0), FAST_NS);
    assert_eq!(bench.state(next), TaskState::Succeeded);
    assert_eq!(bench.core.counts().absorbed, 0);
}

#[test]
fn nothing_is_queued_behind_what_others_were_asked_back_from() {
    let (mut bench, [first, next, last]) = waiting();
    bench.tick_at(2 * RECALL_NS);
    bench.handle(Event::Returned(attempt(next, 0)));
    let more = bench.submit(task());
    assert_eq!(bench.state(more), TaskState::Ready);
    bench.took(attempt(first, 0), FAST_NS);
    assert_eq!(
        bench.state(more),
        TaskState::Running,
        "now {last} is current"
    );
}

#[test]
fn what_no_idle_worker_fits_is_not_asked_back() {
    let mut bench = Bench::fast(1, 4);
    let large = || TaskSpec {
        options: TaskOptions {
            memory_bytes: 700,
            ..TaskOptions::default()
        },
        ..task()
    };
    assert_eq!(bench.workers_of([large(), large()]), [Some(0); 2]);
    bench.handle(Event::WorkerJoined(WorkerInfo {
        memory_bytes: 500,
        ..worker(1, "there", 1)
    }));
    assert_eq!(bench.core.next_timer_ns(), None);
    bench.tick_at(9 * RECALL_NS);
    assert_eq!(bench.take(), []);
    bench.handle(Event::WorkerJoined(worker(2, "there", 1)));
    assert!(matches!(bench.take()[..], [Action::Recall(_)]));
}

#[test]
fn what_is_kept_idle_for_a_large_task_asks_for_nothing() {
    let (mut bench, [first, next, last]) = waiting();
    let large = bench.submit(with_cores(2, 0));
    for overtaking in 0..64 {
        let small = bench.submit(task());
        assert_eq!(bench.state(small), TaskState::Running, "{overtaking}");
        bench.took(attempt(small, 0), FAST_NS);
    }
    let kept = bench.submit(task());
    assert_eq!(bench.state(kept), TaskState::Ready);
    bench.take();
    assert_eq!(bench.core.next_timer_ns(), None);
    bench.tick_at(9 * RECALL_NS);
    assert_eq!(bench.take(), []);
    for id in [first, next, last] {
        bench.took(attempt(id, 0), FAST_NS);
    }
    assert_eq!(bench.state(large), TaskState::Running);
}

#[test]
fn what_comes_back_has_its_old_rank() {
    let mut bench = Bench::fast(1, 1);
    let [first, next, third] = [(); 3].map(|()| bench.submit(task()));
    bench.take();
    bench.handle(Event::Returned(attempt(next, 0)));
    let again = bench.dispatched();
    assert_eq!(again.id, attempt(next, 1), "before {third}");
    bench.handle(Event::Returned(attempt(first, 0)));
    bench.took(attempt(next, 1), FAST_NS);
    assert_eq!(bench.state(third), TaskState::Running);
    assert_eq!(bench.core.counts().retried, 0);
}

#[test]
fn a_retry_that_comes_back_counts_once() {
    let mut bench = Bench::fast(1, 1);
    let mut spec = task();
    spec.options.retries = Some(1);
    let id = bench.submit(spec);
    bench.fail(attempt(id, 0), OutcomeKind::TaskError);
    assert_eq!(bench.core.counts().retried, 1);
    for number in 1..4 {
        bench.handle(Event::Returned(attempt(id, number)));
        assert_eq!(bench.core.counts().retried, 1);
    }
    bench.fail(attempt(id, 4), OutcomeKind::TaskError);
    assert_eq!(bench.state(id), TaskState::Failed, "it had one retry");
}

#[test]
fn a_return_that_nobody_waits_for_is_absorbed() {
    let (mut bench, [_, next, _]) = waiting();
    bench.handle(Event::Returned(attempt(next, 0)));
    bench.take();
    bench.handle(Event::Returned(attempt(next, 0)));
    bench.handle(Event::Returned(attempt(TaskId(99), 0)));
    assert_eq!(bench.take(), []);
    assert_eq!(bench.core.counts().absorbed, 2);
    assert_eq!(bench.state(next), TaskState::Running);
}

#[test]
fn cancelling_what_is_queued_awaits_its_report() {
    let (mut bench, [first, next, last]) = waiting();
    for id in [next, last] {
        bench.handle(Event::Cancel(id));
        assert_eq!(bench.take(), [Action::CancelAttempt(attempt(id, 0))]);
        assert_eq!(bench.state(id), TaskState::Running);
    }
    assert_eq!(bench.core.next_timer_ns(), None, "nobody wants them");
    bench.fail(attempt(next, 0), OutcomeKind::Cancelled);
    assert_eq!(bench.state(next), TaskState::Cancelled);
    bench.handle(Event::Returned(attempt(last, 0)));
    assert_eq!(
        bench.state(last),
        TaskState::Cancelled,
        "that is an end too"
    );
    assert_eq!(bench.state(first), TaskState::Running);
}

#[test]
fn a_lost_worker_loses_what_ran_and_returns_what_was_queued() {
    let settings = Settings {
        crash_limit: 0,
        ..Settings::default()
    };
    let mut bench = Bench::fast_with(1, 4, settings);
    let [first, next, last] = [(); 3].map(|()| bench.submit(task()));
    bench.take();
    bench.lose_worker(0);
    let actions = bench.take();
    assert_eq!(actions[..2], [returned(next, 0), returned(last, 0)]);
    assert!(
        matches!(&actions[2], Action::AttemptLost { attempt: a, .. } if *a == attempt(first, 0))
    );
    assert_eq!(bench.failure(first).outcome, OutcomeKind::WorkerLost);
    assert_eq!(bench.state(next), TaskState::Ready);
    assert_eq!(bench.core.counts().crashes, 1);
    bench.handle(Event::WorkerJoined(ahead(0, 4)));
    assert_eq!(
        sent(&mut bench),
        [(0, attempt(next, 1)), (0, attempt(last, 1))]
    );
    // A report that was under way when the worker was lost.
    bench.took(attempt(next, 0), FAST_NS);
    assert_eq!(bench.core.counts().absorbed, 1);
    assert_eq!(bench.state(next), TaskState::Running);
}

#[test]
fn the_executor_knows_best_what_ran_on_a_lost_worker() {
    let settings = Settings {
        crash_limit: 0,
        ..Settings::default()
    };
    let mut bench = Bench::fast_with(1, 4, settings);
    let [first, next, last] = [(); 3].map(|()| bench.submit(task()));
    bench.lose_running(0, Running::Attempt(attempt(next, 0)));
    assert_eq!(bench.state(first), TaskState::Ready, "its report was lost");
    assert_eq!(bench.state(next), TaskState::Failed);
    assert_eq!(bench.state(last), TaskState::Ready);
    bench.handle(Event::WorkerJoined(ahead(0, 4)));
    // An older attempt, and one that was never there: the current one is charged.
    bench.lose_running(0, Running::Attempt(attempt(first, 0)));
    assert_eq!(bench.state(first), TaskState::Failed);
    bench.handle(Event::WorkerJoined(ahead(0, 4)));
    bench.lose_running(0, Running::Attempt(attempt(TaskId(99), 0)));
    assert_eq!(bench.state(last), TaskState::Failed);
    assert_eq!(bench.core.counts().crashes, 3);
}

#[test]
fn nobody_is_charged_for_a_worker_that_ran_nothing() {
    let mut bench = Bench::fast(1, 4);
    let tasks = [(); 3].map(|()| bench.submit(task()));
    bench.lose_running(0, Running::Nothing);
    for task in tasks {
        assert_eq!(bench.state(task), TaskState::Ready);
    }
    let counts = bench.core.counts();
    assert_eq!((counts.crashes, counts.retried), (0, 0));
}

#[test]
fn what_an_engine_gives_back_is_submitted_again() {
    let mut bench = Bench::new(Settings::default(), ENGINE);
    let parent = bench.submit(task());
    let next = bench.submit(child(&[parent]));
    assert_eq!(bench.started(), [parent.0, next.0]);
    bench.handle(Event::Returned(attempt(next, 0)));
    assert_eq!(bench.dispatched().id, attempt(next, 1));
    assert_eq!(bench.state(next), TaskState::Forwarded);
    assert_eq!(bench.core.counts().retried, 0);
}
