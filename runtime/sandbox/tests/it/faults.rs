//! Faults are acted out for real, at the point that the plan says, and nothing beyond the sandbox notices.

use crate::{
    bench::{Bench, HEAP, Setup, assert_outcome, failure, number},
    guest::Guest,
};
use parking_lot::Mutex;
use std::{
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use taps_engine::core::INJECTED_PARENT;
use taps_engine::{
    Attempt, AttemptReport, FaultAction, FaultPlan, FaultPoint, Instantiation, OutcomeKind,
    TrapKind,
};
use taps_payload::Location;
use taps_sandbox::{CancelToken, InstancePolicy};
use taps_transform::{
    DataPlane, FilterConfig, Ownership, PlaneConfig, RunKey, TransformerConfig, TypeNames,
};

/// Says a line, so that the test sees that it ran.
const SAYS: &str = "(call $log (i32.const 2) (i32.const 512) (i32.const 13))";

fn tasks() -> Vec<(&'static str, String)> {
    let says = |rest: &str| format!("{SAYS} {rest}");
    vec![
        ("fine", says("(call $number (i64.const 5))")),
        ("nothing", says("(call $ok)")),
        (
            "spins",
            says("(loop $for-ever (br $for-ever)) (unreachable)"),
        ),
        ("sleeps", says("(call $sleep (i64.const -1)) (call $ok)")),
        (
            "naps",
            says("(call $sleep (i64.const 20000000)) (call $number (i64.const 5))"),
        ),
        ("errs", says("(call $error (i32.const 525) (i32.const 8))")),
        (
            "counts",
            "(global.set $counter (i32.add (global.get $counter) (i32.const 1)))
             (call $number (i64.extend_i32_u (global.get $counter)))"
                .to_owned(),
        ),
        (
            "inline",
            "(memory.fill (i32.const 0x100000) (i32.const 9) (i32.const 1000))
             (call $bytes (i32.const 0x100000) (i32.const 1000))"
                .to_owned(),
        ),
        (
            "large",
            "(memory.fill (i32.const 0x100000) (i32.const 9) (i32.const 100000))
             (call $bytes (i32.const 0x100000) (i32.const 100000))"
                .to_owned(),
        ),
        (
            "copied",
            "(memory.fill (i32.const 0x100000) (i32.const 9) (i32.const 200000))
             (call $copy (i32.const 0x100000) (i32.const 200000) (i32.const 64))
             (if (i32.load8_u (i32.const 64)) (then (return (call $payload-error))))
             (call $buffer (i32.load (i32.const 68)))"
                .to_owned(),
        ),
        (
            "window",
            "(call $create (i32.const 0x100000) (i32.const 0x800000) (i64.const 3000000) (i32.const 64))
             (if (i32.load8_u (i32.const 64)) (then (return (call $payload-error))))
             (memory.fill (i32.add (i32.const 0x100000) (i32.wrap_i64 (i64.load (i32.const 80))))
               (i32.const 9) (i32.const 3000000))
             (call $buffer (i32.load (i32.const 72)))"
                .to_owned(),
        ),
        (
            "reads",
            "(call $read-into (call $payload (local.get $args) (i32.const 0)) (i64.const 0)
               (i32.const 0x100000) (i32.const 0x10000) (i32.const 64))
             (if (i32.load8_u (i32.const 64)) (then (return (call $payload-error))))
             (call $ok)"
                .to_owned(),
        ),
    ]
}

fn with(setup: Setup) -> Bench {
    let tasks = tasks();
    let tasks: Vec<(&str, &str)> = tasks
        .iter()
        .map(|(name, body)| (*name, body.as_str()))
        .collect();
    Bench::with(&Guest::new(&tasks), setup)
}

fn bench() -> Bench {
    with(Setup {
        faults: true,
        ..Setup::default()
    })
}

fn plan(action: FaultAction, point: FaultPoint) -> FaultPlan {
    FaultPlan {
        action,
        point,
        mid_us: 3000,
        slow_ms: 50,
        seed: 12_345,
    }
}

/// An attempt at a task, with a fault.
fn hit(bench: &mut Bench, task: &str, plan: FaultPlan) -> Attempt {
    Attempt {
        fault: Some(plan),
        ..bench.attempt(task, Vec::new())
    }
}

fn run(bench: &mut Bench, task: &str, plan: FaultPlan) -> AttemptReport {
    let attempt = hit(bench, task, plan);
    bench.run(&attempt)
}

/// How often a task has said its line.
fn said(bench: &Bench) -> usize {
    let heard = std::mem::take(&mut *bench.heard.0.lock());
    heard.iter().filter(|line| line.starts_with("Info")).count()
}

