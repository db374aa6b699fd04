//! Every way in which a task or a driver can fail: the outcome, its record, and a host that lives.

use crate::harness::{Ended, Place, Running, probe, run_dir, tasks};
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;

/// No run here may take longer, whatever its guests do: far below what they would like.
const SOON: Duration = Duration::from_secs(15);

/// Tests that hold for worker threads and for worker processes alike.
macro_rules! on_both_pools {
    ($($test:ident,)*) => {
        mod threads {
            $(#[test] fn $test() { super::$test("thread-pool"); })*
        }
        mod processes {
            $(#[test] fn $test() { super::$test("process-pool"); })*
        }
    };
}

on_both_pools! {
    success,
    an_error_of_the_task,
    a_panic_shows_its_message,
    an_exit_of_the_guest_is_not_one_of_the_host,
    memory_beyond_the_limit,
    endless_recursion,
    computing_for_ever,
    sleeping_for_an_hour,
    sleeping_for_an_hour_by_the_standard_library,
    a_long_kernel_of_the_host,
    the_others_go_on_when_one_fails,
    a_retry_recovers_and_both_attempts_are_recorded,
    retries_are_counted_and_end,
    only_the_named_outcomes_are_tried_again,
    a_retry_waits_its_pause,
    a_failed_parent_fails_its_descendants,
    a_driver_can_cancel_its_tasks,
    a_panic_of_the_driver,
    a_failed_check,
    a_demand_that_no_worker_can_meet,
    a_spinning_driver_is_interrupted,
    a_spinning_task_is_interrupted,
    a_full_payload_store_is_an_outcome,
}

/// A run of the probe that has ended.
struct Probed {
    ended: Ended,
    json: Value,
    tasks: Vec<Value>,
    _place: Place,
}

/// Runs the probe; gives what is left of it.
#[track_caller]
fn probed(pool: &str, action: &str, args: &[&str]) -> Probed {
    let place = Place::new();
    let (ended, json) =
        place.json(&[&[probe(), "--app.action", action, "--executor", pool], args].concat());
    assert!(
        ended.elapsed < SOON,
        "{:?}: {}",
        ended.elapsed,
        ended.text()
    );
    let tasks = tasks(&run_dir(&json));
    Probed {
        ended,
        json,
        tasks,
        _place: place,
    }
}

/// Outcome, type and message of a record.
fn said(task: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let exception = &task["exception"];
    let (kind, message) = (text(&exception["type"]), text(&exception["message"]));
    format!(
        "{} {}: {kind}: {message}",
        text(&task["name"]),
        text(&task["outcome"])
    )
}

/// A failed attempt keeps its host, worker, number and times.
#[track_caller]
fn is_whole(task: &Value) {
    let execution = &task["execution"];
    assert!(
        execution["hostname"]
            .as_str()
            .is_some_and(|name| !name.is_empty()),
        "{task}"
    );
    for field in ["worker", "attempt", "peak_memory_bytes", "cpu_time"] {
        assert!(task[field].is_number(), "{field}: {task}");
    }
    assert_eq!(task["success"], task["outcome"] == "ok", "{task}");
    assert_eq!(
        task["exception"].is_null(),
        task["outcome"] == "ok",
        "{task}"
    );
    let times = [
        &task["submit_time"],
        &execution["execution_start_time"],
        &execution["task_start_time"],
        &execution["task_end_time"],
        &execution["execution_end_time"],
        &task["received_time"],
    ];
    let times = times.map(|time| time.as_f64().unwrap_or_else(|| panic!("a time: {task}")));
    assert!(times.is_sorted(), "{task}");
    let clocks = [
        "monotonic_submit_ns",
        "monotonic_dispatch_ns",
        "monotonic_execution_start_ns",
        "monotonic_task_start_ns",
        "monotonic_task_end_ns",
        "monotonic_execution_end_ns",
        "monotonic_received_ns",
    ];
    let clocks = clocks.map(|clock| {
        task[clock]
            .as_u64()
            .unwrap_or_else(|| panic!("{clock}: {task}"))
    });
    assert!(clocks.is_sorted(), "{task}");
}

/// The only task of a run failed in this way; the run went on, and its driver was told.
#[track_caller]
fn fails(pool: &str, action: &str, args: &[&str], expected: &str) -> Probed {
    let run = probed(pool, action, args);
    run.ended.expect(0);
    assert_eq!(run.tasks.len(), 1);
    let said = said(&run.tasks[0]);
    assert!(said.starts_with(expected), "{said}");
    is_whole(&run.tasks[0]);
    let counts = &run.json["tasks"];
    assert_eq!(
        (&counts["submitted"], &counts["failed"]),
        (&1.into(), &1.into())
    );
    let outcome = run.tasks[0]["outcome"].as_str().expect("an outcome");
    let told = run.json["values"]["task 0"]
        .as_str()
        .expect("what the driver saw");
    assert!(
        told.contains(outcome) || told.contains("was told to fail"),
        "{told}"
    );
    run
}

fn success(pool: &str) {
    let run = probed(pool, "ok", &["--app.count=3"]);
    run.ended.expect(0);
    for task in &run.tasks {
        assert_eq!(task["outcome"], "ok");
        is_whole(task);
    }
    assert_eq!(run.json["values"]["task 2"], "2");
}

fn an_error_of_the_task(pool: &str) {
    fails(
        pool,
        "error",
        &[],
        "error task-error: ProbeError: task 0 was told to fail",
    );
}

fn a_panic_shows_its_message(pool: &str) {
    let run = fails(
        pool,
        "panic",
        &[],
        "panic trap: unreachable: task 0 was told to panic (panicked at ",
    );
    let trace = run.tasks[0]["exception"]["traceback"]
        .as_str()
        .expect("a traceback");
    assert!(trace.contains("wasm"), "{trace}");
}

fn an_exit_of_the_guest_is_not_one_of_the_host(pool: &str) {
    fails(
        pool,
        "exit",
        &[],
        "exit trap: exit: the guest exited with status 1",
    );
}

fn memory_beyond_the_limit(pool: &str) {
    let run = fails(
        pool,
        "memory",
        &["--engine.task-memory=64 MB"],
        "memory out-of-memory: out-of-memory: ",
    );
    let peak = run.tasks[0]["peak_memory_bytes"].as_u64().expect("bytes");
    assert!((32_000_000..=64_000_000).contains(&peak), "{peak}");
}

fn endless_recursion(pool: &str) {
    let run = probed(pool, "recurse", &[]);
    run.ended.expect(0);
    let said = said(&run.tasks[0]);
    let expected = [
        "recurse trap: out-of-bounds: ",
        "recurse trap: stack-overflow: ",
    ];
    assert!(
        expected.iter().any(|start| said.starts_with(start)),
        "{said}"
    );
    is_whole(&run.tasks[0]);
}

/// The time limit, in seconds, and when a task must be over at the latest.
#[track_caller]
fn times_out(pool: &str, action: &str, name: &str, limit_s: f64) {
    let limit = format!("--task-timeout={limit_s}");
    let run = fails(
        pool,
        action,
        &[&limit],
        &format!("{name} timeout: timeout: "),
    );
    let execution = &run.tasks[0]["execution"];
    let time = |field: &str| execution[field].as_f64().expect("a time");
    let took_s = time("execution_end_time") - time("execution_start_time");
    assert!((limit_s * 0.99..5.0).contains(&took_s), "{took_s} s");
}

fn computing_for_ever(pool: &str) {
    times_out(pool, "spin", "spin", 0.2);
}

fn sleeping_for_an_hour(pool: &str) {
    times_out(pool, "sleep", "sleep", 0.2);
}

fn sleeping_for_an_hour_by_the_standard_library(pool: &str) {
    times_out(pool, "std-sleep", "std_sleep", 0.2);
}

fn a_long_kernel_of_the_host(pool: &str) {
    times_out(pool, "kernel", "kernel", 0.5);
}

fn the_others_go_on_when_one_fails(pool: &str) {
    let run = probed(pool, "mixed", &["--app.count=40"]);
    run.ended.expect(0);
    let counts = &run.json["tasks"];
    assert_eq!(
        (&counts["succeeded"], &counts["failed"]),
        (&30.into(), &10.into())
    );
    assert_eq!(run.tasks.len(), 40);
    run.tasks.iter().for_each(is_whole);
}

fn a_retry_recovers_and_both_attempts_are_recorded(pool: &str) {
    let run = probed(pool, "flaky", &["--retries=1"]);
    run.ended.expect(0);
    assert_eq!(run.json["values"]["task 0"], "0");
    let counts = &run.json["tasks"];
    assert_eq!(
        (&counts["submitted"], &counts["succeeded"]),
        (&1.into(), &1.into())
    );
    assert_eq!(
        (&counts["failed"], &counts["retried"]),
        (&0.into(), &1.into())
    );
    let attempts: Vec<_> = run
        .tasks
        .iter()
        .map(|task| (&task["attempt"], &task["final"], said(task)))
        .collect();
    assert_eq!(
        attempts,
        [
            (
                &0.into(),
                &false.into(),
                "flaky task-error: FlakyError: the first attempt fails".into()
            ),
            (&1.into(), &true.into(), "flaky ok: -: -".into()),
        ]
    );
    assert_eq!(run.tasks[0]["task_id"], run.tasks[1]["task_id"]);
    run.tasks.iter().for_each(is_whole);
}

fn retries_are_counted_and_end(pool: &str) {
    let run = probed(pool, "error", &["--retries=3"]);
    run.ended.expect(0);
    assert_eq!(run.tasks.len(), 4);
    assert_eq!(run.json["tasks"]["retried"], 3);
    assert_eq!(run.json["tasks"]["failed"], 1);
    let last: Vec<_> = run
        .tasks
        .iter()
        .filter(|task| task["final"] == true)
        .collect();
    assert_eq!((last.len(), &last[0]["attempts"]), (1, &4.into()));
}

fn only_the_named_outcomes_are_tried_again(pool: &str) {
    let run = probed(pool, "error", &["--retries=3", "--retry-on=timeout"]);
    assert_eq!(
        (run.tasks.len(), &run.json["tasks"]["retried"]),
        (1, &0.into())
    );
}

fn a_retry_waits_its_pause(pool: &str) {
    let run = probed(pool, "error", &["--retries=2", "--retry-backoff-ms=50"]);
    run.ended.expect(0);
    let ns = |task: &Value, field: &str| task[field].as_u64().expect("ns");
    let pauses: Vec<_> = run
        .tasks
        .windows(2)
        .map(|pair| {
            ns(&pair[1], "monotonic_execution_start_ns") - ns(&pair[0], "monotonic_received_ns")
        })
        .collect();
    assert!(
        pauses[0] >= 49_000_000 && pauses[1] >= 99_000_000,
        "{pauses:?}"
    );
}

fn a_failed_parent_fails_its_descendants(pool: &str) {
    let run = probed(pool, "upstream", &[]);
    run.ended.expect(0);
    let mut outcomes: Vec<_> = run
        .tasks
        .iter()
        .map(|task| (task["task_id"].clone(), task["outcome"].clone()))
        .collect();
    outcomes.sort_by_key(|(id, _)| id.to_string());
    let outcomes: Vec<_> = outcomes
        .iter()
        .map(|(_, outcome)| outcome.as_str())
        .collect();
    assert_eq!(
        outcomes,
        [
            Some("task-error"),
            Some("upstream-failed"),
            Some("upstream-failed")
        ]
    );
    let never_ran = run
        .tasks
        .iter()
        .filter(|task| task["outcome"] == "upstream-failed");
    for task in never_ran {
        assert!(
            task["execution"].is_null() && task["worker"].is_null(),
            "{task}"
        );
        assert_eq!(
            (&task["attempts"], &task["success"]),
            (&0.into(), &false.into())
        );
    }
    let told = run.json["values"]["grandchild"].as_str().expect("a value");
    assert!(told.contains("task 7 was told to fail"), "{told}");
}

fn a_driver_can_cancel_its_tasks(pool: &str) {
    let run = probed(pool, "cancel", &["--app.count=6"]);
    run.ended.expect(0);
    let outcomes: Vec<_> = run
        .tasks
        .iter()
        .map(|task| task["outcome"].as_str())
        .collect();
    assert_eq!(outcomes, vec![Some("cancelled"); 6]);
}

fn a_panic_of_the_driver(pool: &str) {
    let run = probed(pool, "driver-panic", &[]);
    run.ended.expect(1).says("error: the driver ended with ");
    run.ended.says("the driver was told to panic");
    assert_eq!(run.json["ok"], false);
}

fn a_failed_check(pool: &str) {
    let run = probed(pool, "bad-check", &[]);
    run.ended
        .expect(3)
        .says("error: check failed: two is 2, expected at most 1");
}

fn a_demand_that_no_worker_can_meet(pool: &str) {
    let run = probed(pool, "greedy", &[]);
    run.ended
        .expect(1)
        .says("`cores`: 100000 asked, no host of this run has more than");
    assert_eq!(run.json["tasks"]["submitted"], 0);
}

fn a_spinning_driver_is_interrupted(pool: &str) {
    let place = Place::new();
    let running = place.start([
        "run",
        probe(),
        "--app.action=driver-spin",
        "--executor",
        pool,
        "--json",
    ]);
    interrupted_when_running(&place, running);
}

fn a_spinning_task_is_interrupted(pool: &str) {
    let place = Place::new();
    let running = place.start([
        "run",
        probe(),
        "--app.action=spin",
        "--executor",
        pool,
        "--app.count=5",
        "--json",
    ]);
    interrupted_when_running(&place, running);
}

/// Interrupts a run that would never end.
fn interrupted_when_running(place: &Place, running: Running) {
    place.begun();
    std::thread::sleep(Duration::from_millis(100));
    running.signal(Signal::INT);
    let ended = running.end();
    ended
        .expect(130)
        .says("error: interrupted; tasks were cancelled");
    assert!(ended.elapsed < SOON, "{:?}", ended.elapsed);
    for task in tasks(&run_dir(&ended.json())) {
        assert_eq!(task["outcome"], "cancelled");
    }
}

const SLEEPERS: [&str; 4] = [
    "synthetic",
    "--app.structure=sequential",
    "--app.task-count=3",
    "--app.task-sleep=600",
];

#[test]
fn an_app_whose_task_times_out_fails() {
    for executor in ["thread-pool", "process-pool", "native"] {
        let place = Place::new();
        let args = ["--task-timeout=0.2", "--executor", executor];
        let (ended, json) = place.json(&[&SLEEPERS[..], &args].concat());
        ended.expect(1).says("error: task failed: ");
        assert!(ended.elapsed < SOON, "{:?}", ended.elapsed);
        let mut tasks = tasks(&run_dir(&json));
        tasks.sort_by_key(|task| task["task_id"].to_string());
        let outcomes: Vec<_> = tasks.iter().map(|task| task["outcome"].as_str()).collect();
        let upstream = Some("upstream-failed");
        assert_eq!(
            outcomes,
            [Some("timeout"), upstream, upstream],
            "{executor}"
        );
        is_whole(&tasks[0]);
        assert_eq!(json["tasks"]["failed"], 3, "{executor}");
    }
}

#[test]
fn a_native_run_is_interrupted_too() {
    let place = Place::new();
    let args = [&["run"], &SLEEPERS[..], &["--executor=native", "--json"]].concat();
    let running = place.start(args);
    interrupted_when_running(&place, running);
}

#[test]
fn more_tasks_than_may_be_outstanding_are_held_back() {
    let place = Place::new();
    let args = [
        "synthetic",
        "--app.structure=sequential",
        "--app.task-count=300",
    ];
    let (ended, json) = place.json(&[&args[..], &["--max-outstanding=7"]].concat());
    ended.expect(0);
    let mut moments = Vec::new();
    for task in tasks(&run_dir(&json)) {
        moments.push((task["monotonic_submit_ns"].as_u64(), 1));
        moments.push((task["monotonic_received_ns"].as_u64(), -1));
    }
    // An end before a submission of the same moment.
    moments.sort_unstable();
    let outstanding = moments.iter().scan(0, |sum, (_, change)| {
        *sum += change;
        Some(*sum)
    });
    let most = outstanding.max();
    assert_eq!(most, Some(7));
}

fn a_full_payload_store_is_an_outcome(pool: &str) {
    let limits = [
        "--engine.payload.limit=8 MB",
        "--engine.payload.spill=false",
    ];
    let run = probed(
        pool,
        "scribble",
        &[&["--app.bytes=30000000"], &limits[..]].concat(),
    );
    run.ended.expect(1).says("its limit is reached");
    let outcomes: Vec<_> = run
        .tasks
        .iter()
        .map(|task| task["outcome"].as_str())
        .collect();
    assert_eq!(outcomes, [Some("payload-error"), Some("upstream-failed")]);
    is_whole(&run.tasks[0]);
}

#[test]
fn a_full_payload_store_refuses_what_the_driver_makes() {
    let place = Place::new();
    let args = ["synthetic", "--app.structure=reduce", "--app.task-count=8"];
    let sizes = [
        "--app.task-data-bytes=3000000",
        "--payload-limit=8 MB",
        "--engine.payload.spill=false",
    ];
    let ended = place.run(&[&args[..], &sizes].concat());
    ended.expect(1).says("its limit is reached");
    assert!(
        !ended.stderr.contains("cancelled: cancelled"),
        "{}",
        ended.text()
    );
}

/// Beyond the limit payloads go to files, come back from there, and leave nothing behind.
#[test]
fn beyond_the_limit_payloads_go_to_a_disk() {
    for executor in ["thread-pool", "process-pool"] {
        let place = Place::new();
        let executor = format!("--executor={executor}");
        let (ended, json) = place.json(&[
            "synthetic",
            "--app.structure=reduce",
            "--app.task-count=8",
            "--app.task-data-bytes=3000000",
            "--payload-limit=8 MB",
            &executor,
        ]);
        ended.expect(0);
        let data = &json["data"];
        assert!(data["peak_bytes"].as_u64() <= Some(8_000_000), "{data}");
        assert!(
            data["peak_spilled_bytes"].as_u64() >= Some(10_000_000),
            "{data}"
        );
        let left = crate::harness::names(&run_dir(&json));
        assert_eq!(
            left,
            [
                "config.toml",
                "environment.json",
                "events.log",
                "log.txt",
                "tasks.jsonl"
            ]
        );
    }
}

#[test]
fn an_interruption_that_threads_cannot_have_is_replaced_and_noted() {
    let run = probed("thread-pool", "ok", &["--engine.interrupt=free"]);
    run.ended.expect(0);
    let note = run.tasks[0]["notes"][0].as_str().unwrap_or_default();
    assert!(note.contains("`free` fell back to `epoch`"), "{note}");
}
