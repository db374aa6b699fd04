//! `bench metg`: the smallest tasks with which an executor still spends half of its time on them.
//!
//! The measure and the patterns are those of Task Bench (Slaughter et al., SC20). Tasks are made smaller, step by
//! step, and each run is set against the rate of large tasks without dependencies on the same slots, in the same
//! round:
//!
//! ```text
//! efficiency
//!   1 ┤ ────────────────╮        granularity: wall time × slots / tasks
//! 0.5 ┤─ ─ ─ ─ ─ ─ ─ ─ ─│╲       METG(50 %): where the line crosses one half,
//!   0 ┤                 │  ╲     between the points on either side of it
//!     └── large ─────── METG ── small tasks
//! ```

use super::{
    chart::{Axis, Chart, Point},
    flags::{Common, refused, twice, word},
    frame::{Cell, Found, Measured, measure},
    statistics::Statistic,
    table::{Figure, Row, Shape},
    trial::{Ran, Runner, Trial, unread},
};
use crate::exit::{ExitCode, Failure};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

/// Tasks that run before the clock starts.
const WARM_UP_TASKS: u32 = 100;

/// Columns of a pattern for each slot, unless told otherwise.
const COLUMNS: u32 = 4;

/// How many times as many steps short tasks get at most, so that their runs are long enough to be timed.
const MOST_STRETCH: u64 = 10;

/// Parents that nearest, spread and random look for.
const RADIX: u32 = 3;

const SHAPE: Shape = Shape {
    keys: &["executor", "slots", "kernel", "pattern", "iterations"],
    figures: &[
        Figure::new("rate_per_s", "iterations/s"),
        // Wall time of a task: that of the run times the slots, over the number of tasks.
        Figure::new("granularity_us", "granularity us"),
        // Rate over that of large tasks without dependencies.
        Figure::new("efficiency", "efficiency"),
        // Only in the rows that have no iterations.
        Figure::new("metg_us", "METG us"),
    ],
};

/// Flags of `bench metg`.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct MetgArgs {
    /// Dependence patterns; all unless named.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAMES")]
    patterns: Vec<Pattern>,
    /// What tasks do.
    #[arg(long, value_enum, default_value_t = Kernel::Compute)]
    kernel: Kernel,
    /// Iterations of the kernel in the largest tasks.
    #[arg(long, value_name = "NUMBER", default_value_t = 65_536, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    most_iterations: u64,
    /// Iterations of the kernel in the smallest tasks.
    #[arg(long, value_name = "NUMBER", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    least_iterations: u64,
    /// How many times as large tasks are as the next smaller ones.
    #[arg(long, value_name = "TIMES", default_value_t = 4, value_parser = clap::value_parser!(u64).range(2..=1024))]
    factor: u64,
    /// Tasks of a step; none for 4 for each slot.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=4096))]
    width: Option<u32>,
    /// Steps of the largest tasks; smaller ones get up to ten times as many.
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    steps: u32,
    /// Efficiency that tasks must have, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    efficiency: f64,
    /// Size of the buffer of the kernel memory, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(8..=1_073_741_824))]
    kernel_bytes: u32,
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
}

/// A dependence pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Pattern {
    Trivial,
    NoComm,
    Stencil,
    StencilPeriodic,
    Dom,
    Tree,
    Fft,
    AllToAll,
    Nearest,
    Spread,
    Random,
}

/// What tasks do. Without work there would be no efficiency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Kernel {
    /// Multiplies and adds; an iteration has 128 operations.
    Compute,
    /// Reads and writes a buffer; an iteration is a pass over it.
    Memory,
    /// Computes, each task half to one and a half times as much as the mean.
    Imbalanced,
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&word(self))
    }
}

/// One series of ever smaller tasks.
struct Series<'a> {
    executor: &'a str,
    slots: u32,
    pattern: Pattern,
}

