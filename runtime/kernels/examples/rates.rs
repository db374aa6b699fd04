//! Prints the rate of each kernel in GFLOP/s on one core, best of several runs.
//!
//! ```text
//! cargo run --release -p taps-kernels --example rates [SIDE]
//! ```
#![expect(clippy::print_stdout, reason = "its purpose")]

use std::time::Instant;

use taps_kernels::{
    Backend, Element, MatMut, MatRef, Portable, ShapeError, gemm, never, potrf, syrk, trsm,
};

/// Shortest time of one kernel is looked for during this time.
const SECONDS_PER_KERNEL: f64 = 0.5;

fn main() -> Result<(), ShapeError> {
    let side = std::env::args().nth(1);
    let side = side.and_then(|text| text.parse().ok()).unwrap_or(500);
    println!("backend            type  side  order    gemm    syrk    trsm   potrf  GFLOP/s");
    #[cfg(not(target_arch = "wasm32"))]
    {
        rates::<taps_kernels::Native, f64>("f64", side, false, |value| value)?;
        rates::<taps_kernels::Native, f64>("f64", side, true, |value| value)?;
        rates::<taps_kernels::Native, f32>("f32", side, false, |value| value as f32)?;
    }
    rates::<Portable, f64>("f64", side, false, |value| value)?;
    rates::<Portable, f64>("f64", side, true, |value| value)?;
    rates::<Portable, f32>("f32", side, false, |value| value as f32)
}

/// Prints one line.
fn rates<B: Backend, T: Element>(
    kind: &str,
    side: usize,
    by_rows: bool,
    number: fn(f64) -> T,
) -> Result<(), ShapeError> {
    let (down, across) = if by_rows { (side, 1) } else { (1, side) };
    let matrix = |seed: f64| -> Vec<T> {
        let term = |index: usize| ((index as f64 + seed) * 0.618_033_988).fract() - 0.5;
        (0..side * side).map(|index| number(term(index))).collect()
    };
    let (a, b) = (matrix(1.0), matrix(2.0));
    let mut positive = matrix(3.0);
    for index in 0..side {
        positive[index * side + index] = number(side as f64);
    }
    let fresh = positive.clone();
    let mut c = matrix(4.0);
    let view = |data| MatRef::new(data, side, side, down, across);
    let cube = (side as f64).powi(3);

    let product = best(
        2.0 * cube,
        &mut c,
        |_| {},
        |c| {
            let c = MatMut::new(c, side, side, down, across)?;
            let _ = gemm::<B, T>(T::ONE, view(&a)?, view(&b)?, T::ONE, c, &mut never());
            Ok(())
        },
    )?;
    let update = best(
        cube,
        &mut c,
        |_| {},
        |c| {
            let c = MatMut::new(c, side, side, down, across)?;
            let _ = syrk::<B, T>(T::ONE, view(&a)?, T::ONE, c, &mut never());
            Ok(())
        },
    )?;
    let solve = best(
        cube,
        &mut c,
        |c| c.copy_from_slice(&b),
        |c| {
            let c = MatMut::new(c, side, side, down, across)?;
            let _ = trsm::<B, T>(view(&positive)?, c, &mut never());
            Ok(())
        },
    )?;
    let factor = best(
        cube / 3.0,
        &mut c,
        |c| c.copy_from_slice(&fresh),
        |c| {
            let c = MatMut::new(c, side, side, down, across)?;
            let _ = potrf::<B, T>(c, &mut never());
            Ok(())
        },
    )?;
    let (name, order) = (B::name(), if by_rows { "row" } else { "column" });
    println!(
        "{name:<18} {kind:>4} {side:>5} {order:>6} {product:>7.1} {update:>7.1} {solve:>7.1} {factor:>7.1}"
    );
    Ok(())
}

/// The highest rate seen; `prepare` is not timed.
fn best<T>(
    flops: f64,
    data: &mut [T],
    prepare: impl Fn(&mut [T]),
    run: impl Fn(&mut [T]) -> Result<(), ShapeError>,
) -> Result<f64, ShapeError> {
    let begin = Instant::now();
    let mut shortest = f64::INFINITY;
    while begin.elapsed().as_secs_f64() < SECONDS_PER_KERNEL {
        prepare(data);
        let start = Instant::now();
        run(data)?;
        shortest = shortest.min(start.elapsed().as_secs_f64());
    }
    Ok(flops / shortest / 1e9)
}
