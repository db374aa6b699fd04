//! The moldesign app: an active search for molecules of high ionisation energy.
//!
//! ```text
//! random molecules ──► compute_vertical ─┐
//!          ┌─────────────────────────────┴─► what is known ──► train_model
//!          │                                                       │ model
//!          │                        ┌──────────────────────────────┴─────────┐
//!          │                    run_model (chunk 1)   …               run_model (chunk 64)
//!          │                        └──────────────► combine_inferences ◄────┘
//!          └── compute_vertical ◄── the most promising that were never tried
//! ```
//!
//! Rounds and tasks are those of TaPS. Unlike there, a molecule that fails is replaced by a random
//! one that has never been tried, no molecule comes twice, and energies are what they are called:
//! electronvolts (see `xtb` for the method).

mod candidates;
mod dataset;
mod expected;
mod geometry;
mod known;
mod results;
mod search;
mod table;
mod tasks;
#[cfg(test)]
mod tests;
mod xtb;

use std::collections::HashSet;
use std::time::Duration;

use taps::{Bound, Engine, Error, InputDir, InputFile, OutputDir, Report, Result};

use dataset::Dataset;
use expected::{Comparison, Expected};
use geometry::Geometries;
use results::Row;
use search::{Search, Settings};
use table::TableError;

/// The lowest and the highest ionisation energy that can be true, in eV: caesium has 3.9, helium
/// 24.6.
const POSSIBLE_EV: (f64, f64) = (2.0, 30.0);
/// Largest difference in eV from what is expected, when both began with the same geometry.
const SAME_GEOMETRY_EV: f64 = 0.02;
/// Largest difference in eV from what is expected, when Open Babel made the geometry.
const OTHER_GEOMETRY_EV: f64 = 0.3;
/// Part of the molecules whose geometry Open Babel made that must be within that: it starts from
/// random coordinates, and may find another conformer, or another isomer of a SMILES that names none.
const LEAST_SHARE: f64 = 0.8;

/// Search for molecules of high ionisation energy.
#[derive(Debug, taps::Config)]
#[taps(check = MolDesign::check)]
struct MolDesign {
    /// Table of molecules with a column `smiles` and, if wanted, `id`; none for 96 well-known ones.
    dataset: Option<InputFile>,
    /// Molecules chosen at random before the first round.
    #[taps(default = 8, min = 4, max = 1_000_000)]
    initial_count: u32,
    /// Molecules computed in all.
    #[taps(default = 64, min = 4, max = 1_000_000)]
    search_count: u32,
    /// Molecules computed in a round.
    #[taps(default = 4, min = 1, max = 1_000_000)]
    batch_size: u32,
    /// Seed of the random choices; none for that of the run.
    seed: Option<u64>,
    /// Tasks that share the data set when the model is asked.
    #[taps(default = 64, min = 1, max = 10_000)]
    inference_chunks: u32,
    /// Directory of start geometries, `<id>.xyz` or `<name>_<id>.in.xyz`; Open Babel makes the others.
    geometries: Option<InputDir>,
    /// Longest time for a molecule, in seconds.
    #[taps(default = 600, min = 1, max = 1_000_000)]
    molecule_timeout_s: u32,
    /// Table with columns `smiles` and `ip_raw_eV`, which the results must match.
    expected: Option<InputFile>,
    /// Largest difference from it in eV; none for 0.02 from given geometries, and 0.3 for 8 of 10 others.
    #[taps(min = 0.0)]
    tolerance: Option<f64>,
    /// Directory for `results.csv` and `results.png`.
    #[taps(default = "{run_dir}/data")]
    output_dir: OutputDir,
}

impl MolDesign {
    fn check(&self) -> Result<()> {
        if self.search_count < self.initial_count {
            return Err(Error::config(
                "search_count",
                self.search_count,
                format!("at least initial_count = {}", self.initial_count),
            ));
        }
        Ok(())
    }

    fn dataset(&self, engine: &Engine) -> Result<Dataset> {
        match &self.dataset {
            Some(file) => parse(engine, "dataset", file, Dataset::parse),
            None => Ok(known::dataset()),
        }
    }

    /// What the results are held against; none when there is nothing.
    fn expected(&self, engine: &Engine) -> Result<Option<Expected>> {
        match (&self.expected, &self.dataset) {
            (Some(file), _) => parse(engine, "expected", file, Expected::parse).map(Some),
            (None, None) => Ok(Some(known::expected())),
            (None, Some(_)) => Ok(None),
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            initial: self.initial_count as usize,
            target: self.search_count as usize,
            batch: self.batch_size as usize,
            chunks: self.inference_chunks as usize,
            timeout: Duration::from_secs(self.molecule_timeout_s.into()),
        }
    }
}

/// Reads a file of the configuration. A granted file is no part of a directory that the app could
/// look into: it is read as a payload.
fn parse<T>(
    engine: &Engine,
    field: &str,
    file: &InputFile,
    parse: fn(&[u8]) -> Result<T, TableError>,
) -> Result<T> {
    let bytes = engine
        .input_file(file)
        .and_then(|payload| payload.bytes())
        .map_err(|error| {
            Error::config(field, file, format!("a file that can be read ({error})"))
        })?;
    parse(&bytes).map_err(|error| error.of(field, file.path()))
}

