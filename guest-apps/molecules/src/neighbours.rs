//! Regression by the nearest neighbours, weighted by distance.

use crate::{Fingerprint, LengthMismatch};

/// What a model is not made of, or cannot answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NeighboursError {
    /// Not one value per fingerprint.
    #[error("{fingerprints} fingerprints with {values} values: each needs one")]
    Lengths {
        /// Fingerprints given.
        fingerprints: usize,
        /// Values given.
        values: usize,
    },
    /// Fewer known molecules than neighbours wanted.
    #[error(
        "{known} known molecules for {neighbours} neighbours: at least as many, and one, are needed"
    )]
    TooFew {
        /// Molecules with a value.
        known: usize,
        /// Neighbours wanted.
        neighbours: usize,
    },
    /// A value that is not a number, or infinite.
    #[error("the value of molecule {index} is {value}: only finite values can be learned from")]
    NotFinite {
        /// Which molecule, from 0.
        index: usize,
        /// Its value.
        value: f64,
    },
    /// Fingerprints of different lengths.
    #[error(transparent)]
    Length(#[from] LengthMismatch),
}

/// A regression model: what is not known is the weighted mean of its nearest neighbours.
///
/// Distance is Jaccard's. A neighbour weighs as much as one over its distance; where some have
/// the distance 0, they alone count. Equals scikit-learn's `KNeighborsRegressor(n_neighbors,
/// weights="distance", metric="jaccard")`, and where several are equally far, the first ones in
/// the order of `fit` are the neighbours (scikit-learn does not say which). Travels between tasks.
#[taps::value]
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours {
    /// Neighbours that answer.
    asked: u32,
    fingerprints: Vec<Fingerprint>,
    values: Vec<f64>,
}

impl Neighbours {
    /// Neighbours that TaPS's apps ask.
    pub const DEFAULT: usize = 4;

    /// Learns the values of molecules: keeps them.
    pub fn fit(
        fingerprints: Vec<Fingerprint>,
        values: Vec<f64>,
        neighbours: usize,
    ) -> Result<Self, NeighboursError> {
        if fingerprints.len() != values.len() {
            return Err(NeighboursError::Lengths {
                fingerprints: fingerprints.len(),
                values: values.len(),
            });
        }
        let too_few = NeighboursError::TooFew {
            known: values.len(),
            neighbours,
        };
        if neighbours == 0 || values.len() < neighbours {
            return Err(too_few);
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(NeighboursError::NotFinite {
                index,
                value: values[index],
            });
        }
        for fingerprint in &fingerprints {
            fingerprints[0].distance(fingerprint)?;
        }
        Ok(Self {
            asked: u32::try_from(neighbours).map_err(|_| too_few)?,
            fingerprints,
            values,
        })
    }

    /// Molecules with a value.
    pub fn known(&self) -> usize {
        self.values.len()
    }

    /// The value that is to be expected of a molecule.
    pub fn predict(&self, fingerprint: &Fingerprint) -> Result<f64, NeighboursError> {
        let nearest = self.nearest(fingerprint)?;
        let exact = nearest.iter().any(|(distance, _)| *distance == 0.0);
        let weighted = nearest.iter().map(|(distance, index)| {
            let weight = match (exact, *distance == 0.0) {
                (false, _) => 1.0 / distance,
                (true, same) => f64::from(u8::from(same)),
            };
            (weight, weight * self.values[*index])
        });
        let (weights, sum) = weighted.fold((0.0, 0.0), |(weights, sum), (weight, product)| {
            (weights + weight, sum + product)
        });
        Ok(sum / weights)
    }

    /// The nearest molecules as distance and index, the nearest first; of equally far ones, the
    /// lower index.
    pub fn nearest(&self, fingerprint: &Fingerprint) -> Result<Vec<(f64, usize)>, NeighboursError> {
        let wanted = self.asked as usize;
        let mut nearest: Vec<(f64, usize)> = Vec::with_capacity(wanted + 1);
        for (index, known) in self.fingerprints.iter().enumerate() {
            let distance = fingerprint.distance(known)?;
            let place = nearest.partition_point(|(other, _)| *other <= distance);
            if place < wanted {
                nearest.insert(place, (distance, index));
                nearest.truncate(wanted);
            }
        }
        Ok(nearest)
    }
}
