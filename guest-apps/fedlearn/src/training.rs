//! Learning from a shard, testing, and the average of what was learnt.

use taps::{Array, Error, Result};

use crate::network::{Architecture, Batch, Network};

/// Samples that are tested at once.
const TEST_BATCH: usize = 64;

/// How a client learns.
#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Training {
    /// The network.
    pub(crate) architecture: Architecture,
    /// The round, from 0.
    pub(crate) round: u32,
    /// The client.
    pub(crate) client: u32,
    /// Times that each sample is used.
    pub(crate) epochs: u32,
    /// Samples per step.
    pub(crate) batch_size: u32,
    /// Length of a step.
    pub(crate) learning_rate: f32,
}

/// What a client saw while it learnt.
#[taps::value]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct History {
    /// The client.
    pub(crate) client: u32,
    /// Its samples.
    pub(crate) samples: u64,
    /// Steps in an epoch.
    pub(crate) batches: u64,
    /// Mean loss of each epoch; it ends with the first that is not finite.
    pub(crate) losses: Vec<f64>,
}

/// What a test gave.
#[taps::value]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Evaluation {
    /// Samples.
    pub(crate) samples: u64,
    /// Those whose class was found.
    pub(crate) correct: u64,
    /// Mean loss.
    pub(crate) loss: f64,
}

impl Evaluation {
    /// Share of the samples whose class was found.
    pub(crate) fn accuracy(&self) -> f64 {
        self.correct as f64 / self.samples as f64
    }
}

/// Samples of an array of them, as batches of at most `size`.
fn batches(samples: &Array<u8>, size: usize) -> impl Iterator<Item = Batch<'_>> {
    let width = samples.columns();
    samples
        .as_slice()
        .chunks(size * width)
        .map(|samples| Batch { samples })
}

/// Refuses weights and samples that are not of this network.
fn check(
    architecture: &Architecture,
    network: &Network,
    weights: &Array<f32>,
    samples: &Array<u8>,
) -> Result<()> {
    let (parameters, width) = (network.parameters(), 1 + architecture.pixels());
    if weights.len() != parameters || samples.columns() != width {
        return Err(Error::app(
            "ShapeError",
            format!(
                "{} weights and samples of {} bytes: the network has {parameters} weights and takes samples of {width}",
                weights.len(),
                samples.columns()
            ),
        ));
    }
    Ok(())
}

/// Stochastic gradient descent, in the order of the samples.
pub(crate) fn train(
    training: &Training,
    weights: &Array<f32>,
    shard: &Array<u8>,
) -> Result<(Array<f32>, History)> {
    let mut network = Network::new(&training.architecture);
    check(&training.architecture, &network, weights, shard)?;
    // Where the host publishes it without a copy.
    let mut learnt = Array::zeros(weights.shape());
    learnt.as_mut_slice().copy_from_slice(weights.as_slice());
    let samples = shard.rows();
    let size = (training.batch_size as usize).min(samples);
    let mut history = History {
        client: training.client,
        samples: samples as u64,
        batches: samples.div_ceil(size) as u64,
        losses: Vec::new(),
    };
    for _ in 0..training.epochs {
        let mut sum = 0.0;
        for batch in batches(shard, size) {
            let loss = network.step(learnt.as_mut_slice(), batch, training.learning_rate)?;
            sum += loss.sum;
            if !sum.is_finite() {
                break;
            }
        }
        history.losses.push(sum / samples as f64);
        if !sum.is_finite() {
            break;
        }
    }
    Ok((learnt, history))
}

/// Tests weights on samples that nobody learnt from.
pub(crate) fn test(
    architecture: &Architecture,
    weights: &Array<f32>,
    samples: &Array<u8>,
) -> Result<Evaluation> {
    let mut network = Network::new(architecture);
    check(architecture, &network, weights, samples)?;
    let (mut sum, mut correct) = (0.0, 0);
    for batch in batches(samples, TEST_BATCH) {
        let loss = network.evaluate(weights.as_slice(), batch)?;
        sum += loss.sum;
        correct += loss.correct;
    }
    Ok(Evaluation {
        samples: samples.rows() as u64,
        correct,
        loss: sum / samples.rows() as f64,
    })
}
