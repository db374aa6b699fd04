//! The flags that all benches share.

use super::slots;
use crate::exit::{ExitCode, Failure};
use clap::ValueEnum;
use serde::Serialize;
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};
use taps_config::{PluginSchema, Schema};

/// Flags of every bench.
#[derive(Clone, Debug, clap::Args, Serialize)]
pub(crate) struct Common {
    /// Executors to measure; any that `taps-wasm list executors` shows.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAMES",
        default_value = "thread-pool,process-pool"
    )]
    pub(super) executors: Vec<String>,
    /// Worker slots; each number is measured by itself. What the bench does unless they are given its help says.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NUMBERS",
        value_parser = whole::<1, 1024>
    )]
    pub(super) workers: Vec<u32>,
    /// How often each cell is measured: by turns, as the machine may get slower or faster with time.
    #[arg(long, value_name = "TIMES", default_value_t = 3, value_parser = whole::<1, 1000>)]
    pub(super) repeat: u32,
    /// Rounds before those, which are not counted.
    #[arg(long, value_name = "ROUNDS", default_value_t = 1, value_parser = whole::<0, 100>)]
    pub(super) warm_up: u32,
    /// Interpreter that has the packages of engines, for executors that need one.
    #[arg(long, value_name = "PATH")]
    pub(super) python: Option<PathBuf>,
    /// Write the figures as CSV.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(super) csv: Option<PathBuf>,
    /// Write a plot, as SVG.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(super) plot: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    #[serde(skip)]
    pub(super) json: bool,
    /// Flags of `run` that every run gets, after `--`.
    #[arg(last = true, value_name = "FLAGS OF RUN")]
    #[serde(serialize_with = "lossy")]
    pub(super) run_flags: Vec<OsString>,
}

fn lossy<S: serde::Serializer>(flags: &[OsString], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(flags.iter().map(|flag| flag.to_string_lossy()))
}

/// Reads a number of a flag.
pub(super) fn whole<const LEAST: u32, const MOST: u32>(text: &str) -> Result<u32, String> {
    let number = text.trim().parse().ok();
    let allowed = number.filter(|number| (LEAST..=MOST).contains(number));
    allowed.ok_or_else(|| format!("expected a whole number from {LEAST} to {MOST}"))
}

/// The name of a value, as flags have it.
pub(super) fn word(value: &impl ValueEnum) -> String {
    let known = value.to_possible_value();
    known.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// A flag with a value that is not allowed; nothing was run.
pub(super) fn refused(
    flag: &str,
    value: impl std::fmt::Display,
    expected: impl std::fmt::Display,
) -> Failure {
    let error = format!("{flag}: expected {expected}, got `{value}`");
    Failure::new(ExitCode::Usage, error)
}

impl Common {
    /// Refuses what cannot be measured or written.
    pub(super) fn check(&self, schema: &Schema) -> Result<(), Failure> {
        if self.executors.is_empty() {
            return Err(refused("--executors", "", "names of executors"));
        }
        for name in &self.executors {
            let found = executor(schema, name)?;
            if slots::field(found).is_none() {
                let expected = "executors whose number of workers this program sets";
                return Err(refused("--executors", name, expected));
            }
        }
        twice("--executors", &self.executors)?;
        twice("--workers", &self.workers)?;
        for (flag, path) in [("--csv", &self.csv), ("--plot", &self.plot)] {
            if let Some(path) = path {
                writable(flag, path)?;
            }
        }
        Ok(())
    }

    /// The worker slots to measure, in ascending order.
    pub(super) fn workers(&self, otherwise: &[u32]) -> Vec<u32> {
        let asked = if self.workers.is_empty() {
            otherwise
        } else {
            &self.workers
        };
        let mut workers = asked.to_vec();
        workers.sort_unstable();
        workers
    }

    /// Each executor with each number of worker slots.
    pub(super) fn places(&self, otherwise: &[u32]) -> Vec<(&str, u32)> {
        let workers = self.workers(otherwise);
        let executors = self.executors.iter().map(String::as_str);
        executors
            .flat_map(|executor| workers.iter().map(move |workers| (executor, *workers)))
            .collect()
    }
}

/// An executor by its name.
pub(super) fn executor<'a>(schema: &'a Schema, name: &str) -> Result<&'a PluginSchema, Failure> {
    let known = schema.executors.iter();
    known
        .clone()
        .find(|known| known.name == name)
        .ok_or_else(|| {
            let names: Vec<_> = known.map(|known| known.name.as_str()).collect();
            let error = format!(
                "--executors: no executor `{name}`; there are {}",
                names.join(", ")
            );
            Failure::new(ExitCode::Usage, error)
        })
}

/// Refuses a list that has an item twice: both would be one cell.
pub(super) fn twice<T: PartialEq + std::fmt::Display>(
    flag: &str,
    items: &[T],
) -> Result<(), Failure> {
    let repeated = |&(at, item): &(usize, &T)| items[..at].contains(item);
    match items.iter().enumerate().find(repeated) {
        Some((_, item)) => Err(refused(flag, item, "each item once")),
        None => Ok(()),
    }
}

fn writable(flag: &str, path: &Path) -> Result<(), Failure> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let place = parent.unwrap_or(Path::new("."));
    if place.is_dir() && !path.is_dir() {
        return Ok(());
    }
    Err(refused(
        flag,
        path.display(),
        "a file in a directory that is there",
    ))
}
