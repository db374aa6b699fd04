//! Durations of which quantiles are wanted, in memory that does not grow.

/// Steps between powers of two: a quantile is within 1 % of the true one.
const STEPS: u64 = 64;

/// Durations in nanoseconds, by their size.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(crate) fn add(&mut self, value_ns: u64) {
        let slot = slot(value_ns);
        if self.counts.len() <= slot {
            self.counts.resize(slot + 1, 0);
        }
        self.counts[slot] += 1;
        self.total += 1;
    }

    /// The value below which that share lies, to 1 %; `None` when there is none.
    pub(crate) fn quantile_ns(&self, share: f64) -> Option<f64> {
        if self.total == 0 {
            return None;
        }
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total);
        let mut passed = 0;
        for (slot, count) in self.counts.iter().enumerate() {
            passed += count;
            if passed >= rank {
                return Some(middle_ns(slot));
            }
        }
        None
    }
}

fn slot(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let power = value.ilog2() - STEPS.ilog2();
    // Between STEPS and 2 × STEPS: the leading bits.
    let leading = value >> power;
    (u64::from(power) * STEPS + leading) as usize
}

fn middle_ns(slot: usize) -> f64 {
    let slot = slot as u64;
    if slot < 2 * STEPS {
        return slot as f64;
    }
    let power = slot / STEPS - 1;
    let leading = slot - power * STEPS;
    let width = (1_u64 << power) as f64;
    leading as f64 * width + width / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_one_per_cent() {
        let mut histogram = Histogram::default();
        let mut values: Vec<u64> = (0..5_000_u64).map(|n| 100 + n * n * 37).collect();
        for value in &values {
            histogram.add(*value);
        }
        values.sort_unstable();
        for share in [0.01, 0.25, 0.5, 0.95, 1.0] {
            let rank = (values.len() as f64 * share).ceil() as usize;
            let (expected, got) = (
                values[rank - 1] as f64,
                histogram.quantile_ns(share).expect("values"),
            );
            assert!(
                (got / expected - 1.0).abs() < 0.0079,
                "{share}: {got} {expected}"
            );
        }
    }

    #[test]
    fn every_value_has_a_slot_near_it() {
        for value in (0..500).chain([u64::MAX, 1 << 63, 12_345_678_901]) {
            let middle = middle_ns(slot(value));
            let off = (middle - value as f64).abs();
            assert!(off <= value as f64 * 0.0079, "{value} {middle}");
        }
        assert_eq!(Histogram::default().quantile_ns(0.5), None);
    }
}
