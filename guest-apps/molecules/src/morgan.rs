//! Morgan fingerprints: the neighbourhood of every atom, hashed and folded into bits.
//!
//! Reading SMILES, aromaticity and the hash of a single atom are chematic's, which follow RDKit.
//! Growing the neighbourhoods is done here, after `MorganGenerator.cpp` of RDKit (Rogers and Hahn,
//! J. Chem. Inf. Model. 50, 2010, 742): chematic stops at radius 3, and the apps use 4.

use std::collections::HashSet;

use chematic_core::{AtomIdx, BondOrder, Molecule};
use chematic_fp::{RdkitMorganConfig, RdkitMorganFpSize, RdkitMorganRadius};

use crate::Fingerprint;

/// Characters of a SMILES that an error shows.
const SHOWN_CHARACTERS: usize = 120;

/// A SMILES that describes no molecule, or none that has a fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{smiles:?} is no SMILES of a molecule: {reason}")]
pub struct InvalidSmiles {
    /// The text, cut when it is very long.
    pub smiles: String,
    /// Why.
    pub reason: String,
}

impl InvalidSmiles {
    fn new(smiles: &str, reason: impl std::fmt::Display) -> Self {
        let mut shown: String = smiles.chars().take(SHOWN_CHARACTERS).collect();
        if shown.len() < smiles.len() {
            shown.push('…');
        }
        Self {
            smiles: shown,
            reason: reason.to_string(),
        }
    }
}

/// A kind of fingerprint that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MorganError {
    /// Number of bits out of range.
    #[error("fingerprint of {0} bits: 1 to {max} are possible", max = Morgan::MAX_BITS)]
    Bits(u32),
    /// Radius out of range.
    #[error("fingerprint of radius {0}: at most {max} bonds are possible", max = Morgan::MAX_RADIUS)]
    Radius(u32),
}

/// Makes Morgan fingerprints of one length and radius, without chirality, as RDKit's
/// `GetMorganGenerator(radius, fpSize)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Morgan {
    bits: u32,
    radius: u32,
}

impl Default for Morgan {
    /// What TaPS's apps use: 256 bits, radius 4.
    fn default() -> Self {
        Self {
            bits: 256,
            radius: 4,
        }
    }
}

impl Morgan {
    /// Longest fingerprint, in bits.
    pub const MAX_BITS: u32 = 1 << 16;
    /// Largest radius, in bonds.
    pub const MAX_RADIUS: u32 = 32;

    /// Fingerprints of `bits` bits over neighbourhoods of up to `radius` bonds.
    pub fn new(bits: u32, radius: u32) -> Result<Self, MorganError> {
        if bits == 0 || bits > Self::MAX_BITS {
            return Err(MorganError::Bits(bits));
        }
        if radius > Self::MAX_RADIUS {
            return Err(MorganError::Radius(radius));
        }
        Ok(Self { bits, radius })
    }

    /// The fingerprint of a molecule.
    pub fn fingerprint(&self, smiles: &str) -> Result<Fingerprint, InvalidSmiles> {
        let invalid = |reason: String| InvalidSmiles::new(smiles, reason);
        let molecule = parse(smiles).map_err(invalid)?;
        let graph = Graph::new(&molecule).map_err(invalid)?;
        let mut fingerprint = Fingerprint::new(self.bits);
        graph.neighbourhoods(self.radius, |hash| fingerprint.fold(hash));
        Ok(fingerprint)
    }
}

/// The molecule that a SMILES describes, without hydrogens that are no more than a count.
fn parse(smiles: &str) -> Result<Molecule, String> {
    let molecule = chematic_smiles::parse(smiles).map_err(|error| error.to_string())?;
    if molecule.atom_count() == 0 {
        return Err("it has no atoms".to_owned());
    }
    let problems = chematic_smiles::rdkit_detect_chemistry_problems(&molecule)
        .map_err(|error| error.to_string())?;
    if let Some(problem) = problems.first() {
        return Err(problem.message.clone());
    }
    Ok(chematic_smiles::rdkit_hydrogen_suppressed(&molecule).unwrap_or(molecule))
}

/// A molecule as its hashes see it.
struct Graph {
    /// For each atom its hash alone.
    atoms: Vec<u32>,
    /// For each atom its bonds: kind and index of the bond, atom at the other end.
    bonds: Vec<Vec<Edge>>,
    bond_count: usize,
}

struct Edge {
    kind: u32,
    bond: usize,
    atom: usize,
}

impl Graph {
    fn new(molecule: &Molecule) -> Result<Self, String> {
        let atoms = atom_hashes(molecule)?;
        chematic_perception::with_rdkit_parity_view(molecule, |view| {
            let view = view.map_err(ToString::to_string)?;
            let bonds = (0..view.atom_count()).map(|atom| edges(view, atom));
            let bonds: Vec<_> = bonds.collect::<Result<_, _>>()?;
            if bonds.len() != atoms.len() {
                return Err("its atoms were counted in two ways".to_owned());
            }
            Ok(Self {
                atoms,
                bonds,
                bond_count: view.bond_count(),
            })
        })
    }

