//! The docking app: AutoDock Vina on molecules that a model chooses.
//!
//! ```text
//! SMILES ─► smi_to_pdb ─► set_element ─► pdb_to_pdbqt ─► make_autodock_config ─► autodock_vina
//!                                              └──────────── ligand ────────────────┘  │ score
//! next batch ◄── combine_inferences ◄── run_model × chunks ◄── train_model ◄───────────┘
//! ```
//!
//! Tasks and options have the names that they have in TaPS. Unlike there, the score is the best
//! binding mode, training and inference are tasks, the box and the search can be chosen, Vina has
//! a seed, a molecule that fails does not end the campaign, and the result is checked.
//!
//! What it never does: dock a molecule twice, or take a program's silence for success.

mod campaign;
mod check;
mod dock;
mod ligands;
mod model;
mod output;
mod pdb;
mod pdbqt;
mod prepare;
mod sample;
#[cfg(test)]
mod tests;
mod vina;

use std::collections::HashMap;

use rand_chacha::ChaCha8Rng;
use taps::rand::SeedableRng as _;
use taps::rand::seq::SliceRandom as _;
use taps::{Engine, Error, InputDir, InputFile, OutputDir, Payload, ProgramNeed, Report, Result};

use campaign::{Campaign, Method, Prepare};
use check::{Expected, Plan};
use dock::Score;
use ligands::Ligand;
use output::Folder;
use taps_molecules::Neighbours;
use vina::Search;

/// Largest file of the configuration that the driver reads, in bytes.
const LARGEST_FILE: u64 = 256 << 20;

const PROGRAMS: &[ProgramNeed] = &[
    ProgramNeed::new("vina", "apt-get install autodock-vina")
        .help("docks")
        .version(&["--version"]),
    ProgramNeed::new("obabel", "apt-get install openbabel")
        .help("makes 3-D structures and ligands; not needed with prepared_dir")
        .version(&["-V"])
        .optional(),
    ProgramNeed::new("mk_prepare_ligand.py", "pip install meeko gemmi")
        .help("makes ligands, with prepare = meeko")
        .optional(),
    ProgramNeed::new(
        "prepare_ligand4.py",
        "see docs/apps/docking.md; MGLTools 1.5.7",
    )
    .help("makes ligands, with prepare = mgltools")
    .optional(),
];

/// Docking of molecules that a model chooses, into a protein.
#[derive(Debug, taps::Config)]
#[taps(check = Docking::check)]
struct Docking {
    /// Table of molecules with the columns TITLE and SMILES. None, with no receptor: a small
    /// built-in example.
    smi_file_name_ligand: Option<InputFile>,
    /// Receptor, as PDBQT.
    receptor: Option<InputFile>,
    /// Molecules docked before the model is first asked; at least 4 if it is.
    #[taps(default = 8, min = 1, max = 1_000_000)]
    initial_simulations: u32,
    /// Rounds of learning, choosing and docking.
    #[taps(default = 3, max = 1_000_000)]
    num_iterations: u32,
    /// Molecules docked in a round.
    #[taps(default = 8, min = 1, max = 1_000_000)]
    batch_size: u32,
    /// Seed of the initial sample.
    #[taps(default = 0)]
    seed: u64,
    /// Programs that make a ligand of a SMILES.
    #[taps(default = Prepare::Obabel)]
    prepare: Prepare,
    /// Directory of ligands as PDBQT, named by title: only these are docked, as they are.
    prepared_dir: Option<InputDir>,
    /// Which of Vina's numbers is the score.
    #[taps(default = Score::Best)]
    score: Score,
    /// Centre of the box, in Å.
    #[taps(default = 15.614)]
    center_x: f64,
    /// Centre of the box, in Å.
    #[taps(default = 53.380)]
    center_y: f64,
    /// Centre of the box, in Å.
    #[taps(default = 15.455)]
    center_z: f64,
    /// Side of the box, in Å.
    #[taps(default = 20.0, min = 1.0, max = 200.0)]
    size_x: f64,
    /// Side of the box, in Å.
    #[taps(default = 20.0, min = 1.0, max = 200.0)]
    size_y: f64,
    /// Side of the box, in Å.
    #[taps(default = 20.0, min = 1.0, max = 200.0)]
    size_z: f64,
    /// Independent searches of a docking. (TaPS: 20.)
    #[taps(default = 8, min = 1, max = 10_000)]
    exhaustiveness: u32,
    /// Most binding modes of a docking. It changes the search itself.
    #[taps(default = 20, min = 1, max = 10_000)]
    num_modes: u32,
    /// How much worse than the best a mode may be, in kcal/mol.
    #[taps(default = 10.0, min = 0.0, max = 1_000.0)]
    energy_range: f64,
    /// Seed of every docking.
    #[taps(default = 42, min = 1, max = 2_147_483_647)]
    vina_seed: u32,
    /// Threads of a docking.
    #[taps(default = 1, min = 1, max = 1024)]
    num_cpu: u32,
    /// Tasks that share the work of the model.
    #[taps(default = 4, min = 1, max = 4096)]
    inference_chunks: u32,
    /// Molecules that may fail before the campaign ends.
    #[taps(default = 50)]
    max_failures: u32,
    /// Directory for training-results.json, results.csv, the ligands and their poses.
    #[taps(default = "{run_dir}/data")]
    output_dir: OutputDir,
    /// Table of known scores, separated by tabs, with the columns title and best.
    expected: Option<InputFile>,
}

