//! What all graphs do alike: submit, count, wait, and draw the work of a task.

use std::f64::consts::TAU;

use taps::rand::RngExt as _;
use taps::{Bytes, Call, Completions, Engine, Future, Result, Status};

use crate::config::{Content, Kernel, Synthetic};
use crate::content;
use crate::kernels::{self, Load};

/// Counts of a finished graph.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Tasks that completed.
    pub(crate) completed: u64,
    /// Inputs whose content a task checked.
    pub(crate) verified: u64,
    /// Most tasks that were outstanding at once.
    pub(crate) most_outstanding: u64,
    /// Iterations of the compute kernel in all tasks.
    pub(crate) iterations: u64,
}

/// The tasks of a graph that are under way.
pub(crate) struct Submissions<'a> {
    pub(crate) config: &'a Synthetic,
    pub(crate) engine: &'a Engine,
    pub(crate) completions: Completions<Bytes>,
    pub(crate) counts: Counts,
}

impl<'a> Submissions<'a> {
    pub(crate) fn new(config: &'a Synthetic, engine: &'a Engine) -> Self {
        Self {
            config,
            engine,
            completions: Completions::new(),
            counts: Counts::default(),
        }
    }

    /// Submits a call; `verified` of its inputs are checked by the task.
    pub(crate) fn submit(&mut self, call: Call<Bytes>, verified: usize) -> Result<Future<Bytes>> {
        let future = self.engine.submit(call)?;
        self.completions.add(future.clone());
        self.counts.verified += verified as u64;
        let outstanding = self.completions.len() as u64;
        self.counts.most_outstanding = self.counts.most_outstanding.max(outstanding);
        Ok(future)
    }

    /// Waits for the next task to complete; its failure is ours.
    pub(crate) fn take_completed(&mut self) -> Result<Option<Future<Bytes>>> {
        let Some((future, status)) = self.completions.next_within(None) else {
            return Ok(None);
        };
        if status != Status::Succeeded {
            future.finish()?;
        }
        self.counts.completed += 1;
        Ok(Some(future))
    }

    /// Waits until fewer than so many tasks are outstanding.
    pub(crate) fn wait_for_room(&mut self, most: u64) -> Result<()> {
        while self.completions.len() as u64 >= most {
            self.take_completed()?;
        }
        Ok(())
    }

    /// Waits for all tasks.
    pub(crate) fn finish(&mut self) -> Result<()> {
        while self.take_completed()?.is_some() {}
        Ok(())
    }

    /// Length of a task in seconds, drawn from the distribution asked for and not below zero.
    pub(crate) fn length(&self) -> f64 {
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

    /// The work of a task that lasts so many seconds if it sleeps; `task` tells it from others.
    pub(crate) fn load(&mut self, seconds: f64, task: u64) -> Load {
        let mut load = Load::default();
        let iterations = self.config.kernel_iterations.unwrap_or(1);
        match self.config.kernel {
            Kernel::Empty => {}
            Kernel::Sleep => load.least_ns = (seconds * 1e9) as u64,
            Kernel::Compute => load.iterations = iterations,
            Kernel::Imbalanced => {
                let imbalance = self.config.imbalance();
                load.iterations = kernels::imbalanced(iterations, imbalance, taps::seed(), task);
            }
            Kernel::Memory => {
                load.passes = iterations;
                load.buffer_bytes = self.config.kernel_bytes.unwrap_or(0);
            }
        }
        self.counts.iterations += load.iterations;
        load
    }

    /// Checks the content of a result.
    pub(crate) fn check(&self, result: &[u8]) -> Result<()> {
        if self.config.verify && !content::is_intact(result) {
            let message = format!("a result of {} bytes is damaged", result.len());
            return Err(taps::Error::app("ContentMismatch", message));
        }
        Ok(())
    }

    /// Whether payloads are made of words that count up.
    pub(crate) fn plain(&self) -> bool {
        self.config.content == Content::Plain
    }
}
