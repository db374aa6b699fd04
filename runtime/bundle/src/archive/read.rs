//! Reading an archive, within bounds and without touching a file system.

use super::{
    ArchiveError, ArchiveLimits, BAD_HEADER, BLOBS, BLOCK, INDEX_FILE, LAYOUT_FILE, ZSTD_MAGIC,
};
use crate::{
    Digest,
    oci::{self, Descriptor, Index, LayoutFile},
};
use std::{
    collections::{HashMap, HashSet},
    io::{self, BufRead, BufReader, Read},
};
use tar::{EntryType, Header};

/// The blobs of an archive that nothing took yet.
pub(super) struct Blobs(HashMap<Digest, Vec<u8>>);

impl Blobs {
    /// Gives a blob, once.
    pub(super) fn take(&mut self, digest: Digest) -> Result<Vec<u8>, ArchiveError> {
        self.0.remove(&digest).ok_or_else(|| ArchiveError::Missing {
            path: path_of(digest),
        })
    }

    /// Every blob has to be part of the bundle.
    pub(super) fn all_taken(&self) -> Result<(), ArchiveError> {
        match self.0.keys().min() {
            None => Ok(()),
            Some(digest) => Err(ArchiveError::Unreferenced {
                path: path_of(*digest),
            }),
        }
    }
}

fn path_of(digest: Digest) -> String {
    format!("{BLOBS}{}", digest.to_hex())
}

/// Unpacks an archive: the descriptor of the index, and all blobs.
pub(super) fn unpack(
    reader: impl Read,
    limits: &ArchiveLimits,
) -> Result<(Descriptor, Blobs), ArchiveError> {
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    // A file may have less than the magic number has, and a reader may give less than that at once.
    let mut magic = Vec::with_capacity(ZSTD_MAGIC.len());
    reader
        .by_ref()
        .take(ZSTD_MAGIC.len() as u64)
        .read_to_end(&mut magic)
        .map_err(ArchiveError::Read)?;
    let compressed = magic == ZSTD_MAGIC;
    let whole = BufReader::new(magic.as_slice().chain(reader));
    if !compressed {
        return Unpacker::new(whole, limits).run();
    }
    let mut decoder = zstd::Decoder::with_buffer(whole)
        .map_err(ArchiveError::Read)?
        .single_frame();
    decoder
        .window_log_max(limits.window_log)
        .map_err(ArchiveError::Read)?;
    let unpacked = Unpacker::new(&mut decoder, limits).run()?;
    // One frame, and nothing after it.
    let mut rest = decoder.finish();
    match rest.fill_buf() {
        Ok([]) => Ok(unpacked),
        Ok(_) => Err(ArchiveError::Trailing),
        Err(source) => Err(ArchiveError::Read(source)),
    }
}

/// Where the reading of an archive is.
struct Unpacker<'a, R> {
    reader: R,
    limits: &'a ArchiveLimits,
    /// Bytes that may still come.
    left: u64,
    /// Entries so far.
    entries: usize,
    seen: HashSet<String>,
    layout: Option<Vec<u8>>,
    index: Option<Vec<u8>>,
    blobs: HashMap<Digest, Vec<u8>>,
}

impl<'a, R: Read> Unpacker<'a, R> {
    fn new(reader: R, limits: &'a ArchiveLimits) -> Self {
        Self {
            reader,
            limits,
            left: limits.total,
            entries: 0,
            seen: HashSet::new(),
            layout: None,
            index: None,
            blobs: HashMap::new(),
        }
    }

    fn run(mut self) -> Result<(Descriptor, Blobs), ArchiveError> {
        while let Some(header) = self.header()? {
            self.entry(&header)?;
        }
        self.end()?;
        let layout = self.layout.ok_or_else(|| missing(LAYOUT_FILE))?;
        let layout: LayoutFile = parse(LAYOUT_FILE, &layout)?;
        if layout.image_layout_version != oci::LAYOUT_VERSION {
            return Err(ArchiveError::Version {
                found: layout.image_layout_version,
                expected: oci::LAYOUT_VERSION,
            });
        }
        let index = self.index.ok_or_else(|| missing(INDEX_FILE))?;
        let mut index: Index = parse(INDEX_FILE, &index)?;
        let count = index.manifests.len();
        match index.manifests.pop() {
            Some(mut descriptor) if count == 1 => {
                // What it is called in the layout is no part of the bundle.
                descriptor.annotations.remove(oci::REF_NAME);
                Ok((descriptor, Blobs(self.blobs)))
            }
            _ => Err(ArchiveError::Index { found: count }),
        }
    }

    /// Reads exactly so many bytes; fewer are a cut.
    fn read(&mut self, size: u64, place: &str) -> Result<Vec<u8>, ArchiveError> {
        self.left = self.left.checked_sub(size).ok_or(ArchiveError::TooLarge {
            limit: self.limits.total,
        })?;
        // What a header claims is not reserved before it is there.
        let mut bytes = Vec::with_capacity(size.min(8 << 20) as usize);
        (&mut self.reader)
            .take(size)
            .read_to_end(&mut bytes)
            .map_err(|source| read_failed(source, place))?;
        if bytes.len() as u64 == size {
            Ok(bytes)
        } else {
            Err(ArchiveError::Cut {
                place: place.to_owned(),
            })
        }
    }

