//! The tasks; names and what each does are TaPS's.

use taps::{Archived, Error, Failure, List, Payload, Result};
use taps_molecules::{Morgan, Neighbours, NeighboursError};

use crate::xtb::{self, EV_PER_HARTREE};

/// What was computed of a molecule.
#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Vertical {
    /// Energy of the neutral molecule at its geometry of least energy, in Hartree.
    pub(crate) neutral: f64,
    /// Energy of the cation at the same geometry, in Hartree.
    pub(crate) cation: f64,
    /// Atoms, hydrogens too.
    pub(crate) atoms: u32,
}

impl Vertical {
    /// Vertical ionisation energy in eV.
    pub(crate) fn ionisation_energy(&self) -> f64 {
        (self.cation - self.neutral) * EV_PER_HARTREE
    }
}

/// A molecule whose ionisation energy is known.
#[taps::value]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Known {
    pub(crate) smiles: String,
    /// In eV.
    pub(crate) energy: f64,
}

/// What was learned; none while there is nothing to learn from.
#[taps::value]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Model(pub(crate) Option<Neighbours>);

/// A part of the data set.
#[taps::value]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chunk {
    /// Number of the first molecule.
    pub(crate) first: u32,
    pub(crate) smiles: Vec<String>,
}

/// What the model expects of molecules.
#[taps::value]
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Predictions {
    /// Number of the molecule, and its ionisation energy in eV.
    pub(crate) energies: Vec<(u32, f64)>,
}

/// Vertical ionisation energy of a molecule: a geometry of its SMILES, unless one is given, and the
/// energies of molecule and cation at its minimum.
#[taps::task(programs("obabel", "xtb"))]
pub(crate) fn compute_vertical(smiles: &str, geometry: List<Payload>) -> Result<Vertical> {
    vertical(smiles, geometry.into_payloads().next()).map_err(|error| named(smiles, error))
}

fn vertical(smiles: &str, geometry: Option<Payload>) -> Result<Vertical> {
    let charge = xtb::net_charge(smiles);
    if charge != 0 {
        let reason =
            format!("its charge is {charge}; what is computed is that of neutral molecules");
        return Err(Error::app("Charged", reason));
    }
    let start = match geometry {
        Some(geometry) => geometry,
        None => xtb::start_geometry(smiles)?,
    };
    let atoms = xtb::check_geometry(&start)?;
    let optimised = xtb::optimise(&start)?;
    Ok(Vertical {
        neutral: xtb::energy(&optimised, 0)?,
        cation: xtb::energy(&optimised, 1)?,
        atoms,
    })
}

/// The error, with the molecule that it is about.
fn named(smiles: &str, error: Error) -> Error {
    match error {
        Error::App { kind, message } => Error::App {
            kind,
            message: format!("{smiles}: {message}"),
        },
        Error::Program { program, message } => Error::Program {
            program,
            message: format!("of {smiles}: {message}"),
        },
        other => other,
    }
}

/// Learns from the molecules that are known: nearest neighbours by their Morgan fingerprints.
#[taps::task(pure)]
pub(crate) fn train_model(known: &Archived<Vec<Known>>) -> Result<Model, NeighboursError> {
    let morgan = Morgan::default();
    let mut fingerprints = Vec::with_capacity(known.len());
    let mut energies = Vec::with_capacity(known.len());
    for molecule in known.iter() {
        match morgan.fingerprint(&molecule.smiles) {
            Ok(fingerprint) => {
                fingerprints.push(fingerprint);
                energies.push(molecule.energy.to_native());
            }
            Err(error) => taps::warn!("not learned from: {error}"),
        }
    }
    let neighbours = Neighbours::DEFAULT.min(energies.len());
    if neighbours == 0 {
        return Ok(Model(None));
    }
    Ok(Model(Some(Neighbours::fit(
        fingerprints,
        energies,
        neighbours,
    )?)))
}

/// What the model expects of a part of the data set. Molecules without a fingerprint are left out.
#[taps::task(pure)]
pub(crate) fn run_model(
    model: Model,
    chunk: &Archived<Chunk>,
) -> Result<Predictions, NeighboursError> {
    let Some(model) = &model.0 else {
        return Ok(Predictions::default());
    };
    let morgan = Morgan::default();
    let energies = (chunk.first.to_native()..)
        .zip(chunk.smiles.iter())
        .filter_map(|(molecule, smiles)| Some((molecule, morgan.fingerprint(smiles).ok()?)))
        .map(|(molecule, fingerprint)| Ok((molecule, model.predict(&fingerprint)?)))
        .collect::<Result<_, NeighboursError>>()?;
    Ok(Predictions { energies })
}

/// All predictions, the highest ionisation energy first; of equal ones, in the order of the data
/// set.
#[taps::task(pure)]
pub(crate) fn combine_inferences(parts: List<Predictions>) -> Result<Predictions> {
    let mut energies = Vec::new();
    for part in parts {
        energies.extend(part?.energies);
    }
    energies.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    Ok(Predictions { energies })
}

/// A line for the log on a molecule that could not be computed.
pub(crate) fn explain(smiles: &str, failure: &Failure) -> String {
    let Failure {
        outcome,
        kind,
        message,
    } = failure;
    format!("{smiles} could not be computed: {outcome}: {kind}: {message}")
}
