//! Counts and overlaps over time, in as many bins as are wanted, whatever the run lasts.
//!
//! How long a run lasted is known at its end. Bins begin narrow, and when time runs out of them, two
//! become one: memory stays, and no event is kept.

/// Width of a bin at first, in nanoseconds.
const FIRST_NS: u64 = 1 << 16;

/// Bins of equal width from the beginning of a run.
#[derive(Clone, Debug)]
pub(crate) struct Bins {
    limit: usize,
    width_ns: u64,
}

impl Bins {
    /// At most `limit` bins: an even number.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: limit.next_multiple_of(2).max(2),
            width_ns: FIRST_NS,
        }
    }

    /// The bin of a time, and how often bins were halved for it.
    fn place(&mut self, time_ns: u64) -> (usize, u32) {
        let mut halved = 0;
        while time_ns / self.width_ns >= self.limit as u64 {
            self.width_ns *= 2;
            halved += 1;
        }
        ((time_ns / self.width_ns) as usize, halved)
    }
}

fn halve<T: Copy + Default + std::ops::AddAssign>(values: &mut Vec<T>) {
    for at in 0..values.len().div_ceil(2) {
        let mut sum = values[2 * at];
        if let Some(other) = values.get(2 * at + 1) {
            sum += *other;
        }
        values[at] = sum;
    }
    values.truncate(values.len().div_ceil(2));
}

/// How much happened in each bin.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    bins: Bins,
    values: Vec<u64>,
}

impl Counts {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bins: Bins::new(limit),
            values: Vec::new(),
        }
    }

    /// Adds what happened at a time.
    pub(crate) fn add(&mut self, time_ns: u64, amount: u64) {
        let (bin, halved) = self.bins.place(time_ns);
        for _ in 0..halved {
            halve(&mut self.values);
        }
        if self.values.len() <= bin {
            self.values.resize(bin + 1, 0);
        }
        self.values[bin] = self.values[bin].saturating_add(amount);
    }

    /// The sums of `count` bins of `width_ns`, which is a multiple of the own width.
    pub(crate) fn read(&mut self, width_ns: u64, count: usize) -> Vec<u64> {
        while self.bins.width_ns < width_ns {
            self.bins.width_ns *= 2;
            halve(&mut self.values);
        }
        let mut values = self.values.clone();
        values.resize(count, 0);
        values
    }
}

/// The largest value in each bin.
#[derive(Clone, Debug)]
pub(crate) struct Largest {
    bins: Bins,
    values: Vec<u64>,
}

impl Largest {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bins: Bins::new(limit),
            values: Vec::new(),
        }
    }

    fn halve(&mut self) {
        let pairs = self.values.chunks(2);
        self.values = pairs
            .map(|pair| pair.iter().copied().max().unwrap_or(0))
            .collect();
    }

    /// Notes a value at a time.
    pub(crate) fn note(&mut self, time_ns: u64, value: u64) {
        let (bin, halved) = self.bins.place(time_ns);
        for _ in 0..halved {
            self.halve();
        }
        if self.values.len() <= bin {
            self.values.resize(bin + 1, 0);
        }
        self.values[bin] = self.values[bin].max(value);
    }

    /// As [`Counts::read`].
    pub(crate) fn read(&mut self, width_ns: u64, count: usize) -> Vec<u64> {
        while self.bins.width_ns < width_ns {
            self.bins.width_ns *= 2;
            self.halve();
        }
        let mut values = self.values.clone();
        values.resize(count, 0);
        values
    }
}

/// How many intervals are open, on average over each bin: exact, at a cost that does not depend on
/// how long an interval is.
///
/// The time covered up to T is the sum of T - a over all beginnings a before T, less the same over all
/// ends. Each bin keeps how many began less how many ended, and the sum of their times.
#[derive(Clone, Debug)]
pub(crate) struct Overlap {
    bins: Bins,
    numbers: Vec<i64>,
    sums: Vec<i128>,
}

