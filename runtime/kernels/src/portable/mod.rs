//! The backend that gives the same bits everywhere: packed panels and small tiles.
//!
//! The order of every sum is fixed: an element of C gets, for each slice of [`DEPTH`] terms in
//! turn, `c + alpha * s`, where `s` is the sum of the slice's products from first to last, each
//! product and each sum rounded on its own (no fused multiply-add). Neither the tile's size nor
//! the vector length enters, so 128-bit SIMD in a guest and scalar code on a host agree.

mod micro;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;

pub(crate) use micro::Tile;

use crate::backend::{Backend, assert_shapes};
use crate::gemm::scale;
use crate::{Element, MatMut, MatRef};
use micro::TILE_LIMIT;

/// Terms that are summed before they are added to C.
pub(crate) const DEPTH: usize = 256;
/// Rows of A packed together: 256 KiB of f64, for the second-level cache.
const ROWS: usize = 128;
/// Columns of B packed together.
const COLUMNS: usize = 512;

/// Hand-written kernels on 128-bit vectors in a guest, plain Rust elsewhere; bit-identical.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Backend for Portable {
    fn name() -> String {
        let simd = cfg!(all(target_arch = "wasm32", target_feature = "simd128"));
        String::from(if simd { "portable-simd128" } else { "portable" })
    }

    fn gemm<T: Element>(
        alpha: T,
        a: MatRef<'_, T>,
        b: MatRef<'_, T>,
        beta: T,
        mut c: MatMut<'_, T>,
    ) {
        assert_shapes(&a, &b, &c);
        scale(beta, &mut c);
        if c.column_stride() < c.row_stride() {
            accumulate(alpha, b.transpose(), a.transpose(), &mut c.transpose());
        } else {
            accumulate(alpha, a, b, &mut c);
        }
    }

    #[inline(always)]
    fn vectorize<R>(work: impl FnOnce() -> R) -> R {
        work()
    }
}

/// C += alpha A B, slice by slice.
fn accumulate<T: Element>(alpha: T, a: MatRef<'_, T>, b: MatRef<'_, T>, c: &mut MatMut<'_, T>) {
    let ((rows, columns), depth) = (c.shape(), a.columns());
    let deepest = depth.min(DEPTH);
    let mut packed_a = vec![T::ZERO; rows.min(ROWS).next_multiple_of(T::ROWS) * deepest];
    let mut packed_b = vec![T::ZERO; columns.min(COLUMNS).next_multiple_of(T::COLUMNS) * deepest];
    for column in (0..columns).step_by(COLUMNS) {
        let width = COLUMNS.min(columns - column);
        for start in (0..depth).step_by(DEPTH) {
            let thick = DEPTH.min(depth - start);
            let panel = b.block(start, column, thick, width).transpose();
            pack(panel, T::COLUMNS, &mut packed_b);
            for row in (0..rows).step_by(ROWS) {
                let height = ROWS.min(rows - row);
                pack(a.block(row, start, height, thick), T::ROWS, &mut packed_a);
                let mut target = c.reborrow().block(row, column, height, width);
                tiles(alpha, &packed_a, &packed_b, thick, &mut target);
            }
        }
    }
}

/// Cuts a block into strips of `side` rows and stores each column by column, so that a tile
/// reads its operands in order; the last strip is filled up with zeros.
fn pack<T: Element>(block: MatRef<'_, T>, side: usize, packed: &mut [T]) {
    let (rows, depth) = block.shape();
    let strips = packed.chunks_exact_mut(side * depth);
    for (strip, row) in strips.zip((0..rows).step_by(side)) {
        let height = side.min(rows - row);
        if block.column_stride() == 1 && depth > 1 {
            // Rows are contiguous: read along them.
            for offset in 0..side {
                let slots = strip.iter_mut().skip(offset).step_by(side);
                if offset < height {
                    let values = block.block(row + offset, 0, 1, depth).span();
                    slots.zip(values).for_each(|(slot, &value)| *slot = value);
                } else {
                    slots.for_each(|slot| *slot = T::ZERO);
                }
            }
            continue;
        }
        for (column, slots) in strip.chunks_exact_mut(side).enumerate() {
            if let Some(run) = block.run(row, column, height) {
                slots[..height].copy_from_slice(run);
            } else {
                for (offset, slot) in slots.iter_mut().enumerate().take(height) {
                    *slot = block.get(row + offset, column);
                }
            }
            slots[height..].fill(T::ZERO);
        }
    }
}

/// All tiles of a block of C.
fn tiles<T: Element>(alpha: T, a: &[T], b: &[T], depth: usize, c: &mut MatMut<'_, T>) {
    let (rows, columns) = c.shape();
    let mut sums = [T::ZERO; TILE_LIMIT];
    let strips_b = b.chunks_exact(T::COLUMNS * depth);
    for (strip_b, column) in strips_b.zip((0..columns).step_by(T::COLUMNS)) {
        let width = T::COLUMNS.min(columns - column);
        let strips_a = a.chunks_exact(T::ROWS * depth);
        for (strip_a, row) in strips_a.zip((0..rows).step_by(T::ROWS)) {
            let height = T::ROWS.min(rows - row);
            T::multiply(strip_a, strip_b, &mut sums);
            add(
                alpha,
                &sums,
                &mut c.reborrow().block(row, column, height, width),
            );
        }
    }
}

/// Adds the sums of a tile to C.
#[inline(always)]
fn add<T: Element>(alpha: T, sums: &[T; TILE_LIMIT], c: &mut MatMut<'_, T>) {
    let (height, width) = c.shape();
    for (column, sums) in sums.chunks_exact(T::ROWS).enumerate().take(width) {
        if let Some(run) = c.run_mut(0, column, height) {
            for (value, &sum) in run.iter_mut().zip(sums) {
                *value += alpha * sum;
            }
        } else {
            for (row, &sum) in sums.iter().enumerate().take(height) {
                c.set(row, column, c.get(row, column) + alpha * sum);
            }
        }
    }
}
