//! The four task graphs.
//!
//! ```text
//! bag          reduce          diamond              sequential
//!
//! ○ ○ ○ ○      ○ ○ ○ ○            ○                 ○ → ○ → ○ → ○
//!              └─┴┬┴─┘         ┌─┬┴┬─┐
//!                 ○            ○ ○ ○ ○
//!                              └─┴┬┴─┘
//!                                 ○
//! n            n + 1           n + 2                n tasks
//! ```

use std::f64::consts::TAU;

use taps::rand::RngExt as _;
use taps::{Argument, Bytes, Call, Completions, Engine, Future, Result, Status};

use crate::tasks::{Work, noop};
use crate::{Content, Structure, Synthetic, content};

/// Counts of a finished graph.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Tasks that completed.
    pub(crate) completed: u64,
    /// Inputs whose content a task checked.
    pub(crate) verified: u64,
    /// Most tasks that were outstanding at once.
    pub(crate) most_outstanding: u64,
}

/// A graph under construction.
pub(crate) struct Graph<'a> {
    config: &'a Synthetic,
    engine: &'a Engine,
    completions: Completions<Bytes>,
    counts: Counts,
}

impl<'a> Graph<'a> {
    pub(crate) fn new(config: &'a Synthetic, engine: &'a Engine) -> Self {
        Self {
            config,
            engine,
            completions: Completions::new(),
            counts: Counts::default(),
        }
    }

    /// Runs the graph to its end, or to the first task that fails.
    pub(crate) fn run(mut self) -> Result<Counts> {
        let last = match self.config.structure {
            Structure::Bag => self.bag()?,
            Structure::Reduce => self.reduce()?,
            Structure::Diamond => self.diamond()?,
            Structure::Sequential => self.sequential()?,
        };
        while self.take_completed()?.is_some() {}
        let content = last.bytes()?;
        if self.config.verify && !content::is_intact(&content) {
            let message = format!("the last result, {} bytes, is damaged", content.len());
            return Err(taps::Error::app("ContentMismatch", message));
        }
        Ok(self.counts)
    }

    fn sequential(&mut self) -> Result<Future<Bytes>> {
        let mut last = self.submit_leaf(self.length())?;
        for _ in 1..self.config.task_count {
            last = self.submit(self.length(), &[&last])?;
        }
        Ok(last)
    }

    fn reduce(&mut self) -> Result<Future<Bytes>> {
        let leaves = (0..self.config.task_count)
            .map(|_| self.submit_leaf(self.length()))
            .collect::<Result<Vec<_>>>()?;
        self.submit(self.length(), &leaves.iter().collect::<Vec<_>>())
    }

    fn diamond(&mut self) -> Result<Future<Bytes>> {
        let mean = self.config.task_sleep;
        let first = self.submit_leaf(mean)?;
        let middle = (0..self.config.task_count)
            .map(|_| self.submit(self.length(), &[&first]))
            .collect::<Result<Vec<_>>>()?;
        self.submit(mean, &middle.iter().collect::<Vec<_>>())
    }

    /// Keeps `bag_max_running` tasks outstanding: one more for each that completes.
    fn bag(&mut self) -> Result<Future<Bytes>> {
        let count = self.config.task_count;
        let running = self.config.bag_max_running.unwrap_or(count).min(count);
        for _ in 0..running {
            self.submit_leaf(self.length())?;
        }
        let mut last = None;
        let mut submitted = running;
        while let Some(completed) = self.take_completed()? {
            last = Some(completed);
            if submitted < count {
                self.submit_leaf(self.length())?;
                submitted += 1;
            }
            if self.counts.completed.is_multiple_of(u64::from(running)) {
                self.log_progress();
            }
        }
        last.ok_or_else(|| taps::Error::app("Unfinished", "the run ends before its tasks"))
    }

    fn log_progress(&self) {
        let done = self.counts.completed;
        let count = self.config.task_count;
        let outstanding = self.completions.len();
        taps::debug!("Completed {done}/{count} tasks, {outstanding} outstanding");
    }

    /// Length of a task in seconds, drawn from the distribution asked for and not below zero.
    fn length(&self) -> f64 {
        let Synthetic {
            task_sleep,
            task_std,
            ..
        } = *self.config;
        if task_std == 0.0 {
            return task_sleep;
        }
        let mut rng = self.engine.rng();
        let (radius, angle): (f64, f64) = (rng.random(), rng.random());
        // Box and Muller; 1 - radius is never 0.
        let normal = (-2.0 * (1.0 - radius).ln()).sqrt() * (TAU * angle).cos();
        (task_sleep + task_std * normal).max(0.0)
    }

    fn work(&self, seconds: f64) -> Work {
        Work {
            sleep_ns: (seconds * 1e9) as u64,
            output_bytes: self.config.task_data_bytes,
            verify: self.config.verify,
            plain: self.config.content == Content::Plain,
            read: self.config.read_inputs,
        }
    }

    /// Submits a task with data of its own.
    fn submit_leaf(&mut self, seconds: f64) -> Result<Future<Bytes>> {
        let size = self.config.task_data_bytes;
        if size == 0 && seconds == 0.0 {
            return self.enqueue(noop::call(std::iter::empty::<Argument>()), 0);
        }
        let mut arguments = vec![Argument::value(self.work(seconds))?];
        if size > 0 {
            let mut data = vec![0; size as usize];
            let plain = self.config.content == Content::Plain;
            let seed = self.engine.rng().random();
            content::make(&mut data, seed, self.config.verify, plain);
            arguments.push(Argument::Inline(data));
        }
        let inputs = arguments.len() - 1;
        self.enqueue(noop::call(arguments), inputs)
    }

    /// Submits a task that takes the outputs of others.
    fn submit(&mut self, seconds: f64, parents: &[&Future<Bytes>]) -> Result<Future<Bytes>> {
        let mut arguments = vec![Argument::value(self.work(seconds))?];
        arguments.extend(parents.iter().map(|parent| parent.as_argument()));
        self.enqueue(noop::call(arguments), parents.len())
    }

    fn enqueue(&mut self, call: Call<Bytes>, inputs: usize) -> Result<Future<Bytes>> {
        let future = self.engine.submit(call)?;
        self.completions.add(future.clone());
        if self.config.verify && self.config.task_data_bytes > 0 {
            self.counts.verified += inputs as u64;
        }
        let outstanding = self.completions.len() as u64;
        self.counts.most_outstanding = self.counts.most_outstanding.max(outstanding);
        Ok(future)
    }

    /// Waits for the next task to complete; its failure is ours.
    fn take_completed(&mut self) -> Result<Option<Future<Bytes>>> {
        let Some((future, status)) = self.completions.next_within(None) else {
            return Ok(None);
        };
        if status != Status::Succeeded {
            future.finish()?;
        }
        self.counts.completed += 1;
        Ok(Some(future))
    }
}
