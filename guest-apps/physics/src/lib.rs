//! The physics app: balls that fall on a random terrain and slide down its slopes.
//!
//! ```text
//! make_terrain ──► heights ──┬──► simulate (ball 1) ──┐
//!                            ├──► simulate (ball 2) ──┼──► positions ──► render ──► images
//!                            ├──►        …            │                    ▲
//!                            └────────────────────────┴────────────────────┘
//! ```
//!
//! Options and their effect are those of TaPS. Unlike there, the terrain is as high as asked, is
//! made once in a task and reaches the others by reference; where a ball starts and how fast follows
//! from the seed, so that results repeat; walls keep balls on the terrain; results are checked.

mod config;
mod images;
mod output;
mod simulation;
mod terrain;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};
use taps::{Array, Bound, Engine, Future, Report, Result};

use config::Physics;
use images::render;
use simulation::{End, GRAVITY, Start, simulate};
use terrain::{height_at, make_terrain};

/// Part of the terrain's side that is left free of starting balls, at each edge.
const MARGIN: f64 = 0.2;
/// Most speed at the start along an axis, in sides of the terrain per second.
const START_SPEED: f64 = 0.1;
/// How deep a ball may be in the ground or a wall, in diameters.
const LARGEST_DEPTH: f64 = 0.05;
// The check `finite_positions` refuses a result with a NaN.
#[taps::app(name = "physics", nans = "host")]
fn run(config: Physics, engine: &Engine) -> Result<Report> {
    let seed = config.seed.unwrap_or_else(taps::seed);
    let shape = config.shape(seed);
    // At once, so that a directory that cannot be written is known before any work.
    output::prepare(&config.output_dir)?;
    engine.phase("terrain");
    let terrain = engine.submit(make_terrain::call(shape))?;
    let heights = terrain.result()?;
    taps::info!(
        "{0} x {0} vertices, {1} m x {1} m, {2} m high",
        shape.side,
        config.length(),
        config.terrain_height
    );

    engine.phase("simulate");
    let settings = config.settings();
    let starts: Vec<Start> = (0..config.simulations)
        .map(|ball| start(&config, seed, ball, &heights))
        .collect();
    let futures = starts
        .iter()
        .map(|start| engine.submit(simulate::call(&terrain, start, settings)))
        .collect::<Result<Vec<Future<End>>>>()?;
    let ends = futures
        .iter()
        .map(Future::result)
        .collect::<Result<Vec<End>>>()?;

    engine.phase("output");
    let from = positions(starts.iter().map(|start| start.position));
    let to = positions(ends.iter().map(|end| end.position));
    let (contour, view) = engine.submit(render::call(&terrain, from, to, shape.resolution))?;
    output::write_table(&config.output_dir, &starts, &ends)?;
    output::write_image(&config.output_dir, output::CONTOUR, &contour)?;
    output::write_image(&config.output_dir, output::TERRAIN, &view)?;
    Ok(report(&config, &heights, &ends))
}

/// How a ball starts, from the seed and its number: above the terrain, but for its outer part.
fn start(config: &Physics, seed: u64, ball: u32, heights: &Array<f32>) -> Start {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(ball.into());
    let length = config.length();
    let mut place = || length * random.random_range(MARGIN..1.0 - MARGIN);
    let (x, y) = (place(), place());
    let mut speed = || length * random.random_range(-START_SPEED..START_SPEED);
    // A terrain without height has room for the ball all the same.
    let lowest = height_at(heights, config.terrain_resolution, x, y) + config.ball_diameter;
    Start {
        position: [x, y, (2.0 * config.terrain_height).max(lowest)],
        velocity: [speed(), speed(), 0.0],
    }
}

/// Positions as rows of an array.
fn positions(positions: impl ExactSizeIterator<Item = [f64; 3]>) -> Array<f64> {
    let mut rows = Array::zeros(&[positions.len(), 3]);
    for (row, position) in positions.enumerate() {
        rows.row_mut(row).copy_from_slice(&position);
    }
    rows
}

fn report(config: &Physics, heights: &Array<f32>, ends: &[End]) -> Report {
    let radius = config.ball_diameter / 2.0;
    let length = config.length();
    let depth = |end: &End| {
        let [x, y, z] = end.position;
        radius + height_at(heights, config.terrain_resolution, x, y) - z
    };
    let outside = |end: &End| {
        let [x, y, _] = end.position;
        let beyond = |place: f64| (radius - place).max(place - (length - radius));
        most([beyond(x), beyond(y)])
    };
    let weight = config.ball_mass * GRAVITY;
    let finite = |end: &&End| end.position.iter().all(|place| place.is_finite());
    let slack = LARGEST_DEPTH * config.ball_diameter;
    let lost: f64 = ends
        .iter()
        .map(|end| end.start_energy - end.final_energy)
        .sum();
    let height = heights.as_slice().iter().copied().fold(0.0, f32::max);
    Report::new()
        .check(
            "terrain_height_m",
            height,
            Bound::Equals((config.terrain_height as f32).into()),
        )
        .check(
            "finite_positions",
            ends.iter().filter(finite).count(),
            Bound::Equals(config.simulations.into()),
        )
        .check(
            "depth_in_ground_m",
            most(ends.iter().map(depth)),
            Bound::AtMost(slack),
        )
        .check(
            "depth_in_wall_m",
            most(ends.iter().map(outside)),
            Bound::AtMost(slack),
        )
        .check(
            "energy_rise_m",
            most(ends.iter().map(|end| end.energy_rise / weight)),
            Bound::AtMost(slack + longest_step(config, ends)),
        )
        .value("simulations", config.simulations)
        .value("steps", config.settings().steps)
        .value("vertices", heights.len())
        .value("energy_lost_j", lost)
        .value("sha256", digest(ends))
}

/// Metres that the fastest ball can move in a step, with all its energy. That deep it may get into
/// the ground before the ground pushes it out, which lifts it.
fn longest_step(config: &Physics, ends: &[End]) -> f64 {
    let energy = most(ends.iter().map(|end| end.start_energy));
    (2.0 * energy / config.ball_mass).sqrt() / f64::from(config.tick_rate)
}

/// The largest number; NaN if any is.
fn most(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let larger = |most: f64, number: f64| {
        let takes = number > most || number.is_nan();
        if takes { number } else { most }
    };
    numbers.into_iter().fold(f64::NEG_INFINITY, larger)
}

/// Digest of the bits of all positions at the end.
fn digest(ends: &[End]) -> String {
    use std::fmt::Write as _;
    let mut hash = Sha256::new();
    for place in ends.iter().flat_map(|end| end.position) {
        hash.update(place.to_le_bytes());
    }
    hash.finalize()
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
