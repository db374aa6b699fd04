//! What is held against what.

use taps::{Bound, ConfigEnum as _, Report};

use crate::FedLearn;
use crate::data::Dataset;
use crate::network::Network;
use crate::rounds::Round;

/// Accuracy that generated digits allow after enough training.
const GENERATED_ACCURACY: f64 = 0.8;
/// Enough training of the small network on generated digits: steps of a client times their length.
const ENOUGH: f64 = 10.0;

/// What a loss may be above that of guessing.
const WORST: f64 = 1.25;

/// Reports the rounds; `dealt` are the samples of all clients.
pub(crate) fn report(config: &FedLearn, samples: u64, dealt: u64, rounds: &[Round]) -> Report {
    let architecture = config.architecture();
    let parameters = Network::new(&architecture).parameters() as u64;
    let averaged = rounds.iter().map(|round| round.averaged.parameters);
    let finite = rounds.iter().all(Round::is_finite);
    let mut report = Report::new()
        .check("samples", dealt, Bound::Equals(samples.into()))
        .check(
            "parameters",
            averaged.min().unwrap_or(0),
            Bound::Equals(parameters.into()),
        )
        .check("finite", finite, Bound::Equals(true.into()));
    let (first, last) = (rounds.first(), rounds.last());
    if let Some(loss) = last.and_then(Round::train_loss) {
        let bound = largest_loss(config, first.and_then(Round::first_loss));
        report = report
            .check("train-loss", loss, Bound::AtMost(bound))
            .value("train-loss", loss);
    }
    if let Some(test) = last.and_then(|round| round.test) {
        if let Some(least) = least_accuracy(config, samples) {
            report = report.check("test-accuracy", test.accuracy(), Bound::AtLeast(least));
        }
        report = report
            .value("test-accuracy", test.accuracy())
            .value("test-loss", test.loss)
            .value("test-samples", test.samples);
    }
    report
        .value("dataset", config.dataset().word())
        .value("model", architecture.model.word())
        .value("device", config.device.word())
        .value("rounds", rounds.len() as u64)
        .value("clients", config.clients)
        .value("samples", samples)
        .value("parameters", parameters)
        .value(
            "weights-norm",
            last.map_or(f64::NAN, |round| round.averaged.norm),
        )
}

/// The largest loss in the last epoch of a run that did not diverge: that of guessing, with room for
/// chance, and that of the first epoch. A loss can grow beyond measure and stay finite.
fn largest_loss(config: &FedLearn, first: Option<f64>) -> f64 {
    let guessing = WORST * libm::log(f64::from(config.dataset().classes()));
    // Epochs over other clients' samples say nothing of each other.
    let comparable = config.participants() == config.clients as usize;
    // A bound must be a number; `finite` speaks of a first loss that is none.
    let first = first.filter(|loss| loss.is_finite() && comparable);
    first.map_or(guessing, |first| first.min(guessing))
}

/// The accuracy that is asked for: none where nobody can know what to expect.
fn least_accuracy(config: &FedLearn, samples: u64) -> Option<f64> {
    if config.min_accuracy.is_some() {
        return config.min_accuracy;
    }
    let shard = samples as f64 / f64::from(config.clients);
    let batches = (shard / f64::from(config.batch_size)).max(1.0);
    let steps = f64::from(config.rounds) * f64::from(config.epochs) * batches;
    let enough = steps * config.lr >= ENOUGH && config.lr <= 0.5 && samples >= 1000;
    (config.dataset() == Dataset::Generated && config.train && enough).then_some(GENERATED_ACCURACY)
}
