//! The framing of `events.log`: what is written is read, and damage costs only what follows it.

use crate::support::{any_event, finished, read, report, started, submitted, whole_task, written};
use proptest::{collection::vec, prelude::*};
use taps_records::{EventLog, FORMAT_VERSION, LogError, LogEvent, LogReader};

const HEADER_BYTES: usize = 16;

fn read_bytes(bytes: &[u8]) -> (Vec<LogEvent>, Option<u64>) {
    read(LogReader::from_bytes(bytes).expect("a header"))
}

proptest! {
    // Each case of some reads the log once for each of its bytes.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn written_events_are_read_back(events in vec(any_event(), 0..60)) {
        prop_assert_eq!(read_bytes(&written(&events)), (events, None));
    }

    #[test]
    fn a_cut_anywhere_leaves_a_prefix(events in vec(any_event(), 0..6)) {
        let bytes = written(&events);
        let ends: Vec<_> = (0..=events.len()).map(|end| written(&events[..end]).len()).collect();
        for cut in 0..bytes.len() {
            let (read, truncated_at) = read_bytes(&bytes[..cut]);
            prop_assert!(read.len() <= events.len());
            prop_assert_eq!(&read[..], &events[..read.len()]);
            // Only a cut between two frames looks like an end.
            let end = ends[read.len()];
            let expected = if cut < HEADER_BYTES { Some(0) } else { (cut != end).then_some(end) };
            prop_assert_eq!(truncated_at, expected.map(|at| at as u64));
        }
    }

    #[test]
    fn a_flip_anywhere_leaves_a_prefix(
        events in vec(any_event(), 1..5),
        flip in 1..=u8::MAX,
        preallocated in 0..100_usize,
    ) {
        let mut bytes = written(&events);
        bytes.resize(bytes.len() + preallocated, 0);
        for at in 0..bytes.len() {
            bytes[at] ^= flip;
            match LogReader::from_bytes(&bytes) {
                Ok(reader) => {
                    let (read, _) = read(reader);
                    prop_assert!(read.len() <= events.len());
                    prop_assert_eq!(&read[..], &events[..read.len()]);
                }
                Err(error) => prop_assert!(at < HEADER_BYTES, "{}", error),
            }
            bytes[at] ^= flip;
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..500), with_header: bool) {
        if with_header {
            bytes.splice(..0, written(&[]));
        }
        if let Ok(reader) = LogReader::from_bytes(&bytes) {
            read(reader);
        }
    }
}

#[test]
fn the_header_is_as_documented() {
    let bytes = written(&[]);
    assert_eq!(bytes.len(), HEADER_BYTES);
    assert_eq!(&bytes[..8], b"TAPSLOG\0");
    assert_eq!(bytes[8..12], FORMAT_VERSION.to_le_bytes());
    assert_eq!(bytes[12..], [0; 4]);
}

#[test]
fn a_frame_is_as_documented() {
    let event = submitted(7, "noop", &[1, 2], 99);
    let bytes = written(std::slice::from_ref(&event));
    let payload = postcard::to_stdvec(&event).expect("encode");
    let frame = &bytes[HEADER_BYTES..];
    assert_eq!(frame[..4], (payload.len() as u32).to_le_bytes());
    assert_eq!(frame[4..8], crc32fast::hash(&payload).to_le_bytes());
    assert_eq!(frame[8..8 + payload.len()], payload);
    assert_eq!(frame.len(), 8 + payload.len().next_multiple_of(4));
    assert!(frame[8 + payload.len()..].iter().all(|byte| *byte == 0));
}

#[test]
fn preallocated_zeros_are_a_clean_end() {
    let mut bytes = written(&[started(1)]);
    bytes.resize(bytes.len() + 200_000, 0);
    assert_eq!(read_bytes(&bytes), (vec![started(1)], None));
}

#[test]
fn a_torn_frame_is_reported_where_it_begins() {
    let mut bytes = written(&[started(1)]);
    let end = bytes.len() as u64;
    bytes.extend([0, 0, 0, 0, 1, 2, 3, 4, 5]);
    bytes.resize(bytes.len() + 100_000, 0);
    assert_eq!(read_bytes(&bytes), (vec![started(1)], Some(end)));
}

#[test]
fn other_versions_are_refused_with_both_named() {
    let mut bytes = written(&[started(1)]);
    bytes[8..12].copy_from_slice(&(FORMAT_VERSION + 41).to_le_bytes());
    let error = LogReader::from_bytes(&bytes).expect_err("another version");
    assert_eq!(
        error.to_string(),
        format!(
            "<memory> has event log format {}, this program reads format {FORMAT_VERSION}",
            FORMAT_VERSION + 41
        )
    );
}

#[test]
fn other_files_are_refused() {
    for bytes in [&b"{}"[..], b"TAPSLOX\0 and so on and on", &[0; 100]] {
        let error = LogReader::from_bytes(bytes).expect_err("not a log");
        assert!(matches!(error, LogError::NotALog { .. }), "{error}");
    }
}

#[test]
fn a_log_grows_over_many_chunks() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("events.log");
    let mut log = EventLog::create(&path).expect("create");
    let mut events = vec![started(1)];
    // Larger than the first chunks, and small ones between.
    for task in 0..40 {
        events.extend(whole_task(task, task * 1_000));
        let text = "x".repeat(400_000);
        events.push(LogEvent::Phase {
            name: text.into(),
            time_ns: task,
        });
    }
    for event in &events {
        log.append(event).expect("append");
    }
    // Readable while it is open, as after a kill.
    let (open, truncated_at) = read(LogReader::open(&path).expect("open"));
    assert!(open == events && truncated_at.is_none());
    let len = log.len_bytes();
    log.sync_handle().sync().expect("sync");
    log.close().expect("close");
    assert_eq!(std::fs::metadata(&path).expect("log").len(), len);
    let (closed, _) = read(LogReader::open(&path).expect("open"));
    assert!(closed == events);
}

#[test]
fn an_event_that_cannot_be_encoded_leaves_no_trace() {
    use std::os::unix::ffi::OsStrExt as _;
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("events.log");
    let mut log = EventLog::create(&path).expect("create");
    let mut report = report(0, 0, 0);
    report.result = Ok(vec![taps_engine::Output {
        location: taps_payload::Location::File(taps_payload::FileRef {
            path: std::sync::Arc::new(std::ffi::OsStr::from_bytes(b"/\xff").into()),
            fingerprint: taps_payload::Fingerprint {
                len: 0,
                modified_ns: 0,
            },
        }),
    }]);
    let bad = finished(report, 0, false);
    assert!(matches!(log.append(&bad), Err(LogError::Encode(_))));
    log.append(&started(1)).expect("append");
    log.close().expect("close");
    assert_eq!(
        read(LogReader::open(&path).expect("open")),
        (vec![started(1)], None)
    );
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("events.log");
    std::fs::write(&path, "of another run").expect("write");
    EventLog::create(&path).expect_err("exists");
    assert_eq!(std::fs::read(&path).expect("read"), b"of another run");
}
