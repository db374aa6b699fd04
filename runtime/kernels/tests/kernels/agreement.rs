//! Every kernel on both backends against its definition, for all kinds of layouts.

use crate::reference::{Order, PAD, Strided, factor, product, strided};
use proptest::prelude::*;
use taps_kernels::{
    Backend, KernelError, MatMut, MatRef, Native, Portable, gemm, gemm_f32, never, potrf, syrk,
    trsm,
};

/// Rounding grows with the number of terms, which is at most a few hundred here.
const TOLERANCE: f64 = 1e-12;

fn close(left: f64, right: f64) -> bool {
    (left - right).abs() <= TOLERANCE * (1.0 + left.abs().max(right.abs()))
}

/// Sizes around tiles, panels and halves.
fn side() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..20_usize, 3 => 20..80_usize, 1 => 80..150_usize]
}

fn operands() -> impl Strategy<Value = (Strided, Strided, Strided)> {
    (side(), side(), side()).prop_flat_map(|(rows, columns, depth)| {
        (
            strided(rows, depth),
            strided(depth, columns),
            strided(rows, columns),
        )
    })
}

/// A lower triangle and a matrix with as many columns.
fn system() -> impl Strategy<Value = (Strided, Strided)> {
    (side(), side()).prop_flat_map(|(rows, size)| {
        (
            strided(size, size).prop_map(Strided::lower),
            strided(rows, size),
        )
    })
}

fn check_gemm<B: Backend>(alpha: f64, a: &Strided, b: &Strided, beta: f64, c: &Strided) {
    let mut result = c.clone();
    if beta == 0.0 {
        result.data.fill(PAD);
    }
    gemm::<B, f64>(
        alpha,
        a.view(),
        b.view(),
        beta,
        result.view_mut(),
        &mut never(),
    )
    .unwrap();
    for (row, expected) in product(alpha, a, b, beta, c).iter().enumerate() {
        for (column, &expected) in expected.iter().enumerate() {
            let found = result.get(row, column);
            assert!(
                close(found, expected),
                "({row}, {column}): {found} for {expected}"
            );
        }
    }
    assert_eq!(result.pads(), c.pads(), "a gap was written");
}

fn check_syrk<B: Backend>(alpha: f64, a: &Strided, beta: f64, c: &Strided) {
    let mut result = c.clone();
    syrk::<B, f64>(alpha, a.view(), beta, result.view_mut(), &mut never()).unwrap();
    let expected = product(alpha, a, &transposed(a), beta, c);
    for row in 0..c.rows {
        for column in 0..c.columns {
            let found = result.get(row, column);
            if column > row {
                assert_eq!(
                    found.to_bits(),
                    c.get(row, column).to_bits(),
                    "above the diagonal"
                );
            } else {
                assert!(close(found, expected[row][column]), "({row}, {column})");
            }
        }
    }
    assert_eq!(result.pads(), c.pads(), "a gap was written");
}

fn check_trsm<B: Backend>(lower: &Strided, b: &Strided) {
    let mut x = b.clone();
    trsm::<B, f64>(lower.view(), x.view_mut(), &mut never()).unwrap();
    for row in 0..b.rows {
        for column in 0..b.columns {
            let terms = (0..=column).map(|k| x.get(row, k) * lower.get(column, k));
            let back: f64 = terms.sum();
            assert!(close(back, b.get(row, column)), "({row}, {column}): {back}");
        }
    }
    assert_eq!(x.pads(), b.pads(), "a gap was written");
}

/// Factorises L Lᵀ and compares with L, which is unique.
fn check_potrf<B: Backend>(lower: &Strided) {
    let size = lower.rows;
    let mut a = lower.clone();
    for row in 0..size {
        for column in 0..=row {
            let terms = (0..=column).map(|k| lower.get(row, k) * lower.get(column, k));
            a.set(row, column, terms.sum());
        }
    }
    potrf::<B, f64>(a.view_mut(), &mut never()).unwrap();
    for row in 0..size {
        for column in 0..=row {
            let (found, expected) = (a.get(row, column), lower.get(row, column));
            assert!(
                close(found, expected),
                "({row}, {column}): {found} for {expected}"
            );
        }
    }
    assert_eq!(
        a.pads(),
        lower.pads(),
        "the upper triangle or a gap was written"
    );
}

