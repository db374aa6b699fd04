//! What became of runs and tasks, for logs made for the purpose.

use crate::support::{
    aimed, any_event, attempt, attempt_started, finished, report, started, submitted, whole_task,
    write_log,
};
use proptest::{collection::vec, prelude::*};
use taps_engine::{
    AttemptReport, Failure, FaultAction, FaultPlan, FaultPoint, OutcomeKind, OutputId, TaskId,
    WorkerId,
};
use taps_records::{
    EVENTS_FILE, EventLog, ExplainError, LogError, LogEvent, RunExplanation, RunState, TaskCounts,
    TaskExplanation, TaskSelector, What, explain_run, explain_task,
};

const SECOND: u64 = 1_000_000_000;

fn in_a_log(events: &[LogEvent]) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let log = directory.path().join(EVENTS_FILE);
    write_log(&log, &[&[started(100 * SECOND)], events].concat());
    (directory, log)
}

fn run(events: &[LogEvent]) -> RunExplanation {
    let (_directory, log) = in_a_log(events);
    explain_run(&log).expect("a run")
}

fn task(events: &[LogEvent], task: &str) -> TaskExplanation {
    let (_directory, log) = in_a_log(events);
    let selector = TaskSelector::parse(task).expect("a task");
    explain_task(&log, &selector).expect("its story")
}

fn failed(task: u64, number: u32, message: &str, at: u64, retried: bool) -> LogEvent {
    let report = AttemptReport {
        result: Err(Failure::new(OutcomeKind::TaskError, message)),
        ..report(task, number, (at - 1) * SECOND)
    };
    finished(report, at * SECOND, retried)
}

fn ended(task: u64, outcome: OutcomeKind, message: &str, at: u64) -> LogEvent {
    LogEvent::TaskFinished {
        task: TaskId(task),
        failure: Some(Failure::new(outcome, message)),
        time_ns: at * SECOND,
    }
}

fn run_finished(ok: bool, exit_code: i32, at: u64) -> LogEvent {
    LogEvent::RunFinished {
        ok,
        exit_code,
        report: None,
        error: None,
        counts: TaskCounts::default(),
        time_ns: at * SECOND,
    }
}

#[test]
fn how_a_run_ended() {
    let state = |events: &[LogEvent]| run(events).state;
    assert_eq!(state(&[run_finished(true, 0, 1)]), RunState::Finished);
    assert_eq!(state(&[run_finished(false, 1, 1)]), RunState::Failed);
    assert_eq!(state(&[run_finished(false, 130, 1)]), RunState::Interrupted);
    assert_eq!(state(&[]), RunState::Killed);
    let resumed = LogEvent::Resumed {
        time_ns: 2 * SECOND,
        unix_ns: 500 * SECOND,
    };
    let events = [run_finished(false, 130, 1), resumed];
    assert_eq!(state(&events), RunState::Killed, "the second time");
    let mut whole = events.to_vec();
    whole.push(run_finished(true, 0, 3));
    assert_eq!(state(&whole), RunState::Finished);
}

#[test]
fn a_run_goes_on_while_its_log_is_held() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join(EVENTS_FILE);
    let mut log = EventLog::create(&path).expect("create");
    log.append(&started(1)).expect("append");
    assert_eq!(explain_run(&path).expect("a run").state, RunState::GoingOn);
    drop(log);
    assert_eq!(explain_run(&path).expect("a run").state, RunState::Killed);
}

#[test]
fn what_failed_because_of_another_is_folded_under_the_first_cause() {
    let upstream = OutcomeKind::UpstreamFailed;
    let told = run(&[
        submitted(0, "a", &[], 0),
        submitted(1, "b", &[0], 0),
        submitted(2, "c", &[], 0),
        submitted(3, "b", &[1, 2], 0),
        submitted(4, "b", &[2], 0),
        submitted(5, "d", &[], 0),
        attempt_started(0, 0, 0, 1),
        attempt_started(2, 0, 0, 1),
        failed(2, 0, "second cause", 2, false),
        ended(4, upstream, "task 2 (c) failed", 2),
        ended(3, upstream, "task 2 (c) failed", 2),
        failed(0, 0, "first of ids", 3, false),
        ended(1, upstream, "task 0 (a) failed", 3),
        LogEvent::Ending {
            time_ns: 4 * SECOND,
        },
        ended(5, OutcomeKind::Cancelled, "cancelled", 5),
    ]);
    let brief: Vec<_> = told
        .failures
        .iter()
        .map(|task| (task.task_id, &*task.message, task.upstream_of_first.clone()))
        .collect();
    assert_eq!(
        brief,
        [
            (2, "second cause", vec![4]),
            (0, "first of ids", vec![1, 3])
        ]
    );
    let counts = told.counts;
    assert_eq!(
        (counts.failed, counts.upstream_failed, counts.cancelled),
        (2, 3, 1)
    );
    assert_eq!(counts.cancelled_at_end, 1);
    assert!(told.open.is_empty());
}

