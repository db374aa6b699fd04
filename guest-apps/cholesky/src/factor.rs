//! The tasks of the factorisation, and the driver's graph of them.
//!
//! ```text
//!   for k:            potrf(k)                L(k,k)
//!     for i > k:      trsm(i,k)               L(i,k) = A(i,k) L(k,k)⁻ᵀ
//!     for j > k:      syrk(j,k)               A(j,j) -= L(j,k) L(j,k)ᵀ
//!       for i > j:    gemm(i,j,k)             A(i,j) -= L(i,k) L(j,k)ᵀ
//! ```
//!
//! Futures are the only order: there is no barrier. T tiles per side give T(T+1)(T+2)/6 tasks.

use std::collections::HashMap;

use taps::{Engine, Future, TaskOptions};

use crate::matrix;
use crate::tile::{self, Tile};

/// A tile of A, and what its elements follow from.
#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    /// Seed of the matrix.
    pub(crate) seed: u64,
    /// Number added to the diagonal.
    pub(crate) diagonal: f64,
    /// Side of a tile.
    pub(crate) block_size: u32,
    /// Row of tiles.
    pub(crate) row: u32,
    /// Column of tiles.
    pub(crate) column: u32,
}

impl Place {
    /// The rows of A in the tiles of row `row`.
    pub(crate) fn rows(&self, row: u32) -> std::ops::Range<usize> {
        let side = self.block_size as usize;
        row as usize * side..(row as usize + 1) * side
    }
}

/// Makes a tile of the matrix.
#[taps::task(pure)]
pub(crate) fn generate(place: Place) -> Tile {
    let side = place.block_size as usize;
    let mut tile = Tile::zeros(&[side, side]);
    let (rows, columns) = (place.rows(place.row), place.rows(place.column));
    matrix::fill(
        place.seed,
        place.diagonal,
        rows,
        columns,
        tile.as_mut_slice(),
    );
    tile
}

/// The Cholesky factor of a tile on the diagonal.
#[taps::task(pure)]
pub(crate) fn potrf(tile: &Tile) -> taps::Result<Tile> {
    let mut factor = tile::copy_lower(tile);
    tile::potrf(&mut factor)?;
    Ok(factor)
}

/// The tile X below the diagonal with X Lᵀ = `block`.
#[taps::task(pure)]
pub(crate) fn trsm(lower: &Tile, block: &Tile) -> taps::Result<Tile> {
    let mut solved = tile::copy(block);
    tile::trsm(lower, &mut solved)?;
    Ok(solved)
}

/// `tile` - L Lᵀ, on and below the diagonal.
#[taps::task(pure)]
pub(crate) fn syrk(tile: &Tile, lower: &Tile) -> taps::Result<Tile> {
    let mut updated = tile::copy(tile);
    tile::syrk(lower, &mut updated)?;
    Ok(updated)
}

/// `tile` - `left` `right`ᵀ.
#[taps::task(pure)]
pub(crate) fn gemm(tile: &Tile, left: &Tile, right: &Tile) -> taps::Result<Tile> {
    let mut updated = tile::copy(tile);
    tile::gemm(left, right, &mut updated)?;
    Ok(updated)
}

/// The lower tiles of a matrix, row by row; a diagonal tile ends each row.
pub(crate) type Lower = Vec<Vec<Future<Tile>>>;

/// Tasks of a factorisation with `tiles` tiles per side.
pub(crate) fn task_count(tiles: u64) -> u64 {
    tiles * (tiles + 1) * (tiles + 2) / 6
}

/// Options by priority: the length of the longest chain of tasks that waits for this one, in
/// thirds of b³ multiply-adds, so potrf 1, trsm and syrk 3, gemm 6.
///
/// The longest chain below column k goes along the last row of tiles, which gives closed forms
/// (up to two units short for the last two columns, where the order is the same).
struct Priorities {
    tiles: usize,
    options: HashMap<i32, TaskOptions>,
}

impl Priorities {
    fn new(tiles: usize) -> Self {
        let options = HashMap::new();
        Self { tiles, options }
    }

    fn options(&mut self, chain: i32) -> &TaskOptions {
        let fresh = || TaskOptions::new().priority(chain);
        self.options.entry(chain).or_insert_with(fresh)
    }

    fn potrf(&self, k: usize) -> i32 {
        9 * steps(self.tiles - k) - 10
    }

    fn trsm(&self, k: usize) -> i32 {
        9 * steps(self.tiles - k) - 13
    }

    fn syrk(&self, j: usize, k: usize) -> i32 {
        3 * steps(j - k) + self.potrf(j)
    }

    fn gemm(&self, j: usize, k: usize) -> i32 {
        6 * steps(j - k) + self.trsm(j)
    }
}

/// A number of columns, far below what priorities can hold.
fn steps(columns: usize) -> i32 {
    i32::try_from(columns).map_or(1 << 24, |columns| columns.min(1 << 24))
}

/// Submits the factorisation of the tiles in `lower`, which become those of the factor; gives
/// the number of tasks.
pub(crate) fn submit(engine: &Engine, lower: &mut Lower) -> taps::Result<u64> {
    let tiles = lower.len();
    let mut priorities = Priorities::new(tiles);
    let mut submitted = 0;
    for k in 0..tiles {
        let chain = priorities.potrf(k);
        let call = potrf::call(&lower[k][k]);
        lower[k][k] = engine.submit_with(call, priorities.options(chain))?;
        let chain = priorities.trsm(k);
        for i in k + 1..tiles {
            let call = trsm::call(&lower[k][k], &lower[i][k]);
            lower[i][k] = engine.submit_with(call, priorities.options(chain))?;
        }
        for j in k + 1..tiles {
            let chain = priorities.syrk(j, k);
            let call = syrk::call(&lower[j][j], &lower[j][k]);
            lower[j][j] = engine.submit_with(call, priorities.options(chain))?;
            let chain = priorities.gemm(j, k);
            for i in j + 1..tiles {
                let call = gemm::call(&lower[i][j], &lower[i][k], &lower[j][k]);
                lower[i][j] = engine.submit_with(call, priorities.options(chain))?;
            }
        }
        let rest = (tiles - k) as u64;
        submitted += 1 + (rest - 1) + rest * (rest - 1) / 2;
    }
    Ok(submitted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a task waits for is more urgent than the task.
    #[test]
    fn priorities_fall_along_the_graph() {
        let tiles = 12;
        let of = Priorities::new(tiles);
        for k in 0..tiles {
            assert!(of.potrf(k) > of.trsm(k));
            for j in k + 1..tiles {
                assert!(of.trsm(k) > of.syrk(j, k) && of.trsm(k) > of.gemm(j, k));
                let next = k + 1;
                if next < j {
                    assert!(of.syrk(j, k) > of.syrk(j, next));
                    assert!(of.gemm(j, k) > of.gemm(j, next));
                } else {
                    assert!(of.syrk(j, k) > of.potrf(j));
                    assert!(of.gemm(j, k) > of.trsm(j));
                }
            }
        }
    }
}
