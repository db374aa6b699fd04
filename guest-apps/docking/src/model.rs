//! The surrogate: what is known of some molecules says what to expect of the others.

use taps::{Error, List, Result};
use taps_molecules::{Fingerprint, Morgan, Neighbours};

/// A molecule by its place in the search space.
#[taps::value]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Molecule {
    /// Place in the search space, from 0.
    pub(crate) index: u32,
    /// What it is made of.
    pub(crate) smiles: String,
}

/// Some molecules, with a number each where there is one.
#[taps::value]
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Scored {
    /// Place in the search space and expected score.
    pub(crate) scores: Vec<(u32, f64)>,
    /// Places of molecules that have no fingerprint.
    pub(crate) unreadable: Vec<u32>,
}

/// Fits a nearest-neighbour model to docked molecules and their scores. Molecules without a
/// fingerprint are left out.
#[taps::task(pure)]
pub(crate) fn train_model(smiles: Vec<String>, scores: Vec<f64>) -> Result<Neighbours> {
    let morgan = Morgan::default();
    let pairs = smiles.iter().zip(scores);
    let readable = pairs.filter_map(|(smiles, score)| match morgan.fingerprint(smiles) {
        Ok(fingerprint) => Some((fingerprint, score)),
        Err(error) => {
            taps::warn!("not learned from: {error}");
            None
        }
    });
    let (fingerprints, scores): (Vec<Fingerprint>, Vec<f64>) = readable.unzip();
    Neighbours::fit(fingerprints, scores, Neighbours::DEFAULT)
        .map_err(|error| Error::app("ModelError", error))
}

/// Says which scores the model expects of molecules.
#[taps::task(pure)]
pub(crate) fn run_model(model: &Neighbours, molecules: Vec<Molecule>) -> Result<Scored> {
    let morgan = Morgan::default();
    let mut scored = Scored::default();
    for molecule in molecules {
        let Ok(fingerprint) = morgan.fingerprint(&molecule.smiles) else {
            scored.unreadable.push(molecule.index);
            continue;
        };
        let score = model
            .predict(&fingerprint)
            .map_err(|error| Error::app("ModelError", error))?;
        scored.scores.push((molecule.index, score));
    }
    Ok(scored)
}

/// Puts expected scores together, the best first; of equal ones, the molecule that comes first in
/// the search space.
#[taps::task(pure)]
pub(crate) fn combine_inferences(parts: List<Scored>) -> Result<Scored> {
    let mut all = Scored::default();
    for part in parts {
        let part = part?;
        all.scores.extend(part.scores);
        all.unreadable.extend(part.unreadable);
    }
    all.scores
        .sort_by(|(one, a), (other, b)| a.total_cmp(b).then(one.cmp(other)));
    all.unreadable.sort_unstable();
    Ok(all)
}
