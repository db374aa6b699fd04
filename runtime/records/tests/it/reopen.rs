//! A log is gone on with: what was whole stays, what was torn goes, and nobody else writes meanwhile.

use crate::support::{any_event, child_in, read, started, submitted, whole_task, written};
use proptest::{collection::vec, prelude::*};
use std::{io::Read, path::Path};
use taps_records::{Dropped, EVENTS_FILE, EventLog, FORMAT_VERSION, LogError, LogEvent, LogReader};

const DIRECTORY: &str = "TAPS_RECORDS_TEST_REOPEN";

/// Reopens a log, appends, closes, and gives what it had, what it has, and what was dropped.
fn go_on(path: &Path, more: &[LogEvent]) -> (Vec<LogEvent>, Vec<LogEvent>, Option<Dropped>) {
    let mut before = Vec::new();
    let mut reopened = EventLog::reopen(path, |event| before.push(event)).expect("reopen");
    assert_eq!(reopened.events, before.len() as u64);
    for event in more {
        reopened.log.append(event).expect("append");
    }
    reopened.log.close().expect("close");
    let (after, truncated_at) = read(LogReader::open(path).expect("open"));
    assert_eq!(truncated_at, None, "what was torn is gone");
    (before, after, reopened.dropped)
}

fn in_a_file(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join(EVENTS_FILE);
    std::fs::write(&path, bytes).expect("write");
    (directory, path)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_cut_log_goes_on_after_its_last_whole_event(
        events in vec(any_event(), 0..6),
        more in vec(any_event(), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let events = [vec![started(1)], events].concat();
        let least = written(&events[..1]).len();
        let bytes = written(&events);
        let cut = least + cut.index(bytes.len() - least + 1);
        let (_directory, path) = in_a_file(&bytes[..cut]);
        let (before, after, dropped) = go_on(&path, &more);
        prop_assert!(events.starts_with(&before));
        let end = written(&before).len();
        let lost = (end < cut).then_some(end as u64);
        prop_assert_eq!(dropped.map(|dropped| dropped.at), lost);
        prop_assert_eq!(after, [before, more].concat());
    }

    #[test]
    fn a_damaged_log_goes_on_before_the_damage(
        events in vec(any_event(), 1..6),
        more in vec(any_event(), 1..4),
        place in any::<prop::sample::Index>(),
        flip in 1..=u8::MAX,
        preallocated in 0..20_000_usize,
    ) {
        let events = [vec![started(1)], events].concat();
        let least = written(&events[..1]).len();
        let mut bytes = written(&events);
        let at = least + place.index(bytes.len() - least);
        bytes[at] ^= flip;
        bytes.resize(bytes.len() + preallocated, 0);
        let (_directory, path) = in_a_file(&bytes);
        let (before, after, _) = go_on(&path, &more);
        prop_assert!(!before.is_empty() && events.starts_with(&before));
        prop_assert_eq!(after, [before, more].concat());
    }
}

#[test]
fn what_is_dropped_is_told() {
    let mut bytes = written(&[started(1)]);
    let at = bytes.len() as u64;
    let (_directory, path) = in_a_file(&bytes);
    assert_eq!(go_on(&path, &[]).2, None);
    bytes.extend([0, 0, 0, 0, 1, 2, 3]);
    bytes.resize(bytes.len() + 300_000, 0);
    std::fs::write(&path, &bytes).expect("write");
    assert_eq!(go_on(&path, &[]).2, Some(Dropped { at, bytes: 7 }));
    assert_eq!(std::fs::metadata(&path).expect("log").len(), at);
}

#[test]
fn the_zeros_of_a_killed_writer_are_no_loss() {
    let mut bytes = written(&[started(1)]);
    bytes.resize(1 << 20, 0);
    let (_directory, path) = in_a_file(&bytes);
    let more = [submitted(0, "a", &[], 1)];
    let (before, after, dropped) = go_on(&path, &more);
    assert_eq!((before.len(), after.len(), dropped), (1, 2, None));
}

#[test]
fn a_log_grows_after_it_was_reopened() {
    let (_directory, path) = in_a_file(&written(&[started(1)]));
    let more: Vec<LogEvent> = (0..20)
        .map(|time_ns| LogEvent::Phase {
            name: "x".repeat(400_000).into(),
            time_ns,
        })
        .collect();
    for _ in 0..2 {
        go_on(&path, &more);
    }
    let (events, _) = read(LogReader::open(&path).expect("open"));
    assert!(events[1..21] == more && events[21..] == more);
}

/// The error of reopening a file with these bytes, which stays as it is.
#[track_caller]
fn refused(bytes: &[u8]) -> LogError {
    let (_directory, path) = in_a_file(bytes);
    let error = EventLog::reopen(&path, drop).expect_err("not to be gone on with");
    assert!(std::fs::read(&path).expect("read") == bytes, "untouched");
    error
}

#[test]
fn what_is_no_log_of_a_run_is_refused_and_untouched() {
    assert!(matches!(refused(b"{ }"), LogError::NotALog { .. }));
    let mut other = written(&[started(1)]);
    other[8..12].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
    assert!(matches!(refused(&other), LogError::Version { .. }));
    assert!(matches!(refused(&[]), LogError::NoStart { .. }));
    assert!(matches!(refused(&written(&[])), LogError::NoStart { .. }));
    let headless = written(&whole_task(0, 1));
    assert!(matches!(refused(&headless), LogError::NoStart { .. }));
    let error = EventLog::reopen(Path::new("/nowhere/events.log"), drop).expect_err("no file");
    assert!(error.to_string().starts_with("open /nowhere"), "{error}");
}

#[test]
fn a_second_writer_is_refused() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join(EVENTS_FILE);
    let mut log = EventLog::create(&path).expect("create");
    let sync = log.sync_handle();
    // First a new log, then one that was reopened.
    for expected in 1..3 {
        log.append(&started(1)).expect("append");
        assert!(EventLog::is_in_use(&path).expect("look"));
        let error = EventLog::reopen(&path, drop).expect_err("in use");
        assert!(
            error.to_string().ends_with("the run is still going on"),
            "{error}"
        );
        // Reading is allowed, and the writer does not notice.
        let (events, _) = read(LogReader::open(&path).expect("open"));
        assert_eq!(events.len(), expected);
        log.close().expect("close");
        assert!(
            !EventLog::is_in_use(&path).expect("look"),
            "although `sync` has the file open"
        );
        log = EventLog::reopen(&path, drop).expect("reopen").log;
    }
    sync.sync().expect("sync");
}

