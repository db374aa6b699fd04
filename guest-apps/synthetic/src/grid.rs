//! Runs a dependence pattern: step by step, each task with the outputs of its parents as arguments.

use taps::{Bytes, Engine, Error, Future, Result};

use crate::config::Synthetic;
use crate::digest;
use crate::header::{Header, LENGTH};
use crate::patterns::Pattern;
use crate::submissions::{Counts, Submissions};
use crate::tasks::{Point, point};

/// A pattern under way.
pub(crate) struct Grid<'a> {
    submissions: Submissions<'a>,
    pattern: Pattern,
    /// Most tasks outstanding.
    most: u64,
    /// First column of the step before, and the outputs of its tasks.
    first: u32,
    before: Vec<Future<Bytes>>,
}

impl<'a> Grid<'a> {
    pub(crate) fn new(config: &'a Synthetic, pattern: Pattern, engine: &'a Engine) -> Self {
        Self {
            submissions: Submissions::new(config, engine),
            pattern,
            most: config.most_outstanding(),
            first: 0,
            before: Vec::new(),
        }
    }

    /// Runs all steps, and gives the counts and the digest of the last step's outputs.
    pub(crate) fn run(mut self) -> Result<(Counts, u64)> {
        let mut parents = Vec::new();
        for step in 0..self.pattern.steps {
            let columns = self.pattern.columns(step);
            let mut row = Vec::with_capacity(columns.len());
            for column in columns.clone() {
                self.pattern.parents(step, column, &mut parents);
                self.submissions.wait_for_room(self.most)?;
                row.push(self.submit(step, column, &parents)?);
            }
            // Those of two steps ago are of no more use: who takes them holds them.
            self.before = row;
            self.first = columns.start;
        }
        self.submissions.finish()?;
        let digest = self.result()?;
        Ok((self.submissions.counts, digest))
    }

    fn submit(&mut self, step: u32, column: u32, parents: &[u32]) -> Result<Future<Bytes>> {
        let seconds = self.submissions.length();
        let task = u64::from(step) << 32 | u64::from(column);
        let load = self.submissions.load(seconds, task);
        let config = self.submissions.config;
        let point = Point {
            pattern: self.pattern,
            step,
            column,
            load,
            output_bytes: config.task_data_bytes.max(LENGTH as u32),
            verify: config.verify,
            plain: self.submissions.plain(),
            read: config.read_inputs,
        };
        let inputs = parents
            .iter()
            .map(|at| &self.before[(at - self.first) as usize]);
        let call = point::call(point, inputs);
        self.submissions.submit(call, parents.len())
    }

    /// The digest of the last step, read from its outputs.
    fn result(&self) -> Result<u64> {
        let mut digests = Vec::with_capacity(self.before.len());
        for (column, future) in (self.first..).zip(&self.before) {
            let output = future.bytes()?;
            let header = Header::read(&output)?;
            let step = self.pattern.steps - 1;
            if (header.row, header.column) != (step, column) {
                let message = format!(
                    "the output of step {step}, column {column} is one of step {}, column {}",
                    header.row, header.column
                );
                return Err(Error::app("WrongInput", message));
            }
            self.submissions.check(&output[LENGTH..])?;
            digests.push(header.digest);
        }
        Ok(digest::of(digests))
    }
}
