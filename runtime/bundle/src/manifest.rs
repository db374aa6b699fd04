//! The manifest of a bundle.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use taps_schema::AppDescription;

/// Name of the manifest in a bundle directory.
pub const MANIFEST_FILE: &str = "manifest.json";

/// Format that this version writes and reads.
pub const MANIFEST_FORMAT: u32 = 1;

/// What a bundle holds: everything that listing, help, validation and placement need,
/// without touching a component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub format: u32,
    /// Description of the app: its configuration, and all tasks that its driver may submit.
    pub app: AppDescription,
    /// The components, driver first.
    pub components: Vec<ComponentEntry>,
    /// Where each task of `app.tasks` lives, in the same order.
    pub routes: Vec<TaskRoute>,
}

/// One component of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentEntry {
    /// File within the bundle.
    pub file: String,
    /// Digest of the file.
    pub digest: Digest,
    /// How its memory is set up.
    #[serde(default)]
    pub memory: MemoryProfile,
}

/// Where a task lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRoute {
    /// Index of the component.
    pub component: u32,
    /// Index of the task in that component's own description.
    pub task: u32,
}

/// How the memory of a component's sandboxes is set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryProfile {
    /// Chosen from the imports: windows where the component attaches any.
    #[default]
    Auto,
    /// Payloads may be mapped; data segments are copied at instantiation.
    Windows,
    /// Data segments are shared copy-on-write; payloads are copied.
    Copy,
}

/// Digest of a file: SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Digest from its 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest in hexadecimal.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        text.strip_prefix("sha256:")
            .filter(|digits| hex::decode_to_slice(digits, &mut bytes).is_ok())
            .map(|_| Self(bytes))
            .ok_or_else(|| {
                serde::de::Error::invalid_value(
                    serde::de::Unexpected::Str(&text),
                    &"`sha256:` and 64 hexadecimal digits",
                )
            })
    }
}
