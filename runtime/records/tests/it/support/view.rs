//! `tasks.jsonl` of logs made for the purpose.

use super::write_log;
use serde_json::Value;
use taps_engine::{Failure, TaskId};
use taps_records::{EVENTS_FILE, LogEvent, TASKS_FILE, TasksSummary, recover};

/// The text of the view of these events.
pub(crate) fn view(events: &[LogEvent]) -> (String, TasksSummary) {
    let directory = tempfile::tempdir().expect("temporary directory");
    write_log(&directory.path().join(EVENTS_FILE), events);
    let summary = recover(directory.path()).expect("recover");
    let text = std::fs::read_to_string(directory.path().join(TASKS_FILE)).expect("records");
    let files = std::fs::read_dir(directory.path()).expect("list").count();
    assert_eq!(files, 2, "no temporary file is left");
    (text, summary)
}

pub(crate) fn lines(events: &[LogEvent]) -> Vec<Value> {
    let (text, summary) = view(events);
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len() as u64, summary.lines);
    lines
}

pub(crate) fn task_finished(task: u64, failure: Failure, time_ns: u64) -> LogEvent {
    LogEvent::TaskFinished {
        task: TaskId(task),
        failure: Some(failure),
        time_ns,
    }
}

/// Some fields of each line, in short.
pub(crate) fn brief(lines: &[Value]) -> Vec<String> {
    let field = |line: &Value, name: &str| line[name].to_string().replace('"', "");
    let names = ["task_id", "attempt", "outcome", "final"];
    lines
        .iter()
        .map(|line| names.map(|name| field(line, name)).join(" "))
        .collect()
}
