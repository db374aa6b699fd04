//! A report says which arguments are gone, so that somebody can make them again.

use crate::bench::{Bench, Setup, assert_outcome, failure, file, inline};
use crate::guest::Guest;
use taps_engine::{AttemptReport, OutcomeKind};
use taps_payload::Location;

const TASKS: &[(&str, &str)] = &[
    (
        // Reads the last of three arguments, and gives up if it cannot.
        "reads_last",
        "(call $read-into (call $payload (local.get $args) (i32.const 2)) (i64.const 0)
           (i32.const 0x100000) (i32.const 0x10000) (i32.const 64))
         (if (i32.load8_u (i32.const 64)) (then (return (call $payload-error))))
         (call $ok)",
    ),
    (
        // The same, with an error of its own.
        "minds_not",
        "(call $read-into (call $payload (local.get $args) (i32.const 2)) (i64.const 0)
           (i32.const 0x100000) (i32.const 0x10000) (i32.const 64))
         (call $error (i32.const 525) (i32.const 8))",
    ),
    (
        // Asks for more than the window limit.
        "too_much",
        "(call $read-into (call $payload (local.get $args) (i32.const 2)) (i64.const 1000000)
           (i32.const 0x100000) (i32.const 0x10000) (i32.const 64))
         (if (i32.load8_u (i32.const 64)) (then (return (call $payload-error))))
         (call $ok)",
    ),
];

/// Calls a task with two arguments that are there, and one that may not be.
fn call(bench: &mut Bench, task: &str, last: Location) -> AttemptReport {
    let there = bench.segment(&[1; 5000]);
    bench.call(task, &[inline(b"here"), there, last])
}

fn gone(bench: &Bench) -> Location {
    let location = bench.segment(&[2; 5000]);
    let Location::Segment(segment) = location else {
        panic!("{location:?}")
    };
    bench.run.store.free(segment.id);
    location
}

#[test]
fn a_segment_that_is_gone_is_named() {
    let mut bench = Bench::new(TASKS);
    let lost = gone(&bench);
    let report = call(&mut bench, "reads_last", lost);
    assert_outcome(&failure(&report), OutcomeKind::PayloadError);
    assert_eq!(report.lost_inputs, [2]);
    let there = bench.segment(&[2; 5000]);
    let report = call(&mut bench, "reads_last", there);
    assert_eq!((report.result.is_ok(), report.lost_inputs.len()), (true, 0));
}

#[test]
fn a_file_that_is_gone_or_changed_is_named() {
    let mut bench = Bench::new(TASKS);
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = folder.path().join("input");
    std::fs::write(&path, [1; 5000]).expect("written");
    let location = file(&path);
    assert!(
        call(&mut bench, "reads_last", location.clone())
            .result
            .is_ok()
    );
    std::fs::write(&path, [1; 6000]).expect("written");
    let changed = call(&mut bench, "reads_last", location.clone());
    assert_eq!(changed.lost_inputs, [2], "{changed:?}");
    std::fs::remove_file(&path).expect("removed");
    let missing = call(&mut bench, "reads_last", location);
    assert_eq!(missing.lost_inputs, [2], "{missing:?}");
}

#[test]
fn only_a_payload_error_names_them_and_only_what_is_lost() {
    let mut bench = Bench::with(&Guest::new(TASKS), Setup::default());
    let lost = gone(&bench);
    let report = call(&mut bench, "minds_not", lost);
    assert_outcome(&failure(&report), OutcomeKind::TaskError);
    assert_eq!(report.lost_inputs, [0; 0]);
    let there = bench.segment(&[2; 5000]);
    let report = call(&mut bench, "too_much", there);
    assert_eq!(report.lost_inputs, [0; 0], "{report:?}");
}
