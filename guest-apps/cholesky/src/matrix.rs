//! The matrix to factorise: A = B + Bᵀ + dI, each element a pure function of its position.
//!
//! The entries of B are uniform in (0, 1), from SplitMix64 of a counter: element (i, j) takes the
//! 64-bit mix of `seed + (i · 2³² + j + 1) · φ`, where φ is the odd golden-ratio constant. So any
//! task can make any tile, again and anywhere, and tile (i, j) is the transpose of tile (j, i).
//!
//! With d = n the matrix is positive definite for every seed: A = 11ᵀ + nI + E, where each
//! |E(i, j)| < 1, so that ‖E‖ < n.

use std::ops::Range;

/// φ of SplitMix64: 2⁶⁴ divided by the golden ratio, made odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// Distinguishes the probes from the matrix.
const PROBES: u64 = 0x70_726f_6265_7300;

/// SplitMix64's mix of the counter `index`.
fn mix(seed: u64, index: u64) -> u64 {
    let mut bits = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(GOLDEN));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A number in (0, 1), ends excluded: the middle of one of 2⁵² intervals.
fn uniform(seed: u64, row: usize, column: usize) -> f64 {
    let bits = mix(seed, ((row as u64) << 32) | column as u64);
    ((bits >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
}

/// Element of A; `diagonal` is d.
pub(crate) fn element(seed: u64, diagonal: f64, row: usize, column: usize) -> f64 {
    let sum = uniform(seed, row, column) + uniform(seed, column, row);
    if row == column { sum + diagonal } else { sum }
}

/// Fills a block of A, column after column.
pub(crate) fn fill(
    seed: u64,
    diagonal: f64,
    rows: Range<usize>,
    columns: Range<usize>,
    block: &mut [f64],
) {
    for (column, values) in columns.zip(block.chunks_exact_mut(rows.len().max(1))) {
        for (row, value) in rows.clone().zip(values) {
            *value = element(seed, diagonal, row, column);
        }
    }
}

/// Rows of the probe vectors, column after column: numbers in (-1, 1).
pub(crate) fn probes(seed: u64, rows: Range<usize>, count: usize) -> Vec<f64> {
    let number = |row, probe| 2.0 * uniform(seed ^ PROBES, row, probe) - 1.0;
    (0..count)
        .flat_map(|probe| rows.clone().map(move |row| number(row, probe)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symmetric_and_in_range() {
        let n = 37;
        for row in 0..n {
            for column in 0..n {
                let value = element(7, 0.0, row, column);
                assert!(value > 0.0 && value < 2.0);
                assert_eq!(value.to_bits(), element(7, 0.0, column, row).to_bits());
            }
        }
        assert_ne!(
            element(7, 0.0, 1, 2).to_bits(),
            element(8, 0.0, 1, 2).to_bits()
        );
    }

    #[test]
    fn mean_and_variance() {
        let values: Vec<f64> = (0..100_000)
            .map(|index| uniform(3, index / 300, index % 300))
            .collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let square = values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>();
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
        assert!((square / values.len() as f64 - 1.0 / 12.0).abs() < 0.001);
    }

    #[test]
    fn tiles_are_transposes_of_each_other() {
        let (mut upper, mut lower) = (vec![0.0; 12], vec![0.0; 12]);
        fill(1, 9.0, 0..3, 3..7, &mut upper);
        fill(1, 9.0, 3..7, 0..3, &mut lower);
        for row in 0..3 {
            for column in 0..4 {
                assert_eq!(
                    upper[column * 3 + row].to_bits(),
                    lower[row * 4 + column].to_bits()
                );
            }
        }
    }

    /// Golden values: the matrix of a seed must never change.
    #[test]
    fn golden() {
        assert_eq!(
            mix(0, 0),
            0xe220_a839_7b1d_cdaf,
            "first output of SplitMix64 with seed 0"
        );
    }
}
