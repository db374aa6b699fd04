//! What a campaign leaves in its output directory.

use std::fmt::Write as _;
use std::fs;

use taps::{Error, OutputDir, Payload, Result};

use crate::campaign::{Lost, Simulation};
use crate::ligands::Ligand;

/// Scores as TaPS writes them: a table by columns, as pandas does.
pub(crate) const TRAINING_RESULTS: &str = "training-results.json";
/// All molecules that were tried, by round.
pub(crate) const RESULTS: &str = "results.csv";
/// Folder of the ligands that were prepared; `prepared_dir` of a later run.
const PREPARED: &str = "prepared";
/// Folder of the binding modes.
const POSES: &str = "poses";

/// The output directory.
pub(crate) struct Folder(OutputDir);

impl Folder {
    /// Makes its folders, so that a directory that cannot be written is known before any work.
    pub(crate) fn create(directory: &OutputDir) -> Result<Self> {
        for name in [PREPARED, POSES] {
            fs::create_dir_all(directory.join(name)).map_err(|error| {
                let expected = format!("a directory that can be written ({error})");
                Error::config("output_dir", directory, expected)
            })?;
        }
        Ok(Self(directory.clone()))
    }

    /// Keeps the ligand that was docked.
    pub(crate) fn write_prepared(&self, key: &str, ligand: &Payload) -> Result<()> {
        self.write(
            &format!("{PREPARED}/{key}.pdbqt"),
            ligand.bytes()?.as_slice(),
        )
    }

    /// Keeps the binding modes of a molecule.
    pub(crate) fn write_poses(&self, key: &str, poses: &Payload) -> Result<()> {
        self.write(&format!("{POSES}/{key}.pdbqt"), poses.bytes()?.as_slice())
    }

    /// Writes the tables.
    pub(crate) fn write_tables(
        &self,
        ligands: &[Ligand],
        done: &[Simulation],
        lost: &[Lost],
    ) -> Result<()> {
        let training = training_results(ligands, done);
        self.write(TRAINING_RESULTS, training.as_bytes())?;
        self.write(RESULTS, &results(ligands, done, lost)?)
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        self.0
            .write(name, content)
            .map_err(|error| failed(name, error))
    }
}

fn failed(name: &str, error: impl std::fmt::Display) -> Error {
    Error::app("OutputError", format!("failed to write {name}: {error}"))
}

/// `{"smiles":{"0":…},"score":{…},"time":{…}}`, in the order in which molecules were chosen.
fn training_results(ligands: &[Ligand], done: &[Simulation]) -> String {
    let column = |cell: &dyn Fn(&Simulation) -> serde_json::Value| {
        let mut text = String::from("{");
        for (row, simulation) in done.iter().enumerate() {
            let comma = if row == 0 { "" } else { "," };
            let _ = write!(text, "{comma}\"{row}\":{}", cell(simulation));
        }
        text + "}"
    };
    let smiles = column(&|done| ligands[done.molecule].smiles.as_str().into());
    let score = column(&|done| done.docked.score.into());
    let time = column(&|done| done.seconds.into());
    format!("{{\"smiles\":{smiles},\"score\":{score},\"time\":{time}}}\n")
}

fn results(ligands: &[Ligand], done: &[Simulation], lost: &[Lost]) -> Result<Vec<u8>> {
    let table = |error: csv::Error| failed(RESULTS, error);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer
        .write_record([
            "title", "smiles", "round", "score", "best", "worst", "modes", "error",
        ])
        .map_err(table)?;
    for simulation in done {
        let ligand = &ligands[simulation.molecule];
        let modes = &simulation.docked.modes;
        let edge = |mode: Option<&f64>| mode.map(f64::to_string).unwrap_or_default();
        writer
            .write_record([
                &ligand.title,
                &ligand.smiles,
                &simulation.round.to_string(),
                &simulation.docked.score.to_string(),
                &edge(modes.first()),
                &edge(modes.last()),
                &modes.len().to_string(),
                "",
            ])
            .map_err(table)?;
    }
    for lost in lost {
        let ligand = &ligands[lost.molecule];
        let round = lost.round.to_string();
        let error = lost.failure.to_string();
        let error = error.split_whitespace().collect::<Vec<_>>().join(" ");
        writer
            .write_record([
                &ligand.title,
                &ligand.smiles,
                &round,
                "",
                "",
                "",
                "",
                &error,
            ])
            .map_err(table)?;
    }
    writer.into_inner().map_err(|error| failed(RESULTS, error))
}
