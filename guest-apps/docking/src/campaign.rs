//! The driver's loop: molecules are prepared, docked, learned from, and chosen.

use std::collections::{HashMap, VecDeque};

use taps::{Completions, Engine, Error, Failure, File, Future, Payload, Result};
use taps_molecules::Neighbours;

use crate::dock::{Docked, Score, autodock_vina, make_autodock_config};
use crate::ligands::Ligand;
use crate::model::{Molecule, Scored, combine_inferences, run_model, train_model};
use crate::output::Folder;
use crate::prepare::{
    pdb_to_pdbqt, pdb_to_pdbqt_mgltools, sdf_to_pdbqt, set_element, smi_to_pdb, smi_to_sdf,
};
use crate::vina::Search;

/// Which programs make a ligand of a SMILES.
#[derive(Clone, Copy, Debug, PartialEq, Eq, taps::ConfigEnum)]
pub(crate) enum Prepare {
    /// Open Babel alone.
    Obabel,
    /// Open Babel for the structure, Meeko for the ligand.
    Meeko,
    /// Open Babel for the structure, MGLTools for the ligand.
    Mgltools,
}

/// How molecules are docked.
pub(crate) struct Method {
    pub(crate) receptor: Payload,
    pub(crate) prepare: Prepare,
    /// Ligands that are prepared already, by place in the search space.
    pub(crate) prepared: HashMap<usize, Payload>,
    pub(crate) search: Search,
    pub(crate) seed: u32,
    pub(crate) num_cpu: u32,
    pub(crate) score: Score,
}

/// A molecule that was docked.
pub(crate) struct Simulation {
    /// Place in the search space.
    pub(crate) molecule: usize,
    /// Round, from 0, which is the initial sample.
    pub(crate) round: u32,
    pub(crate) docked: Docked,
    /// Seconds from the beginning of the run to the end of docking.
    pub(crate) seconds: f64,
}

/// A molecule that could not be docked.
pub(crate) struct Lost {
    pub(crate) molecule: usize,
    pub(crate) round: u32,
    pub(crate) failure: Failure,
}

/// The tasks of one molecule.
struct Chain {
    molecule: usize,
    /// Place in its round.
    order: usize,
    structure: Option<Future<File>>,
    coordinates: Option<Future<taps::Bytes>>,
    ligand: Option<Future<File>>,
    config: Future<String>,
    poses: Future<File>,
}

/// All that has happened, and what is needed to go on.
pub(crate) struct Campaign<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) ligands: &'a [Ligand],
    pub(crate) method: Method,
    pub(crate) folder: Folder,
    /// Molecules that may be lost.
    pub(crate) max_failures: u32,
    /// Tasks that share the work of the model.
    pub(crate) inference_chunks: u32,
    /// Docked molecules, in the order in which they were chosen.
    pub(crate) done: Vec<Simulation>,
    pub(crate) lost: Vec<Lost>,
    /// Which molecules were tried.
    pub(crate) tried: Vec<bool>,
}

