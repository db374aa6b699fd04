//! Input for a run without files: a synthetic pocket, and small molecules.

use std::fmt::Write as _;

use crate::ligands::{Ligand, Table};

/// Small molecules by name. All begin with an atom of a ring: then Open Babel places them without
/// drawing random numbers, and two runs get the same coordinates.
const MOLECULES: &str = include_str!("sample.tsv");

/// Atoms of the pocket.
const ATOMS: u32 = 72;
/// Distance of its atoms from the centre, in Å.
const RADIUS: f64 = 6.0;
/// How much of the sphere is open: atoms above this part of the radius are left out.
const OPENING: f64 = 0.6;

/// The search space.
pub(crate) fn ligands() -> Vec<Ligand> {
    let mut table = Table::default();
    for line in MOLECULES.lines() {
        if let Some((title, smiles)) = line.split_once('\t') {
            table.add(title, smiles);
        }
    }
    table.ligands
}

/// A receptor in PDBQT: atoms on a sphere around `centre` that is open above, most of them carbon,
/// some that give or take hydrogen bonds. No protein looks so; it serves to try things out.
pub(crate) fn receptor(centre: [f64; 3]) -> String {
    let golden_angle = std::f64::consts::PI * (3.0 - 5.0_f64.sqrt());
    let mut text = "REMARK  synthetic pocket\n".to_owned();
    let mut serial = 0;
    for index in 0..ATOMS {
        let height = 1.0 - 2.0 * (f64::from(index) + 0.5) / f64::from(ATOMS);
        if height > OPENING {
            continue;
        }
        serial += 1;
        let angle = golden_angle * f64::from(index);
        let around = (1.0 - height * height).sqrt();
        let [x, y, z] = [around * angle.cos(), around * angle.sin(), height];
        let [x, y, z] = [
            centre[0] + RADIUS * x,
            centre[1] + RADIUS * y,
            centre[2] + RADIUS * z,
        ];
        let (name, kind) = match serial % 6 {
            0 => ("O", "OA"),
            3 => ("N", "NA"),
            _ => ("C", "C"),
        };
        let _ = writeln!(
            text,
            "ATOM  {serial:5}  {name:<3} PKT A   1    {x:8.3}{y:8.3}{z:8.3}  1.00  0.00     0.000 {kind:<2}"
        );
    }
    text + "TER\n"
}
