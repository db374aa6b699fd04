//! Shapes and buffers from a guest that means harm.

use crate::bench::{Bench, failure, number};
use taps_engine::{OutcomeKind, TrapKind};

/// A product whose parameters are: shape, address and length of A, B and C.
fn gemm(name: &'static str, operands: [[u32; 6]; 3]) -> (&'static str, String) {
    let [a, b, c] = operands.map(|operand| {
        operand
            .map(|value| format!("(i32.const {value})"))
            .join(" ")
    });
    let body = format!(
        "(f64.store (i32.const 768) (f64.const 1))
         (call $shape (i32.const 776) {a})
         (call $shape (i32.const 800) {b})
         (f64.store (i32.const 824) (f64.const 0))
         (call $shape (i32.const 832) {c})
         (f64.store (i32.const 0x100000) (f64.const 3))
         (f64.store (i32.const 0x110000) (f64.const 4))
         (call $gemm (i32.const 768))
         (call $number (i64.trunc_f64_s (f64.load (i32.const 0x120000))))"
    );
    (name, body)
}

const A: u32 = 0x10_0000;
const B: u32 = 0x11_0000;
const C: u32 = 0x12_0000;
const ONE: [u32; 4] = [1, 1, 1, 1];

fn operand(shape: [u32; 4], at: u32, length: u32) -> [u32; 6] {
    let [rows, columns, down, across] = shape;
    [rows, columns, down, across, at, length]
}

fn bench(tasks: &[(&str, String)]) -> Bench {
    let tasks: Vec<(&str, &str)> = tasks
        .iter()
        .map(|(name, body)| (*name, body.as_str()))
        .collect();
    Bench::new(&tasks)
}

#[test]
fn kernels_refuse_bad_buffers() {
    let one = |at, length| operand(ONE, at, length);
    let most = u32::MAX;
    let tasks = [
        gemm("right", [one(A, 8), one(B, 8), one(C, 8)]),
        gemm("input_misaligned", [one(A + 4, 8), one(B, 8), one(C, 8)]),
        gemm("output_misaligned", [one(A, 8), one(B, 8), one(C + 1, 8)]),
        gemm("odd_length", [one(A, 8), one(B, 9), one(C, 8)]),
        gemm("empty_input", [one(A, 0), one(B, 8), one(C, 8)]),
        gemm("empty_output", [one(A, 8), one(B, 8), one(C, 0)]),
        gemm("output_is_input", [one(A, 8), one(B, 8), one(A, 8)]),
        gemm("output_overlaps", [one(A, 80), one(B, 8), one(A + 72, 16)]),
        gemm(
            "too_short",
            [
                operand([10, 1, 1, 1], A, 72),
                one(B, 8),
                operand([10, 1, 1, 1], C, 80),
            ],
        ),
        gemm(
            "stride_too_long",
            [
                operand([2, 1, 2, 1], A, 16),
                one(B, 8),
                operand([2, 1, 1, 1], C, 16),
            ],
        ),
        gemm(
            "shapes_differ",
            [operand([2, 1, 1, 1], A, 16), one(B, 8), one(C, 8)],
        ),
        gemm(
            "output_on_itself",
            [
                operand([2, 1, 1, 1], A, 16),
                one(B, 8),
                operand([2, 1, 0, 1], C, 16),
            ],
        ),
        gemm(
            "output_rows_overlap",
            [
                operand([2, 1, 1, 1], A, 16),
                operand([1, 2, 1, 1], B, 16),
                operand([2, 2, 1, 1], C, 64),
            ],
        ),
        gemm(
            "huge_stride",
            [
                operand([2, 1, most, 1], A, 64),
                one(B, 8),
                operand([2, 1, 1, 1], C, 16),
            ],
        ),
        gemm(
            "huge_everything",
            [
                operand([most, most, most, most], A, 64),
                operand([most, most, most, most], B, 64),
                operand([most, most, most, most], C, 64),
            ],
        ),
        gemm(
            "huge_output",
            [
                operand([most, 1, 0, 1], A, 8),
                operand([1, most, 1, 0], B, 8),
                operand([most, most, 1, most], C, 64),
            ],
        ),
        gemm("beyond_memory", [one(A, 8), one(B, 8), one(0x140_0000, 8)]),
        gemm(
            "around_memory",
            [one(0xffff_fff8, 16), one(B, 8), one(C, 8)],
        ),
    ];
    let mut bench = bench(&tasks);
    assert_eq!(bench.number("right", &[]), 12);
    for (name, _) in &tasks[1..] {
        let failure = failure(&bench.call(name, &[]));
        assert_eq!(
            failure.outcome,
            OutcomeKind::Trap(TrapKind::HostCall),
            "{name}: {failure:?}"
        );
        assert_eq!(bench.number("right", &[]), 12, "after {name}");
    }
}

#[test]
fn kernels_do_what_odd_but_sound_shapes_ask() {
    let tasks = [
        // Nothing times nothing.
        gemm(
            "nothing",
            [
                operand([0, 0, 1, 1], A, 0),
                operand([0, 0, 1, 1], B, 0),
                operand([0, 0, 1, 1], C, 0),
            ],
        ),
        // Strides that are never taken may be anything.
        gemm(
            "unused_strides",
            [
                operand([1, 1, u32::MAX, u32::MAX], A, 8),
                operand([1, 1, 0, 0], B, 8),
                operand([1, 1, 0, u32::MAX], C, 8),
            ],
        ),
        // One number, broadcast to 5 x 1000.
        gemm(
            "broadcast",
            [
                operand([5, 1000, 0, 0], A, 8),
                operand([1000, 5, 0, 0], B, 8),
                operand([5, 5, 1, 5], C, 200),
            ],
        ),
        // The same input twice.
        gemm(
            "squared",
            [operand(ONE, A, 8), operand(ONE, A, 8), operand(ONE, C, 8)],
        ),
    ];
    let mut bench = bench(&tasks);
    assert_eq!(bench.number("nothing", &[]), 0);
    assert_eq!(bench.number("unused_strides", &[]), 12);
    assert_eq!(bench.number("broadcast", &[]), 12_000);
    assert_eq!(bench.number("squared", &[]), 9);
}

#[test]
fn potrf_names_the_column_that_is_not_positive() {
    let body = "(f64.store (i32.const 0x100000) (f64.const 4)) (f64.store (i32.const 0x100018) (f64.const -1))
        (call $potrf (i32.const 2) (i32.const 2) (i32.const 1) (i32.const 2) (i32.const 0x100000) (i32.const 32) (i32.const 64))
        (if (i32.eqz (i32.load8_u (i32.const 64))) (then (return (call $number (i64.const -1)))))
        (call $number (i64.load32_u (i32.const 68)))";
    let wide = "(call $potrf (i32.const 2) (i32.const 3) (i32.const 1) (i32.const 2) (i32.const 0x100000) (i32.const 80) (i32.const 64)) (call $ok)";
    let mut bench = Bench::new(&[("potrf", body), ("wide", wide)]);
    assert_eq!(number(&bench.call("potrf", &[])), 1);
    let failure = bench.failure("wide", &[]);
    assert_eq!(
        failure.outcome,
        OutcomeKind::Trap(TrapKind::HostCall),
        "{failure:?}"
    );
}