pub(super) fn run(args: &MetgArgs) -> Result<ExitCode, Failure> {
    args.check()?;
    let common = &args.common;
    let runner = Runner::new(common)?;
    let mut cells = Vec::new();
    let mut all = Vec::new();
    for (executor, slots) in common.places(&[2]) {
        for pattern in args.patterns() {
            let series = Series {
                executor,
                slots,
                pattern,
            };
            for iterations in args.sizes(pattern) {
                let trial = args.trial(&runner, &series, iterations)?;
                let keys = args.keys(&series, iterations.into());
                cells.push(Cell::new(keys, move |runner| {
                    once(runner, &trial, slots, iterations)
                }));
            }
            all.push(series);
        }
    }
    let mut rows = measure(&runner, common, SHAPE, cells);
    args.set_efficiency(&mut rows);
    let asked = |series: &&Series<'_>| args.asked(series.pattern);
    let found: Vec<Row> = all
        .iter()
        .filter(asked)
        .map(|series| args.find(series, &rows))
        .collect();
    rows.extend(found);
    let found = Found {
        bench: "metg",
        args,
        shape: SHAPE,
        rows,
    };
    found.show(&runner, common, |rows| Chart::Lines {
        caption: "Efficiency, by the granularity of tasks".to_owned(),
        x: Axis::logarithmic("wall time of a task, us"),
        y: Axis::linear("efficiency"),
        lines: lines(rows),
    })
}

impl MetgArgs {
    fn check(&self) -> Result<(), Failure> {
        twice("--patterns", &self.patterns)?;
        let (least, most) = (self.least_iterations, self.most_iterations);
        if least >= most {
            let expected = format!("fewer than --most-iterations, {most}");
            return Err(refused("--least-iterations", least, expected));
        }
        if !(0.01..=0.99).contains(&self.efficiency) {
            return Err(refused(
                "--efficiency",
                self.efficiency,
                "a number from 0.01 to 0.99",
            ));
        }
        Ok(())
    }

    fn asked(&self, pattern: Pattern) -> bool {
        self.patterns.is_empty() || self.patterns.contains(&pattern)
    }

    /// What is measured, trivial first: its largest tasks are what all others are set against.
    fn patterns(&self) -> Vec<Pattern> {
        let all = Pattern::value_variants().iter().copied();
        all.filter(|pattern| *pattern == Pattern::Trivial || self.asked(*pattern))
            .collect()
    }

    /// Iterations, from the largest tasks to the smallest.
    fn sizes(&self, pattern: Pattern) -> Vec<u64> {
        if !self.asked(pattern) {
            return vec![self.most_iterations];
        }
        let smaller = |size: &u64| {
            (*size > self.least_iterations).then(|| (size / self.factor).max(self.least_iterations))
        };
        std::iter::successors(Some(self.most_iterations), smaller).collect()
    }

    /// Steps of tasks of that size.
    fn steps(&self, iterations: u64) -> u64 {
        let stretch = self.most_iterations / iterations;
        u64::from(self.steps) * stretch.clamp(1, MOST_STRETCH)
    }

    fn keys(&self, series: &Series<'_>, iterations: Value) -> Vec<Value> {
        vec![
            series.executor.into(),
            series.slots.into(),
            word(&self.kernel).into(),
            word(&series.pattern).into(),
            iterations,
        ]
    }

    fn trial(
        &self,
        runner: &Runner,
        series: &Series<'_>,
        iterations: u64,
    ) -> Result<Trial, Failure> {
        let width = self.width.unwrap_or(COLUMNS * series.slots);
        let mut flags = vec![
            format!("--app.structure={}", series.pattern),
            format!("--app.width={width}"),
            format!("--app.steps={}", self.steps(iterations)),
            format!("--app.kernel={}", word(&self.kernel)),
            format!("--app.kernel-iterations={iterations}"),
            format!("--app.warmup-tasks={WARM_UP_TASKS}"),
        ];
        if matches!(
            series.pattern,
            Pattern::Nearest | Pattern::Spread | Pattern::Random
        ) {
            flags.push(format!("--app.radix={}", RADIX.min(width)));
        }
        if self.kernel == Kernel::Memory {
            flags.push(format!("--app.kernel-bytes={}", self.kernel_bytes));
        }
        runner.check("synthetic", series.executor, series.slots, &flags)
    }

