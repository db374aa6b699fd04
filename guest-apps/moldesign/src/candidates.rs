//! Which molecules are tried: each at most once, whatever happens.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use taps::rand::seq::SliceRandom as _;

/// The molecules that may still be tried.
#[derive(Clone, Debug)]
pub(crate) struct Candidates {
    /// All molecules in random order.
    order: Vec<u32>,
    /// How far the random order has been used.
    next: usize,
    tried: Vec<bool>,
    remaining: usize,
}

impl Candidates {
    /// `count` molecules, none tried. The seed alone decides the random order.
    pub(crate) fn new(count: usize, seed: u64) -> Self {
        let mut order: Vec<u32> = (0..count as u32).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        Self {
            order,
            next: 0,
            tried: vec![false; count],
            remaining: count,
        }
    }

    /// How many have not been tried.
    pub(crate) fn remaining(&self) -> usize {
        self.remaining
    }

    /// Takes a random molecule that has not been tried; none when all have.
    ///
    /// The molecules come in the random order. So the sample that replaces failures depends on how
    /// many failed, and not on which one failed first.
    pub(crate) fn random(&mut self) -> Option<usize> {
        while let Some(molecule) = self.order.get(self.next) {
            self.next += 1;
            let molecule = *molecule as usize;
            if self.take(molecule) {
                return Some(molecule);
            }
        }
        None
    }

    /// Takes up to `count` molecules that have not been tried: the first of `ranked`, and when
    /// those do not suffice, random ones.
    pub(crate) fn best(
        &mut self,
        ranked: impl IntoIterator<Item = usize>,
        count: usize,
    ) -> Vec<usize> {
        let mut taken = Vec::with_capacity(count.min(self.remaining));
        for molecule in ranked {
            if taken.len() == count {
                return taken;
            }
            if self.take(molecule) {
                taken.push(molecule);
            }
        }
        while taken.len() < count {
            let Some(molecule) = self.random() else { break };
            taken.push(molecule);
        }
        taken
    }

    /// Marks a molecule as tried; false when it was, or when there is no such molecule.
    fn take(&mut self, molecule: usize) -> bool {
        match self.tried.get_mut(molecule) {
            Some(tried) if !*tried => {
                *tried = true;
                self.remaining -= 1;
                true
            }
            _ => false,
        }
    }
}
