//! The fedlearn app: federated learning by federated averaging.
//!
//! ```text
//! load_data ──► make_shard (one per client) ──► local_train … (see `rounds`)
//! ```
//!
//! Parameters and networks are those of TaPS. Unlike there, what a client learns is the result of
//! its task, so that every executor learns the same; a client's task gets its own samples only; and
//! averages are weighted and made in tasks.
//!
//! Equal seeds give equal results: every random choice follows from the seed and what it is for, and
//! averages are taken in the order of the clients.

mod data;
mod digits;
mod layers;
mod network;
mod outputs;
mod plan;
mod random;
mod report;
mod rounds;
mod tasks;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
mod training;

use taps::{Array, Engine, Error, Future, InputDir, OutputDir, Report, Result};

use data::{Dataset, Part};
use network::{Architecture, Model};
use rounds::{Client, Federation};
use tasks::{Size, generate_data, initial_weights, load_data, make_shard};
use training::Training;

/// Digits to learn from, where none are given.
const GENERATED_SAMPLES: u32 = 4000;
/// Digits to test with, where none are given.
const GENERATED_TEST_SAMPLES: u32 = 1000;

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, taps::ConfigEnum)]
enum Device {
    /// The processor.
    Cpu,
}

/// Federated learning of a classifier of images.
#[derive(Debug, taps::Config)]
#[taps(check = FedLearn::check)]
struct FedLearn {
    /// Data set; none for mnist with `data_dir`, generated without.
    dataset: Option<Dataset>,
    /// Directory with the files of the data set.
    data_dir: Option<InputDir>,
    /// Clients.
    #[taps(default = 8, min = 1, max = 100_000)]
    clients: u32,
    /// Rounds of training and averaging.
    #[taps(default = 3, min = 1, max = 100_000)]
    rounds: u32,
    /// Share of the clients that take part in a round.
    #[taps(default = 1.0)]
    participation: f64,
    /// Evenness of the clients' numbers of samples (Dirichlet): large is even.
    #[taps(default = 100_000.0)]
    alpha: f64,
    /// Times that a client uses each of its samples in a round.
    #[taps(default = 3, min = 1, max = 100_000)]
    epochs: u32,
    /// Samples per step of gradient descent.
    #[taps(default = 32, min = 1, max = 65_536)]
    batch_size: u32,
    /// Length of a step: the learning rate.
    #[taps(default = 0.1)]
    lr: f64,
    /// Network; none for taps with `data_dir`, mlp without.
    model: Option<Model>,
    /// Train; otherwise tasks give the weights back as they are.
    #[taps(default = true)]
    train: bool,
    /// Test after each round.
    #[taps(default = true)]
    test: bool,
    /// Most samples to learn from; none for all of the files, or 4000 generated.
    #[taps(min = 1, max = 1_000_000)]
    samples: Option<u32>,
    /// Most samples to test with; none for all of the files, or 1000 generated.
    #[taps(min = 1, max = 1_000_000)]
    test_samples: Option<u32>,
    /// Lowest test accuracy after the last round that passes the check; none for 0.8 of enough
    /// training on generated digits.
    #[taps(min = 0.0, max = 1.0)]
    min_accuracy: Option<f64>,
    /// What computes.
    #[taps(default = "cpu")]
    device: Device,
    /// Seed of all random choices; none for that of the run.
    seed: Option<u64>,
    /// Directory for tables and the plot.
    #[taps(default = "{run_dir}/data")]
    output_dir: OutputDir,
}

impl FedLearn {
    fn check(&self) -> Result<()> {
        let above = |field, value: f64, most: f64, expected| {
            // NaN is refused too.
            if value > 0.0 && value <= most {
                Ok(())
            } else {
                Err(Error::config(field, value, expected))
            }
        };
        above(
            "participation",
            self.participation,
            1.0,
            "a number above 0, up to 1",
        )?;
        above("alpha", self.alpha, 1e12, "a number above 0, up to 1e12")?;
        above("lr", self.lr, 1e6, "a number above 0, up to 1e6")?;
        match (self.dataset(), &self.data_dir) {
            (Dataset::Generated, Some(directory)) => {
                let expected = "none, because dataset = generated";
                Err(Error::config("data_dir", directory, expected))
            }
            (Dataset::Generated, None) => self.check_clients(self.samples().into()),
            (_, None) => Err(Error::config(
                "data_dir",
                "none",
                "the directory with the files of the data set, unless dataset = generated",
            )),
            (_, Some(_)) => Ok(()),
        }
    }

    /// Each client needs a sample.
    fn check_clients(&self, samples: u64) -> Result<()> {
        if u64::from(self.clients) > samples {
            let expected = format!("at most the number of samples, {samples}");
            Err(Error::config("clients", self.clients, expected))
        } else {
            Ok(())
        }
    }

