//! Dense linear algebra on the app's own memory, in place.
//!
//! The run chooses who computes: the host, at native speed, or the guest itself, slower and with
//! the same bits on every machine ([`kernel_mode`](crate::kernel_mode)). So it is without a sandbox;
//! but the tests of an app outside of this workspace have the guest's code alone. Every function ends
//! the task when the attempt is cancelled.
//!
//! ```
//! use taps::{Array, kernels};
//!
//! let a = Array::<f64>::from_fn_2d(2, 3, |row, column| (row * 3 + column) as f64);
//! let mut c = Array::<f64>::zeros(&[2, 2]);
//! kernels::gemm(1.0, a.view(), a.view().transpose(), 0.0, c.view_mut())?;
//! assert_eq!(c.as_slice(), &[5.0, 14.0, 14.0, 50.0]);
//! # Ok::<(), taps::Error>(())
//! ```

use taps_kernels::{KernelError, MatMut, MatRef, ShapeError};

use crate::backend::{Backend as _, Current};
use crate::{Array, Element, Error, Result};

/// Shape and strides of a matrix within a buffer. Strides count elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl Layout {
    fn transpose(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    /// Position of the first element of a block, and the block's layout.
    ///
    /// # Panics
    /// If the block is not within the matrix.
    fn block(self, row: usize, column: usize, rows: usize, columns: usize) -> (usize, Self) {
        assert!(
            row + rows <= self.rows && column + columns <= self.columns,
            "block {row}+{rows}, {column}+{columns} of a {}x{} matrix",
            self.rows,
            self.columns
        );
        let layout = Self {
            rows,
            columns,
            ..self
        };
        if rows == 0 || columns == 0 {
            return (0, layout);
        }
        (row * self.row_stride + column * self.column_stride, layout)
    }
}

/// A matrix to read: a buffer with a shape and strides.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) layout: Layout,
}

/// A matrix to read and write.
#[derive(Debug)]
pub struct MatrixMut<'a, T> {
    pub(crate) data: &'a mut [T],
    pub(crate) layout: Layout,
}

impl<'a, T> Matrix<'a, T> {
    /// A view of rows one after another.
    ///
    /// # Panics
    /// If `data` has not as many elements.
    pub fn row_major(data: &'a [T], rows: usize, columns: usize) -> Self {
        assert_eq!(
            data.len(),
            rows * columns,
            "elements of a {rows}x{columns} matrix"
        );
        let layout = Layout {
            rows,
            columns,
            row_stride: columns,
            column_stride: 1,
        };
        Self { data, layout }
    }

    /// The transpose, of the same elements.
    #[must_use]
    pub fn transpose(self) -> Self {
        Self {
            layout: self.layout.transpose(),
            ..self
        }
    }

    /// The block of `rows` x `columns` whose first element is (`row`, `column`).
    ///
    /// # Panics
    /// If it is not within the matrix.
    #[must_use]
    pub fn block(self, row: usize, column: usize, rows: usize, columns: usize) -> Self {
        let (start, layout) = self.layout.block(row, column, rows, columns);
        Self {
            data: &self.data[start..],
            layout,
        }
    }
}

impl<'a, T> MatrixMut<'a, T> {
    /// A view of rows one after another.
    ///
    /// # Panics
    /// If `data` has not as many elements.
    pub fn row_major(data: &'a mut [T], rows: usize, columns: usize) -> Self {
        let layout = Matrix::row_major(data, rows, columns).layout;
        Self { data, layout }
    }

    /// The transpose, of the same elements.
    #[must_use]
    pub fn transpose(self) -> Self {
        Self {
            layout: self.layout.transpose(),
            ..self
        }
    }

    /// The block of `rows` x `columns` whose first element is (`row`, `column`).
    ///
    /// # Panics
    /// If it is not within the matrix.
    #[must_use]
    pub fn block(self, row: usize, column: usize, rows: usize, columns: usize) -> Self {
        let (start, layout) = self.layout.block(row, column, rows, columns);
        Self {
            data: &mut self.data[start..],
            layout,
        }
    }
}

impl<T: Element> Array<T> {
    /// The array as a matrix for [`kernels`](crate::kernels).
    pub fn view(&self) -> Matrix<'_, T> {
        Matrix::row_major(self.as_slice(), self.rows(), self.columns())
    }

    /// The array as a matrix to be written by [`kernels`](crate::kernels).
    pub fn view_mut(&mut self) -> MatrixMut<'_, T> {
        let (rows, columns) = (self.rows(), self.columns());
        MatrixMut::row_major(self.as_mut_slice(), rows, columns)
    }
}

fn shape_error(error: ShapeError) -> Error {
    Error::app("ShapeError", error)
}

fn kernel_error(error: KernelError) -> Error {
    match error {
        KernelError::NotPositiveDefinite { .. } => Error::app("NotPositiveDefinite", error),
        KernelError::Cancelled(_) => Current::end_cancelled(),
        KernelError::Mismatch { .. } => Error::app("ShapeError", error),
    }
}

impl<'a, T> Matrix<'a, T> {
    fn checked(self) -> Result<MatRef<'a, T>> {
        let Layout {
            rows,
            columns,
            row_stride,
            column_stride,
        } = self.layout;
        MatRef::new(self.data, rows, columns, row_stride, column_stride).map_err(shape_error)
    }
}

impl<T> MatrixMut<'_, T> {
    fn checked(&mut self) -> Result<MatMut<'_, T>> {
        let Layout {
            rows,
            columns,
            row_stride,
            column_stride,
        } = self.layout;
        MatMut::new(self.data, rows, columns, row_stride, column_stride).map_err(shape_error)
    }
}

