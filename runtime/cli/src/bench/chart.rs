//! Plots of benches, as SVG.

use super::table::Row;
use plotters::{
    coord::{Shift, ranged1d::ValueFormatter, types::RangedCoordf64},
    prelude::*,
};
use std::{error::Error, ops::Range};

/// Size of the picture.
const PIXELS: (u32, u32) = (960, 640);

/// Share of a group of bars that they fill.
const FILLED: f64 = 0.8;

/// A point: where it is, and half of the interval of its height.
pub(super) type Point = (f64, f64, f64);

/// Bars of one colour: their name, and a height and half of its interval for each group.
pub(super) type Series = (String, Vec<Option<(f64, f64)>>);

/// What is drawn.
pub(super) enum Chart {
    /// Lines with points and intervals.
    Lines {
        caption: String,
        x: Axis,
        y: Axis,
        lines: Vec<(String, Vec<Point>)>,
    },
    /// Bars in groups, with intervals.
    Bars {
        caption: String,
        /// The upright axis.
        y: Axis,
        groups: Vec<String>,
        series: Vec<Series>,
    },
}

/// An axis of a chart with lines.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    pub(super) title: &'static str,
    pub(super) scale: Scale,
}

/// How values are spread on an axis.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// Evenly, from zero.
    Linear,
    /// By their powers.
    Logarithmic,
}

impl Axis {
    pub(super) const fn linear(title: &'static str) -> Self {
        Self {
            title,
            scale: Scale::Linear,
        }
    }

    pub(super) const fn logarithmic(title: &'static str) -> Self {
        Self {
            title,
            scale: Scale::Logarithmic,
        }
    }

    fn range(self, values: impl Iterator<Item = f64> + Clone) -> Range<f64> {
        let most = values.clone().fold(f64::MIN_POSITIVE, f64::max);
        match self.scale {
            Scale::Linear => 0.0..most * 1.05,
            Scale::Logarithmic => values.fold(f64::INFINITY, f64::min) / 1.5..most * 1.5,
        }
    }
}

type Drawn = Result<(), Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

impl Chart {
    /// Bars of a figure: rows of equal keys of the first kind are a group, of the second a series.
    pub(super) fn grouped(
        caption: &str,
        y: &'static str,
        rows: &[Row],
        (groups, series): (&[&str], &[&str]),
        figure: &str,
    ) -> Self {
        let label = |row: &Row, keys: &[&str]| {
            let keys: Vec<String> = keys.iter().map(|key| row.text(key)).collect();
            keys.join(", ")
        };
        let distinct = |keys: &[&str]| {
            let mut labels: Vec<String> = Vec::new();
            for row in rows {
                let label = label(row, keys);
                if !labels.contains(&label) {
                    labels.push(label);
                }
            }
            labels
        };
        let names = distinct(groups);
        let bars = |of: &String| {
            let bar = |group: &String| {
                let here = |row: &&Row| label(row, groups) == *group && label(row, series) == *of;
                rows.iter().find(here)?.mean(figure)
            };
            names.iter().map(bar).collect()
        };
        let series = distinct(series).into_iter().map(|of| {
            let bars = bars(&of);
            (of, bars)
        });
        Self::Bars {
            caption: caption.to_owned(),
            y: Axis::linear(y),
            series: series.collect(),
            groups: names,
        }
    }

    /// The picture; `None` when there is nothing to draw.
    pub(super) fn svg(&self) -> Result<Option<String>, String> {
        let mut text = String::new();
        let is_empty = match self {
            Self::Lines { lines, .. } => lines.iter().all(|(_, points)| points.is_empty()),
            Self::Bars { series, .. } => series
                .iter()
                .all(|(_, bars)| bars.iter().all(Option::is_none)),
        };
        if is_empty {
            return Ok(None);
        }
        self.draw(&mut text).map_err(|error| error.to_string())?;
        Ok(Some(text))
    }

    fn draw(&self, text: &mut String) -> Drawn {
        let root = SVGBackend::with_string(text, PIXELS).into_drawing_area();
        root.fill(&WHITE)?;
        match self {
            Self::Lines {
                caption,
                x,
                y,
                lines,
            } => draw_lines(&root, caption, (*x, *y), lines)?,
            Self::Bars {
                caption,
                y,
                groups,
                series,
            } => draw_bars(&root, caption, *y, groups, series)?,
        }
        root.present()?;
        Ok(())
    }
}

