//! The molecules among which the search goes.

use std::collections::HashSet;

use crate::table::{Table, TableError};

/// Characters of the longest SMILES: far beyond what the method can compute.
const LONGEST_SMILES: usize = 2_000;
/// Most molecules: the search holds all of them, and their numbers are 32 bits wide.
const MOST_MOLECULES: usize = 10_000_000;

/// A molecule of the data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Molecule {
    /// What the data set calls it: its column `id`, or the number of its row, from 0.
    pub(crate) id: String,
    pub(crate) smiles: String,
}

/// All molecules, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dataset {
    pub(crate) molecules: Vec<Molecule>,
    /// Rows left out because their SMILES had come before.
    pub(crate) duplicates: usize,
}

impl Dataset {
    /// Reads a table with a column `smiles` and, if there is one, a column `id`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, TableError> {
        let table = Table::parse(bytes)?;
        let smiles = table.required("smiles")?;
        let id = table.column("id");
        let rows = table.lines().enumerate().map(|(row, (line, fields))| {
            check_smiles(fields[smiles]).map_err(|expected| TableError::at(line, expected))?;
            Ok(Molecule {
                id: id.map_or_else(|| row.to_string(), |id| fields[id].to_owned()),
                smiles: fields[smiles].to_owned(),
            })
        });
        let dataset = Self::new(rows.collect::<Result<Vec<_>, _>>()?);
        let count = dataset.molecules.len();
        if (1..=MOST_MOLECULES).contains(&count) {
            Ok(dataset)
        } else {
            let expected = format!("1 to {MOST_MOLECULES} molecules; it has {count}");
            Err(TableError {
                line: None,
                expected,
            })
        }
    }

    /// The molecules, without those that are there already.
    pub(crate) fn new(molecules: Vec<Molecule>) -> Self {
        let all = molecules.len();
        let mut seen = HashSet::new();
        let mut first = molecules;
        first.retain(|molecule| seen.insert(molecule.smiles.clone()));
        Self {
            duplicates: all - first.len(),
            molecules: first,
        }
    }
}

/// What a SMILES is not, before any program looks at it.
fn check_smiles(smiles: &str) -> Result<(), String> {
    let length = smiles.chars().count();
    if length > LONGEST_SMILES {
        return Err(format!(
            "a SMILES of at most {LONGEST_SMILES} characters; it has {length}"
        ));
    }
    if smiles
        .chars()
        .any(|character| !character.is_ascii_graphic())
    {
        return Err("a SMILES of letters, digits and signs of ASCII".to_owned());
    }
    Ok(())
}
