//! Faults that kill processes of a pool, for real: what they were to hit is gone and replaced, nothing else is
//! touched, and nothing is left.
//!
//! The processes of a pool run the program that makes it: this one, which therefore has a `main` of its
//! own, and says to a test runner what tests it has.

#![expect(
    clippy::print_stdout,
    reason = "a test runner reads what tests there are"
)]

mod pool;

use pool::{Bench, Canaries, NOTHING_LEFT};
use std::{process::ExitCode, time::Duration};
use taps_engine::{FaultAction, FaultPoint, OutcomeKind, Running, WorkerId};
use taps_process_pool::{Role, serve_launcher, serve_manager, serve_worker};

type Test = (&'static str, fn());

const TESTS: [Test; 3] = [
    (
        "kills_end_what_they_name_and_nothing_else",
        kills_end_what_they_name_and_nothing_else,
    ),
    (
        "a_pool_outlives_any_number_of_kills",
        a_pool_outlives_any_number_of_kills,
    ),
    (
        "faults_within_sandboxes_cost_no_worker",
        faults_within_sandboxes_cost_no_worker,
    ),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let ["internal", role, parent] = args[..] {
        return serve(role, parent);
    }
    if args.contains(&"--list") {
        // None of them is to be ignored.
        if !args.contains(&"--ignored") {
            for (name, _) in TESTS {
                println!("{name}: test");
            }
        }
        return ExitCode::SUCCESS;
    }
    let chosen = |name: &str| {
        let mut names = args.iter().filter(|arg| !arg.starts_with("--")).peekable();
        names.peek().is_none() || names.any(|wanted| *wanted == name)
    };
    for (name, test) in TESTS {
        if chosen(name) {
            test();
            eprintln!("{name}: ok");
        }
    }
    ExitCode::SUCCESS
}

/// Serves as one of the pool's processes.
fn serve(role: &str, parent: &str) -> ExitCode {
    let parent = parent.parse().expect("a process number");
    let served = match role {
        role if role == Role::Launcher.name() => serve_launcher(parent),
        role if role == Role::Manager.name() => serve_manager(parent),
        role if role == Role::Worker.name() => serve_worker(parent),
        other => panic!("no role {other}"),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{role}: {error}");
            ExitCode::FAILURE
        }
    }
}

const KILLS: [FaultAction; 3] = [
    FaultAction::WorkerKilled,
    FaultAction::ManagerKilled,
    FaultAction::NodeKilled,
];

/// Node 0 has the workers 0 and 1, node 1 the workers 2 and 3.
const HIT: WorkerId = WorkerId(0);
const BESIDE: WorkerId = WorkerId(1);
const ELSEWHERE: WorkerId = WorkerId(2);

fn kills_end_what_they_name_and_nothing_else() {
    let canaries = Canaries::start();
    let mut bench = Bench::start(2, 2);
    for action in KILLS {
        for point in FaultPoint::ALL {
            let what = format!("{action} {}", point.name());
            // Without the fault at `mid` the task would sleep for longer than any test lasts.
            let sleep = match point {
                FaultPoint::Mid => Duration::from_hours(1),
                FaultPoint::Before | FaultPoint::After => Duration::ZERO,
            };
            let beside = bench.submit(BESIDE, Duration::from_millis(300), None);
            let elsewhere = bench.submit(ELSEWHERE, Duration::from_millis(300), None);
            let hit = bench.submit(HIT, sleep, Some((action, point)));
            let (reason, running) = bench.lost(HIT);
            assert_eq!(running, Running::Attempt(hit), "{what}: {reason}");
            if action == FaultAction::WorkerKilled {
                assert!(reason.contains("signal 9"), "{what}: {reason}");
                assert_eq!(bench.outcome(beside), OutcomeKind::Ok, "{what}");
            } else {
                assert!(reason.contains("manager"), "{what}: {reason}");
                let (_, running) = bench.lost(BESIDE);
                // It may not have come to it.
                let charged = [Running::Attempt(beside), Running::Nothing];
                assert!(charged.contains(&running), "{what}: {running:?}");
                bench.joined(BESIDE);
            }
            bench.joined(HIT);
            assert_eq!(bench.outcome(elsewhere), OutcomeKind::Ok, "{what}");
            // Those that came in their place work.
            for worker in [HIT, BESIDE, ELSEWHERE] {
                let next = bench.submit(worker, Duration::ZERO, None);
                assert_eq!(bench.outcome(next), OutcomeKind::Ok, "{what}");
            }
            bench.nothing_else(&what);
        }
    }
    bench.end();
    canaries.live();
    assert_eq!(pool::left(), NOTHING_LEFT);
}

/// Far more kills in a row than starts in a row may fail, of processes that never reported anything.
fn a_pool_outlives_any_number_of_kills() {
    let canaries = Canaries::start();
    let mut bench = Bench::start(1, 1);
    for action in KILLS {
        for _ in 0..12 {
            let hit = bench.submit(HIT, Duration::ZERO, Some((action, FaultPoint::Before)));
            let (_, running) = bench.lost(HIT);
            assert_eq!(running, Running::Attempt(hit), "{action}");
            bench.joined(HIT);
        }
    }
    let last = bench.submit(HIT, Duration::ZERO, None);
    assert_eq!(bench.outcome(last), OutcomeKind::Ok);
    bench.nothing_else("at the end");
    bench.end();
    canaries.live();
    assert_eq!(pool::left(), NOTHING_LEFT);
}

fn faults_within_sandboxes_cost_no_worker() {
    let mut bench = Bench::start(1, 2);
    for (action, outcome) in [
        (FaultAction::Failure, OutcomeKind::TaskError),
        (FaultAction::Ulimit, OutcomeKind::TaskError),
        (FaultAction::Memory, OutcomeKind::OutOfMemory),
        (FaultAction::SlowWorker, OutcomeKind::Ok),
    ] {
        for point in FaultPoint::ALL {
            let hit = bench.submit(HIT, Duration::from_millis(5), Some((action, point)));
            let report = bench.report(hit);
            assert_eq!(report.outcome(), outcome, "{report:?}");
            let injected = report.injected.expect("it was acted out");
            assert_eq!((injected.action, injected.point), (action, point));
        }
    }
    bench.nothing_else("at the end");
    bench.end();
    assert_eq!(pool::left(), NOTHING_LEFT);
}
