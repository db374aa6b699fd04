//! `bench apps`: how long each app takes on each executor.

use super::{
    chart::Chart,
    flags::{Common, twice},
    frame::{Cell, Found, Measured, measure},
    table::{Figure, Row, Shape},
    trial::{Runner, Trial, makespan_s},
    workloads::workloads,
};
use crate::exit::{ExitCode, Failure};
use serde::Serialize;

const SHAPE: Shape = Shape {
    keys: &["app", "executor", "slots"],
    figures: &[
        // From the first submission to when the last end is known.
        Figure::new("makespan_s", "makespan s"),
        // Of this process and all below it, from configuration to records.
        Figure::new("cpu_s", "CPU s"),
        Figure::new("tasks", "tasks"),
    ],
};

/// Flags of `bench apps`.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct AppsArgs {
    /// Apps to run; all built-in ones that need no native program unless given.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    apps: Vec<String>,
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
}

pub(super) fn run(args: &AppsArgs) -> Result<ExitCode, Failure> {
    let common = &args.common;
    twice("--apps", &args.apps)?;
    let runner = Runner::new(common)?;
    let mut cells = Vec::new();
    for workload in workloads(&args.apps)? {
        for (executor, workers) in common.places(&[2]) {
            let app = &workload.app;
            let trial = runner.check(app, executor, workers, &workload.flags)?;
            let keys = vec![app.as_str().into(), executor.into(), workers.into()];
            cells.push(Cell::new(keys, move |runner| once(runner, &trial)));
        }
    }
    let found = Found {
        bench: "apps",
        args,
        shape: SHAPE,
        rows: measure(&runner, common, SHAPE, cells),
    };
    found.show(&runner, common, chart)
}

fn once(runner: &Runner, trial: &Trial) -> Result<Measured, Failure> {
    let ran = runner.run(trial)?;
    let tasks = ran.tasks(None)?;
    Ok(Measured::of([
        ("makespan_s", makespan_s(&tasks)),
        ("cpu_s", ran.cpu_s),
        ("tasks", ran.summary.tasks.submitted as f64),
    ]))
}

/// A group for each app, a bar for each executor.
fn chart(rows: &[Row]) -> Chart {
    Chart::grouped(
        "Makespans of the apps",
        "seconds",
        rows,
        (&["app"], &["executor", "slots"]),
        "makespan_s",
    )
}
