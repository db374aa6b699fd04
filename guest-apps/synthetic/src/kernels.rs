//! What a task does besides passing data on.

use std::hint::black_box;
use std::time::Duration;

use crate::digest;

/// Accumulators of the compute kernel: few enough for registers of 128 bits, enough to hide the time
/// that one operation takes.
const LANES: usize = 16;
/// Multiplications and additions of each accumulator in one iteration.
const ROUNDS: usize = 4;
/// Floating-point operations of one iteration.
#[cfg(test)]
pub(crate) const OPERATIONS: usize = 2 * LANES * ROUNDS;
/// Iterations between two looks at the clock.
const SLICE: u64 = 1_000;

/// The work of one task.
#[taps::value]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Least duration of the task, in nanoseconds.
    pub(crate) least_ns: u64,
    /// Whether that time is computed away, not slept.
    pub(crate) busy: bool,
    /// Iterations of the compute kernel.
    pub(crate) iterations: u64,
    /// Passes over the buffer.
    pub(crate) passes: u64,
    /// Size of the buffer.
    pub(crate) buffer_bytes: u32,
}

impl Load {
    /// Whether there is nothing to do.
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// When the task began, if that matters.
    pub(crate) fn start(&self) -> Duration {
        if self.least_ns > 0 {
            taps::clock()
        } else {
            Duration::ZERO
        }
    }

    /// Does the work of a task that began at `start`.
    pub(crate) fn run(&self, start: Duration) {
        if self.iterations > 0 {
            black_box(compute(self.iterations));
        }
        if self.buffer_bytes > 0 {
            black_box(pass_over(self.buffer_bytes, self.passes));
        }
        if self.least_ns > 0 {
            self.last_until(start + Duration::from_nanos(self.least_ns));
        }
    }

    fn last_until(&self, end: Duration) {
        if !self.busy {
            let rest = end.saturating_sub(taps::clock());
            if !rest.is_zero() {
                taps::sleep(rest);
            }
            return;
        }
        while taps::clock() < end {
            black_box(compute(SLICE));
        }
    }
}

/// Multiplies and adds, [`OPERATIONS`] times in each iteration. The numbers stay from 0 to 1.
fn compute(iterations: u64) -> f64 {
    let mut lanes = [0.0_f64; LANES];
    for (number, lane) in lanes.iter_mut().enumerate() {
        *lane = number as f64 / LANES as f64;
    }
    for _ in 0..iterations {
        for _ in 0..ROUNDS {
            for lane in &mut lanes {
                *lane = *lane * 0.75 + 0.125;
            }
        }
    }
    lanes.iter().sum()
}

/// Reads and writes every word of a buffer, so many times.
fn pass_over(bytes: u32, passes: u64) -> u64 {
    let mut words = vec![1_u64; (bytes as usize).div_ceil(8)];
    for pass in 0..passes {
        for word in &mut words {
            *word = word.wrapping_mul(3).wrapping_add(pass);
        }
        black_box(&mut words);
    }
    words[0]
}

/// Iterations of a task whose share is drawn: evenly from `1 - imbalance / 2` to `1 + imbalance / 2`
/// times as many.
pub(crate) fn imbalanced(iterations: u64, imbalance: f64, seed: u64, task: u64) -> u64 {
    let drawn = digest::uniform([seed, task]) - 0.5;
    ((1.0 + drawn * imbalance) * iterations as f64).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compute_kernel_converges() {
        assert_eq!(OPERATIONS, 128);
        assert!((compute(0) - 7.5).abs() < 1e-12, "from 0 to 15 sixteenths");
        assert!((compute(1_000) - 8.0).abs() < 1e-12, "half for each lane");
    }

    #[test]
    fn every_pass_changes_the_buffer() {
        assert_eq!(pass_over(8, 0), 1);
        assert_eq!(pass_over(9, 1), 3);
        assert_eq!(pass_over(100, 3), ((3 * 3) + 1) * 3 + 2);
    }

    #[test]
    fn shares_are_within_bounds_and_even() {
        for imbalance in [0.0, 0.5, 2.0] {
            let drawn: Vec<u64> = (0..2_000)
                .map(|task| imbalanced(1_000, imbalance, 5, task))
                .collect();
            let (least, most) = (
                1_000.0 * (1.0 - imbalance / 2.0),
                1_000.0 * (1.0 + imbalance / 2.0),
            );
            let within = |count: &u64| (least..=most).contains(&(*count as f64));
            assert!(drawn.iter().all(within), "{imbalance}");
            let mean = drawn.iter().sum::<u64>() as f64 / drawn.len() as f64;
            assert!((mean - 1_000.0).abs() < 20.0 * (1.0 + imbalance), "{mean}");
        }
    }
}