#[test]
fn open_tasks_say_where_they_are() {
    let returned = LogEvent::AttemptReturned {
        id: attempt(4, 0),
        time_ns: 7 * SECOND,
    };
    let mut events = vec![
        submitted(1, "running", &[], SECOND),
        submitted(2, "waiting", &[1, 0, 1, 3], SECOND),
        submitted(3, "retrying", &[], SECOND),
        submitted(4, "returned", &[0], SECOND),
        submitted(5, "ready", &[], 2 * SECOND),
        attempt_started(1, 0, 0, 3 * SECOND),
        attempt_started(3, 0, 0, 3 * SECOND),
        failed(3, 0, "no luck", 6, true),
        attempt_started(4, 0, 0, 6 * SECOND),
        returned,
    ];
    events.extend(whole_task(0, 0));
    events.push(attempt_started(0, 1, 1, 8 * SECOND));
    let told: Vec<String> = run(&events)
        .open
        .iter()
        .map(|task| {
            format!(
                "{} {} {:?} {} {}",
                task.task_id, task.state, task.waiting_for, task.since_s, task.last_event
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "0 running [] 8 attempt 1 sent to worker 0",
            "1 running [] 3 attempt 0 sent to worker 0",
            "2 waiting [0, 1, 3] 1 submitted",
            "3 retrying [] 6 attempt 0 failed: task-error: no luck",
            "4 waiting [0] 7 attempt 0 came back unstarted",
            "5 ready [] 2 submitted",
        ]
    );
    assert!(run(&events).open[0].again, "it had finished before");
    assert_eq!(run(&events).counts.recomputed, 1);
}

/// A task that goes through everything.
fn adventure() -> Vec<LogEvent> {
    let fault = FaultPlan {
        action: FaultAction::WorkerKilled,
        point: FaultPoint::Mid,
        mid_us: 1,
        slow_ms: 1,
        seed: 1,
    };
    let sent = |number, generation, fault, at: u64| LogEvent::AttemptStarted {
        id: attempt(1, number),
        worker: Some(WorkerId(number)),
        generation,
        fault,
        time_ns: at * SECOND,
    };
    let mut lost = report(1, 1, 0);
    lost.result = Err(Failure::new(OutcomeKind::WorkerLost, "worker 1 was lost"));
    let mut events = vec![submitted(0, "parent", &[], 0), submitted(1, "a", &[0], 0)];
    events.extend(whole_task(0, SECOND).into_iter().skip(1));
    events.extend([
        sent(0, 0, None, 2),
        LogEvent::AttemptReturned {
            id: attempt(1, 0),
            time_ns: 3 * SECOND,
        },
        sent(1, 0, Some(fault), 4),
        LogEvent::WorkerLost {
            worker: WorkerId(1),
            reason: "signal 9".into(),
            time_ns: 5 * SECOND,
        },
        finished(lost, 5 * SECOND, true),
        sent(2, 0, None, 6),
        LogEvent::Resumed {
            time_ns: 7 * SECOND,
            unix_ns: 900 * SECOND,
        },
        sent(3, 0, None, 8),
        finished(report(1, 3, 8 * SECOND), 9 * SECOND, false),
        LogEvent::OutputsLost {
            outputs: vec![OutputId {
                task: TaskId(1),
                index: 2,
            }],
            time_ns: 10 * SECOND,
        },
        sent(4, 1, None, 11),
        finished(report(1, 4, 11 * SECOND), 12 * SECOND, false),
    ]);
    events
}

#[test]
fn a_task_has_its_whole_story_in_order() {
    let told = task(&adventure(), "a[0]");
    assert_eq!(
        (told.task_id, told.state, told.attempts),
        (1, "succeeded", 4)
    );
    assert_eq!(
        (&*told.parents[0].name, told.parents[0].state),
        ("parent", "succeeded")
    );
    let brief: Vec<String> = told
        .story
        .iter()
        .map(|moment| {
            let what = match &moment.what {
                What::Sent {
                    attempt,
                    why,
                    fault,
                    ..
                } => format!("{attempt} sent {why:?} {fault:?}"),
                What::Ended {
                    attempt,
                    outcome,
                    retried,
                    ..
                } => {
                    format!("{attempt} {outcome} {retried}")
                }
                What::WorkerLost { worker, reason } => format!("worker {worker} {reason}"),
                What::RunResumed { lost_attempt } => format!("resumed {lost_attempt:?}"),
                other => format!("{other:?}"),
            };
            format!("{:.0} {:.0} {what}", moment.time_s, moment.unix_s)
        })
        .collect();
    assert_eq!(
        brief,
        [
            "0 100 Submitted",
            r#"1 101 ParentEnded { task_id: 0, name: "parent", outcome: "ok" }"#,
            "2 102 0 sent First None",
            "3 103 CameBack { attempt: 0 }",
            r#"4 104 1 sent CameBack Some(("worker-killed", "mid"))"#,
            "5 105 worker 1 signal 9",
            "5 105 1 worker-lost true",
            "6 106 2 sent Retry None",
            "7 900 resumed Some(2)",
            "8 901 3 sent Resumed None",
            "9 902 3 ok false",
            "10 903 OutputsLost { outputs: [2] }",
            "11 904 4 sent OutputsLost None",
            "12 905 4 ok false",
        ]
    );
}

#[test]
fn faults_resumes_and_workers_are_in_the_story_of_the_run() {
    let told = run(&adventure());
    let summary = told.injection.expect("there was a fault");
    assert_eq!((summary.total, summary.by_fate["recovered"]), (1, 1));
    assert_eq!(told.faults[0].task_id, 1);
    assert_eq!(told.workers_lost[0].reason, "signal 9");
    assert_eq!(told.workers_lost[0].host, None);
    assert_eq!(told.resumes.len(), 1);
    assert_eq!(told.resumes[0].attempts_lost, 1);
    assert_eq!(told.counts.repeated, 3);
}

#[test]
fn a_task_is_named_by_number_or_by_name_and_count() {
    let named = |name: &str, index| Some(TaskSelector::Named(name.to_owned(), index));
    assert_eq!(TaskSelector::parse("17"), Some(TaskSelector::Id(17)));
    assert_eq!(TaskSelector::parse("trsm[3]"), named("trsm", 3));
    assert_eq!(TaskSelector::parse("a[1][2]"), named("a[1]", 2));
    for text in ["", "trsm", "trsm[]", "trsm[-1]", "[", "]", "-1", "trsm[1"] {
        assert_eq!(TaskSelector::parse(text), None, "{text}");
    }
}

#[test]
fn a_task_that_is_not_there_is_told_with_those_that_are() {
    let events: Vec<LogEvent> = (0..30)
        .map(|id| submitted(id, &format!("name-{}", id % 12), &[], 0))
        .collect();
    let (_directory, log) = in_a_log(&events);
    for text in ["30", "name-3[3]", "other[0]"] {
        let selector = TaskSelector::parse(text).expect("a task");
        let error = explain_task(&log, &selector).expect_err("no such task");
        assert!(matches!(error, ExplainError::NoSuchTask { .. }));
        let message = error.to_string();
        let begin =
            format!("the run has no task `{text}`; it has tasks 0 to 29: name-0[0] to name-0[2]");
        assert!(message.starts_with(&begin), "{message}");
        assert!(message.ends_with("name-7[0] to name-7[1], …"), "{message}");
    }
}

#[test]
fn a_log_without_a_start_is_refused() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join(EVENTS_FILE);
    write_log(&path, &[]);
    let error = explain_run(&path).expect_err("nothing in it");
    assert!(matches!(error, LogError::NoStart { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_log_can_be_explained(
        events in vec(any_event(), 0..40),
        ids in vec((0..4_u64, 0..4_u32), 40),
    ) {
        let events: Vec<_> = events.into_iter().zip(ids).map(aimed).collect();
        let (_directory, log) = in_a_log(&events);
        let told = explain_run(&log).expect("a run");
        let counts = told.counts;
        let ended = counts.succeeded + counts.failed + counts.upstream_failed + counts.cancelled;
        prop_assert_eq!(ended + counts.open, counts.submitted);
        prop_assert_eq!(told.open.len() as u64, counts.open);
        let folded: u64 = told.failures.iter().map(|task| 1 + task.upstream_of).sum();
        prop_assert_eq!(folded, counts.failed + counts.upstream_failed);
        serde_json::to_string(&told).expect("JSON");
        for id in 0..4 {
            match explain_task(&log, &TaskSelector::Id(id)) {
                Ok(told) => {
                    prop_assert_eq!(&told.story[0].what, &What::Submitted);
                    serde_json::to_string(&told).expect("JSON");
                }
                Err(error) => prop_assert!(
                    matches!(error, ExplainError::NoSuchTask { .. }), "{}", error
                ),
            }
        }
    }
}
