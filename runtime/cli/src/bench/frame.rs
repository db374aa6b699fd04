//! What all benches do: rounds over their cells, and the rows that come of them.

use super::{
    chart::Chart,
    flags::Common,
    statistics::{Statistic, quantile},
    table::{self, Row, Shape},
    trial::Runner,
};
use crate::{
    exit::{ExitCode, Failure},
    render,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::Path};

/// Version of the JSON of a bench.
const FORMAT: u32 = 1;

/// How a cell is measured once.
type Measure<'a> = Box<dyn Fn(&Runner) -> Result<Measured, Failure> + 'a>;

/// What one measurement of a cell gave.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// Figures, by their names in the shape.
    pub(super) numbers: Vec<(&'static str, f64)>,
    /// Values of single tasks, for the distribution.
    pub(super) samples: Vec<f64>,
}

impl Measured {
    pub(super) fn of<const N: usize>(numbers: [(&'static str, f64); N]) -> Self {
        Self {
            numbers: numbers.into(),
            samples: Vec::new(),
        }
    }
}

/// Something to measure: a row of the table.
pub(super) struct Cell<'a> {
    pub(super) keys: Vec<Value>,
    measure: Result<Measure<'a>, String>,
}

impl<'a> Cell<'a> {
    /// A cell that is measured so.
    pub(super) fn new(
        keys: Vec<Value>,
        measure: impl Fn(&Runner) -> Result<Measured, Failure> + 'a,
    ) -> Self {
        Self {
            keys,
            measure: Ok(Box::new(measure)),
        }
    }

    /// A cell that there cannot be, and why.
    pub(super) fn impossible(keys: Vec<Value>, note: impl Into<String>) -> Self {
        Self {
            keys,
            measure: Err(note.into()),
        }
    }
}

/// What a cell has given so far.
#[derive(Default)]
struct Gathered {
    numbers: BTreeMap<&'static str, Vec<f64>>,
    samples: Vec<f64>,
    note: Option<String>,
    failure: Option<ExitCode>,
}

/// Measures all cells, by turns: rounds that do not count, then those that do. A cell that fails is left out of the
/// rounds that follow; what it gave before counts.
pub(super) fn measure(
    runner: &Runner,
    common: &Common,
    shape: Shape,
    cells: Vec<Cell<'_>>,
) -> Vec<Row> {
    let rounds = common.warm_up + common.repeat;
    let mut gathered: Vec<Gathered> = cells.iter().map(|_| Gathered::default()).collect();
    let progress = progress(u64::from(rounds) * cells.len() as u64);
    'rounds: for round in 0..rounds {
        for (cell, gathered) in cells.iter().zip(&mut gathered) {
            progress.inc(1);
            let Ok(measure) = &cell.measure else {
                continue;
            };
            if gathered.failure.is_some() {
                continue;
            }
            let keys: Vec<String> = cell.keys.iter().map(ToString::to_string).collect();
            progress.set_message(keys.join(" ").replace('"', ""));
            let measured = measure(runner);
            if runner.is_interrupted() {
                break 'rounds;
            }
            match measured {
                Ok(measured) if round >= common.warm_up => gathered.add(measured),
                Ok(_) => {}
                Err(failure) => gathered.fail(&failure),
            }
        }
    }
    progress.finish_and_clear();
    let rows = cells.into_iter().zip(gathered);
    rows.map(|(cell, gathered)| gathered.row(cell, shape))
        .collect()
}

/// How far it is, on a terminal.
fn progress(steps: u64) -> ProgressBar {
    let progress = ProgressBar::new(steps);
    if let Ok(style) =
        ProgressStyle::with_template("{elapsed_precise} [{bar:24}] {pos}/{len} {msg}")
    {
        progress.set_style(style.progress_chars("=> "));
    }
    progress
}

impl Gathered {
    fn add(&mut self, measured: Measured) {
        for (name, number) in measured.numbers {
            self.numbers.entry(name).or_default().push(number);
        }
        self.samples.extend(measured.samples);
    }

    fn fail(&mut self, failure: &Failure) {
        self.note = Some(failure.message());
        // Others were run, so that it is not that nothing was.
        self.failure = Some(match failure.exit {
            ExitCode::Usage => ExitCode::Runtime,
            exit => exit,
        });
    }

    fn row(mut self, cell: Cell<'_>, shape: Shape) -> Row {
        let mut row = Row::new(shape, cell.keys);
        row.notes.extend(cell.measure.err());
        row.notes.extend(self.note);
        row.failure = self.failure;
        for (name, values) in self.numbers {
            row.set(name, Statistic::of(values));
        }
        if !self.samples.is_empty() {
            self.samples.sort_by(f64::total_cmp);
            let share = |percent: u32| quantile(&self.samples, f64::from(percent) / 100.0);
            row.distribution = (0..=100).map(share).collect();
        }
        row
    }
}

/// What a bench found, and how it is shown.
pub(super) struct Found<'a, A> {
    /// Name of the bench.
    pub(super) bench: &'static str,
    /// Its flags.
    pub(super) args: &'a A,
    pub(super) shape: Shape,
    pub(super) rows: Vec<Row>,
}

impl<A: Serialize> Found<'_, A> {
    /// Writes and prints what was found. The exit code is that of the first cell that failed.
    pub(super) fn show(
        &self,
        runner: &Runner,
        common: &Common,
        chart: impl FnOnce(&[Row]) -> Chart,
    ) -> Result<ExitCode, Failure> {
        if let Some(path) = &common.csv {
            write(path, &table::csv(self.shape, &self.rows))?;
        }
        if let Some(path) = &common.plot {
            match chart(&self.rows).svg() {
                Ok(Some(svg)) => write(path, &svg)?,
                Ok(None) => render::note("no plot: there are no figures"),
                Err(error) => return Err(Failure::new(ExitCode::Records, error)),
            }
        }
        let interrupted = runner.is_interrupted();
        if common.json {
            render::json(&json!({
                "format": FORMAT,
                "bench": self.bench,
                "environment": runner.environment(),
                "settings": self.args,
                "interrupted": interrupted,
                "rows": self.rows,
            }))?;
        } else {
            render::data(&table::text(self.shape, &self.rows))?;
        }
        if interrupted {
            return Err(Failure::new(
                ExitCode::Interrupted,
                "interrupted: rounds are missing",
            ));
        }
        let failed: Vec<&Row> = self
            .rows
            .iter()
            .filter(|row| row.failure.is_some())
            .collect();
        match failed.first().and_then(|row| Some((row, row.failure?))) {
            Some((first, exit)) => {
                let (failed, all) = (failed.len(), self.rows.len());
                let error = format!("{failed} of {all} cells failed, {} first", first.label());
                Err(Failure::new(exit, error).hint("their notes say why"))
            }
            None => Ok(ExitCode::Ok),
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| {
        let error = format!("write {}: {error}", path.display());
        Failure::new(ExitCode::Records, error)
    })
}
