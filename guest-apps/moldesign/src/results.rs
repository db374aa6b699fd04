//! What was computed, as a table and as a plot.

use std::fmt::Write as _;
use std::time::Duration;

use taps::{Error, OutputDir, Result};
use taps_plot::Plot;

/// The table: TaPS's columns. `ie` is in eV, `batch` is 0 for the random molecules and else the
/// number of the round, `time` is in seconds since the start of the run.
pub(crate) const TABLE: &str = "results.csv";
/// The plot of the search.
pub(crate) const PLOT: &str = "results.png";

/// A molecule that was computed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// Number in the data set.
    pub(crate) molecule: usize,
    pub(crate) smiles: String,
    /// Vertical ionisation energy in eV.
    pub(crate) energy: f64,
    /// 0 for the random molecules, then the number of the round.
    pub(crate) batch: u32,
    /// When its result came, from the start of the run.
    pub(crate) time: Duration,
}

/// The table, a line per molecule in the order in which they were computed.
pub(crate) fn table(rows: &[Row]) -> Result<String> {
    let mut text = "smiles,ie,batch,time\n".to_owned();
    for row in rows {
        let smiles = field(&row.smiles);
        let time = row.time.as_secs_f64();
        writeln!(text, "{smiles},{},{},{time:.3}", row.energy, row.batch)?;
    }
    Ok(text)
}

/// A field of comma-separated values (RFC 4180).
fn field(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text.into()
    }
}

/// The highest energy up to each row.
pub(crate) fn best_so_far(rows: &[Row]) -> Vec<f64> {
    rows.iter()
        .scan(f64::NEG_INFINITY, |best, row| {
            *best = best.max(row.energy);
            Some(*best)
        })
        .collect()
}

/// The plot: every molecule, and the best so far as steps.
pub(crate) fn plot(rows: &[Row]) -> Result<Vec<u8>> {
    let number = |index: usize| (index + 1) as f64;
    let of_batch = |random: bool| -> Vec<_> {
        let rows = rows.iter().enumerate();
        rows.filter(|(_, row)| (row.batch == 0) == random)
            .map(|(index, row)| (number(index), row.energy))
            .collect()
    };
    let mut steps: Vec<(f64, f64)> = Vec::new();
    for (index, best) in best_so_far(rows).into_iter().enumerate() {
        if let Some((_, before)) = steps.last().copied() {
            steps.push((number(index), before));
        }
        steps.push((number(index), best));
    }
    let plot = Plot::new("moldesign: search for a high ionisation energy")
        .x_label("molecules computed")
        .y_label("vertical ionisation energy, GFN2-xTB (eV)")
        .line("best so far", &steps)
        .points("random molecule", &of_batch(true))
        .points("chosen by the model", &of_batch(false));
    plot.png().map_err(|error| Error::app("PlotError", error))
}

/// Writes the table anew.
pub(crate) fn write_table(directory: &OutputDir, rows: &[Row]) -> Result<()> {
    write(directory, TABLE, table(rows)?.as_bytes())
}

/// Writes the plot.
pub(crate) fn write_plot(directory: &OutputDir, rows: &[Row]) -> Result<()> {
    write(directory, PLOT, &plot(rows)?)
}

/// Writes a file, which gets its name when it is whole.
fn write(directory: &OutputDir, name: &str, bytes: &[u8]) -> Result<()> {
    directory.write(name, bytes).map_err(|error| {
        let expected = format!("a directory in which {name} can be written ({error})");
        Error::config("output_dir", directory, expected)
    })
}
