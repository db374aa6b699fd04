//! Well-known molecules, for a run without a data set.
//!
//! Their ionisation energies were computed once with Open Babel 3.1.1 and xtb 6.5.1, by the command
//! lines of this app, and are what a run is held against.

use crate::dataset::{Dataset, Molecule};
use crate::expected::Expected;

/// Name, SMILES, and vertical ionisation energy (GFN2-xTB) in eV.
#[rustfmt::skip]
const MOLECULES: [(&str, &str, f64); 96] = [
    ("methane", "C", 16.942),
    ("ammonia", "N", 16.432),
    ("water", "O", 18.293),
    ("hydrogen-fluoride", "F", 20.563),
    ("hydrogen-sulfide", "S", 15.025),
    ("hydrogen-chloride", "Cl", 16.801),
    ("nitrogen", "N#N", 18.041),
    ("carbon-dioxide", "O=C=O", 19.488),
    ("carbonyl-sulfide", "O=C=S", 15.814),
    ("carbon-disulfide", "S=C=S", 14.356),
    ("hydrogen-cyanide", "C#N", 17.550),
    ("cyanogen", "N#CC#N", 16.937),
    ("hydrogen-peroxide", "OO", 16.572),
    ("hydrazine", "NN", 13.902),
    ("ethane", "CC", 15.182),
    ("ethene", "C=C", 15.367),
    ("ethyne", "C#C", 16.964),
    ("propane", "CCC", 14.592),
    ("propene", "CC=C", 14.541),
    ("propyne", "CC#C", 14.884),
    ("allene", "C=C=C", 14.487),
    ("cyclopropane", "C1CC1", 15.214),
    ("butane", "CCCC", 14.234),
    ("isobutane", "CC(C)C", 14.409),
    ("isobutene", "CC(C)=C", 13.819),
    ("butadiene", "C=CC=C", 14.080),
    ("cyclobutane", "C1CCC1", 14.078),
    ("pentane", "CCCCC", 13.988),
    ("neopentane", "CC(C)(C)C", 14.294),
    ("cyclopentane", "C1CCCC1", 14.005),
    ("cyclopentadiene", "C1C=CC=C1", 13.716),
    ("hexane", "CCCCCC", 13.767),
    ("cyclohexane", "C1CCCCC1", 13.770),
    ("cyclohexene", "C1CCC=CC1", 13.454),
    ("benzene", "c1ccccc1", 14.215),
    ("toluene", "Cc1ccccc1", 13.623),
    ("styrene", "C=Cc1ccccc1", 13.325),
    ("methanol", "CO", 15.458),
    ("ethanol", "CCO", 14.829),
    ("propan-1-ol", "CCCO", 14.398),
    ("propan-2-ol", "CC(C)O", 14.624),
    ("ethylene-glycol", "OCCO", 14.596),
    ("phenol", "Oc1ccccc1", 13.610),
    ("dimethyl-ether", "COC", 14.512),
    ("diethyl-ether", "CCOCC", 13.815),
    ("oxirane", "C1CO1", 15.541),
    ("tetrahydrofuran", "C1CCOC1", 13.847),
    ("dioxane", "C1COCCO1", 13.725),
    ("furan", "c1ccoc1", 14.525),
    ("anisole", "COc1ccccc1", 13.208),
    ("formaldehyde", "C=O", 15.892),
    ("acetaldehyde", "CC=O", 15.103),
    ("acrolein", "C=CC=O", 14.743),
    ("glyoxal", "O=CC=O", 15.280),
    ("acetone", "CC(C)=O", 14.563),
    ("cyclohexanone", "O=C1CCCCC1", 13.636),
    ("benzaldehyde", "O=Cc1ccccc1", 13.995),
    ("ketene", "C=C=O", 15.143),
    ("formic-acid", "OC=O", 16.264),
    ("acetic-acid", "CC(O)=O", 15.582),
    ("methyl-formate", "COC=O", 15.691),
    ("methyl-acetate", "COC(C)=O", 15.108),
    ("methylamine", "CN", 14.368),
    ("dimethylamine", "CNC", 13.576),
    ("trimethylamine", "CN(C)C", 13.110),
    ("ethylamine", "CCN", 13.888),
    ("aziridine", "C1CN1", 14.546),
    ("pyrrolidine", "C1CCNC1", 13.568),
    ("piperidine", "C1CCNCC1", 12.944),
    ("morpholine", "C1COCCN1", 13.210),
    ("aniline", "Nc1ccccc1", 12.831),
    ("pyrrole", "c1cc[nH]c1", 13.649),
    ("imidazole", "c1c[nH]cn1", 14.136),
    ("pyridine", "c1ccncc1", 13.610),
    ("pyrimidine", "c1cncnc1", 13.693),
    ("pyrazine", "c1cnccn1", 13.337),
    ("acetonitrile", "CC#N", 16.120),
    ("acrylonitrile", "C=CC#N", 15.437),
    ("benzonitrile", "N#Cc1ccccc1", 14.427),
    ("formamide", "NC=O", 15.351),
    ("acetamide", "CC(N)=O", 14.809),
    ("urea", "NC(N)=O", 14.874),
    ("glycine", "NCC(O)=O", 14.563),
    ("nitromethane", "C[N+](=O)[O-]", 16.328),
    ("methanethiol", "CS", 13.937),
    ("dimethyl-sulfide", "CSC", 13.184),
    ("thiophene", "c1ccsc1", 13.910),
    ("dimethyl-sulfoxide", "CS(C)=O", 13.763),
    ("fluoromethane", "CF", 16.824),
    ("difluoromethane", "FCF", 17.185),
    ("trifluoromethane", "FC(F)F", 18.419),
    ("tetrafluoromethane", "FC(F)(F)F", 20.234),
    ("chloromethane", "CCl", 15.182),
    ("dichloromethane", "ClCCl", 14.864),
    ("chlorobenzene", "Clc1ccccc1", 13.801),
    ("fluorobenzene", "Fc1ccccc1", 14.463),
];

/// The molecules as a data set.
pub(crate) fn dataset() -> Dataset {
    let molecule = |(name, smiles, _): &(&str, &str, f64)| Molecule {
        id: (*name).to_owned(),
        smiles: (*smiles).to_owned(),
    };
    Dataset::new(MOLECULES.iter().map(molecule).collect())
}

/// What their ionisation energies should be.
pub(crate) fn expected() -> Expected {
    MOLECULES
        .iter()
        .map(|(_, smiles, energy)| ((*smiles).to_owned(), *energy))
        .collect()
}
