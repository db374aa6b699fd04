//! Files that are whole, and files that are not.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use proptest::prelude::*;
use serde_json::json;
use taps::{Payload, testing};
use tempfile::TempDir;

use crate::APP;
use crate::data::{Dataset, load};

/// An idx file of images of 28 x 28, each filled with its number.
pub(super) fn images(count: usize) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 3];
    for number in [count as u32, 28, 28] {
        bytes.extend(number.to_be_bytes());
    }
    for image in 0..count {
        bytes.extend([image as u8; 784]);
    }
    bytes
}

/// An idx file of labels 0, 1, …, 9, 0, ….
pub(super) fn labels(count: usize) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 1];
    bytes.extend((count as u32).to_be_bytes());
    bytes.extend((0..count).map(|label| (label % 10) as u8));
    bytes
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// Loads files given as (name, bytes).
fn read(
    dataset: Dataset,
    most: Option<u32>,
    files: &[(&str, Vec<u8>)],
) -> taps::Result<Vec<Vec<u8>>> {
    let names: Vec<String> = files.iter().map(|(name, _)| (*name).to_owned()).collect();
    let payloads: Vec<Payload> = files
        .iter()
        .map(|(_, bytes)| bytes.clone().into())
        .collect();
    let samples = load(dataset, most, &names, &payloads)?;
    Ok((0..samples.rows())
        .map(|row| samples.row(row).to_vec())
        .collect())
}

#[track_caller]
fn refused(dataset: Dataset, files: &[(&str, Vec<u8>)], message: &str) {
    let error = read(dataset, None, files).unwrap_err().to_string();
    assert!(error.contains(message), "{error}");
}

#[test]
fn idx_files_are_read_plain_and_packed() {
    for files in [
        [("i", images(12)), ("l", labels(12))],
        [("i", packed(&images(12))), ("l", packed(&labels(12)))],
    ] {
        let samples = read(Dataset::Mnist, None, &files).unwrap();
        assert_eq!(samples.len(), 12);
        assert_eq!(samples[11][..2], [1, 11]);
        assert_eq!(samples[11].len(), 785);
        assert_eq!(read(Dataset::Mnist, Some(5), &files).unwrap(), samples[..5]);
    }
}

#[test]
fn cifar_files_are_read() {
    let record = |labels: &[u8], fill| [labels.to_vec(), vec![fill; 3072]].concat();
    let one = [record(&[3], 10), record(&[9], 11)].concat();
    let samples = read(
        Dataset::Cifar10,
        None,
        &[("a", one), ("b", record(&[0], 12))],
    )
    .unwrap();
    assert_eq!(samples.len(), 3);
    assert_eq!((samples[1][0], samples[1][3072]), (9, 11));
    assert_eq!((samples[2][0], samples[2][1]), (0, 12));
    let planes = [vec![2], vec![1; 1024], vec![2; 1024], vec![3; 1024]].concat();
    let colours = read(Dataset::Cifar10, None, &[("a", planes)]).unwrap();
    assert_eq!(colours[0], [vec![2], [1, 2, 3].repeat(1024)].concat());
    let fine = read(Dataset::Cifar100, None, &[("a", record(&[5, 99], 1))]).unwrap();
    assert_eq!((fine[0][0], fine[0][1], fine[0].len()), (99, 1, 3073));
}

#[test]
fn wrong_idx_files_are_refused() {
    let mnist = |images: Vec<u8>, labels: Vec<u8>, message| {
        refused(
            Dataset::Mnist,
            &[("images", images), ("labels", labels)],
            message,
        );
    };
    mnist(
        images(3)[..2000].to_vec(),
        labels(3),
        "images: truncated: 1984 bytes of images, but its header announces 3, which take 2352",
    );
    mnist(
        images(3),
        labels(3)[..9].to_vec(),
        "labels: truncated: 1 bytes of labels",
    );
    mnist([images(3), vec![0]].concat(), labels(3), "images: too long");
    mnist(
        images(3),
        labels(4),
        "labels: 4 labels for the 3 images of images",
    );
    mnist(
        labels(3),
        images(3),
        "images: holds labels (0x00000801); expected images (0x00000803)",
    );
    mnist(images(3), images(3), "labels: holds images");
    mnist(
        b"GIF89a, certainly".to_vec(),
        labels(3),
        "begins with 0x47494638, which is no idx file",
    );
    mnist(
        images(3)[..10].to_vec(),
        labels(3),
        "ends after 10 bytes, within its header",
    );
    mnist(Vec::new(), labels(3), "ends after 0 bytes");
    mnist(images(0), labels(0), "images: no images");
    let gz = packed(&images(3));
    mnist(gz[..gz.len() / 2].to_vec(), labels(3), "is the file whole?");
    let mut label = labels(3);
    label[9] = 10;
    mnist(
        images(3),
        label,
        "sample 1 has the label 10; expected 0 to 9",
    );
    let mut wide = images(1);
    wide[11] = 14;
    wide[15] = 56;
    mnist(
        wide,
        labels(1),
        "images of 14 x 56 pixels; expected 28 x 28",
    );
}

