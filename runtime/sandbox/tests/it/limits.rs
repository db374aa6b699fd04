//! The heap and the windows are limited apart.

use crate::{
    bench::{Bench, HEAP, Setup, assert_outcome, failure, number},
    guest::Guest,
};
use taps_engine::OutcomeKind;
use taps_sandbox::InstancePolicy;

const TASKS: &[(&str, &str)] = &[
    ("fine", "(call $ok)"),
    // Reserves 64 MiB, announced, and attaches the argument there.
    (
        "announced",
        "(call $reserve (i64.const 0x4000000) (i32.const 64))
         (if (i32.load8_u (i32.const 64)) (then (return (call $payload-error))))
         (local.set $a (i32.shl (memory.grow (i32.const 1024)) (i32.const 16)))
         (call $attach (call $payload (local.get $args) (i32.const 0)) (local.get $a)
           (i32.const 0x4000000) (i32.const 64))
         (if (i32.load8_u (i32.const 64)) (then (return (call $number (call $answer (i32.const 8))))))
         (call $number (i64.load8_u (i32.add (local.get $a)
           (i32.add (i32.wrap_i64 (i64.load (i32.const 72))) (i32.const 0x2ffffff)))))",
    ),
    // Attaches the argument in a window of 256 MiB, and makes an output in another.
    (
        "large_windows",
        "(call $reserve (i64.const 0x20000000) (i32.const 64))
         (if (i32.load8_u (i32.const 64)) (then (return (call $payload-error))))
         (local.set $a (i32.shl (memory.grow (i32.const 8192)) (i32.const 16)))
         (call $attach (call $payload (local.get $args) (i32.const 0)) (local.get $a)
           (i32.const 0x10000000) (i32.const 64))
         (if (i32.load8_u (i32.const 64)) (then (return (call $payload-error))))
         (call $create (i32.add (local.get $a) (i32.const 0x10000000)) (i32.const 0x10000000) (i64.const 100) (i32.const 64))
         (call $number (call $answer (i32.const 8)))",
    ),
    ("unannounced", "(drop (memory.grow (i32.const 1024))) (call $ok)"),
    (
        "more_than_announced",
        "(call $reserve (i64.const 0x4000000) (i32.const 64))
         (drop (memory.grow (i32.const 1300))) (call $ok)",
    ),
    (
        "reserves_too_much",
        "(call $reserve (i64.const 0x7fffffffffffffff) (i32.const 64))
         (call $number (call $answer (i32.const 1)))",
    ),
    (
        "reserves_twice",
        "(call $reserve (i64.const 0x30000000) (i32.const 64))
         (call $reserve (i64.const 0x30000000) (i32.const 64))
         (call $number (call $answer (i32.const 1)))",
    ),
    (
        "beyond_its_type",
        "(drop (memory.grow (i32.const 200))) (call $ok)",
    ),
    ("attaches", "(call $attach (call $payload (local.get $args) (i32.const 0)) (i32.const 0x100000) (i32.const 0x200000) (i32.const 64))
         (call $number (call $answer (i32.const 8)))"),
];

/// Number of the payload error.
const WINDOW_LIMIT: i64 = 4;

/// A large input must not trip a small heap limit.
#[test]
fn a_large_input_does_not_count_as_heap() {
    let mut bench = Bench::new(TASKS);
    let payload = bench.segment(&vec![42; 48 << 20]);
    let report = bench.call("announced", std::slice::from_ref(&payload));
    assert_eq!(number(&report), 42);
    assert!(u64::from(crate::guest::PAGES) << 16 < HEAP);
    assert_eq!(report.inputs[0].way, taps_payload::Way::Mapped);
    assert_eq!(
        (report.inputs[0].bytes, report.inputs[0].copies),
        (48 << 20, 0)
    );
}

/// Windows are passed as lists, and wasmtime limits what one call may pass.
#[test]
fn windows_may_be_large() {
    for policy in [
        InstancePolicy::Fresh,
        InstancePolicy::Prewarmed,
        InstancePolicy::Reuse,
    ] {
        let mut bench = Bench::with(&Guest::new(TASKS), Setup::policy(policy));
        // A reused sandbox is made under the smaller limits of its first task.
        let mut small = bench.attempt("fine", Vec::new());
        small.limits.window_bytes = 0;
        assert!(bench.run(&small).result.is_ok());
        bench.worker.prewarm();
        let payload = bench.segment(&[42; 100]);
        assert_eq!(bench.number("large_windows", &[payload]), -1, "{policy:?}");
    }
}

#[test]
fn growth_that_was_not_announced_counts_as_heap() {
    let mut bench = Bench::new(TASKS);
    for task in ["unannounced", "more_than_announced"] {
        assert_outcome(&bench.failure(task, &[]), OutcomeKind::OutOfMemory);
    }
    let mut attempt = bench.attempt("unannounced", Vec::new());
    attempt.limits.memory_bytes = 128 << 20;
    assert!(bench.run(&attempt).result.is_ok());
}

#[test]
fn windows_have_a_limit_of_their_own() {
    let mut bench = Bench::new(TASKS);
    assert_eq!(bench.number("reserves_too_much", &[]), WINDOW_LIMIT);
    assert_eq!(bench.number("reserves_twice", &[]), WINDOW_LIMIT);
    let payload = bench.segment(&vec![42; 48 << 20]);
    let mut attempt = bench.attempt("announced", vec![payload.clone()]);
    attempt.limits.window_bytes = 32 << 20;
    let refused = failure(&bench.run(&attempt));
    // The host refused nothing but the announcement, so this is what the task says of itself.
    assert_outcome(&refused, OutcomeKind::TaskError);
    let small = bench.segment(&[1; 100]);
    let mut attempt = bench.attempt("attaches", vec![small]);
    assert_eq!(number(&bench.run(&attempt)), -1);
    attempt.limits.window_bytes = 1 << 20;
    assert_eq!(number(&bench.run(&attempt)), WINDOW_LIMIT);
}

/// Sandboxes that exist before their task get the limits of that task.
#[test]
fn limits_hold_in_sandboxes_made_ahead_and_used_before() {
    for policy in [InstancePolicy::Prewarmed, InstancePolicy::Reuse] {
        let mut bench = Bench::with(&Guest::new(TASKS), Setup::policy(policy));
        bench.worker.prewarm();
        let small = bench.segment(&[1; 100]);
        let large = bench.segment(&vec![42; 48 << 20]);
        for _ in 0..3 {
            assert_eq!(bench.number("attaches", std::slice::from_ref(&small)), -1);
            bench.worker.prewarm();
            assert_outcome(&bench.failure("unannounced", &[]), OutcomeKind::OutOfMemory);
            bench.worker.prewarm();
        }
        // What was announced for windows once stays so.
        for _ in 0..2 {
            assert_eq!(bench.number("announced", std::slice::from_ref(&large)), 42);
            bench.worker.prewarm();
            assert!(bench.call("fine", &[]).result.is_ok());
            bench.worker.prewarm();
        }
        let mut attempt = bench.attempt("fine", Vec::new());
        attempt.limits.memory_bytes = 1 << 20;
        let failed = failure(&bench.run(&attempt));
        assert_eq!(failed.outcome, OutcomeKind::OutOfMemory, "{policy:?}");
    }
}

#[test]
fn growth_beyond_the_memorys_own_type_is_out_of_memory() {
    let guest = Guest::new(TASKS).memory("320 400");
    let mut bench = Bench::with(&guest, Setup::default());
    assert_outcome(
        &bench.failure("beyond_its_type", &[]),
        OutcomeKind::OutOfMemory,
    );
}

#[test]
fn a_component_too_large_for_the_pool_runs_on_demand() {
    let guest = Guest::new(TASKS).core_item("(table 100000 funcref)");
    let mut bench = Bench::with(&guest, Setup::default());
    let report = bench.call("fine", &[]);
    assert!(report.result.is_ok(), "{:?}", report.result);
}

/// What is refused for want of a handle leaves no window behind.
#[test]
fn handles_are_limited_and_given_back() {
    let create =
        "(call $create (i32.const 0x100000) (i32.const 0x10000) (i64.const 10) (i32.const 64))";
    let body = format!(
        "(loop $more
           (call $copy (i32.const 0x100000) (i32.const 0) (i32.const 64))
           (if (i32.eqz (i32.load8_u (i32.const 64))) (then
             (local.set $a (i32.load (i32.const 68)))
             (local.set $b (i32.add (local.get $b) (i32.const 1)))
             (br $more))))
         {create}
         (local.set $x (call $answer (i32.const 8)))
         (if (i64.ne (local.get $x) (i64.const 4)) (then unreachable))
         (call $drop-output (local.get $a))
         {create}
         (if (i32.load8_u (i32.const 64)) (then unreachable))
         (call $number (i64.extend_i32_u (local.get $b)))"
    );
    let mut bench = Bench::new(&[("hoards", &body)]);
    assert_eq!(bench.number("hoards", &[]), 1 << 16);
    // Arguments do not count.
    let payload = bench.segment(&[1; 100]);
    assert_eq!(bench.number("hoards", &[payload.clone(), payload]), 1 << 16);
}
