//! The view from above a corner, in parallel projection.
//!
//! ```text
//!                far corner (x and y largest)
//!                     ╱╲
//!   z axis, left ──► ╱  ╲ ◄── right corner (x largest, y 0)
//!                    ╲  ╱
//!                     ╲╱
//!                near corner (0, 0)
//! ```
//!
//! The surface is drawn cell by cell from the far corner to the near one, so that what is nearer
//! covers what is behind it. Only exact operations and constants are used: the same bits everywhere.

use std::f64::consts::FRAC_1_SQRT_2;

use plotters::prelude::*;

use super::{Area, COLORS_OF_POINTS, Surface, TITLE, color, failed, mark, rgb, text};
use crate::PlotError;
use crate::chart::{decimals, label};

/// Most cells along a side that are drawn.
const MOST_CELLS: usize = 120;
/// Sine and cosine of the angle from which one looks down: 30 degrees.
const DOWN: (f64, f64) = (0.5, 0.866_025_403_784_438_6);
/// Height of the picture's box, relative to the side, at least and at most.
const BOX: (f64, f64) = (0.25, 0.6);
/// Direction of the light.
const LIGHT: [f64; 3] = [-0.6, 0.2, 0.774_596_669_241_483_4];

/// Turns places into pixels.
struct Projection {
    length: f64,
    low: f64,
    /// Parts of the side per metre of height.
    lift: f64,
    scale: f64,
    middle: (f64, f64),
}

impl Projection {
    fn new(surface: &Surface<'_>, (width, height): (u32, u32)) -> Self {
        let places = surface.points.iter().flat_map(|set| &set.places);
        let top = places.map(|place| place[2]).fold(surface.high, f64::max);
        let length = surface.length();
        let range = (top - surface.low).max(length * 1e-6);
        let depth = (range / length).clamp(BOX.0, BOX.1);
        let (across, up) = (
            2.0 * FRAC_1_SQRT_2,
            2.0 * FRAC_1_SQRT_2 * DOWN.0 + depth * DOWN.1,
        );
        let (wide, high) = (f64::from(width) - 160.0, f64::from(height) - 150.0);
        let scale = (wide / across).min(high / up).max(10.0);
        let bottom = 70.0 + ((high - scale * up) / 2.0).max(0.0);
        Self {
            length,
            low: surface.low,
            lift: depth / range,
            scale,
            middle: (
                f64::from(width) / 2.0,
                f64::from(height) - bottom - scale * FRAC_1_SQRT_2 * DOWN.0,
            ),
        }
    }

    /// Pixel of a place; x and y are parts of the side, z is in metres.
    fn pixel(&self, x: f64, y: f64, z: f64) -> (i32, i32) {
        let (x, y, z) = (x - 0.5, y - 0.5, (z - self.low) * self.lift);
        let across = (x - y) * FRAC_1_SQRT_2;
        let up = (x + y) * FRAC_1_SQRT_2 * DOWN.0 + z * DOWN.1;
        let pixels = |value: f64| value.round().clamp(-1e6, 1e6) as i32;
        (
            pixels(self.middle.0 + across * self.scale),
            pixels(self.middle.1 - up * self.scale),
        )
    }
}

pub(super) fn draw(surface: &Surface<'_>, area: &Area<'_>) -> Result<(), PlotError> {
    let projection = Projection::new(surface, area.dim_in_pixel());
    let title = TextStyle::from(("sans-serif", TITLE).into_font());
    area.draw_text(&surface.title, &title, (80, 14))
        .map_err(failed)?;
    let cells = (surface.side - 1).min(MOST_CELLS);
    // Points wait until the cells that could cover their mark from behind are drawn.
    let mut waiting = marks(surface, cells);
    for sum in (0..=2 * (cells - 1)).rev() {
        for row in sum.saturating_sub(cells - 1)..=sum.min(cells - 1) {
            cell(surface, area, &projection, (sum - row, row), cells)?;
        }
        while let Some(next) = waiting.pop_if(|next| next.0 > sum + 1) {
            place(area, &projection, &next)?;
        }
    }
    edges(surface, area, &projection, cells)?;
    while let Some(next) = waiting.pop() {
        place(area, &projection, &next)?;
    }
    axes(surface, area, &projection)?;
    surface.legend(area, (area.dim_in_pixel().0.cast_signed() - 130, 24))
}

/// A mark: its diagonal of cells, its place with x and y as parts of the side, its colour.
type Mark = (usize, [f64; 3], RGBColor);