/// Asked by guest and native kernels every few milliseconds.
fn check() -> Result<(), taps_kernels::Cancelled> {
    if Current::is_cancelled() {
        return Err(taps_kernels::Cancelled);
    }
    Ok(())
}

/// Whether the host computes.
fn on_host() -> bool {
    crate::kernel_mode() == crate::KernelMode::Host
}

/// Computes here: in a guest with the portable kernels; without a sandbox with those that the run asks
/// for, so that guest kernels give the same bits in both.
#[cfg(target_arch = "wasm32")]
macro_rules! compute {
    ($kernel:ident::<$number:ty>($($argument:expr),*)) => {
        taps_kernels::$kernel::<taps_kernels::Portable, $number>($($argument),*)
    };
}

#[cfg(not(target_arch = "wasm32"))]
macro_rules! compute {
    ($kernel:ident::<$number:ty>($($argument:expr),*)) => {
        if on_host() {
            taps_kernels::$kernel::<taps_kernels::Native, $number>($($argument),*)
        } else {
            taps_kernels::$kernel::<taps_kernels::Portable, $number>($($argument),*)
        }
    };
}

fn mismatch(kernel: &'static str, layouts: &[Layout]) -> Error {
    kernel_error(KernelError::Mismatch {
        kernel,
        shapes: layouts
            .iter()
            .map(|layout| (layout.rows, layout.columns))
            .collect(),
    })
}

/// Numbers that matrices can hold: `f64` and `f32`.
pub trait Scalar: Element + taps_kernels::Element {
    #[doc(hidden)]
    #[cfg(target_arch = "wasm32")]
    fn host_gemm(
        alpha: Self,
        a: Matrix<'_, Self>,
        b: Matrix<'_, Self>,
        beta: Self,
        c: &mut MatrixMut<'_, Self>,
    );
}

impl Scalar for f64 {
    #[cfg(target_arch = "wasm32")]
    fn host_gemm(
        alpha: f64,
        a: Matrix<'_, f64>,
        b: Matrix<'_, f64>,
        beta: f64,
        c: &mut MatrixMut<'_, f64>,
    ) {
        crate::backend::host_kernels::gemm_f64(alpha, a, b, beta, c);
    }
}

impl Scalar for f32 {
    #[cfg(target_arch = "wasm32")]
    fn host_gemm(
        alpha: f32,
        a: Matrix<'_, f32>,
        b: Matrix<'_, f32>,
        beta: f32,
        c: &mut MatrixMut<'_, f32>,
    ) {
        crate::backend::host_kernels::gemm_f32(alpha, a, b, beta, c);
    }
}

/// C = alpha A B + beta C. Transposes are views. C is not read when beta is zero.
pub fn gemm<T: Scalar>(
    alpha: T,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    beta: T,
    mut c: MatrixMut<'_, T>,
) -> Result<()> {
    let fits = a.layout.rows == c.layout.rows
        && b.layout.columns == c.layout.columns
        && a.layout.columns == b.layout.rows;
    if !fits {
        return Err(mismatch("gemm", &[a.layout, b.layout, c.layout]));
    }
    let (left, right) = (a.checked()?, b.checked()?);
    let product = c.checked()?;
    #[cfg(target_arch = "wasm32")]
    if on_host() {
        T::host_gemm(alpha, a, b, beta, &mut c);
        return Ok(());
    }
    compute!(gemm::<T>(alpha, left, right, beta, product, &mut check)).map_err(kernel_error)
}

/// C = alpha A Aᵀ + beta C, lower triangle only; the strict upper triangle is left alone.
pub fn syrk(alpha: f64, a: Matrix<'_, f64>, beta: f64, mut c: MatrixMut<'_, f64>) -> Result<()> {
    if c.layout.rows != a.layout.rows || c.layout.columns != a.layout.rows {
        return Err(mismatch("syrk", &[a.layout, c.layout]));
    }
    let left = a.checked()?;
    let product = c.checked()?;
    #[cfg(target_arch = "wasm32")]
    if on_host() {
        crate::backend::host_kernels::syrk(alpha, a, beta, &mut c);
        return Ok(());
    }
    compute!(syrk::<f64>(alpha, left, beta, product, &mut check)).map_err(kernel_error)
}

/// X with X Lᵀ = B, L lower triangular, written over B. The strict upper triangle of L is not
/// read.
pub fn trsm(lower: Matrix<'_, f64>, mut b: MatrixMut<'_, f64>) -> Result<()> {
    if lower.layout.rows != b.layout.columns || lower.layout.columns != b.layout.columns {
        return Err(mismatch("trsm", &[lower.layout, b.layout]));
    }
    let triangle = lower.checked()?;
    let solution = b.checked()?;
    #[cfg(target_arch = "wasm32")]
    if on_host() {
        crate::backend::host_kernels::trsm(lower, &mut b);
        return Ok(());
    }
    compute!(trsm::<f64>(triangle, solution, &mut check)).map_err(kernel_error)
}

/// Lower Cholesky factor over the lower triangle of A; the strict upper triangle is left alone.
/// An error of kind `NotPositiveDefinite` names the first column whose pivot is not positive.
pub fn potrf(mut a: MatrixMut<'_, f64>) -> Result<()> {
    if a.layout.rows != a.layout.columns {
        return Err(mismatch("potrf", &[a.layout]));
    }
    let factor = a.checked()?;
    #[cfg(target_arch = "wasm32")]
    if on_host() {
        let pivots = crate::backend::host_kernels::potrf(&mut a);
        return pivots.map_err(|column| kernel_error(KernelError::NotPositiveDefinite { column }));
    }
    compute!(potrf::<f64>(factor, &mut check)).map_err(kernel_error)
}
