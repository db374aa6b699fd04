//! Statistics of an image, in one pass.

use serde_json::{Value, json};
use taps::Result;

use crate::fits::{Image, Source};

/// What is said of an image. Sums are of its finite pixels, in double precision.
#[taps::value]
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Statistics {
    /// Pixels of the first axis.
    pub(crate) width: u64,
    /// Pixels of the second axis.
    pub(crate) height: u64,
    /// Finite pixels.
    pub(crate) finite: u64,
    /// Pixels that are NaN or infinite.
    pub(crate) blank: u64,
    /// Smallest finite pixel.
    pub(crate) min: Option<f64>,
    /// Largest finite pixel.
    pub(crate) max: Option<f64>,
    /// Sum of the finite pixels.
    pub(crate) sum: f64,
    /// Their mean.
    pub(crate) mean: Option<f64>,
    /// Their standard deviation, that of the population.
    pub(crate) std: Option<f64>,
}

impl Statistics {
    /// The statistics as JSON, under the names that reference files use.
    pub(crate) fn to_json(&self, file: &str) -> Value {
        json!({
            "file": file,
            "naxis1": self.width,
            "naxis2": self.height,
            "finite_pixels": self.finite,
            "nan_pixels": self.blank,
            "min": self.min,
            "max": self.max,
            "mean": self.mean,
            "std": self.std,
            "sum": self.sum,
        })
    }
}

/// Number, mean and spread of values that come in rows.
///
/// The moments of a row are taken from its values twice, mean first, and added to those before
/// after Chan, Golub and LeVeque, "Algorithms for computing the sample variance" (1983).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    count: u64,
    /// Values that were not finite.
    left_out: u64,
    sum: f64,
    mean: f64,
    /// Sum of the squared distances from the mean.
    squares: f64,
    min: f64,
    max: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self {
            count: 0,
            left_out: 0,
            sum: 0.0,
            mean: 0.0,
            squares: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }
}

impl Moments {
    /// Adds a row.
    pub(crate) fn add_row(&mut self, row: &[f64]) {
        let finite = || row.iter().copied().filter(|value| value.is_finite());
        let count = finite().count() as u64;
        self.left_out += row.len() as u64 - count;
        if count == 0 {
            return;
        }
        let sum: f64 = finite().sum();
        let mean = sum / count as f64;
        let squares: f64 = finite().map(|value| (value - mean) * (value - mean)).sum();
        let all = self.count + count;
        let apart = mean - self.mean;
        let share = count as f64 / all as f64;
        self.squares += squares + apart * apart * self.count as f64 * share;
        self.mean += apart * share;
        self.count = all;
        self.sum += sum;
        self.min = finite().fold(self.min, f64::min);
        self.max = finite().fold(self.max, f64::max);
    }

    /// Standard deviation of the population.
    pub(crate) fn deviation(&self) -> Option<f64> {
        let some = self.count > 0;
        some.then(|| libm::sqrt(self.squares / self.count as f64))
    }

    /// The statistics of an image of that size.
    pub(crate) fn statistics(&self, width: u64, height: u64) -> Statistics {
        let given = |value| (self.count > 0).then_some(value);
        Statistics {
            width,
            height,
            finite: self.count,
            blank: self.left_out,
            min: given(self.min),
            max: given(self.max),
            sum: self.sum,
            mean: given(self.mean),
            std: self.deviation(),
        }
    }
}

/// The statistics of an image; `also` gets each row, lowest first, with its number.
pub(crate) fn of_image<S: Source + ?Sized>(
    image: &Image<'_, S>,
    mut also: impl FnMut(u64, &[f64]),
) -> Result<Statistics> {
    let mut moments = Moments::default();
    image.rows(|number, row| {
        moments.add_row(row);
        also(number, row);
        Ok(())
    })?;
    Ok(moments.statistics(image.shape.width, image.shape.height))
}