impl Docking {
    fn check(&self) -> Result<()> {
        match (&self.smi_file_name_ligand, &self.receptor) {
            (None, Some(receptor)) => Err(Error::config(
                "receptor",
                receptor,
                "none, or a table of molecules as smi_file_name_ligand",
            )),
            (Some(table), None) => Err(Error::config(
                "smi_file_name_ligand",
                table,
                "none, or a receptor as receptor",
            )),
            _ => Ok(()),
        }?;
        let needed = Neighbours::DEFAULT as u32;
        if self.num_iterations > 0 && self.initial_simulations < needed {
            return Err(Error::config(
                "initial_simulations",
                self.initial_simulations,
                format!("at least {needed}, which the model needs, or num_iterations = 0"),
            ));
        }
        Ok(())
    }

    fn search(&self) -> Search {
        Search {
            centre: [self.center_x, self.center_y, self.center_z],
            size: [self.size_x, self.size_y, self.size_z],
            exhaustiveness: self.exhaustiveness,
            num_modes: self.num_modes,
            energy_range: self.energy_range,
        }
    }

    /// The way of preparation, as files and tables call it.
    fn route(&self) -> &'static str {
        taps::ConfigEnum::word(&self.prepare)
    }
}

#[taps::app(name = "docking", programs = PROGRAMS)]
fn run(config: Docking, engine: &Engine) -> Result<Report> {
    let receptor = receptor(&config, engine)?;
    let mut ligands = match &config.smi_file_name_ligand {
        Some(table) => ligands::read(
            &read(engine, "smi_file_name_ligand", table.path())?,
            table.path(),
        )?,
        None => sample::ligands(),
    };
    let prepared = match &config.prepared_dir {
        Some(directory) => prepared(engine, directory, config.route(), &mut ligands)?,
        None => HashMap::new(),
    };
    if ligands.len() < config.initial_simulations as usize {
        return Err(Error::config(
            "initial_simulations",
            config.initial_simulations,
            format!(
                "at most the {} different molecules that there are",
                ligands.len()
            ),
        ));
    }
    let expected = match &config.expected {
        Some(table) => {
            let bytes = read(engine, "expected", table.path())?;
            Some(Expected::read(&bytes, table.path(), config.route())?)
        }
        None => None,
    };
    let campaign = Campaign {
        engine,
        ligands: &ligands,
        method: Method {
            receptor,
            prepare: config.prepare,
            prepared,
            search: config.search(),
            seed: config.vina_seed,
            num_cpu: config.num_cpu,
            score: config.score,
        },
        folder: Folder::create(&config.output_dir)?,
        max_failures: config.max_failures,
        inference_chunks: config.inference_chunks,
        done: Vec::new(),
        lost: Vec::new(),
        tried: vec![false; ligands.len()],
    };
    explore(&config, campaign, expected.as_ref())
}

