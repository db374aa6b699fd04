//! A surface over a square: as a map with contour lines, and as seen from above a corner.

mod map;
mod view;

use std::fmt::Display;

use plotters::prelude::*;

use crate::canvas::{Canvas, text_size};
use crate::chart::COLORS;
use crate::{PlotError, check_size, encode};

/// Width of the images in pixels, unless [`Surface::size`] says otherwise.
pub const SURFACE_WIDTH: u32 = 900;
/// Height of the images in pixels, unless [`Surface::size`] says otherwise.
pub const SURFACE_HEIGHT: u32 = 760;

/// Size of text in pixels.
const TEXT: f64 = 16.0;
/// Size of the title in pixels.
const TITLE: f64 = 20.0;
/// Radius of the mark of a point in pixels.
const DOT: i32 = 5;
/// Bands of colour from the lowest to the highest point.
const BANDS: u8 = 12;
/// Colours of heights, from low to high: dark to light, so that they can be told apart in all kinds
/// of colour vision (five samples of the map "viridis").
const HEIGHTS: [[f64; 3]; 5] = [
    [68.0, 1.0, 84.0],
    [59.0, 82.0, 139.0],
    [33.0, 145.0, 140.0],
    [94.0, 201.0, 98.0],
    [253.0, 231.0, 37.0],
];

type Area<'a> = DrawingArea<Canvas<'a>, plotters::coord::Shift>;

struct Points {
    name: String,
    places: Vec<[f64; 3]>,
}

/// A surface over a square, given by heights on a grid, with named sets of points on or above it.
///
/// ```
/// use taps_plot::Surface;
///
/// let heights = [0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0];
/// let surface = Surface::new("A hill", &heights, 3, 0.5).points("climber", &[[0.5, 0.5, 2.0]]);
/// assert_eq!(surface.contour_png()?[1..4], *b"PNG");
/// assert_eq!(surface.view_png()?[1..4], *b"PNG");
/// # Ok::<(), taps_plot::PlotError>(())
/// ```
pub struct Surface<'a> {
    title: String,
    heights: &'a [f32],
    side: usize,
    spacing: f64,
    low: f64,
    high: f64,
    points: Vec<Points>,
    width: u32,
    height: u32,
}

impl<'a> Surface<'a> {
    /// A surface with `side` rows of as many heights each: a row for each y from 0, in it a height
    /// for each x from 0, `spacing` metres apart, heights in metres.
    pub fn new(title: &str, heights: &'a [f32], side: usize, spacing: f64) -> Self {
        let wide = || heights.iter().copied().map(f64::from);
        Self {
            title: title.to_owned(),
            heights,
            side,
            spacing,
            low: wide().fold(f64::INFINITY, f64::min),
            high: wide().fold(f64::NEG_INFINITY, f64::max),
            points: Vec::new(),
            width: SURFACE_WIDTH,
            height: SURFACE_HEIGHT,
        }
    }

    /// Adds points, as x, y and z in metres, with a name for the legend.
    #[must_use]
    pub fn points(mut self, name: &str, places: &[[f64; 3]]) -> Self {
        self.points.push(Points {
            name: name.to_owned(),
            places: places.to_vec(),
        });
        self
    }

    /// Width and height of the images in pixels, each from 200 to 4,000.
    #[must_use]
    pub fn size(mut self, width: u32, height: u32) -> Self {
        (self.width, self.height) = (width, height);
        self
    }

    /// The map, as the bytes of a PNG file: bands of colour, contour lines between them, a scale of
    /// heights, and the points. Lines join the n-th points of all sets.
    pub fn contour_png(&self) -> Result<Vec<u8>, PlotError> {
        self.png(map::draw)
    }

    /// The surface as seen from above the corner where x and y are 0, as the bytes of a PNG file.
    /// Heights are enlarged where they would be hard to see.
    pub fn view_png(&self) -> Result<Vec<u8>, PlotError> {
        self.png(view::draw)
    }

