//! Symmetric rank-k update.

use crate::gemm::product;
use crate::meter::Meter;
use crate::{Backend, Cancelled, Element, KernelError, MatMut, MatRef};

/// Side of the diagonal blocks, computed in full and then halved.
const BASE: usize = 32;

/// C = alpha A Aᵀ + beta C, lower triangle only; the strict upper triangle is not touched. C is
/// not read when beta is zero.
///
/// `check` is called at least every few milliseconds.
pub fn syrk<B: Backend, T: Element>(
    alpha: T,
    a: MatRef<'_, T>,
    beta: T,
    c: MatMut<'_, T>,
    check: &mut dyn FnMut() -> Result<(), Cancelled>,
) -> Result<(), KernelError> {
    if (a.rows(), a.rows()) != c.shape() {
        return Err(KernelError::Mismatch {
            kernel: "syrk",
            shapes: vec![a.shape(), c.shape()],
        });
    }
    let mut meter = Meter::start(check)?;
    Ok(update::<B, T>(alpha, a, beta, c, &mut meter)?)
}

/// [`syrk`] on shapes that fit: halves C until a block is small.
pub(crate) fn update<B: Backend, T: Element>(
    alpha: T,
    a: MatRef<'_, T>,
    beta: T,
    mut c: MatMut<'_, T>,
    meter: &mut Meter<'_>,
) -> Result<(), Cancelled> {
    let (size, depth) = a.shape();
    if size <= BASE {
        return diagonal::<B, T>(alpha, a, beta, c, meter);
    }
    let top = size.div_ceil(2).next_multiple_of(BASE / 4).min(size - 1);
    let bottom = size - top;
    let upper = a.block(0, 0, top, depth);
    let lower = a.block(top, 0, bottom, depth);
    update::<B, T>(
        alpha,
        upper,
        beta,
        c.reborrow().block(0, 0, top, top),
        meter,
    )?;
    let below = c.reborrow().block(top, 0, bottom, top);
    product::<B, T>(alpha, lower, upper.transpose(), beta, below, meter)?;
    update::<B, T>(alpha, lower, beta, c.block(top, top, bottom, bottom), meter)
}

/// A block on the diagonal: the full product aside, then its lower triangle into C.
fn diagonal<B: Backend, T: Element>(
    alpha: T,
    a: MatRef<'_, T>,
    beta: T,
    mut c: MatMut<'_, T>,
    meter: &mut Meter<'_>,
) -> Result<(), Cancelled> {
    let size = a.rows();
    let mut full = [T::ZERO; BASE * BASE];
    let Ok(square) = MatMut::column_major(&mut full[..size * size], size, size) else {
        unreachable!("the buffer has the size of the block");
    };
    product::<B, T>(alpha, a, a.transpose(), T::ZERO, square, meter)?;
    for column in 0..size {
        for row in column..size {
            let new = full[column * size + row];
            let sum = if beta == T::ZERO {
                new
            } else {
                new + beta * c.get(row, column)
            };
            c.set(row, column, sum);
        }
    }
    Ok(())
}