/// Docks a random sample, then, round after round, the molecules that the model expects most of.
fn explore(
    config: &Docking,
    mut campaign: Campaign<'_>,
    expected: Option<&Expected>,
) -> Result<Report> {
    let engine = campaign.engine;
    engine.phase("initial");
    let mut sample: Vec<usize> = (0..campaign.ligands.len()).collect();
    sample.shuffle(&mut ChaCha8Rng::seed_from_u64(config.seed));
    campaign.simulate(0, sample, config.initial_simulations)?;
    if config.num_iterations > 0 && campaign.done.len() < Neighbours::DEFAULT {
        return Err(Error::app(
            "TooFewDocked",
            format!(
                "{} of {} molecules could be docked, and the model needs {}",
                campaign.done.len(),
                campaign.ligands.len(),
                Neighbours::DEFAULT
            ),
        ));
    }
    let mut rounds = 0;
    for round in 1..=config.num_iterations {
        if campaign.tried.iter().all(|tried| *tried) {
            taps::warn!("all molecules were tried before round {round}: the campaign ends");
            break;
        }
        engine.phase("learn");
        let ranking = campaign.rank()?;
        engine.phase("dock");
        let before = campaign.done.len();
        campaign.simulate(round, ranking, config.batch_size)?;
        rounds += u32::from(campaign.done.len() > before);
        let best = campaign.done.iter().map(|done| done.docked.score);
        let best = best.fold(f64::INFINITY, f64::min);
        taps::info!(
            "({round}/{}) best score {best:.3} kcal/mol",
            config.num_iterations
        );
    }
    engine.phase("output");
    campaign
        .folder
        .write_tables(campaign.ligands, &campaign.done, &campaign.lost)?;
    let plan = Plan {
        initial_simulations: config.initial_simulations,
        num_iterations: config.num_iterations,
        batch_size: config.batch_size,
        rounds,
        exact: config.prepared_dir.is_some(),
    };
    Ok(check::report(&campaign, &plan, expected))
}

/// The receptor, checked: Vina's own message does not say where it is wrong.
fn receptor(config: &Docking, engine: &Engine) -> Result<Payload> {
    let search = config.search();
    let Some(file) = &config.receptor else {
        return Ok(sample::receptor(search.centre).into_bytes().into());
    };
    let bytes = read(engine, "receptor", file.path())?;
    let text = String::from_utf8_lossy(&bytes);
    let found = pdbqt::receptor(&text, |place| search.contains(place))
        .map_err(|expected| Error::config("receptor", file, expected))?;
    if found.inside == 0 {
        taps::warn!(
            "none of the {} atoms of the receptor is in the box",
            found.atoms
        );
    }
    engine.input_file(file.path())
}

/// A whole file of the configuration.
fn read(engine: &Engine, field: &str, path: &str) -> Result<Vec<u8>> {
    let payload = engine.input_file(path)?;
    if payload.size() > LARGEST_FILE {
        let expected = format!(
            "a file of at most {LARGEST_FILE} bytes, not {}",
            payload.size()
        );
        return Err(Error::config(field, path, expected));
    }
    Ok(payload.bytes()?.into_vec())
}

/// Finds the ligands that are prepared, as `TITLE.ROUTE.pdbqt` or `TITLE.pdbqt`, and leaves the
/// others out of the search space.
fn prepared(
    engine: &Engine,
    directory: &InputDir,
    route: &str,
    ligands: &mut Vec<Ligand>,
) -> Result<HashMap<usize, Payload>> {
    let unreadable = |error: std::io::Error| {
        Error::config(
            "prepared_dir",
            directory,
            format!("a directory that can be read ({error})"),
        )
    };
    let mut names = std::collections::HashSet::new();
    for entry in std::fs::read_dir(directory.path()).map_err(unreadable)? {
        names.insert(entry.map_err(unreadable)?.file_name());
    }
    let file = |ligand: &Ligand| {
        let candidates = [
            format!("{}.{route}.pdbqt", ligand.key),
            format!("{}.pdbqt", ligand.key),
        ];
        let mut candidates = candidates.into_iter();
        candidates.find(|name| names.contains(std::ffi::OsStr::new(name)))
    };
    let before = ligands.len();
    ligands.retain(|ligand| file(ligand).is_some());
    taps::info!("{} of {before} molecules are prepared", ligands.len());
    let mut found = HashMap::new();
    for (index, ligand) in ligands.iter().enumerate() {
        if let Some(name) = file(ligand) {
            found.insert(index, engine.input_file(directory.join(&name))?);
        }
    }
    if found.is_empty() {
        let expected =
            format!("a directory with files TITLE.pdbqt or TITLE.{route}.pdbqt of the molecules");
        return Err(Error::config("prepared_dir", directory, expected));
    }
    Ok(found)
}
