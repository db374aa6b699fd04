//! The portable backend sums in one documented order, so that every processor gives its bits.

use crate::reference::{Order, Strided, factor, strided};
use proptest::prelude::*;
use taps_kernels::{Portable, gemm, never};

/// Terms that are summed before they are added to C; part of the promise.
const SLICE: usize = 256;

/// The order of `portable`, written down plainly.
fn ordered(alpha: f64, a: &Strided, b: &Strided, beta: f64, c: &mut Strided) {
    for row in 0..c.rows {
        for column in 0..c.columns {
            let mut value = if beta == 0.0 {
                0.0
            } else {
                beta * c.get(row, column)
            };
            if alpha != 0.0 {
                for start in (0..a.columns).step_by(SLICE) {
                    let mut sum = 0.0;
                    for k in start..a.columns.min(start + SLICE) {
                        sum += a.get(row, k) * b.get(k, column);
                    }
                    value += alpha * sum;
                }
            }
            c.set(row, column, value);
        }
    }
}

fn bits(matrix: &Strided) -> Vec<u64> {
    matrix.data.iter().map(|value| value.to_bits()).collect()
}

fn check(alpha: f64, a: &Strided, b: &Strided, beta: f64, c: &Strided) {
    let (mut found, mut expected) = (c.clone(), c.clone());
    gemm::<Portable, f64>(
        alpha,
        a.view(),
        b.view(),
        beta,
        found.view_mut(),
        &mut never(),
    )
    .unwrap();
    ordered(alpha, a, b, beta, &mut expected);
    assert!(
        bits(&found) == bits(&expected),
        "{}x{}x{}",
        c.rows,
        c.columns,
        a.columns
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn portable_order(
        (a, b, c) in (0..40_usize, 0..40_usize, 0..700_usize).prop_flat_map(|(m, n, k)| {
            (strided(m, k), strided(k, n), strided(m, n))
        }),
        alpha in factor(),
        beta in factor(),
    ) {
        check(alpha, &a, &b, beta, &c);
    }
}

/// A product over the budget is cut into pieces; the bits are those of the whole.
#[test]
fn cutting_changes_no_bit() {
    let a = Strided::new(300, 1600, Order::Columns, (0, 0), 1);
    let b = Strided::new(1600, 310, Order::Rows, (0, 1), 2);
    let c = Strided::new(300, 310, Order::Columns, (0, 2), 3);
    check(-1.0, &a, &b, 1.0, &c);
}

/// More rows and columns than are packed at once.
#[test]
fn several_packs() {
    let a = Strided::new(139, 9, Order::Columns, (0, 0), 1);
    let b = Strided::new(9, 1033, Order::Columns, (0, 0), 2);
    let c = Strided::new(139, 1033, Order::Columns, (0, 0), 3);
    check(0.5, &a, &b, 2.0, &c);
}