    /// Sets each rate against the largest tasks of trivial on the same slots, repeat by repeat.
    fn set_efficiency(&self, rows: &mut [Row]) {
        for at in 0..rows.len() {
            let row = &rows[at];
            let is_peak = |other: &&Row| {
                ["executor", "slots"]
                    .iter()
                    .all(|key| other.key(key) == row.key(key))
                    && *other.key("pattern") == word(&Pattern::Trivial)
                    && *other.key("iterations") == self.most_iterations
            };
            let peak = rows.iter().find(is_peak);
            let peak = peak.and_then(|peak| peak.figure("rate_per_s"));
            let pair = row.figure("rate_per_s").zip(peak);
            let efficiency = pair.and_then(|(rate, peak)| rate.ratio(peak));
            rows[at].set("efficiency", efficiency);
        }
    }

    /// The row that says where a series crosses the efficiency asked for.
    fn find(&self, series: &Series<'_>, rows: &[Row]) -> Row {
        let keys = self.keys(series, Value::Null);
        let last = keys.len() - 1;
        let points: Vec<(&Statistic, &Statistic)> = rows
            .iter()
            .filter(|row| row.keys[..last] == keys[..last])
            .filter_map(|row| row.figure("granularity_us").zip(row.figure("efficiency")))
            .collect();
        let mut row = Row::new(SHAPE, keys);
        if points.len() < self.sizes(series.pattern).len() {
            row.notes.push("no METG: sizes are missing".to_owned());
            return row;
        }
        let repeats = points.iter().map(|(time, _)| time.values.len()).min();
        let crossings: Vec<Crossing> = (0..repeats.unwrap_or(0))
            .map(|repeat| {
                let point = |(time, efficiency): &(&Statistic, &Statistic)| {
                    (time.values[repeat], efficiency.values[repeat])
                };
                crossing(
                    &points.iter().map(point).collect::<Vec<_>>(),
                    self.efficiency,
                )
            })
            .collect();
        let at: Option<Vec<f64>> = crossings.iter().map(Crossing::at).collect();
        match at {
            Some(at) => row.set("metg_us", Statistic::of(at)),
            None => row.notes.extend(self.unreached(&crossings)),
        }
        row
    }

    /// What is to be said where some repeats have no crossing.
    fn unreached(&self, crossings: &[Crossing]) -> Option<String> {
        let percent = 100.0 * self.efficiency;
        let all = crossings.len();
        let missed: Vec<f64> = crossings.iter().filter_map(Crossing::missed).collect();
        if !missed.is_empty() {
            let most = missed.iter().copied().fold(0.0, f64::max);
            return Some(format!(
                "no METG: {percent} % is not reached in {} of {all} repeats, at most {:.1} %",
                missed.len(),
                100.0 * most
            ));
        }
        let below: Vec<f64> = crossings.iter().filter_map(Crossing::below).collect();
        let most = below.iter().copied().reduce(f64::max)?;
        Some(format!(
            "no METG: the smallest tasks still have {percent} % in {} of {all} repeats, so that it is below {most:.1} us",
            below.len()
        ))
    }
}

/// Where a series of points crosses an efficiency.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Crossing {
    /// At this granularity.
    At(f64),
    /// Nowhere: the best efficiency is this.
    Missed(f64),
    /// Below the granularity of the last point.
    Below(f64),
}

impl Crossing {
    fn at(&self) -> Option<f64> {
        match self {
            Self::At(granularity) => Some(*granularity),
            _ => None,
        }
    }

    fn missed(&self) -> Option<f64> {
        match self {
            Self::Missed(best) => Some(*best),
            _ => None,
        }
    }

    fn below(&self) -> Option<f64> {
        match self {
            Self::Below(granularity) => Some(*granularity),
            _ => None,
        }
    }
}

/// The least granularity with an efficiency, between the points on either side of it in proportion. Points are pairs
/// of granularity and efficiency, from the largest tasks to the smallest.
fn crossing(points: &[(f64, f64)], wanted: f64) -> Crossing {
    let reached = points
        .iter()
        .enumerate()
        .filter(|(_, point)| point.1 >= wanted);
    let least = reached.min_by(|a, b| a.1.0.total_cmp(&b.1.0));
    let Some((at, &(granularity, efficiency))) = least else {
        let best = points.iter().map(|point| point.1).fold(0.0, f64::max);
        return Crossing::Missed(best);
    };
    // Smaller tasks may take longer, in noise: that they still have the efficiency counts, not which were fastest.
    if points.last().is_some_and(|last| last.1 >= wanted) {
        return Crossing::Below(granularity);
    }
    match points.get(at + 1) {
        Some(next) if next.0 < granularity => {
            let share = (efficiency - wanted) / (efficiency - next.1);
            Crossing::At(granularity + share * (next.0 - granularity))
        }
        // Smaller tasks that take no less time: noise, and nothing to look for between them.
        _ => Crossing::At(granularity),
    }
}

