//! General matrix product in cancellable pieces.

use crate::meter::{BUDGET_FLOPS, Meter, product_flops};
use crate::{Backend, Cancelled, Element, KernelError, MatMut, MatRef};

/// Depth of a piece: a multiple of the portable backend's own, so that cutting changes no bit.
const PIECE_DEPTH: usize = 3 * crate::portable::DEPTH;
/// Rows of a piece; its columns follow from the budget.
const PIECE_ROWS: usize = 448;

/// C = alpha A B + beta C. C is not read when beta is zero. Transposes are views.
///
/// `check` is called at least every few milliseconds.
pub fn gemm<B: Backend, T: Element>(
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    beta: T,
    c: MatMut<'_, T>,
    check: &mut dyn FnMut() -> Result<(), Cancelled>,
) -> Result<(), KernelError> {
    if (a.rows(), b.columns()) != c.shape() || a.columns() != b.rows() {
        return Err(KernelError::Mismatch {
            kernel: "gemm",
            shapes: vec![a.shape(), b.shape(), c.shape()],
        });
    }
    let mut meter = Meter::start(check)?;
    Ok(product::<B, T>(alpha, a, b, beta, c, &mut meter)?)
}

/// [`gemm()`] of 64-bit numbers.
pub fn gemm_f64<B: Backend>(
    alpha: f64,
    a: MatRef<'_, f64>,
    b: MatRef<'_, f64>,
    beta: f64,
    c: MatMut<'_, f64>,
    check: &mut dyn FnMut() -> Result<(), Cancelled>,
) -> Result<(), KernelError> {
    gemm::<B, f64>(alpha, a, b, beta, c, check)
}

/// [`gemm()`] of 32-bit numbers.
pub fn gemm_f32<B: Backend>(
    alpha: f32,
    a: MatRef<'_, f32>,
    b: MatRef<'_, f32>,
    beta: f32,
    c: MatMut<'_, f32>,
    check: &mut dyn FnMut() -> Result<(), Cancelled>,
) -> Result<(), KernelError> {
    gemm::<B, f32>(alpha, a, b, beta, c, check)
}

/// [`gemm()`] on shapes that fit, for the other kernels too.
pub(crate) fn product<B: Backend, T: Element>(
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    beta: T,
    c: MatMut<'_, T>,
    meter: &mut Meter<'_>,
) -> Result<(), Cancelled> {
    // Backends like columns; Cᵀ = Bᵀ Aᵀ sums each element in the same order.
    if c.column_stride() < c.row_stride() {
        return pieces::<B, T>(
            alpha,
            b.transpose(),
            a.transpose(),
            beta,
            c.transpose(),
            meter,
        );
    }
    pieces::<B, T>(alpha, a, b, beta, c, meter)
}

/// Cuts a product that is over the budget into pieces within it.
fn pieces<B: Backend, T: Element>(
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    beta: T,
    mut c: MatMut<'_, T>,
    meter: &mut Meter<'_>,
) -> Result<(), Cancelled> {
    let ((rows, columns), depth) = (c.shape(), a.columns());
    let whole = product_flops(rows, columns, depth);
    if whole <= BUDGET_FLOPS {
        meter.spend(whole)?;
        multiply::<B, T>(alpha, a, b, beta, c);
        return Ok(());
    }
    let piece_rows = even(rows, PIECE_ROWS);
    let per_column = product_flops(piece_rows, 1, depth.min(PIECE_DEPTH));
    let piece_columns = even(columns, (BUDGET_FLOPS / per_column).max(1) as usize);
    for row in (0..rows).step_by(piece_rows) {
        let height = piece_rows.min(rows - row);
        for column in (0..columns).step_by(piece_columns) {
            let width = piece_columns.min(columns - column);
            let mut scale = beta;
            let mut start = 0;
            loop {
                let thick = PIECE_DEPTH.min(depth - start);
                meter.spend(product_flops(height, width, thick))?;
                multiply::<B, T>(
                    alpha,
                    a.block(row, start, height, thick),
                    b.block(start, column, thick, width),
                    scale,
                    c.reborrow().block(row, column, height, width),
                );
                (scale, start) = (T::ONE, start + thick);
                if start >= depth {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// The size of equal parts of `total`, none larger than `limit` and, where that leaves room, a
/// multiple of 16.
fn even(total: usize, limit: usize) -> usize {
    let parts = total.div_ceil(limit);
    let part = total.div_ceil(parts);
    part.next_multiple_of(16).min(limit.max(part))
}

/// One piece; a product over nothing only scales C.
fn multiply<B: Backend, T: Element>(
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    beta: T,
    mut c: MatMut<'_, T>,
) {
    let (rows, columns) = c.shape();
    if rows == 0 || columns == 0 {
        return;
    }
    if a.columns() == 0 || alpha == T::ZERO {
        scale(beta, &mut c);
    } else {
        B::gemm(alpha, a, b, beta, c);
    }
}

/// C = beta C, without reading it when beta is zero.
pub(crate) fn scale<T: Element>(beta: T, c: &mut MatMut<'_, T>) {
    if beta == T::ONE {
        return;
    }
    let scaled = |old: T| if beta == T::ZERO { T::ZERO } else { beta * old };
    let (rows, columns) = c.shape();
    for column in 0..columns {
        if let Some(run) = c.run_mut(0, column, rows) {
            for value in run {
                *value = scaled(*value);
            }
        } else {
            for row in 0..rows {
                c.set(row, column, scaled(c.get(row, column)));
            }
        }
    }
}
