//! A configuration whose every value is checked.

use crate::arguments::Switches;
use crate::error::Place;
use crate::general::General;
use crate::{failures, known, toml_text};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;
use taps_schema::{AppDescription, FieldKind};

/// A complete, valid configuration.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Name of the app, from its description.
    pub app: String,
    /// Absolute path of the bundle when the app was named by a path.
    pub app_path: Option<PathBuf>,
    /// The path exactly as the user wrote it: the key in [`Schema::bundles`](crate::Schema).
    pub app_written: Option<String>,
    /// Fields of the app, every one present. Path fields hold absolute host paths; whoever
    /// starts the driver replaces them by virtual ones, guided by `grants`.
    pub app_config: Map<String, Value>,
    /// Host paths that the app may reach.
    pub grants: Vec<Grant>,
    /// Name of the executor.
    pub executor: String,
    /// Fields of the executor, every one present.
    pub executor_config: Map<String, Value>,
    /// Name of the filter; `None` when there is none.
    pub filter: Option<String>,
    /// Fields of the filter.
    pub filter_config: Map<String, Value>,
    /// Name of the transformer; `None` when there is none.
    pub transformer: Option<String>,
    /// Fields of the transformer.
    pub transformer_config: Map<String, Value>,
    /// Everything that does not depend on the choice of app and plugins.
    pub general: General,
    /// How the command shows itself; no part of the configuration.
    pub switches: Switches,
    /// What the user should know: dropped keys, values given twice, another version.
    pub notices: Vec<String>,
    /// All sections, in the order in which they are written.
    pub(crate) document: Vec<(String, Vec<(String, Value)>)>,
    /// Where each dotted key was set last.
    pub(crate) places: BTreeMap<String, Place>,
    /// Whether the app was written as the base of `failures`.
    pub(crate) is_base: bool,
}

/// A host path that the app may reach because the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Field that names it; several grants share a field when it is a list.
    pub field: String,
    /// What may be done with it.
    pub kind: GrantKind,
    /// Absolute path on the host.
    pub host_path: PathBuf,
}

/// What may be done with a granted path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GrantKind {
    /// Read one file.
    InputFile,
    /// Read a directory tree.
    InputDir,
    /// Read and write a directory tree. It may not exist yet: its nearest existing parent was
    /// writable when the configuration was resolved.
    OutputDir,
}

impl Resolved {
    /// The whole configuration, defaults and nulls included, as TOML. Resolving a command line
    /// of only `-c` and that file gives the same text again, byte for byte.
    pub fn to_toml(&self) -> String {
        toml_text::document(&self.document)
    }

    /// Where a dotted key such as `app.block_size` was set, or the flag that would set it: for
    /// errors that only the app can find.
    pub fn place_of(&self, dotted: &str) -> Place {
        if let Some(place) = self.places.get(dotted) {
            return place.clone();
        }
        let path = known::split(dotted);
        let written = if self.is_base {
            failures::as_written(&path)
        } else {
            path
        };
        known::flag(&written.join("."))
    }

    /// The sections and their fields in the order of [`to_toml`](Self::to_toml); the first
    /// section has an empty name.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &[(String, Value)])> {
        self.document
            .iter()
            .map(|(name, fields)| (name.as_str(), fields.as_slice()))
    }
}

/// The paths that the app's fields name.
pub(crate) fn grants(app: &AppDescription, config: &Map<String, Value>) -> Vec<Grant> {
    let mut grants = Vec::new();
    for field in &app.config {
        let (kind, values) = match (&field.kind, config.get(&field.name)) {
            (FieldKind::List { item }, Some(Value::Array(values))) => (&**item, &values[..]),
            (kind, Some(value)) => (kind, std::slice::from_ref(value)),
            (_, None) => continue,
        };
        let kind = match kind {
            FieldKind::InputFile => GrantKind::InputFile,
            FieldKind::InputDir => GrantKind::InputDir,
            FieldKind::OutputDir => GrantKind::OutputDir,
            _ => continue,
        };
        grants.extend(values.iter().filter_map(Value::as_str).map(|path| Grant {
            field: field.name.clone(),
            kind,
            host_path: PathBuf::from(path),
        }));
    }
    grants
}
