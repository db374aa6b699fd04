//! The search space: a table of molecules.

use std::collections::{HashMap, HashSet};

use taps::{Error, Result};

/// Columns that the table must have, whatever the case of their names.
const COLUMNS: [&str; 2] = ["TITLE", "SMILES"];
/// Field of the configuration that names the table.
const FIELD: &str = "smi_file_name_ligand";

/// A molecule of the search space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ligand {
    /// Name in the table; several molecules may share it.
    pub(crate) title: String,
    /// Name of its files: the title, and from the second molecule of that title on, a number.
    pub(crate) key: String,
    /// What it is made of.
    pub(crate) smiles: String,
}

/// The molecules of a table, each once, in its order.
///
/// The table has a line of column names, among them `TITLE` and `SMILES`, and is separated by
/// commas, or by tabs if its first line has them. Rows without a SMILES, and rows whose SMILES
/// came before, are left out.
pub(crate) fn read(bytes: &[u8], path: &str) -> Result<Vec<Ligand>> {
    let refuse = |expected: String| Error::config(FIELD, path, expected);
    let first = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(if first.contains(&b'\t') { b'\t' } else { b',' })
        .trim(csv::Trim::All)
        .from_reader(bytes);
    let headers = reader
        .headers()
        .map_err(|error| refuse(unreadable(&error)))?;
    let column = |name: &str| {
        let mut names = headers
            .iter()
            .map(|header| header.trim_start_matches('\u{feff}'));
        let place = names.position(|header| header.eq_ignore_ascii_case(name));
        place.ok_or_else(|| {
            refuse(format!(
                "a table with the columns {}",
                COLUMNS.join(" and ")
            ))
        })
    };
    let (title, smiles) = (column(COLUMNS[0])?, column(COLUMNS[1])?);
    let mut table = Table::default();
    for record in reader.records() {
        let record = record.map_err(|error| refuse(unreadable(&error)))?;
        table.add(&record[title], &record[smiles]);
    }
    table.warn();
    Ok(table.ligands)
}

fn unreadable(error: &csv::Error) -> String {
    format!("a table of text, every row as long as the first ({error})")
}

#[derive(Default)]
pub(crate) struct Table {
    pub(crate) ligands: Vec<Ligand>,
    known: HashSet<String>,
    titles: HashMap<String, u32>,
    repeated: u32,
    empty: u32,
}

impl Table {
    /// Adds a row.
    pub(crate) fn add(&mut self, title: &str, smiles: &str) {
        // What follows white space is a name, in files of SMILES.
        let Some(smiles) = smiles.split_whitespace().next() else {
            self.empty += 1;
            return;
        };
        if !self.known.insert(smiles.to_owned()) {
            self.repeated += 1;
            return;
        }
        let title = if title.is_empty() { "molecule" } else { title };
        let count = self.titles.entry(title.to_owned()).or_default();
        *count += 1;
        let key = match *count {
            1 => file_name(title),
            more => format!("{}-{more}", file_name(title)),
        };
        self.ligands.push(Ligand {
            title: title.to_owned(),
            key,
            smiles: smiles.to_owned(),
        });
    }

    fn warn(&self) {
        if self.repeated > 0 {
            taps::warn!("{} rows repeat a SMILES and are left out", self.repeated);
        }
        if self.empty > 0 {
            taps::warn!("{} rows have no SMILES and are left out", self.empty);
        }
    }
}

/// A title as the name of a file: characters that a file name had better not have become `_`.
fn file_name(title: &str) -> String {
    let plain = |character: char| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '+' => character,
        _ => '_',
    };
    title.chars().take(80).map(plain).collect()
}