/// Appends for ever, and says a byte for each event, like the run of a program.
#[test]
#[ignore = "the child of `a_killed_writer_leaves_no_lock`"]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let path = Path::new(&directory).join(EVENTS_FILE);
    let mut tasks = 0;
    let mut log = EventLog::reopen(&path, |event| {
        tasks += u64::from(matches!(event, LogEvent::Submitted { .. }));
    })
    .expect("reopen")
    .log;
    for task in tasks.. {
        for event in whole_task(task, task * 1_000) {
            log.append(&event).expect("append");
            eprint!(".");
        }
    }
}

/// Killed again and again at whatever instruction, and gone on with each time.
#[test]
fn a_killed_writer_leaves_no_lock() {
    let (directory, path) = in_a_file(&written(&[started(1)]));
    let mut known = vec![started(1)];
    for round in 0..8_usize {
        let (mut child, mut stderr) = child_in("reopen::child", DIRECTORY, directory.path());
        let mut told = vec![0; 1 + 37 * round * round];
        stderr.read_exact(&mut told).expect("progress");
        assert!(EventLog::is_in_use(&path).expect("look"));
        child.kill().expect("kill");
        child.wait().expect("wait");
        stderr.read_to_end(&mut told).expect("the rest");
        let (events, _, _) = go_on(&path, &[]);
        assert!(
            events.len() >= known.len() + told.len(),
            "{} events",
            events.len()
        );
        assert!(events.starts_with(&known));
        known = events;
    }
}
