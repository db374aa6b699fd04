//! What a worker has to have before it can run the attempts of a run: its bundle, and how the run is set up.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use taps_bundle::{Bundle, Manifest, Source};
use taps_sandbox::RunSetup;

/// First bytes of a package, with the version of its format.
const MAGIC: &[u8; 8] = b"TAPSPKG1";

/// Bytes that stand for a run's set-up and its bundle, known by their digest.
#[derive(Debug)]
pub struct Package {
    bytes: Vec<u8>,
    digest: String,
}

/// What comes before the bytes of the components.
#[derive(Serialize, Deserialize)]
struct Head {
    setup: RunSetup,
    /// JSON: the manifest's own form.
    manifest: String,
    /// Lengths of the components, whose bytes follow.
    lengths: Vec<u64>,
}

/// Why bytes are not a package for this worker.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// They were changed on their way.
    #[error("the package has digest {found}, not {expected}: it was changed on its way")]
    Digest {
        /// What was asked for.
        expected: String,
        /// What came.
        found: String,
    },
    /// They are no package, or one of another version.
    #[error("the package is not one that this version reads: {0}")]
    Format(String),
    /// The bundle in it is not valid.
    #[error("the bundle in the package")]
    Bundle(#[from] taps_bundle::BundleError),
}

impl Package {
    /// Packs.
    pub fn new(setup: RunSetup, bundle: &Bundle) -> Result<Self, PackageError> {
        let format = |error: &dyn std::fmt::Display| PackageError::Format(error.to_string());
        let count = bundle.manifest().components.len();
        let components: Vec<&[u8]> = (0..count)
            .filter_map(|index| bundle.component(index))
            .collect();
        let head = Head {
            setup,
            manifest: serde_json::to_string(bundle.manifest()).map_err(|error| format(&error))?,
            lengths: components.iter().map(|bytes| bytes.len() as u64).collect(),
        };
        let mut bytes =
            postcard::to_extend(&head, MAGIC.to_vec()).map_err(|error| format(&error))?;
        for component in components {
            bytes.extend_from_slice(component);
        }
        let digest = digest(&bytes);
        Ok(Self { bytes, digest })
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256, in hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Unpacks what has that digest.
    pub fn open(bytes: &[u8], expected: &str) -> Result<(RunSetup, Bundle), PackageError> {
        let found = digest(bytes);
        if found != expected {
            return Err(PackageError::Digest {
                expected: expected.to_owned(),
                found,
            });
        }
        let content = bytes
            .strip_prefix(MAGIC)
            .ok_or_else(|| PackageError::Format("it begins with other bytes".to_owned()))?;
        let format = |error: &dyn std::fmt::Display| PackageError::Format(error.to_string());
        let (head, mut rest): (Head, &[u8]) =
            postcard::take_from_bytes(content).map_err(|error| format(&error))?;
        let manifest: Manifest =
            serde_json::from_str(&head.manifest).map_err(|error| format(&error))?;
        let mut components = Vec::with_capacity(head.lengths.len());
        for length in head.lengths {
            let (component, after) = usize::try_from(length)
                .ok()
                .and_then(|length| rest.split_at_checked(length))
                .ok_or_else(|| PackageError::Format("it ends early".to_owned()))?;
            components.push(Cow::Owned(component.to_vec()));
            rest = after;
        }
        let bundle = Bundle::from_parts(manifest, components, Source::Embedded)?;
        Ok((head.setup, bundle))
    }
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
