use super::harness::*;
use taps_engine::core::{Event, Settings, SubmitError, TaskOptions, TaskSpec, TaskState};
use taps_engine::{Running, TaskId, WorkerId, WorkerInfo};

fn demanding(cores: u32, memory_bytes: u64, resources: &[(&str, u64)]) -> TaskSpec {
    let resources = resources.iter().map(|&(name, n)| (name.to_owned(), n));
    TaskSpec {
        options: TaskOptions {
            cores,
            memory_bytes,
            resources: resources.collect(),
            ..TaskOptions::default()
        },
        ..task()
    }
}

fn with_priority(priority: i32) -> TaskSpec {
    TaskSpec {
        options: TaskOptions {
            priority,
            ..TaskOptions::default()
        },
        ..task()
    }
}

#[test]
fn by_priority_then_in_order_of_submission() {
    let mut bench = Bench::pool(1);
    bench.submit(task());
    for priority in [0, 5, -1, 5, 0] {
        bench.submit(with_priority(priority));
    }
    bench.take();
    let mut order = Vec::new();
    let mut running = 0;
    for _ in 0..5 {
        bench.finish(attempt(TaskId(running), 0), &[]);
        running = bench.started()[0];
        order.push(running);
    }
    assert_eq!(order, [2, 4, 1, 5, 3]);
}

#[test]
fn the_worker_that_has_just_finished_goes_on() {
    let mut bench = Bench::pool(3);
    let first = bench.submit(task());
    bench.submit(task());
    let workers: Vec<_> = bench.all_dispatched().iter().map(|(w, _)| *w).collect();
    bench.finish(attempt(first, 0), &[]);
    bench.submit(task());
    let (on, _) = bench.all_dispatched().remove(0);
    assert_eq!(on, workers[0]);
}

#[test]
fn a_task_of_many_cores_occupies_those_of_its_host() {
    let mut bench = Bench::pool(4);
    let large = bench.submit(demanding(3, 0, &[]));
    bench.submit(task());
    let waiting = bench.submit(task());
    assert_eq!(bench.started(), [0, 1]);
    assert_eq!(bench.state(waiting), TaskState::Ready, "no core is left");
    bench.finish(attempt(large, 0), &[]);
    assert_eq!(bench.started(), [2]);
}

#[test]
fn memory_and_resources_are_shared_by_a_host() {
    let mut bench = Bench::new(Settings::default(), POOL);
    for id in 0..2 {
        bench.handle(Event::WorkerJoined(WorkerInfo {
            resources: vec![("gpu".to_owned(), 1)],
            ..worker(id, "here", 2)
        }));
    }
    let first = bench.submit(demanding(1, 1500, &[("gpu", 1)]));
    let memory = bench.submit(demanding(1, 501, &[]));
    let gpus = bench.submit(demanding(1, 0, &[("gpu", 1), ("gpu", 1)]));
    let small = bench.submit(demanding(0, 0, &[]));
    assert_eq!(bench.started(), [first.0, small.0]);
    bench.finish(attempt(first, 0), &[]);
    assert_eq!(bench.started(), [memory.0]);
    bench.finish(attempt(small, 0), &[]);
    assert_eq!(bench.started(), [gpus.0]);
}

#[test]
fn infeasible_demands_are_refused_once_workers_are_known() {
    let mut bench = Bench::new(Settings::default(), POOL);
    let early = bench.submit(demanding(9, 0, &[]));
    bench.handle(Event::WorkerJoined(worker(0, "small", 4)));
    bench.handle(Event::WorkerJoined(WorkerInfo {
        memory_bytes: 5000,
        ..worker(1, "large", 1)
    }));
    assert_eq!(bench.state(early), TaskState::Ready, "nothing is lost");
    let error = bench.try_submit(demanding(5, 0, &[]));
    assert_eq!(
        error,
        Err(SubmitError::Infeasible {
            what: "cores".to_owned(),
            asked: 5,
            largest: 4
        })
    );
    let error = bench.try_submit(demanding(1, 0, &[("gpu", 1)]));
    let message = "`gpu`: 1 asked, no host of this run has more than 0";
    assert_eq!(error.unwrap_err().to_string(), message);
    let error = bench.try_submit(demanding(4, 5000, &[]));
    let message = "no host of this run has cores 4, memory-bytes 5000 at once";
    assert_eq!(error.unwrap_err().to_string(), message);
    bench.handle(Event::WorkerJoined(worker(2, "small", 5)));
    assert_eq!(bench.started(), [early.0], "now some host has nine cores");
}

#[test]
fn small_tasks_do_not_starve_a_large_one() {
    let settings = Settings {
        max_outstanding: 1000,
        ..Settings::default()
    };
    let mut bench = Bench::pool_with(2, settings);
    let mut running = vec![bench.submit(task()), bench.submit(task())];
    let large = bench.submit(demanding(2, 0, &[]));
    for _ in 0..500 {
        bench.submit(task());
    }
    bench.take();
    let mut finished = 0;
    while bench.state(large) == TaskState::Ready {
        assert!(finished < 100, "the large task starves");
        bench.finish(attempt(running.remove(0), 0), &[]);
        finished += 1;
        running.extend(bench.started().into_iter().map(TaskId));
    }
    assert_eq!(running, [large], "it has the host alone");
}

#[test]
fn a_worker_that_joins_again_loses_what_was_on_it() {
    let mut bench = Bench::pool(1);
    let id = bench.submit(task());
    bench.handle(Event::WorkerJoined(worker(0, "here", 1)));
    assert_eq!(
        bench.failure(id).message,
        "worker 0 was lost: it joined again"
    );
    bench.submit(task());
    assert_eq!(bench.core.counts().running, 1);
    assert_eq!(bench.core.counts().workers, 1);
    bench.handle(Event::WorkerLost {
        worker: WorkerId(42),
        reason: "unknown".to_owned(),
        running: Running::Unknown,
    });
}
