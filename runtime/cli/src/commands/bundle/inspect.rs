//! `bundle inspect`: what a bundle holds and may do.

use crate::{
    apps::{self, Found, consent},
    exit::{ExitCode, Failure},
    render, summary,
};
use serde::Serialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write, path::PathBuf};
use taps_bundle::{ComponentEntry, DataEntry, Digest, Expected, Source, sign::Signer};
use taps_config::describe_kind;
use taps_schema::{ConfigField, TaskDescription};

/// Flags of `bundle inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// An app, or the path of a bundle, a directory or a component.
    app: String,
    /// Public key that a signature must be of to count as known; may be given several times.
    #[arg(long, value_name = "PEM")]
    key: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let found = apps::find_with_origin(&arguments.app)?;
    let signatures = Signatures::of(&found, &arguments.key)?;
    if arguments.json {
        render::json(&as_json(&found, &signatures)?)?;
    } else {
        render::data(&text(&found, &signatures))?;
    }
    Ok(ExitCode::Ok)
}

/// What is known of who signed a bundle.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub(super) enum Signatures {
    /// It is part of this program.
    BuiltIn,
    /// There is no file of signatures.
    None,
    /// There is one that cannot be read.
    Unreadable {
        /// Why.
        reason: String,
    },
    /// There is one, and it is of another bundle.
    OfAnother {
        /// The bundle that was signed.
        bundle: Digest,
    },
    /// There is one.
    By {
        /// Who signed.
        signers: Vec<Signer>,
    },
}

impl Signatures {
    /// The signatures that came with a bundle, held against these keys and those of the user.
    pub(super) fn of(found: &Found, keys: &[PathBuf]) -> Result<Self, Failure> {
        let known = consent::keys(&consent::Wanted {
            keys: keys.to_vec(),
            ..consent::Wanted::default()
        })?;
        let digest = found.bundle.digest();
        Ok(match &found.signatures {
            _ if matches!(found.bundle.source(), Source::Embedded) => Self::BuiltIn,
            None => Self::None,
            Some(Err(reason)) => Self::Unreadable {
                reason: reason.clone(),
            },
            Some(Ok(file)) if file.bundle != digest => Self::OfAnother {
                bundle: file.bundle,
            },
            Some(Ok(file)) => Self::By {
                signers: file.check(&digest, &known),
            },
        })
    }

    /// For people, a line each.
    pub(super) fn in_words(&self) -> Vec<String> {
        match self {
            Self::BuiltIn => vec!["part of this program".to_owned()],
            Self::None => vec!["not signed".to_owned()],
            Self::Unreadable { reason } => vec![format!("unreadable: {reason}")],
            Self::OfAnother { bundle } => vec![format!("of another bundle: {bundle}")],
            Self::By { signers } if signers.is_empty() => vec!["by nobody".to_owned()],
            Self::By { signers } => signers.iter().map(signer).collect(),
        }
    }
}

fn signer(signer: &Signer) -> String {
    let name = signer.fingerprint.as_deref().unwrap_or("what is no key");
    let state = match (signer.sound, signer.known) {
        (false, _) => "the signature is WRONG",
        (true, true) => "a known key",
        (true, false) => "a key that is not known here",
    };
    format!("by {name}: {state}")
}

/// A task, and where it lives.
fn task(found: &Found, index: usize, task: &TaskDescription) -> Result<Value, Failure> {
    let mut value =
        serde_json::to_value(task).map_err(|error| Failure::new(ExitCode::Runtime, error))?;
    value["component"] = component_of(found, index).into();
    Ok(value)
}

/// The file in which a task lives.
fn component_of(found: &Found, task: usize) -> &str {
    let manifest = found.bundle.own_manifest();
    let route = manifest.routes.get(task);
    let entry = route.and_then(|route| manifest.components.get(route.component as usize));
    entry.map_or("", |entry| &entry.file)
}

