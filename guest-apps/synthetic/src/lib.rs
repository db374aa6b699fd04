//! The synthetic app: task graphs of any size whose tasks move data and sleep, for measuring an
//! engine.
//!
//! Names, counts and the limit of outstanding tasks are those of TaPS; unlike there, everything is
//! seeded, and the content of payloads is checked.

mod content;
mod structures;
mod tasks;

use taps::{Bound, Engine, Report, Status};

use structures::Graph;

/// Shape of the task graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, taps::ConfigEnum)]
enum Structure {
    Bag,
    Diamond,
    Reduce,
    Sequential,
}

/// What payloads hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, taps::ConfigEnum)]
enum Content {
    /// Pseudo-random bytes.
    Random,
    /// Words that count up, made as fast as memory takes them.
    Plain,
}

/// Synthetic task graphs: bag, diamond, reduce, sequential.
#[derive(Debug, taps::Config)]
#[taps(check = Synthetic::check)]
struct Synthetic {
    /// Shape of the task graph.
    structure: Structure,
    /// Number of tasks (reduce has one more, diamond two).
    #[taps(min = 1)]
    task_count: u32,
    /// Bytes that each task takes and gives.
    #[taps(default = 0, max = 2_147_483_647)]
    task_data_bytes: u32,
    /// Least duration of a task, in seconds.
    #[taps(default = 0.0, min = 0.0, max = 1e6)]
    task_sleep: f64,
    /// Most tasks outstanding at once; required for bag.
    #[taps(min = 1)]
    bag_max_running: Option<u32>,
    /// Tasks to run before the graph.
    #[taps(default = 0)]
    warmup_tasks: u32,
    /// Standard deviation of the duration, in seconds.
    #[taps(default = 0.0, min = 0.0, max = 1e6)]
    task_std: f64,
    /// Check the content of every payload, by a hash that it carries.
    #[taps(default = true)]
    verify: bool,
    /// Content of payloads: `plain` costs no more than writing memory; it carries no hash.
    #[taps(default = Content::Random)]
    content: Content,
    /// Read every byte of the inputs, also where they are not checked.
    #[taps(default = false)]
    read_inputs: bool,
    /// Keep the warm-up in a phase of its own and out of the counts.
    #[taps(default = true)]
    warmup_exclude: bool,
}

impl Synthetic {
    fn check(&self) -> taps::Result<()> {
        if self.structure == Structure::Bag && self.bag_max_running.is_none() {
            return Err(taps::Error::config(
                "bag_max_running",
                "none",
                "a whole number of at least 1, because structure is bag",
            ));
        }
        if self.content == Content::Plain && self.verify {
            return Err(taps::Error::config(
                "verify",
                "true",
                "false, because content is plain and carries no hash",
            ));
        }
        Ok(())
    }

    /// Tasks of the graph.
    fn expected_tasks(&self) -> u64 {
        let count = u64::from(self.task_count);
        match self.structure {
            Structure::Bag | Structure::Sequential => count,
            Structure::Reduce => count + 1,
            Structure::Diamond => count + 2,
        }
    }

    /// Inputs with content in the graph.
    fn expected_verified(&self) -> u64 {
        let count = u64::from(self.task_count);
        match self.structure {
            Structure::Bag | Structure::Sequential => count,
            Structure::Reduce => 2 * count,
            Structure::Diamond => 2 * count + 1,
        }
    }
}

#[taps::app(name = "synthetic")]
fn run(config: Synthetic, engine: &Engine) -> taps::Result<Report> {
    if config.warmup_exclude && config.warmup_tasks > 0 {
        engine.phase("warmup");
        warm_up(&config, engine)?;
    }
    engine.phase("run");
    let start = taps::clock();
    let mut extra = 0;
    if !config.warmup_exclude {
        warm_up(&config, engine)?;
        extra = u64::from(config.warmup_tasks);
    }
    let counts = Graph::new(&config, engine).run()?;
    let seconds = taps::clock().saturating_sub(start).as_secs_f64();
    let completed = counts.completed + extra;
    taps::info!("Completed {completed} tasks in {seconds:.3} s");

    let mut report = Report::new().check(
        "tasks completed",
        completed,
        Bound::Equals((config.expected_tasks() + extra).into()),
    );
    if config.verify && config.task_data_bytes > 0 {
        let expected = Bound::Equals(config.expected_verified().into());
        report = report.check("payloads verified", counts.verified, expected);
    }
    if let (Structure::Bag, Some(limit)) = (config.structure, config.bag_max_running) {
        let bound = Bound::AtMost(f64::from(limit));
        report = report.check("most tasks outstanding", counts.most_outstanding, bound);
    }
    Ok(report
        .value("warmup_tasks", config.warmup_tasks)
        .value("run_seconds", seconds))
}

/// Runs the warm-up tasks, all at once.
fn warm_up(config: &Synthetic, engine: &Engine) -> taps::Result<()> {
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

#[cfg(test)]
mod tests;
