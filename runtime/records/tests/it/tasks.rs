//! `tasks.jsonl` as a view of the log.

use crate::support::view::{brief, lines, task_finished, view};
use crate::support::{
    any_event, any_report, attempt, attempt_started, finished, joined, report, started, submitted,
    whole_task,
};
use parking_lot::Mutex;
use proptest::{collection::vec, prelude::*};
use serde_json::Value;
use std::path::Path;
use taps_engine::{
    AttemptId, Failure, FaultAction, FaultPlan, FaultPoint, Instantiation, OutcomeKind, TaskId,
    TrapKind, WorkerId,
};
use taps_records::{
    EVENTS_FILE, EventLog, LogEvent, TASKS_FILE, TaskCounts, TasksSummary, recover,
    write_tasks_jsonl,
};

const START: u64 = 1_795_162_602_154_839_812;

#[test]
fn a_success() {
    let mut submission = submitted(7, "trsm", &[5, 3], 1_000_000);
    if let LogEvent::Submitted { label, phase, .. } = &mut submission {
        *label = Some("row 2".into());
        *phase = 1;
    }
    let (text, summary) = view(&[
        started(START),
        joined(0, "node-3"),
        LogEvent::Phase {
            name: "factorise".into(),
            time_ns: 900_000,
        },
        submission,
        attempt_started(7, 0, 0, 1_100_000),
        finished(report(7, 0, 1_200_000), 1_300_000, false),
    ]);
    insta::assert_snapshot!(text.trim_end(), @r#"{"task_id": "7", "name": "trsm", "parent_task_ids": ["5", "3"], "submit_time": 1795162602.155839812, "received_time": 1795162602.156139812, "success": true, "exception": null, "execution": {"hostname": "node-3", "execution_start_time": 1795162602.156039812, "execution_end_time": 1795162602.156042812, "task_start_time": 1795162602.156040812, "task_end_time": 1795162602.156041812, "input_transform_start_time": 1795162602.156039812, "input_transform_end_time": 1795162602.156040812, "result_transform_start_time": 1795162602.156041812, "result_transform_end_time": 1795162602.156042812}, "attempt": 0, "attempts": 1, "final": true, "worker": 0, "outcome": "ok", "instance": "fresh", "memoized": false, "inputs": [{"bytes": 8, "moved": 8, "way": "inline", "copies": 1}], "outputs": [{"bytes": 8, "moved": 8, "way": "inline", "copies": 1}], "copies": 2, "peak_memory_bytes": 1048576, "cpu_time": 0.000002900, "monotonic_submit_ns": 1000000, "monotonic_dispatch_ns": 1100000, "monotonic_execution_start_ns": 1200000, "monotonic_task_start_ns": 1201000, "monotonic_task_end_ns": 1202000, "monotonic_execution_end_ns": 1203000, "monotonic_received_ns": 1300000, "generation": 0, "label": "row 2", "phase": "factorise", "injected": null, "executions": 1, "notes": []}"#);
    assert_eq!(
        (summary.lines, summary.tasks, summary.unfinished),
        (1, 1, 0)
    );
}

#[test]
fn a_failure_keeps_times_and_host() {
    let mut failed = report(8, 1, 1_200_000);
    failed.result = Err(Failure {
        outcome: OutcomeKind::Trap(TrapKind::Unreachable),
        kind: "unreachable".into(),
        message: "wasm `unreachable` instruction executed".into(),
        detail: Some("0: trsm\n1: run".into()),
    });
    failed.timeline.task_end = 0;
    failed.outputs.clear();
    failed.instantiation = Instantiation::Prewarmed;
    failed.injected = Some(FaultPlan {
        action: FaultAction::Failure,
        point: FaultPoint::Before,
        mid_us: 0,
        slow_ms: 0,
        seed: 0,
    });
    failed.notes = vec!["`free` fell back to \"epoch\"".into()];
    let (text, _) = view(&[
        started(START),
        joined(0, "node-3"),
        submitted(8, "trsm", &[], 1_000_000),
        attempt_started(8, 1, 0, 1_100_000),
        finished(failed, 1_300_000, false),
    ]);
    insta::assert_snapshot!(text.trim_end(), @r#"{"task_id": "8", "name": "trsm", "parent_task_ids": [], "submit_time": 1795162602.155839812, "received_time": 1795162602.156139812, "success": false, "exception": {"type": "unreachable", "message": "wasm `unreachable` instruction executed", "traceback": "0: trsm\n1: run"}, "execution": {"hostname": "node-3", "execution_start_time": 1795162602.156039812, "execution_end_time": 1795162602.156042812, "task_start_time": 1795162602.156040812, "task_end_time": null, "input_transform_start_time": 1795162602.156039812, "input_transform_end_time": 1795162602.156040812, "result_transform_start_time": null, "result_transform_end_time": 1795162602.156042812}, "attempt": 1, "attempts": 2, "final": true, "worker": 0, "outcome": "trap", "instance": "prewarmed", "memoized": false, "inputs": [{"bytes": 8, "moved": 8, "way": "inline", "copies": 1}], "outputs": [], "copies": 1, "peak_memory_bytes": 1048576, "cpu_time": 0.000002900, "monotonic_submit_ns": 1000000, "monotonic_dispatch_ns": 1100000, "monotonic_execution_start_ns": 1200000, "monotonic_task_start_ns": 1201000, "monotonic_task_end_ns": null, "monotonic_execution_end_ns": 1203000, "monotonic_received_ns": 1300000, "generation": 0, "label": null, "phase": null, "injected": {"action": "failure", "point": "before"}, "executions": 1, "notes": ["`free` fell back to \"epoch\""]}"#);
}

#[test]
fn keys_are_in_the_documented_order() {
    let (text, _) = view(&[[started(START)].as_slice(), &whole_task(0, 10)].concat());
    let keys = [
        // TaPS.
        "task_id",
        "name",
        "parent_task_ids",
        "submit_time",
        "received_time",
        "success",
        "exception",
        "execution",
        "hostname",
        "execution_start_time",
        "execution_end_time",
        "task_start_time",
        "task_end_time",
        "input_transform_start_time",
        "input_transform_end_time",
        "result_transform_start_time",
        "result_transform_end_time",
        // Ours.
        "attempt",
        "attempts",
        "final",
        "worker",
        "outcome",
        "instance",
        "memoized",
        "inputs",
        "bytes",
        "moved",
        "way",
        "copies",
        "outputs",
        "bytes",
        "moved",
        "way",
        "copies",
        "copies",
        "peak_memory_bytes",
        "cpu_time",
        "monotonic_submit_ns",
        "monotonic_dispatch_ns",
        "monotonic_execution_start_ns",
        "monotonic_task_start_ns",
        "monotonic_task_end_ns",
        "monotonic_execution_end_ns",
        "monotonic_received_ns",
        "generation",
        "label",
        "phase",
        "injected",
        "executions",
        "notes",
    ];
    let found: Vec<_> = text
        .split("\": ")
        .filter_map(|part| part.rsplit('"').next())
        .collect();
    assert_eq!(found[..keys.len()], keys);
}

#[test]
fn retries_have_lines_of_their_own() {
    let mut failed = report(0, 0, 300);
    failed.result = Err(Failure::new(OutcomeKind::TaskError, "once"));
    let lines = lines(&[
        started(START),
        submitted(0, "t", &[], 100),
        attempt_started(0, 0, 0, 200),
        finished(failed, 400, true),
        attempt_started(0, 1, 0, 500),
        finished(report(0, 1, 600), 700, false),
    ]);
    assert_eq!(brief(&lines), ["0 0 task-error false", "0 1 ok true"]);
    assert_eq!(lines[1]["attempts"], 2);
}

#[test]
fn an_attempt_lost_with_its_worker_has_a_line() {
    let lost = LogEvent::WorkerLost {
        worker: WorkerId(0),
        reason: "killed by signal 9".into(),
        time_ns: 300,
    };
    let given_up = Failure::new(OutcomeKind::WorkerLost, "lost twice");
    let lines = lines(&[
        started(START),
        joined(0, "node"),
        submitted(0, "t", &[], 100),
        attempt_started(0, 0, 0, 200),
        lost,
        attempt_started(0, 1, 0, 500),
        task_finished(0, given_up, 600),
    ]);
    assert_eq!(
        brief(&lines),
        ["0 0 worker-lost false", "0 1 worker-lost true"]
    );
    assert_eq!(lines[0]["exception"]["message"], "killed by signal 9");
    assert_eq!(lines[0]["worker"], 0);
    assert_eq!(lines[1]["exception"]["message"], "lost twice");
}

fn returned(task: u64, number: u32, time_ns: u64) -> LogEvent {
    LogEvent::AttemptReturned {
        id: AttemptId {
            task: TaskId(task),
            number,
        },
        time_ns,
    }
}

#[test]
fn an_attempt_that_came_back_has_no_line() {
    let mut failed = report(0, 1, 300);
    failed.result = Err(Failure::new(OutcomeKind::TaskError, "once"));
    let lines = lines(&[
        started(START),
        submitted(0, "t", &[], 100),
        attempt_started(0, 0, 0, 200),
        returned(0, 0, 210),
        attempt_started(0, 1, 0, 220),
        finished(failed, 400, true),
        attempt_started(0, 2, 0, 500),
        returned(0, 2, 510),
        attempt_started(0, 3, 0, 520),
        finished(report(0, 3, 600), 700, false),
    ]);
    assert_eq!(brief(&lines), ["0 1 task-error false", "0 3 ok true"]);
    assert_eq!(
        (&lines[0]["attempts"], &lines[1]["attempts"]),
        (&1.into(), &2.into())
    );
    assert_eq!(lines[1]["monotonic_dispatch_ns"], 520);
}

#[test]
fn a_task_cancelled_before_its_attempt_came_back_has_one_line() {
    let cancelled = || Failure::new(OutcomeKind::Cancelled, "by the driver");
    let before = [
        started(START),
        submitted(0, "t", &[], 100),
        attempt_started(0, 0, 0, 200),
    ];
    for end in [
        [task_finished(0, cancelled(), 300), returned(0, 0, 400)],
        [returned(0, 0, 300), task_finished(0, cancelled(), 400)],
    ] {
        let lines = lines(&[before.as_slice(), &end].concat());
        assert_eq!(brief(&lines), ["0 null cancelled true"]);
        assert_eq!(lines[0]["attempts"], 0);
    }
}

#[test]
fn a_task_that_never_ran_has_a_line() {
    let failure = Failure::new(OutcomeKind::UpstreamFailed, "task 3 failed");
    let lines = lines(&[
        started(START),
        submitted(4, "t", &[3], 100),
        task_finished(4, failure, 200),
    ]);
    assert_eq!(brief(&lines), ["4 null upstream-failed true"]);
    assert_eq!(lines[0]["execution"], Value::Null);
    assert_eq!(lines[0]["parent_task_ids"][0], "3");
}

#[test]
fn a_task_cancelled_while_it_runs_has_one_line_with_the_report() {
    let cancelled = || {
        task_finished(
            0,
            Failure::new(OutcomeKind::Cancelled, "by the driver"),
            300,
        )
    };
    let begin = || {
        vec![
            started(START),
            submitted(0, "t", &[], 100),
            attempt_started(0, 0, 0, 200),
            cancelled(),
        ]
    };
    let mut reported = begin();
    reported.push(finished(report(0, 0, 250), 400, false));
    let reported = lines(&reported);
    assert_eq!(brief(&reported), ["0 0 cancelled true"]);
    assert_eq!(reported[0]["monotonic_execution_start_ns"], 250);

    // Killed before the report came: the task had ended all the same.
    let (text, summary) = view(&begin());
    assert!(text.contains(r#""outcome": "cancelled""#));
    assert_eq!((summary.tasks, summary.unfinished), (1, 0));
}

#[test]
fn a_finished_task_that_runs_again_keeps_its_name() {
    let mut events = vec![started(START)];
    events.extend(whole_task(0, 100));
    events.extend(whole_task(1, 200));
    events.push(attempt_started(0, 1, 1, 10_000));
    events.push(finished(report(0, 1, 11_000), 15_000, false));
    let lines = lines(&events);
    assert_eq!(
        brief(&lines),
        ["0 0 ok true", "1 0 ok true", "0 1 ok false"]
    );
    assert_eq!(lines[2]["name"], "noop");
    assert_eq!(lines[2]["generation"], 1);
}

#[test]
fn a_memoised_task_has_a_line() {
    let lines = lines(&[
        started(START),
        submitted(0, "a", &[], 10),
        LogEvent::Memoized {
            task: TaskId(0),
            outputs: Vec::new(),
            time_ns: 15,
        },
        submitted(1, "a", &[0], 20),
        attempt_started(1, 0, 0, 21),
        finished(report(1, 0, 22), 30, false),
    ]);
    assert_eq!(brief(&lines), ["0 null ok true", "1 0 ok true"]);
    assert_eq!(lines[0]["memoized"], true);
    assert_eq!(lines[0]["instance"], "none");
    assert_eq!(lines[0]["success"], true);
    assert_eq!(lines[0]["monotonic_received_ns"], 15);
    assert_eq!(lines[1]["memoized"], false);
}

#[test]
fn repeated_reports_and_lost_outputs_have_no_line() {
    let mut events = vec![started(START)];
    events.extend(whole_task(0, 1_000));
    events.extend([
        LogEvent::ReportRepeated {
            id: attempt(0, 0),
            time_ns: 9_000,
        },
        LogEvent::OutputsLost {
            outputs: Vec::new(),
            time_ns: 9_000,
        },
        LogEvent::Ending { time_ns: 9_001 },
    ]);
    let (text, summary) = view(&events);
    assert_eq!((text.lines().count(), summary.unmatched), (1, 0));
}

#[test]
fn the_fault_of_a_lost_attempt_is_told_when_it_kills() {
    let carrying = |task: u64, action: FaultAction| LogEvent::AttemptStarted {
        id: attempt(task, 0),
        worker: Some(WorkerId(0)),
        generation: 0,
        fault: Some(FaultPlan {
            action,
            point: FaultPoint::Mid,
            mid_us: 1,
            slow_ms: 1,
            seed: 1,
        }),
        time_ns: 11,
    };
    let mut lost = report(0, 0, 12);
    lost.result = Err(Failure::new(OutcomeKind::WorkerLost, "killed"));
    let mut bystander = lost.clone();
    bystander.id.task = TaskId(1);
    let mut spared = report(2, 0, 12);
    spared.id.task = TaskId(2);
    let lines = lines(&[
        started(START),
        submitted(0, "a", &[], 10),
        submitted(1, "a", &[], 10),
        submitted(2, "a", &[], 10),
        submitted(3, "a", &[], 10),
        carrying(0, FaultAction::WorkerKilled),
        carrying(1, FaultAction::Failure),
        carrying(2, FaultAction::NodeKilled),
        carrying(3, FaultAction::NodeKilled),
        finished(lost, 20, true),
        finished(bystander, 20, true),
        finished(spared, 20, false),
        LogEvent::Resumed {
            time_ns: 30,
            unix_ns: START + 30,
        },
    ]);
    let injected: Vec<_> = lines
        .iter()
        .map(|line| line["injected"].to_string())
        .collect();
    let killed = r#"{"action":"worker-killed","point":"mid"}"#;
    assert_eq!(injected, [killed, "null", "null", "null"]);
}

#[test]
fn the_summary_tells_what_is_missing() {
    let mut events = vec![started(START), submitted(0, "t", &[], 100)];
    events.extend(whole_task(1, 200));
    events.push(finished(report(9, 0, 1), 2, false));
    let (_, summary) = view(&events);
    let expected = TasksSummary {
        lines: 1,
        tasks: 1,
        unfinished: 1,
        unmatched: 1,
        run_finished: false,
        truncated_at: None,
    };
    assert_eq!(summary, expected);
    events.push(LogEvent::RunFinished {
        ok: true,
        exit_code: 0,
        report: None,
        error: None,
        counts: TaskCounts::default(),
        time_ns: 3,
    });
    assert!(view(&events).1.run_finished);
}

#[test]
fn a_program_error_has_exit_code_and_signal() {
    let mut failed = report(0, 0, 300);
    let outcome = OutcomeKind::ProgramError {
        exit: Some(3),
        signal: None,
    };
    failed.result = Err(Failure::new(outcome, "vina failed"));
    let lines = lines(&[
        started(START),
        submitted(0, "t", &[], 100),
        finished(failed, 400, false),
    ]);
    assert_eq!(lines[0]["outcome"], "program-error");
    assert_eq!(lines[0]["exit_code"], 3);
    assert_eq!(lines[0]["signal"], Value::Null);
    assert_eq!(lines[0]["monotonic_dispatch_ns"], Value::Null);
}

#[test]
fn eight_threads_lose_and_break_no_line() {
    let per_thread = match std::env::var("TAPS_RECORDS_TASKS_PER_THREAD") {
        Ok(number) => number.parse().expect("a number"),
        Err(_) => 2_000,
    };
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join(EVENTS_FILE);
    let log = Mutex::new(EventLog::create(&path).expect("create"));
    log.lock().append(&started(START)).expect("append");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let log = &log;
            scope.spawn(move || {
                for task in (0..per_thread).map(|number| number * 8 + thread) {
                    for event in whole_task(task, task) {
                        log.lock().append(&event).expect("append");
                    }
                }
            });
        }
    });
    log.into_inner().close().expect("close");
    let summary = recover(directory.path()).expect("recover");
    assert_eq!((summary.lines, summary.unmatched), (8 * per_thread, 0));
    let text = std::fs::read_to_string(directory.path().join(TASKS_FILE)).expect("records");
    let mut seen = vec![false; 8 * per_thread as usize];
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let task: usize = line["task_id"]
            .as_str()
            .expect("id")
            .parse()
            .expect("number");
        assert!(
            !std::mem::replace(&mut seen[task], true),
            "task {task} twice"
        );
    }
    assert!(seen.into_iter().all(|seen| seen));
}

#[test]
fn a_missing_log_leaves_the_old_records() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let tasks = directory.path().join(TASKS_FILE);
    std::fs::write(&tasks, "old").expect("write");
    let error = write_tasks_jsonl(Path::new("/nowhere/events.log"), &tasks).expect_err("no log");
    assert_eq!(error.to_string(), "open /nowhere/events.log");
    assert_eq!(std::fs::read(&tasks).expect("read"), b"old");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_log_gives_lines_that_parse(
        events in vec(any_event(), 0..40),
        reports in vec((any_report(), 0..4_u64), 0..20),
        submissions in vec(0..4_u64, 0..8),
    ) {
        // Random ids hardly ever meet; these do.
        let mut events = events;
        events.extend(submissions.iter().map(|task| submitted(*task, "\u{1}\"é", &[1], u64::MAX)));
        for (mut report, task) in reports {
            report.id = attempt(task, report.id.number % 3);
            events.push(attempt_started(task, report.id.number, report.id.number, 1));
            events.push(finished(report, u64::MAX, task % 2 == 0));
        }
        lines(&events);
    }
}