impl Overlap {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bins: Bins::new(limit),
            numbers: Vec::new(),
            sums: Vec::new(),
        }
    }

    /// Adds an interval; one that ends before it begins is empty.
    pub(crate) fn add(&mut self, from_ns: u64, to_ns: u64) {
        if to_ns > from_ns {
            // The later one first: the bins are wide enough for both then.
            self.step(to_ns, -1);
            self.step(from_ns, 1);
        }
    }

    fn step(&mut self, time_ns: u64, number: i64) {
        let (bin, halved) = self.bins.place(time_ns);
        for _ in 0..halved {
            self.halve();
        }
        if self.numbers.len() <= bin {
            self.numbers.resize(bin + 1, 0);
            self.sums.resize(bin + 1, 0);
        }
        self.numbers[bin] += number;
        self.sums[bin] += i128::from(number) * i128::from(time_ns);
    }

    fn halve(&mut self) {
        halve(&mut self.numbers);
        halve(&mut self.sums);
    }

    /// Averages over `count` bins of `width_ns`, which is a multiple of the own width; the last one counts
    /// up to `end_ns` only.
    pub(crate) fn read(&mut self, width_ns: u64, count: usize, end_ns: u64) -> Vec<f64> {
        while self.bins.width_ns < width_ns {
            self.bins.width_ns *= 2;
            self.halve();
        }
        let (mut number, mut sum, mut before) = (0_i128, 0_i128, 0_i128);
        let mut averages = Vec::with_capacity(count);
        for bin in 0..count {
            number += i128::from(self.numbers.get(bin).copied().unwrap_or(0));
            sum += self.sums.get(bin).copied().unwrap_or(0);
            let to_ns = (bin as u64 + 1).saturating_mul(width_ns);
            let covered = number * i128::from(to_ns) - sum;
            let length_ns = to_ns
                .min(end_ns.max(1))
                .saturating_sub(bin as u64 * width_ns);
            averages.push((covered - before) as f64 / length_ns.max(1) as f64);
            before = covered;
        }
        averages
    }
}

/// Width and number of bins for a run of a length, of which there are at most `limit`.
pub(crate) fn grid(end_ns: u64, limit: usize) -> (u64, usize) {
    let mut bins = Bins::new(limit);
    let (last, _) = bins.place(end_ns);
    (bins.width_ns, last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stay_whole_while_bins_become_wider() {
        let mut counts = Counts::new(8);
        for time in 0..1_000_u64 {
            counts.add(time * 10_000_000, 2);
        }
        let end = 999 * 10_000_000;
        let (width, count) = grid(end, 8);
        assert!(count <= 8 && count > 4, "{count}");
        let values = counts.read(width, count);
        assert_eq!(values.iter().sum::<u64>(), 2_000);
        for (bin, value) in values.iter().enumerate() {
            let (from, to) = (bin as u64 * width, (bin as u64 + 1) * width);
            let inside = (0..1_000_u64).filter(|time| (from..to).contains(&(time * 10_000_000)));
            assert_eq!(*value, 2 * inside.count() as u64, "bin {bin}");
        }
    }

    #[test]
    fn overlaps_are_exact_whatever_the_order() {
        let intervals = [
            (0, 3_000_000_000),
            (1_000_000_000, 1_500_000_000),
            (7, 7),
            (2_999_999_999, 3_000_000_000),
        ];
        let (width, count) = grid(3_000_000_000, 16);
        let expected: Vec<f64> = (0..count as u64)
            .map(|bin| {
                let (from, to) = (bin * width, (bin + 1) * width);
                let covered: u64 = intervals
                    .iter()
                    .map(|&(a, b): &(u64, u64)| b.min(to).saturating_sub(a.max(from)))
                    .sum();
                covered as f64 / (to.min(3_000_000_000) - from).max(1) as f64
            })
            .collect();
        for reversed in [false, true] {
            let mut overlap = Overlap::new(16);
            let mut order = intervals.to_vec();
            if reversed {
                order.reverse();
            }
            for (from, to) in order {
                overlap.add(from, to);
            }
            for (got, wanted) in overlap
                .read(width, count, 3_000_000_000)
                .iter()
                .zip(&expected)
            {
                assert!((got - wanted).abs() < 1e-9, "{got} {wanted}");
            }
        }
    }

    #[test]
    fn the_end_of_time_has_a_bin() {
        let (width, count) = grid(u64::MAX, 1_024);
        assert_eq!(count, 1_024);
        let mut overlap = Overlap::new(1_024);
        overlap.add(0, u64::MAX);
        let averages = overlap.read(width, count, u64::MAX);
        assert!(
            averages.iter().all(|average| (average - 1.0).abs() < 1e-9),
            "{averages:?}"
        );
        let mut counts = Counts::new(1_024);
        counts.add(u64::MAX, u64::MAX);
        counts.add(u64::MAX, 1);
        assert_eq!(counts.read(width, count)[1_023], u64::MAX);
    }

    #[test]
    fn the_largest_of_a_bin_survives() {
        let mut largest = Largest::new(4);
        largest.note(0, 5);
        largest.note(1, 3);
        largest.note(10_000_000_000, 9);
        let (width, count) = grid(10_000_000_000, 4);
        let values = largest.read(width, count);
        assert_eq!((values[0], values[count - 1]), (5, 9));
    }
}
