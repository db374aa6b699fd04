//! PDBQT files, as AutoDock Vina reads them.

use crate::pdb::{coordinates, is_atom};

/// Lines that say something of a rigid receptor, besides its atoms.
const RECEPTOR_RECORDS: [&str; 9] = [
    "REMARK", "TER", "END", "WARNING", "COMPND", "AUTHOR", "HEADER", "TITLE", "USER",
];

/// What a file holds that Vina can use as a receptor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Receptor {
    /// Atoms.
    pub(crate) atoms: usize,
    /// Atoms inside the box.
    pub(crate) inside: usize,
}

/// Checks a rigid receptor: atoms with coordinates and an AutoDock type, no torsion tree. The
/// error reads after "expected": a file whose … `within` says which coordinates are in the box.
pub(crate) fn receptor(text: &str, within: impl Fn([f64; 3]) -> bool) -> Result<Receptor, String> {
    let mut receptor = Receptor {
        atoms: 0,
        inside: 0,
    };
    for (number, line) in text.lines().enumerate() {
        let wrong = |reason: &str| {
            let shown: String = line.chars().take(60).collect();
            format!(
                "a PDBQT file of a rigid receptor (line {}: {reason}: {shown:?})",
                number + 1
            )
        };
        if is_atom(line) {
            let place = atom(line).map_err(wrong)?;
            receptor.atoms += 1;
            receptor.inside += usize::from(within(place));
        } else if ["ROOT", "BRANCH", "TORSDOF"]
            .iter()
            .any(|tag| line.starts_with(tag))
        {
            return Err(wrong("it has a torsion tree, as ligands have"));
        } else if !line.trim().is_empty()
            && !RECEPTOR_RECORDS
                .iter()
                .any(|record| line.starts_with(record))
        {
            return Err(wrong("no record of a receptor"));
        }
    }
    if receptor.atoms == 0 {
        return Err("a PDBQT file of a rigid receptor (it has no atoms)".to_owned());
    }
    Ok(receptor)
}

/// Checks a ligand: a torsion tree of atoms. Gives the number of atoms.
pub(crate) fn ligand(text: &str) -> Result<usize, String> {
    let mut atoms = 0;
    let mut tags = [("ROOT", 0), ("ENDROOT", 0), ("TORSDOF", 0)];
    for (number, line) in text.lines().enumerate() {
        if is_atom(line) {
            atom(line).map_err(|reason| format!("line {}: {reason}", number + 1))?;
            atoms += 1;
        }
        let word = line.split_whitespace().next();
        for (tag, count) in &mut tags {
            *count += u32::from(word == Some(*tag));
        }
    }
    if atoms == 0 {
        return Err("it has no atoms".to_owned());
    }
    match tags.iter().find(|(_, count)| *count != 1) {
        Some((tag, count)) => Err(format!("it has {count} lines {tag}, and must have 1")),
        None => Ok(atoms),
    }
}

/// Coordinates of an atom that has an AutoDock type.
fn atom(line: &str) -> Result<[f64; 3], &'static str> {
    let place = coordinates(line).ok_or("no coordinates in columns 31 to 54")?;
    let kind = line.get(77..).unwrap_or_default().trim();
    if kind.is_empty() || kind.len() > 3 || !kind.starts_with(|c: char| c.is_ascii_uppercase()) {
        return Err("no AutoDock atom type in columns 78 and 79");
    }
    Ok(place)
}
