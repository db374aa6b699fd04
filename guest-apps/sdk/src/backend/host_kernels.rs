//! The `kernels` imports, declared by hand: the host writes to the last buffer.
//!
//! A function with more than 16 flat parameters takes the address of a record of them; the
//! layouts here follow the canonical ABI. Shapes and buffers are checked by the caller.

#![expect(unsafe_code, reason = "imports that write to guest memory")]

use crate::kernels::{Layout, Matrix, MatrixMut};

/// `record matrix` and the `list<u8>` after it.
#[repr(C)]
struct Operand {
    rows: u32,
    columns: u32,
    row_stride: u32,
    column_stride: u32,
    data: *mut u8,
    bytes: usize,
}

/// Parameters of `gemm`; `T` is `f64` or `f32`.
#[repr(C)]
struct Gemm<T> {
    alpha: T,
    a: Operand,
    b: Operand,
    beta: T,
    c: Operand,
}

/// A `result<_, u32>`.
#[repr(C)]
struct PivotResult {
    failed: u8,
    column: u32,
}

#[link(wasm_import_module = "taps:core/kernels@0.1.0")]
unsafe extern "C" {
    #[link_name = "gemm-f64"]
    fn import_gemm_f64(parameters: *const Gemm<f64>);
    #[link_name = "gemm-f32"]
    fn import_gemm_f32(parameters: *const Gemm<f32>);
    #[link_name = "syrk-f64"]
    fn import_syrk(
        alpha: f64,
        a_rows: u32,
        a_columns: u32,
        a_row_stride: u32,
        a_column_stride: u32,
        a: *mut u8,
        a_bytes: usize,
        beta: f64,
        c_rows: u32,
        c_columns: u32,
        c_row_stride: u32,
        c_column_stride: u32,
        c: *mut u8,
        c_bytes: usize,
    );
    #[link_name = "trsm-f64"]
    fn import_trsm(
        l_rows: u32,
        l_columns: u32,
        l_row_stride: u32,
        l_column_stride: u32,
        l: *mut u8,
        l_bytes: usize,
        b_rows: u32,
        b_columns: u32,
        b_row_stride: u32,
        b_column_stride: u32,
        b: *mut u8,
        b_bytes: usize,
    );
    #[link_name = "potrf-f64"]
    fn import_potrf(
        a_rows: u32,
        a_columns: u32,
        a_row_stride: u32,
        a_column_stride: u32,
        a: *mut u8,
        a_bytes: usize,
        result: *mut PivotResult,
    );
}

impl Operand {
    fn new(layout: Layout, data: *mut u8, bytes: usize) -> Self {
        Self {
            rows: layout.rows as u32,
            columns: layout.columns as u32,
            row_stride: layout.row_stride as u32,
            column_stride: layout.column_stride as u32,
            data,
            bytes,
        }
    }

    /// An operand that the host only reads.
    fn read<T: Copy>(matrix: Matrix<'_, T>) -> Self {
        let data = matrix.data.as_ptr().cast_mut().cast();
        Self::new(matrix.layout, data, size_of_val(matrix.data))
    }

    /// The operand that the host writes.
    fn write<T>(matrix: &mut MatrixMut<'_, T>) -> Self {
        let bytes = size_of_val(matrix.data);
        Self::new(matrix.layout, matrix.data.as_mut_ptr().cast(), bytes)
    }
}

/// C = alpha A B + beta C.
pub(crate) fn gemm_f64(
    alpha: f64,
    a: Matrix<'_, f64>,
    b: Matrix<'_, f64>,
    beta: f64,
    c: &mut MatrixMut<'_, f64>,
) {
    let parameters = Gemm {
        alpha,
        a: Operand::read(a),
        b: Operand::read(b),
        beta,
        c: Operand::write(c),
    };
    // SAFETY: the layout is the canonical ABI's for these parameters. The host reads A and B and
    // writes C, whose buffers are borrowed for the call, C mutably; it checks all bounds.
    unsafe { import_gemm_f64(&raw const parameters) }
}

/// C = alpha A B + beta C.
pub(crate) fn gemm_f32(
    alpha: f32,
    a: Matrix<'_, f32>,
    b: Matrix<'_, f32>,
    beta: f32,
    c: &mut MatrixMut<'_, f32>,
) {
    let parameters = Gemm {
        alpha,
        a: Operand::read(a),
        b: Operand::read(b),
        beta,
        c: Operand::write(c),
    };
    // SAFETY: as for `gemm_f64`.
    unsafe { import_gemm_f32(&raw const parameters) }
}

/// C = alpha A Aᵀ + beta C, lower triangle.
pub(crate) fn syrk(alpha: f64, a: Matrix<'_, f64>, beta: f64, c: &mut MatrixMut<'_, f64>) {
    let (a, c) = (Operand::read(a), Operand::write(c));
    // SAFETY: the host reads A and writes C, whose buffers are borrowed for the call, C mutably;
    // it checks all bounds.
    unsafe {
        import_syrk(
            alpha,
            a.rows,
            a.columns,
            a.row_stride,
            a.column_stride,
            a.data,
            a.bytes,
            beta,
            c.rows,
            c.columns,
            c.row_stride,
            c.column_stride,
            c.data,
            c.bytes,
        );
    }
}

/// X with X Lᵀ = B, over B.
pub(crate) fn trsm(lower: Matrix<'_, f64>, b: &mut MatrixMut<'_, f64>) {
    let (l, b) = (Operand::read(lower), Operand::write(b));
    // SAFETY: the host reads L and writes B, whose buffers are borrowed for the call, B mutably;
    // it checks all bounds.
    unsafe {
        import_trsm(
            l.rows,
            l.columns,
            l.row_stride,
            l.column_stride,
            l.data,
            l.bytes,
            b.rows,
            b.columns,
            b.row_stride,
            b.column_stride,
            b.data,
            b.bytes,
        );
    }
}

/// Lower Cholesky factor; an error is the first column without a positive pivot.
pub(crate) fn potrf(a: &mut MatrixMut<'_, f64>) -> Result<(), usize> {
    let a = Operand::write(a);
    let mut result = PivotResult {
        failed: 0,
        column: 0,
    };
    // SAFETY: the host writes A, whose buffer is borrowed mutably for the call, and the result,
    // whose layout is the canonical ABI's; it checks all bounds.
    unsafe {
        import_potrf(
            a.rows,
            a.columns,
            a.row_stride,
            a.column_stride,
            a.data,
            a.bytes,
            &raw mut result,
        );
    }
    match result.failed {
        0 => Ok(()),
        _ => Err(result.column as usize),
    }
}

/// The canonical ABI's offsets.
const _: () = {
    assert!(size_of::<Operand>() == 24);
    assert!(std::mem::offset_of!(Gemm<f64>, a) == 8);
    assert!(std::mem::offset_of!(Gemm<f64>, beta) == 56);
    assert!(std::mem::offset_of!(Gemm<f64>, c) == 64);
    assert!(std::mem::offset_of!(Gemm<f32>, a) == 4);
    assert!(std::mem::offset_of!(Gemm<f32>, beta) == 52);
    assert!(std::mem::offset_of!(Gemm<f32>, c) == 56);
    assert!(std::mem::offset_of!(PivotResult, column) == 4);
};