fn once(runner: &Runner, trial: &Trial, slots: u32, iterations: u64) -> Result<Measured, Failure> {
    let ran = runner.run(trial)?;
    let seconds = ran.phase_s("run")?;
    let tasks = completed(&ran)?;
    // What was drawn for each task, where it was drawn.
    let drawn = ran.summary.values.get("kernel_iterations");
    let work = drawn
        .and_then(Value::as_f64)
        .unwrap_or(tasks * iterations as f64);
    Ok(Measured::of([
        ("rate_per_s", work / seconds),
        ("granularity_us", 1e6 * seconds * f64::from(slots) / tasks),
    ]))
}

/// Tasks of the pattern that completed.
fn completed(ran: &Ran) -> Result<f64, Failure> {
    let mut checks = ran.summary.checks.iter();
    let check = checks.find(|check| check.name == "tasks completed");
    check
        .and_then(|check| check.value.as_f64())
        .ok_or_else(|| unread("the report has no number of tasks"))
}

/// Efficiency over granularity, a line for each series.
fn lines(rows: &[Row]) -> Vec<(String, Vec<Point>)> {
    let mut lines: Vec<(String, Vec<Point>)> = Vec::new();
    for row in rows {
        let point = row.mean("granularity_us").zip(row.mean("efficiency"));
        let Some(((x, _), (y, half))) = point else {
            continue;
        };
        let keys = ["executor", "slots", "pattern"].map(|key| row.text(key));
        let label = keys.join(", ");
        match lines.iter_mut().find(|(known, _)| *known == label) {
            Some((_, points)) => points.push((x, y, half)),
            None => lines.push((label, vec![(x, y, half)])),
        }
    }
    // A single point is what others are set against, and no line.
    lines.retain(|(_, points)| points.len() > 1);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crossing_lies_between_its_neighbours() {
        let points = [(1000.0, 1.0), (300.0, 0.8), (100.0, 0.4), (80.0, 0.1)];
        let Crossing::At(at) = crossing(&points, 0.5) else {
            panic!("{:?}", crossing(&points, 0.5));
        };
        assert!((at - 150.0).abs() < 1e-9, "{at}");
        assert_eq!(crossing(&points, 0.8), Crossing::At(300.0));
        assert_eq!(crossing(&points[..2], 0.5), Crossing::Below(300.0));
        assert_eq!(crossing(&points[2..], 0.5), Crossing::Missed(0.4));
        assert_eq!(crossing(&[], 0.5), Crossing::Missed(0.0));
        let slower = [(300.0, 0.8), (310.0, 0.4)];
        assert_eq!(crossing(&slower, 0.5), Crossing::At(300.0));
        assert_eq!(crossing(&slower, 0.4), Crossing::Below(300.0));
    }

    #[test]
    fn sizes_go_down_to_the_smallest() {
        let args = |most, least| MetgArgs {
            patterns: vec![Pattern::Fft],
            kernel: Kernel::Compute,
            most_iterations: most,
            least_iterations: least,
            factor: 4,
            width: None,
            steps: 5,
            efficiency: 0.5,
            kernel_bytes: 8,
            common: Common {
                executors: Vec::new(),
                workers: Vec::new(),
                repeat: 1,
                warm_up: 0,
                python: None,
                csv: None,
                plot: None,
                json: false,
                run_flags: Vec::new(),
            },
        };
        assert_eq!(args(1000, 10).sizes(Pattern::Fft), [1000, 250, 62, 15, 10]);
        assert_eq!(args(4, 1).sizes(Pattern::Fft), [4, 1]);
        assert_eq!(args(1000, 10).sizes(Pattern::Trivial), [1000]);
        assert_eq!(args(1000, 10).patterns(), [Pattern::Trivial, Pattern::Fft]);
        let steps = [1000, 250, 10].map(|size| args(1000, 10).steps(size));
        assert_eq!(steps, [5, 20, 50]);
        assert!(args(10, 10).check().is_err());
    }
}
