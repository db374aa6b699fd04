//! The options.

use taps::{Error, OutputDir, Result};

use crate::simulation::Settings;
use crate::terrain::Shape;

/// Most vertices along a side of the terrain: 16 MB of heights, and 100 MB of memory to make them.
const LARGEST_SIDE: u64 = 2000;
/// Most steps of a ball: what a day is enough for.
const MOST_STEPS: f64 = 1e9;
/// Finest noise, in cells along the terrain. Beyond 2^31, host and guest would not agree.
const MOST_CELLS: f64 = 1e9;

/// Balls that fall on a random terrain.
#[derive(Debug, taps::Config)]
#[taps(check = Physics::check)]
pub(crate) struct Physics {
    /// Balls, each simulated by a task.
    #[taps(default = 8, min = 1, max = 100_000)]
    pub(crate) simulations: u32,
    /// Diameter of a ball in metres.
    #[taps(default = 0.2, min = 0.01, max = 1000.0)]
    pub(crate) ball_diameter: f64,
    /// Mass of a ball in kilograms.
    #[taps(default = 0.05, min = 0.000_001, max = 1_000_000.0)]
    pub(crate) ball_mass: f64,
    /// Steps of the simulation per second.
    #[taps(default = 240, min = 10, max = 100_000)]
    pub(crate) tick_rate: u32,
    /// Seconds that are simulated.
    #[taps(default = 10.0, min = 0.0, max = 1_000_000.0)]
    pub(crate) total_time: f64,
    /// Take a second to simulate a second, by sleeping after each step.
    #[taps(default = false)]
    pub(crate) real_time: bool,
    /// Seed of terrain and balls; none for that of the run.
    pub(crate) seed: Option<u64>,
    /// Side of the square terrain in metres.
    #[taps(default = 20, min = 1, max = 10_000)]
    pub(crate) terrain_width: u32,
    /// Height of the terrain's highest point above its lowest, in metres.
    #[taps(default = 3.0, min = 0.0, max = 10_000.0)]
    pub(crate) terrain_height: f64,
    /// Vertices of the terrain per metre.
    #[taps(default = 10, min = 1, max = 2000)]
    pub(crate) terrain_resolution: u32,
    /// Metres in a cell of the noise: larger is smoother.
    #[taps(default = 10.0, min = 0.001, max = 1_000_000.0)]
    pub(crate) terrain_scale: f64,
    /// Layers of noise, each finer than the one before.
    #[taps(default = 3, min = 1, max = 16)]
    pub(crate) terrain_octaves: u32,
    /// Height of a layer of noise, relative to the one before.
    #[taps(default = 0.2, min = 0.0, max = 10.0)]
    pub(crate) terrain_persistence: f64,
    /// How much finer a layer of noise is than the one before.
    #[taps(default = 2.0, min = 0.01, max = 100.0)]
    pub(crate) terrain_lacunarity: f64,
    /// Standard deviation of the Gaussian filter over the terrain, in vertices; 0 for none.
    #[taps(default = 2.0, min = 0.0, max = 100.0)]
    pub(crate) terrain_filter_size: f64,
    /// Directory for `contour.png`, `terrain.png` and `positions.csv`.
    #[taps(default = "{run_dir}/images")]
    pub(crate) output_dir: OutputDir,
}

impl Physics {
    fn check(&self) -> Result<()> {
        let side = self.vertices();
        if !(2..=LARGEST_SIDE).contains(&side) {
            let width = self.terrain_width;
            let expected = format!(
                "2 to {LARGEST_SIDE} vertices along a side, with terrain_width = {width} and so \
                 many per metre there are {side}; change either"
            );
            return Err(Error::config(
                "terrain_resolution",
                self.terrain_resolution,
                expected,
            ));
        }
        let half = self.length() / 2.0;
        if self.ball_diameter > half {
            let expected = format!("at most {half}, half the length of the terrain");
            return Err(Error::config("ball_diameter", self.ball_diameter, expected));
        }
        let steps = self.total_time * f64::from(self.tick_rate);
        if steps > MOST_STEPS {
            let expected = format!(
                "at most {MOST_STEPS} steps, and not {steps} with tick_rate = {}",
                self.tick_rate
            );
            return Err(Error::config("total_time", self.total_time, expected));
        }
        let finer = self.terrain_lacunarity.max(1.0);
        let layers = (1..self.terrain_octaves).fold(1.0, |cells, _| cells * finer);
        let cells = f64::from(self.terrain_width) / self.terrain_scale * layers;
        if cells > MOST_CELLS {
            let expected = format!(
                "noise of at most {MOST_CELLS} cells along the terrain, and not {cells} with \
                 terrain_scale = {} and terrain_octaves = {}",
                self.terrain_scale, self.terrain_octaves
            );
            return Err(Error::config(
                "terrain_lacunarity",
                self.terrain_lacunarity,
                expected,
            ));
        }
        Ok(())
    }

    /// Vertices along a side.
    fn vertices(&self) -> u64 {
        u64::from(self.terrain_width) * u64::from(self.terrain_resolution)
    }

    /// Metres from the first vertex of a side to the last.
    pub(crate) fn length(&self) -> f64 {
        (self.vertices() - 1) as f64 / f64::from(self.terrain_resolution)
    }

    pub(crate) fn shape(&self, seed: u64) -> Shape {
        Shape {
            seed,
            side: self.vertices() as u32,
            resolution: self.terrain_resolution,
            height: self.terrain_height,
            scale: self.terrain_scale,
            octaves: self.terrain_octaves,
            persistence: self.terrain_persistence,
            lacunarity: self.terrain_lacunarity,
            filter_size: self.terrain_filter_size,
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            diameter: self.ball_diameter,
            mass: self.ball_mass,
            tick_rate: self.tick_rate,
            steps: (self.total_time * f64::from(self.tick_rate)).round() as u64,
            real_time: self.real_time,
            resolution: self.terrain_resolution,
        }
    }
}
