//! A bundle in one file: the OCI image layout as a tar archive, compressed with zstd or not.
//!
//! ```text
//! oci-layout                    {"imageLayoutVersion":"1.0.0"}
//! index.json                    one descriptor: the index of the bundle
//! blobs/sha256/<hex>            the index; the artifacts' manifests, configs and layers
//! …
//! 1024 bytes of zero            the end; more zeros may follow, and nothing else
//! ```

mod read;
mod write;

use crate::{Bundle, BundleError, Source};
use std::{
    fs::File,
    io::{BufReader, Read, Write},
    path::{Path, PathBuf},
};

/// Suffix of the file of a bundle.
pub const ARCHIVE_SUFFIX: &str = ".taps";

/// First bytes of what zstd compressed.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Size of the units of a tar archive.
const BLOCK: usize = 512;

/// What is wrong with a header whose checksum is.
const BAD_HEADER: &str = "its checksum or its magic number is wrong";

const LAYOUT_FILE: &str = "oci-layout";
const INDEX_FILE: &str = "index.json";
const BLOBS: &str = "blobs/sha256/";

/// What is read at most: an archive from elsewhere may unpack to far more than its own size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Bytes of the unpacked archive.
    pub total: u64,
    /// Entries of the archive, and parts of the bundle.
    pub entries: usize,
    /// Bytes of each JSON document.
    pub json: u64,
    /// Binary logarithm of the window of zstd in bytes, and so of the memory that unpacking takes.
    pub window_log: u32,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self {
            total: 2 << 30,
            entries: 4096,
            json: 16 << 20,
            window_log: 27,
        }
    }
}

/// How an archive is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// Compressed as well as it goes: to send.
    #[default]
    Zstd,
    /// As it is: to load quickly.
    Plain,
}

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The bytes could not be read, or are no sound zstd.
    #[error("read")]
    Read(#[source] std::io::Error),
    /// It begins as neither tar nor zstd does.
    #[error("it is neither a tar archive nor one that zstd compressed")]
    Unknown,
    /// It unpacks to too much.
    #[error("it unpacks to more than {limit} bytes, which is the most that is read")]
    TooLarge {
        /// Most bytes.
        limit: u64,
    },
    /// It has too many entries.
    #[error("it has more than {limit} entries, which is the most that is read")]
    Entries {
        /// Most entries.
        limit: usize,
    },
    /// It ends before its end mark.
    #[error("it ends too early, {place}: it was cut")]
    Cut {
        /// Where.
        place: String,
    },
    /// Something follows its end.
    #[error("something follows its end")]
    Trailing,
    /// The header of an entry is damaged.
    #[error("the header of entry {number} is damaged: {reason}")]
    Header {
        /// Number of the entry, from 0.
        number: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// An entry is no plain file.
    #[error("`{path}` is {kind}; a bundle has plain files only")]
    Kind {
        /// The entry.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// An entry has a name that no bundle has.
    #[error(
        "`{path}` does not belong into a bundle, which has `oci-layout`, `index.json` and `blobs/sha256/` with names of 64 hexadecimal digits"
    )]
    Path {
        /// The entry.
        path: String,
    },
    /// Two entries have the same name.
    #[error("`{path}` is there twice")]
    Duplicate {
        /// The entry.
        path: String,
    },
    /// A file is too long for what it is.
    #[error("`{path}` has {size} bytes; at most {limit} are read")]
    FileTooLarge {
        /// The entry.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// Most bytes.
        limit: u64,
    },
    /// A file is missing.
    #[error("`{path}` is missing")]
    Missing {
        /// The file.
        path: String,
    },
    /// A file that nothing refers to.
    #[error("nothing refers to `{path}`")]
    Unreferenced {
        /// The file.
        path: String,
    },
    /// A file of the layout is not the JSON that it should be.
    #[error("`{path}` is not what it should be: {source}")]
    Json {
        /// The file.
        path: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The layout has another version.
    #[error("`oci-layout` has version `{found}`; this version of taps-wasm reads `{expected}`")]
    Version {
        /// Version found.
        found: String,
        /// Version expected.
        expected: &'static str,
    },
    /// `index.json` does not refer to one bundle.
    #[error("`index.json` refers to {found} things; expected one bundle")]
    Index {
        /// How many.
        found: usize,
    },
}

impl Bundle {
    /// Reads an archive.
    pub fn from_archive(path: &Path) -> Result<Self, BundleError> {
        let file = File::open(path).map_err(|source| BundleError::Read {
            path: path.to_owned(),
            source,
        })?;
        let limits = ArchiveLimits::default();
        Self::read(path, BufReader::with_capacity(1 << 16, file), &limits)
    }

    /// Reads an archive from a stream.
    pub fn read_archive(reader: impl Read, limits: &ArchiveLimits) -> Result<Self, BundleError> {
        Self::read(Path::new("-"), reader, limits)
    }

    fn read(path: &Path, reader: impl Read, limits: &ArchiveLimits) -> Result<Self, BundleError> {
        let failed = |source| BundleError::Archive {
            path: path.to_owned(),
            source,
        };
        let (index, mut blobs) = read::unpack(reader, limits).map_err(failed)?;
        let source = Source::Archive(PathBuf::from(path));
        let bundle = Self::from_layout(&index, source, limits, |descriptor| {
            blobs.take(descriptor.digest)
        })?;
        blobs.all_taken().map_err(failed)?;
        Ok(bundle)
    }

    /// Writes the bundle as a compressed archive. Equal bundles give equal bytes.
    pub fn write_archive(&self, out: impl Write) -> Result<(), BundleError> {
        self.pack(out, Packing::Zstd)
    }

    /// Writes the bundle as an archive.
    pub fn pack(&self, out: impl Write, packing: Packing) -> Result<(), BundleError> {
        write::archive(&self.layout(), &self.app().version, out, packing)
            .map_err(BundleError::Write)
    }
}
