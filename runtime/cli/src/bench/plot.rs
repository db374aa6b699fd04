//! The plot of `bench data`: round trip against size, both logarithmic, a line for each way and executor.

use super::data::Cell;
use plotters::prelude::*;
use std::{error::Error, path::Path};

/// Size of the picture.
const PIXELS: (u32, u32) = (960, 640);

/// Writes the plot as SVG.
pub(super) fn write(path: &Path, cells: &[Cell]) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut text = String::new();
    draw(&mut text, cells).map_err(|error| error.to_string())?;
    std::fs::write(path, text)?;
    Ok(())
}

fn draw(text: &mut String, cells: &[Cell]) -> Result<(), Box<dyn Error>> {
    let points: Vec<(f64, f64)> = cells
        .iter()
        .filter_map(|cell| Some((cell.bytes as f64, cell.round_trip_us?)))
        .collect();
    if points.is_empty() {
        return Err("there are no figures to plot".into());
    }
    let range = |of: fn(&(f64, f64)) -> f64| {
        let values = points.iter().map(of);
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let most = values.fold(0.0, f64::max);
        least / 1.5..most * 1.5
    };
    let root = SVGBackend::with_string(text, PIXELS).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(
            "Round trip of a payload, every byte read and written",
            ("sans-serif", 20),
        )
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(
            range(|point| point.0).log_scale(),
            range(|point| point.1).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc("bytes")
        .y_desc("microseconds")
        .draw()?;
    let mut lines: Vec<(&str, super::data::Way)> = Vec::new();
    for cell in cells {
        if !lines.contains(&(&cell.executor, cell.way)) {
            lines.push((&cell.executor, cell.way));
        }
    }
    for (index, (executor, way)) in lines.into_iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let of_line = |cell: &&Cell| cell.executor == executor && cell.way == way;
        let points: Vec<_> = cells
            .iter()
            .filter(of_line)
            .filter_map(|cell| Some((cell.bytes as f64, cell.round_trip_us?)))
            .collect();
        let label = serde_json::to_value(way)?;
        let label = format!("{executor}, {}", label.as_str().unwrap_or_default());
        chart
            .draw_series(LineSeries::new(points.clone(), color.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        chart.draw_series(
            points
                .into_iter()
                .map(|point| Circle::new(point, 3, color.filled())),
        )?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    drop(chart);
    Ok(())
}