    /// The header of the next entry; none at the first half of the end mark.
    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let number = self.entries;
        let block = self.read(BLOCK as u64, &format!("where entry {number} should be"))?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(ArchiveError::Entries {
                limit: self.limits.entries,
            });
        }
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(&block);
        let sum = header.cksum();
        let ustar = header.as_ustar().is_some() || header.as_gnu().is_some();
        if !ustar || sum.ok() != Some(sum_of(&block)) {
            return Err(if number == 0 {
                ArchiveError::Unknown
            } else {
                damaged(number, BAD_HEADER)
            });
        }
        Ok(Some(header))
    }

    fn entry(&mut self, header: &Header) -> Result<(), ArchiveError> {
        let number = self.entries - 1;
        let size = header
            .entry_size()
            .map_err(|_| damaged(number, "its size is no number"))?;
        let path = String::from_utf8_lossy(&header.path_bytes()).into_owned();
        match header.entry_type() {
            EntryType::Regular => {}
            EntryType::Directory if is_folder(&path) && size == 0 => return Ok(()),
            kind => {
                return Err(ArchiveError::Kind {
                    path,
                    kind: describe(kind),
                });
            }
        }
        if !self.seen.insert(path.clone()) {
            return Err(ArchiveError::Duplicate { path });
        }
        let digest = path.strip_prefix(BLOBS).map(Digest::from_hex);
        let document = path == LAYOUT_FILE || path == INDEX_FILE;
        if document && size > self.limits.json {
            return Err(ArchiveError::FileTooLarge {
                path,
                size,
                limit: self.limits.json,
            });
        }
        if !document && !matches!(digest, Some(Ok(_))) {
            return Err(ArchiveError::Path { path });
        }
        let bytes = self.read(size, &format!("in `{path}`"))?;
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        let padding = self.read(padding, &format!("after `{path}`"))?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(damaged(number, "its content is followed by no zeros"));
        }
        match digest {
            Some(Ok(digest)) => {
                self.blobs.insert(digest, bytes);
            }
            _ if path == LAYOUT_FILE => self.layout = Some(bytes),
            _ => self.index = Some(bytes),
        }
        Ok(())
    }

    /// The second half of the end mark, and nothing but zeros after it.
    fn end(&mut self) -> Result<(), ArchiveError> {
        let place = "within its end mark";
        let block = self.read(BLOCK as u64, place)?;
        if block.iter().any(|byte| *byte != 0) {
            return Err(ArchiveError::Trailing);
        }
        let mut buffer = [0; 4096];
        loop {
            let count = match self.reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(read_failed(source, place)),
            };
            if buffer[..count].iter().any(|byte| *byte != 0) {
                return Err(ArchiveError::Trailing);
            }
            self.left = self
                .left
                .checked_sub(count as u64)
                .ok_or(ArchiveError::TooLarge {
                    limit: self.limits.total,
                })?;
        }
    }
}

fn read_failed(source: io::Error, place: &str) -> ArchiveError {
    // The decoder says so of a frame without its end.
    if source.kind() == io::ErrorKind::UnexpectedEof {
        return ArchiveError::Cut {
            place: place.to_owned(),
        };
    }
    ArchiveError::Read(source)
}

fn missing(path: &str) -> ArchiveError {
    ArchiveError::Missing {
        path: path.to_owned(),
    }
}

fn damaged(number: usize, reason: &'static str) -> ArchiveError {
    ArchiveError::Header { number, reason }
}

fn parse<T: serde::de::DeserializeOwned>(
    path: &'static str,
    text: &[u8],
) -> Result<T, ArchiveError> {
    serde_json::from_slice(text).map_err(|source| ArchiveError::Json { path, source })
}

/// Checksum of a header: of its bytes, with spaces where the checksum is.
fn sum_of(block: &[u8]) -> u32 {
    let field = 148..156;
    let byte = |(at, byte): (usize, &u8)| {
        if field.contains(&at) {
            32
        } else {
            u32::from(*byte)
        }
    };
    block.iter().enumerate().map(byte).sum()
}

/// Folders that other programs write as entries.
fn is_folder(path: &str) -> bool {
    matches!(
        path,
        "./" | "blobs/" | "blobs/sha256/" | "blobs" | "blobs/sha256"
    )
}

fn describe(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link => "a hard link",
        EntryType::Symlink => "a symbolic link",
        EntryType::Char | EntryType::Block => "a device",
        EntryType::Fifo => "a pipe",
        EntryType::Directory => "a directory that no bundle has",
        EntryType::GNULongName
        | EntryType::GNULongLink
        | EntryType::XHeader
        | EntryType::XGlobalHeader => "an extension of the tar format",
        _ => "of an unknown kind",
    }
}
