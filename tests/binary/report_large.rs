//! `report` of a log that is larger than the memory that it may have.

use crate::{
    harness::{Place, Running},
    report::model,
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};
use taps_engine::{AttemptId, AttemptReport, TaskId, Timeline, WorkerId};
use taps_records::{EventLog, LogEvent, RunStarted, SubmitOptions};

/// Writes the log of a run of so many tasks, and says how long it is.
pub(crate) fn write_log(path: &Path, tasks: u64) -> u64 {
    let mut log = EventLog::create(path).expect("create a log");
    let mut append = |event: LogEvent| log.append(&event).expect("append");
    append(LogEvent::RunStarted(Box::new(RunStarted {
        slots: 1,
        ..RunStarted::default()
    })));
    for task in 0..tasks {
        let (id, time_ns) = (TaskId(task), task * 1_000);
        let attempt = AttemptId {
            task: id,
            number: 0,
        };
        append(LogEvent::Submitted {
            task: id,
            name: "task".into(),
            parents: task.checked_sub(1).map(TaskId).into_iter().collect(),
            label: Some("a label that makes the log longer than what is known of a task".into()),
            arguments_hash: task,
            options: SubmitOptions::default(),
            phase: 0,
            time_ns,
        });
        append(LogEvent::AttemptStarted {
            id: attempt,
            worker: Some(WorkerId(0)),
            generation: 0,
            fault: None,
            time_ns,
        });
        let mut report = AttemptReport::bare(attempt, WorkerId(0), Ok(Vec::new()));
        report.timeline = Timeline {
            received: time_ns + 100,
            task_start: time_ns + 200,
            task_end: time_ns + 700,
            finished: time_ns + 800,
            ..Timeline::default()
        };
        append(LogEvent::AttemptFinished {
            report: Box::new(report),
            received_ns: time_ns + 900,
            retried: false,
        });
    }
    log.close().expect("close");
    fs::metadata(path).expect("a log").len()
}

/// Runs the program with so much memory for data, in KiB; it ends well.
#[track_caller]
pub(crate) fn with_memory(place: &Place, memory_kb: u64, args: &str) {
    let program = env!("CARGO_BIN_EXE_taps-wasm");
    let limited = format!("ulimit -d {memory_kb}; exec {program} {args}");
    let mut command = Command::new("sh");
    command
        .args(["-c", &limited])
        .current_dir(place.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Running::new(command, place.path()).end().expect(0);
}

#[test]
fn a_log_larger_than_memory_is_streamed() {
    const TASKS: u64 = 300_000;
    const MEMORY_KB: u64 = 36 << 10;
    let place = Place::new();
    let log = place.path().join("events.log");
    let bytes = write_log(&log, TASKS);
    assert!(bytes > MEMORY_KB << 10, "{bytes} bytes");
    with_memory(&place, MEMORY_KB, "report events.log");
    let model = model(&place, &log);
    assert_eq!(model["counts"]["succeeded"], TASKS);
    assert_eq!(model["graph"]["total_edges"], TASKS - 1);
    let chain = model["critical_path_s"].as_f64().expect("a chain");
    assert!((chain - TASKS as f64 * 500e-9).abs() < 1e-6, "{chain}");
}