    fn png(
        &self,
        draw: impl Fn(&Self, &Area<'_>) -> Result<(), PlotError>,
    ) -> Result<Vec<u8>, PlotError> {
        self.check()?;
        let mut pixels = vec![0; Canvas::bytes(self.width, self.height)];
        {
            let area = Canvas::new(&mut pixels, self.width, self.height).into_drawing_area();
            area.fill(&WHITE).map_err(failed)?;
            draw(self, &area)?;
            area.present().map_err(failed)?;
        }
        encode(&pixels, self.width, self.height)
    }

    fn check(&self) -> Result<(), PlotError> {
        check_size(self.width, self.height)?;
        let (side, heights) = (self.side, self.heights.len());
        if side < 2
            || side.checked_mul(side) != Some(heights)
            || self.spacing.is_nan()
            || self.spacing <= 0.0
        {
            return Err(PlotError::Grid { side, heights });
        }
        if let Some(at) = self.heights.iter().position(|height| !height.is_finite()) {
            return Err(self.no_place("heights", at, at % side, at / side));
        }
        for set in &self.points {
            let finite = |place: &[f64; 3]| place.iter().all(|value| value.abs() <= 1e30);
            if let Some(at) = set.places.iter().position(|place| !finite(place)) {
                let [x, y, _] = set.places[at];
                return Err(PlotError::NotFinite {
                    series: set.name.clone(),
                    index: at,
                    x,
                    y,
                });
            }
        }
        Ok(())
    }

    fn no_place(&self, series: &str, index: usize, column: usize, row: usize) -> PlotError {
        PlotError::NotFinite {
            series: series.to_owned(),
            index,
            x: column as f64 * self.spacing,
            y: row as f64 * self.spacing,
        }
    }

    /// Length of a side in metres.
    fn length(&self) -> f64 {
        (self.side - 1) as f64 * self.spacing
    }

    /// Height at a place, given as parts of the side from 0 to 1.
    fn at(&self, x: f64, y: f64) -> f64 {
        let last = self.side - 1;
        let cell = |part: f64| {
            let place = (part * last as f64).clamp(0.0, last as f64);
            let cell = (place as usize).min(last - 1);
            (cell, place - cell as f64)
        };
        let ((column, right), (row, up)) = (cell(x), cell(y));
        let height = |row: usize, column: usize| f64::from(self.heights[row * self.side + column]);
        let mix = |from: f64, to: f64, part: f64| from + (to - from) * part;
        let lower = mix(height(row, column), height(row, column + 1), right);
        let upper = mix(height(row + 1, column), height(row + 1, column + 1), right);
        mix(lower, upper, up)
    }

    /// Height as a part of the surface's range, from 0 to 1.
    fn part(&self, height: f64) -> f64 {
        if self.high > self.low {
            ((height - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
        } else {
            0.0
        }
    }

    /// The names of the points, from a place downwards.
    fn legend(&self, area: &Area<'_>, (left, top): (i32, i32)) -> Result<(), PlotError> {
        for (row, (set, color)) in (0i32..).zip(self.points.iter().zip(&COLORS_OF_POINTS)) {
            let middle = top + row * 24;
            mark(area, (left, middle), *color)?;
            text(area, &set.name, (left + 14, middle - 8), 0)?;
        }
        Ok(())
    }
}

/// Colours of sets of points: two that stand out from the surface, then those of other plots.
const COLORS_OF_POINTS: [RGBColor; 6] = [
    RGBColor(255, 255, 255),
    RGBColor(213, 94, 0),
    COLORS[0],
    COLORS[3],
    COLORS[4],
    COLORS[5],
];

/// Colour of a part of the range of heights.
fn color(part: f64) -> [f64; 3] {
    let last = HEIGHTS.len() - 1;
    let place = part.clamp(0.0, 1.0) * last as f64;
    let from = (place as usize).min(last - 1);
    let part = place - from as f64;
    let mut color = HEIGHTS[from];
    for (value, to) in color.iter_mut().zip(HEIGHTS[from + 1]) {
        *value += (to - *value) * part;
    }
    color
}

fn rgb(color: [f64; 3]) -> RGBColor {
    let [red, green, blue] = color.map(|value| value.round().clamp(0.0, 255.0) as u8);
    RGBColor(red, green, blue)
}

/// The band of colour of a part of the range.
fn band(part: f64) -> usize {
    ((part * f64::from(BANDS)) as usize).min(usize::from(BANDS) - 1)
}

/// Draws the mark of a point.
fn mark(area: &Area<'_>, place: (i32, i32), color: RGBColor) -> Result<(), PlotError> {
    let dot = Circle::new(place, DOT, color.filled());
    area.draw(&dot).map_err(failed)?;
    let edge = Circle::new(place, DOT, BLACK.stroke_width(1));
    area.draw(&edge).map_err(failed)
}

/// Writes a line of text; `anchor` is -1 when it ends at the place, 0 when it begins there, 1 when
/// the place is its middle.
fn text(area: &Area<'_>, line: &str, place: (i32, i32), anchor: i32) -> Result<(), PlotError> {
    let width = text_size(line, TEXT).0.cast_signed();
    let left = match anchor {
        0 => place.0,
        1 => place.0 - width / 2,
        _ => place.0 - width,
    };
    let text = Text::new(line.to_owned(), (left, place.1), ("sans-serif", TEXT));
    area.draw(&text).map_err(failed)
}

fn failed(error: impl Display) -> PlotError {
    PlotError::Draw(error.to_string())
}
