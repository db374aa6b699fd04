//! `failures.json`: what became of each fault, for logs made for each fate.

use crate::support::{aimed, any_event, attempt, finished, report, started, submitted, write_log};
use proptest::{collection::vec, prelude::*};
use serde_json::Value;
use taps_engine::core::INJECTED_PARENT;
use taps_engine::{
    AttemptReport, Failure, FaultAction, FaultPlan, FaultPoint, OutcomeKind, OutputId, TaskId,
    WorkerId,
};
use taps_records::{EVENTS_FILE, FAILURES_FILE, InjectionSummary, LogEvent, write_failures_json};

const SECOND: u64 = 1_000_000_000;

/// The report of a run with these events, when there is one.
fn view(events: &[LogEvent]) -> (Option<Value>, InjectionSummary) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let log = directory.path().join(EVENTS_FILE);
    write_log(&log, &[&[started(1)], events].concat());
    let path = directory.path().join(FAILURES_FILE);
    let summary = write_failures_json(&log, &path).expect("a report");
    let text = std::fs::read_to_string(&path).ok();
    (
        text.map(|text| serde_json::from_str(&text).expect("JSON")),
        summary,
    )
}

/// Type, task, attempt, whether it acted, fate and time lost of each fault.
fn faults(events: &[LogEvent]) -> Vec<String> {
    let (report, summary) = view(events);
    let report = report.expect("there were faults");
    let faults = report["faults"].as_array().expect("a list");
    assert_eq!(summary.total, faults.len() as u64);
    let brief = |fault: &Value| {
        let [action, fate] = ["type", "fate"].map(|name| fault[name].as_str().expect("a name"));
        let acted = match fault["acted"].as_bool() {
            Some(true) => "acted",
            _ => "spared",
        };
        let (id, number) = (&fault["task_id"], &fault["attempt"]);
        format!(
            "{action} {id}.{number} {acted} {fate} {}",
            fault["time_lost_s"]
        )
    };
    faults.iter().map(brief).collect()
}

fn plan(action: FaultAction) -> FaultPlan {
    FaultPlan {
        action,
        point: FaultPoint::Mid,
        mid_us: 1_000,
        slow_ms: 1_500,
        seed: 7,
    }
}

/// An attempt is sent at that second, with a fault or without.
fn sent(task: u64, number: u32, generation: u32, fault: Option<FaultAction>, at: u64) -> LogEvent {
    LogEvent::AttemptStarted {
        id: attempt(task, number),
        worker: Some(WorkerId(0)),
        generation,
        fault: fault.map(plan),
        time_ns: at * SECOND,
    }
}

/// The attempt acted its fault out, and gave its outputs.
fn ok(task: u64, number: u32, fault: Option<FaultAction>, at: u64) -> LogEvent {
    let report = AttemptReport {
        injected: fault.map(plan),
        ..report(task, number, (at - 1) * SECOND)
    };
    finished(report, at * SECOND, false)
}

fn failed(
    task: u64,
    number: u32,
    fault: Option<FaultAction>,
    outcome: OutcomeKind,
    at: u64,
    retried: bool,
) -> LogEvent {
    let report = AttemptReport {
        injected: fault.map(plan),
        result: Err(Failure::new(outcome, "as planned")),
        ..report(task, number, (at - 1) * SECOND)
    };
    finished(report, at * SECOND, retried)
}

/// The attempt was lost with its worker.
fn lost(task: u64, number: u32, at: u64, retried: bool) -> LogEvent {
    failed(task, number, None, OutcomeKind::WorkerLost, at, retried)
}

fn outputs_lost(task: u64, at: u64) -> LogEvent {
    LogEvent::OutputsLost {
        outputs: vec![OutputId {
            task: TaskId(task),
            index: 0,
        }],
        time_ns: at * SECOND,
    }
}

