//! Whether a campaign came out as it should.

use std::collections::{HashMap, HashSet};

use taps::{Bound, Error, Report, Result};

use crate::campaign::{Campaign, Simulation};
use crate::ligands::Ligand;

/// How far a score may be off when the ligand was prepared anew, in kcal/mol.
const TOLERANCE: f64 = 0.5;
/// Molecules that the report lists.
const LISTED: usize = 10;

/// Scores that are known, by title.
pub(crate) struct Expected(HashMap<String, f64>);

impl Expected {
    /// Reads a table separated by tabs with the columns `title` and `best`. With a column `route`,
    /// only rows of that way of preparation count.
    pub(crate) fn read(bytes: &[u8], path: &str, route: &str) -> Result<Self> {
        let refuse = |expected: String| Error::config("expected", path, expected);
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(b'\t')
            .from_reader(bytes);
        let headers = reader
            .headers()
            .map_err(|error| refuse(error.to_string()))?;
        let column = |name: &str| headers.iter().position(|header| header == name);
        let (Some(title), Some(best)) = (column("title"), column("best")) else {
            return Err(refuse("a table with the columns title and best".to_owned()));
        };
        let by_route = column("route");
        let mut scores = HashMap::new();
        for record in reader.records() {
            let record = record.map_err(|error| refuse(error.to_string()))?;
            if by_route.is_some_and(|column| &record[column] != route) {
                continue;
            }
            let score: f64 = record[best].parse().map_err(|_| {
                refuse(format!(
                    "numbers in the column best, not {:?}",
                    &record[best]
                ))
            })?;
            scores.insert(record[title].to_owned(), score);
        }
        if scores.is_empty() {
            return Err(refuse(format!("a table with rows of the route {route}")));
        }
        Ok(Self(scores))
    }

    /// How many docked molecules are known, and the largest difference of their best mode.
    fn compare(&self, ligands: &[Ligand], done: &[Simulation]) -> (u64, f64) {
        let differences = done.iter().filter_map(|done| {
            let ligand = &ligands[done.molecule];
            // Of several molecules with one title, the first is the one meant.
            let known = self.0.get(&ligand.title);
            let known = known.filter(|_| ligand.key == ligand.title)?;
            Some((done.docked.modes.first()? - known).abs())
        });
        differences.fold((0, 0.0), |(count, largest), difference| {
            (count + 1, f64::max(largest, difference))
        })
    }
}

/// What was asked for.
pub(crate) struct Plan {
    pub(crate) initial_simulations: u32,
    pub(crate) num_iterations: u32,
    pub(crate) batch_size: u32,
    /// Rounds after the initial sample that docked something.
    pub(crate) rounds: u32,
    /// Whether ligands were given, so that scores must be equal.
    pub(crate) exact: bool,
}

/// The report of a campaign.
pub(crate) fn report(campaign: &Campaign<'_>, plan: &Plan, expected: Option<&Expected>) -> Report {
    let (ligands, done, lost) = (campaign.ligands, &campaign.done, &campaign.lost);
    let equals = |value: u64| Bound::Equals(value.into());
    let wanted = u64::from(plan.initial_simulations)
        + u64::from(plan.num_iterations) * u64::from(plan.batch_size);
    let possible = (ligands.len() - lost.len()) as u64;
    let simulations = wanted.min(possible);
    let distinct: HashSet<&str> = done
        .iter()
        .map(|done| ligands[done.molecule].smiles.as_str())
        .collect();
    let beyond = simulations.saturating_sub(u64::from(plan.initial_simulations));
    let rounds = beyond.div_ceil(u64::from(plan.batch_size));
    let mut report = Report::new()
        .check("simulations", done.len() as u64, equals(simulations))
        .check("distinct", distinct.len() as u64, equals(simulations))
        .check("rounds", plan.rounds, equals(rounds))
        .check(
            "finite",
            done.iter().all(finite),
            Bound::Equals(true.into()),
        )
        .check(
            "ordered",
            done.iter().all(ordered),
            Bound::Equals(true.into()),
        );
    if let Some(expected) = expected {
        let (compared, difference) = expected.compare(ligands, done);
        let tolerance = if plan.exact { 0.0 } else { TOLERANCE };
        report = report
            .check("expected_compared", compared, Bound::AtLeast(1.0))
            .check("expected_difference", difference, Bound::AtMost(tolerance));
    }
    let mut ranked: Vec<&Simulation> = done.iter().collect();
    ranked.sort_by(|one, other| one.docked.score.total_cmp(&other.docked.score));
    let row = |done: &&Simulation| {
        let ligand = &ligands[done.molecule];
        serde_json::json!([ligand.title, ligand.smiles, done.docked.score])
    };
    let best: Vec<_> = ranked.iter().take(LISTED).map(row).collect();
    let failed: Vec<_> = lost
        .iter()
        .take(LISTED)
        .map(|lost| {
            serde_json::json!([
                ligands[lost.molecule].title,
                lost.failure.kind,
                lost.failure.message
            ])
        })
        .collect();
    let best_score = ranked.first().map(|done| done.docked.score);
    report
        .value("best_score", serde_json::json!(best_score))
        .value("best", best)
        .value("search_space", ligands.len() as u64)
        .value("failed", lost.len() as u64)
        .value("failures", failed)
}

/// Whether all numbers are.
fn finite(done: &Simulation) -> bool {
    let mut modes = done.docked.modes.iter();
    done.docked.score.is_finite() && modes.all(|mode| mode.is_finite())
}

/// Whether no mode is better than the first.
fn ordered(done: &Simulation) -> bool {
    let modes = &done.docked.modes;
    modes
        .first()
        .is_some_and(|best| modes.iter().all(|mode| best <= mode))
}
