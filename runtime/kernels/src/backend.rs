//! Who multiplies matrices.

use crate::{Element, MatMut, MatRef};

/// A way to multiply matrices; everything else in this crate is panels over it.
pub trait Backend {
    /// Name as shown in records, with the instruction set in use.
    fn name() -> String;

    /// C = alpha A B + beta C, at once and without a cancellation check. C is not read when
    /// beta is zero.
    ///
    /// # Panics
    /// When the shapes do not fit.
    fn gemm<T: Element>(alpha: T, a: MatRef<'_, T>, b: MatRef<'_, T>, beta: T, c: MatMut<'_, T>);

    /// Runs `work`, compiled for the best instruction set that the backend may use as far as it
    /// is inlined.
    fn vectorize<R>(work: impl FnOnce() -> R) -> R;
}

/// Panics when C = A B makes no sense; the public kernels have checked it before.
pub(crate) fn assert_shapes<T>(a: &MatRef<'_, T>, b: &MatRef<'_, T>, c: &MatMut<'_, T>) {
    assert_eq!(a.rows(), c.rows(), "rows of A and C");
    assert_eq!(b.columns(), c.columns(), "columns of B and C");
    assert_eq!(a.columns(), b.rows(), "columns of A and rows of B");
}
