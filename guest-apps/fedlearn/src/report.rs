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
    let losses = first
        .and_then(Round::first_loss)
        .zip(last.and_then(Round::train_loss));
    if let Some((first, last)) = losses {
        // Epochs over other clients' samples say nothing of each other.
        let comparable = config.rounds == 1 || config.participants() == config.clients as usize;
        if comparable && config.rounds * config.epochs > 1 {
            report = report.check("train-loss", last, Bound::AtMost(first));
        }
        report = report.value("train-loss", last);
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
