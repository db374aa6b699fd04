//! A part of a bundle on its way here.
//!
//! It is written to a file that is named after its digest, in the directory of downloads, and stays there until
//! the whole bundle has come: whoever pulls again goes on where the first one ended. One download at a time writes
//! to the file; a second one of the same part, in another process, does without it.

use crate::{
    Registry, RegistryError,
    client::{PAUSE, TRIES},
    error::{Trouble, part},
    progress::Meter,
};
use futures_util::StreamExt as _;
use oci_client::client::BlobResponse;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};
use taps_bundle::{
    Digest,
    oci::{Descriptor, TITLE},
};

/// What came of a part.
pub(crate) struct Downloaded {
    pub(crate) bytes: Vec<u8>,
    /// Of these, so many came now; the others were kept.
    pub(crate) fetched: u64,
}

/// The file of one part. Locked while it is written.
struct Kept {
    file: File,
    path: PathBuf,
    /// Bytes that it has.
    length: u64,
}

impl Registry {
    /// The directory of downloads, which nobody else reads.
    pub(crate) fn make_downloads(&self) -> Result<(), RegistryError> {
        let path = &self.options.downloads;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| keep(path, source))
    }

    /// Takes the files of these parts away.
    pub(crate) fn forget(&self, parts: &[Digest]) {
        for digest in parts {
            // What stays is of no harm; the next pull of it finds it whole.
            let _ = fs::remove_file(self.file_of(digest));
        }
    }

    fn file_of(&self, digest: &Digest) -> PathBuf {
        self.options
            .downloads
            .join(format!("sha256-{}", digest.to_hex()))
    }

    /// Fetches a blob, or the rest of it.
    pub(crate) async fn download(
        &self,
        descriptor: &Descriptor,
        meter: &Meter,
    ) -> Result<Downloaded, RegistryError> {
        let path = self.file_of(&descriptor.digest);
        let mut kept = Kept::open(&path, descriptor).map_err(|source| keep(&path, source))?;
        let before = kept.length;
        meter.advance(before);
        let mut fetched = self.fill(&mut kept, descriptor, meter).await?;
        let mut bytes = kept.read().map_err(|source| keep(&kept.path, source))?;
        if Digest::of(&bytes) != descriptor.digest && before > 0 {
            // What was kept may be what is wrong.
            kept.clear().map_err(|source| keep(&kept.path, source))?;
            meter.set(meter.position() - descriptor.size);
            fetched = self.fill(&mut kept, descriptor, meter).await?;
            bytes = kept.read().map_err(|source| keep(&kept.path, source))?;
        }
        let found = Digest::of(&bytes);
        if found == descriptor.digest {
            return Ok(Downloaded { bytes, fetched });
        }
        kept.clear().map_err(|source| keep(&kept.path, source))?;
        let trouble = Trouble::Digest {
            expected: descriptor.digest.to_string(),
            found: found.to_string(),
        };
        Err(self.failure(trouble, &name_of(descriptor)))
    }

    /// Fetches what the file lacks; gives the number of bytes that came.
    async fn fill(
        &self,
        kept: &mut Kept,
        descriptor: &Descriptor,
        meter: &Meter,
    ) -> Result<u64, RegistryError> {
        let mut fetched = 0;
        let mut tries = 0;
        let mut pause = PAUSE;
        while kept.length < descriptor.size {
            let start = kept.length;
            let outcome = self.fill_once(kept, descriptor, meter).await;
            fetched += kept.length.saturating_sub(start);
            match outcome {
                Ok(()) => {}
                Err(Failed::Here(source)) => return Err(keep(&kept.path, source)),
                Err(Failed::Size(error)) => return Err(error),
                Err(Failed::There(Trouble::Transient(reason))) => {
                    if kept.length > start {
                        (tries, pause) = (0, PAUSE);
                    }
                    tries += 1;
                    if tries >= TRIES {
                        return Err(self.failure(Trouble::Transient(reason), &name_of(descriptor)));
                    }
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(Failed::There(Trouble::Other(status))) if status.starts_with("416") => {
                    let found = format!("has no byte {}", kept.length);
                    kept.clear().map_err(|source| keep(&kept.path, source))?;
                    return Err(self.wrong_size(descriptor, &found));
                }
                Err(Failed::There(trouble)) => {
                    return Err(self.failure(trouble, &name_of(descriptor)));
                }
            }
        }
        Ok(fetched)
    }

    async fn fill_once(
        &self,
        kept: &mut Kept,
        descriptor: &Descriptor,
        meter: &Meter,
    ) -> Result<(), Failed> {
        let reference = self.reference.for_client();
        let digest = descriptor.digest.to_string();
        let asked =
            self.client
                .pull_blob_stream_partial(&reference, digest.as_str(), kept.length, None);
        let answer = asked
            .await
            .map_err(|error| Failed::There(Trouble::of(&error)))?;
        let mut stream = match answer {
            BlobResponse::Partial(answer) => answer.stream,
            BlobResponse::Full(answer) => {
                // The registry knows no ranges, or the range is the whole.
                meter.set(meter.position() - kept.length);
                kept.clear().map_err(Failed::Here)?;
                answer.stream
            }
        };
        while let Some(piece) = stream.next().await {
            // Both a broken connection and a digest that differs at the end; the latter is checked again
            // by the caller, who knows what to do about it.
            let piece = match piece {
                Ok(piece) => piece,
                Err(_) if kept.length == descriptor.size => break,
                Err(error) => {
                    return Err(Failed::There(Trouble::Transient(said(&error))));
                }
            };
            if kept.length + piece.len() as u64 > descriptor.size {
                kept.clear().map_err(Failed::Here)?;
                let found = "is longer";
                return Err(Failed::Size(self.wrong_size(descriptor, found)));
            }
            kept.append(&piece).map_err(Failed::Here)?;
            meter.advance(piece.len() as u64);
        }
        if kept.length < descriptor.size {
            let found = format!("ends after {} bytes", kept.length);
            kept.clear().map_err(Failed::Here)?;
            return Err(Failed::Size(self.wrong_size(descriptor, &found)));
        }
        Ok(())
    }

    fn wrong_size(&self, descriptor: &Descriptor, found: &str) -> RegistryError {
        RegistryError::Size {
            reference: Box::new(self.reference.clone()),
            what: name_of(descriptor),
            found: found.to_owned(),
            expected: format!("{} bytes", descriptor.size),
        }
    }
}