#[taps::app(name = "moldesign", programs = xtb::PROGRAMS)]
fn run(config: MolDesign, engine: &Engine) -> Result<Report> {
    let dataset = config.dataset(engine)?;
    let expected = config.expected(engine)?;
    let geometries = match &config.geometries {
        Some(directory) => Geometries::list(directory, &dataset.molecules)?,
        None => Geometries::default(),
    };
    announce(&config, &dataset, &geometries);
    let seed = config.seed.unwrap_or_else(taps::seed);
    let mut search = Search::new(
        engine,
        config.settings(),
        &dataset.molecules,
        &geometries,
        seed,
    );
    // At once, so that a directory that cannot be written is known before any work.
    let keep = |rows: &[Row]| results::write_table(&config.output_dir, rows);
    keep(&[])?;
    search.run(keep)?;
    if search.rows.is_empty() {
        return Err(search::nothing_computed(search.failures, "see the log"));
    }
    engine.phase("output");
    results::write_plot(&config.output_dir, &search.rows)?;
    let report = report(&config, &dataset, &search);
    Ok(match expected {
        Some(expected) => compare(&config, report, &expected, &search.rows, &geometries),
        None => report,
    })
}

/// Says what is searched, and what is odd about it.
fn announce(config: &MolDesign, dataset: &Dataset, geometries: &Geometries) {
    let count = dataset.molecules.len();
    if dataset.duplicates > 0 {
        taps::warn!(
            "{} rows of the data set repeat a SMILES and are left out",
            dataset.duplicates
        );
    }
    if count < config.search_count as usize {
        taps::warn!(
            "the data set has {count} molecules and not the search_count = {}: all of them are tried",
            config.search_count
        );
    }
    if config.geometries.is_some() {
        taps::info!(
            "start geometries are given for {} molecules",
            geometries.len()
        );
    }
    taps::info!("{count} molecules to choose from");
}

fn report(config: &MolDesign, dataset: &Dataset, search: &Search<'_>) -> Report {
    let rows = &search.rows;
    let tried = rows.len() + search.failures;
    // Without molecules left, those that failed cannot be made up for.
    let possible = dataset.molecules.len() - search.failures;
    let expected = (config.search_count as usize).min(possible);
    let distinct: HashSet<&str> = rows.iter().map(|row| row.smiles.as_str()).collect();
    let energies = rows.iter().map(|row| row.energy);
    let rises = results::best_so_far(rows).is_sorted();
    let chosen = rows.iter().filter(|row| row.batch > 0).count();
    let fewest_rounds = chosen.div_ceil(config.batch_size as usize);
    let mut report = Report::new()
        .check("molecules", rows.len(), Bound::Equals(expected.into()))
        .check(
            "duplicates",
            rows.len() - distinct.len(),
            Bound::Equals(0.into()),
        )
        .check(
            "lowest_ie_ev",
            energies.clone().fold(f64::INFINITY, f64::min),
            Bound::AtLeast(POSSIBLE_EV.0),
        )
        .check(
            "highest_ie_ev",
            energies.fold(f64::NEG_INFINITY, f64::max),
            Bound::AtMost(POSSIBLE_EV.1),
        )
        .check("best_rises", rises, Bound::Equals(true.into()))
        .check(
            "rounds",
            search.rounds,
            Bound::AtLeast(fewest_rounds as f64),
        )
        .value("tried", tried)
        .value("failures", search.failures)
        .value("unit", "eV");
    if let Some(best) = search.best() {
        report = report
            .value("best_smiles", best.smiles.as_str())
            .value("best_ie_ev", best.energy);
    }
    if let Some(error) = search.prediction_error() {
        report = report.value("prediction_error_ev", error);
    }
    report
}

/// Adds the checks against what is expected: the largest difference where the geometry was given,
/// or a tolerance; else how many are within what another geometry may change.
fn compare(
    config: &MolDesign,
    mut report: Report,
    expected: &Expected,
    rows: &[Row],
    geometries: &Geometries,
) -> Report {
    let (mut same, mut other) = (Comparison::default(), Comparison::default());
    for row in rows {
        let (comparison, tolerance) = match geometries.of(row.molecule) {
            Some(_) => (&mut same, SAME_GEOMETRY_EV),
            None => (&mut other, OTHER_GEOMETRY_EV),
        };
        let tolerance = config.tolerance.unwrap_or(tolerance);
        comparison.add(expected, &row.smiles, row.energy, tolerance);
    }
    let compared = same.compared + other.compared;
    report = report.check("compared", compared, Bound::AtLeast(1.0));
    if let Some(worst) = &same.worst {
        taps::info!(
            "from given geometries: {:.4} eV off at most ({worst})",
            same.largest
        );
        let bound = Bound::AtMost(config.tolerance.unwrap_or(SAME_GEOMETRY_EV));
        report = report.check("difference_given_geometry_ev", same.largest, bound);
    }
    let Some(worst) = &other.worst else {
        return report;
    };
    taps::info!(
        "from own geometries: {:.4} eV off at most ({worst})",
        other.largest
    );
    match config.tolerance {
        Some(tolerance) => report.check(
            "difference_own_geometry_ev",
            other.largest,
            Bound::AtMost(tolerance),
        ),
        None => report
            .check(
                "share_within_0.3_ev",
                other.share(),
                Bound::AtLeast(LEAST_SHARE),
            )
            .value("difference_own_geometry_ev", other.largest),
    }
}
