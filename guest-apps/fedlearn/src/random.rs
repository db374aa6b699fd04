//! Seeded random numbers, the same in a guest and natively: elementary functions come from `libm`,
//! not from the C library of the machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// What the numbers are for; each purpose has its own stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The first weights of the model.
    Weights = 1,
    /// The order in which samples are dealt out.
    Shuffle = 2,
    /// How many samples each client has.
    Shares = 3,
    /// Who takes part in a round; the index is the round.
    Participants = 4,
    /// Digits to learn from; the index is the sample.
    TrainDigits = 5,
    /// Digits to test with; the index is the sample.
    TestDigits = 6,
}

/// A generator of random numbers.
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    /// The generator number `index` of a purpose.
    pub(crate) fn new(seed: u64, purpose: Purpose, index: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(((purpose as u64) << 48) ^ index);
        Self(generator)
    }

    /// Uniform in [0, 1), a multiple of 2⁻⁵³.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Uniform in [low, high).
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in 0..bound; the bias is below bound / 2⁶⁴.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "a number below 0");
        ((u128::from(self.0.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Normal with mean 0 and variance 1 (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.uniform()));
        radius * libm::cos(std::f64::consts::TAU * self.uniform())
    }

    /// Logarithm of a gamma variate of this shape and scale 1 (Marsaglia and Tsang, 2000). The
    /// logarithm, because a small shape gives numbers that underflow.
    pub(crate) fn log_gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = libm::log(1.0 - self.uniform()) / shape;
            return self.log_gamma(shape + 1.0) + boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / libm::sqrt(9.0 * d);
        loop {
            let x = self.normal();
            let base = 1.0 + c * x;
            if base <= 0.0 {
                continue;
            }
            let v = base * base * base;
            let bound = 0.5 * x * x + d - d * v + d * libm::log(v);
            if libm::log(1.0 - self.uniform()) < bound {
                return libm::log(d) + libm::log(v);
            }
        }
    }

    /// 0..count in random order.
    pub(crate) fn permutation(&mut self, count: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count as u32).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}