/// The size of the file of a bundle in one file.
fn file_bytes(found: &Found) -> Option<u64> {
    match found.bundle.source() {
        Source::Archive(path) => Some(path.metadata().ok()?.len()),
        _ => None,
    }
}

fn as_json(found: &Found, signatures: &Signatures) -> Result<Value, Failure> {
    let bundle = &found.bundle;
    let manifest = bundle.own_manifest();
    let app = apps::described(bundle);
    let tasks = app.tasks.iter().enumerate();
    let tasks: Result<Vec<Value>, Failure> = tasks
        .map(|(index, about)| task(found, index, about))
        .collect();
    let layout = bundle.layout();
    Ok(json!({
        "app": app.name,
        "version": app.version,
        "description": app.summary,
        "digest": bundle.digest(),
        "source": found.shown(),
        "format": manifest.format,
        "requires": manifest.requires,
        "wit_version": app.wit_version,
        "licence": manifest.licence,
        "sources": manifest.sources,
        "bytes": layout.size(),
        "parts": layout.blobs().len(),
        "file_bytes": file_bytes(found),
        "signatures": signatures,
        "capabilities": manifest.capabilities,
        "capabilities_in_words": manifest.capabilities.in_words(),
        "programs": app.programs,
        "tasks": tasks?,
        "config": app.config,
        "components": manifest.components,
        "data": manifest.data,
        "expected": manifest.expected,
    }))
}

/// Everything that is known of a bundle, for people. Writing to a String cannot fail.
fn text(found: &Found, signatures: &Signatures) -> String {
    let manifest = found.bundle.own_manifest();
    let app = apps::described(&found.bundle);
    let mut text = format!("{} {}\n{}\n\n", app.name, app.version, app.summary.trim());
    head(&mut text, found, signatures);
    text.push_str("\nIt may:\n");
    let words = manifest.capabilities.in_words();
    if words.is_empty() {
        text.push_str("  compute in its sandboxes, and nothing beyond\n");
    }
    for word in words {
        let _ = writeln!(text, "  {word}");
    }
    if !app.tasks.is_empty() {
        text.push_str("\nTasks:\n");
    }
    for (index, about) in app.tasks.iter().enumerate() {
        task_text(&mut text, about, component_of(found, index));
    }
    if !app.config.is_empty() {
        text.push_str("\nFields:\n");
    }
    for field in &app.config {
        let replaced = manifest.defaults.contains_key(&field.name);
        field_text(&mut text, field, replaced);
    }
    text.push_str("\nComponents:\n");
    for entry in &manifest.components {
        component_text(&mut text, entry);
    }
    if !manifest.data.is_empty() {
        text.push_str("\nData:\n");
    }
    for entry in &manifest.data {
        data_text(&mut text, entry);
    }
    if !manifest.expected.is_empty() {
        text.push_str("\nExpected:\n");
    }
    for expected in &manifest.expected {
        let _ = writeln!(text, "  {}", expected_text(expected));
    }
    text
}

fn head(text: &mut String, found: &Found, signatures: &Signatures) {
    let manifest = found.bundle.own_manifest();
    let layout = found.bundle.layout();
    let parts = layout.blobs().len();
    let mut size = format!("{} in {parts} parts", summary::bytes(layout.size()));
    if let Some(file) = file_bytes(found) {
        let _ = write!(size, "; the file has {}", summary::bytes(file));
    }
    let wit = &manifest.app.wit_version;
    let mut lines = vec![
        ("digest", found.bundle.digest().to_string()),
        ("from", found.shown()),
        ("size", size),
        (
            "speaks",
            format!("taps:core {wit}; manifest format {}", manifest.format),
        ),
    ];
    lines.extend(manifest.licence.clone().map(|words| ("licence", words)));
    lines.extend(manifest.sources.clone().map(|words| ("sources", words)));
    let signed = signatures.in_words().into_iter();
    lines.extend(signed.map(|words| ("signed", words)));
    for (name, value) in lines {
        let _ = writeln!(text, "{name:<8} {value}");
    }
}

