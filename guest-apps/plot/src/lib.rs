//! Scatter and line plots as PNG, for apps: they run in components as well as on the host.
//!
//! ```
//! use taps_plot::Plot;
//!
//! let png = Plot::new("Falling")
//!     .x_label("time (s)")
//!     .y_label("height (m)")
//!     .points("measured", &[(0.0, 5.0), (0.5, 3.8), (1.0, 0.1)])
//!     .line("expected", &[(0.0, 5.0), (0.5, 3.77), (1.0, 0.095)])
//!     .png()?;
//! assert_eq!(png[1..4], *b"PNG");
//! # Ok::<(), taps_plot::PlotError>(())
//! ```
//!
//! [plotters](https://docs.rs/plotters) lays the chart out and draws its lines. It draws on a canvas
//! of this crate (see `canvas`), because its own needs a font that plotters cannot load in a WASI
//! guest. Text is Latin without accents (ASCII); any other character shows as `?`.
//!
//! The same plot gives the same bytes. What this crate never does: it reads no font or file of the
//! machine it runs on, and it writes none.

mod canvas;
mod chart;
#[cfg(test)]
mod tests;

/// Width of a plot in pixels, unless [`Plot::size`] says otherwise.
pub const WIDTH: u32 = 960;
/// Height of a plot in pixels, unless [`Plot::size`] says otherwise.
pub const HEIGHT: u32 = 640;

/// Pixels of the shortest side: less has no room for the text.
const SMALLEST: u32 = 200;
/// Pixels of the longest side: 48 MB of memory at most.
const LARGEST: u32 = 4000;

/// Why there is no plot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// A coordinate that is no number, or infinite, or beyond what has a place on an axis.
    #[error(
        "series {series}, point {index}: ({x}, {y}) has no place on a plot; expected finite numbers of at most 1e300"
    )]
    NotFinite {
        /// Name of the series.
        series: String,
        /// Position of the point in the series, from 0.
        index: usize,
        /// Horizontal coordinate.
        x: f64,
        /// Vertical coordinate.
        y: f64,
    },
    /// A side too short or too long.
    #[error("a plot of {width} x {height} pixels: expected {SMALLEST} to {LARGEST} on each side")]
    Size {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The chart could not be drawn.
    #[error("failed to draw the chart: {0}")]
    Draw(String),
    /// The picture could not be written as PNG.
    #[error("failed to write the plot as PNG")]
    Encode(#[from] png::EncodingError),
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Points,
    Line,
}

#[derive(Clone, Debug)]
struct Series {
    name: String,
    mark: Mark,
    points: Vec<(f64, f64)>,
}

/// A plot of any number of series over common axes.
#[derive(Clone, Debug)]
pub struct Plot {
    title: String,
    x_label: String,
    y_label: String,
    series: Vec<Series>,
    width: u32,
    height: u32,
}

impl Plot {
    /// A plot without series, [`WIDTH`] by [`HEIGHT`] pixels.
    pub fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            x_label: String::new(),
            y_label: String::new(),
            series: Vec::new(),
            width: WIDTH,
            height: HEIGHT,
        }
    }

    /// What the horizontal axis shows, with its unit.
    #[must_use]
    pub fn x_label(mut self, label: &str) -> Self {
        label.clone_into(&mut self.x_label);
        self
    }

    /// What the vertical axis shows, with its unit.
    #[must_use]
    pub fn y_label(mut self, label: &str) -> Self {
        label.clone_into(&mut self.y_label);
        self
    }

    /// Width and height in pixels, each from 200 to 4,000.
    #[must_use]
    pub fn size(mut self, width: u32, height: u32) -> Self {
        (self.width, self.height) = (width, height);
        self
    }

    /// Adds a series drawn as dots. Its name is shown in the legend.
    #[must_use]
    pub fn points(self, name: &str, points: &[(f64, f64)]) -> Self {
        self.series(name, Mark::Points, points)
    }

    /// Adds a series drawn as a line through its points, in their order.
    #[must_use]
    pub fn line(self, name: &str, points: &[(f64, f64)]) -> Self {
        self.series(name, Mark::Line, points)
    }

    fn series(mut self, name: &str, mark: Mark, points: &[(f64, f64)]) -> Self {
        self.series.push(Series {
            name: name.to_owned(),
            mark,
            points: points.to_vec(),
        });
        self
    }

    /// The plot as the bytes of a PNG file: 8-bit RGB. Later series cover earlier ones. The axes
    /// reach a little beyond all points; without points they go from 0 to 1.
    pub fn png(&self) -> Result<Vec<u8>, PlotError> {
        let sides = SMALLEST..=LARGEST;
        if !sides.contains(&self.width) || !sides.contains(&self.height) {
            return Err(PlotError::Size {
                width: self.width,
                height: self.height,
            });
        }
        let pixels = chart::draw(self)?;
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&pixels)?;
        writer.finish()?;
        Ok(bytes)
    }
}