/// What the sandbox has to say for each fault within it.
fn expected(action: FaultAction) -> (OutcomeKind, &'static str, &'static str) {
    use FaultAction as Action;
    let task_error = OutcomeKind::TaskError;
    match action {
        Action::Failure => (task_error, "Exception", "Failure injection error."),
        Action::Import => (task_error, "ImportError", "Failure injection error."),
        Action::ZeroDivision => {
            let trap = OutcomeKind::Trap(TrapKind::DivisionByZero);
            (trap, "", "integer divide by zero")
        }
        Action::Memory => (OutcomeKind::OutOfMemory, "", "exceeds the limit"),
        Action::Ulimit => (task_error, "OSError", "too many open handles: 65536"),
        Action::Timeout => (OutcomeKind::Timeout, "", "time limit"),
        other => panic!("{other} is not acted out in a sandbox"),
    }
}

const IN_SANDBOX: [FaultAction; 6] = [
    FaultAction::Failure,
    FaultAction::Import,
    FaultAction::ZeroDivision,
    FaultAction::Memory,
    FaultAction::Ulimit,
    FaultAction::Timeout,
];

#[test]
fn each_fault_of_a_sandbox_is_real_at_each_point() {
    let mut bench = bench();
    for action in IN_SANDBOX {
        for point in FaultPoint::ALL {
            // Without the fault, neither of the tasks in the middle would ever end.
            let tasks: &[&str] = match point {
                FaultPoint::Mid => &["spins", "sleeps", "fine"],
                FaultPoint::Before | FaultPoint::After => &["fine"],
            };
            for task in tasks {
                let plan = plan(action, point);
                let mut attempt = hit(&mut bench, task, plan);
                if action == FaultAction::Timeout {
                    attempt.limits.timeout_ms = Some(100);
                }
                let report = bench.run(&attempt);
                let what = format!("{action} {} {task}: {report:?}", point.name());
                let failure = failure(&report);
                let (outcome, kind, message) = expected(action);
                assert_eq!(failure.outcome, outcome, "{what}");
                assert!(kind.is_empty() || failure.kind == kind, "{what}");
                assert!(failure.message.contains(message), "{what}");
                assert_eq!(report.injected, Some(plan), "{what}");
                let ran = usize::from(point != FaultPoint::Before);
                assert_eq!(said(&bench), ran, "{what}");
                let peak = report.peak_memory_bytes;
                assert!(peak > 0 && peak <= HEAP, "{what}");
                assert!(report.timeline.task_start <= report.timeline.task_end);
                assert_eq!(bench.live_bytes(), 0, "{what}");
            }
        }
    }
    // The worker is as it was.
    assert_eq!(bench.number("fine", &[]), 5);
}

/// Code without checks is interrupted by the first host call, or has run to its end.
#[test]
fn a_task_without_checks_is_struck_when_it_asks_the_host_or_returns() {
    let mut bench = with(Setup {
        faults: true,
        interrupt: taps_sandbox::Interrupt::Free,
        ..Setup::default()
    });
    for task in ["sleeps", "fine"] {
        let plan = plan(FaultAction::Import, FaultPoint::Mid);
        let report = run(&mut bench, task, plan);
        assert_eq!(failure(&report).kind, "ImportError");
        assert_eq!((report.injected, said(&bench)), (Some(plan), 1));
    }
    let mut endless = hit(
        &mut bench,
        "fine",
        plan(FaultAction::Timeout, FaultPoint::Before),
    );
    endless.limits.timeout_ms = Some(50);
    assert_outcome(&failure(&bench.run(&endless)), OutcomeKind::Timeout);
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("it is there");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.expect("in KiB") << 10
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .expect("it is there")
        .count()
}

/// In a process of its own: this one's memory and descriptors are those of other tests, too.
#[test]
fn the_host_keeps_nothing_of_what_faults_took() {
    const ALONE: &str = "TAPS_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let done = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "--nocapture", "--test-threads=1"])
            .arg("faults::the_host_keeps_nothing_of_what_faults_took")
            .env(ALONE, "1")
            .output()
            .expect("it runs");
        let said = [done.stdout, done.stderr].concat();
        let text = String::from_utf8_lossy(&said);
        assert!(text.contains("1 passed"), "{text}");
        return;
    }
    let mut bench = bench();
    for action in [FaultAction::Memory, FaultAction::Ulimit] {
        let plan = plan(action, FaultPoint::Before);
        // The first makes what stays: memory of the pool and of the allocator.
        run(&mut bench, "fine", plan);
        let (before, open) = (resident_bytes(), descriptors());
        for _ in 0..10 {
            assert!(run(&mut bench, "fine", plan).result.is_err());
            assert_eq!(descriptors(), open, "{action}");
        }
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < 32 << 20, "{action}: {grown} bytes more");
    }
}

