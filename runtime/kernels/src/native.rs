//! The backend of the host: the `gemm` crate on one thread.
#![expect(unsafe_code, reason = "the gemm crate takes raw pointers")]

use gemm::Parallelism;

use crate::backend::{Backend, assert_shapes};
use crate::{Element, MatMut, MatRef};

/// The `gemm` crate with the processor's best instruction set, on the calling thread.
///
/// Results depend on the instruction set in their last bits.
#[derive(Clone, Copy, Debug)]
pub struct Native;

impl Backend for Native {
    fn name() -> String {
        let set = format!("{:?}", pulp::Arch::new());
        let set = set.split('(').next().unwrap_or_default().to_lowercase();
        format!("native-{set}")
    }

    fn gemm<T: Element>(
        alpha: T,
        a: MatRef<'_, T>,
        b: MatRef<'_, T>,
        beta: T,
        mut c: MatMut<'_, T>,
    ) {
        assert_shapes(&a, &b, &c);
        let (rows, columns) = c.shape();
        let (row_stride, column_stride) = (c.row_stride(), c.column_stride());
        // SAFETY: the views guarantee (checked when they are made, `tests/views.rs`) that every
        // (i, j) within their shapes lies in their slices, that strides fit isize, and that no
        // two positions of C are one element; the shapes fit each other (asserted above); the
        // borrows keep A and B apart from C. `T` is f32 or f64, the trait being sealed.
        unsafe {
            gemm::gemm(
                rows,
                columns,
                a.columns(),
                c.span_mut().as_mut_ptr(),
                column_stride.cast_signed(),
                row_stride.cast_signed(),
                beta != T::ZERO,
                a.span().as_ptr(),
                a.column_stride().cast_signed(),
                a.row_stride().cast_signed(),
                b.span().as_ptr(),
                b.column_stride().cast_signed(),
                b.row_stride().cast_signed(),
                beta,
                alpha,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }

    #[inline(always)]
    fn vectorize<R>(work: impl FnOnce() -> R) -> R {
        pulp::Arch::new().dispatch(work)
    }
}
