//! `tasks.jsonl` of runs that were killed or interrupted, and went on.

use crate::support::view::{brief, lines, task_finished};
use crate::support::{attempt_started, finished, report, started, submitted, whole_task};
use serde_json::Value;
use taps_engine::{Failure, OutcomeKind};
use taps_records::LogEvent;

const START: u64 = 1_795_162_602_154_839_812;

/// A run that was killed at `time_ns` and went on.
fn resumed(time_ns: u64, unix_ns: u64) -> LogEvent {
    LogEvent::Resumed { time_ns, unix_ns }
}

#[test]
fn attempts_that_were_out_when_the_run_was_killed_are_lost() {
    let cancelled = Failure::new(OutcomeKind::Cancelled, "cancelled");
    let lines = lines(&[
        started(1_000_000_000),
        submitted(1, "a", &[], 10),
        submitted(0, "a", &[], 10),
        submitted(2, "b", &[], 10),
        submitted(3, "c", &[], 10),
        attempt_started(1, 0, 0, 11),
        attempt_started(0, 0, 0, 12),
        attempt_started(3, 0, 0, 12),
        task_finished(3, cancelled, 13),
        resumed(20, 5_000_000_000),
        attempt_started(0, 1, 0, 21),
        finished(report(0, 1, 22), 30, false),
        attempt_started(1, 1, 0, 31),
        resumed(40, 9_000_000_000),
        attempt_started(1, 2, 0, 41),
        finished(report(1, 2, 42), 50, false),
    ]);
    assert_eq!(
        brief(&lines),
        [
            "3 0 cancelled true",
            "0 0 worker-lost false",
            "1 0 worker-lost false",
            "0 1 ok true",
            "1 1 worker-lost false",
            "1 2 ok true",
        ]
    );
    assert_eq!(lines[1]["exception"]["message"], "the run was killed");
    let times = |name: &str| -> Vec<String> {
        let of_line = |line: &Value| line[name].to_string();
        lines[1..].iter().map(of_line).collect()
    };
    assert_eq!(times("submit_time"), vec!["1.00000001"; 5]);
    assert_eq!(
        times("received_time"),
        ["5.0", "5.0", "5.00000001", "9.0", "9.00000001"]
    );
}

#[test]
fn a_task_that_ended_before_the_kill_and_runs_again_has_no_second_last_line() {
    let mut events = vec![started(START)];
    events.extend(whole_task(0, 1_000));
    events.extend([
        resumed(9_000, START + 1),
        attempt_started(0, 1, 0, 9_001),
        finished(report(0, 1, 9_002), 9_900, false),
    ]);
    assert_eq!(brief(&lines(&events)), ["0 0 ok true", "0 1 ok false"]);
}

#[test]
fn what_was_cancelled_by_an_interruption_is_open_again_when_the_run_goes_on() {
    let cancelled = || Failure::new(OutcomeKind::Cancelled, "cancelled");
    let mut stopped = report(1, 0, 22);
    stopped.result = Err(cancelled());
    let mut events = vec![
        started(START),
        submitted(0, "a", &[], 10),
        submitted(1, "a", &[], 10),
        submitted(2, "a", &[], 10),
        attempt_started(1, 0, 0, 11),
        task_finished(0, cancelled(), 12),
        LogEvent::Ending { time_ns: 20 },
        task_finished(1, cancelled(), 21),
        task_finished(2, cancelled(), 21),
        finished(stopped, 25, false),
    ];
    let interrupted = [
        "0 null cancelled true",
        "1 0 cancelled true",
        "2 null cancelled true",
    ];
    let mut told = brief(&lines(&events));
    told.sort();
    assert_eq!(told, interrupted);
    events.extend([
        resumed(30, START + 30),
        attempt_started(1, 1, 0, 31),
        attempt_started(2, 0, 0, 31),
        finished(report(1, 1, 32), 40, false),
        finished(report(2, 0, 32), 41, false),
    ]);
    assert_eq!(
        brief(&lines(&events)),
        [
            "0 null cancelled true",
            "1 0 cancelled false",
            "1 1 ok true",
            "2 0 ok true"
        ]
    );
}
