//! The tiles with 128-bit WebAssembly vectors.
//!
//! Four terms per turn of the loop: a guest compiled with interruption checks pays for one per
//! turn, and the check spills all eight accumulators.

use std::arch::wasm32::{
    f32x4, f32x4_add, f32x4_extract_lane, f32x4_mul, f32x4_splat, f64x2, f64x2_add,
    f64x2_extract_lane, f64x2_mul, f64x2_splat, v128,
};

use super::micro::TILE_LIMIT;

/// Terms per turn of the inner loop.
const UNROLL: usize = 4;

/// Two vectors of four columns each.
type Sums = [[v128; 2]; 4];

/// 4x4 numbers of 64 bits.
pub(super) fn multiply_f64(a: &[f64], b: &[f64], out: &mut [f64; TILE_LIMIT]) {
    let (a, _) = a.as_chunks::<4>();
    let (b, _) = b.as_chunks::<4>();
    let (turns_a, rest_a) = a.as_chunks::<UNROLL>();
    let (turns_b, rest_b) = b.as_chunks::<UNROLL>();
    let mut sums: Sums = [[f64x2_splat(0.0); 2]; 4];
    for (a, b) in turns_a.iter().zip(turns_b) {
        term_f64(&mut sums, &a[0], &b[0]);
        term_f64(&mut sums, &a[1], &b[1]);
        term_f64(&mut sums, &a[2], &b[2]);
        term_f64(&mut sums, &a[3], &b[3]);
    }
    for (a, b) in rest_a.iter().zip(rest_b) {
        term_f64(&mut sums, a, b);
    }
    for (target, column) in out.chunks_exact_mut(4).zip(&sums) {
        for (pair, &vector) in target.chunks_exact_mut(2).zip(column) {
            pair[0] = f64x2_extract_lane::<0>(vector);
            pair[1] = f64x2_extract_lane::<1>(vector);
        }
    }
}

/// Adds one term to all sums.
#[inline(always)]
fn term_f64(sums: &mut Sums, a: &[f64; 4], b: &[f64; 4]) {
    let low = f64x2(a[0], a[1]);
    let high = f64x2(a[2], a[3]);
    for (column, &factor) in sums.iter_mut().zip(b) {
        let factor = f64x2_splat(factor);
        column[0] = f64x2_add(column[0], f64x2_mul(low, factor));
        column[1] = f64x2_add(column[1], f64x2_mul(high, factor));
    }
}

/// 8x4 numbers of 32 bits.
pub(super) fn multiply_f32(a: &[f32], b: &[f32], out: &mut [f32; TILE_LIMIT]) {
    let (a, _) = a.as_chunks::<8>();
    let (b, _) = b.as_chunks::<4>();
    let (turns_a, rest_a) = a.as_chunks::<UNROLL>();
    let (turns_b, rest_b) = b.as_chunks::<UNROLL>();
    let mut sums: Sums = [[f32x4_splat(0.0); 2]; 4];
    for (a, b) in turns_a.iter().zip(turns_b) {
        term_f32(&mut sums, &a[0], &b[0]);
        term_f32(&mut sums, &a[1], &b[1]);
        term_f32(&mut sums, &a[2], &b[2]);
        term_f32(&mut sums, &a[3], &b[3]);
    }
    for (a, b) in rest_a.iter().zip(rest_b) {
        term_f32(&mut sums, a, b);
    }
    for (target, column) in out.chunks_exact_mut(8).zip(&sums) {
        for (four, &vector) in target.chunks_exact_mut(4).zip(column) {
            four[0] = f32x4_extract_lane::<0>(vector);
            four[1] = f32x4_extract_lane::<1>(vector);
            four[2] = f32x4_extract_lane::<2>(vector);
            four[3] = f32x4_extract_lane::<3>(vector);
        }
    }
}

/// Adds one term to all sums.
#[inline(always)]
fn term_f32(sums: &mut Sums, a: &[f32; 8], b: &[f32; 4]) {
    let low = f32x4(a[0], a[1], a[2], a[3]);
    let high = f32x4(a[4], a[5], a[6], a[7]);
    for (column, &factor) in sums.iter_mut().zip(b) {
        let factor = f32x4_splat(factor);
        column[0] = f32x4_add(column[0], f32x4_mul(low, factor));
        column[1] = f32x4_add(column[1], f32x4_mul(high, factor));
    }
}
