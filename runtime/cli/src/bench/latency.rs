//! `bench latency`: how long a task that does nothing takes, there and back, when it is alone.

use super::{
    chart::{Axis, Chart},
    flags::{Common, whole},
    frame::{Cell, Found, Measured, measure},
    statistics::quantile,
    table::{Figure, Row, Shape},
    trial::{Runner, Trial, unread},
};
use crate::exit::{ExitCode, Failure};
use serde::Serialize;

/// Tasks that run before the clock starts.
const WARM_UP_TASKS: u32 = 100;

const SHAPE: Shape = Shape {
    keys: &["executor", "slots"],
    figures: &[
        Figure::new("p50_us", "50 % us"),
        Figure::new("p90_us", "90 % us"),
        Figure::new("p99_us", "99 % us"),
        Figure::new("max_us", "largest us"),
        Figure::new("mean_us", "mean us"),
    ],
};

/// Flags of `bench latency`.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct LatencyArgs {
    /// Round trips of a run.
    #[arg(long, value_name = "NUMBER", default_value_t = 2000, value_parser = whole::<2, 10_000_000>)]
    tasks: u32,
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
}

pub(super) fn run(args: &LatencyArgs) -> Result<ExitCode, Failure> {
    let common = &args.common;
    let runner = Runner::new(common)?;
    let mut cells = Vec::new();
    for (executor, workers) in common.places(&[1]) {
        let flags = [
            "--app.structure=bag".to_owned(),
            // The last one has no next, by whose submission its end is told.
            format!("--app.task-count={}", args.tasks + 1),
            "--app.bag-max-running=1".to_owned(),
            format!("--app.warmup-tasks={WARM_UP_TASKS}"),
        ];
        let trial = runner.check("synthetic", executor, workers, &flags)?;
        let keys = vec![executor.into(), workers.into()];
        cells.push(Cell::new(keys, move |runner| once(runner, &trial)));
    }
    let found = Found {
        bench: "latency",
        args,
        shape: SHAPE,
        rows: measure(&runner, common, SHAPE, cells),
    };
    found.show(&runner, common, chart)
}

/// Round trips are from one submission to the next: the driver that learns of the end included.
fn once(runner: &Runner, trial: &Trial) -> Result<Measured, Failure> {
    let tasks = runner.run(trial)?.tasks(Some("run"))?;
    let mut submitted: Vec<u64> = tasks
        .iter()
        .filter_map(|task| task.monotonic_submit_ns)
        .collect();
    submitted.sort_unstable();
    let trip_us = |pair: &[u64]| (pair[1] - pair[0]) as f64 / 1e3;
    let trips: Vec<f64> = submitted.windows(2).map(trip_us).collect();
    if trips.is_empty() {
        return Err(unread("the records have no round trips"));
    }
    let mut sorted = trips.clone();
    sorted.sort_by(f64::total_cmp);
    let mut measured = Measured::of([
        ("p50_us", quantile(&sorted, 0.5)),
        ("p90_us", quantile(&sorted, 0.9)),
        ("p99_us", quantile(&sorted, 0.99)),
        ("max_us", quantile(&sorted, 1.0)),
        ("mean_us", trips.iter().sum::<f64>() / trips.len() as f64),
    ]);
    measured.samples = trips;
    Ok(measured)
}

/// Share of the round trips of all repeats that took no longer.
fn chart(rows: &[Row]) -> Chart {
    let line = |row: &Row| {
        let quantiles = row.distribution.iter().zip(0_u32..);
        let points = quantiles.map(|(value, percent)| (*value, f64::from(percent), 0.0));
        (row.label(), points.collect())
    };
    Chart::Lines {
        caption: "Round trips of one task at a time".to_owned(),
        x: Axis::logarithmic("microseconds"),
        y: Axis::linear("per cent that took no longer"),
        lines: rows.iter().map(line).collect(),
    }
}
