//! The product of two packed strips: the innermost kernel.

use crate::Element;

/// Room for the sums of the largest tile.
pub(super) const TILE_LIMIT: usize = 32;

/// The tile that eight 128-bit registers hold, and the product that fills it.
pub trait Tile: Sized {
    /// Rows of a tile.
    const ROWS: usize;
    /// Columns of a tile.
    const COLUMNS: usize;

    /// Sums of products, column by column into `sums`. `a` and `b` hold [`Self::ROWS`] and
    /// [`Self::COLUMNS`] numbers for each term.
    fn multiply(a: &[Self], b: &[Self], sums: &mut [Self; TILE_LIMIT]);
}

impl Tile for f64 {
    const ROWS: usize = 4;
    const COLUMNS: usize = 4;

    #[inline(always)]
    fn multiply(a: &[Self], b: &[Self], sums: &mut [Self; TILE_LIMIT]) {
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        super::simd128::multiply_f64(a, b, sums);
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        multiply::<f64, 4, 4>(a, b, sums);
    }
}

impl Tile for f32 {
    const ROWS: usize = 8;
    const COLUMNS: usize = 4;

    #[inline(always)]
    fn multiply(a: &[Self], b: &[Self], sums: &mut [Self; TILE_LIMIT]) {
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        super::simd128::multiply_f32(a, b, sums);
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        multiply::<f32, 8, 4>(a, b, sums);
    }
}

/// The tile in plain Rust, for the compiler to vectorise.
#[cfg_attr(
    all(target_arch = "wasm32", target_feature = "simd128"),
    expect(dead_code, reason = "replaced by intrinsics")
)]
fn multiply<T: Element, const ROWS: usize, const COLUMNS: usize>(
    a: &[T],
    b: &[T],
    sums: &mut [T; TILE_LIMIT],
) {
    let mut tile = [[T::ZERO; ROWS]; COLUMNS];
    let (a, _) = a.as_chunks::<ROWS>();
    let (b, _) = b.as_chunks::<COLUMNS>();
    for (left, right) in a.iter().zip(b) {
        for (column, &factor) in tile.iter_mut().zip(right) {
            for (sum, &value) in column.iter_mut().zip(left) {
                *sum += value * factor;
            }
        }
    }
    for (target, column) in sums.chunks_exact_mut(ROWS).zip(&tile) {
        target.copy_from_slice(column);
    }
}
