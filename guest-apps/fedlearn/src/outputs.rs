//! What a run leaves behind: tables and a plot.

use std::fmt::Write as _;

use taps::{Error, OutputDir, Result};
use taps_plot::Plot;

use crate::rounds::Round;

/// A line per round. A field is empty where nothing was measured.
pub(crate) const ROUNDS: &str = "rounds.csv";
/// A line per round, client and epoch.
pub(crate) const TRAINING: &str = "training.csv";
/// Loss and accuracy over the rounds.
pub(crate) const PLOT: &str = "rounds.png";

fn optional(value: Option<f64>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

/// The table of the rounds.
pub(crate) fn rounds_table(rounds: &[Round]) -> Result<String> {
    let mut text = "round,clients,samples,train_loss,test_loss,test_accuracy\n".to_owned();
    for (index, round) in rounds.iter().enumerate() {
        writeln!(
            text,
            "{},{},{},{},{},{}",
            index + 1,
            round.histories.len(),
            round.samples(),
            optional(round.train_loss()),
            optional(round.test.map(|test| test.loss)),
            optional(round.test.map(|test| test.accuracy())),
        )?;
    }
    Ok(text)
}

/// The table of what each client saw.
pub(crate) fn training_table(rounds: &[Round]) -> Result<String> {
    let mut text = "round,client,epoch,batches,samples,train_loss\n".to_owned();
    for (index, round) in rounds.iter().enumerate() {
        for history in &round.histories {
            for (epoch, loss) in history.losses.iter().enumerate() {
                writeln!(
                    text,
                    "{},{},{},{},{},{loss}",
                    index + 1,
                    history.client,
                    epoch + 1,
                    history.batches,
                    history.samples,
                )?;
            }
        }
    }
    Ok(text)
}

/// The plot. What is not finite has no place on it.
pub(crate) fn plot(rounds: &[Round]) -> Result<Vec<u8>> {
    let series = |value: &dyn Fn(&Round) -> Option<f64>| -> Vec<(f64, f64)> {
        let values = rounds.iter().map(value).enumerate();
        values
            .filter_map(|(index, value)| Some(((index + 1) as f64, value?)))
            .filter(|(_, value)| value.abs() < 1e300)
            .collect()
    };
    let accuracy = series(&|round| round.test.map(|test| test.accuracy()));
    let mut plot = Plot::new("fedlearn: rounds of federated averaging")
        .x_label("round")
        .y_label("loss, accuracy");
    for (name, points) in [
        ("training loss", series(&Round::train_loss)),
        (
            "test loss",
            series(&|round| round.test.map(|test| test.loss)),
        ),
        ("test accuracy", accuracy),
    ] {
        if !points.is_empty() {
            plot = plot.line(name, &points);
        }
    }
    plot.png().map_err(|error| Error::app("PlotError", error))
}

/// Writes a file, which gets its name when it is whole.
pub(crate) fn write(directory: &OutputDir, name: &str, bytes: &[u8]) -> Result<()> {
    directory.write(name, bytes).map_err(|error| {
        let expected = format!("a directory in which {name} can be written ({error})");
        Error::config("output_dir", directory, expected)
    })
}
