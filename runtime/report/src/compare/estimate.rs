//! What repeats say of a number.

use serde::Serialize;

/// Two-sided 95 % quantiles of Student's t, by degrees of freedom from 1.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];
/// The same for more degrees of freedom, rounded up.
const STUDENT_BEYOND: f64 = 2.04;

/// A number over repeats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// How many repeats have it.
    pub repeats: usize,
    /// Their mean.
    pub mean: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
    /// Half of the 95 % confidence interval of the mean, by Student's t; `None` for a single run.
    pub half_width: Option<f64>,
}

impl Estimate {
    /// What these numbers say; `None` when there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let repeats = values.len();
        let mean = values.iter().sum::<f64>() / repeats as f64;
        let freedom = repeats - 1;
        let half_width = (freedom > 0).then(|| {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            let student = STUDENT.get(freedom - 1).copied().unwrap_or(STUDENT_BEYOND);
            student * (squares / freedom as f64 / repeats as f64).sqrt()
        });
        Some(Self {
            repeats,
            mean,
            least: values.iter().copied().fold(f64::INFINITY, f64::min),
            most: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            half_width,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_students() {
        // Mean 3, standard deviation sqrt(2.5), t(4) = 2.776.
        let estimate = Estimate::of(&[1.0, 2.0, 3.0, 4.0, 5.0]).expect("values");
        let expected = 2.776 * (2.5_f64 / 5.0).sqrt();
        assert!((estimate.half_width.expect("repeats") - expected).abs() < 1e-12);
        assert_eq!(
            (estimate.mean, estimate.least, estimate.most),
            (3.0, 1.0, 5.0)
        );
        assert_eq!(Estimate::of(&[7.0]).expect("a value").half_width, None);
        assert_eq!(Estimate::of(&[]), None);
    }
}