    fn dataset(&self) -> Dataset {
        let default = match self.data_dir {
            Some(_) => Dataset::Mnist,
            None => Dataset::Generated,
        };
        self.dataset.unwrap_or(default)
    }

    /// Samples to generate.
    fn samples(&self) -> u32 {
        self.samples.unwrap_or(GENERATED_SAMPLES)
    }

    fn architecture(&self) -> Architecture {
        let dataset = self.dataset();
        let default = match dataset {
            Dataset::Generated => Model::Mlp,
            _ => Model::Taps,
        };
        Architecture {
            model: self.model.unwrap_or(default),
            channels: dataset.channels(),
            side: dataset.side(),
            classes: dataset.classes(),
        }
    }

    fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(taps::seed)
    }

    fn participants(&self) -> usize {
        plan::participants(self.clients as usize, self.participation)
    }
}

#[taps::app(name = "fedlearn")]
fn run(config: FedLearn, engine: &Engine) -> Result<Report> {
    // Refused here, not after the training.
    let files = Files::locate(&config)?;
    outputs::write(&config.output_dir, outputs::ROUNDS, b"")?;
    engine.phase("data");
    let (data, size) = submit_data(&config, engine, Part::Train, files.train)?;
    let test = if config.test {
        Some(submit_data(&config, engine, Part::Test, files.test)?)
    } else {
        None
    };
    let samples = size.result()?.samples;
    config.check_clients(samples)?;
    let architecture = config.architecture();
    let federation = Federation {
        engine,
        clients: deal(&config, engine, &data, samples)?,
        test: test.map(|(samples, _)| samples),
        training: Training {
            architecture,
            round: 0,
            client: 0,
            epochs: config.epochs,
            batch_size: config.batch_size,
            learning_rate: config.lr as f32,
        },
        seed: config.seed(),
        rounds: config.rounds,
        participants: config.participants(),
        train: config.train,
    };
    drop(data);
    let weights = engine.submit(initial_weights::call(architecture, config.seed()))?;
    weights.finish()?;
    engine.phase("rounds");
    let rounds = federation.run(weights)?;
    engine.phase("output");
    let directory = &config.output_dir;
    outputs::write(
        directory,
        outputs::ROUNDS,
        outputs::rounds_table(&rounds)?.as_bytes(),
    )?;
    outputs::write(
        directory,
        outputs::TRAINING,
        outputs::training_table(&rounds)?.as_bytes(),
    )?;
    outputs::write(directory, outputs::PLOT, &outputs::plot(&rounds)?)?;
    let dealt = federation.clients.iter().map(|client| client.samples).sum();
    Ok(report::report(&config, samples, dealt, &rounds))
}

/// Names of the files, where there are any.
#[derive(Default)]
struct Files {
    train: Vec<String>,
    test: Vec<String>,
}

impl Files {
    fn locate(config: &FedLearn) -> Result<Self> {
        let Some(directory) = &config.data_dir else {
            return Ok(Self::default());
        };
        let dataset = config.dataset();
        let test = if config.test {
            data::locate(directory, dataset, Part::Test)?
        } else {
            Vec::new()
        };
        Ok(Self {
            train: data::locate(directory, dataset, Part::Train)?,
            test,
        })
    }
}

/// Submits the task that reads or draws a part of the data.
fn submit_data(
    config: &FedLearn,
    engine: &Engine,
    part: Part,
    names: Vec<String>,
) -> Result<(Future<Array<u8>>, Future<Size>)> {
    let (most, generated) = match part {
        Part::Train => (config.samples, config.samples()),
        Part::Test => {
            let samples = config.test_samples.unwrap_or(GENERATED_TEST_SAMPLES);
            (config.test_samples, samples)
        }
    };
    let Some(directory) = &config.data_dir else {
        let testing = part == Part::Test;
        return engine.submit(generate_data::call(config.seed(), generated, testing));
    };
    let files = names
        .iter()
        .map(|name| engine.input_file(directory.join(name)))
        .collect::<Result<Vec<_>>>()?;
    engine.submit(load_data::call(config.dataset(), most, names, files))
}

/// Submits the tasks that deal the samples, and waits for them: they are no part of the training.
fn deal(
    config: &FedLearn,
    engine: &Engine,
    data: &Future<Array<u8>>,
    samples: u64,
) -> Result<Vec<Client>> {
    let seed = config.seed();
    let ranges = plan::shards(
        seed,
        config.alpha,
        samples as usize,
        config.clients as usize,
    );
    let shards = ranges
        .into_iter()
        .map(|range| {
            let (start, end) = (range.start as u64, range.end as u64);
            engine.submit(make_shard::call(data, seed, start, end))
        })
        .collect::<Result<Vec<_>>>()?;
    let client = |(shard, size): (Future<Array<u8>>, Future<Size>)| {
        let samples = size.result()?.samples;
        Ok(Client { shard, samples })
    };
    shards.into_iter().map(client).collect()
}