#[test]
fn a_parent_that_nobody_asked_for_succeeds_or_fails() {
    let mut bench = bench();
    let faults = taps_apps::faults().expect("built in");
    let tasks = &faults.app().tasks;
    let index = tasks.iter().position(|task| task.name == "injected-parent");
    let mut attempt = bench.attempt("fine", Vec::new());
    attempt.name = INJECTED_PARENT.into();
    attempt.component = 1;
    attempt.task = index.expect("it is there") as u32;
    let report = bench.run(&attempt);
    assert_eq!(report.result.expect("it succeeds").len(), 0);
    assert_eq!(report.injected, None);
    let dependency = plan(FaultAction::Dependency, FaultPoint::Before);
    attempt.fault = Some(dependency);
    let report = bench.run(&attempt);
    let failure = failure(&report);
    assert_outcome(&failure, OutcomeKind::TaskError);
    assert_eq!(failure.kind, "ParentDependencyError");
    assert_eq!(failure.message, "Simulated failure in parent task.");
    assert_eq!(report.injected, Some(dependency));
    // The task whose parent it is has nothing to act out.
    let report = run(&mut bench, "fine", dependency);
    assert_eq!((number(&report), report.injected), (5, None));
}

#[test]
fn a_slow_worker_goes_on_after_its_pause() {
    let mut bench = bench();
    for point in FaultPoint::ALL {
        for task in ["fine", "naps"] {
            let plan = plan(FaultAction::SlowWorker, point);
            let begin = Instant::now();
            let report = run(&mut bench, task, plan);
            assert!(begin.elapsed() >= Duration::from_millis(50), "{point:?}");
            assert_eq!((number(&report), report.injected), (5, Some(plan)));
            assert_eq!(said(&bench), 1);
        }
    }
}

#[test]
fn a_pause_ends_by_cancel_and_by_deadline() {
    let mut bench = bench();
    for point in FaultPoint::ALL {
        let plan = FaultPlan {
            slow_ms: u32::MAX,
            ..plan(FaultAction::SlowWorker, point)
        };
        let mut attempt = hit(&mut bench, "naps", plan);
        let token = CancelToken::new();
        let canceller = token.clone();
        let thread = thread::spawn(move || {
            thread::sleep(Duration::from_millis(60));
            canceller.cancel();
        });
        let report = bench.worker.run(&attempt, &token);
        thread.join().expect("no panic");
        assert_outcome(&failure(&report), OutcomeKind::Cancelled);
        attempt.limits.timeout_ms = Some(60);
        let report = bench.run(&attempt);
        assert_outcome(&failure(&report), OutcomeKind::Timeout);
        assert_eq!(report.injected, Some(plan));
    }
}

fn bits_that_differ(one: &[u8], other: &[u8]) -> u32 {
    assert_eq!(one.len(), other.len());
    let pairs = one.iter().zip(other);
    pairs.map(|(a, b)| (a ^ b).count_ones()).sum()
}

fn output(report: &AttemptReport) -> Location {
    report.result.as_ref().expect("it succeeds")[0]
        .location
        .clone()
}

#[test]
fn one_bit_of_a_corrupt_payload_differs_whatever_its_way() {
    let mut bench = bench();
    for task in ["fine", "inline", "large", "copied", "window"] {
        let clean = bench.call(task, &[]);
        let plan = plan(FaultAction::CorruptPayload, FaultPoint::Before);
        let report = run(&mut bench, task, plan);
        assert_eq!(report.injected, Some(plan));
        assert_eq!(report.outputs, clean.outputs, "it travels as ever");
        let [clean, corrupt] = [clean, report].map(|report| bench.bytes(&output(&report)));
        assert_eq!(bits_that_differ(&clean, &corrupt), 1, "{task}");
        let again = run(&mut bench, task, plan);
        assert_eq!(bench.bytes(&output(&again)), corrupt, "the seed decides");
    }
    let plan = plan(FaultAction::CorruptPayload, FaultPoint::Before);
    let report = run(&mut bench, "nothing", plan);
    assert!(report.result.is_ok());
    assert_eq!(report.injected, None, "there is no bit to flip");
}

#[test]
fn damage_in_a_store_is_found_by_the_reader() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let directory = folder.path().to_str().expect("UTF-8");
    let serde_json::Value::Object(fields) = serde_json::json!({ "file_dir": directory }) else {
        unreachable!("it is one");
    };
    let config = PlaneConfig {
        filter: FilterConfig::All,
        transformer: TransformerConfig::from_fields("file", &fields).expect("valid"),
        run: RunKey::random().expect("random bytes"),
        types: TypeNames::default(),
        inline_max_bytes: 1000,
    };
    let segments = taps_payload::SegmentStore::new(Setup::default().store).expect("memfds work");
    let plane = DataPlane::open(config, segments, Ownership::Run).expect("it works");
    let mut bench = with(Setup {
        faults: true,
        data: Some(plane),
        ..Setup::default()
    });
    for task in ["inline", "window"] {
        let clean = bench.call(task, &[]);
        assert!(bench.call("reads", &[output(&clean)]).result.is_ok());
        let plan = plan(FaultAction::CorruptPayload, FaultPoint::Before);
        let report = run(&mut bench, task, plan);
        assert_eq!(report.injected, Some(plan));
        let location = output(&report);
        assert!(matches!(location, Location::Stored(_)), "{location:?}");
        let read = bench.call("reads", &[location]);
        let failure = failure(&read);
        assert_outcome(&failure, OutcomeKind::PayloadError);
        assert!(failure.message.contains("damaged"), "{failure:?}");
        assert_eq!(read.lost_inputs, [0]);
    }
}