fn task_failed(task: u64, failure: Failure, at: u64) -> LogEvent {
    LogEvent::TaskFinished {
        task: TaskId(task),
        failure: Some(failure),
        time_ns: at * SECOND,
    }
}

#[test]
fn a_run_without_faults_has_no_report() {
    let events = [
        submitted(0, "a", &[], 0),
        sent(0, 0, 0, None, 1),
        ok(0, 0, None, 2),
    ];
    let (report, summary) = view(&events);
    assert_eq!((report, summary), (None, InjectionSummary::default()));
}

#[test]
fn a_failure_is_recovered_or_propagated() {
    let fault = Some(FaultAction::Failure);
    let error = OutcomeKind::TaskError;
    let events = [
        submitted(0, "a", &[], 0),
        submitted(1, "b", &[], 0),
        sent(0, 0, 0, fault, 1),
        sent(1, 0, 0, fault, 1),
        failed(0, 0, fault, error, 2, true),
        failed(1, 0, fault, error, 2, true),
        sent(0, 1, 0, None, 5),
        sent(1, 1, 0, fault, 6),
        ok(0, 1, None, 7),
        failed(1, 1, fault, error, 8, false),
    ];
    assert_eq!(
        faults(&events),
        [
            "failure 0.0 acted recovered 4.0",
            "failure 1.0 acted propagated 5.0",
            "failure 1.1 acted propagated 0.0",
        ]
    );
}

