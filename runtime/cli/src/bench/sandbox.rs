//! `bench sandbox`: what it costs that tasks run in sandboxes, over the same tasks as plain functions.

use super::{
    chart::Chart,
    flags::{Common, twice},
    frame::{Cell, Found, Measured, measure},
    table::{Figure, Row, Shape},
    trial::{Runner, Task, Trial},
    workloads::workloads,
};
use crate::exit::{ExitCode, Failure};
use serde::Serialize;

/// The executor without sandboxes.
const NATIVE: &str = "native";

const SHAPE: Shape = Shape {
    keys: &["app", "executor", "slots", "instances"],
    figures: &[
        // Of all attempts: making and clearing sandboxes and passing arguments included.
        Figure::new("cpu_s", "CPU s of tasks"),
        Figure::new("cpu_ratio", "over native"),
        // Of task functions alone, by the clock.
        Figure::new("compute_s", "compute s"),
        Figure::new("compute_ratio", "over native"),
        // On workers, but for the task function, for each attempt.
        Figure::new("around_us", "around it us"),
    ],
};

/// Flags of `bench sandbox`.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct SandboxArgs {
    /// Apps to run; all built-in ones that need no native program unless given.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    apps: Vec<String>,
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
}

pub(super) fn run(args: &SandboxArgs) -> Result<ExitCode, Failure> {
    let common = &args.common;
    twice("--apps", &args.apps)?;
    let runner = Runner::new(common)?;
    let mut cells = Vec::new();
    let sandboxed: Vec<&str> = common
        .executors
        .iter()
        .map(String::as_str)
        .filter(|name| *name != NATIVE)
        .collect();
    let modes: Vec<(&str, &str)> = std::iter::once((NATIVE, "none"))
        .chain(
            sandboxed
                .iter()
                .flat_map(|executor| [(*executor, "fresh"), (*executor, "reuse")]),
        )
        .collect();
    for workload in workloads(&args.apps)? {
        for workers in common.workers(&[1]) {
            for (executor, instances) in &modes {
                let mut flags = workload.flags.clone();
                if *executor != NATIVE {
                    flags.push(format!("--instances={instances}"));
                }
                let trial = runner.check(&workload.app, executor, workers, &flags)?;
                let app = workload.app.as_str();
                let keys = vec![
                    app.into(),
                    (*executor).into(),
                    workers.into(),
                    (*instances).into(),
                ];
                cells.push(Cell::new(keys, move |runner| once(runner, &trial)));
            }
        }
    }
    let mut rows = measure(&runner, common, SHAPE, cells);
    set_ratios(&mut rows);
    let found = Found {
        bench: "sandbox",
        args,
        shape: SHAPE,
        rows,
    };
    found.show(&runner, common, |rows| {
        let sandboxed: Vec<Row> = rows
            .iter()
            .filter(|row| row.text("executor") != NATIVE)
            .cloned()
            .collect();
        Chart::grouped(
            "CPU time of tasks in sandboxes, over executor native",
            "times that of native",
            &sandboxed,
            (&["app"], &["executor", "slots", "instances"]),
            "cpu_ratio",
        )
    })
}

fn once(runner: &Runner, trial: &Trial) -> Result<Measured, Failure> {
    let tasks = runner.run(trial)?.tasks(None)?;
    let sum = |of: fn(&Task) -> f64| tasks.iter().map(of).sum::<f64>();
    let (compute_s, execution_s) = (sum(Task::compute_s), sum(Task::execution_s));
    Ok(Measured::of([
        ("cpu_s", sum(|task| task.cpu_time)),
        ("compute_s", compute_s),
        (
            "around_us",
            1e6 * (execution_s - compute_s) / tasks.len().max(1) as f64,
        ),
    ]))
}

/// Sets each row against the native one of the same app and slots, repeat by repeat.
fn set_ratios(rows: &mut [Row]) {
    for at in 0..rows.len() {
        let row = &rows[at];
        let same = |other: &&Row| {
            other.text("executor") == NATIVE
                && other.key("app") == row.key("app")
                && other.key("slots") == row.key("slots")
        };
        let native = rows.iter().find(same);
        let ratio = |name: &str| row.figure(name)?.ratio(native?.figure(name)?);
        let (cpu, compute) = (ratio("cpu_s"), ratio("compute_s"));
        rows[at].set("cpu_ratio", cpu);
        rows[at].set("compute_ratio", compute);
    }
}