fn draw_lines(
    root: &Area<'_>,
    caption: &str,
    (x, y): (Axis, Axis),
    lines: &[(String, Vec<Point>)],
) -> Drawn {
    let points = lines.iter().flat_map(|(_, points)| points);
    let across = x.range(points.clone().map(|point| point.0));
    let up = y.range(points.map(|point| point.1 + point.2));
    let mut builder = ChartBuilder::on(root);
    let builder = builder
        .caption(caption, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(72);
    // Each pair of scales is a type of its own.
    match (x.scale, y.scale) {
        (Scale::Linear, Scale::Linear) => {
            fill(builder.build_cartesian_2d(across, up)?, (x, y), lines)
        }
        (Scale::Linear, Scale::Logarithmic) => fill(
            builder.build_cartesian_2d(across, up.log_scale())?,
            (x, y),
            lines,
        ),
        (Scale::Logarithmic, Scale::Linear) => fill(
            builder.build_cartesian_2d(across.log_scale(), up)?,
            (x, y),
            lines,
        ),
        (Scale::Logarithmic, Scale::Logarithmic) => fill(
            builder.build_cartesian_2d(across.log_scale(), up.log_scale())?,
            (x, y),
            lines,
        ),
    }
}

fn fill<'a, 'b: 'a, X, Y>(
    mut chart: ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>,
    (x, y): (Axis, Axis),
    lines: &[(String, Vec<Point>)],
) -> Drawn
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .x_desc(x.title)
        .y_desc(y.title)
        .max_light_lines(1)
        .x_label_formatter(&tick)
        .y_label_formatter(&tick)
        .draw()?;
    // A distribution rises at the left, what else is drawn mostly at the right.
    let legend = match (x.scale, y.scale) {
        (Scale::Logarithmic, Scale::Linear) => SeriesLabelPosition::LowerRight,
        _ => SeriesLabelPosition::UpperLeft,
    };
    for (index, (label, points)) in lines.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let line = points.iter().map(|point| (point.0, point.1));
        chart
            .draw_series(LineSeries::new(line.clone(), color.stroke_width(2)))?
            .label(label.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        // A distribution has more points than can be told apart.
        if points.len() <= 50 {
            chart.draw_series(line.map(|point| Circle::new(point, 3, color.filled())))?;
        }
        let intervals = points
            .iter()
            .filter(|point| point.2 > 0.0 && point.1 > point.2);
        chart.draw_series(intervals.map(|&(x, y, half)| {
            PathElement::new([(x, y - half), (x, y + half)], color.stroke_width(1))
        }))?;
    }
    chart
        .configure_series_labels()
        .position(legend)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    Ok(())
}

/// A number on an axis, without the noise of its last bits.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "plotters calls it with a reference"
)]
fn tick(value: &f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

fn draw_bars(
    root: &Area<'_>,
    caption: &str,
    y: Axis,
    groups: &[String],
    series: &[Series],
) -> Drawn {
    let bars = series.iter().flat_map(|(_, bars)| bars.iter().flatten());
    let most = bars
        .clone()
        .map(|(height, half)| height + half)
        .fold(f64::MIN_POSITIVE, f64::max);
    let least = bars
        .map(|(height, _)| *height)
        .filter(|height| *height > 0.0)
        .fold(most, f64::min);
    let across = 0.0..groups.len() as f64;
    let mut builder = ChartBuilder::on(root);
    let builder = builder
        .caption(caption, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(72);
    match y.scale {
        Scale::Linear => {
            let chart = builder.build_cartesian_2d(across, 0.0..most * 1.15)?;
            fill_bars(root, chart, (y.title, 0.0), groups, series)
        }
        Scale::Logarithmic => {
            let bottom = least / 2.0;
            let chart = builder.build_cartesian_2d(across, (bottom..most * 2.0).log_scale())?;
            fill_bars(root, chart, (y.title, bottom), groups, series)
        }
    }
}

fn fill_bars<'a, 'b: 'a, Y>(
    root: &Area<'_>,
    mut chart: ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, Y>>,
    (title, bottom): (&str, f64),
    groups: &[String],
    series: &[Series],
) -> Drawn
where
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .max_light_lines(1)
        .y_label_formatter(&tick)
        .y_desc(title)
        .draw()?;
    let width = FILLED / series.len().max(1) as f64;
    for (index, (label, bars)) in series.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let left = |group: usize| group as f64 + (1.0 - FILLED) / 2.0 + index as f64 * width;
        let drawn = bars.iter().enumerate();
        let drawn = drawn.filter_map(|(group, bar)| Some((left(group), (*bar)?)));
        chart
            .draw_series(drawn.clone().map(|(left, (height, _))| {
                let corners = [(left, bottom), (left + width * 0.95, height.max(bottom))];
                Rectangle::new(corners, color.filled())
            }))?
            .label(label.as_str())
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 18, y + 5)], color.filled()));
        let uncertain = drawn.filter(|(_, (_, half))| *half > 0.0);
        chart.draw_series(uncertain.map(|(left, (height, half))| {
            let middle = left + width * 0.475;
            let ends = [
                (middle, (height - half).max(bottom)),
                (middle, height + half),
            ];
            PathElement::new(ends, BLACK.stroke_width(1))
        }))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    name_groups(root, |at| chart.backend_coord(&(at, bottom)), groups)
}

/// Writes the name of each group below it.
fn name_groups(root: &Area<'_>, place: impl Fn(f64) -> (i32, i32), groups: &[String]) -> Drawn {
    use plotters::style::text_anchor::{HPos, Pos, VPos};
    let style = ("sans-serif", 14)
        .into_text_style(root)
        .pos(Pos::new(HPos::Center, VPos::Top));
    for (group, name) in groups.iter().enumerate() {
        let (x, y) = place(group as f64 + 0.5);
        root.draw(&Text::new(name.as_str(), (x, y + 8), &style))?;
    }
    Ok(())
}
