//! The search: random molecules first, then, round by round, those of which the model expects most.

use std::collections::HashMap;
use std::time::Duration;

use taps::{Completions, Engine, Error, Failure, Future, Payload, Result, TaskOptions};

use crate::candidates::Candidates;
use crate::dataset::Molecule;
use crate::geometry::Geometries;
use crate::results::Row;
use crate::tasks::{
    Chunk, Known, Predictions, Vertical, combine_inferences, compute_vertical, explain, run_model,
    train_model,
};

/// When so many molecules have failed and none has succeeded, the search gives up: then it is not
/// the molecules.
const FUTILE: usize = 16;

/// How the search goes.
pub(crate) struct Settings {
    /// Random molecules before the first round.
    pub(crate) initial: usize,
    /// Molecules in all.
    pub(crate) target: usize,
    /// Molecules in a round.
    pub(crate) batch: usize,
    /// Tasks that share the data set when the model is asked.
    pub(crate) chunks: usize,
    /// Time limit of a molecule.
    pub(crate) timeout: Duration,
}

/// A search while it goes on.
pub(crate) struct Search<'a> {
    engine: &'a Engine,
    settings: Settings,
    molecules: &'a [Molecule],
    geometries: &'a Geometries,
    candidates: Candidates,
    options: TaskOptions,
    /// What was computed, in the order in which results came.
    pub(crate) rows: Vec<Row>,
    /// Molecules that could not be computed.
    pub(crate) failures: usize,
    /// Rounds after the random molecules.
    pub(crate) rounds: u32,
    /// What the model expected of the molecules of the rounds, in eV.
    predicted: HashMap<usize, f64>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        engine: &'a Engine,
        settings: Settings,
        molecules: &'a [Molecule],
        geometries: &'a Geometries,
        seed: u64,
    ) -> Self {
        Self {
            engine,
            options: TaskOptions::new().timeout(settings.timeout),
            settings,
            molecules,
            geometries,
            candidates: Candidates::new(molecules.len(), seed),
            rows: Vec::new(),
            failures: 0,
            rounds: 0,
            predicted: HashMap::new(),
        }
    }

    /// Searches until the target is reached or every molecule has been tried. `keep` gets what is
    /// known after each round.
    pub(crate) fn run(&mut self, keep: impl Fn(&[Row]) -> Result<()>) -> Result<()> {
        self.engine.phase("initial");
        let random = std::iter::from_fn(|| self.candidates.random());
        let initial = random.take(self.settings.initial).collect();
        self.simulate(initial)?;
        keep(&self.rows)?;
        self.engine.phase("search");
        let chunks = chunks(self.molecules, self.settings.chunks);
        while self.rows.len() < self.settings.target && self.candidates.remaining() > 0 {
            self.round(&chunks)?;
            keep(&self.rows)?;
        }
        Ok(())
    }

    /// A round: learn, ask, and compute the molecules of which most is expected.
    fn round(&mut self, chunks: &[Chunk]) -> Result<()> {
        self.rounds += 1;
        let model = self.engine.submit(train_model::call(self.known()))?;
        let parts = chunks
            .iter()
            .map(|chunk| self.engine.submit(run_model::call(&model, chunk)))
            .collect::<Result<Vec<_>>>()?;
        let all = self.engine.submit(combine_inferences::call(&parts))?;
        let Predictions { energies } = all.result()?;
        let wanted = self.settings.target - self.rows.len();
        let ranked = energies.iter().map(|(molecule, _)| *molecule as usize);
        let batch = self
            .candidates
            .best(ranked, wanted.min(self.settings.batch));
        let expected = energies
            .iter()
            .map(|(molecule, energy)| (*molecule as usize, *energy));
        self.predicted
            .extend(expected.filter(|(molecule, _)| batch.contains(molecule)));
        self.simulate(batch)?;
        if let Some(best) = self.best() {
            taps::info!(
                "round {}: {} of {} molecules, best {:.3} eV ({})",
                self.rounds,
                self.rows.len(),
                self.settings.target,
                best.energy,
                best.smiles
            );
        }
        Ok(())
    }

    /// What is known, in the order of the data set: the model does not depend on which result came
    /// first.
    fn known(&self) -> Vec<Known> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_unstable_by_key(|row| row.molecule);
        let known = |row: &Row| Known {
            smiles: row.smiles.clone(),
            energy: row.energy,
        };
        rows.into_iter().map(known).collect()
    }

    /// Computes molecules. One of the random ones that fails is replaced by another that has never
    /// been tried; in a round the next one makes up for it.
    fn simulate(&mut self, molecules: Vec<usize>) -> Result<()> {
        let mut completions = Completions::new();
        let mut running = HashMap::new();
        for molecule in molecules {
            let future = self.submit(molecule)?;
            running.insert(future.id(), molecule);
            completions.add(future);
        }
        while let Some(future) = completions.next() {
            let Some(molecule) = running.remove(&future.id()) else {
                continue;
            };
            match future.result() {
                Ok(vertical) => self.succeeded(molecule, &vertical),
                Err(Error::Task(failure)) => {
                    self.failed(molecule, &failure)?;
                    let other = match self.rounds {
                        0 => self.candidates.random(),
                        _ => None,
                    };
                    if let Some(other) = other {
                        let future = self.submit(other)?;
                        running.insert(future.id(), other);
                        completions.add(future);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn submit(&self, molecule: usize) -> Result<Future<Vertical>> {
        let Molecule { id, smiles } = &self.molecules[molecule];
        let geometry: Vec<Payload> = match self.geometries.of(molecule) {
            Some(path) => {
                let file = self.engine.input_file(path).map_err(|error| {
                    let expected = format!("files that can be read ({error})");
                    Error::config("geometries", format!("{path}, of `{id}`"), expected)
                })?;
                vec![file]
            }
            None => Vec::new(),
        };
        let call = compute_vertical::call(smiles, &geometry);
        self.engine.submit_with(call, &self.options)
    }

    fn succeeded(&mut self, molecule: usize, vertical: &Vertical) {
        self.rows.push(Row {
            molecule,
            smiles: self.molecules[molecule].smiles.clone(),
            energy: vertical.ionisation_energy(),
            batch: self.rounds,
            time: taps::clock(),
        });
    }

    fn failed(&mut self, molecule: usize, failure: &Failure) -> Result<()> {
        let text = explain(&self.molecules[molecule].smiles, failure);
        taps::warn!("{text}");
        self.failures += 1;
        if self.rows.is_empty() && self.failures >= FUTILE {
            return Err(nothing_computed(self.failures, &text));
        }
        Ok(())
    }

    /// The molecule of the highest ionisation energy so far.
    pub(crate) fn best(&self) -> Option<&Row> {
        self.rows
            .iter()
            .max_by(|a, b| a.energy.total_cmp(&b.energy))
    }

    /// How far the model was off, on average over the molecules that it chose, in eV.
    pub(crate) fn prediction_error(&self) -> Option<f64> {
        let differences: Vec<f64> = self
            .rows
            .iter()
            .filter_map(|row| Some((self.predicted.get(&row.molecule)? - row.energy).abs()))
            .collect();
        let count = differences.len();
        (count > 0).then(|| differences.iter().sum::<f64>() / count as f64)
    }
}

/// The error of a search that found nothing.
pub(crate) fn nothing_computed(failures: usize, last: &str) -> Error {
    let message = format!("none of {failures} molecules could be computed; the last: {last}");
    Error::app("NothingComputed", message)
}

/// The data set in at most `count` parts of equal size, give or take one molecule.
pub(crate) fn chunks(molecules: &[Molecule], count: usize) -> Vec<Chunk> {
    let count = count.min(molecules.len()).max(1);
    let (size, larger) = (molecules.len() / count, molecules.len() % count);
    let mut rest = molecules;
    let mut first = 0;
    (0..count)
        .map(|number| {
            let (part, after) = rest.split_at(size + usize::from(number < larger));
            rest = after;
            let chunk = Chunk {
                first,
                smiles: part
                    .iter()
                    .map(|molecule| molecule.smiles.clone())
                    .collect(),
            };
            first += part.len() as u32;
            chunk
        })
        .collect()
}
