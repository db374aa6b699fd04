// Shared by the test `digest` and the example of that name.

use std::error::Error;

use taps_kernels::{Element, MatMut, MatRef, Portable, ShapeError, gemm, never, potrf, syrk, trsm};

/// Side of the matrices: odd edges in every blocking.
const SIDE: usize = 301;

/// Digest of all kernels in both precisions.
fn portable_digest() -> Result<u64, Box<dyn Error>> {
    let wide = kernels(|number| number, f64::to_bits)?;
    let narrow = kernels(
        |number| number as f32,
        |value| u64::from(f32::to_bits(value)),
    )?;
    Ok(wide ^ narrow.rotate_left(1))
}

fn view<T>(data: &[T]) -> Result<MatRef<'_, T>, ShapeError> {
    MatRef::column_major(data, SIDE, SIDE)
}

fn target<T>(data: &mut [T]) -> Result<MatMut<'_, T>, ShapeError> {
    MatMut::column_major(data, SIDE, SIDE)
}

fn kernels<T: Element>(number: fn(f64) -> T, bits: fn(T) -> u64) -> Result<u64, Box<dyn Error>> {
    let matrix = |seed: u64| -> Vec<T> {
        let term = |index: u64| {
            let mixed = (index + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 12;
            number(mixed as f64 / (1_u64 << 52) as f64 - 0.5)
        };
        (0..(SIDE * SIDE) as u64).map(term).collect()
    };
    let (a, b, mut c, mut factor) = (matrix(1), matrix(2), matrix(3), matrix(4));
    for index in 0..SIDE {
        factor[index * SIDE + index] = number(SIDE as f64);
    }
    let (half, check) = (number(0.5), &mut never());
    let right = view(&b)?;
    gemm::<Portable, T>(
        half,
        view(&a)?,
        right.transpose(),
        -half,
        target(&mut c)?,
        check,
    )?;
    syrk::<Portable, T>(half, right, T::ONE, target(&mut c)?.transpose(), check)?;
    potrf::<Portable, T>(target(&mut factor)?, check)?;
    trsm::<Portable, T>(view(&factor)?, target(&mut c)?, check)?;
    let values = c.iter().chain(&factor);
    Ok(values.fold(0, |digest: u64, &value| {
        (digest.rotate_left(5) ^ bits(value)).wrapping_mul(0x2545_f491_4f6c_dd1d)
    }))
}
