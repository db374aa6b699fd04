//! Plots are decoded and looked at.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use crate::{HEIGHT, Plot, PlotError, WIDTH};

const BLUE: [u8; 3] = [0, 114, 178];
const RED: [u8; 3] = [213, 94, 0];

struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<[u8; 3]>,
}

impl Picture {
    fn decode(png: &[u8]) -> Self {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png))
            .read_info()
            .unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut bytes).unwrap();
        assert_eq!(frame.color_type, png::ColorType::Rgb);
        assert_eq!(frame.bit_depth, png::BitDepth::Eight);
        let pixels = bytes.as_chunks::<3>().0.to_vec();
        let (width, height) = (frame.width as usize, frame.height as usize);
        assert_eq!(pixels.len(), width * height);
        Self {
            width,
            height,
            pixels,
        }
    }

    /// Pixels of exactly this colour: column and row.
    fn places(&self, color: [u8; 3]) -> Vec<(usize, usize)> {
        let place = |index| (index % self.width, index / self.width);
        let found = self.pixels.iter().enumerate();
        found
            .filter(|(_, pixel)| **pixel == color)
            .map(|(index, _)| place(index))
            .collect()
    }

    /// How many pixels of a part of the picture are dark.
    fn ink(&self, columns: std::ops::Range<usize>, rows: std::ops::Range<usize>) -> usize {
        let dark = |pixel: &[u8; 3]| pixel.iter().all(|part| *part < 128);
        let row = |row: usize| &self.pixels[row * self.width..][..self.width];
        rows.map(|number| {
            row(number)[columns.clone()]
                .iter()
                .filter(|pixel| dark(pixel))
                .count()
        })
        .sum()
    }
}

fn picture(plot: &Plot) -> Picture {
    Picture::decode(&plot.png().unwrap())
}

/// Rows of a line that rises from left to right fall: the top of a picture is row 0.
#[test]
fn a_rising_line_rises() {
    let picture = picture(&Plot::new("").line("", &[(0.0, 0.0), (1.0, 10.0)]));
    let (width, height) = (picture.width, picture.height);
    let line: Vec<_> = picture
        .places(BLUE)
        .into_iter()
        // The legend has a piece of the line, too.
        .filter(|(column, row)| *column < width * 3 / 4 || *row < height / 2)
        .collect();
    let (left, right) = (line.iter().min().unwrap(), line.iter().max().unwrap());
    assert!(left.0 < width / 4 && right.0 > width * 3 / 4);
    assert!(left.1 > height * 3 / 4 && right.1 < height / 4);
    let columns: std::collections::BTreeSet<_> = line.iter().map(|place| place.0).collect();
    assert_eq!(columns.len(), right.0 - left.0 + 1, "a line without a gap");
}

#[test]
fn dots_lie_where_their_points_do() {
    let points = [(0.0, 0.0), (5.0, 10.0), (10.0, 5.0)];
    let picture = picture(&Plot::new("").points("", &points));
    let blue = picture.places(BLUE);
    let (left, right) = (
        blue.iter().map(|place| place.0).min().unwrap(),
        blue.iter().map(|place| place.0).max().unwrap(),
    );
    let (top, bottom) = (
        blue.iter().map(|place| place.1).min().unwrap(),
        blue.iter().map(|place| place.1).max().unwrap(),
    );
    for (x, y) in points {
        let along = |low: usize, high: usize, part: f64| low as f64 + (high - low) as f64 * part;
        let (column, row) = (
            along(left, right, x / 10.0),
            along(top, bottom, 1.0 - y / 10.0),
        );
        let near = blue
            .iter()
            .filter(|place| (place.0 as f64 - column).hypot(place.1 as f64 - row) < 9.0)
            .count();
        assert!(
            near > 20,
            "({x}, {y}): {near} pixels near ({column}, {row})"
        );
    }
}

#[test]
fn every_series_has_a_colour_and_a_place_in_the_legend() {
    let one = Plot::new("").points("tried", &[(0.0, 0.0), (1.0, 1.0)]);
    let two = one.clone().line("best", &[(0.0, 1.0), (1.0, 1.0)]);
    assert!(picture(&one).places(RED).is_empty());
    assert!(picture(&two).places(RED).len() > 500);
    let ink = |plot: &Plot| {
        let picture = picture(plot);
        let (width, height) = (picture.width, picture.height);
        picture.ink(width * 3 / 4..width - 40, height * 3 / 4..height - 90)
    };
    assert!(ink(&two) > ink(&one) + 50, "the second name is written");
}

