//! The data sets: what they are, which files hold them, and how they become samples.
//!
//! A set of samples is one array of bytes, a row for each: the label, then the pixels, row after
//! row, the colours of one side by side. A task makes numbers from 0 to 1 of them when it needs them.

mod cifar;
mod files;
mod idx;

use std::io::Read;

use taps::{Array, Error, Payload, Result};

pub(crate) use files::{Part, locate};

/// Most bytes of an unpacked file.
const LARGEST_FILE: u64 = 1 << 30;
/// Bytes read at once.
const PIECE_BYTES: usize = 1 << 20;

/// A data set.
#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq, Eq, taps::ConfigEnum)]
pub(crate) enum Dataset {
    /// Hand-written digits.
    Mnist,
    /// Articles of clothing, in the format of MNIST.
    Fmnist,
    /// Colour photographs of 10 classes.
    Cifar10,
    /// Colour photographs of 100 classes.
    Cifar100,
    /// Digits drawn by this app.
    Generated,
}

impl Dataset {
    /// Colours of an image.
    pub(crate) fn channels(self) -> u32 {
        match self {
            Self::Mnist | Self::Fmnist | Self::Generated => 1,
            Self::Cifar10 | Self::Cifar100 => 3,
        }
    }

    /// Rows and columns of an image.
    pub(crate) fn side(self) -> u32 {
        match self {
            Self::Mnist | Self::Fmnist | Self::Generated => 28,
            Self::Cifar10 | Self::Cifar100 => 32,
        }
    }

    /// Classes.
    pub(crate) fn classes(self) -> u32 {
        match self {
            Self::Cifar100 => 100,
            _ => 10,
        }
    }

    /// Numbers per image.
    pub(crate) fn pixels(self) -> usize {
        (self.channels() * self.side() * self.side()) as usize
    }
}

/// Why a file does not hold what it should.
pub(crate) fn data_error(name: &str, reason: impl std::fmt::Display) -> Error {
    Error::app("DataError", format!("{name}: {reason}"))
}

/// Reads at most `most` samples from files of these names.
pub(crate) fn load(
    dataset: Dataset,
    most: Option<u32>,
    names: &[String],
    files: &[Payload],
) -> Result<Array<u8>> {
    let named = names.iter().zip(files);
    let contents: Vec<(&str, Vec<u8>)> = named
        .map(|(name, file)| Ok((name.as_str(), content(name, file)?)))
        .collect::<Result<_>>()?;
    let most = most.map_or(usize::MAX, |most| most as usize);
    let samples = match dataset {
        Dataset::Cifar10 | Dataset::Cifar100 => cifar::samples(dataset, most, &contents)?,
        _ => idx::samples(dataset, most, &contents)?,
    };
    check_labels(dataset, &samples, &names.join(", "))?;
    Ok(samples)
}

/// All labels must be classes: another number means that the file is something else.
fn check_labels(dataset: Dataset, samples: &Array<u8>, names: &str) -> Result<()> {
    let classes = dataset.classes();
    let rows = samples.as_slice().chunks_exact(samples.columns());
    for (index, sample) in rows.enumerate() {
        if u32::from(sample[0]) >= classes {
            let label = sample[0];
            let reason = format!(
                "sample {index} has the label {label}; expected 0 to {}",
                classes - 1
            );
            return Err(data_error(names, reason));
        }
    }
    Ok(())
}

/// The bytes of a file, unpacked if they are gzip.
fn content(name: &str, file: &Payload) -> Result<Vec<u8>> {
    let packed = file.read(0, 2)? == [0x1f, 0x8b];
    let reader = PayloadReader { file, offset: 0 };
    let mut bytes = Vec::new();
    if packed {
        let unpacked = flate2::read::MultiGzDecoder::new(std::io::BufReader::with_capacity(
            PIECE_BYTES,
            reader,
        ));
        unpacked
            .take(LARGEST_FILE + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| {
                let read = bytes.len();
                data_error(
                    name,
                    format!("unpacking fails after {read} bytes ({error}); is the file whole?"),
                )
            })?;
    } else {
        // A payload knows its size, so that the bytes lie where they are read.
        let size = file.size().min(LARGEST_FILE + 1);
        bytes = file.read(0, size as usize)?;
    }
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(data_error(name, format!("more than {LARGEST_FILE} bytes")));
    }
    Ok(bytes)
}

/// Reads a payload from its start.
struct PayloadReader<'a> {
    file: &'a Payload,
    offset: u64,
}

impl Read for PayloadReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.offset >= self.file.size() {
            return Ok(0);
        }
        let read = self
            .file
            .read_into(self.offset, buffer)
            .map_err(std::io::Error::other)?;
        self.offset += read as u64;
        Ok(read)
    }
}
