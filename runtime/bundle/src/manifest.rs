//! The manifest of a bundle.

use crate::{BundleError, Digest, check, imports};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, path::Path};
use taps_schema::AppDescription;

/// Name of the manifest in a bundle directory.
pub const MANIFEST_FILE: &str = "manifest.json";

/// Folder of the data blobs in a bundle directory.
pub const DATA_DIRECTORY: &str = "data";

/// Format that this version writes. It reads format 1, too, which directories of before have.
pub const MANIFEST_FORMAT: u32 = 2;

/// Oldest format that this version reads.
pub const OLDEST_MANIFEST_FORMAT: u32 = 1;

/// Features that a manifest may name in `requires`: none yet.
pub const KNOWN_FEATURES: &[&str] = &[];

/// What a bundle holds: everything that listing, help, validation and placement need,
/// without touching a component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub format: u32,
    /// Features that a reader has to know to understand this manifest; see [`KNOWN_FEATURES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// Description of the app: its configuration, and all tasks that its driver may submit.
    pub app: AppDescription,
    /// The components, driver first.
    pub components: Vec<ComponentEntry>,
    /// Where each task of `app.tasks` lives, in the same order.
    pub routes: Vec<TaskRoute>,
    /// What the app asks of the host.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// Values of fields of the app's configuration that replace the components' own defaults.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub defaults: Map<String, Value>,
    /// Blobs of data that come with the bundle, or that it names by URL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<DataEntry>,
    /// What runs of some configurations give.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected: Vec<Expected>,
    /// Licence, as an SPDX expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Where the source code is: a URL, or words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<String>,
}

/// One component of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentEntry {
    /// File within the bundle.
    pub file: String,
    /// Digest of the file.
    pub digest: Digest,
    /// Size of the file in bytes.
    #[serde(default)]
    pub size: u64,
    /// How its memory is set up.
    #[serde(default)]
    pub memory: MemoryProfile,
    /// What it imports, sorted: `taps:core/payloads@0.1.0`.
    #[serde(default)]
    pub imports: Vec<String>,
    /// Where its sandboxes should come from; none leaves it to the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<Instances>,
    /// Core instances that one sandbox of it takes up; 1 for most guests in Rust.
    #[serde(default)]
    pub core_instances: u32,
    /// Memories that one sandbox of it takes up.
    #[serde(default)]
    pub memories: u32,
    /// Tables that one sandbox of it takes up.
    #[serde(default)]
    pub tables: u32,
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

/// Where the sandboxes of a component's tasks should come from: what suits a guest that is slow to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instances {
    /// A new one for every task.
    Fresh,
    /// A new one for every task, made before the task comes.
    Prewarmed,
    /// One for many tasks, one after the other.
    Reuse,
}

/// What an app asks of the host. At least what its components import and its description lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Native programs that its tasks may run.
    #[serde(default)]
    pub programs: Vec<String>,
    /// Whether it calls the linear algebra of the host.
    #[serde(default)]
    pub kernels: bool,
    /// Fields of its configuration that grant a path.
    #[serde(default)]
    pub directories: Vec<String>,
    /// Network. No host grants it, so a manifest that asks for it is refused.
    #[serde(default)]
    pub network: bool,
    /// Memory that one sandbox may need at most, as in a run's configuration: `512 MiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<String>,
    /// Seconds that one task may need at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_limit_s: Option<u64>,
}

/// A blob of data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataEntry {
    /// Name: a relative path with `/` between its parts.
    pub name: String,
    /// Digest of the bytes.
    pub digest: Digest,
    /// Number of bytes.
    pub size: u64,
    /// Type of the bytes.
    #[serde(default = "octets")]
    pub media_type: String,
    /// Where the bytes are; then they are not in the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// What a run gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Fields of the app's configuration; others have their defaults.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// Values of the report and digests of results, which have to be equal.
    pub values: BTreeMap<String, Value>,
}

/// Media type of bytes about which nothing is known.
fn octets() -> String {
    "application/octet-stream".to_owned()
}

/// What decides whether the rest of a manifest can be read.
#[derive(Deserialize)]
struct Head {
    format: u32,
    #[serde(default)]
    requires: Vec<String>,
}

