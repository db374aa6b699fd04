//! Task functions called without a sandbox.

use crate::attempt;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use taps::{Array, Payload};
use taps_engine::{AttemptReport, OutcomeKind, TrapKind, WorkerId};
use taps_executors::{AttemptRunner, NativeRunner};
use taps_payload::{FileRef, Location, SegmentStore, StoreOptions, Way};
use taps_sandbox::{CancelToken, GuestSink, LogLevel, RunContext, Speaker, Stream};

/// Number of bytes and their sum.
#[taps::task]
fn add_up(data: Payload) -> taps::Result<Vec<u64>> {
    let bytes = data.bytes()?;
    Ok(vec![
        bytes.len() as u64,
        bytes.iter().map(|byte| u64::from(*byte)).sum(),
    ])
}

#[taps::task]
fn error(_value: u32) -> taps::Result<u32> {
    Err(taps::Error::app("OddError", "it went wrong"))
}

#[taps::task]
fn large(bytes: u64) -> Array<u8> {
    Array::from_fn(&[bytes as usize], |index| index as u8)
}

#[taps::task]
fn panics(value: u32) -> u32 {
    panic!("task {value} was told to panic")
}

#[taps::task]
fn sleeps(value: u32) -> u32 {
    taps::sleep(Duration::from_hours(1));
    value
}

/// Index of a task of this crate: they are sorted by name.
fn index(name: &str) -> u32 {
    let mut names = ["add_up", "error", "large", "panics", "sleeps"];
    names.sort_unstable();
    names
        .iter()
        .position(|known| *known == name)
        .expect("known") as u32
}

struct Quiet;

impl GuestSink for Quiet {
    fn log(&self, _: Speaker, _: LogLevel, _: &str) {}

    fn output(&self, _: Speaker, _: Stream, _: &str, _: u64) {}
}

struct Bench {
    run: Arc<RunContext>,
    runner: Box<dyn AttemptRunner>,
}

impl Bench {
    fn new(limit_bytes: u64) -> Self {
        Self::with(StoreOptions {
            limit_bytes: Some(limit_bytes),
            huge_pages: false,
            recycle_bytes: 0,
            ..StoreOptions::default()
        })
    }

    fn with(store: StoreOptions) -> Self {
        let run = Arc::new(RunContext {
            start: Instant::now(),
            store: SegmentStore::new(store).expect("memfds work"),
            sink: Box::new(Quiet),
            grants: Vec::new(),
            environment: Vec::new(),
            inline_max_bytes: 64 << 10,
            map_min_bytes: 0,
            verify_payloads: false,
            data: None,
            programs: None,
        });
        let factory = NativeRunner::factory(env!("CARGO_PKG_NAME"), Arc::clone(&run));
        let runner = factory.expect("tasks are linked in")(WorkerId(0));
        Self { run, runner }
    }

    fn call(&mut self, task: &str, arguments: Vec<Location>) -> AttemptReport {
        let attempt = attempt(1, index(task), arguments);
        self.runner.run(&attempt, &CancelToken::new())
    }
}

fn outcome_and_message(report: &AttemptReport) -> (OutcomeKind, String) {
    let Err(failure) = &report.result else {
        panic!("{report:?}")
    };
    (failure.outcome, failure.message.clone())
}

fn inline(bytes: &[u8]) -> Location {
    Location::Inline(bytes.into())
}

#[test]
fn arguments_are_read_wherever_they_are() {
    let mut bench = Bench::new(1 << 30);
    let bytes = vec![5; 100_000];
    let store = &bench.run.store;
    let mut segment = store.create(bytes.len() as u64).expect("there is room");
    segment.write_at(0, &bytes).expect("it fits");
    let segment = store.publish(segment).expect("it is ours").reference();
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = folder.path().join("input");
    std::fs::write(&path, &bytes).expect("written");
    let file = FileRef::open(&path).expect("it is there");
    let mut answers = Vec::new();
    for location in [
        inline(&bytes),
        Location::Segment(segment),
        Location::File(file.clone()),
    ] {
        let report = bench.call("add_up", vec![location]);
        assert_eq!(
            (report.inputs[0].way, report.inputs[0].bytes),
            (Way::Reference, 100_000)
        );
        let outputs = report.result.expect("it succeeds");
        answers.push(outputs[0].location.clone());
    }
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    let Location::Inline(archive) = &answers[0] else {
        panic!("{answers:?}")
    };
    assert!(
        archive
            .windows(8)
            .any(|part| part == 500_000_u64.to_le_bytes())
    );
    // What is gone or changed is a payload error.
    bench.run.store.free(segment.id);
    std::fs::write(&path, "changed").expect("written");
    for location in [Location::Segment(segment), Location::File(file)] {
        let report = bench.call("add_up", vec![location]);
        assert_eq!(report.outcome(), OutcomeKind::PayloadError, "{report:?}");
    }
}

