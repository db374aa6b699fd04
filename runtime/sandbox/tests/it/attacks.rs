//! Guests against the host and against the guests after them.

use crate::{
    bench::{Bench, Setup, number},
    guest::Guest,
};
use taps_engine::{OutcomeKind, TrapKind};
use taps_payload::Location;
use taps_sandbox::InstancePolicy;

const TASKS: &[(&str, &str)] = &[
    ("fine", "(call $ok)"),
    // The data segment is at 0x10000.
    ("data", "(call $number (i64.extend_i32_u (i32.load (i32.const 0x10000))))"),
    (
        "covers_data",
        "(call $attach (call $payload (local.get $args) (i32.const 0)) (i32.const 0x10000) (i32.const 0x10000) (i32.const 64))
         (i32.store (i32.const 0x10000) (i32.const -1))
         (call $number (call $answer (i32.const 8)))",
    ),
    (
        "covers_data_and_traps",
        "(call $attach (call $payload (local.get $args) (i32.const 0)) (i32.const 0x10000) (i32.const 0x10000) (i32.const 64))
         (i32.store (i32.const 0x10000) (i32.const -1))
         (unreachable)",
    ),
    // Everything above its own stack and scratch memory.
    (
        "covers_all",
        "(call $attach (call $payload (local.get $args) (i32.const 0)) (i32.const 0x10000) (i32.const 0x13f0000) (i32.const 64))
         (memory.fill (i32.const 0x10000) (i32.const 0xee) (i32.const 0x13f0000))
         (call $number (call $answer (i32.const 8)))",
    ),
    // The host writes what it reads where the guest's allocator says: into the window of the payload.
    (
        "reallocs",
        "(local.set $a (call $payload (local.get $args) (i32.const 0)))
         (call $attach (local.get $a) (i32.const 0x100000) (i32.const 0x20000) (i32.const 64))
         (call $choose (i32.const 0x100010))
         (call $read (local.get $a) (i64.const 0) (i32.const 5000) (i32.const 64))
         (call $read-into (local.get $a) (i64.const 0) (i32.const 0x100001) (i32.const 5000) (i32.const 64))
         (call $number (call $same (i32.const 0x100010) (i32.const 4900) (i32.const 3)))",
    ),
    (
        "reallocs_into_output",
        "(call $create (i32.const 0x100000) (i32.const 0x20000) (i64.const 8192) (i32.const 64))
         (local.set $b (i32.load (i32.const 72)))
         (call $choose (i32.const 0x100000))
         (call $read (call $payload (local.get $args) (i32.const 0)) (i64.const 0) (i32.const 5000) (i32.const 64))
         (call $buffer (local.get $b))",
    ),
    ("sums", "(call $read-into (call $payload (local.get $args) (i32.const 0)) (i64.const 0) (i32.const 0x100000) (i32.const 5000) (i32.const 64))
         (call $number (call $same (i32.const 0x100000) (i32.const 5000) (i32.const 3)))"),
    ("zeros", "(call $number (call $same (i32.const 0x20000) (i32.const 0x1000000) (i32.const 0)))"),
    (
        "buffer_twice",
        "(call $copy (i32.const 0x100000) (i32.const 100) (i32.const 64))
         (i32.store (i32.const 160) (i32.const 1)) (i32.store (i32.const 164) (i32.load (i32.const 68)))
         (i32.store (i32.const 172) (i32.const 1)) (i32.store (i32.const 176) (i32.load (i32.const 68)))
         (call $list (i32.const 160) (i32.const 2))",
    ),
    ("payload_as_buffer", "(call $buffer (call $payload (local.get $args) (i32.const 0)))"),
    ("buffer_as_payload", "(call $copy (i32.const 0x100000) (i32.const 100) (i32.const 64))
         (call $number (call $size (i32.load (i32.const 68))))"),
    ("dropped_buffer", "(call $copy (i32.const 0x100000) (i32.const 100) (i32.const 64))
         (call $drop-output (i32.load (i32.const 68)))
         (call $buffer (i32.load (i32.const 68)))"),
    ("dropped_twice", "(call $drop-payload (call $payload (local.get $args) (i32.const 0)))
         (call $drop-payload (call $payload (local.get $args) (i32.const 0))) (call $ok)"),
    ("used_after_drop", "(call $drop-payload (call $payload (local.get $args) (i32.const 0)))
         (call $number (call $size (call $payload (local.get $args) (i32.const 0))))"),
    ("forged_payload", "(call $number (call $size (i32.const 12345)))"),
    ("drops_an_attached_payload", "(local.set $a (call $payload (local.get $args) (i32.const 0)))
         (call $attach (local.get $a) (i32.const 0x100000) (i32.const 0x20000) (i32.const 64))
         (call $drop-payload (local.get $a))
         (call $number (call $same (i32.const 0x100000) (i32.const 0x20000) (i32.const 0)))"),
    ("forgets_outputs", "(call $create (i32.const 0x100000) (i32.const 0x20000) (i64.const 8192) (i32.const 64))
         (call $copy (i32.const 0x200000) (i32.const 100000) (i32.const 64))
         (call $create (i32.const 0x140000) (i32.const 0x20000) (i64.const 8192) (i32.const 64))
         (call $drop-output (i32.load (i32.const 72)))
         (call $ok)"),
    ("forgets_outputs_and_traps", "(call $create (i32.const 0x100000) (i32.const 0x20000) (i64.const 8192) (i32.const 64))
         (call $copy (i32.const 0x200000) (i32.const 100000) (i32.const 64))
         (unreachable)"),
    // For reused sandboxes: keeps handles for the task after.
    ("keeps", "(local.set $a (call $payload (local.get $args) (i32.const 0)))
         (call $attach (local.get $a) (i32.const 0x100000) (i32.const 0x20000) (i32.const 64))
         (global.set $kept (local.get $a)) (call $ok)"),
    ("keeps_output", "(call $create (i32.const 0x100000) (i32.const 0x20000) (i64.const 8192) (i32.const 64))
         (global.set $kept (i32.load (i32.const 72))) (call $ok)"),
    ("gives_kept_output", "(call $buffer (global.get $kept))"),
    ("drops_kept", "(call $drop-payload (global.get $kept)) (call $ok)"),
    ("detaches_kept", "(call $detach (global.get $kept) (i32.const 64)) (call $number (call $answer (i32.const 1)))"),
    ("reads_kept", "(call $read-into (global.get $kept) (i64.const 0) (i32.const 0x100000) (i32.const 5000) (i32.const 64))
         (call $number (call $answer (i32.const 8)))"),
];

const DATA: i64 = 0x4154_4144;

/// Number of the payload error.
const WRONG_STATE: i64 = 5;

/// The guest after it finds its data, in the same slot.
#[test]
fn window_over_data_segment() {
    let mut bench = Bench::new(TASKS);
    let payload = bench.segment(&[3; 5000]);
    for _ in 0..4 {
        assert_eq!(
            bench.number("covers_data", std::slice::from_ref(&payload)),
            -1
        );
        assert_eq!(bench.number("data", &[]), DATA);
        let failure = bench.failure("covers_data_and_traps", std::slice::from_ref(&payload));
        assert_eq!(failure.outcome, OutcomeKind::Trap(TrapKind::Unreachable));
        assert_eq!(bench.number("data", &[]), DATA);
        assert_eq!(
            bench.number("covers_all", std::slice::from_ref(&payload)),
            -1
        );
        assert_eq!(bench.number("data", &[]), DATA);
        assert_eq!(bench.number("zeros", &[]), 0x100_0000);
    }
    assert_eq!(bench.bytes(&payload), [3; 5000]);
}

/// In a window that were read-only, the host would die here; in a shared one, the payload would
/// change.
#[test]
fn realloc_into_window() {
    let mut bench = Bench::new(TASKS);
    let payload = bench.segment(&[3; 5000]);
    assert_eq!(
        bench.number("reallocs", std::slice::from_ref(&payload)),
        4900
    );
    assert_eq!(
        bench.bytes(&payload),
        [3; 5000],
        "the payload does not change"
    );
    assert_eq!(bench.number("sums", std::slice::from_ref(&payload)), 5000);
    let report = bench.call("reallocs_into_output", &[payload]);
    let Ok(outputs) = &report.result else {
        panic!("{report:?}")
    };
    let bytes = bench.bytes(&outputs[0].location);
    assert_eq!(
        (&bytes[..5000], &bytes[5000..]),
        (&[3; 5000][..], &[0; 3192][..])
    );
    assert_eq!(bench.number("zeros", &[]), 0x100_0000);
}

/// The second tenant of a slot sees nothing of the first.
#[test]
fn two_tenants_in_one_slot() {
    let mut bench = Bench::new(TASKS);
    let secret = bench.segment(&vec![0x5e; 3_000_000]);
    for _ in 0..4 {
        assert_eq!(
            bench.number("covers_all", std::slice::from_ref(&secret)),
            -1
        );
        assert_eq!(bench.number("zeros", &[]), 0x100_0000);
    }
    assert!(bench.bytes(&secret).iter().all(|byte| *byte == 0x5e));
}

#[test]
fn handles_cannot_be_forged_or_used_twice() {
    let mut bench = Bench::new(TASKS);
    let payload = [bench.segment(&[3; 5000])];
    let live = bench.live_bytes();
    for task in [
        "buffer_twice",
        "payload_as_buffer",
        "buffer_as_payload",
        "dropped_buffer",
        "dropped_twice",
        "used_after_drop",
        "forged_payload",
    ] {
        let failure = bench.failure(task, &payload);
        assert_eq!(
            failure.outcome,
            OutcomeKind::Trap(TrapKind::HostCall),
            "{task} {failure:?}"
        );
        assert!(bench.call("fine", &[]).result.is_ok(), "after {task}");
        assert_eq!(bench.live_bytes(), live, "after {task}");
    }
}

#[test]
fn a_dropped_payload_takes_its_window_away() {
    let mut bench = Bench::new(TASKS);
    let payload = [bench.segment(&[3; 5000])];
    assert_eq!(bench.number("drops_an_attached_payload", &payload), 0x20000);
}

/// Segments of outputs that nobody published go back to the store.
#[test]
fn outputs_that_were_forgotten_are_freed() {
    for policy in [InstancePolicy::Fresh, InstancePolicy::Prewarmed] {
        let mut bench = Bench::with(&Guest::new(TASKS), Setup::policy(policy));
        let live = bench.live_bytes();
        for _ in 0..3 {
            assert!(bench.call("forgets_outputs", &[]).result.is_ok());
            assert_eq!(bench.live_bytes(), live);
            bench.failure("forgets_outputs_and_traps", &[]);
            assert_eq!(bench.live_bytes(), live);
        }
    }
}

/// Where an app wants its sandbox reused, its own leavings are its own affair, and no more.
#[test]
fn handles_kept_in_a_reused_sandbox_harm_nobody() {
    let mut bench = Bench::with(&Guest::new(TASKS), Setup::policy(InstancePolicy::Reuse));
    let first = bench.segment(&[3; 5000]);
    let second = bench.segment(&[4; 7000]);
    let one = std::slice::from_ref(&first);
    assert!(bench.call("keeps", one).result.is_ok());
    assert_eq!(bench.number("detaches_kept", &[]), WRONG_STATE);
    assert!(bench.call("keeps", one).result.is_ok());
    // It reads its own payload, and the record of the other argument stays right.
    let report = bench.call("reads_kept", std::slice::from_ref(&second));
    assert_eq!(number(&report), -1);
    assert_eq!(
        report.inputs[0].bytes_moved, 0,
        "the argument was not touched"
    );
    assert!(bench.call("drops_kept", &[]).result.is_ok());
    assert!(bench.call("keeps_output", &[]).result.is_ok());
    let failure = bench.failure("gives_kept_output", &[]);
    assert_eq!(failure.outcome, OutcomeKind::PayloadError, "{failure:?}");
    assert_eq!(bench.number("data", &[]), DATA);
    assert!(matches!(first, Location::Segment(_)));
}
