//! `bench`: figures of this machine, by running the built-in apps.
//!
//! Each bench makes cells, which [`frame::measure`] runs by turns with a [`trial::Runner`]; the rows that come of them are
//! shown by [`frame::Found::show`]. What all share lies in the modules named so; the others are the benches.

mod apps;
mod chart;
mod data;
mod flags;
mod frame;
mod latency;
mod metg;
mod sandbox;
mod slots;
mod startup;
mod statistics;
mod table;
mod throughput;
mod trial;
mod workloads;

use crate::{
    arguments::Bench,
    exit::{ExitCode, Failure},
};
use chart::Point;
use table::Row;

pub(crate) use apps::AppsArgs;
pub(crate) use data::DataArgs;
pub(crate) use latency::LatencyArgs;
pub(crate) use metg::MetgArgs;
pub(crate) use sandbox::SandboxArgs;
pub(crate) use startup::StartupArgs;
pub(crate) use throughput::ThroughputArgs;

pub(crate) fn command(what: &Bench) -> Result<ExitCode, Failure> {
    match what {
        Bench::Apps(args) => apps::run(args),
        Bench::Data(args) => data::run(args),
        Bench::Latency(args) => latency::run(args),
        Bench::Metg(args) => metg::run(args),
        Bench::Sandbox(args) => sandbox::run(args),
        Bench::Startup(args) => startup::run(args),
        Bench::Throughput(args) => throughput::run(args),
    }
}

/// Lines for a chart: rows of equal keys are one line; `x` is another key, `y` a figure.
fn lines(rows: &[Row], keys: &[&str], x: &str, y: &str) -> Vec<(String, Vec<Point>)> {
    let mut lines: Vec<(String, Vec<Point>)> = Vec::new();
    for row in rows {
        let label: Vec<String> = keys.iter().map(|key| row.text(key)).collect();
        let label = label.join(", ");
        let Some((x, (mean, half))) = row.key(x).as_f64().zip(row.mean(y)) else {
            continue;
        };
        match lines.iter_mut().find(|(known, _)| *known == label) {
            Some((_, points)) => points.push((x, mean, half)),
            None => lines.push((label, vec![(x, mean, half)])),
        }
    }
    lines
}