fn transposed(matrix: &Strided) -> Strided {
    Strided {
        data: matrix.data.clone(),
        rows: matrix.columns,
        columns: matrix.rows,
        row_stride: matrix.column_stride,
        column_stride: matrix.row_stride,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn gemm_agrees((a, b, c) in operands(), alpha in factor(), beta in factor()) {
        check_gemm::<Native>(alpha, &a, &b, beta, &c);
        check_gemm::<Portable>(alpha, &a, &b, beta, &c);
    }

    #[test]
    fn syrk_agrees(
        (a, c) in (side(), side()).prop_flat_map(|(n, k)| (strided(n, k), strided(n, n))),
        alpha in factor(),
        beta in factor(),
    ) {
        check_syrk::<Native>(alpha, &a, beta, &c);
        check_syrk::<Portable>(alpha, &a, beta, &c);
    }

    #[test]
    fn trsm_agrees((lower, b) in system()) {
        check_trsm::<Native>(&lower, &b);
        check_trsm::<Portable>(&lower, &b);
    }

    #[test]
    fn potrf_agrees((lower, _) in system()) {
        check_potrf::<Native>(&lower);
        check_potrf::<Portable>(&lower);
    }

    /// The first bad pivot is named, whatever block it falls into.
    #[test]
    fn potrf_names_the_column((lower, _) in system(), at in any::<prop::sample::Index>()) {
        let size = lower.rows;
        prop_assume!(size > 0);
        let column = at.index(size);
        let mut a = lower;
        for row in 0..size {
            for other in 0..=row {
                a.set(row, other, if row == other { 1.0 } else { 0.0 });
            }
        }
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut a = a.clone();
            a.set(column, column, bad);
            let expected = Err(KernelError::NotPositiveDefinite { column });
            prop_assert_eq!(potrf::<Native, f64>(a.view_mut(), &mut never()), expected);
        }
    }

    #[test]
    fn gemm_f32_agrees((a, b, c) in operands()) {
        let narrow = |m: &Strided| m.data.iter().map(|&x| x as f32).collect::<Vec<f32>>();
        let (left, right) = (narrow(&a), narrow(&b));
        let view = |data, m: &Strided| {
            MatRef::<f32>::new(data, m.rows, m.columns, m.row_stride, m.column_stride).unwrap()
        };
        let expected = product(1.5, &a, &b, 0.5, &c);
        let run = |native: bool| {
            let mut out = narrow(&c);
            let (x, y) = (view(&left, &a), view(&right, &b));
            let z = MatMut::new(&mut out, c.rows, c.columns, c.row_stride, c.column_stride);
            let kernel = if native { gemm_f32::<Native> } else { gemm_f32::<Portable> };
            kernel(1.5, x, y, 0.5, z.unwrap(), &mut never()).unwrap();
            out
        };
        for out in [run(true), run(false)] {
            for (row, expected) in expected.iter().enumerate() {
                for (column, &expected) in expected.iter().enumerate() {
                    let found = out[row * c.row_stride + column * c.column_stride];
                    prop_assert!((f64::from(found) - expected).abs() < 1e-4);
                }
            }
        }
    }
}

/// Larger than any base case: all levels of the recursions, in both orders of storage.
#[test]
fn large_factor_solves_its_own_system() {
    for order in [Order::Columns, Order::Rows] {
        let lower = Strided::new(333, 333, order, (0, 5), 7).lower();
        check_potrf::<Native>(&lower);
        check_potrf::<Portable>(&lower);
        let b = Strided::new(217, 333, order, (0, 0), 9);
        check_trsm::<Native>(&lower, &b);
        check_trsm::<Portable>(&lower, &b);
    }
}

/// f32 through the panel kernels.
#[test]
fn f32_factor() {
    let size = 100;
    let mut a = vec![0.25_f32; size * size];
    for index in 0..size {
        a[index * size + index] = 4.0;
    }
    let original = a.clone();
    let view = MatMut::column_major(&mut a, size, size).unwrap();
    potrf::<Native, f32>(view, &mut never()).unwrap();
    for row in 0..size {
        for column in 0..=row {
            let terms = (0..=column).map(|k| a[k * size + row] * a[k * size + column]);
            let sum: f32 = terms.sum();
            assert!((sum - original[column * size + row]).abs() < 1e-5);
        }
    }
}

#[test]
fn shapes_that_do_not_fit() {
    let numbers = [1.0; 12];
    let mut out = [1.0; 12];
    let a = MatRef::column_major(&numbers, 3, 4).unwrap();
    let c = MatMut::column_major(&mut out, 3, 3).unwrap();
    let error = gemm::<Native, f64>(1.0, a, a, 0.0, c, &mut never()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "gemm: the shapes 3x4, 3x4, 3x3 do not fit"
    );
    let c = MatMut::column_major(&mut out, 3, 4).unwrap();
    let error = syrk::<Native, f64>(1.0, a, 0.0, c, &mut never()).unwrap_err();
    assert_eq!(error.to_string(), "syrk: the shapes 3x4, 3x4 do not fit");
    let c = MatMut::column_major(&mut out, 3, 4).unwrap();
    let error = trsm::<Native, f64>(a, c, &mut never()).unwrap_err();
    assert_eq!(error.to_string(), "trsm: the shapes 3x4, 3x4 do not fit");
    let c = MatMut::column_major(&mut out, 3, 4).unwrap();
    let error = potrf::<Native, f64>(c, &mut never()).unwrap_err();
    assert_eq!(error.to_string(), "potrf: the shapes 3x4 do not fit");
    assert_eq!(out, [1.0; 12], "nothing was written");
}
