//! A kernel stops soon after it is asked to, wherever it is.

use std::time::{Duration, Instant};

use taps_kernels::{Cancelled, KernelError, MatMut, MatRef, Native, gemm, potrf, syrk, trsm};

/// Several budgets of work for each kernel.
const SIDE: usize = 1300;
/// A sandbox has 50 ms to end, and a kernel asks every 2 to 5 ms of its own time; wide, because a
/// busy test machine may take the processor away in between. The counts below are the exact test.
const LONGEST: Duration = Duration::from_secs(1);

type Check<'a> = &'a mut dyn FnMut() -> Result<(), Cancelled>;

fn view(data: &[f64]) -> MatRef<'_, f64> {
    MatRef::column_major(data, SIDE, SIDE).unwrap()
}

fn view_mut(data: &mut [f64]) -> MatMut<'_, f64> {
    MatMut::column_major(data, SIDE, SIDE).unwrap()
}

/// A diagonally dominant matrix: operand of every kernel.
fn matrix() -> Vec<f64> {
    let mut data = vec![0.5; SIDE * SIDE];
    for index in 0..SIDE {
        data[index * SIDE + index] = SIDE as f64;
    }
    data
}

/// Cancels at the n-th check for n = 1, 2, 3... until the kernel succeeds; gives that n.
fn walk(mut kernel: impl FnMut(&mut [f64], Check<'_>) -> Result<(), KernelError>) -> usize {
    let fresh = matrix();
    for limit in 1.. {
        let mut out = fresh.clone();
        let mut calls = 0;
        let mut last = Instant::now();
        let mut longest = Duration::ZERO;
        let result = kernel(&mut out, &mut || {
            calls += 1;
            assert!(calls <= limit, "the kernel went on after it was cancelled");
            longest = longest.max(last.elapsed());
            last = Instant::now();
            if calls == limit {
                Err(Cancelled)
            } else {
                Ok(())
            }
        });
        assert!(longest < LONGEST, "{longest:?} without a check");
        match result {
            Ok(()) => return limit,
            Err(error) => assert_eq!(error, KernelError::Cancelled(Cancelled)),
        }
        if limit == 1 {
            assert!(out == fresh, "nothing is written before the first check");
        }
    }
    unreachable!("the limits do not end");
}

/// Checks that are due for so many flops.
fn due(flops: f64) -> usize {
    (flops / f64::from(1 << 28)) as usize
}

#[test]
fn gemm_stops() {
    let a = matrix();
    let calls = walk(|c, check| {
        gemm::<Native, f64>(1.0, view(&a), view(&a).transpose(), 1.0, view_mut(c), check)
    });
    assert!(calls >= due(2.0 * (SIDE as f64).powi(3)), "{calls}");
}

#[test]
fn syrk_stops() {
    let a = matrix();
    let calls = walk(|c, check| syrk::<Native, f64>(1.0, view(&a), 1.0, view_mut(c), check));
    assert!(calls >= due((SIDE as f64).powi(3)), "{calls}");
}

#[test]
fn trsm_stops() {
    let lower = matrix();
    let calls = walk(|b, check| trsm::<Native, f64>(view(&lower), view_mut(b), check));
    assert!(calls >= due((SIDE as f64).powi(3)), "{calls}");
}

#[test]
fn potrf_stops() {
    let calls = walk(|a, check| potrf::<Native, f64>(view_mut(a), check));
    assert!(calls >= due((SIDE as f64).powi(3) / 3.0), "{calls}");
}

/// A tall, narrow solve is all base case, and is checked too.
#[test]
fn tall_solve_stops() {
    let (rows, columns) = (1_000_000, 8);
    let mut b = vec![1.0; rows * columns];
    let lower = [1.0; 64];
    let mut calls = 0;
    let b = MatMut::column_major(&mut b, rows, columns).unwrap();
    let lower = MatRef::column_major(&lower, columns, columns).unwrap();
    trsm::<Native, f64>(lower, b, &mut || {
        calls += 1;
        Ok(())
    })
    .unwrap();
    assert!(calls > 1, "{calls}");
}
