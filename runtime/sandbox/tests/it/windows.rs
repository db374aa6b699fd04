//! Windows that are used as they should be, and those that are not.

use crate::{
    bench::{Bench, Setup, assert_outcome, file, number},
    guest::{Guest, SUMS},
};
use taps_engine::{OutcomeKind, TrapKind};
use taps_payload::{Location, StoreOptions, Way};
use taps_sandbox::InstancePolicy;

// Payload errors, as the guest sees their numbers.
const OUT_OF_RANGE: i64 = 0;
const MISALIGNED: i64 = 1;
const TOO_SMALL: i64 = 2;
const IN_USE: i64 = 3;
const LIMIT: i64 = 4;
const WRONG_STATE: i64 = 5;
const FULL: i64 = 6;
const IO: i64 = 8;

/// Attaches argument 0 at an address with a length and answers with the error.
fn attach(name: &'static str, at: u32, length: u32) -> (&'static str, String) {
    let body = format!(
        "(call $attach (call $payload (local.get $args) (i32.const 0)) (i32.const {at}) (i32.const {length}) (i32.const 64))
         (call $number (call $answer (i32.const 8)))"
    );
    (name, body)
}

fn create(name: &'static str, at: u32, length: u32, size: i64) -> (&'static str, String) {
    let body = format!(
        "(call $create (i32.const {at}) (i32.const {length}) (i64.const {size}) (i32.const 64))
         (call $number (call $answer (i32.const 8)))"
    );
    (name, body)
}

