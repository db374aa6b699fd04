//! Outputs that the limit on payloads has no room for, and small segments, which are not mapped.

use crate::{
    bench::{Bench, Setup, assert_outcome, number},
    guest::{Guest, SUMS},
};
use std::path::Path;
use taps_engine::OutcomeKind;
use taps_payload::{Location, StoreOptions, Way};

const MIB: u64 = 1 << 20;

const TASKS: &[(&str, &str)] = &[
    // Makes 64 MiB of 7 in a window of as many.
    (
        "makes",
        "(call $reserve (i64.const 0x4000000) (i32.const 64))
         (drop (memory.grow (i32.const 1024)))
         (memory.fill (i32.const 0x1400000) (i32.const 9) (i32.const 0x4000000))
         (call $create (i32.const 0x1400000) (i32.const 0x4000000) (i64.const 0x4000000) (i32.const 64))
         (if (i32.load8_u (i32.const 64)) (then (return (call $payload-error))))
         (memory.fill (i32.add (i32.const 0x1400000) (i32.wrap_i64 (i64.load (i32.const 80)))) (i32.const 7) (i32.const 0x3ffffff))
         (call $buffer (i32.load (i32.const 72)))",
    ),
    // Another window over one that is not mapped.
    (
        "overlaps",
        "(call $create (i32.const 0x100000) (i32.const 0x800000) (i64.const 0x800000) (i32.const 64))
         (if (i32.load8_u (i32.const 64)) (then (return (call $payload-error))))
         (call $attach (call $payload (local.get $args) (i32.const 0)) (i32.const 0x800000) (i32.const 0x10000) (i32.const 64))
         (call $number (call $answer (i32.const 8)))",
    ),
    // Leaves an output behind.
    (
        "forgets",
        "(call $create (i32.const 0x100000) (i32.const 0x800000) (i64.const 0x800000) (i32.const 64))
         (if (i32.load8_u (i32.const 64)) (then (return (call $payload-error))))
         (call $ok)",
    ),
    SUMS,
];

fn bench(limit_bytes: u64, spill_dir: Option<&Path>) -> Bench {
    let setup = Setup {
        store: StoreOptions {
            limit_bytes: Some(limit_bytes),
            huge_pages: false,
            spill_dir: spill_dir.map(Path::to_owned),
            ..StoreOptions::default()
        },
        ..Setup::default()
    };
    Bench::with(&Guest::new(TASKS).memory("320"), setup)
}

#[test]
fn an_output_that_memory_has_no_room_for_goes_to_the_disk() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let mut bench = bench(16 * MIB, Some(folder.path()));
    for round in 1..=3 {
        let report = bench.call("makes", &[]);
        let outputs = report.result.expect("the disk has room");
        let transfer = report.outputs[0];
        assert_eq!((transfer.way, transfer.copies), (Way::Copied, 1));
        let bytes = bench.bytes(&outputs[0].location);
        assert_eq!(bytes.len() as u64, 64 * MIB);
        let (last, filled) = bytes.split_last().expect("not empty");
        assert!(filled.iter().all(|byte| *byte == 7));
        assert_eq!(*last, 0, "what the guest did not fill is zero");
        let statistics = bench.run.store.statistics();
        assert_eq!(statistics.spilled_bytes, 64 * MIB);
        assert_eq!(statistics.spilled_segments, round);
        let Location::Segment(segment) = outputs[0].location else {
            panic!("{outputs:?}")
        };
        bench.run.store.free(segment.id);
        assert_eq!(bench.run.store.statistics().spilled_bytes, 0);
    }
    let mut left = std::fs::read_dir(folder.path()).expect("ours");
    assert!(left.next().is_none(), "nothing is seen of it");
}

#[test]
fn without_a_disk_an_output_beyond_the_limit_is_a_payload_error() {
    let mut bench = bench(16 * MIB, None);
    let failure = bench.failure("makes", &[]);
    assert_outcome(&failure, OutcomeKind::PayloadError);
    assert!(failure.message.contains("full"), "{failure:?}");
    // Nor where there is none.
    let missing = Path::new("/nonexistent/directory");
    let mut bench = self::bench(16 * MIB, Some(missing));
    let failure = bench.failure("makes", &[]);
    assert_outcome(&failure, OutcomeKind::PayloadError);
    assert!(failure.message.contains("disk"), "{failure:?}");
}

#[test]
fn no_window_lies_over_an_output_that_is_not_mapped() {
    const IN_USE: i64 = 3;
    let folder = tempfile::tempdir().expect("temporary directory");
    let mut bench = bench(MIB, Some(folder.path()));
    let payload = [bench.segment(&[3; 5000])];
    assert_eq!(bench.number("overlaps", &payload), IN_USE);
    assert!(bench.call("forgets", &[]).result.is_ok());
    assert_eq!(bench.run.store.statistics().spilled_bytes, 0);
}

/// What shares a page with a neighbour, or lies on a disk, is read where it would be mapped.
#[test]
fn segments_that_cannot_be_mapped_are_read() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let mut bench = bench(64 * MIB, Some(folder.path()));
    let small = bench.any_segment(&vec![3; 100_000]);
    let neighbour = bench.any_segment(&vec![5; 100_000]);
    let report = bench.call("sums", &[small]);
    assert_eq!(number(&report), 300_000);
    assert_eq!(
        (report.inputs[0].way, report.inputs[0].copies),
        (Way::Read, 1)
    );
    let report = bench.call("sums", &[neighbour]);
    assert_eq!(number(&report), 500_000);

    let mut bench = self::bench(MIB, Some(folder.path()));
    let spilled = bench.any_segment(&vec![1; 3_000_000]);
    assert_eq!(bench.run.store.statistics().spilled_segments, 1);
    let report = bench.call("sums", &[spilled]);
    assert_eq!(number(&report), 3_000_000);
    assert_eq!(report.inputs[0].way, Way::Read);
}
