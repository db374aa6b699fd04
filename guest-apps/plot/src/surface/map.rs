//! The map.

use plotters::prelude::*;

use super::{
    Area, BANDS, COLORS_OF_POINTS, Surface, TEXT, TITLE, band, color, failed, mark, rgb, text,
};
use crate::PlotError;
use crate::chart::{decimals, label};

/// Pixels beside the map that the scale of heights takes.
const SCALE: u32 = 130;

pub(super) fn draw(surface: &Surface<'_>, area: &Area<'_>) -> Result<(), PlotError> {
    let (width, height) = area.dim_in_pixel();
    let side = height
        .saturating_sub(120)
        .min(width.saturating_sub(90 + SCALE))
        .max(40);
    let (left, top) = (80, 50);
    let title = TextStyle::from(("sans-serif", TITLE).into_font());
    area.draw_text(&surface.title, &title, (left, 14))
        .map_err(failed)?;
    let side = side.cast_signed();
    fill(surface, area, (left, top), side)?;
    axes(surface, area, (left, top), side)?;
    scale(surface, area, (left + side + 24, top), side)?;
    points(surface, area, (left, top), side)?;
    surface.legend(area, (left + side + 30, top + side / 2 + 60))
}

/// Bands of colour, and dark lines where they meet.
fn fill(
    surface: &Surface<'_>,
    area: &Area<'_>,
    (left, top): (i32, i32),
    side: i32,
) -> Result<(), PlotError> {
    let band_at = |column: i32, row: i32| {
        let part = |pixel: i32| f64::from(pixel) / f64::from(side - 1);
        band(surface.part(surface.at(part(column), 1.0 - part(row))))
    };
    let mut below: Vec<usize> = (0..side).map(|column| band_at(column, 0)).collect();
    for row in 0..side {
        let bands = below;
        below = (0..side)
            .map(|column| band_at(column, (row + 1).min(side - 1)))
            .collect();
        for (column, (here, under)) in (0i32..).zip(bands.iter().zip(&below)) {
            let right = bands.get(column as usize + 1).unwrap_or(here);
            let mut shade = color((*here as f64 + 0.5) / f64::from(BANDS));
            if here != under || here != right {
                shade = shade.map(|value| value * 0.45);
            }
            area.draw_pixel((left + column, top + row), &rgb(shade))
                .map_err(failed)?;
        }
    }
    Ok(())
}

/// Frame, and labels of x and y.
fn axes(
    surface: &Surface<'_>,
    area: &Area<'_>,
    (left, top): (i32, i32),
    side: i32,
) -> Result<(), PlotError> {
    let (right, bottom) = (left + side, top + side);
    let frame = Rectangle::new(
        [(left - 1, top - 1), (right, bottom)],
        BLACK.stroke_width(1),
    );
    area.draw(&frame).map_err(failed)?;
    let length = surface.length();
    let digits = decimals(&(0.0..length)) + 1;
    for tick in 0..=4 {
        let number = label(length * f64::from(tick) / 4.0, digits);
        let place = side * tick / 4;
        let lines = [
            [(left + place, bottom), (left + place, bottom + 5)],
            [(left - 6, bottom - place), (left - 1, bottom - place)],
        ];
        for line in lines {
            area.draw(&PathElement::new(line, BLACK)).map_err(failed)?;
        }
        text(area, &number, (left + place, bottom + 8), 1)?;
        text(
            area,
            &number,
            (left - 10, bottom - place - TEXT as i32 / 2),
            -1,
        )?;
    }
    text(area, "x (m)", (left + side / 2, bottom + 30), 1)?;
    text(area, "y (m)", (left - 10, top + side * 3 / 8), -1)
}

/// What the colours mean.
fn scale(
    surface: &Surface<'_>,
    area: &Area<'_>,
    (left, top): (i32, i32),
    side: i32,
) -> Result<(), PlotError> {
    let height = side / 2;
    let bands = i32::from(BANDS);
    let digits = decimals(&(surface.low..surface.high.max(surface.low + 1e-6))) + 1;
    for step in 0..=bands {
        let y = top + 24 + height - height * step / bands;
        if step < bands {
            let above = top + 24 + height - height * (step + 1) / bands;
            let shade = rgb(color((f64::from(step) + 0.5) / f64::from(BANDS)));
            let field = Rectangle::new([(left, above), (left + 20, y)], shade.filled());
            area.draw(&field).map_err(failed)?;
        }
        if step % 3 == 0 {
            let part = f64::from(step) / f64::from(BANDS);
            let number = surface.low + (surface.high - surface.low) * part;
            text(area, &label(number, digits), (left + 28, y - 8), 0)?;
        }
    }
    text(area, "height (m)", (left, top - 4), 0)
}

/// The points, and lines from the n-th of a set to the n-th of the next.
fn points(
    surface: &Surface<'_>,
    area: &Area<'_>,
    (left, top): (i32, i32),
    side: i32,
) -> Result<(), PlotError> {
    let pixel = |place: &[f64; 3]| {
        let part = |value: f64| (value / surface.length()).clamp(-0.05, 1.05);
        let pixels = |part: f64| (part * f64::from(side - 1)).round() as i32;
        (
            left + pixels(part(place[0])),
            top + pixels(1.0 - part(place[1])),
        )
    };
    for sets in surface.points.windows(2) {
        for (from, to) in sets[0].places.iter().zip(&sets[1].places) {
            let line = PathElement::new([pixel(from), pixel(to)], WHITE.mix(0.8));
            area.draw(&line).map_err(failed)?;
        }
    }
    for (set, color) in surface.points.iter().zip(COLORS_OF_POINTS.iter().cycle()) {
        for place in &set.places {
            mark(area, pixel(place), *color)?;
        }
    }
    Ok(())
}