/// The dot of the legend is in the corner where no points are.
#[test]
fn the_legend_hides_no_points_if_it_can() {
    let (width, height) = (WIDTH as usize, HEIGHT as usize);
    let corners = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)];
    for free in corners {
        let points: Vec<_> = corners
            .into_iter()
            .filter(|corner| *corner != free)
            .collect();
        let picture = picture(&Plot::new("").points("name", &points));
        let here = picture.places(BLUE).into_iter().filter(|(column, row)| {
            (*column > width / 2) == (free.0 > 0.5) && (*row < height / 2) == (free.1 > 0.5)
        });
        assert!(here.count() > 20, "{free:?}");
    }
}

#[test]
fn title_and_labels_are_written_at_their_sides() {
    let plain = picture(&Plot::new("").line("", &[(0.0, 0.0), (1.0, 1.0)]));
    let labelled = picture(
        &Plot::new("A title")
            .x_label("time (s)")
            .y_label("height (m)")
            .line("", &[(0.0, 0.0), (1.0, 1.0)]),
    );
    let (width, height) = (WIDTH as usize, HEIGHT as usize);
    for (side, columns, rows) in [
        ("top", 0..width, 0..40),
        ("bottom", 0..width, height - 34..height),
        ("left", 0..36, 0..height),
    ] {
        let (before, after) = (
            plain.ink(columns.clone(), rows.clone()),
            labelled.ink(columns, rows),
        );
        assert!(after > before + 100, "{side}: {before}, {after}");
    }
    let label = labelled.places([0, 0, 0]);
    let on_the_left: Vec<_> = label.iter().filter(|place| place.0 < 36).collect();
    let tallest = on_the_left.iter().map(|place| place.1).max().unwrap()
        - on_the_left.iter().map(|place| place.1).min().unwrap();
    assert!(tallest > 45, "it is turned: {tallest} rows");
}

#[test]
fn the_same_plot_gives_the_same_bytes() {
    let plot = || {
        Plot::new("again")
            .points("points", &[(1.0, 2.0), (3.0, 4.5)])
            .line("line", &[(1.0, 2.0), (3.0, 4.5)])
            .png()
            .unwrap()
    };
    assert_eq!(plot(), plot());
    assert!(plot().len() < 40_000, "{} bytes", plot().len());
}

#[test]
fn a_plot_of_nothing_is_drawn() {
    let empty = picture(&Plot::new("nothing").points("none", &[]));
    assert_eq!(
        (empty.width, empty.height),
        (WIDTH as usize, HEIGHT as usize)
    );
    // The dot of the legend alone.
    assert!(empty.places(BLUE).len() < 100);
    let small = picture(&Plot::new("").size(200, 300));
    assert_eq!((small.width, small.height), (200, 300));
}

#[test]
fn what_has_no_place_is_refused() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e301] {
        let error = Plot::new("")
            .points("first", &[(0.0, 0.0)])
            .points("second", &[(0.0, 1.0), (1.0, value)])
            .png()
            .unwrap_err();
        assert!(
            matches!(&error, PlotError::NotFinite { series, index: 1, .. } if series == "second")
        );
        assert!(
            error
                .to_string()
                .starts_with("series second, point 1: (1, "),
            "{error}"
        );
    }
    for (width, height) in [(0, 100), (199, 640), (960, 4001), (u32::MAX, u32::MAX)] {
        let error = Plot::new("").size(width, height).png().unwrap_err();
        assert!(matches!(error, PlotError::Size { .. }), "{error}");
    }
}

#[test]
fn text_of_any_kind_is_shown() {
    let picture = picture(
        &Plot::new("Ångström → ?\n\u{7}")
            .x_label(&"long ".repeat(100))
            .y_label(&"lang ".repeat(100))
            .line(&"name".repeat(40), &[(0.0, 0.0), (1.0, 1.0)]),
    );
    assert_eq!(picture.width, WIDTH as usize);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Any numbers within the limits make a plot, and something of it can be seen.
    #[test]
    fn any_points_are_plotted(
        points in prop::collection::vec((-1.0..1.0_f64, -1.0..1.0_f64), 1..20),
        exponent in -320..300,
    ) {
        let scale = 10_f64.powi(exponent);
        let points: Vec<_> = points.iter().map(|(x, y)| (x * scale, y * scale)).collect();
        let plot = Plot::new("any").points("points", &points).line("line", &points);
        prop_assert!(picture(&plot).places(RED).len() > 10);
    }
}
