//! The rounds, as the driver runs them.
//!
//! ```text
//!            ┌─► local_train (client 0) ─┐
//! weights ───┼─► local_train (client 1) ─┼─► aggregate ──► weights of the next round
//!            └─► local_train (client 2) ─┘        └──────► test_model
//! ```
//!
//! Futures are the only order: a round's training does not wait for the test of the one before. The
//! driver sees losses and counts, never weights.

use taps::{Array, Engine, Future, Result};

use crate::plan;
use crate::tasks::{Averaged, aggregate, local_train, no_local_train, test_model};
use crate::training::{Evaluation, History, Training};

/// A client: its samples, and how many they are.
pub(crate) struct Client {
    pub(crate) shard: Future<Array<u8>>,
    pub(crate) samples: u64,
}

/// What stays the same in all rounds.
pub(crate) struct Federation<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) clients: Vec<Client>,
    /// Samples to test with; none where no test is wanted.
    pub(crate) test: Option<Future<Array<u8>>>,
    /// Settings of the first client in the first round.
    pub(crate) training: Training,
    pub(crate) seed: u64,
    pub(crate) rounds: u32,
    /// Clients in a round.
    pub(crate) participants: usize,
    /// Whether clients learn.
    pub(crate) train: bool,
}

/// A round that was submitted.
struct Pending {
    histories: Vec<Future<History>>,
    averaged: Future<Averaged>,
    test: Option<Future<Evaluation>>,
}

/// What came of a round.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    /// Of each client that took part.
    pub(crate) histories: Vec<History>,
    pub(crate) averaged: Averaged,
    pub(crate) test: Option<Evaluation>,
}

impl Round {
    /// Samples of the clients that took part.
    pub(crate) fn samples(&self) -> u64 {
        self.histories.iter().map(|history| history.samples).sum()
    }

    /// Mean loss of all samples in the last epoch; none if nobody learnt.
    pub(crate) fn train_loss(&self) -> Option<f64> {
        self.mean_loss(<[f64]>::last)
    }

    /// Mean loss of all samples in the first epoch.
    pub(crate) fn first_loss(&self) -> Option<f64> {
        self.mean_loss(<[f64]>::first)
    }

    fn mean_loss(&self, of: impl Fn(&[f64]) -> Option<&f64>) -> Option<f64> {
        let sums: Option<Vec<f64>> = self
            .histories
            .iter()
            .map(|history| Some(of(&history.losses)? * history.samples as f64))
            .collect();
        Some(sums?.iter().sum::<f64>() / self.samples() as f64)
    }

    /// Whether all that was measured, and the weights, are finite.
    pub(crate) fn is_finite(&self) -> bool {
        let losses = self.histories.iter().flat_map(|history| &history.losses);
        let test = self.test.is_none_or(|test| test.loss.is_finite());
        test && self.averaged.norm.is_finite() && losses.into_iter().all(|loss| loss.is_finite())
    }
}

impl Federation<'_> {
    /// Runs all rounds from these weights. One round is submitted ahead, so that workers do not
    /// wait for the driver.
    pub(crate) fn run(&self, mut weights: Future<Array<f32>>) -> Result<Vec<Round>> {
        let mut rounds = Vec::new();
        let mut before = None;
        for round in 0..self.rounds {
            let pending = self.submit(round, &mut weights)?;
            if let Some(before) = before.replace(pending) {
                rounds.push(self.collect(before, rounds.len())?);
            }
        }
        if let Some(last) = before {
            rounds.push(self.collect(last, rounds.len())?);
        }
        Ok(rounds)
    }

    /// Submits a round; the weights become those after it.
    fn submit(&self, round: u32, weights: &mut Future<Array<f32>>) -> Result<Pending> {
        let chosen = plan::chosen(self.seed, round, self.clients.len(), self.participants);
        let mut learnt = Vec::with_capacity(chosen.len());
        let mut histories = Vec::with_capacity(chosen.len());
        for client in &chosen {
            let training = Training {
                round,
                client: *client as u32,
                ..self.training
            };
            let shard = &self.clients[*client].shard;
            let (own, history) = if self.train {
                self.engine
                    .submit(local_train::call(training, &*weights, shard))?
            } else {
                self.engine
                    .submit(no_local_train::call(training, &*weights, shard))?
            };
            learnt.push(own);
            histories.push(history);
        }
        let samples: Vec<u64> = chosen
            .iter()
            .map(|client| self.clients[*client].samples)
            .collect();
        let (average, averaged) = self.engine.submit(aggregate::call(samples, &learnt))?;
        *weights = average;
        let test = self.test.as_ref().map(|samples| {
            let call = test_model::call(self.training.architecture, &*weights, samples);
            self.engine.submit(call)
        });
        Ok(Pending {
            histories,
            averaged,
            test: test.transpose()?,
        })
    }

    /// Waits for a round and logs it.
    fn collect(&self, pending: Pending, index: usize) -> Result<Round> {
        let histories = pending.histories.iter().map(Future::result);
        let round = Round {
            histories: histories.collect::<Result<_>>()?,
            averaged: pending.averaged.result()?,
            test: pending.test.map(|test| test.result()).transpose()?,
        };
        let of = format!("({}/{})", index + 1, self.rounds);
        let clients = round.histories.len();
        match round.train_loss() {
            Some(loss) => taps::info!("{of} Trained {clients} clients: train_loss={loss:.4}"),
            None => taps::info!("{of} Trained nothing with {clients} clients"),
        }
        if let Some(test) = round.test {
            let (loss, accuracy) = (test.loss, test.accuracy());
            taps::info!("{of} Finished testing with test_loss={loss:.4}, accuracy={accuracy:.4}");
        }
        if !round.is_finite() {
            taps::warn!("{of} The loss is no longer a finite number: lr is too large");
        }
        Ok(round)
    }
}
