//! Is L Lᵀ really A? Computed in tasks, from a matrix generated anew.
//!
//! Probes: ‖L(Lᵀx) − Ax‖₂ / (‖A‖∞ ‖x‖₂) for random vectors x, n² work each. In full:
//! ‖LLᵀ − A‖ / ‖A‖ in the Frobenius norm, n³/3 work.

use taps::{Array, Engine, Future, List};

use crate::factor::{Lower, Place};
use crate::matrix;
use crate::tile::{self, Orientation, Tile};

/// The largest residual of a right factorisation of side n.
///
/// The backward error of Cholesky is at most (n+1) u ‖|L||Lᵀ|‖ with u the unit roundoff, and the
/// two products of a probe add 2n u ‖|L||Lᵀ|‖ at most. The matrices here have positive entries,
/// so ‖|L||Lᵀ|‖ is near ‖A‖: 16 n ε is several times the worst, and five orders below the 1e-12 n
/// that users of tiled Cholesky expect; a wrong tile gives 1e-3 and more.
pub(crate) fn bound(side: u32) -> f64 {
    16.0 * f64::from(side) * f64::EPSILON
}

/// Which probes.
#[taps::value]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probing {
    /// A tile in the row or column worked on.
    pub(crate) place: Place,
    /// Tiles per side.
    pub(crate) tiles: u32,
    /// Probe vectors.
    pub(crate) count: u32,
}

impl Probing {
    /// The part of the probes that meets column `tile` of tiles.
    fn probes(&self, tile: u32) -> Vec<f64> {
        matrix::probes(self.place.seed, self.place.rows(tile), self.count as usize)
    }
}

/// One part of Lᵀx: that of a column of tiles, `column`, from the diagonal down.
#[taps::task(pure)]
pub(crate) fn probe_columns(probing: Probing, column: List<Tile>) -> taps::Result<Array<f64>> {
    let place = probing.place;
    let side = place.block_size as usize;
    let mut sums = Array::zeros(&[probing.count as usize, side]);
    for (row, lower) in (place.column..probing.tiles).zip(column) {
        let x = probing.probes(row);
        tile::apply(
            1.0,
            &lower?,
            Orientation::Transposed,
            &x,
            sums.as_mut_slice(),
        )?;
    }
    Ok(sums)
}

/// What one row of tiles adds to the residual.
#[taps::value]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RowResidual {
    /// Sum of squares of L(Lᵀx) − Ax, for each probe.
    pub(crate) residual: Vec<f64>,
    /// Sum of squares of x, for each probe.
    pub(crate) probe: Vec<f64>,
    /// Largest sum of absolute values in a row of A.
    pub(crate) norm: f64,
}

/// L(Lᵀx) − Ax in a row of tiles. `operands` are the parts of Lᵀx up to the diagonal, then
/// as many tiles of L.
#[taps::task(pure)]
pub(crate) fn probe_rows(
    probing: Probing,
    mut operands: List<Array<f64>>,
) -> taps::Result<RowResidual> {
    let place = probing.place;
    let side = place.block_size as usize;
    let width = place.row as usize + 1;
    let mut difference = vec![0.0; side * probing.count as usize];
    let parts = operands
        .by_ref()
        .take(width)
        .collect::<taps::Result<Vec<_>>>()?;
    for (part, lower) in parts.iter().zip(operands) {
        tile::apply(
            1.0,
            &lower?,
            Orientation::Plain,
            part.as_slice(),
            &mut difference,
        )?;
    }
    let mut block = Tile::zeros(&[side, side]);
    let mut row_sums = vec![0.0; side];
    for column in 0..probing.tiles {
        let (rows, columns) = (place.rows(place.row), place.rows(column));
        matrix::fill(
            place.seed,
            place.diagonal,
            rows,
            columns,
            block.as_mut_slice(),
        );
        tile::apply(
            -1.0,
            &block,
            Orientation::Plain,
            &probing.probes(column),
            &mut difference,
        )?;
        for values in block.as_slice().chunks_exact(side) {
            for (sum, value) in row_sums.iter_mut().zip(values) {
                *sum += value.abs();
            }
        }
    }
    let probes = probing.probes(place.row);
    Ok(RowResidual {
        residual: difference.chunks_exact(side).map(squares).collect(),
        probe: probes.chunks_exact(side).map(squares).collect(),
        norm: row_sums.into_iter().fold(0.0, f64::max),
    })
}

