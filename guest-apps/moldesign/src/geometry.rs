//! Geometries: files in XYZ format, and which molecule each is of.
//!
//! The format: the number of atoms, a comment, and a line `symbol x y z` per atom, in Ångström.

use std::collections::HashMap;
use std::path::Path;

use taps::{Error, InputDir};

use taps_molecules::ELEMENTS;

use crate::dataset::Molecule;

/// Atoms of the largest molecule that is computed.
const MOST_ATOMS: usize = 1_000;
/// Bytes of the largest file that is read.
pub(crate) const LARGEST_FILE: u64 = 1 << 20;

/// The elements that GFN2-xTB knows are the first of all, hydrogen to radon. xtb crashes on some others.
const KNOWN_ELEMENTS: usize = 86;

/// Why a geometry cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GeometryError {
    /// It is not in XYZ format, or has no atoms, or too many.
    Malformed(String),
    /// The method has no parameters for this element.
    Element(String),
}

/// Counts the atoms of a geometry, or tells what is wrong with it. xtb does not end on an empty
/// file, so that it must not get any.
pub(crate) fn atoms(text: &str) -> Result<usize, GeometryError> {
    let symbols = symbols(text).map_err(GeometryError::Malformed)?;
    let known = |symbol: &str| {
        ELEMENTS[..KNOWN_ELEMENTS]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(symbol))
    };
    match symbols.iter().find(|symbol| !known(symbol)) {
        None => Ok(symbols.len()),
        Some(symbol) => Err(GeometryError::Element((*symbol).to_owned())),
    }
}

fn symbols(text: &str) -> Result<Vec<&str>, String> {
    let mut lines = text.lines();
    let count = lines.next().unwrap_or_default().trim();
    let count: usize = count
        .parse()
        .map_err(|_| format!("the first line is `{count}` and not the number of atoms"))?;
    if !(1..=MOST_ATOMS).contains(&count) {
        return Err(format!(
            "it has {count} atoms; 1 to {MOST_ATOMS} are possible"
        ));
    }
    let symbols = lines
        .skip(1)
        .filter(|line| !line.trim().is_empty())
        .map(symbol)
        .collect::<Result<Vec<_>, _>>()?;
    match symbols.len() {
        found if found == count => Ok(symbols),
        found => Err(format!("it announces {count} atoms and has {found}")),
    }
}

/// The element in the line of an atom.
fn symbol(row: &str) -> Result<&str, String> {
    let mut fields = row.split_whitespace();
    let symbol = fields.next().unwrap_or_default();
    let coordinates = fields.by_ref().take(3).filter(|field| {
        let value = field.parse::<f64>();
        value.is_ok_and(f64::is_finite)
    });
    let named = symbol.starts_with(|first: char| first.is_ascii_alphabetic());
    if named && coordinates.count() == 3 {
        Ok(symbol)
    } else {
        Err(format!("`{row}` is not an element and three coordinates"))
    }
}

/// The files of a directory that hold start geometries, by molecule.
#[derive(Debug, Default)]
pub(crate) struct Geometries(HashMap<usize, String>);

impl Geometries {
    /// Finds the file of each molecule: `<id>.xyz` or `<id>.in.xyz`, or one of those after any name
    /// and an underscore, such as `dev_7.in.xyz`.
    pub(crate) fn list(directory: &InputDir, molecules: &[Molecule]) -> taps::Result<Self> {
        let names = names(directory.as_ref()).map_err(|error| {
            let expected = format!("a directory that can be read ({error})");
            Error::config("geometries", directory, expected)
        })?;
        match Self::assign(&names, molecules) {
            Ok(found) if found.0.is_empty() => Err(Error::config(
                "geometries",
                directory,
                "files named `<id>.xyz` or `<name>_<id>.in.xyz` after the ids of the data set; \
                 none matches",
            )),
            Ok(mut found) => {
                for name in found.0.values_mut() {
                    *name = directory.join(name);
                }
                Ok(found)
            }
            Err(expected) => Err(Error::config("geometries", directory, expected)),
        }
    }

    /// The file of a molecule, by its number.
    pub(crate) fn of(&self, molecule: usize) -> Option<&str> {
        self.0.get(&molecule).map(String::as_str)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn assign(names: &[String], molecules: &[Molecule]) -> Result<Self, String> {
        let by_id: HashMap<&str, usize> = molecules
            .iter()
            .enumerate()
            .map(|(index, molecule)| (molecule.id.as_str(), index))
            .collect();
        let mut found: HashMap<usize, String> = HashMap::new();
        for name in names {
            let Some(stem) = name.strip_suffix(".xyz") else {
                continue;
            };
            let stem = stem.strip_suffix(".in").unwrap_or(stem);
            let after_name = stem.match_indices('_').map(|(at, _)| &stem[at + 1..]);
            let molecule = std::iter::once(stem)
                .chain(after_name)
                .find_map(|id| by_id.get(id));
            let Some(molecule) = molecule else { continue };
            if let Some(other) = found.insert(*molecule, name.clone()) {
                let id = &molecules[*molecule].id;
                return Err(format!(
                    "one file per molecule; {other} and {name} are both of `{id}`"
                ));
            }
        }
        Ok(Self(found))
    }
}

/// Names of the files, sorted, so that an error is the same each time.
fn names(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}