fn task_text(text: &mut String, task: &TaskDescription, component: &str) {
    let parameters: Vec<String> = task
        .parameters
        .iter()
        .map(|(name, kind)| format!("{name}: {kind}"))
        .collect();
    let outputs = match &task.outputs[..] {
        [] => String::new(),
        [one] => format!(" -> {one}"),
        more => format!(" -> ({})", more.join(", ")),
    };
    let _ = writeln!(
        text,
        "  {}({}){outputs}  in {component}",
        task.name,
        parameters.join(", ")
    );
    let mut notes = Vec::new();
    if !task.grants.is_empty() {
        notes.push(format!("reaches {}", task.grants.join(", ")));
    }
    if !task.programs.is_empty() {
        notes.push(format!("runs {}", task.programs.join(", ")));
    }
    if !notes.is_empty() {
        let _ = writeln!(text, "      {}", notes.join("; "));
    }
}

fn field_text(text: &mut String, field: &ConfigField, replaced: bool) {
    let default = match &field.default {
        Some(Value::String(words)) => format!("default {words}"),
        Some(value) => format!("default {value}"),
        None if field.optional => "default none".to_owned(),
        None => "required".to_owned(),
    };
    let by = if replaced { ", by this bundle" } else { "" };
    let kind = describe_kind(&field.kind);
    let _ = writeln!(text, "  {}  {kind}; {default}{by}", field.name);
}

fn component_text(text: &mut String, entry: &ComponentEntry) {
    let size = summary::bytes(entry.size);
    let _ = writeln!(text, "  {}  {size}  {}", entry.file, entry.digest);
    let several = |count: u32, one: &str, more: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {more}"),
    };
    let instances = match &entry.instances {
        Some(instances) => word(instances),
        None => "as the run says".to_owned(),
    };
    let _ = writeln!(
        text,
        "      a sandbox takes {}, {}, {}; memory {}; sandboxes {instances}",
        several(entry.core_instances, "core instance", "core instances"),
        several(entry.memories, "memory", "memories"),
        several(entry.tables, "table", "tables"),
        word(&entry.memory),
    );
    if entry.imports.is_empty() {
        text.push_str("      imports nothing\n");
    }
    for (package, interfaces) in by_package(&entry.imports) {
        let _ = writeln!(text, "      imports {package}: {}", interfaces.join(", "));
    }
}

/// Imports such as `taps:core/payloads@0.1.0` by their package, `taps:core@0.1.0`.
fn by_package(imports: &[String]) -> BTreeMap<String, Vec<&str>> {
    let mut packages: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for import in imports {
        let (name, version) = match import.split_once('@') {
            Some((name, version)) => (name, format!("@{version}")),
            None => (import.as_str(), String::new()),
        };
        let (package, interface) = name.split_once('/').unwrap_or((name, name));
        let package = format!("{package}{version}");
        packages.entry(package).or_default().push(interface);
    }
    packages
}

/// The word that stands for a value in a manifest.
fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn data_text(text: &mut String, entry: &DataEntry) {
    let place = match &entry.url {
        Some(url) => format!("from {url}"),
        None => "included".to_owned(),
    };
    let size = summary::bytes(entry.size);
    let _ = writeln!(
        text,
        "  {}  {size}  {}  {}  {place}",
        entry.name, entry.media_type, entry.digest
    );
}

/// `a = 1, b = "x": values = 3`.
pub(super) fn expected_text(expected: &Expected) -> String {
    let pair = |(name, value): (&String, &Value)| format!("{name} = {value}");
    let config: Vec<String> = expected.config.iter().map(pair).collect();
    let values: Vec<String> = expected.values.iter().map(pair).collect();
    let config = if config.is_empty() {
        "defaults".to_owned()
    } else {
        config.join(", ")
    };
    format!("{config}: {}", values.join(", "))
}
