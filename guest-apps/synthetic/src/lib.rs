//! The synthetic app: task graphs of any size whose tasks move data, sleep and compute, for measuring
//! an engine.
//!
//! Three families of graphs. The four of TaPS, with its names and counts (`structures`). The
//! dependence patterns of Task Bench (`patterns`), run step by step (`grid`). And workflows that ran
//! elsewhere, from instances in WfCommons' format (`workflow`). All is seeded, the content of payloads
//! is checked, and what must come out is computed a second time, apart from the tasks.

mod config;
mod content;
mod digest;
mod grid;
mod header;
mod kernels;
mod patterns;
mod structures;
mod submissions;
mod tasks;
mod workflow;

use taps::{Bound, Engine, Report, Result, Status};

use config::{Family, Structure, Synthetic};
use grid::Grid;
use patterns::Pattern;
use structures::Graph;
use submissions::Counts;
use workflow::{Plan, Workflow};

#[taps::app(name = "synthetic")]
fn run(config: Synthetic, engine: &Engine) -> Result<Report> {
    // What is wrong with an instance is said before any task.
    let plan = match config.structure.family() {
        Family::Replay => Some(Plan::new(Workflow::read(&config, engine)?, &config)),
        _ => None,
    };
    if config.warmup_exclude && config.warmup_tasks > 0 {
        engine.phase("warmup");
        warm_up(&config, engine)?;
    }
    engine.phase("run");
    let run = Run {
        config: &config,
        engine,
        start: taps::clock(),
    };
    match (config.pattern(taps::seed()), plan) {
        (_, Some(plan)) => run.replay(&plan),
        (Some(pattern), None) => run.pattern(pattern),
        (None, None) => run.graph(),
    }
}

/// A run of the graph, which has begun.
struct Run<'a> {
    config: &'a Synthetic,
    engine: &'a Engine,
    start: std::time::Duration,
}

impl Run<'_> {
    fn graph(&self) -> Result<Report> {
        let config = self.config;
        let extra = self.warm_up()?;
        let count = config.task_count.unwrap_or(0);
        let counts = Graph::new(config, count, self.engine).run()?;
        let mut report = completed(&counts, extra, config.expected_tasks());
        if config.verify && config.task_data_bytes > 0 {
            let expected = equals(config.expected_verified());
            report = report.check("payloads verified", counts.verified, expected);
        }
        if let (Structure::Bag, Some(limit)) = (config.structure, config.bag_max_running) {
            let bound = Bound::AtMost(f64::from(limit));
            report = report.check("most tasks outstanding", counts.most_outstanding, bound);
        }
        Ok(self.values(report, &counts, extra))
    }

    fn pattern(&self, pattern: Pattern) -> Result<Report> {
        let extra = self.warm_up()?;
        let (counts, digest) = Grid::new(self.config, pattern, self.engine).run()?;
        let report = completed(&counts, extra, pattern.tasks());
        let report = self.values(report, &counts, extra);
        // Apart from the run, so that it does not pay for being checked.
        self.engine.phase("check");
        let most = Bound::AtMost(self.config.most_outstanding() as f64);
        Ok(report
            .check("edges verified", counts.verified, equals(pattern.edges()))
            .check("digest", hex(digest), equals(hex(pattern.result())))
            .check("most tasks outstanding", counts.most_outstanding, most))
    }

    fn replay(&self, plan: &Plan) -> Result<Report> {
        let extra = self.warm_up()?;
        let (counts, digest) = plan.run(self.config, self.engine)?;
        let report = completed(&counts, extra, plan.tasks());
        let report = self.values(report, &counts, extra);
        self.engine.phase("check");
        let most = Bound::AtMost(self.config.most_outstanding() as f64);
        Ok(plan
            .describe(report)
            .check("edges verified", counts.verified, equals(plan.edges()))
            .check(
                "bytes between tasks",
                plan.bytes_taken(),
                equals(plan.bytes_shared()),
            )
            .check("digest", hex(digest), equals(hex(plan.result())))
            .check("most tasks outstanding", counts.most_outstanding, most))
    }

    /// The warm-up that belongs to the run; gives the number of its tasks.
    fn warm_up(&self) -> Result<u64> {
        if self.config.warmup_exclude {
            return Ok(0);
        }
        warm_up(self.config, self.engine)?;
        Ok(self.config.warmup_tasks.into())
    }

    /// Adds what every graph tells; the run ends here.
    fn values(&self, report: Report, counts: &Counts, extra: u64) -> Report {
        let seconds = taps::clock().saturating_sub(self.start).as_secs_f64();
        let completed = counts.completed + extra;
        taps::info!("Completed {completed} tasks in {seconds:.3} s");
        let report = report
            .value("warmup_tasks", self.config.warmup_tasks)
            .value("run_seconds", seconds);
        if counts.iterations == 0 {
            return report;
        }
        report.value("kernel_iterations", counts.iterations)
    }
}

/// A report with the first check: whether all tasks completed.
fn completed(counts: &Counts, extra: u64, expected: u64) -> Report {
    let completed = counts.completed + extra;
    Report::new().check("tasks completed", completed, equals(expected + extra))
}

/// Runs the warm-up tasks, all at once.
fn warm_up(config: &Synthetic, engine: &Engine) -> Result<()> {
    let mut completions = taps::Completions::new();
    for _ in 0..config.warmup_tasks {
        completions.add(engine.submit(tasks::warmup::call())?);
    }
    while let Some((future, status)) = completions.next_within(None) {
        if status != Status::Succeeded {
            future.finish()?;
        }
    }
    Ok(())
}

fn equals(value: impl Into<serde_json::Value>) -> Bound {
    Bound::Equals(value.into())
}

/// A digest as text: numbers of JSON do not hold 64 bits.
fn hex(digest: u64) -> String {
    format!("{digest:016x}")
}

#[cfg(test)]
mod tests;