impl Campaign<'_> {
    /// Docks the first `wanted` of the molecules that was not tried before. For one that fails the
    /// next is taken. Fewer are docked only if there are no more.
    pub(crate) fn simulate(
        &mut self,
        round: u32,
        molecules: impl IntoIterator<Item = usize>,
        wanted: u32,
    ) -> Result<()> {
        let mut queue: VecDeque<usize> = molecules
            .into_iter()
            .filter(|molecule| !self.tried[*molecule])
            .collect();
        let mut completions = Completions::new();
        let mut running = HashMap::new();
        let mut finished: Vec<(usize, Simulation)> = Vec::new();
        for _ in 0..wanted {
            self.start_next(&mut queue, &mut completions, &mut running)?;
        }
        while let Some((docked, _)) = completions.next_within(None) {
            let Some(chain) = running.remove(&docked.id()) else {
                continue;
            };
            match self.finish(round, &chain, &docked)? {
                Some(simulation) => finished.push((chain.order, simulation)),
                None => self.start_next(&mut queue, &mut completions, &mut running)?,
            }
        }
        finished.sort_by_key(|(order, _)| *order);
        let simulations = finished.into_iter().map(|(_, simulation)| simulation);
        self.done.extend(simulations);
        Ok(())
    }

    fn start_next(
        &mut self,
        queue: &mut VecDeque<usize>,
        completions: &mut Completions<Docked>,
        running: &mut HashMap<u64, Chain>,
    ) -> Result<()> {
        let Some(molecule) = queue.pop_front() else {
            return Ok(());
        };
        self.tried[molecule] = true;
        let order = self.tried.iter().filter(|tried| **tried).count();
        let (docked, chain) = self.submit(molecule, order)?;
        running.insert(docked.id(), chain);
        completions.add(docked);
        Ok(())
    }

    /// Submits the tasks of a molecule; each waits for the one before.
    fn submit(&self, molecule: usize, order: usize) -> Result<(Future<Docked>, Chain)> {
        let (engine, method) = (self.engine, &self.method);
        let smiles = self.ligands[molecule].smiles.as_str();
        let (mut structure, mut coordinates, mut ligand) = (None, None, None);
        let given = method.prepared.get(&molecule);
        if given.is_none() && method.prepare == Prepare::Meeko {
            let sdf = engine.submit(smi_to_sdf::call(smiles))?;
            ligand = Some(engine.submit(sdf_to_pdbqt::call(&sdf))?);
            structure = Some(sdf);
        } else if given.is_none() {
            let pdb = engine.submit(smi_to_pdb::call(smiles))?;
            let complete = engine.submit(set_element::call(&pdb))?;
            ligand = Some(match method.prepare {
                Prepare::Mgltools => engine.submit(pdb_to_pdbqt_mgltools::call(&complete))?,
                _ => engine.submit(pdb_to_pdbqt::call(&complete))?,
            });
            (structure, coordinates) = (Some(pdb), Some(complete));
        }
        let argument = || match (&ligand, given) {
            (Some(future), _) => future.as_argument(),
            (None, Some(payload)) => taps::Argument::Payload(payload.clone()),
            (None, None) => unreachable!("one of the two is there"),
        };
        let config = engine.submit(make_autodock_config::call(argument(), &method.search))?;
        let (docked, poses) = engine.submit(autodock_vina::call(
            &config,
            &method.receptor,
            argument(),
            method.seed,
            method.num_cpu,
            method.score,
        ))?;
        let chain = Chain {
            molecule,
            order,
            structure,
            coordinates,
            ligand,
            config,
            poses,
        };
        Ok((docked, chain))
    }

    /// What became of a molecule; `None` if it failed. An error if too many have.
    fn finish(
        &mut self,
        round: u32,
        chain: &Chain,
        docked: &Future<Docked>,
    ) -> Result<Option<Simulation>> {
        let ligand = &self.ligands[chain.molecule];
        if let Some(last) = docked.failure() {
            let failure = chain.cause().unwrap_or(last);
            taps::warn!(
                "{} ({}) is left out: {failure}",
                ligand.title,
                ligand.smiles
            );
            let message = failure.message.clone();
            self.lost.push(Lost {
                molecule: chain.molecule,
                round,
                failure,
            });
            // A program that is missing is missing for all.
            if self.lost.len() as u64 > u64::from(self.max_failures)
                || message.contains("is not installed")
            {
                return Err(self.too_many(&message));
            }
            return Ok(None);
        }
        let result = docked.result()?;
        let seconds = taps::clock().as_secs_f64();
        if let Some(file) = &chain.ligand {
            self.folder.write_prepared(&ligand.key, &file.payload()?)?;
        }
        self.folder
            .write_poses(&ligand.key, &chain.poses.payload()?)?;
        taps::info!(
            "{}: {:.3} kcal/mol ({})",
            ligand.title,
            result.score,
            ligand.smiles
        );
        Ok(Some(Simulation {
            molecule: chain.molecule,
            round,
            docked: result,
            seconds,
        }))
    }

    fn too_many(&self, message: &str) -> Error {
        Error::app(
            "TooManyFailures",
            format!(
                "{} of {} molecules could not be docked (max_failures = {}); the last: {message}",
                self.lost.len(),
                self.lost.len() + self.done.len(),
                self.max_failures
            ),
        )
    }

    /// Molecules not yet tried, those with the best expected scores first; then those of which
    /// nothing can be expected.
    pub(crate) fn rank(&self) -> Result<Vec<usize>> {
        let smiles: Vec<String> = self
            .done
            .iter()
            .map(|done| self.ligands[done.molecule].smiles.clone())
            .collect();
        let scores: Vec<f64> = self.done.iter().map(|done| done.docked.score).collect();
        let model: Future<Neighbours> = self.engine.submit(train_model::call(smiles, scores))?;
        let rest: Vec<Molecule> = (0..self.ligands.len())
            .filter(|index| !self.tried[*index])
            .map(|index| Molecule {
                index: index as u32,
                smiles: self.ligands[index].smiles.clone(),
            })
            .collect();
        let length = rest.len().div_ceil(self.inference_chunks as usize).max(1);
        let parts = rest
            .chunks(length)
            .map(|chunk| self.engine.submit(run_model::call(&model, chunk.to_vec())))
            .collect::<Result<Vec<Future<Scored>>>>()?;
        let ranking = self.engine.submit(combine_inferences::call(&parts))?;
        let ranking = ranking.result()?;
        let known = ranking.scores.iter().map(|(index, _)| *index);
        Ok(known
            .chain(ranking.unreadable.iter().copied())
            .map(|index| index as usize)
            .collect())
    }
}

impl Chain {
    /// The failure that the others follow from: that of the first task that failed.
    fn cause(&self) -> Option<Failure> {
        let structure = self.structure.as_ref().and_then(Future::failure);
        structure
            .or_else(|| self.coordinates.as_ref().and_then(Future::failure))
            .or_else(|| self.ligand.as_ref().and_then(Future::failure))
            .or_else(|| self.config.failure())
    }
}
