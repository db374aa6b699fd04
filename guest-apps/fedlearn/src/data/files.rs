//! Which files of a directory hold a data set.

use std::path::Path;

use taps::{Error, InputDir, Result};

use super::Dataset;

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// To learn from.
    Train,
    /// To test with.
    Test,
}

/// Folders in which a data set may lie, the more telling first: MNIST and Fashion-MNIST have the
/// same file names.
fn folders(dataset: Dataset) -> &'static [&'static str] {
    match dataset {
        Dataset::Mnist => &["mnist/", "MNIST/raw/", ""],
        Dataset::Fmnist => &["fmnist/", "FashionMNIST/raw/", ""],
        Dataset::Cifar10 => &["cifar10/", "cifar-10-batches-bin/", ""],
        Dataset::Cifar100 => &["cifar100/", "cifar-100-binary/", ""],
        Dataset::Generated => &[],
    }
}

/// Names of the files of a part; any of the lists will do.
fn names(dataset: Dataset, part: Part) -> &'static [&'static [&'static str]] {
    match (dataset, part) {
        (Dataset::Mnist | Dataset::Fmnist, Part::Train) => {
            &[&["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]]
        }
        (Dataset::Mnist | Dataset::Fmnist, Part::Test) => {
            &[&["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]]
        }
        (Dataset::Cifar10, Part::Train) => &[
            &[
                "data_batch_1.bin",
                "data_batch_2.bin",
                "data_batch_3.bin",
                "data_batch_4.bin",
                "data_batch_5.bin",
            ],
            &["cifar10_train.bin"],
        ],
        (Dataset::Cifar10, Part::Test) => &[&["test_batch.bin"], &["cifar10_test.bin"]],
        (Dataset::Cifar100, Part::Train) => &[&["train.bin"], &["cifar100_train.bin"]],
        (Dataset::Cifar100, Part::Test) => &[&["test.bin"], &["cifar100_test.bin"]],
        (Dataset::Generated, _) => &[],
    }
}

/// Names, within the directory, of the files that hold a part of a data set, each plain or gzip.
pub(crate) fn locate(directory: &InputDir, dataset: Dataset, part: Part) -> Result<Vec<String>> {
    let mut wanted = Vec::new();
    for folder in folders(dataset) {
        for names in names(dataset, part) {
            let found: Vec<Result<String, String>> = names
                .iter()
                .map(|name| find(directory, &format!("{folder}{name}")))
                .collect();
            if found.iter().all(Result::is_err) {
                wanted.push(names.join(" and "));
                continue;
            }
            // Some are there: then the others are missing, and no other folder is looked into.
            let whole = found.into_iter().collect::<Result<Vec<String>, String>>();
            return whole.map_err(|missing| missing_error(directory, &missing));
        }
    }
    wanted.sort();
    wanted.dedup();
    Err(missing_error(directory, &wanted.join(", or ")))
}

/// The name of a file, plain or gzip; an error is the name that is missing.
fn find(directory: &InputDir, name: &str) -> Result<String, String> {
    [name.to_owned(), format!("{name}.gz")]
        .into_iter()
        .find(|name| Path::new(&directory.join(name)).is_file())
        .ok_or_else(|| name.to_owned())
}

fn missing_error(directory: &InputDir, missing: &str) -> Error {
    let expected = format!("a directory with {missing}, plain or with .gz");
    Error::config("data_dir", directory, expected)
}
