//! A log that is read while it is written tells what it tells afterwards.

use crate::support::{
    any_event, attempt_started, finished, report, started, submitted, whole_task,
};
use proptest::{collection::vec, prelude::*};
use std::path::Path;
use taps_records::{EventLog, Follower, LogEvent, Reading, Record, TasksSummary, read_records};

/// What was told, in short.
#[derive(Debug, Default, PartialEq)]
struct Told {
    events: u64,
    records: Vec<String>,
    open: Vec<u64>,
}

impl Reading for Told {
    fn event(&mut self, _: &LogEvent) {
        self.events += 1;
    }

    fn record(&mut self, record: Record<'_>) {
        self.records.push(format!(
            "{} {} {:?} {} {} {}",
            record.task().0,
            record.name(),
            record.attempt(),
            record.outcome(),
            record.received_ns(),
            record.is_last()
        ));
    }

    fn open(&mut self, record: Record<'_>) {
        self.open.push(record.task().0);
    }
}

/// Reads all that there is now, so many events at a time.
fn read_on(follower: &mut Follower, told: &mut Told, most: u64) {
    while follower.read(most, told).expect("read") == most {}
}

/// Writes events, of which a follower reads after each `every`, so many at a time.
fn followed(
    path: &Path,
    events: &[LogEvent],
    every: usize,
    most: u64,
) -> (Told, TasksSummary, Follower) {
    let mut log = EventLog::create(path).expect("create");
    let mut follower = Follower::open(path).expect("open");
    let mut told = Told::default();
    for (at, event) in events.iter().enumerate() {
        log.append(event).expect("append");
        if at % every == 0 {
            read_on(&mut follower, &mut told, most);
            assert_eq!(told.events, at as u64 + 1, "what was appended is seen");
            assert_eq!(follower.offset(), log.len_bytes());
        }
    }
    log.close().expect("close");
    read_on(&mut follower, &mut told, most);
    let summary = follower.finish(&mut told);
    follower.each_open(&mut told);
    (told, summary, follower)
}

#[track_caller]
fn expect_same(events: &[LogEvent], every: usize, most: u64) -> (Told, Follower) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("events.log");
    let (told, summary, follower) = followed(&path, events, every, most);
    let mut afterwards = Told::default();
    let expected = read_records(&path, &mut afterwards).expect("read");
    assert_eq!(told, afterwards);
    assert_eq!(summary, expected);
    (told, follower)
}

#[test]
fn a_log_that_grows_is_followed() {
    // Some megabytes: the file grows several times.
    let tasks = (0..20_000).flat_map(|task| whole_task(task, task * 100));
    let events: Vec<LogEvent> = [started(1)].into_iter().chain(tasks).collect();
    for (every, most) in [(1_000, 7), (7_919, 4_096)] {
        let (told, follower) = expect_same(&events, every, most);
        assert_eq!(told.records.len(), 20_000);
        assert!(follower.offset() > 2 << 20, "{}", follower.offset());
        assert_eq!(follower.out_and_waiting(), (0, 0));
    }
}

#[test]
fn a_finished_task_that_runs_again_is_found_again() {
    let mut events = vec![started(1)];
    for task in 0..50 {
        events.extend(whole_task(task, task * 100));
    }
    for task in [7, 40, 7] {
        events.push(attempt_started(task, 1, 1, 90_000));
        events.push(finished(report(task, 1, 90_100), 90_200, false));
    }
    events.push(submitted(50, "late", &[], 95_000));
    events.push(attempt_started(50, 0, 0, 95_100));
    events.push(submitted(51, "later", &[50], 95_200));
    let (told, follower) = expect_same(&events, 1, 3);
    assert_eq!(told.records.len(), 53);
    assert_eq!(told.open, [50, 51]);
    assert_eq!(follower.out_and_waiting(), (1, 1));
    assert!(!follower.run_finished());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_log_is_followed(events in vec(any_event(), 1..60), every in 1_usize..8, most in 1_u64..9) {
        let events: Vec<LogEvent> = [started(1)].into_iter().chain(events).collect();
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("events.log");
        let (told, _, _) = followed(&path, &events, every, most);
        prop_assert_eq!(told.events, events.len() as u64);
    }
}
