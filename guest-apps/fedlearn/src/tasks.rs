//! The tasks.

use taps::{Array, Error, List, Payload, Result};

use crate::data::{self, Dataset};
use crate::digits;
use crate::network::{Architecture, Network};
use crate::plan;
use crate::random::Purpose;
use crate::training::{self, Evaluation, History, Training};

/// What is known of a set of samples once it is there.
#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Samples.
    pub(crate) samples: u64,
}

impl Size {
    fn of(samples: &Array<u8>) -> Self {
        Self {
            samples: samples.rows() as u64,
        }
    }
}

/// Reads at most so many samples from files: each a label and then the pixels.
#[taps::task(pure)]
pub(crate) fn load_data(
    dataset: Dataset,
    most: Option<u32>,
    names: Vec<String>,
    files: List<Payload>,
) -> Result<(Array<u8>, Size)> {
    let files: Vec<Payload> = files.into_payloads().collect();
    let samples = data::load(dataset, most, &names, &files)?;
    let size = Size::of(&samples);
    Ok((samples, size))
}

/// Draws digits to learn from.
#[taps::task(pure)]
pub(crate) fn generate_data(seed: u64, samples: u32, testing: bool) -> (Array<u8>, Size) {
    let purpose = if testing {
        Purpose::TestDigits
    } else {
        Purpose::TrainDigits
    };
    let samples = digits::samples(seed, purpose, samples as usize);
    let size = Size::of(&samples);
    (samples, size)
}

/// Deals a client its samples: those from `start` to `end` of the shuffled ones.
#[taps::task(pure)]
pub(crate) fn make_shard(
    data: &Array<u8>,
    seed: u64,
    start: u64,
    end: u64,
) -> Result<(Array<u8>, Size)> {
    let order = plan::shuffled(seed, data.rows());
    let range = start as usize..end as usize;
    let mine = order
        .get(range)
        .filter(|mine| !mine.is_empty())
        .ok_or_else(|| {
            let samples = data.rows();
            Error::app(
                "ShapeError",
                format!("samples {start} to {end} of {samples}"),
            )
        })?;
    let mut shard = Array::zeros(&[mine.len(), data.columns()]);
    for (row, sample) in mine.iter().enumerate() {
        shard
            .row_mut(row)
            .copy_from_slice(data.row(*sample as usize));
    }
    let size = Size::of(&shard);
    Ok((shard, size))
}

/// Makes the first weights.
#[taps::task(pure)]
pub(crate) fn initial_weights(architecture: Architecture, seed: u64) -> Array<f32> {
    Network::new(&architecture).initial(seed)
}

/// Learns from a client's samples, beginning with the weights of all.
#[taps::task(pure)]
pub(crate) fn local_train(
    training: Training,
    weights: &Array<f32>,
    shard: &Array<u8>,
) -> Result<(Array<f32>, History)> {
    training::train(&training, weights, shard)
}

/// What `local_train` is without the learning: it gives the weights back.
#[taps::task(pure)]
pub(crate) fn no_local_train(
    training: Training,
    weights: &Array<f32>,
    shard: &Array<u8>,
) -> (Array<f32>, History) {
    let mut copy = Array::zeros(weights.shape());
    copy.as_mut_slice().copy_from_slice(weights.as_slice());
    let history = History {
        client: training.client,
        samples: shard.rows() as u64,
        batches: 0,
        losses: Vec::new(),
    };
    (copy, history)
}

/// What was averaged.
#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Averaged {
    /// Weights of the network.
    pub(crate) parameters: u64,
    /// Clients.
    pub(crate) clients: u64,
    /// Euclidean norm of the average: NaN or infinite if a client's weights are.
    pub(crate) norm: f64,
}

/// Federated averaging: the clients' weights, each by its number of samples, in the order given.
#[taps::task(pure)]
pub(crate) fn aggregate(
    samples: Vec<u64>,
    weights: List<Array<f32>>,
) -> Result<(Array<f32>, Averaged)> {
    let total: u64 = samples.iter().sum();
    let mut average: Option<Array<f32>> = None;
    let mut clients = 0;
    for (weights, samples) in weights.zip(&samples) {
        let weights = weights?;
        let share = (*samples as f64 / total as f64) as f32;
        let sum = average.get_or_insert_with(|| Array::zeros(weights.shape()));
        if sum.shape() != weights.shape() {
            let shapes = format!("{:?} and {:?}", sum.shape(), weights.shape());
            return Err(Error::app(
                "ShapeError",
                format!("weights of shapes {shapes}"),
            ));
        }
        for (sum, weight) in sum.as_mut_slice().iter_mut().zip(weights.as_slice()) {
            *sum += share * weight;
        }
        clients += 1;
    }
    let average = average.ok_or_else(|| Error::app("ShapeError", "no weights to average"))?;
    let squares: f64 = average
        .as_slice()
        .iter()
        .map(|weight| f64::from(*weight).powi(2))
        .sum();
    let averaged = Averaged {
        parameters: average.len() as u64,
        clients,
        norm: squares.sqrt(),
    };
    Ok((average, averaged))
}

/// Tests weights.
#[taps::task(pure)]
pub(crate) fn test_model(
    architecture: Architecture,
    weights: &Array<f32>,
    samples: &Array<u8>,
) -> Result<Evaluation> {
    training::test(&architecture, weights, samples)
}
