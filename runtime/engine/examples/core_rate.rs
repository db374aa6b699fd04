//! Time of the core for one no-op task: submit, dispatch, finish, release.
//!
//! `cargo run --release -p taps-engine --example core_rate [LOOK_AHEAD]`, where workers take that
//! many attempts ahead (0 when it is left out) and tasks take 10 µs each.
#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use taps_engine::core::{
    Action, ArgumentSpec, Core, Event, RetryPolicy, Settings, TaskOptions, TaskSpec,
};
use taps_engine::{
    Argument, Attempt, AttemptReport, Capabilities, Instantiation, Limits, Output, Timeline,
    WorkerId, WorkerInfo,
};
use taps_payload::Location;
use taps_schema::Kernels;

const TASKS: u64 = 1_000_000;
const OUTSTANDING: usize = 1_000;
const WORKERS: u32 = 2;

/// What each task takes and gives.
#[derive(Clone, Copy)]
enum Shape {
    /// Nothing.
    Empty,
    /// One inline argument, one inline output.
    Inline,
}

fn main() {
    for (shape, what) in [
        (Shape::Empty, "no arguments, no outputs"),
        (Shape::Inline, "one inline argument and output"),
    ] {
        let (ns, held) = measure(shape);
        println!(
            "{ns:.0} ns per task ({what}; {TASKS} tasks, {OUTSTANDING} outstanding, {WORKERS} workers; at most {held} tasks held)"
        );
    }
}

fn measure(shape: Shape) -> (f64, u64) {
    let settings = Settings {
        max_outstanding: OUTSTANDING,
        default_retry: RetryPolicy::default(),
        ..Settings::default()
    };
    let capabilities = Capabilities {
        places: true,
        keeps_results: false,
        cancels_running: true,
        kills_workers: false,
        sees_host_paths: true,
        reports_worker_loss: false,
    };
    let mut core = Core::new(settings, 1, capabilities);
    let mut actions = Vec::new();
    for id in 0..WORKERS {
        let worker = WorkerInfo {
            id: WorkerId(id),
            host: "here".to_owned(),
            cores: 1,
            memory_bytes: 1 << 30,
            resources: Vec::new(),
            look_ahead: std::env::args()
                .nth(1)
                .map_or(0, |n| n.parse().expect("number")),
        };
        core.handle(0, Event::WorkerJoined(worker), &mut actions);
    }
    let spec = spec(shape);
    let bytes: Arc<[u8]> = Arc::from([0; 16]);
    let mut out: VecDeque<(WorkerId, Attempt)> = VecDeque::new();
    let mut held = 0;
    let mut completed = 0;
    let start = Instant::now();
    while completed < TASKS {
        while core.counts().submitted < TASKS && core.can_submit() {
            core.submit(0, spec.clone(), &mut actions)
                .expect("within back-pressure");
            apply(&mut core, &mut actions, &mut out, &mut completed);
        }
        let (worker, attempt) = out.pop_front().expect("tasks are outstanding");
        let report = report(&attempt, worker, shape, &bytes);
        core.handle(0, Event::Finished(Box::new(report)), &mut actions);
        held = held.max(core.counts().tasks_held);
        apply(&mut core, &mut actions, &mut out, &mut completed);
    }
    let elapsed = start.elapsed();
    assert_eq!(core.counts().tasks_held, 0, "everything is released");
    (elapsed.as_nanos() as f64 / TASKS as f64, held)
}

fn apply(
    core: &mut Core,
    actions: &mut Vec<Action>,
    out: &mut VecDeque<(WorkerId, Attempt)>,
    completed: &mut u64,
) {
    let mut ended = None;
    for action in actions.drain(..) {
        match action {
            Action::Dispatch {
                worker: Some(worker),
                attempt,
            } => out.push_back((worker, attempt)),
            Action::Completed { task, .. } => {
                *completed += 1;
                ended = Some(task);
            }
            other => panic!("a no-op task needs no {other:?}"),
        }
    }
    if let Some(task) = ended {
        core.handle(0, Event::Release(task), actions);
    }
}

fn spec(shape: Shape) -> TaskSpec {
    let media_type: Arc<str> = "application/octet-stream".into();
    let argument = ArgumentSpec::Value(Argument {
        location: Location::Inline(Arc::from([0; 16])),
        media_type: Arc::clone(&media_type),
    });
    TaskSpec {
        name: "noop".into(),
        component: 0,
        task: 0,
        arguments: match shape {
            Shape::Empty => Vec::new(),
            Shape::Inline => vec![argument],
        },
        options: TaskOptions::default(),
        limits: Limits::default(),
        kernels: Kernels::Host,
        outputs: 1,
        media_type,
        done: None,
    }
}

fn report(attempt: &Attempt, worker: WorkerId, shape: Shape, bytes: &Arc<[u8]>) -> AttemptReport {
    let output = || Output {
        location: Location::Inline(Arc::clone(bytes)),
    };
    let outputs = match shape {
        Shape::Empty => Vec::new(),
        Shape::Inline => vec![output()],
    };
    AttemptReport {
        timeline: Timeline {
            received: 1,
            finished: 10_001,
            ..Timeline::default()
        },
        instantiation: Instantiation::Fresh,
        ..AttemptReport::bare(attempt.id, worker, Ok(outputs))
    }
}
