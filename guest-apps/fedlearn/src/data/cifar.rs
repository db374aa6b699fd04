//! The binary format of CIFAR: records of labels and 3 x 32 x 32 pixels, red, green, blue.
//!
//! CIFAR-10 has a label; CIFAR-100 has that of the superclass and then that of the class.

use taps::{Array, Result};

use super::{Dataset, data_error};

/// Samples of any number of files.
pub(super) fn samples(
    dataset: Dataset,
    most: usize,
    files: &[(&str, Vec<u8>)],
) -> Result<Array<u8>> {
    let before = match dataset {
        Dataset::Cifar100 => 1,
        _ => 0,
    };
    let size = 1 + dataset.pixels();
    let record = before + size;
    let mut count = 0;
    for (name, bytes) in files {
        if bytes.is_empty() || bytes.len() % record != 0 {
            let reason = format!(
                "{} bytes are no whole number of records of {record}; truncated, or another data set?",
                bytes.len()
            );
            return Err(data_error(name, reason));
        }
        count += bytes.len() / record;
    }
    let mut samples = Array::zeros(&[count.min(most), size]);
    let records = files
        .iter()
        .flat_map(|(_, bytes)| bytes.chunks_exact(record));
    for (sample, record) in samples.as_mut_slice().chunks_exact_mut(size).zip(records) {
        sample.copy_from_slice(&record[before..]);
    }
    Ok(samples)
}