#[test]
fn wrong_cifar_files_are_refused() {
    let record = [vec![3], vec![7; 3072]].concat();
    refused(
        Dataset::Cifar10,
        &[("a", record[..3000].to_vec())],
        "a: 3000 bytes are no whole number of records of 3073",
    );
    refused(Dataset::Cifar10, &[("a", Vec::new())], "a: 0 bytes");
    refused(
        Dataset::Cifar100,
        &[("a", record.clone())],
        "of 3074; truncated, or another data set?",
    );
    let wrong = [vec![10], vec![7; 3072]].concat();
    refused(
        Dataset::Cifar10,
        &[("a", record), ("b", wrong)],
        "a, b: sample 1 has the label 10",
    );
}

proptest! {
    #[test]
    fn no_bytes_upset_the_parsers(
        mut first in proptest::collection::vec(any::<u8>(), 0..200),
        second in proptest::collection::vec(any::<u8>(), 0..200),
        begin in 0_usize..4,
    ) {
        let beginnings: [&[u8]; 4] = [&[], &[0, 0, 8, 3], &[0, 0, 8, 1], &[0x1f, 0x8b, 8]];
        first.splice(0..0, beginnings[begin].iter().copied());
        for dataset in [Dataset::Mnist, Dataset::Cifar10, Dataset::Cifar100] {
            let _ = read(dataset, None, &[("a", first.clone()), ("b", second.clone())]);
        }
    }
}

/// A directory with a small set of the format of MNIST.
pub(super) fn directory(count: usize) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), count);
    directory
}

fn fill(directory: &Path, count: usize) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("train-images-idx3-ubyte"), images(count)).unwrap();
    fs::write(
        directory.join("train-labels-idx1-ubyte.gz"),
        packed(&labels(count)),
    )
    .unwrap();
    fs::write(
        directory.join("t10k-images-idx3-ubyte.gz"),
        packed(&images(5)),
    )
    .unwrap();
    fs::write(directory.join("t10k-labels-idx1-ubyte"), labels(5)).unwrap();
}

/// Samples that a run over this directory learns from.
fn learnt(directory: &Path, dataset: &str) -> taps::Result<u64> {
    let outputs = tempfile::tempdir().unwrap();
    let config = json!({
        "data_dir": directory, "dataset": dataset, "model": "mlp", "rounds": 1, "epochs": 1,
        "clients": 2, "output_dir": outputs.path(),
    });
    let report = testing::run_app(&APP, &config)?;
    let samples = report
        .values
        .iter()
        .find(|(name, _)| name == "samples")
        .unwrap();
    Ok(samples.1.as_u64().unwrap())
}

#[test]
fn folders_of_a_data_set_come_before_the_directory_itself() {
    let directory = directory(20);
    fill(&directory.path().join("FashionMNIST/raw"), 30);
    assert_eq!(learnt(directory.path(), "mnist").unwrap(), 20);
    assert_eq!(learnt(directory.path(), "fmnist").unwrap(), 30);
}

#[test]
fn missing_files_are_named() {
    let directory = directory(20);
    let error = learnt(directory.path(), "cifar10").unwrap_err().to_string();
    assert!(error.contains("test_batch.bin"), "{error}");
    fs::remove_file(directory.path().join("train-labels-idx1-ubyte.gz")).unwrap();
    let error = learnt(directory.path(), "mnist").unwrap_err().to_string();
    assert!(
        error.contains("a directory with train-labels-idx1-ubyte, plain or with .gz"),
        "{error}"
    );
}