/// The marks of all points; the last is the farthest.
fn marks(surface: &Surface<'_>, cells: usize) -> Vec<Mark> {
    let sets = surface.points.iter().zip(COLORS_OF_POINTS.iter().cycle());
    let mut marks: Vec<Mark> = sets
        .flat_map(|(set, color)| set.places.iter().map(move |place| (place, *color)))
        .map(|(place, color)| {
            let part = |value: f64| (value / surface.length()).clamp(-0.05, 1.05);
            let (x, y) = (part(place[0]), part(place[1]));
            let cell = |part: f64| ((part.max(0.0) * cells as f64) as usize).min(cells - 1);
            (cell(x) + cell(y), [x, y, place[2]], color)
        })
        .collect();
    marks.sort_by_key(|mark| mark.0);
    marks
}

fn place(
    area: &Area<'_>,
    projection: &Projection,
    (_, [x, y, z], color): &Mark,
) -> Result<(), PlotError> {
    mark(area, projection.pixel(*x, *y, *z), *color)
}

/// One cell of the surface, lit from the side.
fn cell(
    surface: &Surface<'_>,
    area: &Area<'_>,
    projection: &Projection,
    (column, row): (usize, usize),
    cells: usize,
) -> Result<(), PlotError> {
    let part = |index: usize| index as f64 / cells as f64;
    let (left, right, near, far) = (part(column), part(column + 1), part(row), part(row + 1));
    let corners = [(left, near), (right, near), (right, far), (left, far)];
    let heights = corners.map(|(x, y)| surface.at(x, y));
    let metres = projection.length / cells as f64;
    let slope_x = (heights[1] + heights[2] - heights[0] - heights[3]) / (2.0 * metres);
    let slope_y = (heights[2] + heights[3] - heights[0] - heights[1]) / (2.0 * metres);
    let normal = [-slope_x, -slope_y, 1.0];
    let size = normal.iter().map(|value| value * value).sum::<f64>().sqrt();
    let lit: f64 = normal
        .iter()
        .zip(LIGHT)
        .map(|(value, light)| value * light)
        .sum();
    let light = 0.45 + 0.65 * (lit / size).clamp(0.0, 1.0);
    let middle = heights.iter().sum::<f64>() / 4.0;
    let shade = rgb(color(surface.part(middle)).map(|value| value * light));
    let mut outline = Vec::with_capacity(4);
    for ((x, y), height) in corners.iter().zip(heights) {
        outline.push(projection.pixel(*x, *y, height));
    }
    area.draw(&Polygon::new(outline, shade.filled()))
        .map_err(failed)
}

/// The two sides that face the viewer, down to the lowest point.
fn edges(
    surface: &Surface<'_>,
    area: &Area<'_>,
    projection: &Projection,
    cells: usize,
) -> Result<(), PlotError> {
    // Along x, and along y.
    for (direction, grey) in [((1.0, 0.0), 150), ((0.0, 1.0), 190)] {
        let side = |at: f64| (at * direction.0, at * direction.1);
        for index in 0..cells {
            let [from, to] = [index, index + 1].map(|index| side(index as f64 / cells as f64));
            let outline = vec![
                projection.pixel(from.0, from.1, surface.low),
                projection.pixel(to.0, to.1, surface.low),
                projection.pixel(to.0, to.1, surface.at(to.0, to.1)),
                projection.pixel(from.0, from.1, surface.at(from.0, from.1)),
            ];
            let shade = RGBColor(grey, grey, grey);
            area.draw(&Polygon::new(outline, shade.filled()))
                .map_err(failed)?;
        }
    }
    Ok(())
}

/// Labels of x and y at the near sides, and of heights at the left corner.
fn axes(surface: &Surface<'_>, area: &Area<'_>, projection: &Projection) -> Result<(), PlotError> {
    let low = surface.low;
    let length = surface.length();
    let digits = decimals(&(0.0..length)) + 1;
    for tick in 0..=4 {
        let part = f64::from(tick) / 4.0;
        let number = label(length * part, digits);
        let (x, y) = projection.pixel(part, 0.0, low);
        text(area, &number, (x + 10, y + 4), 0)?;
        if tick > 0 {
            let (x, y) = projection.pixel(0.0, part, low);
            text(area, &number, (x - 10, y + 4), -1)?;
        }
    }
    let (x, y) = projection.pixel(0.5, 0.0, low);
    text(area, "x (m)", (x + 60, y + 30), 0)?;
    let (x, y) = projection.pixel(0.0, 0.5, low);
    text(area, "y (m)", (x - 60, y + 30), -1)?;
    let top = projection.pixel(0.0, 1.0, surface.high);
    let base = projection.pixel(0.0, 1.0, low);
    area.draw(&PathElement::new([base, top], BLACK))
        .map_err(failed)?;
    let digits = decimals(&(low..surface.high.max(low + 1e-6)));
    let number = format!("{} m", label(surface.high, digits));
    text(area, &number, (top.0 - 8, top.1 - 8), -1)
}
