//! The four task graphs of TaPS.
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

use taps::rand::RngExt as _;
use taps::{Argument, Bytes, Engine, Future, Result};

use crate::config::{Structure, Synthetic};
use crate::content;
use crate::submissions::{Counts, Submissions};
use crate::tasks::{Work, noop};

/// A graph under construction.
pub(crate) struct Graph<'a> {
    submissions: Submissions<'a>,
    count: u32,
    submitted: u64,
}

impl<'a> Graph<'a> {
    /// A graph of `count` tasks, and those that its structure adds.
    pub(crate) fn new(config: &'a Synthetic, count: u32, engine: &'a Engine) -> Self {
        Self {
            submissions: Submissions::new(config, engine),
            count,
            submitted: 0,
        }
    }

    /// Runs the graph to its end, or to the first task that fails.
    pub(crate) fn run(mut self) -> Result<Counts> {
        let last = match self.submissions.config.structure {
            Structure::Reduce => self.reduce()?,
            Structure::Diamond => self.diamond()?,
            Structure::Sequential => self.sequential()?,
            _ => self.bag()?,
        };
        self.submissions.finish()?;
        self.submissions.check(&last.bytes()?)?;
        Ok(self.submissions.counts)
    }

    fn sequential(&mut self) -> Result<Future<Bytes>> {
        let mut last = self.submit_leaf(self.submissions.length())?;
        for _ in 1..self.count {
            last = self.submit(self.submissions.length(), &[&last])?;
        }
        Ok(last)
    }

    fn reduce(&mut self) -> Result<Future<Bytes>> {
        let leaves = (0..self.count)
            .map(|_| self.submit_leaf(self.submissions.length()))
            .collect::<Result<Vec<_>>>()?;
        let length = self.submissions.length();
        self.submit(length, &leaves.iter().collect::<Vec<_>>())
    }

    fn diamond(&mut self) -> Result<Future<Bytes>> {
        let mean = self.submissions.config.task_sleep;
        let first = self.submit_leaf(mean)?;
        let middle = (0..self.count)
            .map(|_| self.submit(self.submissions.length(), &[&first]))
            .collect::<Result<Vec<_>>>()?;
        self.submit(mean, &middle.iter().collect::<Vec<_>>())
    }

    /// Keeps `bag_max_running` tasks outstanding: one more for each that completes.
    fn bag(&mut self) -> Result<Future<Bytes>> {
        let count = self.count;
        let running = self.submissions.config.bag_max_running;
        let running = running.unwrap_or(count).min(count);
        for _ in 0..running {
            self.submit_leaf(self.submissions.length())?;
        }
        let mut last = None;
        let mut submitted = running;
        while let Some(completed) = self.submissions.take_completed()? {
            last = Some(completed);
            if submitted < count {
                self.submit_leaf(self.submissions.length())?;
                submitted += 1;
            }
            let completed = self.submissions.counts.completed;
            if completed.is_multiple_of(u64::from(running)) {
                self.log_progress();
            }
        }
        last.ok_or_else(|| taps::Error::app("Unfinished", "the run ends before its tasks"))
    }

    fn log_progress(&self) {
        let done = self.submissions.counts.completed;
        let count = self.count;
        let outstanding = self.submissions.completions.len();
        taps::debug!("Completed {done}/{count} tasks, {outstanding} outstanding");
    }

    fn work(&mut self, seconds: f64) -> Work {
        let load = self.submissions.load(seconds, self.submitted);
        self.submitted += 1;
        let config = self.submissions.config;
        Work {
            load,
            output_bytes: config.task_data_bytes,
            verify: config.verify,
            plain: self.submissions.plain(),
            read: config.read_inputs,
        }
    }

    /// Submits a task with data of its own.
    fn submit_leaf(&mut self, seconds: f64) -> Result<Future<Bytes>> {
        let config = self.submissions.config;
        let size = config.task_data_bytes;
        let work = self.work(seconds);
        if size == 0 && work.load.is_nothing() {
            let call = noop::call(std::iter::empty::<Argument>());
            return self.submissions.submit(call, 0);
        }
        let mut arguments = vec![Argument::value(work)?];
        if size > 0 {
            let mut data = vec![0; size as usize];
            let seed = self.submissions.engine.rng().random();
            content::make(&mut data, seed, config.verify, work.plain);
            arguments.push(Argument::Inline(data));
        }
        let verified = if config.verify {
            arguments.len() - 1
        } else {
            0
        };
        self.submissions.submit(noop::call(arguments), verified)
    }

    /// Submits a task that takes the outputs of others.
    fn submit(&mut self, seconds: f64, parents: &[&Future<Bytes>]) -> Result<Future<Bytes>> {
        let work = self.work(seconds);
        let mut arguments = vec![Argument::value(work)?];
        arguments.extend(parents.iter().map(|parent| parent.as_argument()));
        let verified = if work.verify && work.output_bytes > 0 {
            parents.len()
        } else {
            0
        };
        self.submissions.submit(noop::call(arguments), verified)
    }
}