/// What lies on a disk is never mapped: it is read, and the record says so.
#[test]
fn an_argument_on_a_disk_is_copied() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let mut bench = Bench::with(StoreOptions {
        limit_bytes: Some(0),
        huge_pages: false,
        spill_dir: Some(folder.path().to_owned()),
        ..StoreOptions::default()
    });
    let store = &bench.run.store;
    let mut segment = store.create(100_000).expect("the disk has room");
    segment.write_at(0, &vec![5; 100_000]).expect("it fits");
    let segment = store.publish(segment).expect("it is ours").reference();
    assert_eq!(store.statistics().spilled_segments, 1);
    let report = bench.call("add_up", vec![Location::Segment(segment)]);
    let transfer = report.inputs[0];
    assert_eq!((transfer.way, transfer.copies), (Way::Read, 1));
    assert_eq!(transfer.bytes_moved, 100_000);
    let Location::Inline(sum) = &report.result.expect("it succeeds")[0].location else {
        panic!("it is small")
    };
    assert!(sum.windows(8).any(|part| part == 500_000_u64.to_le_bytes()));
}

#[test]
fn errors_and_panics_are_what_a_sandbox_would_report() {
    let mut bench = Bench::new(1 << 30);
    let report = bench.call("error", vec![inline(&1_u32.to_le_bytes())]);
    assert_eq!(
        outcome_and_message(&report),
        (OutcomeKind::TaskError, "it went wrong".into())
    );
    let report = bench.call("panics", vec![inline(&7_u32.to_le_bytes())]);
    let (outcome, message) = outcome_and_message(&report);
    assert_eq!(outcome, OutcomeKind::Trap(TrapKind::Unreachable));
    assert!(message.contains("task 7 was told to panic"), "{message}");
    let attempt = attempt(1, 999, Vec::new());
    let report = bench.runner.run(&attempt, &CancelToken::new());
    assert_eq!(report.outcome(), OutcomeKind::EngineError);
}

#[test]
fn a_sleeping_task_is_cancelled_or_times_out() {
    let mut bench = Bench::new(1 << 30);
    let mut attempt = attempt(1, index("sleeps"), vec![inline(&7_u32.to_le_bytes())]);
    let token = CancelToken::new();
    let canceller = token.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        canceller.cancel();
    });
    let report = bench.runner.run(&attempt, &token);
    thread.join().expect("no panic");
    assert_eq!(report.outcome(), OutcomeKind::Cancelled);
    attempt.limits.timeout_ms = Some(30);
    let report = bench.runner.run(&attempt, &CancelToken::new());
    assert_eq!(report.outcome(), OutcomeKind::Timeout);
    let report = bench.runner.run(&attempt, &token);
    assert_eq!(report.outcome(), OutcomeKind::Cancelled, "before it starts");
}

#[test]
fn large_results_are_written_once_and_a_full_store_is_a_payload_error() {
    let mut bench = Bench::new(1 << 20);
    let report = bench.call("large", vec![inline(&200_000_u64.to_le_bytes())]);
    assert_eq!(
        (report.outputs[0].way, report.outputs[0].copies),
        (Way::Copied, 1)
    );
    let outputs = report.result.expect("it succeeds");
    let Location::Segment(segment) = outputs[0].location else {
        panic!("{outputs:?}")
    };
    bench.run.store.free(segment.id);
    let live = bench.run.store.statistics().live_bytes;
    let report = bench.call("large", vec![inline(&2_000_000_u64.to_le_bytes())]);
    assert_eq!(report.outcome(), OutcomeKind::PayloadError, "{report:?}");
    assert_eq!(bench.run.store.statistics().live_bytes, live);
    assert!(NativeRunner::factory("no-such-package", Arc::clone(&bench.run)).is_none());
}

// Linked for its registrations.
use taps_engine::{Attempt, FaultAction, FaultPlan, FaultPoint};
use taps_faults as _;

fn plan(action: FaultAction, point: FaultPoint) -> FaultPlan {
    FaultPlan {
        action,
        point,
        mid_us: 1000,
        slow_ms: 30,
        seed: 99,
    }
}

fn run_with(bench: &mut Bench, task: &str, value: Location, plan: FaultPlan) -> AttemptReport {
    let attempt = Attempt {
        fault: Some(plan),
        ..attempt(1, index(task), vec![value])
    };
    bench.runner.run(&attempt, &CancelToken::new())
}

