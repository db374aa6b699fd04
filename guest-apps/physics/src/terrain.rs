//! The terrain: a square grid of heights.
//!
//! ```text
//!  y ▲   row side-1  ·──·──·──·      columns along x, rows along y
//!    │               │╲ │╲ │╲ │      neighbours are 1 / resolution metres apart
//!    │   row 1       ·──·──·──·      each cell is two triangles, cut from its upper
//!    │               │╲ │╲ │╲ │      left to its lower right corner
//!    │   row 0       ·──·──·──·
//!    └──────────────────────────► x
//! ```
//!
//! Only operations that give the same bits on every host are used: those of IEEE 754, and `libm`.

use noise::{NoiseFn, Perlin};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use taps::{Array, Error, Result};

/// Stream of random numbers of the terrain; balls have those from 0.
const STREAM: u64 = u64::MAX;
/// Offsets of octaves are drawn from 0 to this many cells of the noise, which repeats after 256.
const LARGEST_OFFSET: f64 = 256.0;
/// How far the Gaussian filter reaches, in standard deviations.
const FILTER_REACH: f64 = 4.0;

/// What a terrain follows from.
#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shape {
    /// Seed of the noise.
    pub(crate) seed: u64,
    /// Vertices along a side, at least 2.
    pub(crate) side: u32,
    /// Vertices per metre.
    pub(crate) resolution: u32,
    /// Difference between highest and lowest point, in metres.
    pub(crate) height: f64,
    /// Metres in a cell of the noise.
    pub(crate) scale: f64,
    /// Layers of noise.
    pub(crate) octaves: u32,
    /// Height of a layer of noise, relative to the one before.
    pub(crate) persistence: f64,
    /// Frequency of a layer of noise, relative to the one before.
    pub(crate) lacunarity: f64,
    /// Standard deviation of the Gaussian filter, in vertices; 0 for none.
    pub(crate) filter_size: f64,
}

/// Makes the terrain: heights in metres from 0 to the height asked for, a row for each y.
#[taps::task(pure)]
pub(crate) fn make_terrain(shape: Shape) -> Result<Array<f32>> {
    let side = shape.side as usize;
    let mut heights = perlin(&shape);
    smooth(&mut heights, side, shape.filter_size);
    normalise(&mut heights, shape.height)?;
    Ok(Array::from_fn(&[side, side], |at| heights[at] as f32))
}

/// Layers of Perlin noise, each finer and lower than the one before.
fn perlin(shape: &Shape) -> Vec<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(shape.seed);
    random.set_stream(STREAM);
    let noise = Perlin::new(random.random());
    let offset: [f64; 2] = [(); 2].map(|()| random.random_range(0.0..LARGEST_OFFSET));
    let side = shape.side as usize;
    let metres = |vertex: usize| vertex as f64 / f64::from(shape.resolution);
    let mut heights = vec![0.0; side * side];
    let (mut amplitude, mut frequency) = (1.0, 1.0 / shape.scale);
    for _ in 0..shape.octaves {
        for (at, height) in heights.iter_mut().enumerate() {
            let x = metres(at % side) * frequency + offset[0];
            let y = metres(at / side) * frequency + offset[1];
            *height += amplitude * noise.get([x, y]);
        }
        amplitude *= shape.persistence;
        frequency *= shape.lacunarity;
    }
    heights
}

/// Gaussian filter along both axes. Beyond its edges the terrain is mirrored.
fn smooth(heights: &mut [f64], side: usize, deviation: f64) {
    if deviation == 0.0 {
        return;
    }
    let weights = gaussian(deviation);
    let mut line = vec![0.0; side];
    for row in heights.chunks_exact_mut(side) {
        line.copy_from_slice(row);
        for (at, value) in row.iter_mut().enumerate() {
            *value = filtered(&line, at, &weights);
        }
    }
    for column in 0..side {
        for (row, value) in line.iter_mut().enumerate() {
            *value = heights[row * side + column];
        }
        for row in 0..side {
            heights[row * side + column] = filtered(&line, row, &weights);
        }
    }
}

/// Weights of the filter at distance 0, 1, … vertices; those of both sides add up to 1.
fn gaussian(deviation: f64) -> Vec<f64> {
    let reach = (FILTER_REACH * deviation + 0.5) as usize;
    let weight = |distance: usize| {
        let relative = distance as f64 / deviation;
        libm::exp(-0.5 * relative * relative)
    };
    let mut weights: Vec<f64> = (0..=reach).map(weight).collect();
    let sum = weights[0] + 2.0 * weights[1..].iter().sum::<f64>();
    for weight in &mut weights {
        *weight /= sum;
    }
    weights
}

fn filtered(line: &[f64], at: usize, weights: &[f64]) -> f64 {
    let length = line.len();
    // The line, mirrored at its ends again and again: d c b a | a b c d | d c b a.
    let mirrored = |position: usize| {
        let position = position % (2 * length);
        line[position.min(2 * length - 1 - position)]
    };
    // As far to the right as keeps positions to the left of it above 0.
    let at = at + weights.len().next_multiple_of(2 * length);
    let mut sum = weights[0] * mirrored(at);
    for (distance, weight) in (1..).zip(&weights[1..]) {
        sum += weight * (mirrored(at - distance) + mirrored(at + distance));
    }
    sum
}

/// Moves and stretches the heights so that they go from 0 to `height`.
fn normalise(heights: &mut [f64], height: f64) -> Result<()> {
    let low = heights.iter().copied().fold(f64::INFINITY, f64::min);
    let high = heights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let difference = high - low;
    // Differences of rounding are no shape.
    let least = 1e-9 * high.abs().max(low.abs()).max(1e-9);
    if (difference.is_nan() || difference <= least) && height > 0.0 {
        return Err(Error::app(
            "FlatTerrain",
            format!(
                "the noise is the same everywhere, so that it cannot be made terrain_height = \
                 {height} m high; hint: a smaller terrain_scale or terrain_filter_size"
            ),
        ));
    }
    for value in heights {
        *value = if height > 0.0 {
            (*value - low) / difference * height
        } else {
            0.0
        };
    }
    Ok(())
}

/// Height of the terrain at a place in metres; outside, that of its edge.
pub(crate) fn height_at(terrain: &Array<f32>, resolution: u32, x: f64, y: f64) -> f64 {
    let last = terrain.rows() - 1;
    let place = |metres: f64| {
        let vertices = (metres * f64::from(resolution)).clamp(0.0, last as f64);
        let cell = (vertices as usize).min(last - 1);
        (cell, vertices - cell as f64)
    };
    let ((column, right), (row, up)) = (place(x), place(y));
    let height = |row: usize, column: usize| f64::from(terrain[(row, column)]);
    let lower_right = height(row, column + 1);
    let upper_left = height(row + 1, column);
    if right + up <= 1.0 {
        let corner = height(row, column);
        corner + right * (lower_right - corner) + up * (upper_left - corner)
    } else {
        let corner = height(row + 1, column + 1);
        corner + (1.0 - right) * (upper_left - corner) + (1.0 - up) * (lower_right - corner)
    }
}
