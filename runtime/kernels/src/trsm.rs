//! Triangular solve from the right.

use crate::gemm::product;
use crate::meter::{Meter, product_flops};
use crate::{Backend, Cancelled, Element, KernelError, MatMut, MatRef};

/// Columns solved by substitution.
const BASE: usize = 32;
/// Rows substituted together: the vector length of the inner loop.
const LANES: usize = 32;

/// X with X Lᵀ = B, written over B; L is lower triangular, its strict upper triangle is not read.
///
/// Columns are scaled by the reciprocals of L's diagonal. A zero there gives infinities, as in
/// BLAS. `check` is called at least every few milliseconds.
pub fn trsm<B: Backend, T: Element>(
    lower: MatRef<'_, T>,
    b: MatMut<'_, T>,
    check: &mut dyn FnMut() -> Result<(), Cancelled>,
) -> Result<(), KernelError> {
    let size = b.columns();
    if lower.shape() != (size, size) {
        return Err(KernelError::Mismatch {
            kernel: "trsm",
            shapes: vec![lower.shape(), b.shape()],
        });
    }
    let mut meter = Meter::start(check)?;
    Ok(solve::<B, T>(lower, b, &mut meter)?)
}

/// [`trsm`] on shapes that fit: solves the left half, subtracts its part, solves the right half.
pub(crate) fn solve<B: Backend, T: Element>(
    lower: MatRef<'_, T>,
    b: MatMut<'_, T>,
    meter: &mut Meter<'_>,
) -> Result<(), Cancelled> {
    let (rows, size) = b.shape();
    if rows == 0 {
        return Ok(());
    }
    if size <= BASE {
        return substitute::<B, T>(lower, b, meter);
    }
    let left = size.div_ceil(2).next_multiple_of(BASE).min(size - 1);
    let right = size - left;
    let first = lower.block(0, 0, left, left);
    let corner = lower.block(left, 0, right, left).transpose();
    let second = lower.block(left, left, right, right);
    match b.split_at_column(left) {
        Ok((mut solved, mut rest)) => {
            solve::<B, T>(first, solved.reborrow(), meter)?;
            let x = solved.as_ref();
            product::<B, T>(-T::ONE, x, corner, T::ONE, rest.reborrow(), meter)?;
            solve::<B, T>(second, rest, meter)
        }
        Err(mut b) => {
            solve::<B, T>(first, b.reborrow().block(0, 0, rows, left), meter)?;
            let copy = b.as_ref().block(0, 0, rows, left).to_column_major();
            let Ok(x) = MatRef::column_major(&copy, rows, left) else {
                unreachable!("the copy has the size of the block");
            };
            let mut rest = b.block(0, left, rows, right);
            product::<B, T>(-T::ONE, x, corner, T::ONE, rest.reborrow(), meter)?;
            solve::<B, T>(second, rest, meter)
        }
    }
}

/// A lower triangle row by row, with the reciprocals of its diagonal.
struct Triangle<T> {
    rows: [[T; BASE]; BASE],
    reciprocals: [T; BASE],
}

/// Solves a few columns by substitution, [`LANES`] rows at a time.
fn substitute<B: Backend, T: Element>(
    lower: MatRef<'_, T>,
    mut b: MatMut<'_, T>,
    meter: &mut Meter<'_>,
) -> Result<(), Cancelled> {
    let (rows, size) = b.shape();
    let mut triangle = Triangle {
        rows: [[T::ZERO; BASE]; BASE],
        reciprocals: [T::ONE; BASE],
    };
    for row in 0..size {
        for column in 0..row {
            triangle.rows[row][column] = lower.get(row, column);
        }
        triangle.reciprocals[row] = T::ONE / lower.get(row, row);
    }
    let mut lanes = [[T::ZERO; LANES]; BASE];
    for row in (0..rows).step_by(LANES) {
        let height = LANES.min(rows - row);
        meter.spend(product_flops(height, size, size))?;
        let mut strip = b.reborrow().block(row, 0, height, size);
        B::vectorize(
            #[inline(always)]
            || {
                load(&strip, &mut lanes);
                eliminate(&triangle, &mut lanes[..size]);
                store(&lanes, &mut strip);
            },
        );
    }
    Ok(())
}

/// Forward substitution on columns of [`LANES`] elements.
#[inline(always)]
fn eliminate<T: Element>(triangle: &Triangle<T>, columns: &mut [[T; LANES]]) {
    for index in 0..columns.len().min(BASE) {
        let (before, rest) = columns.split_at_mut(index);
        let mut sums = rest[0];
        for (known, &factor) in before.iter().zip(&triangle.rows[index]) {
            for (sum, &value) in sums.iter_mut().zip(known) {
                *sum -= value * factor;
            }
        }
        for sum in &mut sums {
            *sum *= triangle.reciprocals[index];
        }
        rest[0] = sums;
    }
}

/// Copies a strip of at most [`LANES`] rows into columns of fixed length.
#[inline(always)]
fn load<T: Element>(strip: &MatMut<'_, T>, columns: &mut [[T; LANES]; BASE]) {
    let view = strip.as_ref();
    let (height, size) = view.shape();
    if view.row_stride() == 1 {
        for (index, column) in columns.iter_mut().enumerate().take(size) {
            if let Some(run) = view.run(0, index, height) {
                column[..height].copy_from_slice(run);
            }
        }
        return;
    }
    for row in 0..height {
        if let Some(run) = view.transpose().run(0, row, size) {
            for (column, &value) in columns.iter_mut().zip(run) {
                column[row] = value;
            }
        } else {
            for (index, column) in columns.iter_mut().enumerate().take(size) {
                column[row] = view.get(row, index);
            }
        }
    }
}

/// The way back of [`load`].
#[inline(always)]
fn store<T: Element>(columns: &[[T; LANES]; BASE], strip: &mut MatMut<'_, T>) {
    let (height, size) = strip.shape();
    if strip.row_stride() == 1 {
        for (index, column) in columns.iter().enumerate().take(size) {
            if let Some(run) = strip.run_mut(0, index, height) {
                run.copy_from_slice(&column[..height]);
            }
        }
        return;
    }
    for row in 0..height {
        if let Some(run) = strip.reborrow().transpose().run_mut(0, row, size) {
            for (column, value) in columns.iter().zip(run) {
                *value = column[row];
            }
        } else {
            for (index, column) in columns.iter().enumerate().take(size) {
                strip.set(row, index, column[row]);
            }
        }
    }
}