/// Why a try to fetch ended.
enum Failed {
    /// The file cannot be written.
    Here(io::Error),
    /// The registry or the network.
    There(Trouble),
    /// More came than should, or less and no more.
    Size(RegistryError),
}

impl Kept {
    fn open(path: &Path, descriptor: &Descriptor) -> io::Result<Self> {
        let options = || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).mode(0o600);
            options
        };
        let file = options().truncate(false).open(path)?;
        if file.try_lock().is_err() {
            return Self::apart(path);
        }
        let mut kept = Self {
            length: file.metadata()?.len(),
            file,
            path: path.to_owned(),
        };
        if kept.length > descriptor.size {
            kept.clear()?;
        }
        kept.file.seek(SeekFrom::End(0))?;
        Ok(kept)
    }

    /// A file of its own, which goes with this process.
    fn apart(path: &Path) -> io::Result<Self> {
        let own = path.with_added_extension(std::process::id().to_string());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&own)?;
        fs::remove_file(&own)?;
        Ok(Self {
            file,
            path: own,
            length: 0,
        })
    }

    fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece)?;
        self.length += piece.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.length = 0;
        self.file.set_len(0)?;
        self.file.rewind()
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.length as usize);
        self.file.rewind()?;
        self.file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

fn keep(path: &Path, source: io::Error) -> RegistryError {
    RegistryError::Keep {
        path: path.to_owned(),
        source,
    }
}

fn name_of(descriptor: &Descriptor) -> String {
    part(descriptor.annotations.get(TITLE), &descriptor.digest)
}

fn said(error: &io::Error) -> String {
    crate::error::chain(error)
}