impl Manifest {
    /// A manifest of this version's format that asks for what the components and the description need, and for
    /// nothing else.
    pub fn new(
        app: AppDescription,
        components: Vec<ComponentEntry>,
        routes: Vec<TaskRoute>,
    ) -> Self {
        let capabilities = Capabilities::derive(&app, &components);
        Self {
            format: MANIFEST_FORMAT,
            requires: Vec::new(),
            app,
            components,
            routes,
            capabilities,
            defaults: Map::new(),
            data: Vec::new(),
            expected: Vec::new(),
            licence: None,
            sources: None,
        }
    }

    /// Reads a manifest of any known format; `path` is for messages. One of format 1 lacks what
    /// `Manifest::upgrade` adds.
    pub fn from_json(text: &[u8], path: &Path) -> Result<Self, BundleError> {
        let malformed = |source| BundleError::Manifest {
            path: path.to_owned(),
            source,
        };
        let head: Head = serde_json::from_slice(text).map_err(malformed)?;
        if !(OLDEST_MANIFEST_FORMAT..=MANIFEST_FORMAT).contains(&head.format) {
            return Err(BundleError::Format {
                path: path.to_owned(),
                found: head.format,
            });
        }
        let unknown = head
            .requires
            .into_iter()
            .find(|feature| !KNOWN_FEATURES.contains(&feature.as_str()));
        if let Some(feature) = unknown {
            return Err(BundleError::Feature {
                path: path.to_owned(),
                feature,
            });
        }
        serde_json::from_slice(text).map_err(malformed)
    }

    /// The manifest as text: fields in the order of declaration, the keys of free tables sorted, a newline at the
    /// end. Equal manifests give equal bytes.
    pub fn to_json(&self) -> String {
        let mut sorted = self.clone();
        sort_keys(&mut sorted.defaults);
        for expected in &mut sorted.expected {
            sort_keys(&mut expected.config);
            expected.values.values_mut().for_each(sort_value);
        }
        for field in &mut sorted.app.config {
            field.default.iter_mut().for_each(sort_value);
        }
        let text = serde_json::to_string_pretty(&sorted)
            .unwrap_or_else(|error| unreachable!("a manifest is plain data: {error}"));
        text + "\n"
    }

    /// Makes a manifest of format 1 one of this version's: what format 2 adds comes from the components.
    pub(crate) fn upgrade<B: AsRef<[u8]>>(&mut self, components: &[B]) -> Result<(), BundleError> {
        if self.format != OLDEST_MANIFEST_FORMAT {
            return Ok(());
        }
        for (entry, bytes) in self.components.iter_mut().zip(components) {
            let mut found = ComponentEntry::scan(&entry.file, bytes.as_ref(), entry.digest)?;
            found.memory = entry.memory;
            *entry = found;
        }
        self.capabilities = Capabilities::derive(&self.app, &self.components);
        self.format = MANIFEST_FORMAT;
        Ok(())
    }

    /// Checks everything that can be known from the manifest alone.
    pub fn check(&self) -> Result<(), BundleError> {
        check::manifest(self)
    }
}

impl ComponentEntry {
    /// What a component says of itself: digest, imports, and what a pool has to hold for it.
    pub fn of(file: &str, bytes: &[u8]) -> Result<Self, BundleError> {
        Self::scan(file, bytes, Digest::of(bytes))
    }

    /// As [`ComponentEntry::of`], for bytes whose digest is known.
    pub fn scan(file: &str, bytes: &[u8], digest: Digest) -> Result<Self, BundleError> {
        let scan = imports::scan(file, bytes)?;
        Ok(Self {
            file: file.to_owned(),
            digest,
            size: bytes.len() as u64,
            memory: MemoryProfile::Auto,
            imports: scan.imports,
            instances: None,
            core_instances: scan.needs.core_instances,
            memories: scan.needs.memories,
            tables: scan.needs.tables,
        })
    }
}

fn sort_value(value: &mut Value) {
    match value {
        Value::Object(map) => sort_keys(map),
        Value::Array(items) => items.iter_mut().for_each(sort_value),
        _ => {}
    }
}

/// Sorts the keys of a map whichever way `serde_json` was built to hold them.
fn sort_keys(map: &mut Map<String, Value>) {
    let sorted: BTreeMap<String, Value> = std::mem::take(map).into_iter().collect();
    for (key, mut value) in sorted {
        sort_value(&mut value);
        map.insert(key, value);
    }
}