/// Sums of squares of one lower tile of LLᵀ − A and of A. `operands` are the tiles of L in the
/// tile's row and then, off the diagonal, those in the row of its column, both up to that column.
#[taps::task(pure)]
pub(crate) fn full_residual(place: Place, mut operands: List<Tile>) -> taps::Result<(f64, f64)> {
    let side = place.block_size as usize;
    let mut difference = Tile::zeros(&[side, side]);
    let (rows, columns) = (place.rows(place.row), place.rows(place.column));
    matrix::fill(
        place.seed,
        place.diagonal,
        rows,
        columns,
        difference.as_mut_slice(),
    );
    let whole = squares(difference.as_slice());
    let width = place.column as usize + 1;
    let left = operands
        .by_ref()
        .take(width)
        .collect::<taps::Result<Vec<_>>>()?;
    if place.row == place.column {
        for lower in &left {
            tile::gemm(lower, lower, &mut difference)?;
        }
    } else {
        for (lower, right) in left.iter().zip(operands) {
            tile::gemm(lower, &right?, &mut difference)?;
        }
    }
    Ok((squares(difference.as_slice()), whole))
}

fn squares(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}

/// The largest relative residual of `count` probes; sums are taken in the order of submission.
pub(crate) fn probe(engine: &Engine, place: Place, lower: &Lower, count: u32) -> taps::Result<f64> {
    let tiles = lower.len() as u32;
    let at = |row, column| Probing {
        place: Place {
            row,
            column,
            ..place
        },
        tiles,
        count,
    };
    let mut parts: Vec<Future<Array<f64>>> = Vec::with_capacity(lower.len());
    for column in 0..lower.len() {
        let tiles = lower[column..].iter().map(|row| &row[column]);
        let call = probe_columns::call(at(column as u32, column as u32), tiles);
        parts.push(engine.submit(call)?);
    }
    let calls = lower.iter().enumerate().map(|(row, tiles)| {
        let operands = parts[..=row].iter().chain(tiles);
        probe_rows::call(at(row as u32, row as u32), operands)
    });
    let rows = engine.map(calls)?;
    let norm = rows.iter().map(|row| row.norm).fold(0.0, f64::max);
    let relative = (0..count as usize).map(|probe| {
        let residual: f64 = rows.iter().map(|row| row.residual[probe]).sum();
        let length: f64 = rows.iter().map(|row| row.probe[probe]).sum();
        (residual / length).sqrt() / norm
    });
    Ok(largest(relative))
}

/// ‖LLᵀ − A‖ / ‖A‖ in the Frobenius norm.
pub(crate) fn full(engine: &Engine, place: Place, lower: &Lower) -> taps::Result<f64> {
    let mut futures = Vec::new();
    for (i, row) in lower.iter().enumerate() {
        for j in 0..=i {
            let other = if i == j { &[] } else { &lower[j][..=j] };
            let (row_index, column) = (i as u32, j as u32);
            let place = Place {
                row: row_index,
                column,
                ..place
            };
            let call = full_residual::call(place, row[..=j].iter().chain(other));
            // A tile off the diagonal stands for its transpose too.
            futures.push((engine.submit(call)?, if i == j { 1.0 } else { 2.0 }));
        }
    }
    let (mut residual, mut whole) = (0.0, 0.0);
    for ((difference, norm), weight) in futures {
        residual += weight * difference.result()?;
        whole += weight * norm.result()?;
    }
    Ok((residual / whole).sqrt())
}

/// The largest number; NaN if any is.
fn largest(numbers: impl Iterator<Item = f64>) -> f64 {
    let larger = |most: f64, number: f64| {
        let takes = number > most || number.is_nan();
        if takes { number } else { most }
    };
    numbers.fold(0.0, larger)
}
