//! Ionisation energies that a run is held against.

use std::collections::HashMap;

use crate::table::{Table, TableError};

/// Column of the ionisation energies, in eV.
pub(crate) const COLUMN: &str = "ip_raw_eV";

/// Ionisation energies in eV, by SMILES.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Expected(HashMap<String, f64>);

impl Expected {
    /// Reads a table with columns `smiles` and `ip_raw_eV`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, TableError> {
        let table = Table::parse(bytes)?;
        let smiles = table.required("smiles")?;
        let energy = table.required(COLUMN)?;
        table
            .lines()
            .map(|(line, fields)| match fields[energy].parse::<f64>() {
                Ok(value) if value.is_finite() => Ok((fields[smiles].to_owned(), value)),
                _ => {
                    let expected = format!(
                        "a number of eV in column {COLUMN}, not `{}`",
                        fields[energy]
                    );
                    Err(TableError::at(line, expected))
                }
            })
            .collect()
    }

    /// The ionisation energy that a molecule should have, in eV.
    pub(crate) fn of(&self, smiles: &str) -> Option<f64> {
        self.0.get(smiles).copied()
    }
}

impl FromIterator<(String, f64)> for Expected {
    fn from_iter<I: IntoIterator<Item = (String, f64)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// How far results are from what was expected.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Comparison {
    /// Results for which something was expected.
    pub(crate) compared: u64,
    /// Those that are within the tolerance.
    pub(crate) within: u64,
    /// The largest difference in eV, with its molecule.
    pub(crate) largest: f64,
    pub(crate) worst: Option<String>,
}

impl Comparison {
    /// Takes in a result and what it may differ in eV; one that nothing was expected of does not
    /// count.
    pub(crate) fn add(&mut self, expected: &Expected, smiles: &str, energy: f64, tolerance: f64) {
        let Some(value) = expected.of(smiles) else {
            return;
        };
        let difference = (energy - value).abs();
        self.compared += 1;
        self.within += u64::from(difference <= tolerance);
        // NaN is no agreement.
        if self.worst.is_none() || difference > self.largest || difference.is_nan() {
            self.largest = difference;
            self.worst = Some(smiles.to_owned());
        }
    }

    /// Part of the results that are within the tolerance, 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        self.within as f64 / self.compared as f64
    }
}
