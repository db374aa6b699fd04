//! What was fetched: a file of digests beside the data.

use super::{differs, sets::DataSet};
use crate::exit::{ExitCode, Failure};
use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

/// Name of the record in the directory of the data.
pub(super) const NAME: &str = "taps-data.json";

/// What was fetched.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) set: String,
    /// Addresses that the files came from.
    pub(super) from: Vec<String>,
    pub(super) files: Vec<Recorded>,
}

/// A file as it was fetched, or unpacked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Recorded {
    /// Path below the directory.
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl Record {
    /// The record in a directory, if it is of that data set.
    pub(super) fn read(directory: &Path, set: &DataSet) -> Result<Option<Self>, Failure> {
        let path = directory.join(NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(&path, &error)),
        };
        let record: Self = serde_json::from_str(&text).map_err(|error| {
            Failure::new(
                ExitCode::CheckFailed,
                format!("{}: {error}", path.display()),
            )
        })?;
        if record.set != set.name {
            let error = format!("{} holds the data set {}", directory.display(), record.set);
            return Err(Failure::new(ExitCode::Usage, error));
        }
        Ok(Some(record))
    }

    /// Writes it, whole or not at all.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        let partial = directory.join(format!("{NAME}.partial"));
        fs::write(&partial, text + "\n")?;
        fs::rename(partial, directory.join(NAME))
    }

    /// Compares all files with it; says how many they are.
    pub(super) fn check(&self, directory: &Path) -> Result<usize, Failure> {
        for file in &self.files {
            let path = directory.join(&file.path);
            let found = digests(&path).map_err(|error| unreadable(&path, &error))?;
            if found.sha256 != file.sha256 {
                return Err(differs(&path, "SHA-256", &file.sha256, &found.sha256));
            }
        }
        Ok(self.files.len())
    }
}

/// Digests of a file, in hexadecimal.
pub(super) struct Digests {
    pub(super) bytes: u64,
    pub(super) md5: String,
    pub(super) sha256: String,
}

pub(super) fn digests(path: &Path) -> io::Result<Digests> {
    let mut file = File::open(path)?;
    let (mut md5, mut sha256) = (Md5::new(), Sha256::new());
    let mut piece = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            break;
        }
        md5.update(&piece[..count]);
        sha256.update(&piece[..count]);
        bytes += count as u64;
    }
    Ok(Digests {
        bytes,
        md5: hex::encode(md5.finalize()),
        sha256: hex::encode(sha256.finalize()),
    })
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        ExitCode::CheckFailed,
        format!("read {}: {error}", path.display()),
    )
}
