//! The task graph of TaPS's `cholesky`, for comparing makespans with it.
//!
//! **Its result is numerically meaningless**: TaPS subtracts twice from tiles on the diagonal and
//! updates tiles above it that nobody reads. What is kept exactly is the graph: for every column
//! of tiles k, with m tiles left below it, one `potrf`, m `trsm`, and for each of the m(m+1)/2
//! tiles on and above the diagonal a `syrk` and a `gemm` on its result, whose two other arguments
//! are the same `trsm` on the diagonal. Then the driver waits for the `trsm` and then for the
//! `gemm` results, so that columns do not overlap, and hands them to the next column as data, not
//! as dependencies. Unlike TaPS's driver it does not read them: they stay where they are.

use taps::{Argument, Engine, Future, IntoArgument, Payload};

use crate::factor::{Place, gemm, generate, potrf, syrk, trsm};
use crate::tile::Tile;

/// A tile that the driver holds; no dependency for the task it is given to.
struct Held(Payload);

impl IntoArgument<Tile> for &Held {
    fn into_argument(self) -> taps::Result<Argument> {
        Ok(Argument::Payload(self.0.clone()))
    }
}

/// Waits for a tile and takes hold of it.
fn hold(tile: &Future<Tile>) -> taps::Result<Held> {
    tile.payload().map(Held)
}

/// Tasks of the graph with `tiles` tiles per side: 5, 30 and 385 for 2, 4 and 10.
pub(crate) fn task_count(tiles: u64) -> u64 {
    let below = tiles - 1;
    tiles + tiles * below / 2 + below * tiles * (tiles + 1) / 3
}

/// The diagonal that keeps every tile positive definite in spite of the double subtraction.
pub(crate) fn diagonal(side: u32) -> f64 {
    4.0 * f64::from(side)
}

/// All tiles of the matrix.
pub(crate) struct Tiles(Vec<Vec<Held>>);

/// Makes the matrix, in tasks that are not part of the graph.
pub(crate) fn matrix(engine: &Engine, place: Place, tiles: u32) -> taps::Result<Tiles> {
    let mut rows = Vec::new();
    for row in 0..tiles {
        let places = (0..tiles).map(|column| Place {
            row,
            column,
            ..place
        });
        let futures = places
            .map(|place| engine.submit(generate::call(place)))
            .collect::<taps::Result<Vec<_>>>()?;
        rows.push(futures);
    }
    let hold_row = |row: Vec<Future<Tile>>| row.iter().map(hold).collect();
    rows.into_iter()
        .map(hold_row)
        .collect::<taps::Result<_>>()
        .map(Tiles)
}

/// Runs the graph column by column; gives the number of its tasks.
pub(crate) fn run(engine: &Engine, Tiles(mut tiles): Tiles) -> taps::Result<u64> {
    let side = tiles.len();
    let mut submitted = 0;
    for k in 0..side {
        let diagonal = engine.submit(potrf::call(&tiles[k][k]))?;
        submitted += 1;
        let mut solved = Vec::new();
        for row in &tiles[k + 1..] {
            solved.push(engine.submit(trsm::call(&diagonal, &row[k]))?);
            submitted += 1;
        }
        let mut updated = Vec::new();
        for i in k + 1..side {
            for j in i..side {
                let (left, right) = (&solved[i - k - 1], &solved[j - k - 1]);
                let half = engine.submit(syrk::call(&tiles[i][j], left))?;
                let tile = engine.submit(gemm::call(&half, left, right))?;
                updated.push((i, j, tile));
                submitted += 2;
            }
        }
        tiles[k][k] = hold(&diagonal)?;
        for (row, tile) in tiles[k + 1..].iter_mut().zip(&solved) {
            row[k] = hold(tile)?;
        }
        for (i, j, tile) in &updated {
            tiles[*i][*j] = hold(tile)?;
        }
    }
    Ok(submitted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_taps() {
        assert_eq!([1, 2, 4, 10].map(task_count), [1, 5, 30, 385]);
    }
}
