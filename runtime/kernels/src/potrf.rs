//! Cholesky factorisation.

use crate::meter::{Meter, product_flops};
use crate::{Backend, Cancelled, Element, KernelError, MatMut, MatRef, syrk, trsm};

/// Columns factorised without a product.
const BASE: usize = 32;

/// The lower triangular L with L Lᵀ = A, written over the lower triangle of A; the strict upper
/// triangle is neither read nor written.
///
/// `check` is called at least every few milliseconds.
pub fn potrf<B: Backend, T: Element>(
    a: MatMut<'_, T>,
    check: &mut dyn FnMut() -> Result<(), Cancelled>,
) -> Result<(), KernelError> {
    if a.rows() != a.columns() {
        return Err(KernelError::Mismatch {
            kernel: "potrf",
            shapes: vec![a.shape()],
        });
    }
    let mut meter = Meter::start(check)?;
    factorise::<B, T>(a, 0, &mut meter)
}

/// [`potrf`] by halves; `start` is the column of the whole matrix at which `a` begins.
fn factorise<B: Backend, T: Element>(
    mut a: MatMut<'_, T>,
    start: usize,
    meter: &mut Meter<'_>,
) -> Result<(), KernelError> {
    let size = a.rows();
    if size <= BASE {
        meter.spend(product_flops(size, size, size))?;
        return B::vectorize(
            #[inline(always)]
            || base(&mut a, start),
        );
    }
    let left = size.div_ceil(2).next_multiple_of(BASE).min(size - 1);
    let right = size - left;
    factorise::<B, T>(a.reborrow().block(0, 0, left, left), start, meter)?;
    let factor = a.as_ref().block(0, 0, left, left).to_column_major();
    let below = a.reborrow().block(left, 0, right, left);
    trsm::solve::<B, T>(view(&factor, left, left), below, meter)?;
    let mut rest = match a.split_at_column(left) {
        Ok((solved, rest)) => {
            let panel = solved.as_ref().block(left, 0, right, left);
            let mut rest = rest.block(left, 0, right, right);
            syrk::update::<B, T>(-T::ONE, panel, T::ONE, rest.reborrow(), meter)?;
            rest
        }
        Err(a) => {
            let panel = a.as_ref().block(left, 0, right, left).to_column_major();
            let mut rest = a.block(left, left, right, right);
            let panel = view(&panel, right, left);
            syrk::update::<B, T>(-T::ONE, panel, T::ONE, rest.reborrow(), meter)?;
            rest
        }
    };
    factorise::<B, T>(rest.reborrow(), start + left, meter)
}

/// A column-major copy as a matrix.
fn view<T>(copy: &[T], rows: usize, columns: usize) -> MatRef<'_, T> {
    match MatRef::column_major(copy, rows, columns) {
        Ok(view) => view,
        Err(_) => unreachable!("the copy has the size of its block"),
    }
}

/// Factorises a small block, column by column, in columns of fixed length.
#[inline(always)]
fn base<T: Element>(a: &mut MatMut<'_, T>, start: usize) -> Result<(), KernelError> {
    let size = a.rows().min(BASE);
    let mut columns = [[T::ZERO; BASE]; BASE];
    for (index, column) in columns.iter_mut().enumerate().take(size) {
        for (row, value) in column.iter_mut().enumerate().take(size).skip(index) {
            *value = a.get(row, index);
        }
    }
    for index in 0..size {
        let (before, rest) = columns.split_at_mut(index);
        let mut sums = rest[0];
        for known in before.iter() {
            let factor = known[index];
            for (sum, &value) in sums.iter_mut().zip(known) {
                *sum -= value * factor;
            }
        }
        let pivot = sums[index];
        if !(pivot > T::ZERO && pivot.is_finite()) {
            let column = start + index;
            return Err(KernelError::NotPositiveDefinite { column });
        }
        let root = pivot.sqrt();
        let reciprocal = T::ONE / root;
        for sum in &mut sums {
            *sum *= reciprocal;
        }
        sums[index] = root;
        rest[0] = sums;
    }
    for (index, column) in columns.iter().enumerate().take(size) {
        for (row, &value) in column.iter().enumerate().take(size).skip(index) {
            a.set(row, index, value);
        }
    }
    Ok(())
}