#[test]
fn faults_that_need_no_sandbox_are_acted_out() {
    let mut bench = Bench::new(1 << 30);
    for (action, kind) in [
        (FaultAction::Failure, "Exception"),
        (FaultAction::Import, "ImportError"),
        (FaultAction::ZeroDivision, "ZeroDivisionError"),
    ] {
        for point in FaultPoint::ALL {
            // It sleeps for an hour, if nothing ends it.
            let task = match point {
                FaultPoint::Mid => "sleeps",
                FaultPoint::Before | FaultPoint::After => "large",
            };
            let value = inline(&5_u64.to_le_bytes()[..if task == "large" { 8 } else { 4 }]);
            let plan = plan(action, point);
            let report = run_with(&mut bench, task, value, plan);
            let failure = report.result.expect_err("it fails");
            assert_eq!(failure.outcome, OutcomeKind::TaskError, "{failure:?}");
            assert_eq!(failure.kind, kind);
            assert_eq!(report.injected, Some(plan));
        }
    }
    for action in [
        FaultAction::SlowWorker,
        FaultAction::LostResult,
        FaultAction::LateDuplicate,
    ] {
        for point in FaultPoint::ALL {
            let plan = plan(action, point);
            let report = run_with(&mut bench, "large", inline(&5_u64.to_le_bytes()), plan);
            assert!(report.result.is_ok(), "{report:?}");
            assert_eq!(report.injected, Some(plan));
            let timeline = report.timeline;
            let spent_ms = (timeline.finished - timeline.received) / 1_000_000;
            assert!(action != FaultAction::SlowWorker || spent_ms >= 30);
        }
    }
}

#[test]
fn a_native_payload_is_corrupted_in_one_bit() {
    let mut bench = Bench::new(1 << 30);
    for size in [5_u64, 1_000_000] {
        let plan = plan(FaultAction::CorruptPayload, FaultPoint::After);
        let clean = bench.call("large", vec![inline(&size.to_le_bytes())]);
        let corrupt = run_with(&mut bench, "large", inline(&size.to_le_bytes()), plan);
        assert_eq!(corrupt.injected, Some(plan));
        let [clean, corrupt] = [clean, corrupt].map(|report| {
            let outputs = report.result.expect("it succeeds");
            match &outputs[0].location {
                Location::Inline(bytes) => bytes.to_vec(),
                Location::Segment(segment) => {
                    let found = bench.run.store.get(segment.id).expect("published");
                    let mut bytes = vec![0; segment.len as usize];
                    found.read_at(0, &mut bytes).expect("readable");
                    bytes
                }
                other => panic!("{other:?}"),
            }
        });
        let pairs = clean.iter().zip(&corrupt);
        let differ: u32 = pairs.map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!((clean.len(), differ), (corrupt.len(), 1));
    }
}

#[test]
fn an_injected_parent_is_the_same_natively() {
    let mut bench = Bench::new(1 << 30);
    let mut parent = Attempt {
        name: taps_engine::core::INJECTED_PARENT.into(),
        // The number of another task in the app.
        ..attempt(1, index("panics"), Vec::new())
    };
    let report = bench.runner.run(&parent, &CancelToken::new());
    assert_eq!(report.result.expect("it succeeds"), []);
    parent.fault = Some(plan(FaultAction::Dependency, FaultPoint::Before));
    let report = bench.runner.run(&parent, &CancelToken::new());
    let failure = report.result.expect_err("it fails");
    assert_eq!(failure.kind, "ParentDependencyError");
    assert_eq!(report.injected, parent.fault);
}

#[test]
fn faults_that_need_a_sandbox_or_processes_say_so() {
    let mut bench = Bench::new(1 << 30);
    for (action, why) in [
        (FaultAction::Memory, "no sandbox"),
        (FaultAction::Timeout, "no sandbox"),
        (FaultAction::Ulimit, "no sandbox"),
        (FaultAction::WorkerKilled, "no worker processes"),
        (FaultAction::ManagerKilled, "no worker processes"),
        (FaultAction::NodeKilled, "no worker processes"),
    ] {
        let plan = plan(action, FaultPoint::Before);
        let report = run_with(&mut bench, "panics", inline(&[0; 4]), plan);
        let (outcome, message) = outcome_and_message(&report);
        assert_eq!(outcome, OutcomeKind::EngineError, "{message}");
        assert!(
            message.contains(why) && message.contains(action.name()),
            "{message}"
        );
        assert_eq!(report.injected, None);
    }
}

#[test]
fn a_native_task_names_the_argument_that_is_gone() {
    let mut bench = Bench::new(1 << 30);
    let store = &bench.run.store;
    let segment = store.create(5).expect("there is room");
    let segment = store.publish(segment).expect("it is ours").reference();
    store.free(segment.id);
    let report = bench.call("add_up", vec![Location::Segment(segment)]);
    assert_eq!(outcome_and_message(&report).0, OutcomeKind::PayloadError);
    assert_eq!(report.lost_inputs, [0]);
}
