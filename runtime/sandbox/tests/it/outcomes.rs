//! Every outcome that a guest can bring about, and that the host lives on.

use crate::{
    bench::{Bench, HEAP, Setup, assert_outcome, failure, inline},
    guest::Guest,
};
use taps_engine::{Instantiation, OutcomeKind, TrapKind};
use taps_payload::Way;

const TASKS: &[(&str, &str)] = &[
    ("fine", "(call $ok)"),
    (
        "echo",
        "(call $bytes (call $inline (local.get $args) (i32.const 0)))",
    ),
    ("dies", "unreachable"),
    ("out_of_bounds", "(i32.load (i32.const -4))"),
    ("division", "(i32.div_s (i32.const 1) (local.get $a))"),
    (
        "overflow",
        "(i32.div_s (i32.const -2147483648) (i32.sub (local.get $a) (i32.const 1)))",
    ),
    ("conversion", "(i32.trunc_f64_s (f64.const 1e30))"),
    (
        "bad_call",
        "(call_indirect (type $nothing) (i32.const 0)) (i32.const 0)",
    ),
    (
        "no_such_call",
        "(call_indirect (type $nothing) (i32.const 99)) (i32.const 0)",
    ),
    (
        "recurses",
        "(call $task:recurses (local.get $args) (local.get $count)) (i32.const 1) (i32.add)",
    ),
    ("exits", "(call $exit (i32.const 1)) (i32.const 0)"),
    ("exits_well", "(call $exit (i32.const 0)) (i32.const 0)"),
    ("fails", "(call $error (i32.const 525) (i32.const 8))"),
    ("claims", "(call $payload-error)"),
    ("wild_result", "(i32.const -8)"),
    (
        "wild_list",
        "(call $list (i32.const 0x7fff0000) (i32.const 100))",
    ),
    (
        "bad_variant",
        "(i32.store (i32.const 160) (i32.const 9)) (call $list (i32.const 160) (i32.const 1))",
    ),
    (
        "bad_text",
        "(i32.store (i32.const 600) (i32.const -1)) (call $error (i32.const 600) (i32.const 4))",
    ),
    ("forged", "(call $buffer (i32.const 77))"),
    (
        "wild_argument",
        "(call $choose (i32.const 0x7ffffff0)) (call $read (call $payload (local.get $args) (i32.const 0)) (i64.const 0) (i32.const 8) (i32.const 64)) (call $ok)",
    ),
    ("grows", "(memory.grow (i32.const 1024)) (drop) (call $ok)"),
];

#[test]
fn every_trap_has_its_kind_and_the_next_task_runs() {
    let mut bench = Bench::new(TASKS);
    let payload = bench.segment(b"payload!");
    let trap = OutcomeKind::Trap;
    for (task, outcome, words) in [
        ("dies", trap(TrapKind::Unreachable), "unreachable"),
        (
            "out_of_bounds",
            trap(TrapKind::OutOfBounds),
            "out of bounds",
        ),
        ("division", trap(TrapKind::DivisionByZero), "divide by zero"),
        ("overflow", trap(TrapKind::IntegerOverflow), "overflow"),
        ("conversion", trap(TrapKind::IntegerOverflow), "overflow"),
        ("bad_call", trap(TrapKind::BadCall), "type mismatch"),
        (
            "no_such_call",
            trap(TrapKind::OutOfBounds),
            "undefined element",
        ),
        ("recurses", trap(TrapKind::StackOverflow), "stack"),
        ("exits", trap(TrapKind::Exit), "status 1"),
        ("exits_well", trap(TrapKind::Exit), "status 0"),
        ("wild_result", trap(TrapKind::HostCall), ""),
        ("wild_list", trap(TrapKind::HostCall), ""),
        ("bad_variant", trap(TrapKind::HostCall), ""),
        ("bad_text", trap(TrapKind::HostCall), ""),
        ("forged", trap(TrapKind::HostCall), ""),
        ("wild_argument", trap(TrapKind::HostCall), ""),
        ("grows", OutcomeKind::OutOfMemory, "limit"),
    ] {
        let arguments = if task == "wild_argument" {
            vec![payload.clone()]
        } else {
            Vec::new()
        };
        let report = bench.call(task, &arguments);
        let failure = failure(&report);
        assert_eq!(failure.outcome, outcome, "{task}: {failure:?}");
        assert!(failure.message.contains(words), "{task}: {failure:?}");
        assert_eq!(report.instantiation, Instantiation::Fresh, "{task}");
        assert!(bench.call("fine", &[]).result.is_ok(), "after {task}");
    }
}

#[test]
fn a_trap_names_the_functions_that_were_running() {
    let mut bench = Bench::new(TASKS);
    let detail = bench.failure("dies", &[]).detail;
    assert!(
        detail.as_deref().is_some_and(|text| text.contains("dies")),
        "{detail:?}"
    );
}

#[test]
fn a_tasks_own_error_arrives_as_it_is() {
    let mut bench = Bench::new(TASKS);
    let failure = bench.failure("fails", &[]);
    assert_outcome(&failure, OutcomeKind::TaskError);
    assert_eq!(
        (&*failure.kind, &*failure.message),
        ("OddError", "it went wrong")
    );
}

/// A task may call its own error as it likes; only the host's failures make it a payload error.
#[test]
fn a_task_cannot_claim_a_payload_error() {
    let mut bench = Bench::new(TASKS);
    assert_outcome(&bench.failure("claims", &[]), OutcomeKind::TaskError);
}

#[test]
fn an_unknown_task_is_an_error_of_the_engine() {
    let mut bench = Bench::new(TASKS);
    let mut attempt = bench.attempt("fine", Vec::new());
    attempt.task = 1000;
    assert_outcome(&failure(&bench.run(&attempt)), OutcomeKind::EngineError);
    attempt.component = 1;
    assert_outcome(&failure(&bench.run(&attempt)), OutcomeKind::EngineError);
}

#[test]
fn a_memory_larger_than_the_limit_never_starts() {
    let pages = (HEAP >> 16) + 1;
    let mut bench = Bench::with(
        &Guest::new(TASKS).memory(&pages.to_string()),
        Setup::default(),
    );
    let failure = bench.failure("fine", &[]);
    assert_outcome(&failure, OutcomeKind::OutOfMemory);
}

#[test]
fn small_results_and_arguments_travel_inline() {
    let mut bench = Bench::new(TASKS);
    let report = bench.call("echo", &[inline(b"hello")]);
    let outputs = report.result.as_ref().expect("it succeeds");
    assert_eq!(outputs[0].location, inline(b"hello"));
    assert_eq!(
        (report.inputs[0].way, report.inputs[0].bytes),
        (Way::Inline, 5)
    );
    assert_eq!(
        (report.outputs[0].way, report.outputs[0].bytes),
        (Way::Inline, 5)
    );
    let timeline = report.timeline;
    assert!(timeline.received <= timeline.task_start);
    assert!(timeline.task_start <= timeline.task_end && timeline.task_end <= timeline.finished);
    assert!(report.peak_memory_bytes >= 20 << 20 && report.cpu_ns > 0);
}
