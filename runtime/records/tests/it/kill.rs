//! A process killed while it appends loses nothing that it appended.

use crate::support::{child_in, read, started, whole_task};
use std::{
    io::{Read, Write},
    path::Path,
};
use taps_records::{EVENTS_FILE, EventLog, LogEvent, LogReader, TASKS_FILE, recover};

const DIRECTORY: &str = "TAPS_RECORDS_TEST_KILL";

/// The events that the child appends, without end.
fn events() -> impl Iterator<Item = LogEvent> {
    let tasks = (0..).flat_map(|task| whole_task(task, task * 1_000));
    std::iter::once(started(1_795_162_602_154_839_812)).chain(tasks)
}

#[test]
#[ignore = "the child of `every_appended_event_survives_a_kill`"]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let mut log = EventLog::create(&Path::new(&directory).join(EVENTS_FILE)).expect("create");
    let mut stderr = std::io::stderr();
    for event in events() {
        log.append(&event).expect("append");
        // One byte for each event that must survive.
        stderr.write_all(b".").expect("tell the parent");
    }
}

#[test]
fn every_appended_event_survives_a_kill() {
    for round in 0..8 {
        let directory = tempfile::tempdir().expect("temporary directory");
        let (mut child, mut stderr) = child_in("kill::child", DIRECTORY, directory.path());
        // From a few events to some that need more than the first chunk.
        let mut told = vec![0; 1 << (2 * round + 1)];
        stderr.read_exact(&mut told).expect("progress");
        child.kill().expect("kill");
        child.wait().expect("wait");
        stderr.read_to_end(&mut told).expect("the rest");
        let told = told.len();

        let (survived, _) =
            read(LogReader::open(&directory.path().join(EVENTS_FILE)).expect("open"));
        assert!(
            survived.len() >= told,
            "{} of {told} events",
            survived.len()
        );
        assert!(survived.iter().cloned().eq(events().take(survived.len())));

        let summary = recover(directory.path()).expect("recover");
        assert!(!summary.run_finished);
        let lines = std::fs::read_to_string(directory.path().join(TASKS_FILE)).expect("records");
        assert_eq!(lines.lines().count(), (survived.len() - 1) / 3);
        for line in lines.lines() {
            serde_json::from_str::<serde_json::Value>(line).expect("a line of JSON");
        }
    }
}