#[test]
fn what_others_act_out_is_passed_on() {
    let mut bench = bench();
    for action in [FaultAction::LostResult, FaultAction::LateDuplicate] {
        let plan = plan(action, FaultPoint::After);
        let report = run(&mut bench, "fine", plan);
        assert_eq!((number(&report), report.injected), (5, Some(plan)));
    }
    // The task runs no program that could crash.
    let report = run(
        &mut bench,
        "fine",
        plan(FaultAction::ProgramCrash, FaultPoint::Before),
    );
    assert_eq!((number(&report), report.injected), (5, None));
}

#[test]
fn what_cannot_be_acted_out_here_says_why() {
    let mut bench = bench();
    for (action, why) in [
        (FaultAction::WorkerKilled, "process-pool"),
        (FaultAction::ManagerKilled, "process-pool"),
        (FaultAction::NodeKilled, "process-pool"),
    ] {
        let report = run(&mut bench, "fine", plan(action, FaultPoint::After));
        let failure = failure(&report);
        assert_outcome(&failure, OutcomeKind::EngineError);
        assert!(failure.message.contains(why), "{failure:?}");
        assert!(failure.message.contains(action.name()), "{failure:?}");
        assert_eq!((report.injected, said(&bench)), (None, 0));
    }
    let mut without = with(Setup::default());
    let report = run(
        &mut without,
        "fine",
        plan(FaultAction::Failure, FaultPoint::After),
    );
    assert_outcome(&failure(&report), OutcomeKind::EngineError);
    assert_eq!((report.injected, said(&without)), (None, 0));
}

#[test]
fn a_task_that_fails_by_itself_keeps_its_failure() {
    let mut bench = bench();
    for point in [FaultPoint::Mid, FaultPoint::After] {
        let report = run(&mut bench, "errs", plan(FaultAction::Failure, point));
        assert_eq!(failure(&report).kind, "OddError");
        assert_eq!(report.injected, None);
    }
    let attempt = hit(
        &mut bench,
        "fine",
        plan(FaultAction::Failure, FaultPoint::Before),
    );
    let token = CancelToken::new();
    token.cancel();
    let report = bench.worker.run(&attempt, &token);
    assert_outcome(&failure(&report), OutcomeKind::Cancelled);
    assert_eq!(report.injected, None);
}

#[test]
fn a_process_is_killed_when_the_task_has_come_to_the_point() {
    let killed = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&killed);
    let mut bench = with(Setup {
        killer: Some(Arc::new(move |action| {
            seen.lock().push(action);
            "it would not die".to_owned()
        })),
        ..Setup::default()
    });
    for (point, task) in [
        (FaultPoint::Before, "spins"),
        (FaultPoint::Mid, "spins"),
        (FaultPoint::After, "fine"),
    ] {
        let report = run(&mut bench, task, plan(FaultAction::NodeKilled, point));
        let failure = failure(&report);
        assert_outcome(&failure, OutcomeKind::EngineError);
        assert!(failure.message.contains("it would not die"), "{failure:?}");
        assert_eq!(said(&bench), usize::from(point != FaultPoint::Before));
        let killed = std::mem::take(&mut *killed.lock());
        assert_eq!(killed, [FaultAction::NodeKilled]);
    }
}

#[test]
fn a_sandbox_whose_work_was_discarded_serves_no_other_task() {
    let mut bench = with(Setup {
        faults: true,
        ..Setup::policy(InstancePolicy::Reuse)
    });
    assert_eq!(bench.number("counts", &[]), 1);
    assert_eq!(bench.number("counts", &[]), 2);
    let before = plan(FaultAction::Failure, FaultPoint::Before);
    let report = run(&mut bench, "counts", before);
    assert_eq!(report.instantiation, Instantiation::Fresh);
    assert_eq!(bench.number("counts", &[]), 3, "it was not touched");
    let after = plan(FaultAction::Failure, FaultPoint::After);
    let report = run(&mut bench, "counts", after);
    assert_eq!(report.instantiation, Instantiation::Reused);
    assert_eq!(bench.number("counts", &[]), 1, "made anew");
}
