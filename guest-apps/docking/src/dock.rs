//! Docking a ligand: tasks that tell Vina what to do, and run it.

use taps::{Error, File, Payload, Program, Result};

use crate::pdbqt;
use crate::vina::{self, Search};

/// Which number of Vina's answer is the score.
#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq, Eq, taps::ConfigEnum)]
pub(crate) enum Score {
    /// The best binding mode: mode 1.
    Best,
    /// The row that TaPS takes: the third line from the end of the output, one of the worst modes.
    TapsRow,
}

/// How a ligand binds.
#[taps::value]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Docked {
    /// What the model learns, in kcal/mol.
    pub(crate) score: f64,
    /// Affinities of all binding modes, in the order of Vina's table, in kcal/mol.
    pub(crate) modes: Vec<f64>,
}

/// Writes Vina's configuration file for a ligand, after a look at the ligand.
#[taps::task(pure)]
pub(crate) fn make_autodock_config(ligand: Payload, search: &Search) -> Result<String> {
    let bytes = ligand.bytes()?;
    let text = String::from_utf8_lossy(bytes.as_slice());
    pdbqt::ligand(&text).map_err(|reason| {
        Error::app(
            "InvalidLigand",
            format!("no PDBQT file of a ligand: {reason}"),
        )
    })?;
    Ok(search.config_file())
}

/// Docks a ligand. Gives what Vina found, and its binding modes as PDBQT.
#[taps::task(programs("vina"))]
pub(crate) fn autodock_vina(
    config: &str,
    receptor: Payload,
    ligand: Payload,
    seed: u32,
    num_cpu: u32,
    rule: Score,
) -> Result<(Docked, File)> {
    let done = Program::new("vina")
        .args(["--config", vina::CONFIG])
        .args(["--cpu", &num_cpu.to_string()])
        .args(["--seed", &seed.to_string()])
        .input(vina::CONFIG, config)
        .input(vina::RECEPTOR, &receptor)
        .input(vina::LIGAND, &ligand)
        .output(vina::POSES)
        .run_checked()?;
    let output = done.stdout_text();
    let modes = vina::modes(&output).map_err(|reason| done.error(reason))?;
    let score = match rule {
        Score::Best => modes[0],
        Score::TapsRow => vina::taps_row(&output).map_err(|reason| done.error(reason))?,
    };
    let poses = File::new(done.output(vina::POSES)?);
    Ok((Docked { score, modes }, poses))
}
