//! What repeats of a measurement say.

use serde::Serialize;
use taps_report::Estimate;

/// Fewer repeats have no quartiles worth the name.
const LEAST_FOR_FENCES: usize = 4;

/// A figure over repeats. Outliers are named, and count.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Statistic {
    #[serde(flatten)]
    pub(super) estimate: Estimate,
    pub(super) median: f64,
    /// Repeats outside of Tukey's fences, from 1.
    pub(super) outliers: Vec<usize>,
    /// The fences: 1.5 times the range between the quartiles beyond them.
    pub(super) fences: Option<(f64, f64)>,
    /// Each repeat, in order.
    pub(super) values: Vec<f64>,
}

impl Statistic {
    /// What these numbers say; `None` when there are none.
    pub(super) fn of(values: Vec<f64>) -> Option<Self> {
        let estimate = Estimate::of(&values)?;
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let fences = (values.len() >= LEAST_FOR_FENCES).then(|| {
            let (lower, upper) = (quantile(&sorted, 0.25), quantile(&sorted, 0.75));
            let beyond = 1.5 * (upper - lower);
            (lower - beyond, upper + beyond)
        });
        let outside = |value: &f64| fences.is_some_and(|(low, high)| *value < low || *value > high);
        let outliers = (1..)
            .zip(&values)
            .filter(|(_, value)| outside(value))
            .map(|(repeat, _)| repeat)
            .collect();
        Some(Self {
            estimate,
            median: quantile(&sorted, 0.5),
            outliers,
            fences,
            values,
        })
    }

    /// Ratio of two figures that were measured by turns: of each repeat to the one beside it.
    pub(super) fn ratio(&self, base: &Self) -> Option<Self> {
        if self.values.len() != base.values.len() || base.values.contains(&0.0) {
            return None;
        }
        let pairs = self.values.iter().zip(&base.values);
        Self::of(pairs.map(|(value, base)| value / base).collect())
    }

    /// All repeats times a factor.
    pub(super) fn times(&self, factor: f64) -> Option<Self> {
        Self::of(self.values.iter().map(|value| value * factor).collect())
    }

    /// What is to be said of outliers.
    pub(super) fn outlier_note(&self, name: &str) -> Option<String> {
        let (low, high) = self.fences.filter(|_| !self.outliers.is_empty())?;
        let shown: Vec<_> = self
            .outliers
            .iter()
            .map(|repeat| format!("{:.4} (repeat {repeat})", self.values[repeat - 1]))
            .collect();
        Some(format!(
            "{name}: outside of {low:.4} to {high:.4}, and counted: {}",
            shown.join(", ")
        ))
    }
}

/// The value below which that share of sorted values lies, between two of them in proportion. NaN of none.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let at = share.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (at.floor() as usize, at.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_are_named_and_count() {
        let figure = Statistic::of(vec![10.0, 11.0, 30.0, 10.5, 10.0]).expect("values");
        assert_eq!(figure.outliers, [3]);
        assert_eq!(figure.fences, Some((8.5, 12.5)));
        assert_eq!((figure.median, figure.estimate.mean), (10.5, 14.3));
        assert_eq!(
            figure.outlier_note("x").expect("a note"),
            "x: outside of 8.5000 to 12.5000, and counted: 30.0000 (repeat 3)"
        );
        let few = Statistic::of(vec![1.0, 1.0, 9.0]).expect("values");
        assert!(few.outliers.is_empty() && few.fences.is_none());
        assert_eq!(Statistic::of(Vec::new()), None);
    }

    #[test]
    fn ratios_are_of_neighbours() {
        let of = |values: &[f64]| Statistic::of(values.to_vec()).expect("values");
        let ratio = of(&[2.0, 6.0]).ratio(&of(&[1.0, 2.0])).expect("as many");
        assert_eq!(ratio.values, [2.0, 3.0]);
        assert_eq!(of(&[2.0]).ratio(&of(&[1.0, 2.0])), None);
        assert_eq!(of(&[2.0]).ratio(&of(&[0.0])), None);
    }

    #[test]
    fn quantiles_are_between_values() {
        let sorted = [1.0, 2.0, 3.0, 4.0];
        let quantiles = [0.0, 0.5, 0.75, 1.0].map(|share| quantile(&sorted, share));
        assert_eq!(quantiles.to_vec(), [1.0, 2.5, 3.25, 4.0]);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
