//! Whatever a task does, it ends soon after it was cancelled, or when its time is up.

use crate::bench::{Bench, Setup, assert_outcome, best_of, description, failure, file};
use std::{
    thread,
    time::{Duration, Instant},
};
use taps_engine::{Attempt, OutcomeKind};
use taps_payload::Location;
use taps_sandbox::CancelToken;

/// What the design promises, from the cancel to the report.
const LIMIT: Duration = Duration::from_millis(50);

/// How often a busy machine may spoil the measurement.
const TRIES: u32 = 8;

/// Long enough for the task to be where it should be.
const UNDER_WAY: Duration = Duration::from_millis(60);

const TASKS: &[(&str, &str)] = &[
    ("spins", "(loop $for-ever (br $for-ever)) (unreachable)"),
    ("sleeps", "(call $sleep (i64.const -1)) (call $ok)"),
    (
        // A product of 1000 x 4e9 x 1000 out of three numbers.
        "kernel",
        "(f64.store (i32.const 768) (f64.const 1))
         (call $shape (i32.const 776) (i32.const 1000) (i32.const 4000000000) (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 8))
         (call $shape (i32.const 800) (i32.const 4000000000) (i32.const 1000) (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 8))
         (f64.store (i32.const 824) (f64.const 0))
         (call $shape (i32.const 832) (i32.const 1000) (i32.const 1000) (i32.const 1) (i32.const 1000) (i32.const 0x100000) (i32.const 8000000))
         (call $gemm (i32.const 768))
         (call $ok)",
    ),
    (
        "reads",
        "(loop $again
           (call $read-into (call $payload (local.get $args) (i32.const 0)) (i64.const 0)
             (i32.const 0x100000) (i32.const 0x1000000) (i32.const 64))
           (br $again))
         (unreachable)",
    ),
    (
        "logs",
        "(loop $again (call $log (i32.const 0) (i32.const 512) (i32.const 13)) (br $again)) (unreachable)",
    ),
    ("fine", "(call $ok)"),
];

/// Cancels a task that is under way; gives the time until its report.
fn cancelled(bench: &mut Bench, attempt: &Attempt) -> Duration {
    let token = CancelToken::new();
    let canceller = token.clone();
    let thread = thread::spawn(move || {
        thread::sleep(UNDER_WAY);
        let at = Instant::now();
        canceller.cancel();
        at
    });
    let report = bench.worker.run(attempt, &token);
    let ended = Instant::now();
    let at = thread.join().expect("no panic");
    assert_outcome(&failure(&report), OutcomeKind::Cancelled);
    ended.saturating_duration_since(at)
}

/// Runs a task under a time limit; gives how late its report was.
fn timed_out(bench: &mut Bench, attempt: &Attempt) -> Duration {
    let mut attempt = attempt.clone();
    attempt.limits.timeout_ms = Some(UNDER_WAY.as_millis() as u64);
    let began = Instant::now();
    let report = bench.run(&attempt);
    assert_outcome(&failure(&report), OutcomeKind::Timeout);
    began.elapsed().saturating_sub(UNDER_WAY)
}

fn ends_soon(bench: &mut Bench, task: &str, arguments: Vec<Location>) {
    let attempt = bench.attempt(task, arguments);
    best_of(TRIES, LIMIT, || cancelled(bench, &attempt));
    best_of(TRIES, LIMIT, || timed_out(bench, &attempt));
}

fn hand_made_ends_soon(task: &str) {
    let mut bench = Bench::new(TASKS);
    ends_soon(&mut bench, task, Vec::new());
    assert!(bench.call("fine", &[]).result.is_ok());
}

#[test]
fn a_spinning_task_is_cancelled_within_50_ms() {
    hand_made_ends_soon("spins");
}

#[test]
fn a_sleeping_task_is_cancelled_within_50_ms() {
    hand_made_ends_soon("sleeps");
}

#[test]
fn a_long_kernel_is_cancelled_within_50_ms() {
    hand_made_ends_soon("kernel");
}

#[test]
fn a_chattering_task_is_cancelled_within_50_ms() {
    hand_made_ends_soon("logs");
}

#[test]
fn a_reading_task_is_cancelled_within_50_ms() {
    let mut bench = Bench::new(TASKS);
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = folder.path().join("large");
    let sparse = std::fs::File::create(&path).expect("made");
    sparse.set_len(1 << 30).expect("sparse");
    ends_soon(&mut bench, "reads", vec![file(&path)]);
}

/// By the standard library, through WASI.
#[test]
fn a_task_asleep_in_wasi_is_cancelled_within_50_ms() {
    let mut bench = probe(Setup::default());
    ends_soon(&mut bench, "std_sleep", vec![archived(1)]);
}

#[test]
fn a_task_that_is_cancelled_before_it_starts_never_runs() {
    let mut bench = Bench::new(TASKS);
    let attempt = bench.attempt("spins", Vec::new());
    let token = CancelToken::new();
    token.cancel();
    let failure = failure(&bench.worker.run(&attempt, &token));
    assert_outcome(&failure, OutcomeKind::Cancelled);
}

/// A bench of the app that is written in Rust.
pub(crate) fn probe(setup: Setup) -> Bench {
    let wasm = std::fs::read(taps_fixtures::probe()).expect("it was built");
    let size = taps_sandbox::PoolSize {
        workers: 1,
        per_worker: 1,
    };
    let sandbox = taps_sandbox::Sandbox::new(size, None).expect("a thread can be started");
    let described = sandbox
        .describe("probe", &wasm)
        .expect("it says what it is");
    let names: Vec<String> = described
        .tasks
        .iter()
        .map(|task| task.name.clone())
        .collect();
    let app = description(
        names.iter().map(String::as_str),
        &setup.grants,
        &setup.granted,
    );
    Bench::of(app, wasm, names, setup)
}

/// A `u32` as the tasks of the probe take it.
pub(crate) fn archived(value: u32) -> Location {
    crate::bench::inline(&value.to_le_bytes())
}