#[test]
fn a_fault_has_all_its_fields() {
    let fault = Some(FaultAction::ZeroDivision);
    let events = [
        submitted(0, "other", &[], 0),
        submitted(1, "trsm", &[], 0),
        submitted(2, "trsm", &[], 0),
        sent(2, 0, 0, None, 1),
        failed(2, 0, None, OutcomeKind::TaskError, 2, true),
        sent(2, 1, 0, fault, 3),
        failed(2, 1, fault, OutcomeKind::Timeout, 5, true),
        sent(2, 2, 0, None, 6),
        ok(2, 2, None, 9),
    ];
    let (report, _) = view(&events);
    let text = serde_json::to_string_pretty(&report).expect("JSON");
    insta::assert_snapshot!(text, @r#"
    {
      "faults": [
        {
          "acted": true,
          "attempt": 1,
          "ended_s": 5.0,
          "fate": "recovered",
          "index": 1,
          "name": "trsm",
          "outcome": "timeout",
          "point": "mid",
          "run_s": 1e-6,
          "started_s": 3.0,
          "task_id": 2,
          "time_lost_s": 3.0,
          "try": 1,
          "type": "zero-division",
          "worker": 0
        }
      ],
      "summary": {
        "acted": 1,
        "by_fate": {
          "recovered": 1
        },
        "by_type": {
          "zero-division": 1
        },
        "bystanders": 0,
        "time_lost_s": 3.0,
        "total": 1
      }
    }
    "#);
}

#[test]
fn a_killed_worker_takes_bystanders_along() {
    let events = [
        submitted(0, "a", &[], 0),
        submitted(1, "a", &[], 0),
        submitted(2, "a", &[], 0),
        sent(0, 0, 0, Some(FaultAction::NodeKilled), 1),
        sent(1, 0, 0, None, 1),
        sent(2, 0, 0, None, 1),
        lost(1, 0, 3, true),
        lost(0, 0, 3, true),
        sent(0, 1, 0, None, 4),
        sent(1, 1, 0, None, 4),
        ok(0, 1, None, 5),
        ok(1, 1, None, 6),
        // For a reason of its own.
        lost(2, 0, 9, true),
        sent(2, 1, 0, None, 10),
        ok(2, 1, None, 11),
    ];
    assert_eq!(faults(&events), ["node-killed 0.0 acted recovered 3.0"]);
    assert_eq!(view(&events).1.bystanders, 1);
}

#[test]
fn what_never_struck_is_told() {
    let kills = Some(FaultAction::WorkerKilled);
    let cancelled = Failure::new(OutcomeKind::Cancelled, "cancelled");
    let events = [
        submitted(0, "a", &[], 0),
        submitted(1, "a", &[], 0),
        submitted(2, "a", &[], 0),
        submitted(3, "a", &[], 0),
        sent(0, 0, 0, kills, 1),
        sent(1, 0, 0, Some(FaultAction::Memory), 1),
        sent(2, 0, 0, Some(FaultAction::Timeout), 1),
        sent(3, 0, 0, kills, 1),
        // It came back, was cancelled, and was sent for good.
        LogEvent::AttemptReturned {
            id: attempt(0, 0),
            time_ns: 2 * SECOND,
        },
        task_failed(1, cancelled, 2),
        failed(1, 0, None, OutcomeKind::Cancelled, 3, false),
        sent(0, 1, 0, kills, 4),
        lost(0, 1, 5, true),
        LogEvent::Resumed {
            time_ns: 6 * SECOND,
            unix_ns: 1,
        },
        sent(2, 1, 0, Some(FaultAction::Timeout), 7),
    ];
    assert_eq!(
        faults(&events),
        [
            "worker-killed 0.0 spared not-acted 0.0",
            "worker-killed 0.1 acted unfinished 0.0",
            "memory 1.0 spared not-acted 0.0",
            "timeout 2.0 spared not-acted 0.0",
            "timeout 2.1 spared unfinished 0.0",
            "worker-killed 3.0 spared not-acted 0.0",
        ]
    );
}

#[test]
fn delays_and_duplicates_are_absorbed() {
    let (slow, twice) = (
        Some(FaultAction::SlowWorker),
        Some(FaultAction::LateDuplicate),
    );
    let timeout = OutcomeKind::Timeout;
    let events = [
        submitted(0, "a", &[], 0),
        submitted(1, "a", &[], 0),
        submitted(2, "a", &[], 0),
        sent(0, 0, 0, slow, 1),
        sent(1, 0, 0, twice, 1),
        sent(2, 0, 0, slow, 1),
        ok(0, 0, slow, 9),
        ok(1, 0, None, 3),
        failed(2, 0, slow, timeout, 4, true),
        LogEvent::ReportRepeated {
            id: attempt(1, 0),
            time_ns: 5 * SECOND,
        },
        sent(2, 1, 0, slow, 5),
        ok(2, 1, slow, 6),
    ];
    assert_eq!(
        faults(&events),
        [
            "slow-worker 0.0 acted absorbed 1.5",
            "late-duplicate 1.0 acted absorbed 0.0",
            "slow-worker 2.0 acted recovered 4.0",
            "slow-worker 2.1 acted absorbed 1.0",
        ]
    );
}

#[test]
fn a_lost_result_is_made_again_or_not_needed_or_missed() {
    let fault = Some(FaultAction::LostResult);
    let upstream = Failure::new(OutcomeKind::UpstreamFailed, "task 2 (a) failed: gone");
    let events = [
        submitted(0, "a", &[], 0),
        submitted(1, "a", &[], 0),
        submitted(2, "a", &[], 0),
        submitted(3, "child", &[2], 0),
        sent(0, 0, 0, fault, 1),
        sent(1, 0, 0, fault, 1),
        sent(2, 0, 0, fault, 1),
        ok(0, 0, fault, 2),
        ok(1, 0, fault, 2),
        ok(2, 0, None, 2),
        outputs_lost(0, 2),
        outputs_lost(1, 2),
        outputs_lost(2, 2),
        sent(0, 1, 1, None, 3),
        lost(0, 1, 5, true),
        sent(0, 2, 1, None, 6),
        ok(0, 2, None, 10),
        task_failed(3, upstream, 11),
    ];
    assert_eq!(
        faults(&events),
        [
            "lost-result 0.0 acted recovered 6.0",
            "lost-result 1.0 acted absorbed 0.0",
            "lost-result 2.0 acted propagated 0.0",
        ]
    );
}

#[test]
fn a_flipped_bit_is_silent_unless_noticed() {
    let fault = Some(FaultAction::CorruptPayload);
    let of_input = OutcomeKind::PayloadError;
    let events = [
        submitted(0, "a", &[], 0),
        submitted(1, "a", &[], 0),
        submitted(2, "a", &[], 0),
        submitted(3, "child", &[1], 0),
        submitted(4, "child", &[2], 0),
        sent(0, 0, 0, fault, 1),
        sent(1, 0, 0, fault, 1),
        sent(2, 0, 0, fault, 1),
        ok(0, 0, fault, 2),
        ok(1, 0, fault, 2),
        ok(2, 0, fault, 2),
        sent(3, 0, 0, None, 3),
        failed(3, 0, None, of_input, 4, true),
        outputs_lost(1, 4),
        sent(1, 1, 1, None, 5),
        ok(1, 1, None, 7),
        sent(3, 1, 0, None, 8),
        ok(3, 1, None, 9),
        sent(4, 0, 0, None, 8),
        failed(4, 0, None, of_input, 9, false),
    ];
    assert_eq!(
        faults(&events),
        [
            "corrupt-payload 0.0 acted silent 0.0",
            "corrupt-payload 1.0 acted recovered 2.0",
            "corrupt-payload 2.0 acted propagated 0.0",
        ]
    );
}

#[test]
fn a_dependency_fault_goes_by_its_own_task() {
    let fault = Some(FaultAction::Dependency);
    let error = OutcomeKind::TaskError;
    let upstream = Failure::new(OutcomeKind::UpstreamFailed, "task 0 (fault) failed");
    let events = [
        submitted(0, INJECTED_PARENT, &[], 0),
        submitted(1, "a", &[0], 0),
        submitted(2, INJECTED_PARENT, &[], 0),
        sent(0, 0, 0, fault, 1),
        failed(0, 0, fault, error, 2, false),
        task_failed(1, upstream, 2),
        sent(2, 0, 0, fault, 1),
        failed(2, 0, fault, error, 2, true),
        sent(2, 1, 0, None, 3),
        ok(2, 1, None, 4),
    ];
    assert_eq!(
        faults(&events),
        [
            "dependency 0.0 acted propagated 0.0",
            "dependency 2.0 acted recovered 2.0",
        ]
    );
    let (report, _) = view(&events);
    assert_eq!(
        report.expect("faults")["faults"][0]["name"],
        INJECTED_PARENT
    );
}

#[test]
fn a_report_that_cannot_be_written_leaves_nothing() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let log = directory.path().join(EVENTS_FILE);
    let fault = Some(FaultAction::Failure);
    write_log(&log, &[submitted(0, "a", &[], 0), sent(0, 0, 0, fault, 1)]);
    let path = directory.path().join("missing/failures.json");
    let error = write_failures_json(&log, &path).expect_err("no such directory");
    assert!(error.to_string().starts_with("write "), "{error}");
    write_failures_json(&directory.path().join("none"), &path).expect_err("no log");
    assert_eq!(
        std::fs::read_dir(directory.path()).expect("list").count(),
        1
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_log_gives_a_sound_report(
        events in vec(any_event(), 0..40),
        ids in vec((0..4_u64, 0..4_u32), 40),
    ) {
        // Few tasks and attempts, so that events meet.
        let events: Vec<_> = events.into_iter().zip(ids).map(aimed).collect();
        let (report, summary) = view(&events);
        prop_assert_eq!(report.is_some(), summary.total > 0);
        prop_assert_eq!(summary.by_type.values().sum::<u64>(), summary.total);
        prop_assert_eq!(summary.by_fate.values().sum::<u64>(), summary.total);
        prop_assert!(summary.time_lost_s >= 0.0 && summary.acted <= summary.total);
    }
}
