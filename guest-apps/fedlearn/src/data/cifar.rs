//! The binary format of CIFAR: records of labels and 32 x 32 pixels, all red, then all green, then all blue.
//!
//! The colours of a pixel are put side by side, as layers take them. CIFAR-10 has a label; CIFAR-100 has that of the superclass and then that of the class.

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
    let channels = dataset.channels() as usize;
    let plane = dataset.pixels() / channels;
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
        let (label, pixels) = sample.split_at_mut(1);
        let (of_record, planes) = record[before..].split_at(1);
        label.copy_from_slice(of_record);
        for (colour, plane) in planes.chunks_exact(plane).enumerate() {
            let places = pixels.iter_mut().skip(colour).step_by(channels);
            for (pixel, value) in places.zip(plane) {
                *pixel = *value;
            }
        }
    }
    Ok(samples)
}
