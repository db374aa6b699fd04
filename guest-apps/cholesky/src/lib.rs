//! Tiled Cholesky factorisation: A = L Lᵀ for a random symmetric positive definite matrix A.
//!
//! | phase | tasks |
//! |---|---|
//! | `generate` | the lower tiles of A, each made in its task (`matrix`) |
//! | `factorise` | T(T+1)(T+2)/6 tasks for T tiles per side, ordered by data alone (`factor`) |
//! | `check` | the residual, from a matrix made anew (`check`) |
//!
//! The driver sees no tile, except to print matrices of up to 8 rows.

mod check;
mod compat;
mod factor;
mod matrix;
mod tile;

use taps::{Bound, Engine, Error, Future, Report};

use factor::{Lower, Place, generate};
use tile::Tile;

/// Largest matrix that is printed.
const PRINTED_SIDE: u32 = 8;

/// Tiled Cholesky factorisation of a random symmetric positive definite matrix.
#[derive(Clone, Copy, Debug, taps::Config)]
#[taps(check = Cholesky::check)]
pub struct Cholesky {
    /// Side of the square matrix.
    #[taps(min = 1)]
    matrix_size: u32,
    /// Side of a tile; must divide the matrix size.
    #[taps(min = 1, max = 8192)]
    block_size: u32,
    /// Compute the whole residual instead of probing it with random vectors.
    #[taps(default = false)]
    full_residual: bool,
    /// Random vectors that probe the residual.
    #[taps(default = 3, min = 1, max = 64)]
    probes: u32,
    /// Run the exact task graph of TaPS instead, whose result is numerically meaningless.
    #[taps(default = false)]
    compat_dag: bool,
}

impl Cholesky {
    fn check(&self) -> taps::Result<()> {
        let (matrix, block) = (self.matrix_size, self.block_size);
        if block > matrix {
            let expected = format!("at most matrix_size = {matrix}");
            return Err(Error::config("block_size", block, expected));
        }
        if !matrix.is_multiple_of(block) {
            let expected = format!("a divisor of matrix_size = {matrix}");
            return Err(Error::config("block_size", block, expected));
        }
        Ok(())
    }

    fn tiles(&self) -> u32 {
        self.matrix_size / self.block_size
    }

    /// The first tile of the matrix.
    fn place(&self, diagonal: f64) -> Place {
        Place {
            seed: taps::seed(),
            diagonal,
            block_size: self.block_size,
            row: 0,
            column: 0,
        }
    }
}

/// Factorises a random matrix and checks the result.
#[taps::app(name = "cholesky")]
fn run(config: Cholesky, engine: &Engine) -> taps::Result<Report> {
    let tiles = config.tiles();
    taps::info!("Matrix: {0} x {0}", config.matrix_size);
    taps::info!("Block size: {}, {tiles} tiles per side", config.block_size);
    if config.compat_dag {
        return run_compat(&config, engine);
    }
    let place = config.place(f64::from(config.matrix_size));
    engine.phase("generate");
    print_input(&config, place);
    let mut lower = submit_matrix(engine, place, tiles)?;
    finish(engine, &lower)?;

    engine.phase("factorise");
    let submitted = factor::submit(engine, &mut lower)?;
    finish(engine, &lower)?;

    engine.phase("check");
    print_output(&config, &lower)?;
    let residual = if config.full_residual {
        check::full(engine, place, &lower)?
    } else {
        check::probe(engine, place, &lower, config.probes)?
    };
    taps::info!("Residual: {residual:e}");
    let expected = factor::task_count(u64::from(tiles));
    let report = describe(&config, submitted)
        .check(
            "residual",
            residual,
            Bound::AtMost(check::bound(config.matrix_size)),
        )
        .check("factor-tasks", submitted, Bound::Equals(expected.into()));
    Ok(report)
}

/// The exact graph of TaPS.
fn run_compat(config: &Cholesky, engine: &Engine) -> taps::Result<Report> {
    taps::warn!("compat_dag runs the task graph of TaPS: its result is numerically meaningless");
    let tiles = config.tiles();
    let place = config.place(compat::diagonal(config.matrix_size));
    engine.phase("generate");
    print_input(config, place);
    let matrix = compat::matrix(engine, place, tiles)?;
    engine.phase("factorise");
    let submitted = compat::run(engine, matrix)?;
    let expected = compat::task_count(u64::from(tiles));
    let report = describe(config, submitted)
        .value("numerically-meaningless", true)
        .check("factor-tasks", submitted, Bound::Equals(expected.into()));
    Ok(report)
}

/// What was done.
fn describe(config: &Cholesky, submitted: u64) -> Report {
    Report::new()
        .value("matrix-size", config.matrix_size)
        .value("block-size", config.block_size)
        .value("tiles", config.tiles())
        .value("factor-tasks", submitted)
}

/// Submits the tasks that make the lower tiles.
fn submit_matrix(engine: &Engine, place: Place, tiles: u32) -> taps::Result<Lower> {
    let tile = |row, column| {
        engine.submit(generate::call(Place {
            row,
            column,
            ..place
        }))
    };
    (0..tiles)
        .map(|row| (0..=row).map(|column| tile(row, column)).collect())
        .collect()
}

/// Waits for all tiles; fails with the first that fails.
fn finish(engine: &Engine, lower: &Lower) -> taps::Result<()> {
    let futures: Vec<Future<Tile>> = lower.iter().flatten().cloned().collect();
    engine
        .as_completed(futures)
        .try_for_each(|tile| tile.finish())
}

/// Prints a small matrix before it is factorised.
fn print_input(config: &Cholesky, place: Place) {
    if config.matrix_size <= PRINTED_SIDE {
        let side = config.matrix_size as usize;
        let element = |row, column| matrix::element(place.seed, place.diagonal, row, column);
        taps::info!("Input matrix:\n{}", rows(side, element));
    }
}

/// Prints the factor of a small matrix.
fn print_output(config: &Cholesky, lower: &Lower) -> taps::Result<()> {
    if config.matrix_size > PRINTED_SIDE {
        return Ok(());
    }
    let fetch = |row: &Vec<Future<Tile>>| row.iter().map(Future::result).collect();
    let tiles: Vec<Vec<Tile>> = lower.iter().map(fetch).collect::<taps::Result<_>>()?;
    let side = config.block_size as usize;
    let element = |row: usize, column: usize| match tiles[row / side].get(column / side) {
        Some(tile) => tile[(column % side, row % side)],
        None => 0.0,
    };
    taps::info!(
        "Output matrix:\n{}",
        rows(config.matrix_size as usize, element)
    );
    Ok(())
}

/// A matrix as text, a line for each row.
fn rows(side: usize, element: impl Fn(usize, usize) -> f64) -> String {
    let line = |row| {
        let values = (0..side).map(|column| format!("{:9.5}", element(row, column)));
        values.collect::<Vec<_>>().join(" ")
    };
    (0..side).map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
