//! `bench throughput`: how many tasks that do nothing an executor runs in a second.

use super::{
    chart::{Axis, Chart},
    flags::{Common, whole},
    frame::{Cell, Found, Measured, measure},
    lines,
    table::{Figure, Row, Shape},
    trial::{Runner, Trial},
};
use crate::exit::{ExitCode, Failure};
use serde::Serialize;

/// Tasks that every worker may run before the clock starts.
const WARM_UP_TASKS: u32 = 100;

const SHAPE: Shape = Shape {
    keys: &["executor", "slots"],
    figures: &[
        Figure::new("tasks_per_s", "tasks/s"),
        // Of this process and all below it, from configuration to records.
        Figure::new("cpu_per_task_us", "CPU us per task"),
        // Rate over that of one worker, times the number of workers.
        Figure::new("efficiency", "efficiency"),
    ],
};

/// Flags of `bench throughput`.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct ThroughputArgs {
    /// Tasks of a run.
    #[arg(long, value_name = "NUMBER", default_value_t = 20_000, value_parser = whole::<1, 100_000_000>)]
    tasks: u32,
    /// Most tasks that are submitted and have not ended.
    #[arg(long, value_name = "NUMBER", default_value_t = 1000, value_parser = whole::<1, 100_000>)]
    outstanding: u32,
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
}

pub(super) fn run(args: &ThroughputArgs) -> Result<ExitCode, Failure> {
    let common = &args.common;
    let runner = Runner::new(common)?;
    let mut cells = Vec::new();
    for (executor, workers) in common.places(&powers_of_two()) {
        let flags = [
            "--app.structure=bag".to_owned(),
            format!("--app.task-count={}", args.tasks),
            format!("--app.bag-max-running={}", args.outstanding),
            format!("--app.warmup-tasks={WARM_UP_TASKS}"),
        ];
        let trial = runner.check("synthetic", executor, workers, &flags)?;
        let keys = vec![executor.into(), workers.into()];
        cells.push(Cell::new(keys, move |runner| {
            once(runner, &trial, args.tasks)
        }));
    }
    let mut rows = measure(&runner, common, SHAPE, cells);
    set_efficiency(&mut rows);
    let found = Found {
        bench: "throughput",
        args,
        shape: SHAPE,
        rows,
    };
    found.show(&runner, common, |rows| Chart::Lines {
        caption: "Tasks that do nothing, by workers".to_owned(),
        x: Axis::linear("workers"),
        y: Axis::linear("tasks per second"),
        lines: lines(rows, &["executor"], "slots", "tasks_per_s"),
    })
}

/// 1, 2, 4 and so on, up to the CPUs that there are.
fn powers_of_two() -> Vec<u32> {
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32);
    let powers = std::iter::successors(Some(1_u32), |workers| workers.checked_mul(2));
    powers
        .take_while(|workers| *workers <= cpus.min(1024))
        .collect()
}

fn once(runner: &Runner, trial: &Trial, tasks: u32) -> Result<Measured, Failure> {
    let ran = runner.run(trial)?;
    let all = f64::from(tasks + WARM_UP_TASKS);
    Ok(Measured::of([
        ("tasks_per_s", f64::from(tasks) / ran.phase_s("run")?),
        ("cpu_per_task_us", 1e6 * ran.cpu_s / all),
    ]))
}

/// Sets each rate against that of one worker of the same executor, repeat by repeat.
fn set_efficiency(rows: &mut [Row]) {
    for at in 0..rows.len() {
        let same =
            |row: &&Row| row.key("executor") == rows[at].key("executor") && *row.key("slots") == 1;
        let single = rows
            .iter()
            .find(same)
            .and_then(|row| row.figure("tasks_per_s"));
        let workers = rows[at].key("slots").as_f64().unwrap_or(1.0);
        let ratio = rows[at]
            .figure("tasks_per_s")
            .zip(single)
            .and_then(|(rate, single)| rate.ratio(single));
        let efficiency = ratio.and_then(|ratio| ratio.times(1.0 / workers));
        rows[at].set("efficiency", efficiency);
    }
}
