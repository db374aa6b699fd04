//! Bundles: an app's components and data with the manifest that describes them.
//!
//! Built-in apps, archives, registries, directories and single components all become a [`Bundle`], so that
//! everything after loading is the same for each. This crate reads, checks, writes and signs; it never runs a
//! component (a bare component's description comes from the sandbox, through [`Bundle::from_component`]), and it
//! reaches no network. The format of a bundle in one file is in `docs/bundles/format.md`.

mod archive;
mod bundle;
mod capabilities;
mod check;
mod digest;
mod error;
mod imports;
mod layout;
mod manifest;
pub mod oci;
pub mod sign;

pub use archive::{ARCHIVE_SUFFIX, ArchiveError, ArchiveLimits, Packing};
pub use bundle::{Bundle, COMPONENT_MAGIC, FAULT_PREFIX, Source};
pub use check::{check_component_header, check_imports};
pub use digest::{Digest, DigestError};
pub use error::BundleError;
pub use imports::{Package, PoolNeeds, Scan, ScanError, scan};
pub use layout::{Artifact, Blob, Layout};
pub use manifest::{
    Capabilities, ComponentEntry, DATA_DIRECTORY, DataEntry, Expected, Instances, KNOWN_FEATURES,
    MANIFEST_FILE, MANIFEST_FORMAT, Manifest, MemoryProfile, OLDEST_MANIFEST_FORMAT, TaskRoute,
};
pub use oci::Descriptor;
