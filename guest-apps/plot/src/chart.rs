//! The chart: ranges, axes, series, legend.

use std::fmt::Display;
use std::ops::Range;

use plotters::prelude::*;

use crate::canvas::Canvas;
use crate::{Mark, Plot, PlotError, Series};

/// Part of a range that an axis reaches beyond it, on each side.
const MARGIN: f64 = 0.04;
/// Largest coordinate: sums and differences of two stay finite.
const LARGEST_COORDINATE: f64 = 1e300;
/// Digits after the point of the finest labels.
const FINEST_DECIMALS: usize = 12;
/// Size of text in pixels.
const TEXT: f64 = 16.0;
/// Size of the title in pixels.
const TITLE: f64 = 20.0;
/// Part of the width and of the height of a plot that a legend may take.
const LEGEND: (f64, f64) = (0.35, 0.25);
/// Radius of a dot in pixels.
const DOT: i32 = 4;
/// Series of different colours; then they repeat. Told apart in all common kinds of colour vision
/// (Okabe and Ito, "Color Universal Design", 2008).
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// The pixels of a plot, three bytes each.
pub(crate) fn draw(plot: &Plot) -> Result<Vec<u8>, PlotError> {
    plot.series.iter().try_for_each(check)?;
    let mut pixels = vec![0; Canvas::bytes(plot.width, plot.height)];
    draw_on(plot, Canvas::new(&mut pixels, plot.width, plot.height))?;
    Ok(pixels)
}

fn check(series: &Series) -> Result<(), PlotError> {
    let placed = |value: f64| value.abs() <= LARGEST_COORDINATE;
    match series
        .points
        .iter()
        .position(|(x, y)| !placed(*x) || !placed(*y))
    {
        None => Ok(()),
        Some(index) => Err(PlotError::NotFinite {
            series: series.name.clone(),
            index,
            x: series.points[index].0,
            y: series.points[index].1,
        }),
    }
}

fn draw_on(plot: &Plot, canvas: Canvas<'_>) -> Result<(), PlotError> {
    let root = canvas.into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let points = || plot.series.iter().flat_map(|series| &series.points);
    let x_range = range(points().map(|point| point.0));
    let y_range = range(points().map(|point| point.1));
    let ranges = (x_range.clone(), y_range.clone());
    let x_decimals = decimals(&x_range);
    let y_decimals = decimals(&y_range);
    let y_label_width = widest_label(&y_range, y_decimals) + 3 * TEXT as u32;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .caption(&plot.title, ("sans-serif", TITLE))
        .x_label_area_size(3 * TEXT as u32)
        .y_label_area_size(y_label_width)
        .build_cartesian_2d(x_range, y_range)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc(&plot.x_label)
        .y_desc(&plot.y_label)
        .label_style(("sans-serif", TEXT))
        .axis_desc_style(("sans-serif", TEXT))
        .x_label_formatter(&|value| label(*value, x_decimals))
        .y_label_formatter(&|value| label(*value, y_decimals))
        .x_labels(10)
        .y_labels(10)
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .draw()
        .map_err(failed)?;
    for (series, color) in plot.series.iter().zip(COLORS.iter().cycle()) {
        let points = series.points.iter().copied();
        match series.mark {
            Mark::Points => chart
                .draw_series(points.map(|point| Circle::new(point, DOT, color.filled())))
                .map_err(failed)?
                .label(&series.name)
                .legend(|(x, y)| Circle::new((x + 10, y), DOT, color.filled())),
            Mark::Line => chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)))
                .map_err(failed)?
                .label(&series.name)
                .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2))),
        };
    }
    if !plot.series.is_empty() {
        chart
            .configure_series_labels()
            .position(legend_corner(plot, &ranges))
            .label_font(("sans-serif", TEXT))
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .draw()
            .map_err(failed)?;
    }
    root.present().map_err(failed)
}

/// The corner in which the legend hides the fewest points; of equal ones the first of this list.
fn legend_corner(
    plot: &Plot,
    (x_range, y_range): &(Range<f64>, Range<f64>),
) -> SeriesLabelPosition {
    let hidden = |right: bool, top: bool| {
        let points = plot.series.iter().flat_map(|series| &series.points);
        let near = |value: f64, range: &Range<f64>, part: f64, upper: bool| {
            let from_start = (value - range.start) / (range.end - range.start);
            if upper {
                from_start > 1.0 - part
            } else {
                from_start < part
            }
        };
        let (width, height) = LEGEND;
        points
            .filter(|(x, y)| near(*x, x_range, width, right) && near(*y, y_range, height, top))
            .count()
    };
    [
        (hidden(true, false), SeriesLabelPosition::LowerRight),
        (hidden(false, true), SeriesLabelPosition::UpperLeft),
        (hidden(true, true), SeriesLabelPosition::UpperRight),
        (hidden(false, false), SeriesLabelPosition::LowerLeft),
    ]
    .into_iter()
    .min_by_key(|(points, _)| *points)
    .map_or(SeriesLabelPosition::LowerRight, |(_, corner)| corner)
}

fn failed(error: impl Display) -> PlotError {
    PlotError::Draw(error.to_string())
}

/// The range of an axis: all values, and a little more on each side.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if low > high {
        return 0.0..1.0;
    }
    // Equal values, or such that differ by rounding only, need a range all the same.
    let smallest = (low.abs().max(high.abs()) * 1e-9).max(f64::MIN_POSITIVE);
    let width = high - low;
    if width < smallest {
        let half = (low.abs() * 0.05).max(0.5);
        return low - half..high + half;
    }
    low - MARGIN * width..high + MARGIN * width
}

/// Digits after the point that tell ten labels of a range apart.
fn decimals(range: &Range<f64>) -> usize {
    let mut step = (range.end - range.start) / 10.0;
    let mut decimals = 0;
    while step < 1.0 && decimals < FINEST_DECIMALS {
        step *= 10.0;
        decimals += 1;
    }
    decimals
}

/// A number at an axis.
fn label(value: f64, decimals: usize) -> String {
    if value.abs() >= 1e7 {
        return format!("{value:.3e}");
    }
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(digits) if digits.bytes().all(|byte| matches!(byte, b'0' | b'.')) => digits.to_owned(),
        _ => text,
    }
}

/// Pixels of the widest label.
fn widest_label(range: &Range<f64>, decimals: usize) -> u32 {
    let width = |value| crate::canvas::text_size(&label(value, decimals), TEXT).0;
    width(range.start).max(width(range.end))
}