    /// Gives the hash of every atom and of every distinct neighbourhood of up to `radius` bonds.
    ///
    /// Of neighbourhoods with the same bonds only the one met first counts, and within a round the
    /// one with the smallest hash. An atom whose neighbourhood did not count grows no further, and
    /// from the round after, its hash is 0 for its neighbours.
    fn neighbourhoods(&self, radius: u32, mut emit: impl FnMut(u32)) {
        let mut hashes = self.atoms.clone();
        hashes.iter().copied().for_each(&mut emit);
        let mut covered = vec![BondSet::new(self.bond_count); hashes.len()];
        let mut growing: Vec<bool> = self.bonds.iter().map(|bonds| !bonds.is_empty()).collect();
        let mut seen = HashSet::new();
        for layer in 0..radius {
            let mut round = Vec::new();
            let mut next = vec![0; hashes.len()];
            for atom in (0..hashes.len()).filter(|atom| growing[*atom]) {
                next[atom] = self.grow(layer, atom, &hashes);
                round.push((self.cover(atom, &covered), next[atom], atom));
            }
            if round.is_empty() {
                return;
            }
            for (bonds, _, atom) in &round {
                covered[*atom].clone_from(bonds);
            }
            round.sort_unstable();
            for (bonds, hash, atom) in round {
                if seen.insert(bonds) {
                    emit(hash);
                } else {
                    growing[atom] = false;
                }
            }
            hashes = next;
        }
    }

    /// Hash of an atom with what its neighbours were in the round before.
    fn grow(&self, layer: u32, atom: usize, hashes: &[u32]) -> u32 {
        let mut neighbours: Vec<(u32, u32)> = self.bonds[atom]
            .iter()
            .map(|edge| (edge.kind, hashes[edge.atom]))
            .collect();
        neighbours.sort_unstable();
        let start = combine(layer, hashes[atom]);
        neighbours.into_iter().fold(start, |hash, (kind, other)| {
            combine(hash, combine(combine(0, kind), other))
        })
    }

    /// Bonds of an atom, and those that its neighbours covered in the round before.
    fn cover(&self, atom: usize, covered: &[BondSet]) -> BondSet {
        let mut bonds = BondSet::new(self.bond_count);
        for edge in &self.bonds[atom] {
            bonds.insert(edge.bond);
            bonds.add(&covered[edge.atom]);
        }
        bonds
    }
}

/// Hashes of the atoms alone: element, degree, hydrogens, charge, isotope, ring.
fn atom_hashes(molecule: &Molecule) -> Result<Vec<u32>, String> {
    let alone = RdkitMorganConfig {
        radius: RdkitMorganRadius::R0,
        fp_size: RdkitMorganFpSize::B2048,
        include_chirality: false,
    };
    let fingerprint = chematic_fp::rdkit_morgan_fingerprint(molecule, &alone)
        .map_err(|error| error.to_string())?;
    let mut hashes = vec![None; molecule.atom_count()];
    for (hash, atoms) in &fingerprint.raw_bit_info {
        for (atom, _) in atoms {
            if let Some(slot) = hashes.get_mut(*atom as usize) {
                *slot = Some(*hash);
            }
        }
    }
    let hashes: Option<Vec<u32>> = hashes.into_iter().collect();
    hashes.ok_or_else(|| "an atom of it has no hash".to_owned())
}

fn edges(molecule: &Molecule, atom: usize) -> Result<Vec<Edge>, String> {
    let neighbours = molecule.neighbors(AtomIdx(atom as u32));
    neighbours
        .map(|(other, bond)| {
            Ok(Edge {
                kind: bond_kind(molecule.bond(bond).order)?,
                bond: bond.0 as usize,
                atom: other.0 as usize,
            })
        })
        .collect()
}

/// RDKit's number of a kind of bond (`Bond::BondType`).
fn bond_kind(order: BondOrder) -> Result<u32, String> {
    match order {
        BondOrder::Single | BondOrder::Up | BondOrder::Down => Ok(1),
        BondOrder::Double => Ok(2),
        BondOrder::Triple => Ok(3),
        BondOrder::Quadruple => Ok(4),
        BondOrder::Aromatic => Ok(12),
        BondOrder::Dative => Ok(17),
        BondOrder::Zero => Ok(21),
        other => Err(format!("it has a bond of kind {other:?}")),
    }
}

/// Boost's `hash_combine` on 32 bits, as RDKit fixes it.
fn combine(seed: u32, value: u32) -> u32 {
    seed ^ value
        .wrapping_add(0x9e37_79b9)
        .wrapping_add(seed << 6)
        .wrapping_add(seed >> 2)
}

/// A set of bonds of one molecule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct BondSet(Vec<u64>);

impl BondSet {
    fn new(bonds: usize) -> Self {
        Self(vec![0; bonds.div_ceil(64)])
    }

    fn insert(&mut self, bond: usize) {
        self.0[bond / 64] |= 1 << (bond % 64);
    }

    fn add(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }
}