fn guest(tasks: &[(&'static str, String)]) -> Guest {
    let all: Vec<(&str, &str)> = tasks
        .iter()
        .map(|(name, body)| (*name, body.as_str()))
        .chain(TASKS.iter().copied())
        .collect();
    Guest::new(&all)
}

const TASKS: &[(&str, &str)] = &[
    ("fine", "(call $ok)"),
    SUMS,
    // Makes 3,000,000 bytes of 7 in a window.
    (
        "makes",
        "(call $create (i32.const 0x100000) (i32.const 0x800000) (i64.const 3000000) (i32.const 64))
         (if (i32.load8_u (i32.const 64)) (then (return (call $payload-error))))
         (memory.fill (i32.add (i32.const 0x100000) (i32.wrap_i64 (i64.load (i32.const 80)))) (i32.const 7) (i32.const 3000000))
         (call $buffer (i32.load (i32.const 72)))",
    ),
    (
        "makes_little",
        "(call $create (i32.const 0x100000) (i32.const 0x800000) (i64.const 3000000) (i32.const 64))
         (i32.store8 (i32.add (i32.const 0x100000) (i32.wrap_i64 (i64.load (i32.const 80)))) (i32.const 7))
         (call $buffer (i32.load (i32.const 72)))",
    ),
    ("copies", "(call $copy (i32.const 0x100000) (i32.const 200000) (i32.const 64))
         (if (i32.load8_u (i32.const 64)) (then (return (call $payload-error))))
         (call $buffer (i32.load (i32.const 68)))"),
    ("large_inline", "(memory.fill (i32.const 0x100000) (i32.const 9) (i32.const 100000))
         (call $bytes (i32.const 0x100000) (i32.const 100000))"),
    ("nothing", "(call $create (i32.const 0x100000) (i32.const 0x10000) (i64.const 0) (i32.const 64))
         (if (i32.load8_u (i32.const 64)) (then (return (call $payload-error))))
         (call $buffer (i32.load (i32.const 72)))"),
    ("overlapping", "(call $attach (call $payload (local.get $args) (i32.const 0)) (i32.const 0x100000) (i32.const 0x20000) (i32.const 64))
         (call $attach (call $payload (local.get $args) (i32.const 1)) (i32.const 0x11f000) (i32.const 0x20000) (i32.const 64))
         (call $number (call $answer (i32.const 8)))"),
    ("output_overlapping", "(call $attach (call $payload (local.get $args) (i32.const 0)) (i32.const 0x100000) (i32.const 0x20000) (i32.const 64))
         (call $create (i32.const 0x11f000) (i32.const 0x20000) (i64.const 10) (i32.const 64))
         (call $number (call $answer (i32.const 8)))"),
    ("attached_twice", "(call $attach (call $payload (local.get $args) (i32.const 0)) (i32.const 0x100000) (i32.const 0x20000) (i32.const 64))
         (call $attach (call $payload (local.get $args) (i32.const 0)) (i32.const 0x200000) (i32.const 0x20000) (i32.const 64))
         (call $number (call $answer (i32.const 8)))"),
    ("detached_twice", "(call $attach (call $payload (local.get $args) (i32.const 0)) (i32.const 0x100000) (i32.const 0x20000) (i32.const 64))
         (call $detach (call $payload (local.get $args) (i32.const 0)) (i32.const 64))
         (call $detach (call $payload (local.get $args) (i32.const 0)) (i32.const 64))
         (call $number (call $answer (i32.const 1)))"),
    ("many", "(local.set $a (i32.const 0x100000))
         (loop $next
           (call $create (local.get $a) (i32.const 0x1000) (i64.const 1) (i32.const 64))
           (local.set $a (i32.add (local.get $a) (i32.const 0x1000)))
           (br_if $next (i32.eqz (i32.load8_u (i32.const 64)))))
         (call $number (i64.extend_i32_u (i32.load8_u (i32.const 72))))"),
    ("reads_beyond", "(call $read-into (call $payload (local.get $args) (i32.const 0)) (i64.const 101) (i32.const 0x100000) (i32.const 10) (i32.const 64))
         (call $number (call $answer (i32.const 8)))"),
    ("reads_far_beyond", "(call $read (call $payload (local.get $args) (i32.const 0)) (i64.const -1) (i32.const 10) (i32.const 64))
         (call $number (call $answer (i32.const 4)))"),
    ("reads_the_end", "(call $read-into (call $payload (local.get $args) (i32.const 0)) (i64.const 90) (i32.const 0x100000) (i32.const 1000) (i32.const 64))
         (if (i32.load8_u (i32.const 64)) (then (return (call $payload-error))))
         (call $number (i64.load (i32.const 72)))"),
    ("reads_at_the_end", "(call $read-into (call $payload (local.get $args) (i32.const 0)) (i64.const 100) (i32.const 0x100000) (i32.const 1000) (i32.const 64))
         (if (i32.load8_u (i32.const 64)) (then (return (call $payload-error))))
         (call $number (i64.load (i32.const 72)))"),
    ("gives_up", "(call $attach (call $payload (local.get $args) (i32.const 0)) (i32.const 0x100000) (i32.const 0x800000) (i32.const 64))
         (if (i32.load8_u (i32.const 64)) (then (return (call $payload-error))))
         (call $ok)"),
];

#[test]
fn what_was_attached_is_the_payload() {
    let mut bench = Bench::with(&Guest::new(TASKS), Setup::default());
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = folder.path().join("input");
    for len in [1, 4095, 4096, 5000, 3_000_000] {
        let bytes: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
        std::fs::write(&path, &bytes).expect("written");
        let sum = bytes.iter().map(|byte| i64::from(*byte)).sum::<i64>();
        let segment = bench.segment(&bytes);
        for (location, way) in [(segment, Way::Mapped), (file(&path), Way::Read)] {
            let report = bench.call("sums", std::slice::from_ref(&location));
            assert_eq!(number(&report), sum, "{len} {way:?}");
            let transfer = report.inputs[0];
            assert_eq!(
                (transfer.way, transfer.bytes, transfer.bytes_moved),
                (way, len, len)
            );
            assert_eq!(transfer.copies, u8::from(way == Way::Read));
        }
    }
}

#[test]
fn what_was_made_is_published() {
    let mut bench = Bench::with(&Guest::new(TASKS), Setup::default());
    for (task, len, way, copies) in [
        ("makes", 3_000_000, Way::Mapped, 0),
        ("copies", 200_000, Way::Copied, 1),
        ("large_inline", 100_000, Way::Copied, 2),
        ("nothing", 0, Way::Mapped, 0),
    ] {
        let report = bench.call(task, &[]);
        let outputs = report
            .result
            .as_ref()
            .unwrap_or_else(|failure| panic!("{task} {failure:?}"));
        assert!(
            matches!(outputs[0].location, Location::Segment(_)),
            "{task}"
        );
        let bytes = bench.bytes(&outputs[0].location);
        let value = match task {
            "makes" => 7,
            "large_inline" => 9,
            _ => 0,
        };
        assert_eq!(bytes, vec![value; len], "{task}");
        assert_eq!(
            (report.outputs[0].way, report.outputs[0].copies),
            (way, copies),
            "{task}"
        );
    }
}

/// What an earlier owner of the memory left is not part of an output.
#[test]
fn an_output_that_was_never_filled_is_zero() {
    let mut bench = Bench::with(&Guest::new(TASKS), Setup::default());
    for _ in 0..3 {
        let report = bench.call("makes", &[]);
        let Ok(outputs) = report.result else { panic!() };
        let Location::Segment(full) = outputs[0].location else {
            panic!()
        };
        bench.run.store.free(full.id);
        let report = bench.call("makes_little", &[]);
        let Ok(outputs) = report.result else { panic!() };
        let bytes = bench.bytes(&outputs[0].location);
        assert_eq!(bytes[0], 7);
        assert!(bytes[1..].iter().all(|byte| *byte == 0));
        let Location::Segment(little) = outputs[0].location else {
            panic!()
        };
        bench.run.store.free(little.id);
    }
}

#[test]
fn windows_that_cannot_be_are_refused() {
    let tasks = [
        attach("misaligned", 0x10_0010, 0x10000),
        attach("odd_length", 0x10_0000, 0x10001),
        attach("too_small", 0x10_0000, 0x1000),
        attach("no_window", 0x10_0000, 0),
        create("output_misaligned", 0x10_0001, 0x10000, 100),
        create("output_odd_length", 0x10_0000, 0x10001, 100),
        create("output_too_small", 0x10_0000, 0x10000, 0x10001),
        create("output_of_everything", 0x10_0000, 0x10000, -1),
        create("output_without_window", 0x10_0000, 0, 1),
    ];
    let mut bench = Bench::with(&guest(&tasks), Setup::default());
    let payload = bench.segment(&[3; 5000]);
    let live = bench.live_bytes();
    for (task, error) in [
        ("misaligned", MISALIGNED),
        ("odd_length", MISALIGNED),
        ("too_small", TOO_SMALL),
        ("no_window", TOO_SMALL),
        ("output_misaligned", MISALIGNED),
        ("output_odd_length", MISALIGNED),
        ("output_too_small", TOO_SMALL),
        ("output_of_everything", TOO_SMALL),
        ("output_without_window", TOO_SMALL),
        ("detached_twice", WRONG_STATE),
        ("attached_twice", WRONG_STATE),
        ("output_overlapping", IN_USE),
        ("many", LIMIT),
    ] {
        assert_eq!(
            bench.number(task, std::slice::from_ref(&payload)),
            error,
            "{task}"
        );
    }
    let two = [payload.clone(), payload];
    assert_eq!(bench.number("overlapping", &two), IN_USE);
    assert_eq!(
        bench.live_bytes(),
        live,
        "nothing is left of refused outputs"
    );
}

#[test]
fn a_window_outside_of_memory_is_a_broken_rule() {
    let tasks = [
        attach("beyond", 0x130_0000, 0x20_0000),
        attach("around", 0xffff_f000, 0x2000),
        create("output_beyond", 0x130_0000, 0x20_0000, 10),
    ];
    let mut bench = Bench::with(&guest(&tasks), Setup::default());
    let payload = bench.segment(&[3; 5000]);
    for task in ["beyond", "around", "output_beyond"] {
        let failure = bench.failure(task, std::slice::from_ref(&payload));
        assert_eq!(
            failure.outcome,
            OutcomeKind::Trap(TrapKind::HostCall),
            "{failure:?}"
        );
        assert!(bench.call("fine", &[]).result.is_ok());
    }
}

#[test]
fn reading_stops_at_the_end() {
    let mut bench = Bench::with(&Guest::new(TASKS), Setup::default());
    let payload = [bench.segment(&[3; 100])];
    assert_eq!(bench.number("reads_beyond", &payload), OUT_OF_RANGE);
    assert_eq!(bench.number("reads_far_beyond", &payload), OUT_OF_RANGE);
    assert_eq!(bench.number("reads_the_end", &payload), 10);
    assert_eq!(bench.number("reads_at_the_end", &payload), 0);
}

#[test]
fn a_full_store_is_a_payload_error_and_the_next_task_is_fine() {
    let setup = Setup {
        store: StoreOptions {
            limit_bytes: Some(1 << 20),
            huge_pages: false,
            recycle_bytes: 0,
            ..StoreOptions::default()
        },
        ..Setup::default()
    };
    let mut bench = Bench::with(
        &guest(&[create("fills", 0x10_0000, 0x80_0000, 3_000_000)]),
        setup,
    );
    assert_eq!(bench.number("fills", &[]), FULL);
    let failure = bench.failure("makes", &[]);
    assert_outcome(&failure, OutcomeKind::PayloadError);
    assert!(failure.message.contains("full"), "{failure:?}");
    assert!(bench.call("copies", &[]).result.is_ok());
    assert!(bench.call("fine", &[]).result.is_ok());
}

/// Outputs before the one that failed are freed again.
#[test]
fn a_result_that_cannot_be_stored_leaves_nothing_behind() {
    let setup = Setup {
        store: StoreOptions {
            limit_bytes: Some(1 << 20),
            huge_pages: false,
            recycle_bytes: 0,
            ..StoreOptions::default()
        },
        ..Setup::default()
    };
    let two = "(i32.store (i32.const 160) (i32.const 0)) (i32.store (i32.const 164) (i32.const 0x100000)) (i32.store (i32.const 168) (i32.const 600000))
       (i32.store (i32.const 172) (i32.const 0)) (i32.store (i32.const 176) (i32.const 0x100000)) (i32.store (i32.const 180) (i32.const 600000))
       (call $list (i32.const 160) (i32.const 2))";
    let mut bench = Bench::with(&Guest::new(&[("two", two)]), setup);
    let live = bench.live_bytes();
    for _ in 0..3 {
        assert_outcome(&bench.failure("two", &[]), OutcomeKind::PayloadError);
        assert_eq!(bench.live_bytes(), live);
    }
}

#[test]
fn a_payload_that_is_gone_is_a_payload_error() {
    let mut bench = Bench::with(
        &guest(&[attach("attaches", 0x10_0000, 0x10000)]),
        Setup::default(),
    );
    let payload = bench.segment(&[3; 100]);
    let Location::Segment(segment) = payload else {
        panic!()
    };
    bench.run.store.free(segment.id);
    assert_eq!(bench.number("attaches", std::slice::from_ref(&payload)), IO);
    let failure = bench.failure("gives_up", &[payload]);
    assert_outcome(&failure, OutcomeKind::PayloadError);
    assert!(failure.message.contains("gone"), "{failure:?}");
}

#[test]
fn a_file_that_changed_is_a_payload_error() {
    let mut bench = Bench::with(&Guest::new(TASKS), Setup::default());
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = folder.path().join("input");
    std::fs::write(&path, [1; 5000]).expect("written");
    let location = [file(&path)];
    assert!(bench.call("gives_up", &location).result.is_ok());
    for change in ["shorter", "longer", "gone"] {
        match change {
            "shorter" => std::fs::write(&path, [1; 10]).expect("written"),
            "longer" => std::fs::write(&path, [1; 6000]).expect("written"),
            _ => std::fs::remove_file(&path).expect("removed"),
        }
        let failure = bench.failure("gives_up", &location);
        assert_eq!(
            failure.outcome,
            OutcomeKind::PayloadError,
            "{change} {failure:?}"
        );
    }
}

/// With copy-on-write images a window over data would show the next guest zeros.
#[test]
fn windows_are_not_mapped_over_images() {
    let setup = Setup {
        memory: taps_bundle::MemoryProfile::Copy,
        ..Setup::default()
    };
    let mut bench = Bench::with(&Guest::new(TASKS), setup);
    let payload = bench.segment(&[3; 5000]);
    let report = bench.call("sums", &[payload]);
    assert_eq!(number(&report), 15000);
    assert_eq!(
        (report.inputs[0].way, report.inputs[0].copies),
        (Way::Read, 1)
    );
    assert_outcome(&bench.failure("makes", &[]), OutcomeKind::PayloadError);
    assert!(bench.call("copies", &[]).result.is_ok());
}

/// Windows end with the task, also where the sandbox does not.
#[test]
fn windows_do_not_outlive_their_task_in_a_reused_sandbox() {
    let look = "(call $number (call $same (i32.const 0x100000) (i32.const 0x20000) (i32.const 0)))";
    let mut bench = Bench::with(
        &guest(&[
            attach("attaches", 0x10_0000, 0x20000),
            ("looks", look.to_owned()),
        ]),
        Setup::policy(InstancePolicy::Reuse),
    );
    for _ in 0..3 {
        let payload = bench.segment(&[3; 5000]);
        assert_eq!(bench.number("attaches", std::slice::from_ref(&payload)), -1);
        assert_eq!(bench.number("looks", &[]), 0x20000, "zeros");
        // The place is free again.
        assert_eq!(bench.number("attaches", &[payload]), -1);
    }
    assert_eq!(bench.runtime.statistics().reused, 8);
}
